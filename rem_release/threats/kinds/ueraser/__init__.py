"""UEraser (Qin et al., 2023): strong augmentation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic.dataclasses import dataclass

from rem_release.threats.base import Stage, ThreatPart, strict

if TYPE_CHECKING:
    from torch import nn

    from rem_release.threats.adversary import Adversary
    from rem_release.threats.images import Batch

_DRAWS = 5
"""of UEraser-max"""


@dataclass(frozen=True, config=strict)
class Ueraser(ThreatPart):
    """UEraser (Qin et al., 2023): strong augmentation; `max` learns the worst of five draws, `lite` one draw."""

    stage: ClassVar[Stage] = Stage.BATCH
    reads_draws: ClassVar[bool] = True
    mode: Literal["lite", "max"] = "lite"

    def words(self) -> str:
        """See `ThreatPart`."""
        return f"UEraser-{self.mode}"

    def extra_passes(self, adversary: Adversary) -> float:
        """See `ThreatPart`. Choosing takes forward passes alone."""
        return _DRAWS / 3 if self.mode == "max" else 0

    def augment(self, model: nn.Module, batch: Batch) -> Batch:
        """See `ThreatPart`."""
        from rem_release.threats.kinds.ueraser.augmentation import choose_worst, draw

        if self.mode == "lite":
            return replace(batch, images=draw(batch.images, batch.draws, 1)[0])
        drawn = draw(batch.images, batch.draws, _DRAWS)
        return replace(batch, images=choose_worst(model, drawn, batch.labels))
