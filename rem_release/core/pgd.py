"""Projected gradient steps on the input, within a ball and the box [0, 1] (Madry et al., ICLR 2018)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rem_release.core.norms import Norm, ascend, projection

Loss = Callable[[Tensor, Tensor], Tensor]
"""(what the model answers [N, ...], targets) -> the sum of the images' losses"""


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Of logits [N, C] and labels int64 [N], or the probability of each class, float [N, C]: the sum."""
    return F.cross_entropy(logits, labels, reduction="sum")


def feature_distance(features: Tensor, targets: Tensor) -> Tensor:
    """Squared L2 distance of features [N, ...] from those that are wanted, or not wanted: the sum."""
    return (features - targets).square().sum()


@contextmanager
def frozen_in_eval_mode(model: nn.Module) -> Iterator[nn.Module]:
    """A model in eval mode without parameter gradients, while inputs are optimised; restored on leaving."""
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


def input_gradient(
    model: nn.Module, inputs: Tensor, targets: Tensor, wanted: Tensor, loss: Loss = cross_entropy
) -> Tensor:
    """Gradient of the summed loss with regard to `wanted`, which `inputs` was computed from."""
    (gradient,) = torch.autograd.grad(loss(model(inputs), targets), wanted)
    return gradient


def pgd(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    radius: float,
    step_size: float,
    steps: int,
    start: Tensor,
    norm: Norm = "linf",
    loss: Loss = cross_entropy,
    direction: Literal["up", "down"] = "up",
) -> Tensor:
    """A perturbation by `steps` steps from `start` (projected), float32 [N, 3, R, R].

    Up the cross-entropy of the labels it is the adversary's; down that of other labels it leads towards those; loss and
    targets may as well be of features, where the model gives them.

    The model must be frozen. With no steps this is the projected start.

    Args:
        model: takes images in [0, 1] and gives what the loss takes, such as logits [N, C].
        images: float32 [N, 3, R, R] in [0, 1].
        targets: of the loss; labels int64 [N], or the probability of each class, float [N, C], for cross-entropy.
        radius: of the ball, as a fraction of the full range; in L2 and L1 of the norm over all 3·R·R values.
        step_size: length of a step in the norm. On trained networks 2.5·radius/steps is good in every norm; less than
            radius/steps cannot cross the ball from a random start.
        steps: number of steps.
        start: where to begin, [N, 3, R, R].
        norm: of the ball.
        loss: of the model's answers and the targets.
        direction: whether the steps raise the loss or lower it.
    """
    images = images.detach()
    restrict = projection(images, radius, norm)
    delta = restrict(start)
    for _ in range(steps):
        delta.requires_grad_()
        seen = images + delta
        gradient = input_gradient(model, seen, targets, delta, loss)
        steepest = gradient if direction == "up" else -gradient
        delta = restrict(ascend(steepest, seen.detach(), step_size, radius, norm).add_(delta.detach()))
    return delta
