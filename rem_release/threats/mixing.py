"""The draws of threats that mix the images of a batch: one share a step, and a partner for each image."""

import scipy
import torch
import torch.nn.functional as F
from torch import Tensor

from rem_release.core.draws import Draws, Purpose, chain, uniform
from rem_release.threats.images import Batch


def draw_weight(draws: Draws, alpha: float) -> float:
    """λ ~ Beta(α, α) of this step: the inverse of the distribution function at a uniform number."""
    return float(scipy.special.betaincinv(alpha, alpha, numbers_of_step(draws)[0]))


def draw_partners(draws: Draws, samples: int = 1) -> Tensor:
    """A random permutation of the batch, int64 [samples · N], on the device of the ids: the order of the keys."""
    return draws.keys(Purpose.PARTNER, samples=samples).argsort(stable=True)


def numbers_of_step(draws: Draws) -> list[float]:
    """For λ and the centre of a square; made on the CPU, so that no step waits for the device."""
    return uniform(chain(torch.tensor(draws.seed), int(Purpose.MIX), draws.step), 3).tolist()


def soft_labels(batch: Batch) -> Tensor:
    """The labels as the share of each class, [J · N, C], of the type of the images."""
    return F.one_hot(batch.labels, batch.classes).to(batch.images.dtype)
