"""What the victims' answers say: accuracy that no guess can lift, and leakage with an interval.

Legend: S seeds, T test images, C classes, B resamples. An answer is correct or not: bool [..., T].
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

_TAIL = 10
"""Least resamples beyond each bound; fewer make the bound itself a matter of luck."""
_WEIGHTS_AT_ONCE = 4_000_000
"""Bounds the memory of resampling: 32 MB a block."""
_ROUNDING = 1e-9
"""Accuracies that differ by less are the same: far above float64's error, far below one answer."""


@dataclass(frozen=True)
class Leakage:
    """Leakage with one-sided bounds; any of the three may be +inf.

    Attributes:
        estimate: of the victims and images at hand.
        low: one-sided lower bound.
        high: one-sided upper bound, the one that a limit is held against.
    """

    estimate: float
    low: float
    high: float


def per_class_accuracy(correct: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Accuracy within each class, float64 [..., classes]; NaN for a class without images.

    Args:
        correct: bool [..., T].
        labels: int [T], each at least 0 and below `classes`.
        classes: number of classes.

    Raises:
        ValueError: no images, wrong types, lengths that differ, or a label that is no class.
    """
    _check_answers(correct, labels)
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}, which are not among {classes} classes")
    accuracies = np.full((*correct.shape[:-1], classes), np.nan)
    for label in np.unique(labels):
        accuracies[..., label] = correct[..., labels == label].mean(axis=-1)
    return accuracies


def balanced_accuracy(correct: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean over the classes in `labels` of the accuracy within the class: float64 [...].

    Guessing one of these classes always scores 1/C, whichever it is and however unequal the classes are. So chance is
    1/C without an asterisk, and this is the accuracy of leakage.

    Args:
        correct: bool [..., T].
        labels: int [T].

    Raises:
        ValueError: no images, wrong types, or lengths that differ.
    """
    _check_answers(correct, labels)
    within = [correct[..., labels == label].mean(axis=-1) for label in np.unique(labels)]
    return np.asarray(np.mean(within, axis=0))


def estimate_leakage(
    protected: np.ndarray,
    clean: np.ndarray,
    labels: np.ndarray,
    floor: float | np.ndarray,
    *,
    confidence: float,
    comparisons: int,
    resamples: int,
    seed: int,
) -> Leakage:
    """Leakage = (protected − floor) / (clean − floor), balanced accuracies averaged over seeds, with bootstrap bounds.

    A resample draws seeds with replacement (the victims of one seed stay together) and, within each class, test images
    with replacement (the same images for every victim). Where clean − floor is not positive in a resample, leakage is
    +inf there: a reference that learned nothing never flatters. The bounds are percentiles, each one-sided at
    1 − (1 − confidence) / comparisons (Bonferroni), taken outwards, never interpolated.

    With one seed the interval covers the test images only, not another training. With few seeds it understates their
    spread: S seeds show (S − 1)/S of the variance, and no resample goes beyond the worst of them, however many
    comparisons ask for it. Where all victims of a kind answer a whole class alike, that class adds no width:
    `images_needed` is the guard against too few images.

    Args:
        protected: bool [S, T], answers of the victims of the protected images.
        clean: bool [S, T], answers of the reference victims; row s has the seed of row s of `protected`.
        labels: int [T].
        floor: chance, or bool [S, T], answers of the victims of the clean part alone (partial protection).
        confidence: of each bound before the correction, in (0.5, 1).
        comparisons: how many bounds are judged together.
        resamples: at least `resamples_needed(confidence, comparisons)`.
        seed: the same seed gives the same bounds.

    Raises:
        ValueError: too few resamples for the tail; arrays that do not fit together.
    """
    needed = resamples_needed(confidence, comparisons)
    if resamples < needed:
        raise ValueError(
            f"{resamples} resamples are too few for bounds at confidence {confidence} over {comparisons} comparisons; "
            f"draw at least {needed}"
        )
    victims = _stack(protected, clean, floor, labels)
    chance = None if isinstance(floor, np.ndarray) else float(floor)
    estimate = _leakage_of(balanced_accuracy(victims, labels).mean(axis=0), chance)
    rng = np.random.default_rng(seed)
    sorted_leakage = np.sort(_leakage_of(_resampled_accuracies(victims, labels, resamples, rng), chance))
    beyond = math.floor((resamples + 1) * _tail(confidence, comparisons) + _ROUNDING)
    return Leakage(float(estimate), float(sorted_leakage[beyond - 1]), float(sorted_leakage[resamples - beyond]))


def resamples_needed(confidence: float, comparisons: int) -> int:
    """The fewest resamples that leave ten beyond each Bonferroni-corrected bound.

    Raises:
        ValueError: a confidence outside (0.5, 1), or no comparison.
    """
    return math.ceil(_TAIL / _tail(confidence, comparisons) - _ROUNDING)


def half_width(images: int, confidence: float, comparisons: int) -> float:
    """How far a one-sided Bonferroni-corrected bound of an accuracy can lie from it: z · 0.5 / √images.

    For an accuracy of 0.5, the worst, and classes of equal size. Leakage is 1/(clean − floor) times as wide.

    Raises:
        ValueError: no images, a confidence outside (0.5, 1), or no comparison.
    """
    if images < 1:
        raise ValueError(f"{images} images have no interval; count at least 1")
    return float(stats.norm.isf(_tail(confidence, comparisons))) * 0.5 / math.sqrt(images)


def effective_images(labels: np.ndarray) -> int:
    """How many images in classes of equal size would know the mean of the classes' accuracies as well: C² / Σ 1/n_c.

    Args:
        labels: int [T]; a class of few images makes the mean uncertain, however many the others have.
    """
    counts = np.unique(labels, return_counts=True)[1]
    return int(len(counts) ** 2 / (1 / counts).sum() + _ROUNDING)


def images_needed(half_width: float, confidence: float, comparisons: int) -> int:
    """The fewest test images whose interval, as the function `half_width` gives it, is no wider than `half_width`.

    Raises:
        ValueError: a width that is not positive, a confidence outside (0.5, 1), or no comparison.
    """
    if not half_width > 0:
        raise ValueError(f"no number of images gives a half width of {half_width}; ask for a positive one")
    z = float(stats.norm.isf(_tail(confidence, comparisons)))
    images = max(1, math.floor((z * 0.5 / half_width) ** 2))
    while z * 0.5 / math.sqrt(images) > half_width:
        images += 1
    return images


def _tail(confidence: float, comparisons: int) -> float:
    """The share beyond one bound."""
    if not 0.5 < confidence < 1:
        raise ValueError(f"a confidence of {confidence} is not above 0.5 and below 1")
    if comparisons < 1:
        raise ValueError(f"{comparisons} comparisons; count at least 1")
    return (1 - confidence) / comparisons


def _check_answers(correct: np.ndarray, labels: np.ndarray) -> None:
    if correct.dtype != np.bool_ or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"answers are {correct.dtype} and labels {labels.dtype}; they must be bool and integers")
    if labels.ndim != 1 or not len(labels) or correct.shape[-1:] != labels.shape:
        raise ValueError(f"answers {correct.shape} and labels {labels.shape} are not [..., T] and [T] with images")


