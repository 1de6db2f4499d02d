"""The noise of every picture on the working grid, on disk, in whole levels: what a killed command goes on from."""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from rem_release.errors import InputError


class NoiseStore:
    """int8 [U, 3, R, R] in a `.npy` file, and beside it how much of it is done and what it belongs to.

    Args:
        path: the file.
        pictures: U.
        resolution: R.
        fingerprint: what the noise belongs to; a store of anything else is started afresh.
    """

    def __init__(self, path: Path, pictures: int, resolution: int, fingerprint: str) -> None:
        self._path = path
        self._progress = path.with_suffix(".json")
        self._fingerprint = fingerprint
        shape = (pictures, 3, resolution, resolution)
        self.done = self._read_progress()
        if self.done:
            try:
                self._array = open_memmap(path, mode="r+")
            except (OSError, ValueError) as error:
                raise InputError(f"{path} is damaged ({error}); start again with --overwrite") from None
            if self._array.shape != shape or self._array.dtype != np.int8:
                raise InputError(f"{path} does not fit the images; start again with --overwrite")
        else:
            self._array = open_memmap(path, mode="w+", dtype=np.int8, shape=shape)

    def _read_progress(self) -> int:
        try:
            progress = json.loads(self._progress.read_bytes())
        except (OSError, ValueError):
            return 0
        return int(progress["done"]) if progress.get("fingerprint") == self._fingerprint else 0

    def write(self, start: int, levels: Tensor) -> None:
        """Store the noise of pictures from `start` on, int8 [n, 3, R, R]; on return it survives a kill."""
        self._array[start : start + len(levels)] = levels.numpy()
        self._array.flush()
        self.done = start + len(levels)
        temporary = self._progress.with_name(self._progress.name + ".part")
        temporary.write_text(json.dumps({"done": self.done, "fingerprint": self._fingerprint}))
        temporary.replace(self._progress)

    def read(self, index: int) -> Tensor:
        """The noise of one picture: int8 [3, R, R]."""
        return torch.from_numpy(np.array(self._array[index]))
