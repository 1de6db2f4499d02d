"""The search for near-duplicates: which images of one set are within some levels of which images of another.

Two images are near if, squashed onto the working grid, no value differs by more than the levels allow; one level more
where either was resized, because the grid is rounded. The comparison is exact: none is missed, and none is invented.
Images that were flipped, cropped or shifted are those of `moved_images`; turned or recoloured ones are not seen.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain, pairwise

import numpy as np
import scipy
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from rem_release.data.array_file import StoredImages, TemporaryImages
from rem_release.data.copies.bitmap_index import BitmapIndex
from rem_release.data.images.pixels import fit_working_grid
from rem_release.data.in_order import map_in_order

_COARSE = 32
_BLOCKS = 8
_INDEXED = 64
"""means of blocks that the index holds, of 192: of 50,000 CIFAR-10 images they leave 0.05 for one at 32 levels"""
_SAMPLES = 192
"""single values that are compared before the whole: pages and X-rays agree in their means"""
_ALIKE = 5.0
_COMPARED = 64
_PIECE = 4096

Read = Callable[[int], np.ndarray | None]
"""Number of an image -> uint8 (H, W, 3), or None for one to leave out. Called from several threads."""


@dataclass(frozen=True)
class NearPair:
    """An image of the first set and one of the second that lie close together."""

    one: int
    """its number in the first set"""
    other: int
    """its number in the second"""
    distance: int
    """largest difference in levels, on the working grid"""


class Grids:
    """Images on a working grid: on disk on a coarse one of at most 32 x 32, in memory some hundred bytes of each.

    Args:
        read: images by number; what it raises comes through.
        rows: int64, the numbers to take; `rows` keeps those that could be read, int64 [N].
        resolution: side of the working grid.
        report: called after each image.
    """

    def __init__(self, read: Read, rows: np.ndarray, resolution: int, report: Callable[[], None] | None = None) -> None:
        side = min(resolution, _COARSE)
        coarse = TemporaryImages((len(rows), 3, side, side))
        resized, there = np.zeros(len(rows), bool), np.ones(len(rows), bool)
        samples = np.empty((len(rows), len(_sample_places(resolution))), np.uint8)

        def fit(row: int) -> tuple[Tensor, bool] | None:
            pixels = read(int(row))
            if pixels is None:
                return None
            return fit_working_grid(pixels, resolution), pixels.shape[:2] != (resolution, resolution)

        def read_again(place: int) -> np.ndarray:
            fitted = fit(self.rows[place])
            assert fitted is not None, f"image {self.rows[place]} could be read before"
            return fitted[0].numpy().reshape(-1)

        for place, fitted in enumerate(map_in_order(fit, rows)):
            there[place] = fitted is not None
            if fitted is not None:
                grid, resized[place] = fitted
                samples[place] = grid.numpy().reshape(-1)[_sample_places(resolution)]
                coarse[place : place + 1] = _make_coarse(grid[None])
            if report:
                report()
        images = coarse.written().subset(torch.from_numpy(np.flatnonzero(there)))
        self._take(rows[there], images, resized[there], samples[there], resolution, read_again)

    def _take(
        self,
        rows: np.ndarray,
        coarse: StoredImages,
        resized: np.ndarray,
        samples: np.ndarray,
        resolution: int,
        full: Callable[[int], np.ndarray],
    ) -> None:
        self.rows, self.resized, self.samples = rows, resized, samples
        self.is_exact = coarse.shape[-1] == resolution
        self._coarse, self._resolution = coarse, resolution
        self.full = lru_cache(_COMPARED)(full)

    @classmethod
    def of_stored(cls, images: StoredImages, sizes: Tensor) -> "Grids":
        """Images that lie on the working grid already.

        Args:
            images: uint8 [N, 3, R, R].
            sizes: int64 [N, 2], (height, width) that each had before.
        """
        resolution, places = images.shape[-1], _sample_places(images.shape[-1])
        samples = np.empty((len(images), len(places)), np.uint8)
        coarse = None
        if resolution > _COARSE:
            coarse = TemporaryImages((len(images), 3, _COARSE, _COARSE))
        for piece in torch.arange(len(images)).split(max(1, _PIECE * _COARSE**2 // resolution**2)):
            grids = images[piece]
            samples[piece.numpy()] = grids.flatten(1).numpy()[:, places]
            if coarse:
                coarse[int(piece[0]) : int(piece[-1]) + 1] = _make_coarse(grids)
        self = cls.__new__(cls)
        resized = (sizes != resolution).any(1).numpy()
        self._take(
            np.arange(len(images)),
            coarse.written() if coarse else images,
            resized,
            samples,
            resolution,
            lambda place: images[torch.tensor([place])].numpy().reshape(-1),
        )
        return self

    def __len__(self) -> int:
        return len(self.rows)

    def subset(self, places: np.ndarray) -> "Grids":
        """Some of the images, int64 [n]; they bear the numbers that they had."""
        numbers = places.tolist()
        part = Grids.__new__(Grids)
        part._take(
            self.rows[places],
            self._coarse.subset(torch.from_numpy(places)),
            self.resized[places],
            self.samples[places],
            self._resolution,
            lambda place: self.full(numbers[place]),
        )
        return part

    @property
    def side(self) -> int:
        """Of the coarse grid."""
        return int(self._coarse.shape[-1])

    def images(self, places: Tensor) -> Tensor:
        """Some images on the coarse grid, uint8 [n, 3, S, S] for int64 [n]."""
        return self._coarse[places]

    def coarse(self, places: np.ndarray) -> np.ndarray:
        """Some images on the coarse grid, flat: uint8 [n, 3 · side²] for int64 [n]."""
        return self._coarse[torch.from_numpy(places)].flatten(1).numpy()

    @cached_property
    def means(self) -> np.ndarray:
        """float32 [N, 192], means of blocks. No mean differs by more than the pixels do."""
        pieces = torch.arange(len(self)).split(_PIECE) if len(self) else []
        parts = [adaptive_avg_pool2d(self._coarse[piece].float(), _BLOCKS).flatten(1) for piece in pieces]
        return torch.cat(parts).numpy() if parts else np.empty((0, 3 * _BLOCKS**2), np.float32)

    @property
    def indexed_means(self) -> np.ndarray:
        """float32 [N, 64], those of `means` that the index holds."""
        return self.means[:, _draw_places(3 * _BLOCKS**2, _INDEXED)]

    @cached_property
    def index(self) -> BitmapIndex:
        """Finds which images have about the same `indexed_means`."""
        return BitmapIndex(self.indexed_means)


def find_near(
    ones: Grids, others: Grids, levels: int, skip: Collection[int] = (), first_only: bool = False
) -> Iterator[NearPair]:
    """Find the pairs that lie close together.

    Args:
        ones: the images that are asked about.
        others: those that they are compared with, on the same working grid.
        levels: the most that a value may differ, one more where either image was resized.
        skip: numbers of `ones` that are not asked about.
        first_only: only the first of `others` for each of `ones`.

    Yields:
        Pairs, in the order of `ones` and, for each, in that of `others`.
    """
    if not len(others):
        return
    means, reach = ones.indexed_means, levels + find_slack(ones) + 0.01
    for place in range(len(ones)):
        if int(ones.rows[place]) in skip:
            continue
        candidates = others.index.find(means[place], reach)
        for found, distance in compare(place, candidates, ones, others, levels):
            yield NearPair(int(ones.rows[place]), int(others.rows[found]), distance)
            if first_only:
                break


def find_alike(ones: Grids, others: Grids) -> Iterator[NearPair]:
    """Find images that look the same though many pixels differ, as after another JPEG compression.

    They are alike if the means of 8 x 8 blocks differ by at most 5 levels (root mean square). Of 1,000 CIFAR-10
    images compressed again at quality 75 to 95 the furthest was 3.8 away; of 10,000 others the nearest two were 7.0.

    Yields:
        The nearest of `others` for each of `ones` that has one; the distance is the root mean square, rounded up.
    """
    if not len(others) or not len(ones):
        return
    means = ones.means
    reach = _ALIKE * means.shape[1] ** 0.5
    distances, places = scipy.spatial.cKDTree(others.means).query(means, distance_upper_bound=reach)
    for place, (distance, found) in enumerate(zip(distances, places, strict=True)):
        if np.isfinite(distance):
            level = int(np.ceil(distance / means.shape[1] ** 0.5))
            yield NearPair(int(ones.rows[place]), int(others.rows[found]), level)


def find_slack(grids: Grids) -> int:
    """Levels that images may differ more, on the coarse grid: for the rounding of the working grid and its own."""
    return 1 if grids.is_exact else 2


def compare(place: int, candidates: np.ndarray, ones: Grids, others: Grids, levels: int) -> Iterator[tuple[int, int]]:
    """Those of the candidates, int64 places in `others`, that are close to the image at this place of `ones`.

    Yields:
        (place in `others`, largest difference in levels on the working grid), in the order of the candidates.
    """
    slack = find_slack(ones)
    for start, end in pairwise(chain([0, 4], range(_COMPARED, len(candidates) + _COMPARED, _COMPARED))):
        part = candidates[start:end]  # few at first, because the caller may want no more than one
        part = part[_largest_change(ones.samples[place], others.samples[part]) <= levels + 1]
        if not len(part):
            continue
        distances = _largest_change(ones.coarse(np.array([place])), others.coarse(part))
        for index in np.flatnonzero(distances <= levels + slack):
            candidate, distance = int(part[index]), int(distances[index])
            if not ones.is_exact:
                distance = int(_largest_change(ones.full(place), others.full(candidate)))
            if distance <= levels + int(ones.resized[place] or others.resized[candidate]):
                yield candidate, distance


def _largest_change(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The most that images differ anywhere, in levels: uint8 over the last axis."""
    return (np.maximum(one, other) - np.minimum(one, other)).max(axis=-1)


def _make_coarse(grids: Tensor) -> Tensor:
    """Squash uint8 [n, 3, R, R] onto the coarse grid, where that is another one."""
    if grids.shape[-1] <= _COARSE:
        return grids
    return F.interpolate(grids, (_COARSE, _COARSE), mode="bilinear", antialias=True)


def _sample_places(resolution: int) -> np.ndarray:
    return _draw_places(3 * resolution**2, _SAMPLES)


@lru_cache
def _draw_places(values: int, count: int) -> np.ndarray:
    """int64, places scattered over so many values, always the same."""
    return np.random.default_rng(0).permutation(values)[:count]
