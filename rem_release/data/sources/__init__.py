"""How a SOURCE of images is recognised and read: rows, their classes, and the columns that are released with them."""
