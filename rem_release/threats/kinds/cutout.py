"""Cutout: a square of each image is blanked (DeVries and Taylor, 2017)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from rem_release.threats.base import Stage, ThreatPart, strict

if TYPE_CHECKING:
    from torch import Tensor, nn

    from rem_release.threats.images import Batch

_BLANK = 0.5
"""Mid grey. DeVries and Taylor blank with the data's mean, which is 0 once images are normalised; the networks here
centre images at 0.5."""


@dataclass(frozen=True, config=strict)
class Cutout(ThreatPart):
    """A square of that share of the side is blanked (DeVries and Taylor, 2017)."""

    stage: ClassVar[Stage] = Stage.IMAGE
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5

    def words(self) -> str:
        """See `ThreatPart`."""
        return "cutout"

    def augment(self, model: nn.Module, batch: Batch) -> Batch:
        """See `ThreatPart`."""
        from rem_release.core.draws import Purpose

        keys = batch.draws.keys(Purpose.CUTOUT, 0, batch.samples)
        return replace(batch, images=cutout(batch.images, keys, self.share))


def cutout(images: Tensor, keys: Tensor, share: float = 0.5) -> Tensor:
    """Blank one square of each image.

    Its centre is any pixel with the same chance, so that a part of it may lie outside; the blank is mid grey.

    Args:
        images: float [N, 3, R, R] in [0, 1].
        keys: int64 [N], one an image.
        share: side of the square as a share of R, rounded to whole pixels: 16 of 32 at 0.5.

    Returns:
        New images of the same shape.
    """
    import torch

    from rem_release.core.draws import uniform

    resolution = images.shape[-1]
    side = round(share * resolution)
    first = (uniform(keys, 2) * resolution).long() - side // 2
    position = torch.arange(resolution, device=images.device)
    distance = position - first.unsqueeze(-1)  # [N, 2, R]
    inside = (distance >= 0) & (distance < side)
    square = inside[:, 0, :, None] & inside[:, 1, None, :]
    return images.masked_fill(square.unsqueeze(1), _BLANK)
