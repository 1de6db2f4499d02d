"""Who makes the noise of NTGA: blocks of images, and the ascent on what a network that learns from one gets wrong."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rem_release.core.draws import Draws, own_purpose
from rem_release.core.levels import round_to_levels
from rem_release.core.neural_tangent import WideNetwork, predict
from rem_release.core.pgd import pgd
from rem_release.core.resampling import Resampling, resample
from rem_release.methods.maker import Batch, ImageSet, OpenStage
from rem_release.methods.method import Setting
from rem_release.methods.ntga import Ntga
from rem_release.radius import whole_levels
from rem_release.training.checkpoints import Checkpoint
from rem_release.training.loop import Progress
from rem_release.training.memory import memory_watched


class NtgaMaker:
    """See `methods.maker.Maker`.

    Args:
        noise: the recipe's part.
        setting: what it is built for; its seed deals images to blocks, and draws what they are validated on.
    """

    after_step: Progress | None = None

    def __init__(self, noise: Ntga, setting: Setting) -> None:
        self.noise = noise
        self.classes = setting.classes
        self.seed = setting.seed
        self.batch_size = noise.block_size
        self.radius = whole_levels(noise.rho_u) / 255

    def order(self, image_set: ImageSet) -> Tensor:
        """Shuffled, and each class spread evenly, so that every block has its share of each."""
        numbers = self._draw(image_set, "ntga blocks")
        ranks, counts = rank_in_classes(image_set.labels.cpu(), numbers)
        return sort_by((2 * ranks + 1) / (2 * counts).double(), numbers)

    def train(self, image_set: ImageSet, checkpoint: Checkpoint | None, stage: OpenStage) -> None:
        """There is nothing to train."""

    def make_noise(self, image_set: ImageSet, indices: Tensor) -> Tensor:
        """arg max over δ_u of the ensemble's cross-entropy on other images: int8 [N, 3, R, R].

        A last block that is filled up with its first image is filled up with images of the first block instead, whose
        noise is not kept: so many equal images would be most of what the network learns.
        """
        fresh = indices != indices[0]
        fresh[0] = True
        own = indices[fresh]
        others = self.order(image_set)[: len(indices) - len(own)]
        block = torch.cat([own, others.to(indices.device)])
        with memory_watched("noise.block_size", self.batch_size):
            levels = self._ascend(image_set, block, self.noise.steps)
        made = levels[:1].repeat(len(indices), 1, 1, 1)
        made[fresh] = levels[: len(own)]
        return made

    def _ascend(self, image_set: ImageSet, block: Tensor, steps: int) -> Tensor:
        """From no noise on, as the published code begins: int8 [n, 3, R, R]."""
        others = self.choose_validation(image_set, block)
        targets, labels = F.one_hot(image_set.labels[block], self.classes).double(), image_set.labels[others]
        clean, validation = (image_set.images[part].double().div_(255) for part in (block, others))
        trained = TrainedEnsemble(clean, image_set.route.of(block), targets, validation, self.noise)
        delta = torch.zeros_like(trained.clean)
        for step in range(steps):
            delta = pgd(trained, trained.clean, labels, self.radius, float(self.noise.step_size), 1, delta)
            if self.after_step:
                self.after_step(step + 1, steps)
        return round_to_levels(delta)

    def choose_validation(self, image_set: ImageSet, block: Tensor) -> Tensor:
        """What a block is validated on: as many images of each class as there are, drawn outside it. int64 [m]."""
        first = int(image_set.keys[block[0]])
        outside = ~torch.isin(torch.arange(len(image_set)), block.cpu())
        rest, numbers = outside.nonzero().flatten(), self._draw(image_set, "ntga validation", first)[outside]
        ranks, _ = rank_in_classes(image_set.labels.cpu()[outside], numbers)
        return rest[sort_by(ranks, numbers)[: self.noise.validation]].to(block.device)

    def _draw(self, image_set: ImageSet, what: str, k: int = 0) -> Tensor:
        """A random number of each image: int64 [U] on the CPU."""
        return Draws.final(self.seed, image_set.keys.cpu()).keys(own_purpose(what), k)

    def make_unseen(self, batch: Batch) -> Tensor:
        """It makes none, see `Ntga.refuses_unseen`."""
        raise NotImplementedError(Ntga.refuses_unseen)

    def spend(self, image_set: ImageSet) -> int:
        """One step of one block."""
        block = self.order(image_set)[: self.batch_size].to(image_set.labels.device)
        self._ascend(image_set, block, 1).sum().item()  # waits for the device
        return len(block)

    def rehearse(self, image_set: ImageSet) -> None:
        """There is nothing to train."""

    def save(self, path: Path) -> None:
        """There is nothing to save."""

    def load(self, path: Path) -> None:
        """There is nothing to load."""


class TrainedEnsemble(nn.Module):
    """Takes a block with its noise, and gives what the ensemble that learnt from it answers to the validation images.

    Args:
        clean: float64 [n, 3, R, R], the block without noise.
        route: of its noise to the images' own sizes and back; None where they have the working size.
        targets: float64 [n, C], what is learnt.
        validation: float64 [m, 3, R, R].
        noise: the recipe's part, for training time and ridge.
    """

    def __init__(
        self, clean: Tensor, route: Resampling | None, targets: Tensor, validation: Tensor, noise: Ntga
    ) -> None:
        super().__init__()
        self.clean, self.route = clean, route
        self.targets, self.validation = targets, validation.flatten(1)
        self.time, self.ridge = noise.time, noise.ridge

    def forward(self, noisy: Tensor) -> Tensor:
        """float64 [n, 3, R, R] → [m, C]; where images have their own size, the noise goes there and back."""
        seen = noisy if self.route is None else self.clean + resample(noisy - self.clean, self.route)
        return predict(seen.flatten(1), self.targets, self.validation, self.time, WideNetwork(), self.ridge)


def rank_in_classes(labels: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """The place of each image in its class by its number, from 0, and how many the class has: int64 [U] each."""
    counts = labels.bincount()
    grouped = sort_by(labels, numbers)
    ranks = torch.empty_like(labels)
    ranks[grouped] = torch.arange(len(labels)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    return ranks, counts[labels]


def sort_by(values: Tensor, numbers: Tensor) -> Tensor:
    """Indices from the least value to the largest; where values are equal, from the least number on."""
    order = numbers.argsort()
    return order[values[order].argsort(stable=True)]
