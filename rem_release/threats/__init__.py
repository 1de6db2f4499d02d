"""What attackers do with released images: `kinds` has a file for each threat, the rest is what they share.

Names, parameters and words need no torch: whoever verifies a certificate reads them. What computes with it is imported
where it runs.
"""
