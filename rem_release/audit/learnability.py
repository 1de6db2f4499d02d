"""The (q, η)-learnability bound of a trained network (Wang et al., Provably Unlearnable Data Examples, NDSS 2025).

A(θ) is clean test accuracy, ε ~ N(0, σ²I) over the named parameters. For every shift υ with ‖υ‖₂ ≤ η, the q-quantile
of A(θ + υ + ε) is at most the p-quantile of A(θ + ε), where p = Φ(Φ⁻¹(q) + η/σ). It speaks of networks within η of
this one and retrained networks lie much farther apart, so it describes a release and is no gate.
"""

import math

import numpy as np
import scipy
import torch
from torch import Tensor, nn

from rem_release.core.draws import chain
from rem_release.core.levels import to_float
from rem_release.core.pgd import frozen

_PURPOSE = 0x50554531
"""Keeps these draws apart from initial weights, which are drawn from the bare seed."""


def learnability_bound(
    accuracies: np.ndarray, q: float, sigma: float, eta: float, confidence: float = 0.99
) -> float | None:
    """Upper bound on the q-quantile of accuracy at any shift of length at most η; None where the samples are too few.

    The k-th smallest of the N accuracies, for the smallest k ≥ pN that lies above the p-quantile with the confidence
    asked for: P[Binomial(N, p) ≤ k − 1] > confidence.

    Args:
        accuracies: float [N], of `perturbed_accuracies` with the same σ.
        q: quantile, in (0, 1).
        sigma: standard deviation σ of the noise on each parameter.
        eta: length η of the shift over all parameters, in L2.
        confidence: that the bound holds, in (0, 1), over the draw of the samples.

    Raises:
        ValueError: a number out of its range, or accuracies that are not finite.
    """
    p = _shifted_quantile(q, sigma, eta, confidence)
    if accuracies.ndim != 1 or not np.isfinite(accuracies).all():
        raise ValueError(f"accuracies {accuracies.shape} are not [N] finite numbers")
    count = len(accuracies)
    ranks = np.arange(max(1, math.ceil(p * count)), count + 1)
    sure = ranks[_is_sure(ranks, count, p, confidence)]
    return float(np.sort(accuracies)[sure[0] - 1]) if len(sure) else None


def samples_needed(q: float, sigma: float, eta: float, confidence: float = 0.99) -> int:
    """The fewest samples with which `learnability_bound` does not abstain: the smallest N with 1 − pᴺ > confidence.

    Raises:
        ValueError: a number out of its range, or η/σ so large that no number of samples would do.
    """
    p = _shifted_quantile(q, sigma, eta, confidence)
    if p == 1:
        raise ValueError(f"eta {eta} is too many times sigma {sigma} for any number of samples; lower eta")
    needed = math.floor(math.log1p(-confidence) / math.log(p)) + 1
    return needed if _is_sure(np.array([needed]), needed, p, confidence)[0] else needed + 1


def _is_sure(ranks: np.ndarray, count: int, p: float, confidence: float) -> np.ndarray:
    """For ranks k: whether the k-th smallest of `count` samples reaches the p-quantile with more than `confidence`."""
    return np.asarray(scipy.special.bdtr(ranks - 1.0, count, p) > confidence)


def _shifted_quantile(q: float, sigma: float, eta: float, confidence: float) -> float:
    """p = Φ(Φ⁻¹(q) + η/σ), once the numbers are found in their ranges."""
    for name, value in (("q", q), ("confidence", confidence)):
        if not 0 < value < 1:
            raise ValueError(f"{name} of {value} is not above 0 and below 1")
    if not (0 < sigma < math.inf and 0 <= eta < math.inf):
        raise ValueError(f"sigma of {sigma} must be positive and eta of {eta} at least 0")
    return float(scipy.special.ndtr(scipy.special.ndtri(q) + eta / sigma))


def perturbed_accuracies(
    model: nn.Module,
    images: Tensor,
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
    with frozen(model), torch.no_grad():
        try:
            for sample in range(samples):
                _perturb(parameters, trained, sigma, int(chain(torch.tensor(seed), _PURPOSE, sample)))
                accuracies[sample] = _accuracy(model, images, labels, batch_size)
        finally:
            for parameter, original in zip(parameters, trained, strict=True):
                parameter.copy_(original)
    return accuracies


def _perturb(parameters: list[Tensor], trained: list[Tensor], sigma: float, key: int) -> None:
    generator = torch.Generator(parameters[0].device).manual_seed(key & 0x7FFFFFFFFFFFFFFF)
    for parameter, original in zip(parameters, trained, strict=True):
        parameter.normal_(0, sigma, generator=generator).add_(original)


def _accuracy(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int) -> float:
    device = next(model.parameters()).device
    correct = torch.zeros((), dtype=torch.int64, device=device)
    for part, answers in zip(images.split(batch_size), labels.split(batch_size), strict=True):
        inputs = part.to(device)
        inputs = to_float(inputs) if inputs.dtype == torch.uint8 else inputs
        correct += (model(inputs).argmax(dim=1) == answers.to(device)).sum()
    return correct.item() / len(images)
