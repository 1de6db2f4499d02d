"""Proves that a release is what it says: files, rows, and every image against its original."""
