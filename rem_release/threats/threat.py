"""Threats: what an attacker does with the released images. Named parts with parameters, which can be joined by `+`.

Each part acts where an attacker would apply it, see `base.Stage`. An unknown name or parameter is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, TypeVar

from rem_release.threats.base import Stage, ThreatPart
from rem_release.threats.notation import build_part, parse_calls, write_call
from rem_release.threats.registry import known_parts

if TYPE_CHECKING:
    import numpy as np
    from accelerate import Accelerator
    from torch import Tensor, nn

    from rem_release.threats.adversary import Adversary
    from rem_release.threats.images import Batch, Pipeline, TrainingImages, Transform
    from rem_release.training.loop import Schedule

STANDARD = "standard"
_PLAIN = "pgd"
"""adversarial training as in paper Eq. 2, which alone is what the adversarial tier asks for"""
_SEVERAL = (Stage.FILTER, Stage.IMAGE)
T = TypeVar("T")


@dataclass(frozen=True)
class Threat:
    """Parts in their order; none is standard training."""

    parts: tuple[ThreatPart, ...] = ()

    # what it is

    @property
    def name(self) -> str:
        """Canonical name: two threats that do the same have the same."""
        return write_parts(self.parts) or STANDARD

    def words(self) -> str:
        """In plain words."""
        return ", ".join(part.words() for part in self.parts) or "standard training"

    def at(self, rho_a: Fraction) -> Threat:
        """The same with `rho_a` in radii replaced by its value.

        Raises:
            ValueError: a radius comes out above 1, the whole range of a pixel.
        """
        return Threat(tuple(part.at(rho_a) for part in self.parts))

    @cached_property
    def acting(self) -> tuple[ThreatPart, ...]:
        """The parts that act: those that others are made of, in their place."""
        return tuple(sorted((each for part in self.parts for each in _acting(part)), key=_place))

    def _of_stage(self, stage: Stage) -> ThreatPart | None:
        return next((part for part in self.acting if part.stage == stage), None)

    def _first(self, ask: Callable[[ThreatPart], T | None]) -> T | None:
        """What the first part says that says something."""
        return next((said for part in self.acting if (said := ask(part)) is not None), None)

    @property
    def adversary(self) -> ThreatPart | None:
        """The part that perturbs the images of each step."""
        return self._of_stage(Stage.ADVERSARY)

    @property
    def ball(self) -> tuple[str, Fraction] | None:
        """Norm and radius of adversarial training; None for anything else."""
        return self._first(lambda part: part.ball())

    @property
    def plain_radius(self) -> Fraction | None:
        """L∞ radius of plain adversarial training (paper Eq. 2) alone; 0 for standard training; else None."""
        if not self.parts:
            return Fraction(0)
        norm, radius = self.ball or (None, None)
        return radius if norm == "linf" and [part.name for part in self.acting] == [_PLAIN] else None

    @property
    def network(self) -> str | None:
        """Name of the network that takes the place of the recipe's."""
        return self._first(lambda part: part.network)

    def of_network(self) -> Threat:
        """Standard training of the same network."""
        return Threat(tuple(part for part in self.acting if part.network))

    @property
    def needs_originals(self) -> bool:
        """Whether the attacker has the originals of some rows, see `own_originals`; what they teach is the floor."""
        return any(part.needs_originals for part in self.acting)

    @property
    def needs_augmentation(self) -> str | None:
        """The name of a part that does nothing with a recipe that does not augment; None without one."""
        return self._first(lambda part: part.name if part.needs_augmentation else None)

    def on_clean_images(self) -> Threat:
        """The same on images that are all clean: nothing is left of what takes the originals of some."""
        rest: list[ThreatPart] = []
        for part in self.parts:
            acting = _acting(part)
            takes_some = any(each.needs_originals for each in acting)
            rest += [each for each in acting if not each.needs_originals] if takes_some else [part]
        return Threat(tuple(sorted(rest, key=_place)))

    @property
    def reads_draws(self) -> bool:
        """Whether numbers of the draws are read on the host in each step, so that a GPU cannot record it."""
        return any(part.reads_draws for part in self.acting)

    # what it costs

    @property
    def draws(self) -> int:
        """Draws of the augmentation that a step takes of each image."""
        return max((part.draws for part in self.acting), default=1)

    def passes(self, adversary: Adversary) -> float:
        """Forward and backward passes of the network that a step spends on each image of its batch.

        Passes at the working resolution: one at another costs as many as it has times the pixels.
        """
        return self._pixels * self.draws * (1 + sum(part.extra_passes(adversary) for part in self.acting))

    def passes_before(self, images: int, adversary: Adversary) -> float:
        """Those that are spent before training on that many images, counted alike."""
        return self._pixels * sum(part.passes_before(images, adversary) for part in self.acting)

    @property
    def _pixels(self) -> float:
        return prod(part.pixels() for part in self.acting)

    # what it does to images and rows

    def filters(self, *, test: bool) -> list[ThreatPart]:
        """What changes the training images, or the test images, at their own size, in order."""
        return [part for part in self.acting if part.stage == Stage.FILTER and (part.on_tests or not test)]

    def pipeline(self, resolution: int) -> Pipeline | None:
        """How images are brought to the network in place of the working grid; None on the grid."""
        return self._first(lambda part: part.pipeline(resolution))

    @property
    def views(self) -> ThreatPart | None:
        """The part with a pipeline of its own."""
        return self._of_stage(Stage.VIEWS)

    @property
    def mixture(self) -> ThreatPart | None:
        """The part that puts originals in the place of released rows."""
        return next((part for part in self.acting if part.mixes_originals), None)

    def own_originals(self, labels: np.ndarray) -> np.ndarray | None:
        """Of which rows the attacker has the originals: bool [N]; None of none."""
        return self._first(lambda part: part.own_originals(labels) if part.needs_originals else None)

    # what it does before training

    def fit(
        self, images: TrainingImages, originals: TrainingImages | None
    ) -> tuple[TrainingImages, tuple[Transform, ...]]:
        """What the victim learns from, and what is done to the test images.

        Args:
            images: the training images as they are.
            originals: those that the attacker has; None without.
        """
        on_tests: tuple[Transform, ...] = ()
        is_boxed = self.adversary is not None  # the adversary moves inside the box
        for part in self.acting:
            if transform := part.fit(images, originals):
                images = replace(images, transforms=(*images.transforms, transform), is_clamped=is_boxed)
                on_tests += (transform,) if part.on_tests else ()
        return images, on_tests

    def initial_weights(self, accelerator: Accelerator, model: nn.Module, images: TrainingImages, seed: int) -> None:
        """See `ThreatPart`."""
        for part in self.acting:
            part.initial_weights(accelerator, model, images, seed)

    def schedule(self, schedule: Schedule) -> Schedule:
        """See `ThreatPart`."""
        changed = schedule
        for part in self.acting:
            changed = part.schedule(changed)
        if changed.steps != schedule.steps:
            raise ValueError(f"{self.name} trains for {changed.steps} steps, and the recipe says {schedule.steps}")
        return changed

    # what it does in each step

    def augment(self, model: nn.Module, batch: Batch) -> Batch:
        """See `ThreatPart`."""
        for part in self.acting:
            batch = part.augment(model, batch)
        return batch

    def perturb(self, model: nn.Module, batch: Batch, adversary: Adversary) -> tuple[Tensor, Tensor]:
        """See `ThreatPart`; there is an adversary."""
        assert self.adversary
        return self.adversary.perturb(model, batch, adversary)

    def attack(self, model: nn.Module, batch: Batch, adversary: Adversary) -> tuple[Tensor, Tensor]:
        """See `ThreatPart`; there is an adversary."""
        assert self.adversary
        return self.adversary.attack(model, batch, adversary)

    def loss(self, wrapped: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean loss, and logits [J · N, C]: that of the one part that has its own, else the cross-entropy."""
        found = self._first(lambda part: part.loss(wrapped, batch))
        return _cross_entropy(wrapped, batch) if found is None else found


def _cross_entropy(wrapped: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    from torch.nn.functional import cross_entropy

    logits = wrapped(batch.seen)
    return cross_entropy(logits, batch.targets), logits


def parse_threat(text: str) -> Threat:
    """Read a threat such as `standard`, `jpeg(quality=10) + pgd(radius=rho_a)`.

    Raises:
        ValueError: an unknown name or parameter, a value that is not valid, or parts that do not go together.
    """
    calls = parse_calls(text)
    if [name for name, _ in calls] == [STANDARD] and not calls[0][1]:
        return Threat()
    if any(name == STANDARD for name, _ in calls):
        raise ValueError(f"{text!r}: standard stands alone and has no parameters")
    parts = [build_part(name, parameters, known_parts(), "threat") for name, parameters in calls]
    if reason := _contradict([each for part in parts for each in _acting(part)]):
        raise ValueError(f"{text!r}: {reason}")
    return Threat(tuple(sorted(parts, key=_place)))


def _contradict(parts: list[ThreatPart]) -> str | None:
    """Why parts do not go together."""
    names = [part.name for part in parts]
    for name, count in Counter(names).items():
        if count > 1:
            return f"{name} appears twice"
    for stage in Stage:
        together = [part.name for part in parts if part.stage == stage]
        if len(together) > 1 and stage not in _SEVERAL:
            return f"{' and '.join(together)} do not go together"
    own_loss = [part.name for part in parts if type(part).loss is not ThreatPart.loss]
    for alike in (own_loss, [part.name for part in parts if part.needs_originals]):
        if len(alike) > 1:
            return f"{' and '.join(alike)} do not go together"
    for part in parts:
        if others := part.excludes.intersection(names):
            return f"{' and '.join(name for name in names if name in {part.name, *others})} do not go together"
    return None


def _acting(part: ThreatPart) -> list[ThreatPart]:
    return [each for inner in part.made_of() for each in _acting(inner)] or [part]


def _place(part: ThreatPart) -> tuple[int, str]:
    """What changes images keeps its order, which matters; the rest has one."""
    return part.stage, "" if part.stage == Stage.FILTER else part.name


def write_parts(parts: Sequence[ThreatPart]) -> str:
    """Parts by their names and parameters; no two that differ are written alike."""
    return "+".join(_write(part) for part in parts)


def _write(part: ThreatPart) -> str:
    values = {field.name: (getattr(part, field.name), field.default) for field in fields(part)}
    said = {key: value for key, (value, default) in values.items() if value != default or key not in part.unsaid}
    return write_call(part.name, {key: _plain(value) for key, value in said.items()})


def _plain(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).removesuffix(".0") if isinstance(value, float) else value
