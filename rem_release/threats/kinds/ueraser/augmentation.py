"""UEraser (Qin et al., 2023): plasma brightness, plasma contrast, channel shuffle, TrivialAugment.

Chances and strengths are those of the authors' published code. A plasma is a fractal map by the diamond-square
algorithm, as theirs, made for the whole batch and each channel at once.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rem_release.core.draws import Draws, Purpose, chain, uniform
from rem_release.core.frozen import frozen

_CHANCE = 0.5
_ROUGHNESS = (0.3, 0.7)
_INTENSITY = (0.5, 1.0)
_CONTRAST = 4.0
_ORDERS = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
_GROUP = 8
_NUMBERS, _BRIGHTNESS_MAP, _CONTRAST_MAP, _TRIVIAL = range(4)


def draw(images: Tensor, draws: Draws, count: int) -> list[Tensor]:
    """Independent draws of the whole batch, float [N, 3, R, R] each."""
    key = chain(torch.tensor(draws.seed), int(Purpose.COLOUR), draws.step)
    return [ueraser(images, int(chain(key, k)) & 0x7FFFFFFFFFFFFFFF) for k in range(count)]


def choose_worst(model: nn.Module, drawn: list[Tensor], labels: Tensor) -> Tensor:
    """For each image the draw with the largest loss, float [N, 3, R, R]; labels are int64 [N]."""
    with frozen(model) as network, torch.no_grad():
        losses = torch.stack([F.cross_entropy(network(images), labels, reduction="none") for images in drawn])
    return torch.stack(drawn)[losses.argmax(0), torch.arange(len(labels), device=labels.device)]


def ueraser(images: Tensor, seed: int) -> Tensor:
    """One draw of the augmentation for each image.

    Draws are a function of the seed and of an image's place in the batch, so each step and repetition needs a seed
    of its own, such as `int(chain(torch.tensor(run_seed), int(Purpose.COLOUR), step, k))`.

    Args:
        images: float [N, 3, R, R] in [0, 1].
        seed: of the draws, any int64.

    Returns:
        New images in [0, 1], in whole 8-bit levels, of the same shape and type.
    """
    return augment_trivially(change_colours(images, seed), seed)


def change_colours(images: Tensor, seed: int) -> Tensor:
    """Plasma brightness, plasma contrast, channel shuffle: each with a chance of one half for each image.

    Args:
        images: float [N, 3, R, R] in [0, 1].
        seed: of the draws, any int64.

    Returns:
        New images in [0, 1] of the same shape and type.
    """
    place = torch.arange(len(images), device=images.device)
    keys = chain(torch.full_like(place, seed), int(Purpose.COLOUR), place)
    numbers = uniform(chain(keys, _NUMBERS), 7).to(images.dtype)
    brighter = _brighten(images, chain(keys, _BRIGHTNESS_MAP), numbers[:, 3], numbers[:, 4])
    images = torch.where(_happens(numbers[:, 0]), brighter, images)
    contrasted = _change_contrast(images, chain(keys, _CONTRAST_MAP), numbers[:, 5])
    images = torch.where(_happens(numbers[:, 1]), contrasted, images)
    return torch.where(_happens(numbers[:, 2]), _shuffle_channels(images, numbers[:, 6]), images)


def _happens(numbers: Tensor) -> Tensor:
    return (numbers < _CHANCE)[:, None, None, None]


def _between(bounds: tuple[float, float], numbers: Tensor) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * numbers


def _brighten(images: Tensor, keys: Tensor, roughness: Tensor, intensity: Tensor) -> Tensor:
    """Add a plasma in ±intensity."""
    plasma = _plasma_of_channels(images, keys, roughness)
    return (images + _between(_INTENSITY, intensity)[:, None, None, None] * (2 * plasma - 1)).clamp(0, 1)


def _change_contrast(images: Tensor, keys: Tensor, roughness: Tensor) -> Tensor:
    """Scale the distance from mid grey by a plasma in 0 to 4, 2 on average: most images gain contrast."""
    plasma = _plasma_of_channels(images, keys, roughness)
    return ((images - 0.5) * (_CONTRAST * plasma) + 0.5).clamp(0, 1)


def _plasma_of_channels(images: Tensor, keys: Tensor, roughness: Tensor) -> Tensor:
    count, channels, resolution = images.shape[:3]
    of_channels = torch.stack([chain(keys, channel) for channel in range(channels)], dim=1).flatten()
    rough = _between(_ROUGHNESS, roughness).repeat_interleave(channels)
    return make_plasma(of_channels, rough, resolution).reshape(count, channels, resolution, resolution)


def make_plasma(keys: Tensor, roughness: Tensor, resolution: int) -> Tensor:
    """Fractal maps in [0, 1] by the diamond-square algorithm.

    Nine uniform numbers make a grid of 3 × 3; then the grid is refined until it covers the map. Every new point is
    (1 - s) · mean of its neighbours + s · a uniform number, where s is the roughness to the power of the refinement:
    a convex combination, so no map leaves [0, 1] and none needs to be stretched.

    Args:
        keys: int64 [M], one a map.
        roughness: float [M] in [0, 1].
        resolution: side of the maps.

    Returns:
        float [M, resolution, resolution], of the type of `roughness`.
    """
    grid = uniform(chain(keys, 0), 9).to(roughness.dtype).reshape(-1, 3, 3)
    level = 0
    while grid.shape[-1] < resolution:
        level += 1
        side = 2 * grid.shape[-1] - 1
        chance = uniform(chain(keys, level), side**2).to(roughness.dtype).reshape(-1, side, side)
        grid = _refine(grid, chance, (roughness**level)[:, None, None])
    return grid[:, :resolution, :resolution]


def _refine(grid: Tensor, chance: Tensor, scale: Tensor) -> Tensor:
    """Double a grid [M, n, n]: centres of squares from their corners, then edges from the points beside them."""
    finer = torch.empty_like(chance)
    finer[:, ::2, ::2] = grid
    corners = (grid[:, :-1, :-1] + grid[:, 1:, :-1] + grid[:, :-1, 1:] + grid[:, 1:, 1:]) / 4
    centres = torch.lerp(corners, chance[:, 1::2, 1::2], scale)
    finer[:, 1::2, 1::2] = centres
    finer[:, ::2, 1::2] = torch.lerp(_mean_around_edges(grid, centres), chance[:, ::2, 1::2], scale)
    finer[:, 1::2, ::2] = torch.lerp(_mean_around_edges(grid.mT, centres.mT).mT, chance[:, 1::2, ::2], scale)
    return finer


def _mean_around_edges(grid: Tensor, centres: Tensor) -> Tensor:
    """For each point between two columns, the mean of the two beside it and of the centres above and below."""
    total = grid[:, :, :-1] + grid[:, :, 1:]
    total[:, 1:] += centres
    total[:, :-1] += centres
    total[:, 1:-1] /= 4
    total[:, :: grid.shape[1] - 1] /= 3  # first and last row have one centre only
    return total


def _shuffle_channels(images: Tensor, numbers: Tensor) -> Tensor:
    """One of the six orders of the channels for each image."""
    order = _orders(images.device)[(numbers * len(_ORDERS)).long()]
    return images.gather(1, order[:, :, None, None].expand_as(images))


@cache
def _orders(device: torch.device) -> Tensor:
    """int64 [6, 3]."""
    return torch.tensor(_ORDERS, device=device)


def augment_trivially(images: Tensor, seed: int) -> Tensor:
    """torchvision's TrivialAugmentWide on 8-bit images: one of 14 operations, at one of 31 strengths.

    One draw serves eight neighbours of the batch, because torchvision draws once a call and a call an image would
    take most of a step. It draws from the global CPU generator, which is seeded here and put back afterwards; it
    uses no other generator. As in torchvision, shifts reach 32 pixels at any resolution: a few images of 32 × 32
    are shifted out of sight.

    Args:
        images: float [N, 3, R, R]; what lies outside [0, 1], as after a projection, is clamped.
        seed: of the draws, any int64.

    Returns:
        New images in [0, 1], in whole 8-bit levels, of the same shape and type.
    """
    from torchvision.transforms import TrivialAugmentWide  # takes seconds

    levels = (images.clamp(0, 1) * 255).round().to(torch.uint8)
    augment = TrivialAugmentWide()
    groups = []
    with torch.random.fork_rng(devices=[]):
        for index, group in enumerate(levels.split(_GROUP)):
            # torch.manual_seed would seed the devices too, and nothing would put those back
            key = chain(torch.tensor(seed), int(Purpose.COLOUR), index, _TRIVIAL)
            torch.default_generator.manual_seed(int(key))
            groups.append(augment(group))
    return torch.cat(groups).to(images.dtype) / 255
