"""How the bytes of a picture become pixels, and back."""
