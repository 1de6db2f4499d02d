"""A short measured probe: what one sample gradient evaluation takes on this machine."""

import time

from rem_release.methods.maker import ImageSet, Maker

_MIN_SECONDS = 1.0
_MAX_ROUNDS = 50


def probe_gradients(maker: Maker, image_set: ImageSet, trains: bool) -> float:
    """Median seconds of one sample gradient evaluation, in the batches that the noise is made in; 0 without any.

    Args:
        maker: not to be used afterwards.
        image_set: what gets noise.
        trains: whether to rehearse the training before, so that the memory of both is taken.
    """
    if trains:
        maker.rehearse(image_set)
    rounds: list[float] = []
    first = time.perf_counter()
    while len(rounds) < 4 or (time.perf_counter() - first < _MIN_SECONDS and len(rounds) < _MAX_ROUNDS):
        began = time.perf_counter()
        gradients = maker.spend(image_set)
        if not gradients:
            return 0.0
        rounds.append((time.perf_counter() - began) / gradients)
    return sorted(rounds[1:])[len(rounds[1:]) // 2]
