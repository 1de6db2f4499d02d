"""Which images are protected, which are kept back, and which are released as they are.

The draw depends on the seed, on the image, and on the pixels of all images together: seeds are easily guessed, and
someone who has the release must not be able to repeat the draw and tell clean rows from protected ones.
"""

import hashlib
from enum import IntEnum
from fractions import Fraction
from math import floor

import numpy as np
import torch

from rem_release.core.draws import Purpose, chain, uniform
from rem_release.data.copies.near_groups import NearGroups
from rem_release.data.working_set import WorkingSet
from rem_release.errors import InputError


class Role(IntEnum):
    """What becomes of an image, and of every row that shows it."""

    PROTECTED = 0
    UNPROTECTED = 1
    RESERVED = 2


def choose_roles(
    working: WorkingSet,
    classes: list[str],
    reserve: float,
    fraction: float,
    seed: int,
    near: NearGroups | None = None,
    release_unprotected: bool = True,
) -> np.ndarray:
    """Draw a role for each distinct image, so that pixel-identical rows and groups of near copies share one.

    Of a chain of near copies that was split, all images are protected where its groups drew several roles: somewhere
    along it two near copies would meet, of which one is published, or is tested on, without the noise of the other.

    Args:
        working: the images.
        classes: names, for messages.
        reserve: share of each class that is kept back clean for audits, 0 to below 1; rounded down in each class, and
            a class always keeps one image that is not reserved. Groups that are too large for what is left are not.
        fraction: share of the remaining images that gets noise, above 0 to 1; up to 19 more where a group is the last.
        seed: decides the draw, together with the id of each group's first image.
        near: how the images hang together; None where none is a near copy.
        release_unprotected: whether images without noise are released.

    Returns:
        int8 [U] of `Role`.

    Raises:
        InputError: the shares are out of range, nothing would be protected or reserved, or fewer than two classes
            would have protected images.
    """
    check_shares(reserve, fraction)
    near = near or NearGroups.of_strangers(len(working.hashes))
    labels, groups = working.labels.numpy(), _Groups(near)
    roles = np.full(len(labels), Role.PROTECTED, np.int8)
    secret = int(hashlib.sha256("".join(working.hashes).encode()).hexdigest()[:15], 16)
    _reserve(roles, labels, groups, _draw(working.keys, seed, secret, Purpose.RESERVE), reserve)
    _protect_share(roles, groups, _draw(working.keys, seed, secret, Purpose.FRACTION), fraction)
    for members in near.split_chains():
        drawn = set(roles[members].tolist()) - (set() if release_unprotected else {int(Role.UNPROTECTED)})
        if len(drawn) > 1:
            is_apart = np.isin(roles[members], list(drawn))
            roles[members[is_apart]] = Role.PROTECTED
    if reserve and not (roles == Role.RESERVED).any():
        raise InputError(
            f"--reserve {reserve} keeps no image back: every class is smaller than 1/{reserve}, or is linked by "
            "near copies; leave it out, and give audits their test images with --holdout"
        )
    left = np.unique(labels[roles == Role.PROTECTED])
    if len(left) < 2:
        name = f"only {classes[left[0]]!r}" if len(left) else "no class"
        raise InputError(
            f"{name} would be protected, and noise needs at least two classes (the loss is constant otherwise); "
            f"raise --fraction ({fraction}) or lower --reserve ({reserve})"
        )
    return roles


class _Groups:
    """Images that are drawn together: int64 [n], `firsts`, ascending, and for each of those all that go with it."""

    def __init__(self, near: NearGroups) -> None:
        self.firsts = np.unique(near.group)
        self._larger: dict[int, list[int]] = {}
        for place in np.flatnonzero(near.group != np.arange(len(near.group))).tolist():
            first = int(near.group[place])
            self._larger.setdefault(first, [first]).append(place)

    def __getitem__(self, first: int) -> list[int]:
        return self._larger.get(int(first), [int(first)])


def _reserve(roles: np.ndarray, labels: np.ndarray, groups: _Groups, ranks: np.ndarray, share: float) -> None:
    """Reserve a share of each class in groups; a group counts in the class of its first image."""
    firsts = groups.firsts
    kept = np.bincount(labels)
    for label in np.unique(labels):
        members = int((labels == label).sum())
        count = min(floor(Fraction(str(share)) * members), members - 1)  # 0.29 of 100 is 29
        ours = firsts[labels[firsts] == label]
        for first in ours[np.argsort(ranks[ours], kind="stable")]:
            if count == 0:
                break
            group = groups[first]
            taken = np.bincount(labels[group], minlength=len(kept))
            if len(group) <= count and (kept - taken)[taken > 0].all():
                roles[group] = Role.RESERVED
                kept, count = kept - taken, count - len(group)


def _protect_share(roles: np.ndarray, groups: _Groups, ranks: np.ndarray, fraction: float) -> None:
    """Leave a part of the images that are not reserved protected, in groups."""
    firsts = groups.firsts[roles[groups.firsts] == Role.PROTECTED]
    wanted = round(fraction * int((roles == Role.PROTECTED).sum()))
    for first in firsts[np.argsort(ranks[firsts], kind="stable")]:
        if wanted <= 0:
            roles[groups[first]] = Role.UNPROTECTED
        wanted -= len(groups[first])


def check_shares(reserve: float, fraction: float) -> None:
    """Refuse shares that are none.

    Raises:
        InputError: out of range.
    """
    if not 0 <= reserve < 1:
        raise InputError(f"--reserve {reserve}: give a share from 0 to below 1, such as 0.1")
    if not 0 < fraction <= 1:
        raise InputError(f"--fraction {fraction}: give a share above 0 and up to 1, such as 0.5")


def _draw(keys: torch.Tensor, seed: int, secret: int, purpose: Purpose) -> np.ndarray:
    digits = uniform(chain(torch.full_like(keys, seed), secret, int(purpose), keys), 3).double().numpy()
    return digits @ np.array([1.0, 2.0**-16, 2.0**-32])
