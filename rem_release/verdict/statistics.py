"""What the victims' answers say: accuracy that no guess can lift, and leakage with bounds in closed form.

Legend: S seeds (trainings), T test images, C classes, K groups of victims. A hit says how right an answer is, 0 to 1:
bool or float64 [..., T]. Accuracies are balanced: the mean over classes of the accuracy within the class, 0 to 1.

Another training would reach another accuracy: the bounds count the variance between seeds, each group with its own t at
S - 1 degrees of freedom, as if trainings were spread normally. Other test images would give another one too, and all
victims share those at hand: they count the variance over images of the mean of the seeds, within classes, robust to
near copies (Liang & Zeger 1986, Longitudinal data analysis using generalized linear models), each cluster scaled by its
leverage (Bell & McCaffrey 2002, Bias reduction in standard errors for linear regression with multi-stage samples). The
squares of the half-widths are added, which errs to the wide side only (Banerjee 1960, Approximate confidence interval
for linear functions of means of k populations); so does the luck of one training with one image, which is in both.
Answers nearly all alike do not show their variance: as in Agresti & Coull 1998 (Approximate is better than "exact"),
each group gets two hits and two misses more, spread over the classes by their shares of the variance.
That shifts accuracies towards 1/2, right for one bound and wrong for the other, so the outer of both counts (Cai 2005,
One-sided confidence intervals in discrete distributions, on the shift).
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy

from rem_release.release.certificate import MIN_SEEDS
from rem_release.verdict.accuracy import check_hits

_ROUNDING = 1e-9
"""Accuracies that differ by less are the same: far above float64's error, far below one answer."""
_ADDED = 4
"""Hits and misses added, half and half; the same at any confidence, so that more confidence is never narrower."""


@dataclass(frozen=True)
class Leakage:
    """Leakage with one-sided bounds; 0 is what the floor gives away, 1 what clean images teach.

    Attributes:
        estimate: of the victims and images at hand; +inf where the clean victims are no better than the floor.
        low: one-sided lower bound; -inf where there is none.
        high: one-sided upper bound, the one that a limit is held against; +inf where there is none.
    """

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Sample:
    """The test images that all victims share.

    Attributes:
        labels: true classes, int [T]; classes without an image do not count.
        clusters: int [T]; near copies share a number and count as one observation. A cluster may span classes.

    Raises:
        ValueError: not integers, not one length, or fewer than two clusters.
    """

    labels: np.ndarray
    clusters: np.ndarray

    def __post_init__(self) -> None:
        both = (self.labels, self.clusters)
        if any(not np.issubdtype(a.dtype, np.integer) or a.shape != (self.labels.size,) for a in both):
            raise ValueError(f"labels and clusters are {[f'{a.dtype} {a.shape}' for a in both]}, not both integers [T]")
        if len(np.unique(self.clusters)) < 2:
            raise ValueError("test images that are all near copies of each other have no spread; bring another")

    @cached_property
    def weights(self) -> np.ndarray:
        """1/(C·n_c) of each image, float64 [T]: hits times weights add up to balanced accuracy."""
        counts = np.bincount(self.places)
        return np.asarray(1 / (len(counts) * counts[self.places]))

    @cached_property
    def observations(self) -> np.ndarray:
        """How many independent images each class is worth, float64 [C]: n_c² / Σ (images of a cluster)²."""
        classes = self.places.max() + 1
        return np.asarray(1 / (classes * np.bincount(self.places, self._shares * self.weights)))

    @property
    def images(self) -> int:
        """How many independent images in classes of equal size would know balanced accuracy as well: C² / Σ 1/n_c."""
        return int(len(self.observations) ** 2 / (1 / self.observations).sum() + _ROUNDING)

    @property
    def fewest(self) -> int:
        """How many independent images the class is worth that has the fewest."""
        return int(self.observations.min() + _ROUNDING)

    @cached_property
    def places(self) -> np.ndarray:
        """The class of each image among those that have images, int [T]."""
        return np.unique(self.labels, return_inverse=True)[1]

    @cached_property
    def owners(self) -> np.ndarray:
        """The cluster of each image, counted from 0, int [T]."""
        return np.unique(self.clusters, return_inverse=True)[1]

    @cached_property
    def _shares(self) -> np.ndarray:
        """Of its class's images, the share that lies in the image's cluster, float64 [T]."""
        pairs = self.places * (self.owners.max() + 1) + self.owners
        _, place, counts = np.unique(pairs, return_inverse=True, return_counts=True)
        return np.asarray(counts[place] / np.bincount(self.places)[self.places])


