"""Images that may not be what their owner sees."""

import numpy as np
from PIL import Image

_MAX_SPREAD = 24
_NEARLY_ALL = 0.998
_LOOKED_AT = 1 << 20
_GLANCED_AT, _MOSTLY = 1 << 14, 0.9
"""so many values first: where less of them than this share is within the spread, nearly all of the image is not"""


def find_doubt(pixels: np.ndarray) -> str | None:
    """Why an image may not be what its owner sees: nearly all of it is one level, or a sliver of the range.

    So come out numbers of 12 bits in a file of 16, and images whose alpha channel is empty.

    Args:
        pixels: uint8 (H, W, 3); of large images a spread of a million values is looked at.
    """
    if _share_within(pixels, _GLANCED_AT)[0] < _MOSTLY:
        return None
    within, values = _share_within(pixels, _LOOKED_AT)
    if within < _NEARLY_ALL:
        return None
    return f"nearly all of it is within {_MAX_SPREAD} of 255 levels, around {int(np.median(values))}"


def _share_within(pixels: np.ndarray, count: int) -> tuple[float, np.ndarray]:
    """The largest share of values within the spread of levels, of about so many, and those values."""
    values = pixels.reshape(-1, pixels.shape[-1])[:: max(1, pixels.size // count)].reshape(-1)
    levels = Image.frombuffer("L", (len(values), 1), values, "raw", "L", 0, 1)
    counts = np.cumsum(levels.histogram())
    most = np.append(counts[_MAX_SPREAD:], counts[-1])[: len(counts)] if len(counts) > _MAX_SPREAD else counts
    return (most - np.concatenate([[0], counts[:-1]])[: len(most)]).max() / len(values), values
