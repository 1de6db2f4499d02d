"""The 8-bit domain, where the budget lives."""

import torch
import torch.nn.functional as F
from torch import Tensor

from rem_release.core.norms import project
from rem_release.core.resampling import Resampling, resample


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
    """The released picture: the noise of the working grid brought to the picture's size, projected, rounded there.

    Args:
        image: uint8 [3, H, W].
        levels: int8 [3, R, R], the noise on the working grid.
        budget: floor(255·ρ_u).

    Returns:
        uint8 [3, H, W] with |x′ − x| ≤ budget everywhere, and whether the noise had to be raised: on pictures of very
        few pixels it can round to nothing, and then every pixel moves by the whole budget, the way its noise pointed.
    """
    size = (int(image.shape[1]), int(image.shape[2]))
    delta = levels.to(torch.float32)
    if delta.shape[1:] != image.shape[1:]:
        delta = F.interpolate(delta[None], size=size, mode="bilinear", antialias=True, align_corners=False)[0]
    clean = image.to(torch.int16)
    low, high = (-clean).clamp(min=-budget), (255 - clean).clamp(max=budget)
    change = torch.round(delta).to(torch.int16).clamp(low, high)
    raised = 8 * int(change.abs().sum()) < budget * change.numel()
    if raised:
        upwards = torch.where(high < budget, False, torch.where(low > -budget, True, delta >= 0))
        change = torch.where(upwards, high, low)
    return (clean + change).to(torch.uint8), raised
