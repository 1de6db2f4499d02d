"""A small honest task from real photographs that scikit-image ships: which photograph is this patch from?

Patches of 32 × 32 pixels are grey, because colour alone would give these photographs away and no small noise hides it.
Each photograph is cut into a grid of tiles; training patches come from twelve of them, test patches from the other
four, and no patch crosses the border of its tile.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

PHOTOGRAPHS: dict[str, Callable[[], np.ndarray]] = {
    "brick": skimage.data.brick,
    "camera": skimage.data.camera,
    "cat": skimage.data.cat,
    "coffee": skimage.data.coffee,
    "coins": skimage.data.coins,
    "grass": skimage.data.grass,
    "gravel": skimage.data.gravel,
    "hubble": skimage.data.hubble_deep_field,
    "retina": skimage.data.retina,
    "tissue": skimage.data.immunohistochemistry,
}
_GRID = 4
_PATCH = 32


def write_patches(folder: Path, train: int = 200, test: int = 60, seed: int = 0) -> None:
    """Write class folders `folder/train/NAME/*.png` and `folder/test/NAME/*.png`.

    Args:
        folder: where to; none of these folders may exist yet.
        train: patches of each photograph for training.
        test: patches of each photograph for testing, from tiles of their own.
        seed: of the places.
    """
    generator = np.random.default_rng(seed)
    tiles = [(row, column) for row in range(_GRID) for column in range(_GRID)]
    tests = [(row, column) for row, column in tiles if (row + 2 * column) % _GRID == 1]
    trains = [tile for tile in tiles if tile not in tests]
    for name, load in PHOTOGRAPHS.items():
        photograph = Image.fromarray(load()).convert("L")
        for split, chosen, count in (("train", trains, train), ("test", tests, test)):
            target = folder / split / name
            target.mkdir(parents=True)
            for index in range(count):
                _cut(photograph, chosen[index % len(chosen)], generator).save(target / f"{index:04d}.png")


def _cut(photograph: Image.Image, tile: tuple[int, int], generator: np.random.Generator) -> Image.Image:
    """A square of 32 pixels from a random place in one tile."""
    width, height = photograph.size
    top, bottom = (height * place // _GRID for place in (tile[0], tile[0] + 1))
    left, right = (width * place // _GRID for place in (tile[1], tile[1] + 1))
    y = int(generator.integers(top, bottom - _PATCH + 1))
    x = int(generator.integers(left, right - _PATCH + 1))
    return photograph.crop((x, y, x + _PATCH, y + _PATCH))
