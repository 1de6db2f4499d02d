"""Counter-based draws: every random number is a function of (seed, purpose, step, k, j, image id).

So a draw depends neither on the batch an image stands in, nor on the number of processes, nor on what was drawn
before, and a run that was killed goes on with the same numbers. The function is SplitMix64's output function
(Steele, Lea and Flood, OOPSLA 2014), chained over the coordinates.
"""

import hashlib
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
_SECOND = 0x94D049BB133111EB - (1 << 64)
FINAL_PASS = -1
"""the step of the pass that makes the noise that ships"""
_MIN_OWN = 1 << 56
_MASK = (1 << 64) - 1


class Purpose(IntEnum):
    """What a number is drawn for, so that no two uses share a number. A threat or method has its own: `own_purpose`."""

    NOISE_START = 1
    TRANSFORM = 2
    ADVERSARY_START = 3
    OUTER_TRANSFORM = 4
    OUTER_ADVERSARY_START = 5
    RANDOM_SIGNS = 6
    RESERVE = 7
    FRACTION = 8
    CUTOUT = 9
    MIX = 10
    COLOUR = 11
    PARTNER = 12


def own_purpose(name: str) -> int:
    """The purpose of that name, apart from those of other names and from `Purpose`: from 2⁵⁶ up, and always the same.

    Args:
        name: of the file and of what it draws, such as "my_threat masks".
    """
    return _MIN_OWN + int.from_bytes(hashlib.sha256(name.encode()).digest()[:7])


def _mix(z: Tensor) -> Tensor:
    z = (z >> 30).bitwise_and_(0x3FFFFFFFF).bitwise_xor_(z).mul_(_FIRST)
    z = (z >> 27).bitwise_and_(0x1FFFFFFFFF).bitwise_xor_(z).mul_(_SECOND)
    return (z >> 31).bitwise_and_(0x1FFFFFFFF).bitwise_xor_(z)


def _mix_number(z: int) -> int:
    """`_mix` of one number, which a tensor would take some microseconds for."""
    z &= _MASK
    z = (z ^ (z >> 30)) * _FIRST & _MASK
    z = (z ^ (z >> 27)) * _SECOND & _MASK
    z ^= z >> 31
    return z - (1 << 64) if z >> 63 else z


def chain(key: int | Tensor, *coordinates: int | Tensor) -> Tensor:
    """Absorb coordinates into keys, int64 of any shape, one after another. One of them all is a tensor at least."""
    for coordinate in coordinates:
        mixed = _mix_number(key + _GOLDEN) if isinstance(key, int) else _mix(key + _GOLDEN)
        absorbed = mixed ^ coordinate
        key = _mix_number(absorbed) if isinstance(absorbed, int) else _mix(absorbed)
    assert isinstance(key, Tensor)
    return key


def uniform(keys: Tensor, count: int) -> Tensor:
    """`count` independent numbers in (0, 1) for each key, in steps of 2⁻¹⁶: float32 [*keys.shape, count]."""
    return _centred(keys, count).add_(32768).div_(65536)


def _centred(keys: Tensor, count: int) -> Tensor:
    """`count` independent numbers for each key, -32767.5 to 32767.5 in whole steps: float32 [*keys.shape, count]."""
    words = -(-count // 4)
    counters = _GOLDEN * torch.arange(1, words + 1, dtype=torch.int64, device=keys.device)
    parts = _mix(keys.unsqueeze(-1) + counters).view(torch.int16)[..., :count]  # the lowest bits first
    return (parts ^ -32768).to(torch.float32).add_(0.5)


@dataclass(frozen=True)
class Draws:
    """The draws of one step for one batch.

    Attributes:
        seed: seed of the run.
        ids: int64 [N], one id an image; the same image has the same id.
        step: training step, from 0, as a number or int64 []; `final` makes those of the last pass over the images.
    """

    seed: int
    ids: Tensor
    step: int | Tensor

    @classmethod
    def final(cls, seed: int, ids: Tensor) -> "Draws":
        """Draws of the pass that makes the noise that ships."""
        return cls(seed, ids, FINAL_PASS)

    def keys(self, purpose: int, k: int = 0, samples: int = 1) -> Tensor:
        """One key for each of `samples` draws (j) of each image: int64 [samples · N], draw-major.

        Args:
            purpose: of `Purpose`, or `own_purpose`.
            k: which of several draws of a step.
            samples: J.
        """
        j = torch.arange(samples, device=self.ids.device).unsqueeze(1) if samples > 1 else 0
        return chain(self.seed, int(purpose), self.step, k, j, self.ids).flatten()

    def within(self, radius: float, shape: tuple[int, ...], purpose: int, k: int = 0, samples: int = 1) -> Tensor:
        """Uniform noise in ±radius: float32 [samples · N, *shape]."""
        count = int(torch.Size(shape).numel())
        return _centred(self.keys(purpose, k, samples), count).mul_(radius / 32768).reshape(-1, *shape)
