"""What victims train and test on: the protected images beside their originals, and the clean test images."""
