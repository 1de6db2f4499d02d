"""Accuracy of a trained network under noise on its parameters, from which `verdict.learnability` gets a bound."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from rem_release.core.draws import chain
from rem_release.core.frozen import frozen
from rem_release.threats.images import TestImages, as_floats

_PURPOSE = 0x50554531
"""Keeps these draws apart from initial weights, which are drawn from the bare seed."""


def perturbed_accuracies(
    model: nn.Module,
    images: Tensor | TestImages,
    labels: Tensor,
    samples: int,
    sigma: float,
    seed: int,
    batch_size: int = 1000,
) -> np.ndarray:
    """Accuracy of the network under N(0, σ²) noise on every named parameter, drawn anew each time: float64 [samples].

    Runs on the model's device in eval mode. Parameters and modes are as before afterwards, whatever happens, and no
    global random state is touched. Sample i depends on the seed, i and the kind of device, not on the other samples.

    Args:
        model: the trained network; it has parameters.
        images: the clean test images, uint8 levels or float32 in [0, 1], [T, 3, R, R], on any device.
        labels: int64 [T].
        samples: how many draws.
        sigma: standard deviation σ of the noise.
        seed: of the draws.
        batch_size: images evaluated at once.

    Raises:
        ValueError: no samples, no images, images and labels that differ in number, or a σ that is not positive.
    """
    if samples < 1 or not 0 < sigma < math.inf:
        raise ValueError(f"{samples} samples with sigma {sigma}; both must be positive")
    if not len(images) or len(images) != len(labels):
        raise ValueError(f"{len(images)} images and {len(labels)} labels; they must be equally many, and some")
    parameters = [parameter.data for _, parameter in model.named_parameters()]
    trained = [parameter.clone() for parameter in parameters]
    accuracies = np.empty(samples)
    with torch.no_grad():
        try:
            for sample in range(samples):
                _perturb(parameters, trained, sigma, int(chain(torch.tensor(seed), _PURPOSE, sample)))
                with frozen(model) as network:  # anew, for the weights are other ones
                    accuracies[sample] = _accuracy(network, images, labels, batch_size)
        finally:
            for parameter, original in zip(parameters, trained, strict=True):
                parameter.copy_(original)
    return accuracies


def _perturb(parameters: list[Tensor], trained: list[Tensor], sigma: float, key: int) -> None:
    generator = torch.Generator(parameters[0].device).manual_seed(key & 0x7FFFFFFFFFFFFFFF)
    for parameter, original in zip(parameters, trained, strict=True):
        parameter.normal_(0, sigma, generator=generator).add_(original)


def _accuracy(model: nn.Module, images: Tensor | TestImages, labels: Tensor, batch_size: int) -> float:
    device = next(model.parameters()).device
    correct = torch.zeros((), dtype=torch.int64, device=device)
    for batch, answers in zip(images.split(batch_size), labels.split(batch_size), strict=True):
        correct += (model(as_floats(batch.to(device))).argmax(dim=1) == answers.to(device)).sum()
    return correct.item() / len(images)
