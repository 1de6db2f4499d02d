"""A short measured probe: what one sample gradient evaluation takes on this machine."""

import time

from rem_release.methods.maker import ImageSet, Maker

_MIN_SECONDS, _MAX_SECONDS = 1.0, 20.0
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
    while _goes_on(len(rounds), time.perf_counter() - first):
        began = time.perf_counter()
        gradients = maker.spend(image_set)
        if not gradients:
            return 0.0
        rounds.append((time.perf_counter() - began) / gradients)
    warm = rounds[1:] or rounds
    return sorted(warm)[len(warm) // 2]


def _goes_on(rounds: int, seconds: float) -> bool:
    """Four rounds at least and a second; one alone where it takes long, as a large block does."""
    if rounds < 4:
        return rounds == 0 or seconds < _MAX_SECONDS
    return seconds < _MIN_SECONDS and rounds < _MAX_ROUNDS
