"""A plain Algorithm 1 and a plain adversarial training, to be compared with: as published code does them.

Eager float32, layer by layer, channels first; one draw of the transformation at a time, image by image.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rem_release.core.solver import NoiseSettings


def plain_noise_step(
    model: nn.Module, images: Tensor, labels: Tensor, delta_u: Tensor, noise: NoiseSettings, generator: torch.Generator
) -> Tensor:
    """One step of δ_u (Algorithm 1, lines 9 to 14): float32 [N, 3, R, R].

    Args:
        model: in eval mode, without gradients of parameters.
        images: float32 [N, 3, R, R] in [0, 1].
        labels: int64 [N].
        delta_u: where the step begins, within ρ_u.
        noise: J draws, each with K_a steps inside.
        generator: of the draws, on the CPU.
    """
    total = torch.zeros_like(images)
    for _ in range(noise.J):
        moving = delta_u.clone().requires_grad_()
        transformed = torch.stack([crop_and_flip(image, generator) for image in images + moving])
        delta_a = plain_adversary(model, transformed.detach(), labels, noise.rho_a, noise.alpha_a, noise.K_a)
        loss = F.cross_entropy(model((transformed + delta_a).clamp(0, 1)), labels)
        total += torch.autograd.grad(loss, moving)[0] / noise.J
    stepped = (delta_u - noise.alpha_u * total.sign()).clamp(-noise.rho_u, noise.rho_u)
    return (images + stepped).clamp(0, 1) - images


def plain_adversary(
    model: nn.Module, images: Tensor, labels: Tensor, radius: float, step_size: float, steps: int
) -> Tensor:
    """PGD within an L∞ ball and the box [0, 1], from a random start: [N, 3, R, R]."""
    delta = torch.empty_like(images).uniform_(-radius, radius)
    for _ in range(steps):
        seen = (images + delta).clamp(0, 1).requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(seen), labels), seen)
        delta = ((seen.detach() + step_size * gradient.sign()) - images).clamp(-radius, radius)
    return (images + delta).clamp(0, 1) - images


def crop_and_flip(image: Tensor, generator: torch.Generator) -> Tensor:
    """Padding by R/8, a random crop, a random flip, of one image [3, R, R]."""
    side = image.shape[-1]
    pad = max(1, side // 8)
    top, left = torch.randint(0, 2 * pad + 1, (2,), generator=generator).tolist()
    cut = F.pad(image, (pad, pad, pad, pad))[:, top : top + side, left : left + side]
    return cut.flip(-1) if torch.rand((), generator=generator) < 0.5 else cut


def plain_victim_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    radius: float,
    steps: int,
    generator: torch.Generator,
) -> None:
    """One step of standard training (radius 0) or of adversarial training (paper Eq. 2) on a batch [N, 3, R, R]."""
    seen = torch.stack([crop_and_flip(image, generator) for image in images])
    if radius:
        model.eval()
        seen = seen + plain_adversary(model, seen, labels, radius, 0.75 * radius, steps)
    model.train()
    optimizer.zero_grad()
    F.cross_entropy(model(seen), labels).backward()
    optimizer.step()
