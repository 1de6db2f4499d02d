"""CIFAR as torchvision downloads it, whose pickles are opened only where their checksums are the official ones."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torchvision.datasets import CIFAR10, CIFAR100

from rem_release.data.images.png_writing import encode_png
from rem_release.errors import InputError
from rem_release.reproduce.paper import Dataset

KINDS: dict[Dataset, type[CIFAR10]] = {"cifar10": CIFAR10, "cifar100": CIFAR100}


@dataclass(frozen=True, eq=False)
class TorchvisionImages:
    """One split, with what a draw asks of a `Source`."""

    classes: list[str]
    class_ids: np.ndarray
    """int64 [n], index into `classes`"""
    pixels: np.ndarray
    """uint8 [n, H, W, 3]"""

    def image_bytes(self, row: int) -> bytes:
        """One image as a PNG of its pixels."""
        return encode_png(self.pixels[row])

    def origin(self, row: int) -> str:
        """Where it comes from, counted from 0."""
        return f"row {row}"

    def stamp(self) -> str:
        """A hash of pixels and classes."""
        return hashlib.sha256(self.pixels.tobytes() + self.class_ids.tobytes()).hexdigest()


def find_copy(folder: Path, kinds: Iterable[type[CIFAR10]]) -> tuple[Path, type[CIFAR10]] | None:
    """The root and the kind of torchvision's copy that a folder holds or is, the first that is there."""
    for kind in kinds:
        for root in (folder, folder.parent):
            if (root / kind.base_folder).is_dir() and (root == folder or folder.name == kind.base_folder):
                return root, kind
    return None


def read_copy(root: Path, kind: type[CIFAR10]) -> dict[str, TorchvisionImages]:
    """Both splits, train and test; no file is unpickled before torchvision has found its checksum right.

    Raises:
        InputError: a file is missing, or has not the checksum that torchvision knows.
    """
    try:
        copies = {split: kind(root, train=split == "train", download=False) for split in ("train", "test")}
    except (RuntimeError, OSError):
        raise InputError(
            f"{root / kind.base_folder} is not what torchvision downloads: a file is missing or its checksum differs, "
            "and none of them is opened; download it again"
        ) from None
    return {
        split: TorchvisionImages(list(copy.classes), np.array(copy.targets, np.int64), copy.data)
        for split, copy in copies.items()
    }
