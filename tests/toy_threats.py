"""Threats that tests add, each a file as `threats/kinds` holds them, found in the same way."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rem_release.threats import kinds
from rem_release.threats.registry import known_parts

_HEAD = """
from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from rem_release.threats.base import ThreatPart, Stage, Where, strict, where
from rem_release.threats.radii import RadiusText, read_fraction


@dataclass(frozen=True, config=strict)
class Toy(ThreatPart):
"""
INVERT = """
    stage: ClassVar[Stage] = Stage.FILTER
    on: Where = "train"

    def words(self):
        return f"inverted images{where(self.on)}"

    def filter_image(self, image):
        return 255 - image
"""
OWN_LOSS = """
    stage: ClassVar[Stage] = Stage.ADVERSARY
    radius: RadiusText
    beta: float = 6.0

    def words(self):
        return f"an own loss (L∞, {self.radius}, β {self.beta:g})"

    def extra_passes(self, adversary):
        return adversary.steps + 1

    def perturb(self, model, batch, adversary):
        import torch
        from torch.nn.functional import kl_div

        radius = float(read_fraction(self.radius))
        likely = model(batch.images).softmax(1)
        start = delta = radius * (2 * torch.rand_like(batch.images, dtype=batch.images.dtype) - 1)
        for _ in range(adversary.steps):
            delta = delta.detach().requires_grad_()
            apart = kl_div(model(batch.images + delta).log_softmax(1), likely, reduction="batchmean")
            (gradient,) = torch.autograd.grad(apart, delta)
            delta = (delta + adversary.relative_step_size * radius * gradient.sign()).clamp(-radius, radius)
        return start, ((batch.images + delta).clamp(0, 1) - batch.images).detach()

    def loss(self, wrapped, batch):
        import torch
        from torch.nn.functional import cross_entropy, kl_div

        logits, attacked = wrapped(torch.cat([batch.images, batch.seen])).chunk(2)
        apart = kl_div(attacked.log_softmax(1), logits.softmax(1), reduction="batchmean")
        return cross_entropy(logits, batch.targets) + self.beta * apart, logits
"""
WARM_START = """
    stage: ClassVar[Stage] = Stage.INITIAL_WEIGHTS

    def words(self):
        return "a network that starts without a preference"

    def passes_before(self, images, adversary):
        return 5.0 * images + adversary.steps

    def initial_weights(self, accelerator, model, images, seed):
        import torch

        assert next(model.parameters()).device == images.labels.device
        *_, last = (module for module in model.modules() if isinstance(module, torch.nn.Linear))
        with torch.no_grad():
            last.weight.zero_()
            last.bias.zero_()
"""
STANDSTILL = """
    stage: ClassVar[Stage] = Stage.SCHEDULE
    steps_too: bool = False

    def words(self):
        return "a learning rate of 0"

    def schedule(self, schedule):
        return replace(schedule, learning_rate=0.0, steps=schedule.steps + self.steps_too)
"""
FEW_ORIGINALS = """
    stage: ClassVar[Stage] = Stage.TRAINING_SET
    needs_originals: ClassVar[bool] = True
    count: int = 2

    def words(self):
        return f"the mean colour of {self.count} originals of each class"

    def own_originals(self, labels):
        return np.isin(np.arange(len(labels)), [np.flatnonzero(labels == each)[: self.count] for each in set(labels)])

    def fit(self, images, originals):
        import torch

        mean = originals.floats(torch.arange(len(originals)))[0].mean((0, 2, 3), keepdim=True)
        return lambda batch: 0.5 * batch + 0.5 * mean
"""
STRONG = """
    stage: ClassVar[Stage] = Stage.ADVERSARY
    radius: RadiusText

    def words(self):
        return f"JPEG, then adversarial training at {self.radius}"

    def made_of(self):
        from rem_release.threats.kinds.jpeg import Jpeg
        from rem_release.threats.kinds.pgd import Pgd

        return Pgd(radius=self.radius), Jpeg(quality=10)
"""
FILTERED = """
    stage: ClassVar[Stage] = Stage.FILTER
    shift: int = 128

    def words(self):
        return f"levels moved by {self.shift}, and an adversary that does nothing"

    def made_of(self):
        return _Move(shift=self.shift), _Still()


@dataclass(frozen=True, config=strict)
class _Move(ThreatPart):
    stage: ClassVar[Stage] = Stage.FILTER
    shift: int

    def filter_image(self, image):
        return image + np.uint8(self.shift)


@dataclass(frozen=True, config=strict)
class _Still(ThreatPart):
    stage: ClassVar[Stage] = Stage.ADVERSARY

    def extra_passes(self, adversary):
        return 2.0

    def perturb(self, model, batch, adversary):
        return 0 * batch.images, 0 * batch.images
"""
TOYS = {
    **{"invert": INVERT, "own_loss": OWN_LOSS, "warm_start": WARM_START, "standstill": STANDSTILL},
    **{"few_originals": FEW_ORIGINALS, "strong": STRONG, "filtered": FILTERED},
}


def write_toy(folder: Path, name: str, body: str) -> None:
    """Write a file as it would lie in `threats/kinds`."""
    (folder / f"{name}.py").write_text(f'"""A toy."""\n{_HEAD}    """A toy."""\n{body}', encoding="utf-8")


@contextmanager
def added(folder: Path) -> Iterator[None]:
    """The files of a folder beside those of `threats/kinds`."""
    before = list(kinds.__path__)
    kinds.__path__.append(str(folder))
    known_parts.cache_clear()
    try:
        yield
    finally:
        kinds.__path__[:] = before
        known_parts.cache_clear()
        for name, module in list(sys.modules.items()):
            if Path(getattr(module, "__file__", None) or "/").is_relative_to(folder):
                del sys.modules[name]
