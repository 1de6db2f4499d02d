"""How much a tile of the noise figure is like an image."""

from collections.abc import Sequence

import numpy as np

from rem_release.release.noise_gain import FLAT, squash

_FINEST = 32
_ALIKE = 0.9
"""Correlation on the grid above which two images count as alike. Measured on seven runs of REM, SEM, EM and random
noise, of 400 to 5000 CIFAR-10 images and of 40 photographs: no original came above 0.81."""


class NoiseTiles:
    """The tiles of the noise figure, compared with images by correlation on a grid of at most 32 x 32.

    Mirrored copies, copies turned by half and negatives are recognised too. What has no contrast is like nothing.

    Args:
        tiles: what they show, uint8 [R, R, 3] each.
        resolution: side of the working grid.
    """

    def __init__(self, tiles: Sequence[np.ndarray], resolution: int) -> None:
        self._side = min(resolution, _FINEST)
        turned = [view for tile in tiles for view in (tile, tile[::-1], tile[:, ::-1], tile[::-1, ::-1])]
        described = [_describe(view, self._side) for view in turned]
        self._tiles = np.array(described, np.float32).reshape(-1, 3 * self._side**2)

    def find_image(self, image: np.ndarray) -> tuple[int, float] | None:
        """The number of the tile that shows this image, uint8 (H, W, 3), and how alike they are; None if no tile."""
        if not len(self._tiles):
            return None
        likeness = np.abs(self._tiles @ _describe(image, self._side))
        best = int(likeness.argmax())
        return (best // 4, float(likeness[best])) if likeness[best] > _ALIKE else None


def _describe(image: np.ndarray, side: int) -> np.ndarray:
    """An image, uint8 (H, W, 3), squashed, less its mean, of length 1: float32 [3 · side²]; zeros if it is flat."""
    values = squash(image, side).astype(np.float32).reshape(-1)
    values -= values.mean()
    length = float(np.linalg.norm(values))
    return values / length if length > FLAT * values.size**0.5 else np.zeros_like(values)
