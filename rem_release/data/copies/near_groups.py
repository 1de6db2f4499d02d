"""Which images of a set are near copies of each other, and what must therefore share one role and one noise.

Near copies are images that are within twice ρ_u of each other on the working grid (`near_images`): two noises on
them average away, and a clean one that is published shows what the other protects. Near copies of near copies form a
chain. A burst or a set of X-rays can be one long chain whose ends have nothing in common, and a noise that many
images share can be read off their mean: chains of more than 20 are split into groups of one image and at most 19 of
its near copies.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rem_release.data.copies.near_images import Grids, compare, find_slack

MAX_TOGETHER = 20
"""images that share one noise and are drawn as one"""
_WIDEST = 64

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class NearGroups:
    """How U images hang together.

    Attributes:
        earlier: int64 [U], the first found of the earlier images that this one is a near copy of; -1 for none.
        chain: int64 [U], the first image of the chain of near copies that leads here; itself where there is none.
        group: int64 [U], the first image of the group; every image of a chain of at most 20.
    """

    earlier: np.ndarray
    chain: np.ndarray
    group: np.ndarray

    @classmethod
    def of_strangers(cls, count: int) -> "NearGroups":
        """Images without near copies."""
        alone = np.arange(count)
        return cls(np.full(count, -1, np.int64), alone, alone)

    def split_chains(self) -> list[np.ndarray]:
        """The images of each chain that was split, int64, ascending."""
        members = np.flatnonzero(np.isin(self.chain, np.unique(self.chain[self.group != self.chain])))
        order = members[np.argsort(self.chain[members], kind="stable")]
        return np.split(order, np.flatnonzero(np.diff(self.chain[order])) + 1) if len(order) else []


def near_levels(rho_u_levels: int) -> int:
    """How far near copies lie apart at most, given ρ_u in whole levels: twice as far, and never more than 64 levels."""
    return min(2 * rho_u_levels, _WIDEST)


def group_near_copies(grids: Grids, levels: int, progress: Progress | None = None) -> NearGroups:
    """Find all near copies.

    Images that are known to hang together already are not compared again, so that thousands of blank pages take no
    more than one comparison each.

    Args:
        grids: the images; their order is that of the set.
        levels: the most that a value of near copies differs, one more where either was resized.
        progress: told (done, total) images.
    """
    count = len(grids)
    earlier = np.full(count, -1, np.int64)
    chains = _Chains(count)
    means, reach = grids.indexed_means, levels + find_slack(grids) + 0.01
    for place in range(count):
        rest = grids.index.find(means[place], reach, end=place)
        while len(rest):
            found = next((found for found, _ in compare(place, rest, grids, grids, levels)), None)
            if found is None:
                break
            earlier[place] = found if earlier[place] < 0 else earlier[place]
            chains.join(found, place)
            rest = rest[(rest > found) & (chains.of[rest] != chains.of[place])]
        if progress:
            progress(place + 1, count)
    group = chains.of.copy()
    for members in chains.long():
        group[members] = _split(grids, levels, members)
    return NearGroups(earlier, chains.of, group)


def mark_near_copies(grids: Grids, levels: int, near: NearGroups, is_released: np.ndarray) -> np.ndarray:
    """bool [U]: the released images that are near copies of earlier ones that are released too."""
    has_near = is_released & (near.earlier >= 0)
    unsure = np.concatenate([np.empty(0, np.int64), *near.split_chains()])  # others are released as a whole, or not
    unsure = np.sort(unsure[is_released[unsure]])
    if not is_released[near.earlier[has_near]].all():
        has_near[unsure] = group_near_copies(grids.subset(unsure), levels).earlier >= 0
    return has_near


def number_noises(is_protected: np.ndarray, near: NearGroups, sizes: np.ndarray) -> np.ndarray:
    """Give protected images of one group and size one noise: two noises on near copies average away.

    Near copies that stand in several classes get that of the first, as equal images do.

    Args:
        is_protected: bool [U].
        near: how the images hang together.
        sizes: int64 [U, 2].

    Returns:
        int64 [U], numbers in the order of first appearance; -1 for images without noise.
    """
    index = np.full(len(sizes), -1, np.int64)
    kinds = np.column_stack([near.group, sizes])[is_protected]
    _, firsts, kind = np.unique(kinds, axis=0, return_index=True, return_inverse=True)
    index[is_protected] = np.argsort(np.argsort(firsts))[kind.reshape(-1)]
    return index


class _Chains:
    """Images in chains, each of which has the number of its first image."""

    def __init__(self, count: int) -> None:
        self.of = np.arange(count)
        self._members: dict[int, list[int]] = {}

    def join(self, one: int, other: int) -> None:
        """Make the chains of two images one; each image changes its number a few times at most."""
        first, second = sorted((int(self.of[one]), int(self.of[other])))
        if first == second:
            return
        joined, added = (self._members.pop(chain, [chain]) for chain in (first, second))
        if len(joined) < len(added):
            joined, added = added, joined
        joined += added
        self._members[first] = joined
        self.of[joined if self.of[joined[0]] != first else added] = first

    def long(self) -> list[np.ndarray]:
        """The chains that are too long to stay together, int64, ascending."""
        return [np.array(sorted(members)) for members in self._members.values() if len(members) > MAX_TOGETHER]


def _split(grids: Grids, levels: int, members: np.ndarray) -> np.ndarray:
    """Cut a chain: the first image that is left takes the first 19 of its near copies that are left, and so on.

    Returns:
        int64, the first image of the group of each member.
    """
    group = np.full(len(grids), -1, np.int64)
    is_left = np.zeros(len(grids), bool)
    is_left[members] = True
    means, reach = grids.indexed_means, levels + find_slack(grids) + 0.01
    for place in members:
        if not is_left[place]:
            continue
        is_left[place], group[place], taken = False, place, 1
        candidates = grids.index.find(means[place], reach)
        for found, _ in compare(int(place), candidates[is_left[candidates]], grids, grids, levels):
            is_left[found], group[found], taken = False, place, taken + 1
            if taken == MAX_TOGETHER:
                break
    return group[members]
