"""The min-min-max solver (paper Eq. 5, Algorithm 1), of which REM, SEM, EM and "no EOT" are settings."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from rem_release.core.draws import Draws, Purpose
from rem_release.core.frozen import frozen
from rem_release.core.levels import add_quantised, round_to_levels
from rem_release.core.norms import project
from rem_release.core.pgd import input_gradient, pgd
from rem_release.core.resampling import DRAW, Resampling, resample


@dataclass(frozen=True, kw_only=True)
class NoiseSettings:
    """The symbols of Algorithm 1; radii and steps as fractions of the full range."""

    rho_u: float
    alpha_u: float
    K_u: int
    rho_a: float
    alpha_a: float
    K_a: int
    J: int
    transform: str
    inner: Literal["pgd", "uniform"]
    """How δ_a is found while δ_u is optimised: by PGD (REM), or as one uniform draw in ±ρ_a (SEM)."""

    @property
    def gradients_per_image(self) -> int:
        """Sample gradient evaluations that `min_max_noise` spends on an image: K_u · J · (K_a + 1) with PGD inside."""
        return self.K_u * self.J * ((self.K_a if self.inner == "pgd" and self.rho_a > 0 else 0) + 1)

    @property
    def gradients_per_step(self) -> int:
        """Those that a training step spends on an image of its batch: 561 for REM on the paper's CIFAR recipe."""
        return self.gradients_per_image + (self.K_a if self.rho_a > 0 else 0) + 1


def min_max_noise(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    noise: NoiseSettings,
    draws: Draws,
    route: Resampling | None = None,
) -> Tensor:
    """δ_u of Eq. 5 for one batch (Algorithm 1, lines 8 to 16), rounded to whole levels: int8 [N, 3, R, R].

    δ_u starts uniform, stays in float, and is projected at each step; the J draws of a step run as one batch.

    Args:
        model: the source model, not wrapped; frozen here.
        images: float32 [N, 3, R, R] in [0, 1].
        labels: int64 [N].
        noise: the settings.
        draws: the random numbers of this batch.
        route: the way of the noise to the images' own sizes and back; None where they have the working size.
    """
    with frozen(model) as network:
        return _minimise(network, images, labels, noise, draws, route)


def adversarial_images(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    noise: NoiseSettings,
    draws: Draws,
    route: Resampling | None = None,
) -> Tensor:
    """t(x + δ_u) + δ_a, what the source model learns from in one step (Algorithm 1, lines 8 to 18): float32
    [N, 3, R, R]. The noise is quantised before it is seen."""
    with frozen(model) as network:
        delta_u = _minimise(network, images, labels, noise, draws, route)
        protected = add_quantised(images, delta_u, route)
        t = DRAW[noise.transform](draws.keys(Purpose.OUTER_TRANSFORM), images.shape[-1])
        transformed = resample(protected, t)
        shape = tuple(images.shape[1:])
        start = draws.within(noise.rho_a, shape, Purpose.OUTER_ADVERSARY_START) if noise.rho_a else None
        return transformed + _adversary(network, transformed, labels, noise, start, "pgd")


def _minimise(
    network: nn.Module, images: Tensor, labels: Tensor, noise: NoiseSettings, draws: Draws, route: Resampling | None
) -> Tensor:
    """See `min_max_noise`; the network is frozen."""
    shape, resolution = tuple(images.shape[1:]), images.shape[-1]
    delta_u = project(draws.within(noise.rho_u, shape, Purpose.NOISE_START), images, noise.rho_u)
    labels_J = labels.repeat(noise.J)
    for k in range(noise.K_u):
        t = DRAW[noise.transform](draws.keys(Purpose.TRANSFORM, k, noise.J), resolution)
        delta_u.requires_grad_()
        seen = images + resample(delta_u, route)
        transformed = resample(seen.repeat(noise.J, 1, 1, 1), t)
        start = draws.within(noise.rho_a, shape, Purpose.ADVERSARY_START, k, noise.J) if noise.rho_a else None
        delta_a = _adversary(network, transformed, labels_J, noise, start, noise.inner)
        g_k = input_gradient(network, transformed + delta_a, labels_J, delta_u)
        delta_u = project(delta_u.detach() - noise.alpha_u * g_k.sign(), images, noise.rho_u)
    return round_to_levels(delta_u)


def _adversary(
    network: nn.Module, images: Tensor, labels: Tensor, noise: NoiseSettings, start: Tensor | None, how: str
) -> Tensor:
    """δ_a around t(x + δ_u) (lines 12 and 18); no start means ρ_a = 0."""
    if start is None:
        return torch.zeros_like(images, requires_grad=False)
    steps = noise.K_a if how == "pgd" else 0
    return pgd(network, images, labels, noise.rho_a, noise.alpha_a, steps, start)