def bound_leakage(
    sample: Sample, protected: np.ndarray, clean: np.ndarray, floor: float | np.ndarray, *, confidence: float
) -> Leakage:
    """Leakage L = (P - F) / (K - F) of protected, clean and floor accuracies, each averaged over its seeds.

    A bound is the value of L at which P - L·K - (1 - L)·F just differs from 0 (Fieller 1954, Some problems in interval
    estimation): its square is the squared half-width, and both are quadratic in L. Where K - F is not significantly
    above 0, or protected, clean or a floor of victims has fewer than `MIN_SEEDS`, there is no bound. Found with
    and without the hits and misses added to the accuracies; the wider counts.

    Args:
        sample: the test images.
        protected: hits of the victims of the protected images, bool or float64 [S, T].
        clean: hits of the reference victims, [S, T]; S may differ between groups, whose seeds are not paired.
        floor: chance, or hits [S, T] of the victims of the clean part alone (partial protection).
        confidence: of each bound, in (0.5, 1).

    Raises:
        ValueError: wrong shapes or types, hits or chance outside 0 to 1, or a confidence outside (0.5, 1).
    """
    base = 0.0 if isinstance(floor, np.ndarray) else float(floor)
    if not 0 <= base < 1:
        raise ValueError(f"a chance of {floor} is not at least 0 and below 1")
    groups = [protected, clean, *([floor] if isinstance(floor, np.ndarray) else [])]
    contrasts = np.array([[1.0, 0.0, -1.0], [0.0, 1.0, -1.0]])[:, : len(groups)]
    accuracies, squares = _spread(sample, groups, confidence)
    margins = (contrasts @ (accuracies - base).T).T.tolist()
    estimate = margins[0][0] / margins[0][1] if margins[0][1] > _ROUNDING else math.inf
    if estimate == math.inf or np.isinf(squares).any():
        return Leakage(estimate, -math.inf, math.inf)
    (above, both), (_, below) = (contrasts @ squares @ contrasts.T).tolist()
    ends = []
    for reached, possible in margins:
        curve = possible**2 - below
        if possible <= 0 or curve <= 0:
            return Leakage(estimate, -math.inf, math.inf)
        middle = possible * reached - both
        root = math.sqrt(max(0.0, middle**2 - curve * (reached**2 - above)))
        ends += [(middle - root) / curve, (middle + root) / curve]
    return Leakage(estimate, min(ends), max(ends))


def bound_difference(sample: Sample, one: np.ndarray, other: np.ndarray, *, confidence: float) -> float:
    """One-sided upper bound of the accuracy of `one` less that of `other`; +inf below `MIN_SEEDS`.

    Args:
        sample: the test images.
        one: hits, bool or float64 [S, T].
        other: hits, [S, T]; S may differ, seeds are not paired.
        confidence: of the bound, in (0.5, 1).

    Raises:
        ValueError: wrong shapes or types, hits outside 0 to 1, or a confidence outside (0.5, 1).
    """
    accuracies, squares = _spread(sample, [one, other], confidence)
    contrast = np.array([1.0, -1.0])
    return float((accuracies @ contrast).max() + math.sqrt(contrast @ squares @ contrast))


