"""The (q, η)-learnability bound of a trained network (Wang et al., Provably Unlearnable Data Examples, NDSS 2025).

A(θ) is clean test accuracy, ε ~ N(0, σ²I) over the named parameters. For every shift υ with ‖υ‖₂ ≤ η, the q-quantile
of A(θ + υ + ε) is at most the p-quantile of A(θ + ε), where p = Φ(Φ⁻¹(q) + η/σ). It speaks of networks within η of
this one and retrained networks lie much farther apart, so it describes a release and is no gate.
"""

import math
from collections.abc import Sequence

import numpy as np
import scipy

from rem_release.release.certificate import LearnabilityFacts
from rem_release.verdict.recipe import LearnabilitySettings


def learnability_bound(
    accuracies: np.ndarray, q: float, sigma: float, eta: float, confidence: float = 0.99
) -> float | None:
    """Upper bound on the q-quantile of accuracy at any shift of length at most η; None where the samples are too few.

    The k-th smallest of the N accuracies, for the smallest k ≥ pN that lies above the p-quantile with the confidence
    asked for: P[Binomial(N, p) ≤ k − 1] > confidence.

    Args:
        accuracies: float [N], of `audit.learnability` with the same σ.
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


def bound_learnability(
    architecture: str, accuracies: Sequence[float], asked: LearnabilitySettings
) -> LearnabilityFacts:
    """The bound as the certificate tells it.

    Args:
        architecture: of the surrogate.
        accuracies: of the surrogate under noise.
        asked: the recipe's part on it.
    """
    return LearnabilityFacts(
        architecture=architecture,
        samples=len(accuracies),
        sigma=asked.sigma,
        q=asked.q,
        eta=asked.eta,
        bound=learnability_bound(np.array(accuracies), asked.q, asked.sigma, asked.eta),
        accuracies=list(accuracies),
    )


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
