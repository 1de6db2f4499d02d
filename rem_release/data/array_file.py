"""An array on disk, read and written by rows: memory holds the rows that are asked for, whatever the whole takes.

Rows are read by position and not through a memory map, whose pages would count as this process's memory, and stay
there, until the system needs them.
"""

import os
import shutil
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from rem_release.errors import InputError, RemReleaseError

_PIECE = 2**24
"""bytes that a checksum reads at once, and that go to a GPU at once"""
_SHARE_OF_GPU = 0.4
"""of its free memory for the images; the rest is for the network and its batches"""


class ArrayFile:
    """A `.npy` file of N rows. Safe to read from several threads, and from several processes once it is written.

    Args:
        path: the file.
        shape: (N, ...).
        dtype: of the values.
        new: make it, as a file without content that takes no space yet; else open it.

    Raises:
        InputError: an existing file is damaged, or holds another array.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: type[np.generic], *, new: bool) -> None:
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        self._row_bytes = int(np.prod(shape[1:])) * self.dtype.itemsize
        self._start = self._create() if new else self._check()
        self._file = path.open("r+b" if new or os.access(path, os.W_OK) else "rb")

    def _create(self) -> int:
        with self.path.open("wb") as file:
            header = {"descr": self.dtype.str, "fortran_order": False, "shape": self.shape}
            npy.write_array_header_1_0(file, header)
            start = file.tell()
            file.truncate(start + len(self) * self._row_bytes)
        return start

    def _check(self) -> int:
        try:
            with self.path.open("rb") as file:
                npy.read_magic(file)
                shape, is_fortran, dtype = npy.read_array_header_1_0(file)
                start, end = file.tell(), file.seek(0, os.SEEK_END)
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path} is damaged ({error}); start again with --overwrite") from None
        if (shape, is_fortran, dtype) != (self.shape, False, self.dtype) or end != start + len(self) * self._row_bytes:
            raise InputError(f"{self.path} does not fit the images; start again with --overwrite")
        return start

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Some rows, in the order asked for: [n, ...] for int64 [n]."""
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        if len(rows) == 0:
            return found
        target = found.data.cast("B")
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1  # neighbours come in one piece
        for first, end in zip([0, *breaks], [*breaks, len(rows)], strict=True):
            self._read_into(target[first * self._row_bytes : end * self._row_bytes], int(rows[first]))
        return found

    def _read_into(self, target: memoryview, row: int) -> None:
        place = self._start + row * self._row_bytes
        while len(target):
            count = os.preadv(self._file.fileno(), [target], place)
            if count == 0:
                raise InputError(f"{self.path} ends early; start again with --overwrite")
            target, place = target[count:], place + count

    def crc32(self, rows: int) -> int:
        """Checksum of the first so many rows."""
        crc32, piece = 0, max(1, _PIECE // self._row_bytes)
        for start in range(0, rows, piece):
            crc32 = zlib.crc32(self.read(np.arange(start, min(start + piece, rows))).data, crc32)
        return crc32

    def write(self, start: int, rows: np.ndarray) -> None:
        """Put rows in place from row `start` on. One thread at a time."""
        self._file.seek(self._start + start * self._row_bytes)
        self._file.write(np.ascontiguousarray(rows, self.dtype).data)

    def flush(self) -> None:
        """On return everything that was written survives a kill, and the loss of power."""
        self._file.flush()
        os.fsync(self._file.fileno())


class TemporaryImages:
    """Images on the working grid that are written once, to a file that has no name and goes with its last reader.

    Args:
        shape: (N, 3, R, R).

    Raises:
        RemReleaseError: the disk has no room for them.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        require_temporary(int(np.prod(shape)))
        with TemporaryDirectory(prefix="rem-release-") as folder:  # an open file outlives its name
            self._file = ArrayFile(Path(folder) / "images.npy", shape, np.uint8, new=True)

    def __setitem__(self, rows: slice, images: Tensor) -> None:
        self._file.write(rows.start, images.numpy())

    def written(self) -> "StoredImages":
        """All of them, to read."""
        self._file.flush()
        return StoredImages(self._file, torch.arange(len(self._file)))


class StoredImages:
    """Images on the working grid that stay on disk, indexed like a tensor uint8 [n, 3, R, R].

    Args:
        file: uint8 [N, 3, R, R].
        rows: int64 [n], which of its rows these are.
    """

    def __init__(self, file: ArrayFile, rows: Tensor) -> None:
        self._file, self._rows = file, rows
        self.shape = torch.Size((len(rows), *file.shape[1:]))

    def __len__(self) -> int:
        return len(self._rows)

    def to(self, device: torch.device) -> Tensor:
        """All of them on a device, uint8 [n, 3, R, R]; the host holds a piece at a time."""
        near = torch.empty(self.shape, dtype=torch.uint8, device=device)
        piece = max(1, _PIECE // self.shape[1:].numel())
        for start in range(0, len(self), piece):
            end = min(start + piece, len(self))
            near[start:end] = self[torch.arange(start, end)]
        return near

    def crc32(self) -> int:
        """Checksum of the file up to the last of these images."""
        return self._file.crc32(int(self._rows.max()) + 1)

    def __getitem__(self, indices: Tensor) -> Tensor:
        rows = self._rows[indices.cpu()]
        return torch.from_numpy(self._file.read(rows.numpy())).to(indices.device)

    def subset(self, indices: Tensor) -> "StoredImages":
        """Some of the images, int64 [m]; nothing is read."""
        return StoredImages(self._file, self._rows[indices])


def to_device(images: Tensor | StoredImages, device: torch.device) -> Tensor | StoredImages:
    """Bring images to the device.

    Images on disk stay there, and are read batch by batch, where the device is a CPU, whose system keeps what it has
    room for, or where they would take too much of a GPU's free memory.
    """
    return images.to(device) if isinstance(images, Tensor) or _fits(images, device) else images


def _fits(images: StoredImages, device: torch.device) -> bool:
    return device.type == "cuda" and images.shape.numel() <= _SHARE_OF_GPU * _free_bytes(device)


def _free_bytes(device: torch.device) -> int:
    """Of a GPU: what the driver has, and what torch keeps of it without need and gives back when memory runs short."""
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + cached


def require_temporary(size: int) -> None:
    """Refuse what the disk of the temporary folder has no room for.

    Args:
        size: bytes that will be written there.

    Raises:
        RemReleaseError: names what is needed and what is free.
    """
    folder = gettempdir()
    free = shutil.disk_usage(folder).free
    if size > free:
        raise RemReleaseError(
            f"images need {size / 1e9:.2f} GB in the temporary folder {folder}, and {free / 1e9:.2f} GB are free "
            "there; make room, or name another folder in the environment variable TMPDIR"
        )
