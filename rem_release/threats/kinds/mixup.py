"""Mixup: pairs of images and labels are blended (Zhang et al., 2018)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from rem_release.threats.base import Stage, ThreatPart, strict

if TYPE_CHECKING:
    from torch import Tensor, nn

    from rem_release.core.draws import Draws
    from rem_release.threats.images import Batch


@dataclass(frozen=True, config=strict)
class Mixup(ThreatPart):
    """Pairs of images and labels are blended (Zhang et al., 2018)."""

    stage: ClassVar[Stage] = Stage.BATCH
    reads_draws: ClassVar[bool] = True
    alpha: Annotated[float, Field(gt=0, le=100)] = 1.0

    def words(self) -> str:
        """See `ThreatPart`."""
        return "mixup"

    def augment(self, model: nn.Module, batch: Batch) -> Batch:
        """See `ThreatPart`."""
        from rem_release.threats.mixing import soft_labels

        images, targets = mixup(batch.images, soft_labels(batch), batch.draws, self.alpha)
        return replace(batch, images=images, targets=targets)


def mixup(images: Tensor, targets: Tensor, draws: Draws, alpha: float = 1.0) -> tuple[Tensor, Tensor]:
    """Blend each image and its target with those of another image of the batch.

    One λ ~ Beta(α, α) serves the batch, as in the authors' code: λ · itself + (1 - λ) · its partner. Partners are a
    permutation of the batch, so an image may be its own.

    Args:
        images: float [N, 3, R, R].
        targets: float [N, C], each row sums to one.
        draws: of this step, one id an image; N may be a multiple of the ids, for several views of each image.
        alpha: α above 0; 1 makes λ uniform, small ones bring λ near 0 or 1.

    Returns:
        (images, targets), new and of the same shapes.
    """
    import torch

    from rem_release.threats.mixing import draw_partners, draw_weight

    weight = draw_weight(draws, alpha)
    partner = draw_partners(draws, len(images) // len(draws.ids))
    return torch.lerp(images[partner], images, weight), torch.lerp(targets[partner], targets, weight)
