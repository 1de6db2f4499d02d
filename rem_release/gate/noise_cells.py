"""How much a cell of the noise figure is like a picture, or like the noise of one."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from rem_release.release.figures import draw_noise, noise_sides

_FINEST = 32
_ALIKE = 0.9
"""Correlation on the grid above which two pictures count as alike. Measured on seven runs of REM, SEM, EM and random
noise, of 400 to 5000 CIFAR-10 pictures and of 40 photographs: with the cells of its figure no row's noise came above
0.80 and no original above 0.81; the noise in a photograph and its noise on the working grid came to 0.94 or more."""
_FLAT = 8.0
"""levels of contrast on the working grid: a flat picture has the noise of the flat one in the figure"""


class NoiseCells:
    """The cells of the noise figure, compared with pictures by correlation on a grid of at most 32 x 32.

    Mirrored copies, copies turned by half and negatives are recognised too. What has no contrast is like nothing.

    Args:
        cells: what they show, uint8 [R, R, 3] each.
        levels: the budget floor(255·ρ_u).
        resolution: side of the working grid.
    """

    def __init__(self, cells: Sequence[np.ndarray], levels: int, resolution: int) -> None:
        self._drawn = draw_noise(np.arange(-255, 256), levels)
        self._resolution, self._side = resolution, min(resolution, _FINEST)
        turned = [view for cell in cells for view in (cell, cell[::-1], cell[:, ::-1], cell[::-1, ::-1])]
        described = [_describe(view, self._side) for view in turned]
        self._cells = np.array(described, np.float32).reshape(-1, 3 * self._side**2)

    def find_picture(self, picture: np.ndarray) -> tuple[int, float] | None:
        """The number of the cell that shows this picture, uint8 (H, W, 3), and how alike they are; None if no cell."""
        if not len(self._cells):
            return None
        likeness = np.abs(self._cells @ _describe(picture, self._side))
        best = int(likeness.argmax())
        return (best // 4, float(likeness[best])) if likeness[best] > _ALIKE else None

    def find_noise(self, clean: np.ndarray, protected: np.ndarray) -> tuple[int, float] | None:
        """The same for the noise between two pictures, uint8 (H, W, 3)."""
        if not len(self._cells) or _squash(clean, self._resolution).std() < _FLAT:
            return None
        drawn = self._drawn[protected.astype(np.int16) - clean + 255]
        shown, _ = noise_sides(self._resolution)
        if self._resolution > shown:  # of a large grid, a cell shows one corner
            drawn = _squash(drawn, self._resolution)[:shown, :shown]
        return self.find_picture(drawn)


def _describe(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture, uint8 (H, W, 3), squashed, less its mean, of length 1: float32 [3 · side²]; zeros if it is flat."""
    values = _squash(picture, side).astype(np.float32).reshape(-1)
    values -= values.mean()
    length = float(np.linalg.norm(values))
    return values / length if length > _FLAT * values.size**0.5 else np.zeros_like(values)


def _squash(picture: np.ndarray, side: int) -> np.ndarray:
    if picture.shape[:2] == (side, side):
        return picture
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BOX))
