"""Decoded images: shrunk, brought to the working grid, and hashed."""

import hashlib

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image


def shrink(image: np.ndarray, max_side: int | None) -> np.ndarray:
    """Bring the longer side down to at most `max_side`, keeping the aspect; never enlarges.

    Args:
        image: uint8 (H, W, 3).
        max_side: pixels, at least 1; None leaves the image alone.

    Returns:
        uint8 (H', W', 3), each side at least 1, resampled with Pillow's integer Lanczos filter.

    Raises:
        ValueError: `max_side` is below 1.
    """
    if max_side is not None and max_side < 1:
        raise ValueError(f"max_side must be at least 1 pixel, not {max_side}")
    height, width = image.shape[:2]
    longer = max(height, width)
    if max_side is None or longer <= max_side:
        return image
    height, width = (max(1, (2 * side * max_side + longer) // (2 * longer)) for side in (height, width))
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def fit_working_grid(image: np.ndarray, resolution: int) -> torch.Tensor:
    """Squash the whole image onto the square working grid, every pixel covered.

    Args:
        image: uint8 (H, W, 3).
        resolution: R, side of the grid in pixels.

    Returns:
        uint8 tensor (3, R, R): antialiased bilinear, or the image itself where it is R x R already.
    """
    if image.shape[:2] == (resolution, resolution):
        return torch.from_numpy(image.transpose(2, 0, 1).copy())
    tensor = torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)
    size = (resolution, resolution)
    return F.interpolate(tensor[None], size, mode="bilinear", antialias=True)[0].contiguous()


def pixel_hash(image: np.ndarray) -> str:
    """Hash the shape and the pixels (uint8, C order) of an image: sha256, 64 hexadecimal digits."""
    header = f"{image.dtype} {'x'.join(map(str, image.shape))}\n".encode()
    found = hashlib.sha256(header)
    found.update(np.ascontiguousarray(image).data)
    return found.hexdigest()
