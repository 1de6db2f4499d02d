"""Every geometric transformation here is separable and linear: rows · image · columnsᵀ, one pair of matrices an image.

Flip, padded crop, resized crop, loss of resolution, and the way of the noise to an image's own size and back are all of
this form, so they batch, compose, run on the device, and differentiate exactly.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from rem_release.core.draws import uniform

_TRIES = 10
_WINDOW_NUMBERS = 2 * _TRIES + 3
"""for a crop: areas and ratios of the tries, top, left, flip"""


class Resampling(NamedTuple):
    """One transformation for each image: rows and columns, float32 [N, R, R]; output · input."""

    rows: Tensor
    columns: Tensor


def resample(images: Tensor, transformation: Resampling | None) -> Tensor:
    """Apply a transformation to each image, [N, 3, R, R]; None is the identity."""
    if transformation is None:
        return images
    rows, columns = (matrix.to(images.dtype) for matrix in transformation)
    return rows.unsqueeze(1) @ (images @ columns.transpose(1, 2).unsqueeze(1))


def draw_identity(keys: Tensor, resolution: int) -> Resampling | None:
    """No transformation."""
    return None


def draw_cifar(keys: Tensor, resolution: int) -> Resampling:
    """Random flip, zero padding by R/8 (4 pixels at 32), random crop (paper A.2). keys: int64 [N]."""
    position = torch.arange(resolution, device=keys.device)
    taken = _draw_places(keys, resolution)
    return Resampling(*((places.unsqueeze(-1) == position).to(torch.float32) for places in taken))


def _draw_places(keys: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
    """The row and the column that each one of the crop comes from, int64 [N, R]; outside the image is black."""
    pad = max(1, resolution // 8)
    numbers = uniform(keys, 3)
    flipped = numbers[:, 0] < 0.5
    offsets = (numbers[:, 1:] * (2 * pad + 1)).long() - pad
    position = torch.arange(resolution, device=keys.device)
    from_columns = position + offsets[:, 1:]
    from_columns = torch.where(flipped[:, None], resolution - 1 - from_columns, from_columns)
    return position + offsets[:, :1], from_columns


def draw_imagenet(keys: Tensor, resolution: int) -> Resampling:
    """Random resized crop and flip (paper A.2), as torchvision's RandomResizedCrop draws it. keys: int64 [N].

    Area 0.08 to 1 of the image, aspect ratio 3/4 to 4/3 uniform in its logarithm, whole pixels, the first of ten
    tries that fits, else the whole image; bilinear.
    """
    numbers = uniform(keys, _WINDOW_NUMBERS)
    top, left, height, width = _draw_window(numbers, resolution, 0.08)
    rows = _crop_matrix(top, height, resolution)
    return _flip(rows, _crop_matrix(left, width, resolution), numbers)


def draw_photograph(keys: Tensor, resolution: int) -> Resampling:
    """What photographs meet on their way to networks of any size: resized crop, flip, a loss of resolution. [N] keys.

    A crop as in `draw_imagenet`, but of at least half of the area: over all its crops a few hundred steps make weaker
    noise (see the recipe quickstart-photographs). It is resized to r' pixels, R/2 to R, bilinear or bicubic,
    antialiased or not, each with even odds, and enlarged to R again, bilinear. Bicubic resizing may overshoot.
    """
    numbers = uniform(keys, _WINDOW_NUMBERS + 3)
    top, left, height, width = _draw_window(numbers, resolution, 0.5)
    least = (resolution + 1) // 2
    kept = least + (numbers[:, -3] * (resolution - least + 1)).floor()
    is_cubic, is_smooth = numbers[:, -2] < 0.5, numbers[:, -1] < 0.5
    back = _crop_matrix(torch.zeros_like(kept), kept, resolution)
    rows = back @ _resize_matrix(top, height, kept, is_cubic, is_smooth, resolution)
    return _flip(rows, back @ _resize_matrix(left, width, kept, is_cubic, is_smooth, resolution), numbers)


def _draw_window(numbers: Tensor, resolution: int, min_area: float) -> tuple[Tensor, ...]:
    """(top, left, height, width) of random crops from the first of some numbers, whole pixels in float32, [N] each."""
    area = resolution**2 * (min_area + (1 - min_area) * numbers[:, :_TRIES])
    widest = torch.full((), 4 / 3, device=area.device)  # made there: a copy from the host would wait for the device
    ratio = torch.exp((numbers[:, _TRIES : 2 * _TRIES] * 2 - 1) * torch.log(widest))
    heights, widths = (area / ratio).sqrt().round(), (area * ratio).sqrt().round()
    fits = (heights <= resolution) & (widths <= resolution) & (heights > 0) & (widths > 0)
    first = fits.to(torch.int8).argmax(1, keepdim=True)
    found = fits.any(1)
    height = torch.where(found, heights.gather(1, first)[:, 0], resolution)
    width = torch.where(found, widths.gather(1, first)[:, 0], resolution)
    top = (numbers[:, 2 * _TRIES] * (resolution - height + 1)).floor()
    left = (numbers[:, 2 * _TRIES + 1] * (resolution - width + 1)).floor()
    return top, left, height, width


def _flip(rows: Tensor, columns: Tensor, numbers: Tensor) -> Resampling:
    """Half of the crops, mirrored."""
    flipped = (numbers[:, _WINDOW_NUMBERS - 1] < 0.5)[:, None, None]
    return Resampling(rows, torch.where(flipped, columns.flip(1), columns))


def _crop_matrix(start: Tensor, length: Tensor, resolution: int) -> Tensor:
    """Bilinear enlargement of [start, start + length) to `resolution` points: [N, R, R], each row sums to one."""
    position = torch.arange(resolution, device=start.device, dtype=torch.float32)
    centres = (position + 0.5) * (length / resolution)[:, None] - 0.5
    centres = torch.minimum(centres.clamp(min=0), length[:, None] - 1) + start[:, None]
    return (1 - (centres.unsqueeze(-1) - position).abs()).clamp(min=0)


def _resize_matrix(
    start: Tensor, length: Tensor, kept: Tensor, is_cubic: Tensor, is_smooth: Tensor, resolution: int
) -> Tensor:
    """Resizing of [start, start + length) to `kept` points: [N, R, R]; rows sum to one, those from `kept` on are 0.

    Antialiased where `is_smooth`. Weights beyond the window are left out and the others scaled up, which for bilinear
    and for antialiased resizing is what torch does.
    """
    position = torch.arange(resolution, device=start.device, dtype=torch.float32)
    scale = (length / kept)[:, None]
    centres = start[:, None] + (position + 0.5) * scale - 0.5
    width = torch.where(is_smooth[:, None], scale.clamp(min=1), 1.0).unsqueeze(-1)
    distance = (centres.unsqueeze(-1) - position).abs() / width
    cubic = _cubic(distance, torch.where(is_smooth, -0.5, -0.75)[:, None, None])
    weights = torch.where(is_cubic[:, None, None], cubic, (1 - distance).clamp(min=0))
    end = start + length
    weights = weights * ((position >= start[:, None]) & (position < end[:, None])).unsqueeze(1)
    weights = weights * (position < kept[:, None]).unsqueeze(-1)
    return weights / weights.sum(2, keepdim=True).where((position < kept[:, None]).unsqueeze(-1), 1.0)


def _cubic(distance: Tensor, a: Tensor) -> Tensor:
    """Keys' cubic convolution kernel (1981) of parameter a; distance at least 0."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, 0.0))


