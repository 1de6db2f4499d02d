"""Projected gradient steps on the input, within an L∞ ball and the box [0, 1] (Madry et al., ICLR 2018)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """Hold a model still while inputs are optimised: eval mode, no parameter gradients; restored on leaving."""
    training = [module.training for module in model.modules()]
    learning = [parameter.requires_grad for parameter in model.parameters()]
    try:
        model.eval().requires_grad_(False)
        yield model
    finally:
        for module, was_training in zip(model.modules(), training, strict=True):
            module.training = was_training
        for parameter, was_learning in zip(model.parameters(), learning, strict=True):
            parameter.requires_grad_(was_learning)


def project(delta: Tensor, images: Tensor, radius: float) -> Tensor:
    """Π: the nearest noise with |δ| ≤ radius and 0 ≤ x + δ ≤ 1, for any shape.

    The box is part of the projection, not a clamp of the sum, so that saturated pixels keep their gradients.
    """
    return torch.maximum(torch.minimum(delta, (1 - images).clamp(max=radius)), (-images).clamp(min=-radius))


def input_gradient(model: nn.Module, inputs: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
    """Gradient of the summed cross-entropy with regard to `wanted`, which `inputs` was computed from."""
    loss = F.cross_entropy(model(inputs), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, wanted)
    return gradient


def pgd(
    model: nn.Module, images: Tensor, labels: Tensor, radius: float, step_size: float, steps: int, start: Tensor
) -> Tensor:
    """The adversarial perturbation: `steps` signed ascent steps from `start` (projected), float32 [N, 3, R, R].

    The model must be frozen. With no steps this is the projected start.
    """
    images = images.detach()
    delta = project(start, images, radius)
    for _ in range(steps):
        delta.requires_grad_()
        gradient = input_gradient(model, images + delta, labels, delta)
        delta = project(delta.detach() + step_size * gradient.sign(), images, radius)
    return delta
