"""Filters of one decoded picture, as a thief would run them over every file before training.

Each takes and returns uint8 [H, W, 3], of any size from 1 × 1 up. Windows are centred; beyond the border stands the
picture's reflection with its edge doubled (scipy's mode "reflect": d c b a | a b c d | d c b a). What a window gives
is computed in float64 and rounded to the nearest level, a tie to the even one.
"""

from io import BytesIO
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image

from rem_release.errors import InputError

Picture = NDArray[np.uint8]
"""uint8 [H, W, 3]"""


def mean_filter(picture: Picture, size: int = 3) -> Picture:
    """The mean of the size × size window around each pixel (paper Appendix D).

    Raises:
        InputError: the size is even or below 1.
    """
    _require_window(size)
    return _round(scipy.ndimage.uniform_filter(picture.astype(np.float64), (size, size, 1), mode="reflect"))


def median_filter(picture: Picture, size: int = 3) -> Picture:
    """The median of the size × size window around each pixel, each channel by itself (paper Appendix D).

    Raises:
        InputError: the size is even or below 1.
    """
    _require_window(size)
    return np.asarray(scipy.ndimage.median_filter(picture, (size, size, 1), mode="reflect"), dtype=np.uint8)


def gaussian_filter(picture: Picture, sigma: float, size: int = 3) -> Picture:
    """A Gaussian cut to a size × size window, its weights scaled to sum to one (paper Appendix D).

    At a sigma of 0.1, which is in use elsewhere, the weight beside the centre is exp(-50): nothing changes. It takes
    about 0.26 before neighbours weigh enough to move a level.

    Args:
        picture: uint8 [H, W, 3].
        sigma: standard deviation in pixels.
        size: side of the window, odd.

    Raises:
        InputError: sigma is not a finite number above 0, or the size is even or below 1.
    """
    _require_window(size)
    if not 0 < sigma < np.inf:
        raise InputError(f"Gaussian filter: sigma {sigma} is no width; give pixels above 0, such as 1.0")
    values = picture.astype(np.float64)
    return _round(scipy.ndimage.gaussian_filter(values, sigma, axes=(0, 1), radius=size // 2, mode="reflect"))


def greyscale(picture: Picture) -> Picture:
    """Three equal channels of ITU-R 601 luma, 0.299 R + 0.587 G + 0.114 B, as Pillow rounds it."""
    grey = np.asarray(Image.fromarray(picture).convert("L"))
    return np.repeat(grey[..., None], 3, axis=2)


def jpeg(picture: Picture, quality: int) -> Picture:
    """Saved as baseline JPEG and read again: chroma halved in both directions (4:2:0, Pillow's default).

    Raises:
        InputError: the quality is not a whole number from 1 to 100.
    """
    _require_whole("JPEG quality", quality, 1, 100)
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    with Image.open(file) as saved:
        return np.array(saved)


def bit_depth(picture: Picture, bits: int) -> Picture:
    """The highest bits of each value are kept and the others set to 0.

    Raises:
        InputError: the bits are not a whole number from 1 to 8.
    """
    _require_whole("bit depth", bits, 1, 8)
    return picture & np.uint8(0xFF << (8 - bits) & 0xFF)


def _round(values: NDArray[np.float64]) -> Picture:
    return np.rint(values).astype(np.uint8)


def _require_whole(what: str, value: Any, low: int, high: int) -> None:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(f"{what} {value!r} does not exist; give a whole number from {low} to {high}")


def _require_window(size: Any) -> None:
    if not isinstance(size, (int, np.integer)) or isinstance(size, bool) or size < 1 or size % 2 == 0:
        raise InputError(f"filter window {size!r} has no centre pixel; give an odd whole number, such as 3")
