"""The figures of the card: protected images, and amplified noise of images that are not released."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from rem_release.data.images.png_writing import encode_png

PROTECTED_FIGURE = "figures/protected.png"
NOISE_FIGURE = "figures/noise.png"

_MAX_TILES = 25
_TILE = 96
_MAX_NOISE = 256
_GAP = 4
_MID_GREY = 128


def protected_grid(images: Sequence[np.ndarray]) -> bytes:
    """Up to 25 protected images in equal tiles, each whole and in its own proportions, on white.

    Args:
        images: protected images as released, uint8 (H, W, 3), at least one. Never a clean one.

    Returns:
        A bare PNG. Small images are enlarged without smoothing, so that their pixels can be seen.
    """
    return encode_png(_arrange([fit_tile(image) for image in images[:_MAX_TILES]]))


def noise_grid(noise: np.ndarray, levels: int) -> bytes:
    """Noise made visible: −levels is black, no change is mid-grey, +levels is white, for each channel.

    Args:
        noise: integers [n, H, W, 3] in levels of 255, within ±levels. Only of images that are not released.
        levels: the budget floor(255·ρ_u).

    Returns:
        A bare PNG of up to 25 tiles, never smoothed: of large noise, the first 256 pixels each way.

    Raises:
        ValueError: the noise exceeds the budget.
    """
    if noise.size and np.abs(noise).max() > levels:
        raise ValueError(f"noise of {np.abs(noise).max()} levels is above the budget of {levels}")
    scaled = amplify_noise(noise[:_MAX_TILES, :_MAX_NOISE, :_MAX_NOISE], levels)
    side = max(_TILE, *scaled.shape[1:3])
    return encode_png(_arrange([fit_tile(tile, side) for tile in scaled]))


def amplify_noise(noise: np.ndarray, levels: int) -> np.ndarray:
    """Noise in levels of 255, of any shape, as the uint8 values that show it; what exceeds the budget is cut."""
    return np.clip(_MID_GREY + np.rint(noise.astype(np.float64) * 127.5 / levels), 0, 255).astype(np.uint8)


def read_noise(amplified: np.ndarray, levels: int) -> np.ndarray:
    """The noise in levels of 255 that `amplify_noise` amplified; exact up to a budget of 127 levels."""
    return np.rint((amplified.astype(np.float64) - _MID_GREY) * levels / 127.5).astype(np.int64)


def noise_sides(resolution: int) -> tuple[int, int]:
    """Sides of the noise that a noise figure shows for this working grid, and of its tiles."""
    shown = min(resolution, _MAX_NOISE)
    return shown, max(_TILE, shown)


def fit_tile(image: np.ndarray, side: int = _TILE) -> np.ndarray:
    """The whole image, uint8 (H, W, 3), in a white square tile of the grid; a tile fits itself.

    It is shrunk smoothly, or enlarged by a whole number.
    """
    height, width = image.shape[:2]
    longer = max(height, width)
    if longer > side:
        size = (max(1, round(width * side / longer)), max(1, round(height * side / longer)))
        thumbnail = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
    else:
        thumbnail = image.repeat(side // longer, axis=0).repeat(side // longer, axis=1)
    tile = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - thumbnail.shape[0]) // 2, (side - thumbnail.shape[1]) // 2
    tile[top : top + thumbnail.shape[0], left : left + thumbnail.shape[1]] = thumbnail
    return tile


def cut_tiles(grid: np.ndarray, side: int = _TILE) -> list[np.ndarray]:
    """The tiles of a figure, in order; blank ones at its end are no tiles.

    Args:
        grid: the figure, uint8 (H, W, 3).
        side: of its tiles.

    Raises:
        ValueError: it is no such grid: other sizes, other tiles, or something in the gaps.
    """
    step = side + _GAP
    rows, columns = ((length - _GAP) // step for length in grid.shape[:2])
    places = [(_GAP + row * step, _GAP + column * step) for row in range(rows) for column in range(columns)]
    tiles = [grid[top : top + side, left : left + side] for top, left in places]
    if not 0 < len(tiles) <= _MAX_TILES or not np.array_equal(_arrange(tiles), grid):
        raise ValueError(f"{grid.shape[1]} x {grid.shape[0]} pixels are not a grid of tiles of {side} pixels on white")
    while tiles and (tiles[-1] == 255).all():
        tiles.pop()
    return tiles


def _arrange(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Tiles of one size in a grid as square as it gets, on white, with a white gap between them."""
    if not tiles:
        raise ValueError("a figure needs at least one image")
    side = tiles[0].shape[0]
    columns = math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    step = side + _GAP
    grid = np.full((rows * step + _GAP, columns * step + _GAP, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        top, left = _GAP + index // columns * step, _GAP + index % columns * step
        grid[top : top + side, left : left + side] = tile
    return grid
