"""The originals of protected rows, to compare with what is published clean."""

from collections.abc import Sequence

import numpy as np

from rem_release.data.images.decoding import BadImage
from rem_release.data.images.pixels import pixel_hash
from rem_release.verification.pairing import CleanRows, RecordedRow


class ProtectedOriginals:
    """The originals of protected rows under the numbers of the rows; without a record all, under their own numbers."""

    def __init__(self, clean: CleanRows | None, row_map: Sequence[RecordedRow] | None) -> None:
        self._clean, self._map = clean, row_map
        if row_map is None:
            numbers = list(range(len(clean) if clean else 0))
        else:
            numbers = [number for number, record in enumerate(row_map) if clean and self._is_known(record)]
        self.numbers = np.array(numbers, np.int64)

    @staticmethod
    def _is_known(record: RecordedRow) -> bool:
        return record.protected and record.index is not None

    def read(self, number: int) -> np.ndarray | None:
        """uint8 (H, W, 3); None where it cannot be read, or is not the one that was protected."""
        assert self._clean is not None
        record = self._map[number] if self._map is not None else None
        try:
            pixels = self._clean.pixels(number if record is None or record.index is None else record.index)
        except BadImage:
            return None
        return pixels if record is None or pixel_hash(pixels) == record.clean_sha256 else None

    def name(self, number: int) -> str:
        """An original in words."""
        return (
            f"original {number}" if self._map is None else f"the original of row {number}, {self._map[number].origin}"
        )

    def list_unknown(self, images: int, known: np.ndarray) -> np.ndarray:
        """int64, the released rows that may be protected and whose originals are not at hand."""
        if self._map is None:
            return np.arange(images)
        protected = [number for number, record in enumerate(self._map) if record.protected]
        return np.setdiff1d(np.array(protected, np.int64), known)
