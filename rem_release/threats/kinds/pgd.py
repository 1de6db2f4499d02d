"""Adversarial training (paper Eq. 2) against projected gradient ascent."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic.dataclasses import dataclass

from rem_release.threats.base import Stage, ThreatPart, strict
from rem_release.threats.radii import OF_RHO_A, RadiusText, read_fraction

if TYPE_CHECKING:
    from torch import Tensor, nn

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

    def words(self) -> str:
        """See `ThreatPart`."""
        norm = {"linf": "L∞", "l2": "L2", "l1": "L1"}[self.norm]
        return f"adversarial training ({norm}, {self.radius})"

    def ball(self) -> tuple[str, Fraction] | None:
        """See `ThreatPart`."""
        return self.norm, self.size

    def extra_passes(self, adversary: Adversary) -> float:
        """See `ThreatPart`."""
        return adversary.steps

    def perturb(self, model: nn.Module, batch: Batch, adversary: Adversary) -> tuple[Tensor, Tensor]:
        """See `ThreatPart`."""
        import torch

        from rem_release.core.draws import Purpose
        from rem_release.core.norms import random_start
        from rem_release.core.pgd import pgd

        as_convolved = torch.channels_last  # or each step would convert images and gradients
        x, radius = batch.images.contiguous(memory_format=as_convolved), float(self.size)
        start = random_start(
            batch.draws, radius, tuple(x.shape[1:]), self.norm, Purpose.ADVERSARY_START, 0, batch.samples
        ).contiguous(memory_format=as_convolved)
        step_size = radius * adversary.relative_step_size
        return start, pgd(model, x, batch.targets, radius, step_size, adversary.steps, start, self.norm)
