"""Protected rows beside their clean partners: what an audit reads, whatever the copy came from."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from rem_release.data.images.decoding import BadImage
from rem_release.data.images.pixels import pixel_hash
from rem_release.errors import InputError

Read = Callable[[int], np.ndarray]
"""Row number to image, uint8 (H, W, 3); raises BadImage."""
Progress = Callable[[int, int], None]
"""(done, total)"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """N protected rows and their originals. Images are read when asked for, and must still be the first ones."""

    names: list[str]
    """class name of each row"""
    origins: list[str]
    """where the original of each row comes from, for messages"""
    protected_hashes: list[str]
    clean_hashes: list[str]
    read_protected: Read
    read_clean: Read
    indices: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    """int64 [N], which originals they are; of a release"""
    stamp: str = ""
    """see `remembered.stamp_of`; of a release"""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def changed(self) -> np.ndarray:
        """bool [N], rows whose protected image is not their original."""
        pairs = zip(self.protected_hashes, self.clean_hashes, strict=True)
        return np.array([protected != clean for protected, clean in pairs], bool)

    def protected(self, row: int) -> np.ndarray:
        """The protected image of a row at its own size: uint8 (H, W, 3). Thread-safe.

        Raises:
            InputError: it cannot be read any more, or changed since it was opened.
        """
        return _read_again(self.read_protected, row, self.protected_hashes[row], f"protected row {row}")

    def clean(self, row: int) -> np.ndarray:
        """The original of a row at its own size: uint8 (H, W, 3). Thread-safe.

        Raises:
            InputError: it cannot be read any more, or changed since it was opened.
        """
        return _read_again(self.read_clean, row, self.clean_hashes[row], f"original {self.origins[row]}")


def _read_again(read: Read, row: int, expected: str, what: str) -> np.ndarray:
    try:
        pixels = read(row)
    except BadImage as error:
        raise InputError(f"{what} cannot be read any more ({error}); restore it and start again") from None
    if pixel_hash(pixels) != expected:
        raise InputError(f"{what} changed while it was being audited; restore it and start again")
    return pixels


def largest_change(one: np.ndarray, other: np.ndarray) -> int:
    """The most that two arrays of one shape, uint8, differ anywhere, in levels."""
    return int((np.maximum(one, other) - np.minimum(one, other)).max())
