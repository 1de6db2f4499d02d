"""A short measured probe: what one sample gradient evaluation takes on this machine."""

import time

import torch

from rem_release.core.draws import Draws, Purpose
from rem_release.core.pgd import frozen, pgd
from rem_release.core.resampling import DRAW, resample
from rem_release.methods.base import Method, Pictures
from rem_release.methods.min_max import MinMaxNoise

_LEAST_SECONDS = 1.0
_MOST_ROUNDS = 50


def seconds_per_gradient(method: Method, pictures: Pictures, batch_size: int) -> float:
    """Median seconds of one sample gradient evaluation, in the batches that the noise is made in (J draws at once).

    Returns 0 for a method without a network.
    """
    if not isinstance(method, MinMaxNoise):
        return 0.0
    count = min(batch_size, len(pictures))
    batch = pictures.batch(torch.arange(count, device=pictures.labels.device))
    J, resolution = method.noise.J, batch.images.shape[-1]
    draws = Draws.final(method.seed, batch.keys)
    t = DRAW[method.noise.transform](draws.keys(Purpose.TRANSFORM, 0, J), resolution)
    images, labels = resample(batch.images.repeat(J, 1, 1, 1), t), batch.labels.repeat(J)
    rounds: list[float] = []
    with frozen(method.model):
        while len(rounds) < 3 or (sum(rounds) < _LEAST_SECONDS and len(rounds) < _MOST_ROUNDS):
            began = time.perf_counter()
            delta = pgd(method.model, images, labels, 0.01, 0.01, 1, torch.zeros_like(images))
            delta.sum().item()  # waits for the device
            rounds.append(time.perf_counter() - began)
    return sorted(rounds[1:])[len(rounds[1:]) // 2] / (count * J)