DRAW: dict[str, Callable[[Tensor, int], Resampling | None]] = {
    "none": draw_identity,
    "cifar": draw_cifar,
    "imagenet": draw_imagenet,
    "photograph": draw_photograph,
}


def augment(images: Tensor, keys: Tensor, name: str) -> Tensor:
    """A transformation of `DRAW`, drawn and applied: to the bit what `resample` gives, float32 [N, 3, R, R].

    Where pixels only change places they are looked up, a third of the time; but nothing should be differentiated
    through it, for which matrices are faster.

    Args:
        images: float32 [N, 3, R, R].
        keys: int64 [N].
        name: of the transformation.
    """
    if name != "cifar":
        return resample(images, DRAW[name](keys, images.shape[-1]))
    count, channels, resolution, _ = images.shape
    rows, columns = (places.clamp(-1, resolution) + 1 for places in _draw_places(keys, resolution))
    framed = F.pad(images.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))  # by zeros
    first = torch.arange(count, device=keys.device)[:, None, None] * (resolution + 2)
    places = (first + rows[:, :, None]) * (resolution + 2) + columns[:, None, :]
    found = framed.reshape(-1, channels).index_select(0, places.flatten())
    return found.view(count, resolution, resolution, channels).permute(0, 3, 1, 2)


def interpolation_matrix(source: int, target: int) -> Tensor:
    """The bilinear (antialiased when shrinking) way from `source` to `target` points: float32 [target, source].

    Every row is a convex combination, so what it interpolates cannot overshoot.
    """
    eye = torch.eye(source)[None, None]
    return F.interpolate(eye, size=(target, source), mode="bilinear", antialias=True, align_corners=False)[0, 0]


class NoiseRoute:
    """The way of the noise from the working grid to each image's own size and back, as a network at R sees it.

    Args:
        sizes: int64 [U, 2], (height, width) of each released image.
        resolution: R, side of the working grid.
    """

    def __init__(self, sizes: Tensor, resolution: int) -> None:
        lengths, index = torch.unique(sizes, return_inverse=True)
        self.direct = bool((sizes == resolution).all())
        self._index = index
        self._matrices = torch.empty(0)
        if not self.direct:
            self._matrices = torch.stack([_there_and_back(int(length), resolution) for length in lengths])

    def to(self, device: torch.device) -> "NoiseRoute":
        """Move the matrices to a device."""
        self._index, self._matrices = self._index.to(device), self._matrices.to(device)
        return self

    def of(self, indices: Tensor) -> Resampling | None:
        """The routes of some images, int64 [N]; None when every image has the working size."""
        if self.direct:
            return None
        chosen = self._index[indices]
        return Resampling(self._matrices[chosen[:, 0]], self._matrices[chosen[:, 1]])


def _there_and_back(length: int, resolution: int) -> Tensor:
    if length == resolution:
        return torch.eye(resolution)
    return interpolation_matrix(length, resolution) @ interpolation_matrix(resolution, length)
