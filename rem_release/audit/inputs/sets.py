"""What victims train and test on: images of a kind, filtered at their own size, brought to the network's size."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rem_release.audit.inputs.candidates import Holdout
from rem_release.audit.inputs.pairs import Progress
from rem_release.audit.inputs.target import Target
from rem_release.data.array_file import StoredImages, TemporaryImages
from rem_release.data.images.pixels import fit_working_grid
from rem_release.data.in_order import map_in_order
from rem_release.radius import whole_levels
from rem_release.threats.images import Pipeline

_MAX_IN_MEMORY = 2**28
"""bytes of a set; a larger one is on disk"""
_DIGESTED = 1024
Kind = Literal["protected", "clean", "random"]
Filter = Callable[[np.ndarray], np.ndarray]
"""uint8 (H, W, 3) to uint8 (H, W, 3), thread-safe"""
Fit = int | Pipeline
"""R, side of the square working grid that whole images are squashed onto; or an attacker's pipeline"""


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Training images of a victim, in the order of the rows that were asked for; an image's V views stand together."""

    images: Tensor | StoredImages
    """uint8 [N · V, 3, R, R]; on disk where they take more than 256 MiB"""
    labels: Tensor
    """int64 [N · V]"""
    digest: str
    """sha256 over shape, images and labels"""


@dataclass(frozen=True, eq=False)
class TestSet:
    """Clean test images of a victim."""

    __test__ = False  # to pytest: this is no test

    images: Tensor | StoredImages
    """uint8 [T, 3, R, R]; on disk as those of a `TrainingSet`"""
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
    fit: Fit,
    seed: int,
    progress: Progress | None = None,
) -> TrainingSet:
    """Read the images of a kind as an attacker would see them.

    Args:
        target: what is audited.
        kind: the released images, their originals, or the originals with random signs (see `add_random_signs`) where
            the release changed them; everywhere if it changed nothing.
        rows: int64 [N], rows of the target.
        protected_rows: bool [N], beside `rows`: where it is False the original stands instead (partial protection).
        filters: applied one after another to each image at its own size, before it is brought to the network.
        fit: the working grid, or the pipeline whose views are made; the same crops for every kind.
        seed: of the random signs, and of the crops.
        progress: told (done, total) images.

    Raises:
        InputError: an image cannot be read any more, or changed.
        RemReleaseError: the temporary folder has no room for them.
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

    def bring(image: np.ndarray, index: int) -> Tensor:
        if isinstance(fit, int):
            return fit_working_grid(image, fit)[None]
        return fit.train(image, f"{seed} {target.clean_hash(int(rows[index]))}")

    def make(index: int) -> Tensor:
        return bring(_apply(filters, read(index)), index)

    return TrainingSet(*_gather(make, target.labels[rows], progress))


def count_temporary(rows: int, fit: Fit, *, test: bool = False) -> int:
    """Bytes that a set of so many images takes in the temporary folder; 0 where memory holds it.

    Args:
        rows: how many images.
        fit: how they are brought to the network.
        test: it is a set of `read_testing`, with one view of each.
    """
    views, side = (1, fit) if isinstance(fit, int) else (1 if test else fit.views, fit.side)
    size = rows * views * 3 * side**2
    return size if size > _MAX_IN_MEMORY else 0


def read_testing(holdout: Holdout, filters: Sequence[Filter], fit: Fit, progress: Progress | None = None) -> TestSet:
    """Read the test images, filtered and brought to the grid like training images, or as the pipeline tests.

    Raises:
        InputError: an image cannot be read any more, or changed.
        RemReleaseError: the temporary folder has no room for them.
    """

    def bring(image: np.ndarray, index: int) -> Tensor:
        return fit_working_grid(image, fit)[None] if isinstance(fit, int) else fit.test(image)

    def make(index: int) -> Tensor:
        return bring(_apply(filters, holdout.image(index)), index)

    return TestSet(*_gather(make, holdout.labels, progress))


def _apply(filters: Sequence[Filter], image: np.ndarray) -> np.ndarray:
    for apply in filters:
        image = apply(image)
    return image


def _gather(
    make: Callable[[int], Tensor], labels: np.ndarray, progress: Progress | None
) -> tuple[Tensor | StoredImages, Tensor, str]:
    """Images [N · V, 3, R, R], labels and digest; `make` gives the V views [V, 3, R, R] of an image."""
    count, store, each = len(labels), None, 1
    for index, views in enumerate(map_in_order(make, range(count))):
        if store is None:
            each, shape = len(views), (count * len(views), *views.shape[1:])
            is_large = count * views.numel() > _MAX_IN_MEMORY
            store = TemporaryImages(shape) if is_large else torch.empty(shape, dtype=torch.uint8)
        store[index * each : (index + 1) * each] = views
        if progress:
            progress(index + 1, count)
    repeated = np.repeat(labels.astype(np.int64), each)
    images = torch.empty(0) if store is None else store if isinstance(store, Tensor) else store.written()
    return images, torch.from_numpy(repeated), _digest(images, repeated)


def _digest(images: Tensor | StoredImages, labels: np.ndarray) -> str:
    digest = hashlib.sha256(f"{'x'.join(map(str, images.shape))}\n".encode())
    for part in torch.arange(len(images)).split(_DIGESTED):
        digest.update(images[part].numpy().reshape(-1).data)
    digest.update(labels.astype("<i8").tobytes())
    return digest.hexdigest()


def add_random_signs(clean: np.ndarray, levels: int, seed: int, clean_hash: str) -> np.ndarray:
    """Move every value of an image up or down by the whole budget, with even odds, as far as 0 and 255 let it.

    Args:
        clean: uint8 (H, W, 3).
        levels: floor(255·ρ_u).
        seed: of the draw.
        clean_hash: pixel hash of the image. Equal images get equal noise, in whatever order they are read.

    Returns:
        uint8 (H, W, 3).
    """
    key = hashlib.sha256(f"random signs {seed} {clean_hash}".encode()).digest()
    words = np.random.Philox(key=int.from_bytes(key[:16], "little")).random_raw(-(-clean.size // 64))
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), count=clean.size).reshape(clean.shape)
    up, down = np.minimum(clean, 255 - levels) + np.uint8(levels), np.maximum(clean, levels) - np.uint8(levels)
    return np.where(bits == 1, up, down).astype(np.uint8)
