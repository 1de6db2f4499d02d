"""What the hooks of threats are handed: training images, a batch of them, and ways to bring images to a network."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from rem_release.core.draws import Draws
from rem_release.core.levels import to_float
from rem_release.data.array_file import StoredImages

Transform = Callable[[Tensor], Tensor]
"""float32 [N, 3, R, R] to the same; what it gives may leave [0, 1]"""


class Pipeline(Protocol):
    """How an attacker brings images, uint8 [H, W, 3] of any size from 1 × 1 up, to the network; equals are equal."""

    @property
    def side(self) -> int:
        """r, of the square that the network sees, in pixels."""

    @property
    def views(self) -> int:
        """V, how many are made of each training image."""

    def train(self, image: np.ndarray, key: str) -> Tensor:
        """The V views of a training image, uint8 [V, 3, r, r]; the key is that of the draws."""

    def test(self, image: np.ndarray) -> Tensor:
        """A test image, uint8 [1, 3, r, r]."""


@dataclass(frozen=True)
class TrainingImages:
    """What a victim learns from, on the device.

    Attributes:
        images: uint8 [N, 3, R, R]; where they are too many, on disk.
        labels: int64 [N].
        classes: number of classes.
        transforms: what is done to every batch, one after another.
        is_clamped: bring transformed images back to [0, 1].
    """

    images: Tensor | StoredImages
    labels: Tensor
    classes: int
    transforms: tuple[Transform, ...] = ()
    is_clamped: bool = False

    def __len__(self) -> int:
        return len(self.images)

    @property
    def resolution(self) -> int:
        """R."""
        return self.images.shape[-1]

    def floats(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Some of the images as float32 in [0, 1], with their labels."""
        images = as_floats(_take(self.images, indices))
        for transform in self.transforms:
            images = transform(images)
        return images.clamp(0, 1) if self.is_clamped else images, self.labels[indices]


@dataclass(frozen=True)
class TestImages:
    """What a victim is tested on: floats of a batch at a time, as of all they would be 4 × the levels.

    Attributes:
        images: uint8 [T, 3, R, R], on the device; where they are too many, on disk.
        transforms: what is done to every batch, one after another.
        device: where batches of images on disk are brought.
    """

    __test__ = False  # to pytest: this is no test

    images: Tensor | StoredImages
    transforms: tuple[Transform, ...] = ()
    device: torch.device | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> torch.Size:
        """[T, 3, R, R]."""
        return self.images.shape

    def split(self, size: int) -> Iterator[Tensor]:
        """Batches of that size, float32."""
        device = self.images.device if isinstance(self.images, Tensor) else self.device
        for rows in torch.arange(len(self), device=device).split(size):
            images = as_floats(_take(self.images, rows))
            for transform in self.transforms:
                images = transform(images)
            yield images


@dataclass(frozen=True)
class Batch:
    """The images of one training step: J draws of each of N, draw by draw.

    Attributes:
        images: float32 [J · N, 3, R, R].
        labels: int64 [J · N].
        targets: what is learnt: the labels, or the share of each class, float32 [J · N, C], where they are blended.
        classes: C.
        draws: of this step, one id an image: N of them.
        noise: the adversary's, float32 [J · N, 3, R, R]; None without.
    """

    images: Tensor
    labels: Tensor
    targets: Tensor
    classes: int
    draws: Draws
    noise: Tensor | None = None

    @property
    def samples(self) -> int:
        """J."""
        return len(self.images) // len(self.draws.ids)

    @property
    def seen(self) -> Tensor:
        """The images as the network sees them, float32 [J · N, 3, R, R]."""
        return self.images if self.noise is None else self.images + self.noise


def _take(images: Tensor | StoredImages, rows: Tensor) -> Tensor:
    """Some of the images; of a tensor ten times as fast as by an index, which goes pixel by pixel."""
    return images.index_select(0, rows) if isinstance(images, Tensor) else images[rows]


def as_floats(images: Tensor) -> Tensor:
    """Uint8 levels as float32 in [0, 1]; floats as they are."""
    return to_float(images) if images.dtype == torch.uint8 else images
