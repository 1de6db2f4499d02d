"""Values that a training keeps for each image, on disk: changed at every step, and brought back to any checkpoint.

Before rows are changed, what they were is written to a journal; a journal begins with each checkpoint. Going back reads
the journals from the last one on, and puts the old rows in place in the order opposite to that in which they were
changed. A record that a kill cut off belongs to a change that was not made.
"""

import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from numpy.lib import format as npy
from torch import Tensor

from rem_release.errors import InputError
from rem_release.training.runtime import count_here

_HEAD = struct.Struct("<IQQ")
"""checksum, number of rows, bytes of the old rows"""


class KeptRows:
    """N rows of one type in a `.npy` file. One process writes; others may read between the steps.

    Args:
        path: the file; journals lie beside it, named after it and the step at which they begin.
        shape: (N, ...). Rows of a new file are 0.
        dtype: of the values.

    Raises:
        InputError: an existing file holds another array.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
        self.path = path
        if path.exists():
            self._rows = npy.open_memmap(path, mode="r+")
            if self._rows.shape != shape or self._rows.dtype != np.dtype(dtype):
                held = f"{self._rows.dtype} {self._rows.shape}, not {np.dtype(dtype)} {shape}"
                raise InputError(f"{path} holds {held}; start again with --overwrite")
        else:
            self._rows = npy.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
        self._name = re.compile(re.escape(path.stem) + r"-(\d{8,})\.undo")
        journals = self._list_journals()
        if journals:
            self._journal = journals[max(journals)]
        else:
            self._begin(0)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Some rows, int64 [n]: a copy [n, ...]."""
        return np.array(self._rows[rows])

    def write(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Change some rows, int64 [n]. Of one that is named twice the last value holds: a batch may end an epoch and
        begin the next."""
        _, last = np.unique(rows[::-1], return_index=True)
        rows, values = rows[::-1][last], values[::-1][last]
        numbers, old = np.ascontiguousarray(rows, "<i8"), np.ascontiguousarray(self._rows[rows])
        body = numbers.tobytes() + old.tobytes()
        with self._journal.open("ab") as file:
            file.write(_HEAD.pack(zlib.crc32(body), len(numbers), old.nbytes) + body)
        self._rows[rows] = values

    def mark(self, step: int) -> None:
        """Begin a journal: from here a training can go on after `step` steps. What was changed is on the disk."""
        self._rows.flush()
        self._begin(step)

    def forget(self, step: int) -> None:
        """Delete the journals that going back to `step` or later does not need."""
        for first, path in self._list_journals().items():
            if first < step:
                path.unlink()

    def go_back(self, step: int) -> None:
        """Bring all rows to what they were when `step` steps were finished; 0 is the beginning.

        Raises:
            InputError: no journal begins there.
        """
        journals = self._list_journals()
        if step not in journals:
            raise InputError(f"{self.path} has no journal from step {step} on; start again with --overwrite")
        for first in sorted(journals, reverse=True):
            if first < step:
                break
            for rows, old in reversed(self._read(journals[first])):
                self._rows[rows] = old
        self._rows.flush()
        for first, path in journals.items():
            if first > step:
                path.unlink()
        os.truncate(journals[step], 0)
        self._begin(step)

    def _begin(self, step: int) -> None:
        self._journal = self.path.with_name(f"{self.path.stem}-{step:08d}.undo")
        self._journal.touch()

    def _list_journals(self) -> dict[int, Path]:
        """By the steps at which they begin."""
        found = {path: self._name.fullmatch(path.name) for path in self.path.parent.iterdir()}
        return {int(name[1]): path for path, name in found.items() if name}

    def _read(self, path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
        """The records of a journal, up to the first that is not whole."""
        data, place = path.read_bytes(), 0
        records = []
        while place + _HEAD.size <= len(data):
            crc32, count, size = _HEAD.unpack_from(data, place)
            body = data[place + _HEAD.size : place + _HEAD.size + 8 * count + size]
            if len(body) != 8 * count + size or zlib.crc32(body) != crc32:
                break
            old = np.frombuffer(body[8 * count :], self._rows.dtype).reshape(count, *self._rows.shape[1:])
            records.append((np.frombuffer(body[: 8 * count], "<i8"), old))
            place += _HEAD.size + len(body)
        return records


def open_rows(accelerator: Accelerator, path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> KeptRows:
    """The rows of a training in several processes: the first makes the file and writes, all read.

    Raises:
        InputError: the processes are on several hosts, which do not see one file.
    """
    if count_here(accelerator) != accelerator.num_processes:
        raise InputError("this method keeps noise for each image in a file, and runs on one host; start it on one")
    with accelerator.main_process_first():
        return KeptRows(path, shape, dtype)


def write_rows(accelerator: Accelerator, rows: KeptRows, indices: Tensor, values: Tensor) -> None:
    """Change the rows that all processes computed in a step; on return each reads the new ones.

    Args:
        accelerator: the processes.
        rows: opened by each.
        indices: int64 [n], of this process.
        values: [n, ...].
    """
    every, changed = accelerator.gather(indices), accelerator.gather(values.contiguous())
    if accelerator.is_main_process:
        rows.write(every.cpu().numpy(), changed.cpu().numpy())
    accelerator.wait_for_everyone()
