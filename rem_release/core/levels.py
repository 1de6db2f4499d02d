"""The 8-bit domain, where the budget lives."""

from collections.abc import Iterator

import torch
from torch import Tensor

from rem_release.core.norms import project
from rem_release.core.resampling import Resampling, interpolation_matrix, resample

_STRIP = 1 << 20
"""pixels of a large image that are worked on at a time"""


def to_float(images: Tensor) -> Tensor:
    """uint8 levels → float32 in [0, 1]."""
    return images.to(torch.float32) / 255


def round_to_levels(delta: Tensor) -> Tensor:
    """Noise rounded once to whole levels: int8. Rounding cannot leave a ball of whole levels or the box."""
    return torch.round(delta.detach() * 255).to(torch.int8)


def add_quantised(images: Tensor, levels: Tensor, route: Resampling | None) -> Tensor:
    """What a network at the working resolution sees of the release: x + δ_u, δ_u in whole levels (int8).

    Where images have their own size, the noise goes there and back (`NoiseRoute`) before it is seen.
    """
    return images + project(resample(levels.to(images.dtype) / 255, route), images, 1.0)


def protect_at_own_size(image: Tensor, levels: Tensor, budget: int) -> tuple[Tensor, bool]:
    """The released image: the noise of the working grid brought to the image's size, projected, rounded there.

    Args:
        image: uint8 [3, H, W].
        levels: int8 [3, R, R], the noise on the working grid.
        budget: floor(255·ρ_u).

    Returns:
        uint8 [3, H, W] with |x′ − x| ≤ budget everywhere, and whether the noise had to be raised: on images of very
        few pixels it can round to nothing, and then every pixel moves by the whole budget, the way its noise pointed.
    """
    height, width = int(image.shape[1]), int(image.shape[2])
    clean = image.permute(1, 2, 0).contiguous()  # as images lie in memory
    released, moved = torch.empty_like(clean), 0
    for strip, delta in _strips_of_noise(levels, height, width):
        noise = torch.round(delta).clamp_(-budget, budget).to(torch.int8)
        before = clean[strip].to(torch.int16)
        after = (torch.stack(noise.unbind(), -1).to(torch.int16) + before).clamp_(0, 255)
        released[strip] = after
        moved += int(after.sub_(before).abs_().sum())
    result = released.permute(2, 0, 1)
    raised = 8 * moved < budget * image.numel()
    if raised:
        for strip, delta in _strips_of_noise(levels, height, width):
            low, high = _room(image[:, strip], budget)
            upwards = torch.where(high < budget, False, torch.where(low > -budget, True, delta >= 0))
            result[:, strip] = image[:, strip] + torch.where(upwards, high, low)
    return result, raised


def _room(image: Tensor, budget: int) -> tuple[Tensor, Tensor]:
    """How far each value may go down and up: int16."""
    clean = image.to(torch.int16)
    return (-clean).clamp(min=-budget), (255 - clean).clamp(max=budget)


def _strips_of_noise(levels: Tensor, height: int, width: int) -> Iterator[tuple[slice, Tensor]]:
    """Rows of an image, and the noise brought to its size there, float32: a few million values at a time."""
    if levels.shape[1:] == (height, width):
        yield slice(0, height), levels.to(torch.float32)
        return
    columns = interpolation_matrix(levels.shape[2], width)
    rows, across = interpolation_matrix(levels.shape[1], height), levels.to(torch.float32) @ columns.T
    step = max(1, _STRIP // width)
    for top in range(0, height, step):
        yield slice(top, min(height, top + step)), rows[top : top + step] @ across
