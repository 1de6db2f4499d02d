"""The images of Parquet files, read where they lie: nothing is unpacked, and a few rows are in memory at a time."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rem_release.errors import InputError

_BATCH_ROWS = 16
_BATCHES = 8


class ParquetColumn:
    """One column of Parquet files, as plain Python values by row. Thread-safe.

    Rows that are read roughly in order are read from disk once. A step back, beyond the last 128 rows or so, begins
    again at the row group.

    Args:
        files: in order; the files stay open.
        column: its name.

    Raises:
        ArrowException: a file is damaged.

    Reading raises InputError where a page is damaged.
    """

    def __init__(self, files: Sequence[Path], column: str) -> None:
        self._column = column
        self._paths = list(files)
        self._files = [pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False) for file in files]
        self._groups: list[tuple[int, int]] = []
        self._starts: list[int] = []
        self._rows = 0
        for number, file in enumerate(self._files):
            for group in range(file.num_row_groups):
                self._groups.append((number, group))
                self._starts.append(self._rows)
                self._rows += file.metadata.row_group(group).num_rows
        self._lock = Lock()
        self._seen: deque[tuple[int, pa.Array]] = deque(maxlen=_BATCHES)
        self._coming: Iterator[pa.RecordBatch] = iter(())
        self._next = self._end = 0

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, row: int) -> Any:
        with self._lock:
            while (value := self._find(row)) is None:
                self._advance(row)
        return value.as_py()

    def _file_of(self, row: int) -> Path:
        return self._paths[self._groups[bisect_right(self._starts, row) - 1][0]]

    def _find(self, row: int) -> pa.Scalar | None:
        for first, batch in self._seen:
            if first <= row < first + len(batch):
                return batch[row - first]
        return None

    def _advance(self, row: int) -> None:
        """Read a batch more of the row group at hand; begin another one where the row lies elsewhere."""
        if not self._next <= row < self._end:
            place = bisect_right(self._starts, row) - 1
            number, group = self._groups[place]
            file = self._files[number]
            self._coming = file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[self._column], use_threads=False)
            self._next = self._starts[place]
            self._end = self._next + file.metadata.row_group(group).num_rows
        try:
            batch = next(self._coming).column(0)
        except (pa.ArrowException, OSError) as error:
            self._end = self._next  # whoever asks next begins again
            words = " ".join(str(error).split())
            raise InputError(
                f"{self._file_of(row)} is damaged ({words}): column {self._column!r} cannot be read from row "
                f"{self._next} on; restore the file"
            ) from None
        self._seen.append((self._next, batch))
        self._next += len(batch)
