"""Friendly adversarial training (Zhang et al., ICML 2020): the adversary stops soon after an image is misclassified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from rem_release.threats.base import strict
from rem_release.threats.kinds.pgd import Pgd

if TYPE_CHECKING:
    from torch import Tensor, nn

    from rem_release.core.pgd import Loss
    from rem_release.threats.adversary import Adversary
    from rem_release.threats.images import Batch


@dataclass(frozen=True, config=strict)
class Fat(Pgd):
    """Friendly adversarial training (Zhang et al., ICML 2020, Algorithm 1): PGD in which an image takes τ steps
    while it is misclassified, and then stays. The recipe gives step size and most steps; all of them are computed."""

    since: ClassVar[str] = "0.7.0"
    tau: Annotated[int, Field(ge=0, le=10_000)] = 1

    def words(self) -> str:
        """See `ThreatPart`."""
        return f"friendly adversarial training ({self.ball_words}, τ {self.tau})"

    def perturb(self, model: nn.Module, batch: Batch, adversary: Adversary) -> tuple[Tensor, Tensor]:
        """See `ThreatPart`."""
        loss = stop_early(batch.targets, self.tau)
        return self.climb(model, batch, adversary, self.draw_start(batch), batch.targets, loss)


def stop_early(targets: Tensor, tau: int) -> Loss:
    """The cross-entropy of images that still move, for the calls of one attack: without a gradient an image stays.

    Args:
        targets: of the loss; the likeliest class is the right one where they are blended.
        tau: calls for which an image that is misclassified counts; after them it counts no more.
    """
    import torch
    from torch.nn.functional import cross_entropy

    right = targets.argmax(1) if targets.is_floating_point() else targets
    left = torch.full_like(right, tau)

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        left.sub_((logits.argmax(1) != right).to(left.dtype))
        return torch.where(left >= 0, cross_entropy(logits, targets, reduction="none"), 0).sum()

    return loss
