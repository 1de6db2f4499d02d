"""Proves that a release is what it says: files, rows, and every picture against its original."""
