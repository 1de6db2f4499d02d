"""A range-encoded bitmap index: which rows lie within a reach of some values in every column.

One bit a row, column and step says whether the row's value lies below the step (Chan and Ioannidis, Bitmap index design
and evaluation, SIGMOD 1998). A question reads two rows of bits a column and stops when no row is left, so that it costs
about the same whatever the reach, where a tree of many dimensions falls back to comparing everything.
"""

import numpy as np

_STEP = 16
_STEPS = 256 // _STEP
_PAUSE = 8
"""columns between two looks at whether any row is left"""


class BitmapIndex:
    """Holds 17 bits a row and column in memory.

    Args:
        values: float32 [N, D], each from 0 to 255.
    """

    def __init__(self, values: np.ndarray) -> None:
        self._count, columns = values.shape
        self._bits = np.zeros((columns, _STEPS + 1, -(-self._count // 64)), np.uint64)
        for column, bits in enumerate(self._bits.view(np.uint8)):
            step_of = values[:, column].astype(np.uint8) // _STEP
            for step in range(_STEPS):
                packed = np.packbits(step_of <= step, bitorder="little")
                bits[step + 1, : len(packed)] = packed

    def find(self, values: np.ndarray, reach: float, end: int | None = None) -> np.ndarray:
        """The rows that may lie within reach: all that do, and a few that miss by less than 16 levels.

        Args:
            values: float32 [D].
            reach: largest difference in any column.
            end: rows before this one only.

        Returns:
            int64, ascending.
        """
        end = self._count if end is None else end
        words = -(-end // 64)
        low = (values - reach).clip(0, 255).astype(np.uint8) // _STEP
        high = (values + reach).clip(0, 255).astype(np.uint8) // _STEP + 1
        left = np.full(words, ~np.uint64(0))
        if end % 64:
            left[-1] = (1 << (end % 64)) - 1
        between = np.empty_like(left)
        for column, (first, last) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
            bits = self._bits[column]
            np.bitwise_xor(bits[last, :words], bits[first, :words], out=between)
            np.bitwise_and(left, between, out=left)
            if column % _PAUSE == _PAUSE - 1 and not left.any():
                break
        return np.flatnonzero(np.unpackbits(left.view(np.uint8), bitorder="little"))