def bound_accuracy(sample: Sample, hits: np.ndarray, *, confidence: float) -> tuple[float, float]:
    """One-sided lower and upper bound of balanced accuracy; 0 and 1 where there are fewer than `MIN_SEEDS`.

    Args:
        sample: the test images.
        hits: bool or float64 [S, T].
        confidence: of each bound, in (0.5, 1).

    Raises:
        ValueError: wrong shapes or types, hits outside 0 to 1, or a confidence outside (0.5, 1).
    """
    accuracies, squares = _spread(sample, [hits], confidence)
    half = math.sqrt(squares[0, 0])
    return float(max(0, accuracies.min() - half)), float(min(1, accuracies.max() + half))


def half_width(images: int, confidence: float) -> float:
    """How far a one-sided bound of one victim's accuracy can lie from it: z · 0.5 / √images.

    For an accuracy of 0.5, the worst, and classes of equal size; other trainings come on top. Leakage is
    1/(clean − floor) times as wide.

    Raises:
        ValueError: no images, or a confidence outside (0.5, 1).
    """
    if images < 1:
        raise ValueError(f"{images} images have no interval; count at least 1")
    return _quantile(confidence) * 0.5 / math.sqrt(images)


def images_needed(half_width: float, confidence: float) -> int:
    """The fewest test images whose interval, as the function `half_width` gives it, is no wider than `half_width`.

    Raises:
        ValueError: a width that is not positive, or a confidence outside (0.5, 1).
    """
    if not half_width > 0:
        raise ValueError(f"no number of images gives a half width of {half_width}; ask for a positive one")
    z = _quantile(confidence)
    images = max(1, math.floor((z * 0.5 / half_width) ** 2))
    while z * 0.5 / math.sqrt(images) > half_width:
        images += 1
    return images


def _quantile(confidence: float) -> float:
    """z of a one-sided bound."""
    if not 0.5 < confidence < 1:
        raise ValueError(f"a confidence of {confidence} is not above 0.5 and below 1")
    return -float(scipy.special.ndtri(1 - confidence))


def _spread(sample: Sample, groups: list[np.ndarray], confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies [2, K], as they are and smoothed, and the form [K, K] of squared half-widths (inf: few seeds)."""
    z = _quantile(confidence)
    for hits in groups:
        check_hits(hits, sample.labels)
        if hits.ndim != 2 or not len(hits) or not (hits.min() >= 0 and hits.max() <= 1):  # NaN is no hit
            raise ValueError(f"hits {hits.shape} are not [S, T] with seeds, each 0 to 1")
    accuracies, images = _image_variance(sample, np.stack([hits.mean(axis=0) for hits in groups]))
    squares = z**2 * images
    for place, hits in enumerate(groups):
        t, own = scipy.special.stdtrit(len(hits) - 1, confidence), (hits @ sample.weights).tolist()
        squares[place, place] += t**2 * np.var(own, ddof=1) / len(own) if len(own) >= MIN_SEEDS else math.inf
    return accuracies, squares


def _image_variance(sample: Sample, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies [2, K], the second with hits and misses added, and covariance [K, K] over test images.

    `means` are the hits averaged over seeds, [K, T]. A class that is one cluster shows no spread of its own: it is
    compared with the mean of all classes instead, which includes how classes differ and so errs to the wide side.
    """
    places, seen = sample.places, sample.observations
    classes = len(seen)
    added = _ADDED / seen / (1 / seen).sum()
    grown = 1 + added / seen
    within = classes * np.stack([np.bincount(places, row * sample.weights) for row in means])
    smooth = (within + added / seen / 2) / grown
    accuracies = np.stack([within, smooth]).mean(axis=2)
    alone = seen < 1 + _ROUNDING
    centre = np.where(alone, accuracies[1, :, None], smooth)
    leverage = np.where(alone[places], 1 / classes, sample._shares / grown[places])
    off = (means - centre[:, places]) * (sample.weights / grown[places] / np.sqrt(1 - leverage))
    sums = np.stack([np.bincount(sample.owners, row) for row in off])
    scale = added / (classes * (seen + added)) ** 2
    artificial = ((0.5 - centre) * scale) @ (0.5 - centre).T + np.eye(len(means)) * scale.sum() / 4
    return accuracies, sums @ sums.T + artificial
