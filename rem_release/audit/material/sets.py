"""What victims train and test on: pictures of a kind, filtered at their own size, brought to the working grid."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rem_release.audit.material.holdout import Holdout
from rem_release.audit.material.pairs import Progress, Read
from rem_release.audit.material.ranking import rank
from rem_release.audit.material.target import Target
from rem_release.data.decoding import fit_working_grid
from rem_release.data.in_order import map_in_order
from rem_release.radius import whole_levels

Kind = Literal["protected", "clean", "random"]
Filter = Callable[[np.ndarray], np.ndarray]
"""uint8 (H, W, 3) to uint8 (H, W, 3), thread-safe"""


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Training images of a victim, in the order of the rows that were asked for."""

    images: Tensor
    """uint8 [N, 3, R, R]"""
    labels: Tensor
    """int64 [N]"""
    digest: str
    """sha256 over shape, images and labels"""


@dataclass(frozen=True, eq=False)
class TestSet:
    """Clean test images of a victim."""

    __test__ = False  # to pytest: this is no test

    images: Tensor
    """uint8 [T, 3, R, R]"""
    labels: Tensor
    """int64 [T]"""
    digest: str
    """sha256 over shape, images and labels"""


def read_training(
    target: Target,
    kind: Kind,
    rows: np.ndarray,
    protected_rows: np.ndarray | None,
    filters: Sequence[Filter],
    resolution: int,
    seed: int,
    progress: Progress | None = None,
) -> TrainingSet:
    """Read the pictures of a kind as a thief would see them.

    Args:
        target: what is audited.
        kind: the released pictures, their originals, or the originals with random signs (see `add_random_signs`) where
            the release changed them; everywhere if it changed nothing.
        rows: int64 [N], rows of the target.
        protected_rows: bool [N], beside `rows`: where it is False the original stands instead (partial protection).
        filters: applied one after another to each picture at its own size, before it is brought to the grid.
        resolution: R, side of the grid.
        seed: of the random signs.
        progress: told (done, total) pictures.

    Raises:
        InputError: a picture cannot be read any more, or changed.
        ValueError: `protected_rows` has another shape than `rows`.
    """
    if protected_rows is not None and protected_rows.shape != rows.shape:
        raise ValueError(f"protected_rows has the shape {protected_rows.shape}, and rows {rows.shape}")
    levels, is_control = whole_levels(target.rho_u), not target.changed.any()

    def read(index: int) -> np.ndarray:
        row = int(rows[index])
        is_kept = protected_rows is None or bool(protected_rows[index])
        if kind == "protected" and is_kept:
            return target.protected(row)
        clean = target.clean(row)
        if kind == "random" and is_kept and (is_control or target.changed[row]):
            return add_random_signs(clean, levels, seed, target.clean_hash(row))
        return clean

    return TrainingSet(*_gather(read, target.labels[rows], filters, resolution, progress))


def read_testing(
    holdout: Holdout, filters: Sequence[Filter], resolution: int, progress: Progress | None = None
) -> TestSet:
    """Read the test images, filtered and brought to the grid like training images.

    Raises:
        InputError: a picture cannot be read any more, or changed.
    """
    return TestSet(*_gather(holdout.picture, holdout.labels, filters, resolution, progress))


def _gather(
    read: Read, labels: np.ndarray, filters: Sequence[Filter], resolution: int, progress: Progress | None
) -> tuple[Tensor, Tensor, str]:
    def make(index: int) -> Tensor:
        picture = read(index)
        for apply in filters:
            picture = apply(picture)
        return fit_working_grid(picture, resolution)

    count = len(labels)
    images = torch.empty((count, 3, resolution, resolution), dtype=torch.uint8)
    for index, grid in enumerate(map_in_order(make, range(count))):
        images[index] = grid
        if progress:
            progress(index + 1, count)
    found = torch.from_numpy(labels.astype(np.int64))
    return images, found, _digest(images, labels)


def _digest(images: Tensor, labels: np.ndarray) -> str:
    digest = hashlib.sha256(f"{'x'.join(map(str, images.shape))}\n".encode())
    digest.update(images.numpy().reshape(-1).data)
    digest.update(labels.astype("<i8").tobytes())
    return digest.hexdigest()


def add_random_signs(clean: np.ndarray, levels: int, seed: int, clean_hash: str) -> np.ndarray:
    """Move every value of a picture up or down by the whole budget, with even odds, as far as 0 and 255 let it.

    Args:
        clean: uint8 (H, W, 3).
        levels: floor(255·ρ_u).
        seed: of the draw.
        clean_hash: pixel hash of the picture. Equal pictures get equal noise, in whatever order they are read.

    Returns:
        uint8 (H, W, 3).
    """
    key = hashlib.sha256(f"random signs {seed} {clean_hash}".encode()).digest()
    words = np.random.Philox(key=int.from_bytes(key[:16], "little")).random_raw(-(-clean.size // 64))
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), count=clean.size).reshape(clean.shape)
    up, down = np.minimum(clean, 255 - levels) + np.uint8(levels), np.maximum(clean, levels) - np.uint8(levels)
    return np.where(bits == 1, up, down).astype(np.uint8)


def split_protected(count: int, labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Choose which rows stay protected when only a part is: the same share of every class.

    A class of two rows or more keeps at least one on either side. Pixel-identical rows may come to both sides.

    Args:
        count: N.
        labels: int64 [N].
        share: part of each class that stays protected, 0 to 1; rounded to the nearest row.
        seed: of the draw.

    Returns:
        bool [N], True for protected rows.

    Raises:
        ValueError: there are not N labels, or the share is out of range.
    """
    if len(labels) != count or not 0 <= share <= 1:
        raise ValueError(f"{len(labels)} labels for {count} rows, share {share}")
    mask = np.zeros(count, bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen = round(share * len(members))
        if 0 < share < 1 and len(members) > 1:
            chosen = min(max(chosen, 1), len(members) - 1)
        ranked = rank([str(row) for row in members], f"partial protection {seed}")
        mask[members[ranked[:chosen]]] = True
    return mask
