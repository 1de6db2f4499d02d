"""What thieves do with released images: `kinds` has a file for each threat, and the rest is what they have in common.

Names, parameters and words need no torch: whoever verifies a certificate reads them. What computes with it is imported
where it runs.
"""
