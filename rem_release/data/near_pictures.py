"""The search for near-duplicates: which pictures of one set lie within some levels of which pictures of another.

Two pictures are near if, squashed onto the working grid, no value differs by more than the levels allow; one level more
where either was resized, because the grid is rounded. The comparison is exact: none is missed, and none is invented.
Pictures that were flipped, turned, cropped, recoloured or compressed hard are not seen.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch.nn.functional import adaptive_avg_pool2d

from rem_release.data.decoding import fit_working_grid
from rem_release.data.in_order import map_in_order

_COARSE = 32
_CELLS = 4
_BLOCKS = 8
_ALIKE = 5.0
_QUERIES = 256
_COMPARED = 64

Read = Callable[[int], np.ndarray | None]
"""Number of a picture -> uint8 (H, W, 3), or None for one to leave out. Called from several threads."""


@dataclass(frozen=True)
class Near:
    """A picture of the first set and one of the second that lie close together."""

    one: int
    """its number in the first set"""
    other: int
    """its number in the second"""
    distance: int
    """largest difference in levels, on the working grid"""


class Grids:
    """Pictures on a coarse grid of at most 32 x 32 in memory; on the working grid they are read again when needed.

    Args:
        read: pictures by number; what it raises comes through.
        rows: int64, the numbers to take; `rows` keeps those that could be read, int64 [N].
        resolution: side of the working grid.
        report: called after each picture.
    """

    def __init__(self, read: Read, rows: np.ndarray, resolution: int, report: Callable[[], None] | None = None) -> None:
        self.rows = rows
        self._read, self._resolution = read, resolution
        side = min(resolution, _COARSE)
        self.is_exact = side == resolution
        self.coarse = np.empty((len(rows), 3 * side * side), np.uint8)
        self.resized = np.zeros(len(rows), bool)
        there = np.ones(len(rows), bool)
        for place, fitted in enumerate(map_in_order(self._fit, range(len(rows)))):
            if fitted is None:
                there[place] = False
            else:
                grid, self.resized[place] = fitted
                coarse = grid if self.is_exact else fit_working_grid(grid.transpose(1, 2, 0), side).numpy()
                self.coarse[place] = coarse.reshape(-1)
            if report:
                report()
        if not there.all():
            self.rows, self.coarse, self.resized = rows[there], self.coarse[there], self.resized[there]
        self.full = lru_cache(_COMPARED)(self._read_again)

    def __len__(self) -> int:
        return len(self.rows)

    def _fit(self, place: int) -> tuple[np.ndarray, bool] | None:
        pixels = self._read(int(self.rows[place]))
        if pixels is None:
            return None
        resized = pixels.shape[:2] != (self._resolution, self._resolution)
        return fit_working_grid(pixels, self._resolution).numpy(), resized

    def _read_again(self, place: int) -> np.ndarray:
        fitted = self._fit(place)
        assert fitted is not None, f"picture {self.rows[place]} could be read before"
        return fitted[0].reshape(-1)

    def means(self, cells: int = _CELLS) -> np.ndarray:
        """float32 [N, 3 · cells²], means of blocks. No mean differs by more than the pixels do."""
        side = round((self.coarse.shape[1] / 3) ** 0.5)
        images = torch.from_numpy(self.coarse).view(-1, 3, side, side)
        parts = [adaptive_avg_pool2d(part.float(), cells).flatten(1) for part in images.split(4096)]
        return torch.cat(parts).numpy() if parts else np.empty((0, 3 * _CELLS**2), np.float32)


def find_near(
    ones: Grids, others: Grids, levels: int, skip: Collection[int] = (), first_only: bool = False
) -> Iterator[Near]:
    """Find the pairs that lie close together.

    Args:
        ones: the pictures that are asked about.
        others: those that they are compared with, on the same working grid.
        levels: the most that a value may differ, one more where either picture was resized.
        skip: numbers of `ones` that are not asked about.
        first_only: only the first of `others` for each of `ones`.

    Yields:
        Pairs, in the order of `ones` and, for each, in that of `others`.
    """
    if not len(others):
        return
    asked = np.array([place for place, row in enumerate(ones.rows) if int(row) not in skip], np.int64)
    tree, means = cKDTree(others.means()), ones.means()
    slack = 1 if ones.is_exact else 2  # for the rounding of the working grid, and of the coarse one
    for start in range(0, len(asked), _QUERIES):
        batch = asked[start : start + _QUERIES]
        near = tree.query_ball_point(means[batch], levels + slack + 0.01, p=np.inf, return_sorted=True)
        for place, candidates in zip(batch, near, strict=True):
            for found in _compare(int(place), np.array(candidates, np.int64), ones, others, levels, slack):
                yield found
                if first_only:
                    break


def find_alike(ones: Grids, others: Grids) -> Iterator[Near]:
    """Find pictures that look the same though many pixels differ, as after another JPEG compression.

    They are alike if the means of 8 x 8 blocks differ by at most 5 levels (root mean square). Of 1,000 CIFAR-10
    pictures compressed anew at quality 75 to 95 the furthest was 3.8 away; of 10,000 others the nearest two were 7.0.

    Yields:
        The nearest of `others` for each of `ones` that has one; the distance is the root mean square, rounded up.
    """
    if not len(others) or not len(ones):
        return
    means = ones.means(_BLOCKS)
    reach = _ALIKE * means.shape[1] ** 0.5
    distances, places = cKDTree(others.means(_BLOCKS)).query(means, distance_upper_bound=reach)
    for place, (distance, found) in enumerate(zip(distances, places, strict=True)):
        if np.isfinite(distance):
            level = int(np.ceil(distance / means.shape[1] ** 0.5))
            yield Near(int(ones.rows[place]), int(others.rows[found]), level)


def _compare(place: int, candidates: np.ndarray, ones: Grids, others: Grids, levels: int, slack: int) -> Iterator[Near]:
    """Those of the candidates, places in `others`, that are close to the picture at this place of `ones`."""
    for start in range(0, len(candidates), _COMPARED):
        part = candidates[start : start + _COMPARED]
        distances = _largest_change(ones.coarse[place], others.coarse[part])
        for index in np.flatnonzero(distances <= levels + slack):
            candidate, distance = int(part[index]), int(distances[index])
            if not ones.is_exact:
                distance = int(_largest_change(ones.full(place), others.full(candidate)))
            if distance <= levels + int(ones.resized[place] or others.resized[candidate]):
                yield Near(int(ones.rows[place]), int(others.rows[candidate]), distance)


def _largest_change(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The most that pictures differ anywhere, in levels: uint8 over the last axis."""
    return (np.maximum(one, other) - np.minimum(one, other)).max(axis=-1)
