"""Who makes noise, and the images that it is made for."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from rem_release.core.levels import to_float
from rem_release.core.resampling import NoiseRoute, Resampling
from rem_release.data.array_file import StoredImages, to_device
from rem_release.training.checkpoints import Checkpoint
from rem_release.training.loop import Progress

OpenStage = Callable[[str], AbstractContextManager[Progress]]
"""Opens a stage under its name, and gives what is told of its progress."""


@dataclass(frozen=True)
class ImageSet:
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
    """Plain mid-grey images, one for each label: what noise looks like on nothing."""
    images = torch.full((len(labels), 3, resolution, resolution), 128 / 255, device=labels.device)
    return Batch(images, labels, torch.arange(len(labels), device=labels.device), None)


@dataclass(frozen=True)
class Batch:
    """float32 [N, 3, R, R] in [0, 1], labels and keys int64 [N], the noise's routes or None."""

    images: Tensor
    labels: Tensor
    keys: Tensor
    route: Resampling | None


class Maker(Protocol):
    """Trains what a method needs, and makes its noise. One method on one set of images."""

    batch_size: int
    """Images that noise is made for at once."""

    def order(self, image_set: ImageSet) -> Tensor:
        """The order in which images are dealt to batches, int64 [U]: their own, unless the block that an image is made
        in matters. A function of images and seed, the same on every process."""
        ...

    def train(self, image_set: ImageSet, checkpoint: Checkpoint | None, stage: OpenStage) -> None:
        """Train the models, phase by phase; a phase that the checkpoint knows is finished is passed over.

        Args:
            image_set: what gets noise.
            checkpoint: where to go on and where to save; each phase takes `checkpoint.of(name)`.
            stage: opened once a phase.
        """
        ...

    def make_noise(self, image_set: ImageSet, indices: Tensor) -> Tensor:
        """The noise that ships of some images, int64 [N]: in whole levels, int8 [N, 3, R, R]."""
        ...

    def make_unseen(self, batch: Batch) -> Tensor:
        """The noise of images that are none of those: int8 [N, 3, R, R]. Only where `Method.refuses_unseen` is None."""
        ...

    def spend(self, image_set: ImageSet) -> int:
        """Compute some gradients as making the noise does, for a measurement of time; returns how many, 0 for none."""
        ...

    def rehearse(self, image_set: ImageSet) -> None:
        """Take training steps that are short and change no weights, for a measurement of memory: gradients and momentum
        of the weights lie there while noise is made for the batch, as in a training. None without models."""
        ...

    def save(self, path: Path) -> None:
        """Write the generator, for `--generator`; one without models writes nothing."""
        ...

    def load(self, path: Path) -> None:
        """Read a generator that `save` wrote.

        Raises:
            InputError: missing, damaged, or of other networks.
        """
        ...


@runtime_checkable
class InSteps(Protocol):
    """A maker whose batches take so long that it says in between how far it is."""

    after_step: Progress | None
    """Called with (steps done, steps in all) of the batch that noise is being made for."""


def own_order(image_set: ImageSet) -> Tensor:
    """Images as they stand: int64 [U]."""
    return torch.arange(len(image_set))


def make_image_set(
    images: Tensor | StoredImages, labels: Tensor, keys: Tensor, sizes: Tensor, device: torch.device
) -> ImageSet:
    """Bring a working set to the device, see `to_device`; sizes int64 [U, 2] are the released (height, width)."""
    route = NoiseRoute(sizes, images.shape[-1]).to(device)
    return ImageSet(to_device(images, device), labels.to(device), keys.to(device), route)
