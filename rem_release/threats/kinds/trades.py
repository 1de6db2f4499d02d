"""TRADES (Zhang et al., ICML 2019): clean images are learnt, and that the adversary's are answered alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from rem_release.threats.base import strict
from rem_release.threats.kinds.pgd import Pgd

if TYPE_CHECKING:
    from torch import Tensor, nn

    from rem_release.threats.adversary import Adversary
    from rem_release.threats.images import Batch

_START = 0.001
"""as in the authors' code: the divergence has no gradient on the image itself"""


@dataclass(frozen=True, config=strict)
class Trades(Pgd):
    """TRADES (Zhang et al., ICML 2019, Algorithm 1): the cross-entropy of the images, and β times the Kullback-Leibler
    divergence KL(f(x) ‖ f(x')), x' being those of the adversary, who raises it. The recipe gives steps and step size.

    Images and those of the adversary go through the network as one batch, and share the statistics of BatchNorm.
    """

    since: ClassVar[str] = "0.7.0"
    beta: Annotated[float, Field(gt=0, le=1000)] = 6.0

    def words(self) -> str:
        """See `ThreatPart`."""
        return f"TRADES ({self.ball_words}, β {self.beta:g})"

    def extra_passes(self, adversary: Adversary) -> float:
        """See `ThreatPart`. Clean images take a pass in the loss, and one forward alone before the attack."""
        return adversary.steps + 4 / 3

    def perturb(self, model: nn.Module, batch: Batch, adversary: Adversary) -> tuple[Tensor, Tensor]:
        """See `ThreatPart`."""
        answers = model(batch.images).log_softmax(1)
        return self.climb(model, batch, adversary, draw_near(batch), answers, divergence)

    def loss(self, wrapped: nn.Module, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """See `ThreatPart`; the logits are those of the images without the adversary."""
        import torch
        from torch.nn.functional import cross_entropy

        logits, attacked = wrapped(torch.cat([batch.images, batch.seen])).chunk(2)
        apart = divergence(attacked, logits.log_softmax(1)) / len(logits)
        return cross_entropy(logits, batch.targets) + self.beta * apart, logits


def draw_near(batch: Batch) -> Tensor:
    """Normal noise of standard deviation 0.001, where the adversary starts: float32 [J · N, 3, R, R]."""
    import torch

    from rem_release.core.draws import own_purpose, uniform

    keys = batch.draws.keys(own_purpose("trades start"), samples=batch.samples)
    numbers = uniform(keys, batch.images[0].numel())
    return torch.special.ndtri(numbers).mul_(_START).reshape(batch.images.shape)


def divergence(logits: Tensor, answers: Tensor) -> Tensor:
    """KL(p ‖ q), summed over the images: a scalar.

    Args:
        logits: of q, [N, C].
        answers: log p, [N, C]; as logarithms, so that no class is too unlikely for its gradient.
    """
    from torch.nn.functional import kl_div

    return kl_div(logits.log_softmax(1), answers, reduction="sum", log_target=True)
