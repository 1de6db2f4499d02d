"""Values that a training keeps for each image, on disk: changed at every step, and brought back to any checkpoint.

A journal begins with each checkpoint. Before a row is changed for the first time since, what it was is written there,
so that a journal holds no row twice. Going back reads the journals from the last one on, and puts the old rows in
place. A record that a kill cut off belongs to a change that was not made.
"""

import math
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from accelerate import Accelerator
from numpy.lib import format as npy
from torch import Tensor

from rem_release.atomic_files import written_atomically
from rem_release.errors import InputError
from rem_release.training.runtime import count_here

_HEAD = struct.Struct("<IQQ")
"""checksum, number of rows, bytes of the old rows"""
_NUMBER = 8
"""bytes of a row's number"""


def count_bytes(row_bytes: int, rows: int, journals: int) -> int:
    """What rows and so many journals take on disk at most: each row once in each, in a record of its own."""
    return rows * (row_bytes + journals * (_HEAD.size + _NUMBER + row_bytes)) if row_bytes else 0


class KeptRows:
    """N rows of one type in a `.npy` file. One process writes; others may read between the steps.

    Args:
        path: the file; journals lie beside it, named after it and the step at which they begin.
        shape: (N, ...). Rows of a new file are 0.
        dtype: of the values.
        writes: this is the process that writes; the file of another is there already.

    Raises:
        InputError: an existing file is damaged, or holds another array.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: type[np.generic], *, writes: bool = True) -> None:
        self.path = path
        self._name = re.compile(re.escape(path.stem) + r"-(\d{8,})\.undo")
        if writes and not path.exists():
            self._create(shape, np.dtype(dtype))
        start = self._check(shape, np.dtype(dtype))
        self._rows = np.memmap(path, np.dtype(dtype), "r+" if writes else "r", start, shape)
        if writes:
            self._begin(max(self._list_journals(), default=0))

    def _create(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Make a file without content, which takes no space yet; journals of one that is gone belong to nothing."""
        for journal in self._list_journals().values():
            journal.unlink()
        with written_atomically(self.path) as temporary, temporary.open("wb") as file:
            npy.write_array_header_1_0(file, {"descr": dtype.str, "fortran_order": False, "shape": shape})
            file.truncate(file.tell() + _size_of(shape, dtype))

    def _check(self, shape: tuple[int, ...], dtype: np.dtype) -> int:
        """Where the values begin in a file that is as it should be."""
        try:
            with self.path.open("rb") as file:
                npy.read_magic(file)
                held_shape, is_fortran, held_dtype = npy.read_array_header_1_0(file)
                start = file.tell()
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{self.path} is damaged ({reason}); start again with --overwrite") from None
        if (held_shape, is_fortran, held_dtype) != (shape, False, dtype):
            held = f"{held_dtype} {held_shape}, not {dtype} {shape}"
            raise InputError(f"{self.path} holds {held}; start again with --overwrite")
        size, whole = self.path.stat().st_size, start + _size_of(shape, dtype)
        if size != whole:
            raise InputError(f"{self.path} is damaged ({size} bytes, not {whole}); start again with --overwrite")
        return start

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Some rows, int64 [n]: a copy [n, ...]."""
        return np.array(self._rows[rows])

    def write(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Change some rows, int64 [n]. Of one that is named twice the last value holds: a batch may end an epoch and
        begin the next."""
        _, last = np.unique(rows[::-1], return_index=True)
        rows, values = rows[::-1][last], values[::-1][last]
        fresh = rows[~self._noted[rows]]
        if len(fresh):
            numbers, old = np.ascontiguousarray(fresh, "<i8"), np.ascontiguousarray(self._rows[fresh])
            body = numbers.tobytes() + old.tobytes()
            with self._journal.open("ab") as file:
                file.write(_HEAD.pack(zlib.crc32(body), len(numbers), old.nbytes) + body)
            self._noted[fresh] = True
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
            InputError: there is no journal from that step on.
        """
        journals = self._list_journals()
        if step not in journals:
            raise InputError(f"{self.path} has no journal from step {step} on; start again with --overwrite")
        later = sorted((first for first in journals if first > step), reverse=True)
        for first in [*later, step]:
            self._put_back(journals[first])
        self._rows.flush()
        for first in later:  # the newest first: after a kill those that are left follow each other
            journals[first].unlink()
        journals[step].write_bytes(b"")
        self._begin(step)

    def _put_back(self, journal: Path) -> None:
        """The rows as the journal found them: of a row that stands in it twice, as the first record says."""
        done = np.zeros(len(self._rows), bool)
        with journal.open("rb") as file:
            for rows, old in self._records(file):
                fresh = ~done[rows]
                self._rows[rows[fresh]] = old[fresh]
                done[rows] = True

    def _begin(self, step: int) -> None:
        """Write to this journal from here on; one that is there is gone on with, less what a kill cut off."""
        self._journal = self.path.with_name(f"{self.path.stem}-{step:08d}.undo")
        self._noted = np.zeros(len(self._rows), bool)
        """the rows that stand in it"""
        self._journal.touch()
        with self._journal.open("r+b") as file:
            whole = 0
            for rows, _ in self._records(file):
                self._noted[rows], whole = True, file.tell()
            file.truncate(whole)

    def _list_journals(self) -> dict[int, Path]:
        """By the steps at which they begin."""
        found = {path: self._name.fullmatch(path.name) for path in self.path.parent.iterdir()}
        return {int(name[1]): path for path, name in found.items() if name}

    def _records(self, file: BinaryIO) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The records of a journal, one at a time, up to the first that is not whole."""
        row_bytes = _size_of(self._rows.shape[1:], self._rows.dtype)
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            crc32, count, size = _HEAD.unpack(head)
            if count > len(self._rows) or size != count * row_bytes:
                return
            body = file.read(_NUMBER * count + size)
            if len(body) != _NUMBER * count + size or zlib.crc32(body) != crc32:
                return
            old = np.frombuffer(body, self._rows.dtype, offset=_NUMBER * count).reshape(count, *self._rows.shape[1:])
            yield np.frombuffer(body, "<i8", count), old


def _size_of(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return math.prod(shape) * dtype.itemsize


def open_rows(accelerator: Accelerator, path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> KeptRows:
    """The rows of a training in several processes: the first makes the file and writes, all read.

    Raises:
        InputError: the processes are on several hosts, which do not see one file.
    """
    if count_here(accelerator) != accelerator.num_processes:
        raise InputError("this method keeps noise for each image in a file, and runs on one host; start it on one")
    with accelerator.main_process_first():
        return KeptRows(path, shape, dtype, writes=accelerator.is_main_process)


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
