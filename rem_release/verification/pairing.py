"""Which original belongs to which released row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from rem_release.data.images.decoding import BadImage
from rem_release.data.images.pixels import pixel_hash

_MAX_FAILED_SEARCHES = 3


class CleanRows(Protocol):
    """The originals. `pixels` and `label` are called from several threads."""

    def __len__(self) -> int: ...

    def pixels(self, index: int) -> np.ndarray:
        """The original as it would be released: uint8 (H, W, 3), decoded by the policy and shrunk to `max_side`.

        Raises:
            BadImage: it cannot be read.
        """

    def label(self, index: int) -> str | None:
        """Name of its class as in `data.classes` of the facts; None where the originals carry no labels."""

    def split(self, index: int) -> str:
        """Name of its split."""

    def others(self, index: int) -> dict[str, Any]:
        """The columns beside image and label, as plain values; those that the originals have."""


class OriginalLostError(Exception):
    """The original of a row is not what the run saw: it is missing or changed. The message says which."""


@dataclass(frozen=True)
class RecordedRow:
    """What the run's record says about the original of one released row."""

    index: int | None
    """its place in the originals; None where they no longer have it"""
    protected: bool
    origin: str
    clean_sha256: str
    """its pixel hash at the time of the run"""


@dataclass(frozen=True)
class Partner:
    """The original of one released row."""

    index: int
    pixels: np.ndarray
    protected: bool | None
    """Whether the row should carry noise; None where nobody recorded it."""
    sha256: str | None = None
    """Its pixel hash, where that was needed to find it."""


class Pairing(Protocol):
    """A way to find the original of a row."""

    words: str
    """How rows were paired, for the report."""
    in_order: bool
    """Rows must be asked for one after the other."""

    def find(self, row: int, pixels: np.ndarray) -> Partner | None:
        """The original of released row `row`, or None where there is none.

        Raises:
            BadImage: the original cannot be read.
            OriginalLostError: it is not the one that was protected.
        """


class MapPairing:
    """Rows by the run's own record."""

    words = "by the record in private/"
    in_order = False

    def __init__(self, clean: CleanRows, row_map: Sequence[RecordedRow]) -> None:
        self._clean = clean
        self._map = row_map

    def find(self, row: int, pixels: np.ndarray) -> Partner | None:
        """See `Pairing`."""
        if row >= len(self._map):
            return None
        record = self._map[row]
        if record.index is None or not 0 <= record.index < len(self._clean):
            raise OriginalLostError(f"original {record.origin} is missing since the run")
        original = self._clean.pixels(record.index)
        if pixel_hash(original) != record.clean_sha256:
            raise OriginalLostError(f"original {record.origin} changed since the run")
        return Partner(record.index, original, record.protected, record.clean_sha256)


class PositionPairing:
    """Row n of the release is original n: for releases of every original."""

    words = "by position (as many originals as released rows)"
    in_order = False

    def __init__(self, clean: CleanRows) -> None:
        self._clean = clean

    def find(self, row: int, pixels: np.ndarray) -> Partner | None:
        """See `Pairing`."""
        return Partner(row, self._clean.pixels(row), None) if row < len(self._clean) else None


class SearchPairing:
    """Each row is the next original of its size within the budget: for releases of a part, whose order is kept."""

    words = "by search, in order, for the next original of the same size within the budget"
    in_order = True

    def __init__(self, clean: CleanRows, levels: int) -> None:
        self._clean = clean
        self._levels = levels
        self._next = 0
        self._failed = 0

    def find(self, row: int, pixels: np.ndarray) -> Partner | None:
        """See `Pairing`. A row without an original uses up none; after three such rows the search is given up."""
        if self._failed >= _MAX_FAILED_SEARCHES:
            return None
        for index in range(self._next, len(self._clean)):
            try:
                candidate = self._clean.pixels(index)
            except BadImage:
                continue
            if is_within(candidate, pixels, self._levels):
                self._next = index + 1
                return Partner(index, candidate, None)
        self._failed += 1
        return None


def choose_pairing(clean: CleanRows, row_map: Sequence[RecordedRow] | None, released: int, levels: int) -> Pairing:
    """The surest pairing that what is known allows: the record, else position, else search."""
    if row_map is not None:
        return MapPairing(clean, row_map)
    return PositionPairing(clean) if len(clean) == released else SearchPairing(clean, levels)


def is_within(clean: np.ndarray, protected: np.ndarray, levels: int) -> bool:
    """Whether two images, uint8 (H, W, 3), have one size and differ by at most `levels` everywhere."""
    if clean.shape != protected.shape:
        return False
    return bool((np.maximum(clean, protected) - np.minimum(clean, protected) <= levels).all())
