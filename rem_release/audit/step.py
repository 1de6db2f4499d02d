"""The training step of a victim: augmentation, the threat's own, the adversary, the loss."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rem_release.audit.countermeasures.augmentations import cutmix, cutout, mixup
from rem_release.audit.countermeasures.projection import project_out
from rem_release.audit.countermeasures.ueraser import ueraser
from rem_release.core.draws import Draws, Purpose, chain
from rem_release.core.levels import to_float
from rem_release.core.norms import random_start
from rem_release.core.pgd import frozen, pgd
from rem_release.core.resampling import DRAW, resample
from rem_release.data.array_file import StoredImages
from rem_release.training.loop import LossOf
from rem_release.verdict.parts import Cutmix, Cutout, Eot, Mixup, Pgd, ResizedCrop, Ueraser
from rem_release.verdict.recipe import AuditRecipe
from rem_release.verdict.threats import Threat

_UERASER_DRAWS = 5
"""of UEraser-max (Qin et al., 2023)"""


@dataclass(frozen=True)
class TrainingImages:
    """What a victim learns from, on the device.

    Attributes:
        images: uint8 [N, 3, R, R]; where they are too many, on disk.
        labels: int64 [N].
        classes: number of classes.
        Q: float32 [D, K], directions that are projected out of every batch; None for no projection.
        is_clamped: bring projected images back to [0, 1].
    """

    images: Tensor | StoredImages
    labels: Tensor
    classes: int
    Q: Tensor | None = None
    is_clamped: bool = False

    def __len__(self) -> int:
        return len(self.images)

    @property
    def resolution(self) -> int:
        """R."""
        return self.images.shape[-1]

    def floats(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Some of the images as float32 in [0, 1], with their labels."""
        images = as_floats(self.images[indices])
        if self.Q is not None:
            images = project_out(images, self.Q)
        return images.clamp(0, 1) if self.is_clamped else images, self.labels[indices]


def as_floats(images: Tensor) -> Tensor:
    """Uint8 levels as float32 in [0, 1]; floats as they are."""
    return to_float(images) if images.dtype == torch.uint8 else images


def make_step(
    threat: Threat,
    recipe: AuditRecipe,
    images: TrainingImages,
    seed: int,
    watch: Callable[[Tensor, Tensor], None],
) -> LossOf:
    """The step that the training loop is handed.

    Args:
        threat: what the thief does.
        recipe: augmentation and adversary.
        images: what is learnt from.
        seed: of the draws.
        watch: told the loss and the share of hits of each step.
    """
    transform = DRAW["none" if threat.find(ResizedCrop) else recipe.victim.augmentation]
    eot: Eot | None = threat.find(Eot)
    samples = eot.samples if eot else 1

    def loss_of(model: nn.Module, wrapped: nn.Module, indices: Tensor, step: int) -> Tensor:
        x, labels = images.floats(indices)
        draws = Draws(seed, indices, step)
        t = transform(draws.keys(Purpose.TRANSFORM, 0, samples), images.resolution)
        x, labels = resample(x.repeat(samples, 1, 1, 1), t), labels.repeat(samples)
        x, targets = _augment(model, x, labels, threat, images.classes, draws, samples)
        if adversary := threat.find(Pgd):
            start = _start(adversary, draws, tuple(x.shape[1:]), samples)
            with frozen(model):
                x = x + _ascend(model, x, targets, adversary, recipe, start)
        logits = wrapped(x)
        loss = F.cross_entropy(logits, targets)
        watch(loss, (logits.argmax(1) == labels).float().mean())
        return loss

    return loss_of


def attack(
    model: nn.Module, x: Tensor, y: Tensor, threat: Threat, recipe: AuditRecipe, seed: int, step: int
) -> tuple[Tensor, Tensor] | None:
    """The adversary's start and end on some images, [N, 3, R, R] each; None for a threat without one. Freeze first."""
    adversary = threat.find(Pgd)
    if adversary is None:
        return None
    draws = Draws(seed, torch.arange(len(x), device=x.device), step)
    start = _start(adversary, draws, tuple(x.shape[1:]), 1)
    return start, _ascend(model, x, y, adversary, recipe, start)


def gradients_per_image(threat: Threat, recipe: AuditRecipe) -> float:
    """Forward and backward passes of the network that a step spends on each image of its batch.

    Passes at the working resolution: one at another costs as many as it has times the pixels.
    """
    eot: Eot | None = threat.find(Eot)
    each = 1.0 + (recipe.adversary.steps if threat.find(Pgd) else 0)
    strong: Ueraser | None = threat.find(Ueraser)
    chosen = _UERASER_DRAWS / 3 if strong and strong.mode == "max" else 0  # forward passes alone
    crop: ResizedCrop | None = threat.find(ResizedCrop)
    return (eot.samples if eot else 1) * (each + chosen) * (crop.size**2 if crop else 1)


def _start(adversary: Pgd, draws: Draws, shape: tuple[int, ...], samples: int) -> Tensor:
    radius = float(adversary.size)
    return random_start(draws, radius, shape, adversary.norm, Purpose.ADVERSARY_START, 0, samples)


def _ascend(model: nn.Module, x: Tensor, targets: Tensor, adversary: Pgd, recipe: AuditRecipe, start: Tensor) -> Tensor:
    radius, steps = float(adversary.size), recipe.adversary.steps
    step_size = radius * recipe.adversary.relative_step_size
    return pgd(model, x, targets, radius, step_size, steps, start, adversary.norm)


def _augment(
    model: nn.Module, x: Tensor, labels: Tensor, threat: Threat, classes: int, draws: Draws, samples: int
) -> tuple[Tensor, Tensor]:
    """The threat's own augmentations; targets are int64 [N], or soft, float32 [N, C], where labels are blended."""
    targets = labels
    for part in threat.parts:
        if isinstance(part, Cutout):
            x = cutout(x, draws.keys(Purpose.CUTOUT, 0, samples), part.share)
        elif isinstance(part, Ueraser):
            x = _erase(model, x, labels, part, draws)
        elif isinstance(part, (Mixup, Cutmix)):
            mix = mixup if isinstance(part, Mixup) else cutmix
            soft = F.one_hot(labels, classes).to(x.dtype)
            x, targets = mix(x, soft, draws, part.alpha)
    return x, targets


def _erase(model: nn.Module, x: Tensor, labels: Tensor, part: Ueraser, draws: Draws) -> Tensor:
    """One draw (lite), or of five draws of each image the one with the largest loss (max)."""
    count = _UERASER_DRAWS if part.mode == "max" else 1
    key = chain(torch.tensor(draws.seed), int(Purpose.COLOUR), draws.step)
    drawn = [ueraser(x, int(chain(key, k)) & 0x7FFFFFFFFFFFFFFF) for k in range(count)]
    if count == 1:
        return drawn[0]
    with frozen(model), torch.no_grad():
        losses = torch.stack([F.cross_entropy(model(images), labels, reduction="none") for images in drawn])
    worst = losses.argmax(0)
    return torch.stack(drawn)[worst, torch.arange(len(x), device=x.device)]
