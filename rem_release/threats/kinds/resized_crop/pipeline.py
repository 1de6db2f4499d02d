"""The ordinary pipeline of photographs: random resized crops and flips to train on, resize and centre crop to test on.

Both start from the image at its own size, of any size from 1 × 1 up. What is drawn and computed is what torchvision's
`RandomResizedCrop`, `RandomHorizontalFlip`, `Resize` and `CenterCrop` draw and compute, in whole levels.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Interpolation = Literal["bilinear", "bicubic"]
_TRIES = 10
_NUMBERS = 2 * _TRIES + 3
_WIDEST = 4 / 3
"""aspect ratios are drawn from 3/4 to 4/3"""
_RESIZED = 256 / 224
"""shorter side of a test image before its centre is cut out, as a part of what is cut out"""


@dataclass(frozen=True)
class CropPipeline:
    """How an attacker brings photographs to the network, see `images.Pipeline`.

    Attributes:
        side: r, of the square that the network sees, in pixels.
        interpolation: of every resizing.
        antialias: whether shrinking filters away what the smaller image cannot show.
        min_area: least area of a random crop, as a part of the image.
        views: random crops that are made of each training image.
    """

    side: int
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    min_area: float = 0.08
    views: int = 8

    def train(self, image: np.ndarray, key: str) -> Tensor:
        """Random resized crops, half of them flipped: uint8 [views, 3, r, r].

        Args:
            image: uint8 (H, W, 3).
            key: of the draws. Equal keys and sizes draw equal crops; view v does not depend on how many there are.
        """
        from torchvision.transforms.v2.functional import resized_crop  # takes seconds

        planes, views = _as_planes(image), []
        for view in range(self.views):
            numbers = draw_numbers(f"{key} {view}")
            top, left, height, width = choose_crop(planes.shape[1], planes.shape[2], self.min_area, numbers)
            crop = resized_crop(planes, top, left, height, width, [self.side] * 2, self.interpolation, self.antialias)
            views.append(crop.flip(-1) if numbers[-1] < 0.5 else crop)
        return torch.stack(views)

    def test(self, image: np.ndarray) -> Tensor:
        """The shorter side resized to r · 256/224, the centre cut out: uint8 [1, 3, r, r]."""
        from torchvision.transforms.v2.functional import center_crop, resize

        size = [round(self.side * _RESIZED)]
        resized = resize(_as_planes(image), size, self.interpolation, antialias=self.antialias)
        return center_crop(resized, [self.side] * 2)[None]


def draw_numbers(key: str) -> Sequence[float]:
    """Independent numbers in [0, 1), a function of the key: areas and ratios of ten tries, top, left, flip."""
    seed = hashlib.sha256(f"resized crop {key}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(seed[:16], "little"))).random(_NUMBERS).tolist()


def choose_crop(height: int, width: int, min_area: float, numbers: Sequence[float]) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a random crop, in pixels, as torchvision's RandomResizedCrop chooses it.

    The first of ten tries that fits into the image; else the whole image, or, where that is wider than 4:3 or
    narrower than 3:4, its centre of that ratio.

    Args:
        height: of the image.
        width: of the image.
        min_area: least area as a part of the image's; the area is uniform from there to 1.
        numbers: of `draw_numbers`; the ratio is uniform in its logarithm.
    """
    *_, down, right, _ = numbers
    for area, ratio in zip(numbers[:_TRIES], numbers[_TRIES : 2 * _TRIES], strict=True):
        pixels = height * width * (min_area + (1 - min_area) * area)
        aspect = _WIDEST ** (2 * ratio - 1)
        h, w = round((pixels / aspect) ** 0.5), round((pixels * aspect) ** 0.5)
        if 0 < h <= height and 0 < w <= width:
            return int(down * (height - h + 1)), int(right * (width - w + 1)), h, w
    h, w = min(height, round(width * _WIDEST)), min(width, round(height * _WIDEST))
    return (height - h) // 2, (width - w) // 2, h, w


def _as_planes(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
