"""What every method offers, and what it works on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from rem_release.core.levels import to_float
from rem_release.core.resampling import NoiseRoute, Resampling
from rem_release.data.array_file import StoredImages, bring_near
from rem_release.training.checkpoints import Checkpoint
from rem_release.training.loop import Progress


@dataclass(frozen=True)
class Pictures:
    """Images on the working grid.

    Attributes:
        images: uint8 [U, 3, R, R], on the device or on disk. What follows is on the device.
        labels: int64 [U].
        keys: int64 [U], the ids of the draws.
        route: the way of the noise to each image's own size and back.
    """

    images: Tensor | StoredImages
    labels: Tensor
    keys: Tensor
    route: NoiseRoute

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor) -> "Batch":
        """Some of the images as a method reads them."""
        return Batch(to_float(self.images[indices]), self.labels[indices], self.keys[indices], self.route.of(indices))


def grey_batch(labels: Tensor, resolution: int) -> "Batch":
    """Plain mid-grey pictures, one for each label: what noise looks like on nothing."""
    images = torch.full((len(labels), 3, resolution, resolution), 128 / 255, device=labels.device)
    return Batch(images, labels, torch.arange(len(labels), device=labels.device), None)


@dataclass(frozen=True)
class Batch:
    """float32 [N, 3, R, R] in [0, 1], labels and keys int64 [N], the noise's routes or None."""

    images: Tensor
    labels: Tensor
    keys: Tensor
    route: Resampling | None


class Method(Protocol):
    """A way to make noise. Cost is in sample gradient evaluations."""

    @property
    def training_gradients(self) -> int:
        """Spent by `train` on each image of each step."""
        ...

    @property
    def noise_gradients(self) -> int:
        """Spent by `make_noise` on each image."""
        ...

    def train(self, pictures: Pictures, checkpoint: Checkpoint | None, progress: Progress | None) -> None:
        """Train the generator, if the method has one."""
        ...

    def make_noise(self, batch: Batch) -> Tensor:
        """The noise that ships, in whole levels: int8 [N, 3, R, R]."""
        ...

    def save(self, path: Path) -> None:
        """Write the generator; a method without one writes nothing."""
        ...

    def load(self, path: Path) -> None:
        """Read a generator that `save` wrote."""
        ...


def as_pictures(
    images: Tensor | StoredImages, labels: Tensor, keys: Tensor, sizes: Tensor, device: torch.device
) -> Pictures:
    """Bring a working set to the device, see `bring_near`; sizes int64 [U, 2] are the released (height, width)."""
    route = NoiseRoute(sizes, images.shape[-1]).to(device)
    return Pictures(bring_near(images, device), labels.to(device), keys.to(device), route)
