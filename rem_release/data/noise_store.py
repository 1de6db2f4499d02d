"""The noise of every image on the working grid, on disk, in whole levels: what a killed command goes on from."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rem_release.atomic_files import write_atomically
from rem_release.data.array_file import ArrayFile
from rem_release.errors import InputError

Warn = Callable[[str], None]


class NoiseStore:
    """int8 [U, 3, R, R] in a `.npy` file, and beside it how much of it is done and what it belongs to.

    Args:
        path: the file.
        images: U.
        resolution: R.
        fingerprint: what the noise belongs to; a store of anything else is started afresh.
        warn: told why noise that was there is made again.
        order: int64 [U], the images in the order in which their noise is made; None for their own.
    """

    def __init__(
        self,
        path: Path,
        images: int,
        resolution: int,
        fingerprint: str,
        warn: Warn,
        order: np.ndarray | None = None,
    ) -> None:
        self._place = np.arange(images) if order is None else np.argsort(order)
        self._progress = path.with_suffix(".json")
        self._fingerprint = fingerprint
        shape = (images, 3, resolution, resolution)
        self.done, self._crc32 = self._read_progress()
        if self.done and not self._is_sound(path, shape):
            warn(f"{path} is damaged (its bytes do not fit their checksum); its noise is made again")
            self.done, self._crc32 = 0, 0
        self._file = ArrayFile(path, shape, np.int8, new=self.done == 0)

    def _is_sound(self, path: Path, shape: tuple[int, ...]) -> bool:
        try:
            return ArrayFile(path, shape, np.int8, new=False).crc32(self.done) == self._crc32
        except InputError:
            return False

    def _read_progress(self) -> tuple[int, int]:
        try:
            progress = json.loads(self._progress.read_bytes())
            done, fingerprint, crc32 = (progress[key] for key in ("done", "fingerprint", "crc32"))
        except (OSError, ValueError, KeyError, TypeError):
            return 0, 0
        return (done, crc32) if fingerprint == self._fingerprint else (0, 0)

    def write(self, start: int, levels: Tensor) -> None:
        """Store noise from place `start` of the order on, int8 [n, 3, R, R]; on return it survives a kill."""
        if start != self.done:
            raise ValueError(f"noise of image {start} comes after that of {self.done} images")
        self._file.write(start, levels.numpy())
        self._file.flush()
        self._crc32 = zlib.crc32(levels.contiguous().numpy().data, self._crc32)
        self.done = start + len(levels)
        progress = {"done": self.done, "fingerprint": self._fingerprint, "crc32": self._crc32}
        write_atomically(self._progress, json.dumps(progress).encode())

    def read(self, index: int) -> Tensor:
        """The noise of one image: int8 [3, R, R]."""
        return torch.from_numpy(self._file.read(self._place[[index]])[0])