def _stack(protected: np.ndarray, clean: np.ndarray, floor: float | np.ndarray, labels: np.ndarray) -> np.ndarray:
    """All victims, bool [S, 2 or 3, T]: protected, clean and, where it is not a number, floor."""
    groups = [protected, clean, *([floor] if isinstance(floor, np.ndarray) else [])]
    for group in groups:
        _check_answers(group, labels)
        if group.ndim != 2 or not len(group) or group.shape != protected.shape:
            raise ValueError(f"victims of {[g.shape for g in groups]} are not paired; each must be [S, T]")
    return np.stack(groups, axis=1)


def _leakage_of(accuracies: np.ndarray, chance: float | None) -> np.ndarray:
    """Accuracies [..., 2 or 3] of protected, clean and floor → leakage [...]."""
    floor = accuracies[..., 2] if chance is None else chance
    possible = accuracies[..., 1] - floor
    reached = accuracies[..., 0] - floor
    return np.divide(reached, possible, out=np.full(np.shape(possible), np.inf), where=possible > _ROUNDING)


def _resampled_accuracies(
    victims: np.ndarray, labels: np.ndarray, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Balanced accuracy averaged over seeds, of each resample: victims bool [S, K, T] → float64 [B, K].

    Images of a class that all victims answer alike are interchangeable, so how often each pattern of answers is drawn
    is multinomial, and images need not be drawn one by one.
    """
    seeds, kinds, _ = victims.shape
    seed_weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    present = np.unique(labels)
    total = np.zeros((resamples, kinds))
    for label in present:
        answers = victims[..., labels == label].reshape(seeds * kinds, -1)
        patterns, counts = np.unique(answers, axis=1, return_counts=True)
        images = int(counts.sum())
        block = max(1, _WEIGHTS_AT_ONCE // len(counts))
        for start in range(0, resamples, block):
            chosen = seed_weights[start : start + block]
            weights = rng.multinomial(images, counts / images, size=len(chosen)) / images
            accuracies = (weights @ patterns.T.astype(np.float64)).reshape(-1, seeds, kinds)
            total[start : start + block] += np.einsum("bs,bsk->bk", chosen, accuracies)
    return total / len(present)
