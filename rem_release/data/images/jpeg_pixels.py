"""Pixels of ordinary JPEG in one pass: libjpeg-turbo writes the very array that is kept.

Pillow holds four bytes a pixel and hands them over through copies, which together take as long as the decoding. Both
decode to the same pixels; what is damaged or needs more than decoding is left to Pillow.
"""

import numpy as np
import simplejpeg
from PIL import ExifTags, Image

from rem_release.data.images.colour import states_other_colours


def read_jpeg(image: Image.Image, data: bytes) -> np.ndarray | None:
    """The pixels of a JPEG that needs nothing but decoding: RGB, upright, without a profile or other colours.

    Args:
        image: opened by Pillow, not loaded.
        data: the whole file.

    Returns:
        uint8 (H, W, 3), C-contiguous and writable; None where it is another JPEG, or libjpeg complains of anything.
    """
    if image.mode != "RGB" or image.info.get("icc_profile") or not _is_upright(image):
        return None
    if states_other_colours(image, data):
        return None
    try:
        pixels: np.ndarray = simplejpeg.decode_jpeg(data, "RGB", strict=True)
    except ValueError:
        return None
    return pixels if pixels.shape == (image.height, image.width, 3) else None


def _is_upright(image: Image.Image) -> bool:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1) not in range(2, 9)
    except MemoryError:
        raise
    except Exception:  # a broken EXIF block says nothing about the pixels
        return True
