"""CutMix: a part of another image is pasted in, and labels are blended (Yun et al., 2019)."""

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
class Cutmix(ThreatPart):
    """A part of another image is pasted in, and labels are blended (Yun et al., 2019)."""

    stage: ClassVar[Stage] = Stage.BATCH
    reads_draws: ClassVar[bool] = True
    alpha: Annotated[float, Field(gt=0, le=100)] = 1.0

    def words(self) -> str:
        """See `ThreatPart`."""
        return "cutmix"

    def augment(self, model: nn.Module, batch: Batch) -> Batch:
        """See `ThreatPart`."""
        from rem_release.threats.mixing import soft_labels

        images, targets = cutmix(batch.images, soft_labels(batch), batch.draws, self.alpha)
        return replace(batch, images=images, targets=targets)


def cutmix(images: Tensor, targets: Tensor, draws: Draws, alpha: float = 1.0) -> tuple[Tensor, Tensor]:
    """Paste one square of another image of the batch into each image.

    One λ ~ Beta(α, α) and one square serve the batch, as in the authors' code. Its area is 1 - λ of the image (the
    side rounded down), its centre any pixel with the same chance; it is cut off at the border, and targets are
    blended by the pixels that really were pasted.

    Args:
        images: float [N, 3, R, R].
        targets: float [N, C], each row sums to one.
        draws: of this step, one id an image; N may be a multiple of the ids, for several views of each image.
        alpha: α above 0; 1 makes λ uniform.

    Returns:
        (images, targets), new and of the same shapes.
    """
    import torch

    from rem_release.threats.mixing import draw_partners, draw_weight, numbers_of_step

    resolution = images.shape[-1]
    side = int(resolution * (1 - draw_weight(draws, alpha)) ** 0.5)
    spans = []
    for number in numbers_of_step(draws)[1:]:
        first = int(number * resolution) - side // 2
        spans.append(slice(max(first, 0), min(first + side, resolution)))
    partner = draw_partners(draws, len(images) // len(draws.ids))
    mixed = images.clone()
    mixed[..., spans[0], spans[1]] = images[partner][..., spans[0], spans[1]]
    pasted = (spans[0].stop - spans[0].start) * (spans[1].stop - spans[1].start) / resolution**2
    return mixed, torch.lerp(targets, targets[partner], pasted)
