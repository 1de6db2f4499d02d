"""What subtracting a tile of the noise figure from a released image gains.

For noise n = protected − clean and a tile c, the best factor s brings |n − s·c|² down to |n|²·(1 − r²) with
r = <n, c> / (|n|·|c|) (least squares): the PSNR to the original rises by −10·log10(1 − r²) dB.
"""

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from rem_release.core.resampling import interpolation_matrix

MAX_GAIN = 0.5
"""dB that a tile may gain on an image. On 2,000 images each, random noise gained nothing, and noise on grey, after
120 steps of training, up to 3.9 (EM), 14.2 (REM) and 16.8 (SEM) on patches of photographs, and 2.0, 5.3 and 7.9 on
CIFAR-10; with other draws EM and REM gave as much."""
FLAT = 8.0
"""levels of contrast on the working grid; of a flatter image there is nothing to protect"""
_CHANCE = 5.0
"""standard deviations of what independent noise correlates; less is no gain"""
_BLOCKS = (1, 4)
"""means of so many blocks a side: of such noise the coarse part may fit where the fine one does not"""
_FLIPS = ((1, 1), (-1, 1), (1, -1), (-1, -1))
_SURE = 1e-6
_STRIP = 1 << 20
"""pixels of a large image that are worked on at a time"""


class NoiseGain:
    """The tiles of a noise figure, subtracted from images as it fits best.

    Tried are every tile, whole and averaged over blocks, as it is and mirrored, with every factor, negative ones too,
    brought to the image's size as the noise is. Not tried: mixtures of tiles, whose factors nobody finds without the
    originals, and shifts (up to four pixels each way raised the largest gain on 500 rows by 2 % and the mean by 7 %).

    Args:
        tiles: the noise that they show, int [n, S, S, 3] in levels of 255, n ≥ 1; of a grid of R > S pixels, a corner.
        levels: the budget floor(255·ρ_u).
        resolution: R, side of the working grid.
    """

    def __init__(self, tiles: np.ndarray, levels: int, resolution: int) -> None:
        noise = torch.from_numpy(tiles.astype(np.float32)).permute(0, 3, 1, 2)
        self._levels, self._shown, self._resolution = levels, noise.shape[-1], resolution
        sides = [side for side in _BLOCKS if side < self._shown]
        means = [F.interpolate(F.adaptive_avg_pool2d(noise, side), size=self._shown) for side in sides]
        grey = noise.mean(1, keepdim=True).expand_as(noise)  # the images may be grey, and their noise not far from it
        self._views = torch.stack([noise, grey, *means], 1).numpy()
        self._flat = self._views.reshape(self._views.shape[0] * self._views.shape[1], -1)
        self._route = lru_cache(maxsize=64)(self._find_route)

    def find(self, clean: np.ndarray, protected: np.ndarray) -> tuple[int, float]:
        """The tile that gains most on an image, both uint8 (H, W, 3), and the gain in dB.

        Flat images gain nothing, and nothing gained is what independent noise would gain by chance: five standard
        deviations, 0.03 dB on 32 x 32 pixels and 0.6 on 8 x 8. On eight pixels or fewer nothing can be told.
        """
        if squash(clean, self._resolution).std() < FLAT:
            return 0, 0.0
        rows, columns, lengths = self._route(*clean.shape[:2])
        shown, height, width = self._shown, *(self._reach(length) for length in clean.shape[:2])
        across, sides = np.zeros((rows.shape[1], clean.shape[1] * 3), np.float32), np.empty((2, len(rows)))
        for strip, noise in self._strips_of_unknown(clean, protected):
            across += rows[strip].T @ noise
            energy = np.square(noise)
            sides[:, strip] = energy[:, : 3 * width].sum(1), energy[:, -3 * width :].sum(1)
        seen = across.reshape(len(across), -1, 3).transpose(2, 0, 1) @ columns  # <noise, enlarged tile> = <seen, tile>
        corners = [seen[:, ::down, ::across][:, :shown, :shown].reshape(-1) for down, across in _FLIPS]
        energies = np.array([sides[int(across < 0)][::down][:height].sum() for down, across in _FLIPS])
        squares = np.square(self._flat @ np.stack(corners, 1)) / np.maximum(lengths[:, None] * energies, _SURE)
        squares[squares < _CHANCE**2 / (3 * min(height, shown) * min(width, shown))] = 0
        best = int(squares.argmax())
        gain = 10 * float(np.log10(1 / max(1 - squares.flat[best], _SURE)))
        return best // (len(_FLIPS) * self._views.shape[1]), gain

    def _strips_of_unknown(self, clean: np.ndarray, protected: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows, and their noise, float32 [h, 3·W], less its means over the brightest and the darkest pixels: that it
        darkens the ones and brightens the others is known without a figure, for nothing else is possible."""
        step = max(1, _STRIP // clean.shape[1])
        strips = [slice(top, top + step) for top in range(0, len(clean), step)]
        sums, counts = np.zeros(2), np.zeros(2)
        for strip in strips:
            change, *sides = self._split(clean[strip], protected[strip])
            sums += [np.multiply(change, saturated).sum(0, dtype=np.int32).sum() for saturated in sides]
            counts += [np.count_nonzero(saturated) for saturated in sides]
        means = (sums / np.maximum(counts, 1)).astype(np.float32)
        for strip in strips:
            change, *sides = self._split(clean[strip], protected[strip])
            noise = change.astype(np.float32)
            for mean, saturated in zip(means, sides, strict=True):
                if mean:
                    noise -= np.multiply(saturated, mean)
            yield strip, noise

    def _split(self, clean: np.ndarray, protected: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The change of some rows, int16 [h, 3·W], and which values are nearly black and nearly white."""
        clean, protected = (image.reshape(len(image), -1) for image in (clean, protected))
        change = np.subtract(protected, clean, dtype=np.int16)
        return change, clean < self._levels, clean > 255 - self._levels

    def _reach(self, length: int) -> int:
        """How many of so many pixels, from one side, the shown part of the grid touches."""
        scale = length / self._resolution
        return min(length, math.ceil(self._shown * scale + abs(scale - 1) / 2))

    def _find_route(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The way of the noise to a size, [H, R] and [W, R], and the squared length of every view there."""
        rows, columns = (interpolation_matrix(self._resolution, length).numpy() for length in (height, width))
        down, across = (way[:, : self._shown].T @ way[:, : self._shown] for way in (rows, columns))
        lengths = (down @ self._views @ across * self._views).sum((2, 3, 4))
        return rows, columns, lengths.reshape(-1)


def squash(image: np.ndarray, side: int) -> np.ndarray:
    """An image, uint8 (H, W, 3), on a square grid, by means."""
    if image.shape[:2] == (side, side):
        return image
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BOX))
