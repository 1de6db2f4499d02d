"""Adversarial training (paper Eq. 2) against projected gradient ascent."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic.dataclasses import dataclass

from rem_release.threats.base import Stage, ThreatPart, strict
from rem_release.threats.radii import OF_RHO_A, RadiusText, read_fraction

if TYPE_CHECKING:
    from torch import Tensor, nn

    from rem_release.core.pgd import Loss
    from rem_release.threats.adversary import Adversary
    from rem_release.threats.images import Batch


@dataclass(frozen=True, config=strict)
class Pgd(ThreatPart):
    """Adversarial training (paper Eq. 2): PGD of that radius in that norm; the recipe gives steps and step size."""

    stage: ClassVar[Stage] = Stage.ADVERSARY
    unsaid: ClassVar[frozenset[str]] = frozenset({"norm"})
    radius: RadiusText
    norm: Literal["linf", "l2", "l1"] = "linf"

    def __post_init__(self) -> None:
        if self.norm == "linf" and not OF_RHO_A.fullmatch(self.radius) and self.size > 1:
            raise ValueError(f"radius {self.radius} is above 1, the whole range of a pixel; write 4/255")

    @property
    def size(self) -> Fraction:
        """The radius as a number, once `rho_a` is known."""
        return read_fraction(self.radius)

    @property
    def ball_words(self) -> str:
        """Norm and radius, in plain words."""
        names = {"linf": "L∞", "l2": "L2", "l1": "L1"}
        return f"{names[self.norm]}, {self.radius}"

    def words(self) -> str:
        """See `ThreatPart`."""
        return f"adversarial training ({self.ball_words})"

    def ball(self) -> tuple[str, Fraction] | None:
        """See `ThreatPart`."""
        return self.norm, self.size

    def extra_passes(self, adversary: Adversary) -> float:
        """See `ThreatPart`."""
        return adversary.steps

    def perturb(self, model: nn.Module, batch: Batch, adversary: Adversary) -> tuple[Tensor, Tensor]:
        """See `ThreatPart`."""
        return self.attack(model, batch, adversary)

    def attack(self, model: nn.Module, batch: Batch, adversary: Adversary) -> tuple[Tensor, Tensor]:
        """See `ThreatPart`; adversaries that derive from this one are measured by it."""
        from rem_release.core.pgd import cross_entropy

        return self.climb(model, batch, adversary, self.draw_start(batch), batch.targets, cross_entropy)

    def draw_start(self, batch: Batch) -> Tensor:
        """Uniform noise in the ball, float32 [J · N, 3, R, R]."""
        from rem_release.core.draws import Purpose
        from rem_release.core.norms import random_start

        shape, radius = tuple(batch.images.shape[1:]), float(self.size)
        return random_start(batch.draws, radius, shape, self.norm, Purpose.ADVERSARY_START, 0, batch.samples)

    def climb(
        self, model: nn.Module, batch: Batch, adversary: Adversary, start: Tensor, targets: Tensor, loss: Loss
    ) -> tuple[Tensor, Tensor]:
        """PGD in the ball, from a start up a loss of the model's answers and the targets: what `perturb` gives."""
        import torch

        from rem_release.core.pgd import pgd

        as_convolved = torch.channels_last  # or each step would convert images and gradients
        x, start = (each.contiguous(memory_format=as_convolved) for each in (batch.images, start))
        radius = float(self.size)
        step_size = radius * adversary.relative_step_size
        return start, pgd(model, x, targets, radius, step_size, adversary.steps, start, self.norm, loss)
