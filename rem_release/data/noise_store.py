"""The noise of every picture on the working grid, on disk, in whole levels: what a killed command goes on from."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rem_release.data.array_file import ArrayFile


class NoiseStore:
    """int8 [U, 3, R, R] in a `.npy` file, and beside it how much of it is done and what it belongs to.

    Args:
        path: the file.
        pictures: U.
        resolution: R.
        fingerprint: what the noise belongs to; a store of anything else is started afresh.

    Raises:
        InputError: the file is damaged.
    """

    def __init__(self, path: Path, pictures: int, resolution: int, fingerprint: str) -> None:
        self._progress = path.with_suffix(".json")
        self._fingerprint = fingerprint
        self.done = self._read_progress()
        self._file = ArrayFile(path, (pictures, 3, resolution, resolution), np.int8, new=self.done == 0)

    def _read_progress(self) -> int:
        try:
            progress = json.loads(self._progress.read_bytes())
        except (OSError, ValueError):
            return 0
        return int(progress["done"]) if progress.get("fingerprint") == self._fingerprint else 0

    def write(self, start: int, levels: Tensor) -> None:
        """Store the noise of pictures from `start` on, int8 [n, 3, R, R]; on return it survives a kill."""
        self._file.write(start, levels.numpy())
        self._file.flush()
        self.done = start + len(levels)
        temporary = self._progress.with_name(self._progress.name + ".part")
        temporary.write_text(json.dumps({"done": self.done, "fingerprint": self._fingerprint}))
        temporary.replace(self._progress)

    def read(self, index: int) -> Tensor:
        """The noise of one picture: int8 [3, R, R]."""
        return torch.from_numpy(self._file.read(np.array([index]))[0])
