"""Augmentations of a victim's batch, on its device: cutout, mixup, cutmix.

Every number is a counter-based draw. What is drawn once a batch is a function of (seed, step).
"""

import scipy
import torch
from torch import Tensor

from rem_release.core.draws import Draws, Purpose, chain, uniform

_BLANK = 0.5
"""Mid grey. DeVries and Taylor blank with the data's mean, which is 0 once images are normalised; the networks here
centre images at 0.5."""


def cutout(images: Tensor, keys: Tensor, share: float = 0.5) -> Tensor:
    """Blank one square of each image (DeVries and Taylor, 2017).

    Its centre is any pixel with the same chance, so that a part of it may lie outside; the blank is mid grey.

    Args:
        images: float [N, 3, R, R] in [0, 1].
        keys: int64 [N], one an image.
        share: side of the square as a share of R, rounded to whole pixels: 16 of 32 at 0.5.

    Returns:
        New images of the same shape.
    """
    resolution = images.shape[-1]
    side = round(share * resolution)
    first = (uniform(keys, 2) * resolution).long() - side // 2
    position = torch.arange(resolution, device=images.device)
    distance = position - first.unsqueeze(-1)  # [N, 2, R]
    inside = (distance >= 0) & (distance < side)
    square = inside[:, 0, :, None] & inside[:, 1, None, :]
    return images.masked_fill(square.unsqueeze(1), _BLANK)


def mixup(images: Tensor, targets: Tensor, draws: Draws, alpha: float = 1.0) -> tuple[Tensor, Tensor]:
    """Blend each image and its target with those of another image of the batch (Zhang et al., 2018).

    One λ ~ Beta(α, α) serves the batch, as in the authors' code: λ · itself + (1 - λ) · its partner. Partners are a
    permutation of the batch, so an image may be its own.

    Args:
        images: float [N, 3, R, R].
        targets: float [N, C], each row sums to one.
        draws: of this step, one id an image; N may be a multiple of the ids, for several views of each image.
        alpha: α above 0; 1 makes λ uniform, small ones bring λ near 0 or 1.

    Returns:
        (images, targets), new and of the same shapes.
    """
    weight = draw_weight(draws, alpha)
    partner = draw_partners(draws, len(images) // len(draws.ids))
    return torch.lerp(images[partner], images, weight), torch.lerp(targets[partner], targets, weight)


def cutmix(images: Tensor, targets: Tensor, draws: Draws, alpha: float = 1.0) -> tuple[Tensor, Tensor]:
    """Paste one square of another image of the batch into each image (Yun et al., 2019).

    One λ ~ Beta(α, α) and one square serve the batch, as in the authors' code. Its area is 1 - λ of the image (the
    side rounded down), its centre any pixel with the same chance; it is cut off at the border, and targets are
    blended by the pixels that really were pasted.

    Args:
        images: float [N, 3, R, R].
        targets: float [N, C], each row sums to one.
        draws: of this step, one id an image; N may be a multiple of the ids, for several views of each image.
        alpha: α above 0; 1 makes λ uniform.

    Returns:
        (images, targets), new and of the same shapes.
    """
    resolution = images.shape[-1]
    side = int(resolution * (1 - draw_weight(draws, alpha)) ** 0.5)
    spans = []
    for number in _numbers_of_step(draws)[1:]:
        first = int(number * resolution) - side // 2
        spans.append(slice(max(first, 0), min(first + side, resolution)))
    partner = draw_partners(draws, len(images) // len(draws.ids))
    mixed = images.clone()
    mixed[..., spans[0], spans[1]] = images[partner][..., spans[0], spans[1]]
    pasted = (spans[0].stop - spans[0].start) * (spans[1].stop - spans[1].start) / resolution**2
    return mixed, torch.lerp(targets, targets[partner], pasted)


def draw_weight(draws: Draws, alpha: float) -> float:
    """λ ~ Beta(α, α) of this step: the inverse of the distribution function at a uniform number."""
    return float(scipy.special.betaincinv(alpha, alpha, _numbers_of_step(draws)[0]))


def draw_partners(draws: Draws, samples: int = 1) -> Tensor:
    """A random permutation of the batch, int64 [samples · N], on the device of the ids: the order of the keys."""
    return draws.keys(Purpose.PARTNER, samples=samples).argsort(stable=True)


def _numbers_of_step(draws: Draws) -> list[float]:
    """For λ and the centre of the square; made on the CPU, so that no step waits for the device."""
    return uniform(chain(torch.tensor(draws.seed), int(Purpose.MIX), draws.step), 3).tolist()
