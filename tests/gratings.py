"""A small honest task for audits in tests: which way do the stripes run?

Stripes have a random phase, so that no linear classifier of the pixels sees them, while a small network learns them in
seconds. `add_patches` lays a fixed pattern of few levels over each class: a linear shortcut.
"""

from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("across", "down", "left", "right")
SIDE = 16


def draw_gratings(count: int, seed: int, contrast: float = 30.0, noise: float = 25.0) -> np.ndarray:
    """Grey images of each class: uint8 [4, count, 16, 16, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    images = []
    for angle in np.arange(len(NAMES)) * np.pi / 4:
        along = np.cos(angle) * x + np.sin(angle) * y
        phases = rng.uniform(0, 2 * np.pi, (count, 1, 1))
        stripes = contrast * np.sin(2 * np.pi * along / 6 + phases)
        values = 128 + stripes + rng.normal(0, noise, (count, SIDE, SIDE))
        images.append(np.repeat(values.clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1))
    return np.stack(images)


def add_patches(images: np.ndarray, levels: int, seed: int = 0) -> np.ndarray:
    """The same with one random pattern of ±levels over all images of a class."""
    rng = np.random.default_rng(seed)
    patches = rng.choice([-levels, levels], (len(NAMES), 1, SIDE, SIDE, 3))
    return (images.astype(np.int16) + patches).clip(0, 255).astype(np.uint8)


def write_classes(folder: Path, images: np.ndarray) -> Path:
    """Write class folders of PNG; returns the folder."""
    for name, members in zip(NAMES, images, strict=True):
        (folder / name).mkdir(parents=True)
        for index, pixels in enumerate(members):
            Image.fromarray(pixels).save(folder / name / f"{index:04d}.png")
    return folder
