"""Projected gradient steps on the input, within a ball and the box [0, 1] (Madry et al., ICLR 2018)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rem_release.core.norms import Norm, ascend, project


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


def input_gradient(model: nn.Module, inputs: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
    """Gradient of the summed cross-entropy with regard to `wanted`, which `inputs` was computed from."""
    loss = F.cross_entropy(model(inputs), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, wanted)
    return gradient


def pgd(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    radius: float,
    step_size: float,
    steps: int,
    start: Tensor,
    norm: Norm = "linf",
) -> Tensor:
    """The adversarial perturbation: `steps` ascent steps from `start` (projected), float32 [N, 3, R, R].

    The model must be frozen. With no steps this is the projected start.

    Args:
        model: takes images in [0, 1] and gives logits [N, C].
        images: float32 [N, 3, R, R] in [0, 1].
        labels: int64 [N], or the probability of each class, float [N, C].
        radius: of the ball, as a fraction of the full range; in L2 and L1 of the norm over all 3·R·R values.
        step_size: length of a step in the norm. On trained networks 2.5·radius/steps is good in every norm; less than
            radius/steps cannot cross the ball from a random start.
        steps: number of steps.
        start: where to begin, [N, 3, R, R].
        norm: of the ball.
    """
    images = images.detach()
    delta = project(start, images, radius, norm)
    for _ in range(steps):
        delta.requires_grad_()
        seen = images + delta
        gradient = input_gradient(model, seen, labels, delta)
        step = ascend(gradient, seen.detach(), step_size, radius, norm)
        delta = project(delta.detach() + step, images, radius, norm)
    return delta
