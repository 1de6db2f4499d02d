"""What victims train and test on: the protected pictures beside their originals, and the clean test pictures."""
