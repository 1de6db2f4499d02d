"""What a thief does to the pictures: filters, augmentations, UEraser, the orthogonal projection."""
