"""Which pictures are protected, which are kept back, and which are released as they are.

The draw depends on the seed, on the picture, and on the pixels of all pictures together: seeds are easily guessed, and
someone who has the release must not be able to repeat the draw and tell clean rows from protected ones.
"""

import hashlib
from enum import IntEnum
from fractions import Fraction
from math import floor

import numpy as np
import torch

from rem_release.core.draws import Purpose, chain, uniform
from rem_release.data.working_set import WorkingSet
from rem_release.errors import InputError


class Role(IntEnum):
    """What becomes of a picture, and of every row that shows it."""

    PROTECTED = 0
    UNPROTECTED = 1
    RESERVED = 2


def choose_roles(working: WorkingSet, classes: list[str], reserve: float, fraction: float, seed: int) -> np.ndarray:
    """Draw a role for each distinct picture, so that pixel-identical rows always share one.

    Args:
        working: the pictures.
        classes: names, for messages.
        reserve: part of each class that is kept back clean for audits, 0 to below 1; rounded down in each class, and
            a class always keeps one picture that is not reserved.
        fraction: part of the remaining pictures that gets noise, above 0 to 1.
        seed: decides the draw, together with each picture's own id.

    Returns:
        int8 [U] of `Role`.

    Raises:
        InputError: the parts are out of range, nothing would be protected or reserved, or fewer than two classes
            would have protected pictures.
    """
    check_parts(reserve, fraction)
    labels = working.labels.numpy()
    roles = np.full(len(labels), Role.PROTECTED, np.int8)
    secret = int(hashlib.sha256("".join(working.hashes).encode()).hexdigest()[:15], 16)
    ranks = _draw(working.keys, seed, secret, Purpose.RESERVE)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(floor(Fraction(str(reserve)) * len(members)), len(members) - 1)  # 0.29 of 100 is 29
        roles[members[np.argsort(ranks[members], kind="stable")[:count]]] = Role.RESERVED
    if reserve and not (roles == Role.RESERVED).any():
        raise InputError(f"--reserve {reserve} keeps no picture back: every class is smaller than 1/{reserve}")
    rest = np.flatnonzero(roles == Role.PROTECTED)
    order = rest[np.argsort(_draw(working.keys, seed, secret, Purpose.FRACTION)[rest], kind="stable")]
    roles[order[round(fraction * len(rest)) :]] = Role.UNPROTECTED
    left = np.unique(labels[roles == Role.PROTECTED])
    if len(left) < 2:
        name = f"only {classes[left[0]]!r}" if len(left) else "no class"
        raise InputError(
            f"{name} would be protected, and noise needs at least two classes (the loss is constant otherwise); "
            f"raise --fraction ({fraction}) or lower --reserve ({reserve})"
        )
    return roles


def check_parts(reserve: float, fraction: float) -> None:
    """Refuse parts that are none.

    Raises:
        InputError: out of range.
    """
    if not 0 <= reserve < 1:
        raise InputError(f"--reserve {reserve}: give a part from 0 to below 1, such as 0.1")
    if not 0 < fraction <= 1:
        raise InputError(f"--fraction {fraction}: give a part above 0 and up to 1, such as 0.5")


def _draw(keys: torch.Tensor, seed: int, secret: int, purpose: Purpose) -> np.ndarray:
    digits = uniform(chain(torch.full_like(keys, seed), secret, int(purpose), keys), 3).double().numpy()
    return digits @ np.array([1.0, 2.0**-16, 2.0**-32])
