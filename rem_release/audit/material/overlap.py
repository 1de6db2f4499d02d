"""The overlap guard: test pictures that stand in the release, in whatever bytes, would test memory.

A test picture overlaps a row if, on the working grid, it lies within ρ_u (max norm) of the protected picture or of its
original; one level more where either was resized, because the grid is rounded. The comparison is exact. Pictures that
were flipped, cropped, recoloured or compressed hard are not seen.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch.nn.functional import adaptive_avg_pool2d

from rem_release.audit.material.pairs import Progress, Read, largest_change
from rem_release.audit.material.target import Target
from rem_release.data.decoding import fit_working_grid
from rem_release.data.in_order import map_in_order
from rem_release.radius import whole_levels

_WIDEST = 32
_COARSE = 32
_CELLS = 4
_QUERIES = 256
_COMPARED = 64


@dataclass(frozen=True)
class Overlap:
    """A test picture and the first row that it overlaps."""

    picture: int
    row: int
    distance: int
    """largest difference in levels, on the working grid"""
    kind: str
    """`original` or `protected picture`"""


def find_overlaps(
    read: Read, count: int, target: Target, rows: np.ndarray, progress: Progress | None = None
) -> list[Overlap]:
    """Compare test pictures with the rows that victims train on.

    Args:
        read: test pictures by number, uint8 (H, W, 3).
        count: T, how many there are.
        target: what is audited.
        rows: int64 [K], the rows to compare with.
        progress: told (done, total) pictures read.

    Returns:
        One entry for each test picture that overlaps, in order; its original counts before its protected picture. The
        radius is at most 32 levels: another method may change single pixels by more, and its originals are known.
    """
    levels = min(whole_levels(target.rho_u), _WIDEST)
    changed = rows[target.changed[rows]]
    total, done = count + len(rows) + len(changed), 0

    def report() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, total)

    tests = _Grids(read, np.arange(count), target.resolution, report)
    found: dict[int, Overlap] = {}
    for kind, reader, chosen in (
        ("original", target.clean, rows),
        ("protected picture", target.protected, changed),
    ):
        grids = _Grids(reader, chosen, target.resolution, report)
        for picture, place, distance in _find_close(tests, grids, levels, skip=found):
            found[picture] = Overlap(picture, int(chosen[place]), distance, kind)
    return [found[picture] for picture in sorted(found)]


class _Grids:
    """Pictures on a coarse grid of at most 32 x 32 in memory; on the working grid they are read again when needed."""

    def __init__(self, read: Read, rows: np.ndarray, resolution: int, report: Callable[[], None]) -> None:
        self._read, self._rows, self._resolution = read, rows, resolution
        side = min(resolution, _COARSE)
        self.is_exact = side == resolution
        self.coarse = np.empty((len(rows), 3 * side * side), np.uint8)
        self.resized = np.zeros(len(rows), bool)
        for place, (grid, resized) in enumerate(map_in_order(self._fit, range(len(rows)))):
            coarse = grid if self.is_exact else fit_working_grid(grid.transpose(1, 2, 0), side).numpy()
            self.coarse[place], self.resized[place] = coarse.reshape(-1), resized
            report()
        self.full = lru_cache(_COMPARED)(lambda place: self._fit(place)[0].reshape(-1))

    def _fit(self, place: int) -> tuple[np.ndarray, bool]:
        pixels = self._read(int(self._rows[place]))
        resized = pixels.shape[:2] != (self._resolution, self._resolution)
        return fit_working_grid(pixels, self._resolution).numpy(), resized

    def means(self) -> np.ndarray:
        """float32 [n, 3 · cells²], means of blocks. No mean differs by more than the pixels do."""
        side = round((self.coarse.shape[1] / 3) ** 0.5)
        images = torch.from_numpy(self.coarse).view(-1, 3, side, side)
        parts = [adaptive_avg_pool2d(part.float(), _CELLS).flatten(1) for part in images.split(4096)]
        return torch.cat(parts).numpy() if parts else np.empty((0, 3 * _CELLS**2), np.float32)


def _find_close(tests: _Grids, grids: _Grids, levels: int, skip: dict[int, Overlap]) -> Iterator[tuple[int, int, int]]:
    """Yield (test picture, place in `grids`, distance) of the first that is close, for pictures not in `skip`."""
    if not len(grids.coarse):
        return
    asked = np.array([picture for picture in range(len(tests.coarse)) if picture not in skip], np.int64)
    tree, means = cKDTree(grids.means()), tests.means()
    slack = 1 if tests.is_exact else 2  # for the rounding of the working grid, and of the coarse one
    for start in range(0, len(asked), _QUERIES):
        batch = asked[start : start + _QUERIES]
        near = tree.query_ball_point(means[batch], levels + slack + 0.01, p=np.inf, return_sorted=True)
        for picture, places in zip(batch, near, strict=True):
            hit = _compare(int(picture), np.array(places, np.int64), tests, grids, levels, slack)
            if hit:
                yield int(picture), *hit


def _compare(
    picture: int, places: np.ndarray, tests: _Grids, grids: _Grids, levels: int, slack: int
) -> tuple[int, int] | None:
    """(place, distance) of the first of these places that is close to the picture."""
    for start in range(0, len(places), _COMPARED):
        part = places[start : start + _COMPARED]
        one, others = tests.coarse[picture], grids.coarse[part]
        distances = (np.maximum(one, others) - np.minimum(one, others)).max(axis=1)
        for index in np.flatnonzero(distances <= levels + slack):
            place, distance = int(part[index]), int(distances[index])
            if not tests.is_exact:
                distance = largest_change(tests.full(picture), grids.full(place))
            if distance <= levels + int(tests.resized[picture] or grids.resized[place]):
                return place, distance
    return None
