"""How the bytes of an image become pixels, and back."""
