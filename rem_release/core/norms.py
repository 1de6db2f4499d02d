"""The balls of L∞, L2 and L1: projection, step of steepest ascent and random start of each, written once.

A norm runs over all values of an image, in units of the full range; the first dimension of a tensor counts images.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from rem_release.core.draws import Draws, uniform

Norm = Literal["linf", "l2", "l1"]

_HALVINGS = 26
"""After so many a multiplier is known about as well as float32 can hold it."""
_INWARDS = 1 - 1e-6
"""A factor larger than the rounding of a float32 norm."""


def measure(delta: Tensor, norm: Norm) -> Tensor:
    """‖δ‖ of each image's noise, [N, ...] → [N, 1, ...] with as many dimensions."""
    values = tuple(range(1, delta.ndim))  # `sum` adds in a tree; in float32 `vector_norm` errs by up to 1e-5
    if norm == "linf":
        return delta.abs().amax(values, keepdim=True)
    if norm == "l2":
        return delta.square().sum(values, keepdim=True).sqrt()
    return delta.abs().sum(values, keepdim=True)


def project(delta: Tensor, images: Tensor, radius: float, norm: Norm = "linf") -> Tensor:
    """Π: the nearest noise with ‖δ‖ ≤ radius and 0 ≤ x + δ ≤ 1, to float32 rounding (L∞: exactly).

    The box is part of the projection, not a clamp of the sum, so that saturated pixels keep their gradients.

    Args:
        delta: the noise; any shape in L∞, [N, ...] in L2 and L1.
        images: x in [0, 1], of the same shape. Where bicubic resampling left the box, L∞ keeps the ball: the noise goes
            as far back as that allows.
        radius: of the ball, at least 0.
        norm: of the ball.
    """
    return projection(images, radius, norm)(delta)


def projection(images: Tensor, radius: float, norm: Norm = "linf") -> Callable[[Tensor], Tensor]:
    """`project` for several noises of the same images; what depends on the images alone is computed once."""
    low, high = -images, 1 - images
    if norm == "linf":  # an image that leaves the box itself, as resampling may leave one, keeps the ball
        low, high = low.clamp_(-radius, radius), high.clamp_(-radius, radius)
        return lambda delta: torch.clamp(delta, low, high)

    def restrict(delta: Tensor) -> Tensor:
        boxed = torch.clamp(delta, low, high)
        return torch.where(measure(boxed, norm) <= radius, boxed, _shrink(delta, low, high, radius, norm))

    return restrict


def _shrink(delta: Tensor, low: Tensor, high: Tensor, radius: float, norm: Norm) -> Tensor:
    """The nearest noise where the box alone does not bring it into the ball.

    By the Karush-Kuhn-Tucker conditions it is clip(m·δ) in L2, and in L1 clip(δ moved towards 0 by m). Its norm is
    monotone in m, one number an image, which is bisected between a value inside the ball and one outside.
    """

    def shrunk(multiplier: Tensor) -> Tensor:
        smaller = delta * multiplier if norm == "l2" else delta - delta.clamp(-multiplier, multiplier)
        return torch.clamp(smaller, low, high)

    if norm == "l2":
        inside = (radius / measure(delta, "l2")).clamp(max=1) * _INWARDS
        outside = torch.ones_like(inside)
    else:
        inside = measure(delta, "linf")
        outside = torch.zeros_like(inside)
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        fits = measure(shrunk(middle), norm) <= radius
        inside, outside = torch.where(fits, middle, inside), torch.where(fits, outside, middle)
    return shrunk(inside)


def ascend(gradient: Tensor, seen: Tensor, step_size: float, radius: float, norm: Norm = "linf") -> Tensor:
    """The step of length `step_size` along which the loss rises fastest; where the gradient is zero there is none.

    L∞ moves every value by its sign, L2 goes along the gradient. In L1 the steepest step would move a single value,
    which a network soon answers otherwise, so the step is spread: the values of largest gradient that the box lets
    move get equal shares, or what room they have, until the step is used up. There are 2·radius shares, since so many
    values spend the radius when each goes half the range; fewer or more find less in as many steps. (Sparse steps:
    Tramèr and Boneh, NeurIPS 2019; a sparsity that fits ball and box: Croce and Hein, ICML 2021.)

    Args:
        gradient: of the loss, [N, ...].
        seen: x + δ in [0, 1], of the same shape.
        step_size: in the norm.
        radius: of the ball; L1 alone reads it.
        norm: of the ball.
    """
    if norm == "linf":
        return gradient.sign().mul_(step_size)
    if norm == "l2":
        tiny = torch.finfo(gradient.dtype).tiny
        scaled = gradient / measure(gradient, "linf").clamp(min=tiny)  # or the squares of small ones would vanish
        return step_size * scaled / measure(scaled, "l2").clamp(min=tiny)
    room = torch.where(gradient > 0, 1 - seen, seen).flatten(1)
    shares = min(max(round(2 * radius), 1), room.shape[1])
    order = gradient.flatten(1).abs().argsort(dim=1, descending=True)
    most = room.gather(1, order).clamp(max=step_size / shares)
    taken = most.cumsum(1)
    move = torch.minimum(most, (step_size - (taken - most)).clamp(min=0))
    return torch.zeros_like(room).scatter(1, order, move).reshape(gradient.shape) * gradient.sign()


def random_start(
    draws: Draws, radius: float, shape: tuple[int, ...], norm: Norm, purpose: int, k: int = 0, samples: int = 1
) -> Tensor:
    """Uniform noise in the ball, not yet cut by the box: float32 [samples · N, *shape], draw-major.

    L2 takes the direction of independent normals, L1 that of independent Laplace numbers; either at the distance
    radius · u^(1/d) of d values. L∞ is `Draws.within`.
    """
    if norm == "linf":
        return draws.within(radius, shape, purpose, k, samples)
    count = int(torch.Size(shape).numel())
    numbers, share = uniform(draws.keys(purpose, k, samples), count + 1).split([count, 1], dim=1)
    centred = 2 * numbers - 1
    direction = torch.special.ndtri(numbers) if norm == "l2" else centred.sign() * torch.log1p(-centred.abs())
    return (direction / measure(direction, norm) * (radius * share ** (1 / count))).reshape(-1, *shape)
