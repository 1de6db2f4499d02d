"""A shuffle that depends on names alone: the same on every machine, in whatever order they stand."""

import hashlib
from collections.abc import Sequence

import numpy as np


def rank(names: Sequence[str], draw: str) -> np.ndarray:
    """Shuffle names by hashing each together with the words of the draw.

    Returns:
        int64 [n], positions of the names in shuffled order; equal names keep their order and stand together.
    """
    hashes = [hashlib.sha256(f"{draw} {name}".encode()).digest() for name in names]
    return np.array(sorted(range(len(names)), key=hashes.__getitem__), np.int64)
