"""Which images a training step sees: a function of (seed, step), so that a run can go on anywhere."""

from functools import lru_cache

import torch
from torch import Tensor

from rem_release.core.draws import chain


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, count: int) -> Tensor:
    key = int(chain(torch.tensor(seed), epoch, count)) & 0x7FFFFFFFFFFFFFFF
    return torch.randperm(count, generator=torch.Generator().manual_seed(key))


def batch_indices(seed: int, step: int, count: int, batch_size: int) -> Tensor:
    """The images of one step, int64 [batch_size], each epoch a new permutation of `count` images.

    Epochs follow each other without a gap: a batch may end one and begin the next.
    """
    first, end = step * batch_size, (step + 1) * batch_size
    chunks = []
    for epoch in range(first // count, (end - 1) // count + 1):
        begin = epoch * count
        chunks.append(_permutation(seed, epoch, count)[max(first - begin, 0) : end - begin])
    return torch.cat(chunks)
