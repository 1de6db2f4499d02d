"""Leakage and its bounds, against plain loops, roots found by search, and properties that hold for any answers."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from rem_release.verdict.accuracy import balanced_accuracy, per_class_accuracy
from rem_release.verdict.statistics import (
    MIN_SEEDS,
    Leakage,
    Sample,
    bound_accuracy,
    bound_difference,
    bound_leakage,
    half_width,
    images_needed,
)

UNEQUAL = np.array([2] * 7 + [0] * 2 + [1] * 3)
Z, T2 = 1.6448536269514722, 2.919985580355516
"""Quantiles of 0.95: normal, and t at two degrees of freedom, from printed tables."""


def alone(labels: np.ndarray) -> Sample:
    """Images none of which is a near copy."""
    return Sample(labels, np.arange(len(labels)))


def plain_contrast(sample: Sample, groups: list[np.ndarray], factors: list[float], confidence: float = 0.95):
    """A contrast of accuracies, the same of smoothed ones, and its squared half-width, counted image by image."""
    labels, clusters = sample.labels.tolist(), sample.clusters.tolist()
    classes = sorted(set(labels))
    z = stats.norm.ppf(confidence)
    worth = {}
    for c in classes:
        inside = [clusters[i] for i in range(len(labels)) if labels[i] == c]
        worth[c] = len(inside) ** 2 / sum(inside.count(k) ** 2 for k in set(inside))
    raw, middle, square, off = 0.0, 0.0, 0.0, [0.0] * len(labels)
    total = sum(1 / worth[c] for c in classes)
    spread = {}
    for group, factor in zip(groups, factors, strict=True):
        per_seed = []
        for row in group.astype(float).tolist():
            means = [np.mean([row[i] for i in range(len(labels)) if labels[i] == c]) for c in classes]
            per_seed.append(np.mean(means))
        raw += factor * np.mean(per_seed)
        t = stats.t.ppf(confidence, len(per_seed) - 1)
        square += factor**2 * t**2 * np.var(per_seed, ddof=1) / len(per_seed)
        mean = group.mean(axis=0).tolist()
        smooth = {}
        for c in classes:
            extra = 4 / worth[c] / total
            inside = [mean[i] for i in range(len(labels)) if labels[i] == c]
            smooth[c] = (np.mean(inside) * worth[c] + extra / 2) / (worth[c] + extra)
        for c in classes:
            middle += factor * smooth[c] / len(classes)
            spread.setdefault(c, []).append((factor, np.mean(list(smooth.values())) if worth[c] == 1 else smooth[c]))
            for i in range(len(labels)):
                if labels[i] == c:
                    off[i] += factor * (mean[i] - spread[c][-1][1])
    sums: dict[int, float] = {}
    for i, c in enumerate(labels):
        extra = 4 / worth[c] / total
        size = labels.count(c) * (1 + extra / worth[c])
        copies = sum(labels[j] == c and clusters[j] == clusters[i] for j in range(len(labels)))
        leverage = 1 / len(classes) if worth[c] == 1 else copies / size
        sums[clusters[i]] = sums.get(clusters[i], 0) + off[i] / (len(classes) * size) / math.sqrt(1 - leverage)
    image = sum(value**2 for value in sums.values())
    for c in classes:
        extra = 4 / worth[c] / total
        both = sum(factor * (0.5 - centre) for factor, centre in spread[c]) ** 2 + sum(f**2 / 4 for f, _ in spread[c])
        image += extra * both / (len(classes) * (worth[c] + extra)) ** 2
    return raw, middle, square + z**2 * image


def draw(seed: int, images: int = 60, classes: int = 4, seeds: tuple[int, ...] = (3, 4, 3)) -> tuple:
    """A sample with near copies, one that spans classes and a class of one image, and three groups of victims."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=images)
    labels[7] = classes
    clusters = rng.integers(images * 2 // 3, size=images)
    hard = rng.random(images)
    groups = [
        hard * 0.6 + 0.4 * rng.random((count, images)) < accuracy + rng.normal(0, 0.05, (count, 1))
        for count, accuracy in zip(seeds, (0.45, 0.9, 0.3), strict=True)
    ]
    return Sample(labels, clusters), *groups


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_bounds_are_where_the_test_just_fails(seed, confidence):
    """Fieller by search: the leakages whose contrast is within its half-width, from counts image by image."""
    sample, protected, clean, victims = draw(seed)
    for floor, groups in ((0.2, [protected, clean]), (victims, [protected, clean, victims])):

        def contrast(leakage: float, groups: list = groups, floor: float | np.ndarray = floor) -> tuple[float, ...]:
            factors = [1, -leakage, leakage - 1][: len(groups)]
            *middles, square = plain_contrast(sample, groups, factors, confidence)
            base = 0 if isinstance(floor, np.ndarray) else (1 - leakage) * floor
            return middles[0] - base, middles[1] - base, math.sqrt(square)

        found = bound_leakage(sample, protected, clean, floor, confidence=confidence)
        high = optimize.brentq(lambda leakage: max(contrast(leakage)[:2]) + contrast(leakage)[2], found.estimate, 20)
        low = optimize.brentq(lambda leakage: min(contrast(leakage)[:2]) - contrast(leakage)[2], -20, found.estimate)
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_bounds_of_accuracies_and_differences_are_those_of_plain_loops(seed):
    sample, protected, clean, _ = draw(seed)
    *middles, square = plain_contrast(sample, [protected], [1])
    expected = min(middles) - math.sqrt(square), max(middles) + math.sqrt(square)
    assert bound_accuracy(sample, protected, confidence=0.95) == pytest.approx(expected)
    *middles, square = plain_contrast(sample, [protected, clean], [1, -1])
    found = bound_difference(sample, protected, clean, confidence=0.95)
    assert found == pytest.approx(max(middles) + math.sqrt(square))


def test_the_estimate_is_the_ratio_of_margins():
    sample = alone(np.repeat([0, 1], [8, 2]))
    protected = np.array([[1] * 4 + [0] * 4 + [1, 0], [1] * 2 + [0] * 6 + [1, 1]], dtype=bool)  # 0.5 and 0.625
    clean = np.array([[1] * 8 + [1, 0], [1] * 8 + [1, 1]], dtype=bool)  # 0.75 and 1
    found = bound_leakage(sample, protected, clean, 0.5, confidence=0.9)
    assert found.estimate == pytest.approx((0.5625 - 0.5) / (0.875 - 0.5))
    floor = np.zeros((1, 10))
    floor[:, :4] = 1  # 0.25
    found = bound_leakage(sample, protected, clean, floor, confidence=0.9)
    assert found.estimate == pytest.approx((0.5625 - 0.25) / (0.875 - 0.25))


def test_seeds_alone_give_the_t_interval():
    """By hand: hits that are the same on every image of a million, so images add next to nothing."""
    labels = np.arange(1_000_000) % 2
    hits = np.broadcast_to(np.array([[0.2], [0.3], [0.4]]), (3, len(labels))).copy()
    low, high = bound_accuracy(alone(labels), hits, confidence=0.95)
    half = T2 * 0.1 / math.sqrt(3)
    assert (low, high) == pytest.approx((0.3 - half, 0.3 + half), abs=1e-5)


def test_images_alone_give_the_interval_of_agresti_and_coull():
    """By hand: victims that answer alike, one class, 0 or 3 or 100 of 200 right."""
    for right in (0, 3, 100):
        hits = np.broadcast_to(np.arange(200) < right, (3, 200))
        found = bound_accuracy(alone(np.zeros(200, dtype=int)), hits, confidence=0.95)
        middle = (right + 2) / 204  # at least right / 200
        half = Z * math.sqrt(middle * (1 - middle) / 204)
        expected = max(0, min(middle, right / 200) - half), middle + half
        assert found == pytest.approx(expected, abs=3e-4)


def test_ten_classes_have_the_interval_of_the_average_class():
    """By hand: 50 images a class, half of them right."""
    labels = np.repeat(np.arange(10), 50)
    hits = np.broadcast_to(np.arange(500) % 2 == 0, (3, 500))
    low, high = bound_accuracy(alone(labels), hits, confidence=0.95)
    assert high - 0.5 == pytest.approx(Z * 0.5 / math.sqrt(490), abs=5e-4)
    assert low == pytest.approx(1 - high)


def test_classes_of_one_image_are_compared_with_each_other():
    """One class of 100 images, or 100 classes of one: half of them right, the same width."""
    hits = np.broadcast_to(np.arange(100) % 2 == 0, (3, 100))
    one = bound_accuracy(alone(np.zeros(100, dtype=int)), hits, confidence=0.95)
    many = bound_accuracy(alone(np.arange(100)), hits, confidence=0.95)
    assert many == pytest.approx(one, abs=2e-3)


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_answers_all_alike_keep_a_width(accuracy):
    sample = alone(np.arange(200) % 10)
    hits = np.full((3, 200), accuracy)
    low, high = bound_accuracy(sample, hits, confidence=0.95)
    assert high - low > 1 / 200
    assert low <= accuracy <= high
    assert bound_difference(sample, hits, hits, confidence=0.95) > 1 / 200


def test_copies_do_not_narrow():
    """Twenty images, thirty times each, are twenty images."""
    rng = np.random.default_rng(0)
    labels, protected, clean = np.arange(20) % 2, rng.random((3, 20)) < 0.5, rng.random((3, 20)) < 0.9
    once = bound_leakage(alone(labels), protected, clean, 0.1, confidence=0.95)
    sample = Sample(np.tile(labels, 30), np.tile(np.arange(20), 30))
    again = bound_leakage(sample, np.tile(protected, 30), np.tile(clean, 30), 0.1, confidence=0.95)
    assert (again.low, again.high) == pytest.approx((once.low, once.high))
    unknown = bound_leakage(alone(sample.labels), np.tile(protected, 30), np.tile(clean, 30), 0.1, confidence=0.95)
    assert unknown.high < once.high


def test_a_reference_that_learned_nothing_bounds_nothing():
    """Ten classes, because 1/10 has no float: its margin over chance is 1e-17 and not 0."""
    labels = np.arange(200) % 10
    guesses = np.stack([labels == guess for guess in (0, 1, 9)])
    found = bound_leakage(alone(labels), guesses[::-1], guesses, 0.1, confidence=0.9)
    assert found == Leakage(math.inf, -math.inf, math.inf)


def test_a_reference_that_barely_learned_bounds_nothing():
    labels = np.arange(200) % 2
    clean = np.broadcast_to(np.arange(200) < 106, (3, 200))  # 0.53: z is 0.85
    found = bound_leakage(alone(labels), ~clean, clean, 0.5, confidence=0.95)
    assert found.estimate == pytest.approx(-1)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert math.isfinite(bound_leakage(alone(labels), ~clean, clean, 0.5, confidence=0.6).high)


def test_fewer_than_three_seeds_give_no_bound():
    sample, protected, clean, floor = draw(0)
    assert MIN_SEEDS == 3
    for few in ([protected[:2], clean, 0.2], [protected, clean[:1], 0.2], [protected, clean, floor[:2]]):
        found = bound_leakage(sample, *few, confidence=0.95)
        assert math.isfinite(found.estimate)
        assert (found.low, found.high) == (-math.inf, math.inf)
    assert bound_difference(sample, protected[:2], clean, confidence=0.95) == math.inf
    assert bound_difference(sample, protected, clean[:1], confidence=0.95) == math.inf
    assert bound_accuracy(sample, protected[:2], confidence=0.95) == (0, 1)


def test_a_release_that_leaks_less_than_noise_is_told_from_one_that_leaks_as_much():
    rng = np.random.default_rng(1)
    sample = alone(np.arange(500) % 10)
    release, noise, same = (rng.random((3, 500)) < accuracy for accuracy in (0.3, 0.5, 0.5))
    assert bound_difference(sample, release, noise, confidence=0.95) < 0
    assert bound_difference(sample, same, noise, confidence=0.95) > 0


every_draw = st.builds(
    draw, st.integers(0, 10_000), st.integers(20, 60), st.integers(1, 5), st.tuples(*[st.integers(3, 5)] * 3)
)


def ends(sample: Sample, groups: list[np.ndarray], confidence: float = 0.9) -> list[float]:
    """Every bound there is."""
    protected, clean, floor = groups
    over_chance = bound_leakage(sample, protected, clean, 0.1, confidence=confidence)
    over_floor = bound_leakage(sample, protected, clean, floor, confidence=confidence)
    return [
        *(over_chance.low, over_chance.high, over_floor.low, over_floor.high),
        bound_difference(sample, protected, clean, confidence=confidence),
        *bound_accuracy(sample, protected, confidence=confidence),
    ]


@given(every_draw, st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_order_and_names_do_not_matter(drawn, random):
    sample, *groups = drawn
    order = list(range(len(sample.labels)))
    random.shuffle(order)
    names = np.array(random.sample(range(100), 6))
    numbers = np.array(random.sample(range(1000), 60))
    other = Sample(names[sample.labels][order], numbers[sample.clusters][order])
    assert ends(other, [group[::-1, order] for group in groups]) == pytest.approx(ends(sample, groups), rel=1e-6)


@given(every_draw, st.integers(2, 3))
@settings(max_examples=40)
def test_every_image_again_in_its_cluster_changes_nothing(drawn, times):
    sample, *groups = drawn
    again = Sample(np.tile(sample.labels, times), np.tile(sample.clusters, times))
    assert ends(again, [np.tile(group, times) for group in groups]) == pytest.approx(ends(sample, groups), rel=1e-6)


@given(every_draw)
@settings(max_examples=60)
def test_more_seeds_of_the_same_values_never_widen(drawn):
    sample, *groups = drawn
    few, many = ends(sample, groups), ends(sample, [np.concatenate([group, group]) for group in groups])
    for low, high in ((0, 1), (2, 3), (5, 6)):
        assert many[low] >= few[low] - 1e-9
        assert many[high] <= few[high] + 1e-9
    assert many[4] <= few[4] + 1e-9


@given(every_draw)
@settings(max_examples=60)
def test_more_confidence_is_wider(drawn):
    sample, *groups = drawn
    found = [ends(sample, groups, confidence) for confidence in (0.55, 0.7, 0.8, 0.9, 0.95, 0.99)]
    for less, more in pairwise(found):
        for low, high in ((0, 1), (2, 3), (5, 6)):
            assert more[low] <= less[low] + 1e-9
            assert more[high] >= less[high] - 1e-9
        assert more[4] >= less[4] - 1e-9


@given(every_draw)
@settings(max_examples=60)
def test_bounds_lie_about_the_estimate(drawn):
    sample, protected, clean, floor = drawn
    found = bound_leakage(sample, protected, clean, floor, confidence=0.9)
    assert found.low <= found.estimate <= found.high
    low, high = bound_accuracy(sample, protected, confidence=0.9)
    assert 0 <= low <= balanced_accuracy(protected, sample.labels).mean() + 1e-9 <= high + 2e-9 <= 1 + 2e-9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clean": np.ones((3, 11), dtype=bool)}, "hits"),
        ({"clean": np.ones(12, dtype=bool)}, "with seeds"),
        ({"floor": np.ones((0, 12), dtype=bool)}, "with seeds"),
        ({"protected": np.ones((3, 12), dtype=int)}, "must be bool or float64"),
        ({"protected": np.full((3, 12), 1.5)}, "each 0 to 1"),
        ({"protected": np.full((3, 12), np.nan)}, "each 0 to 1"),
        ({"floor": 1.0}, "chance of 1.0"),
        ({"floor": math.nan}, "chance of nan"),
        ({"confidence": 0.5}, "confidence of 0.5"),
        ({"confidence": 1.0}, "confidence of 1.0"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, message):
    hits = np.broadcast_to(np.arange(12) % 3 > 0, (3, 12))
    whole = {"protected": hits, "clean": hits, "floor": 0.1, "confidence": 0.9}
    bound_leakage(alone(UNEQUAL), **whole)
    with pytest.raises(ValueError, match=message):
        bound_leakage(alone(UNEQUAL), **(whole | change))


@pytest.mark.parametrize(
    ("labels", "clusters", "message"),
    [
        (np.zeros(3), np.arange(3), "not both integers"),
        (np.zeros(3, dtype=int), np.arange(4), "not both integers"),
        (np.zeros((3, 1), dtype=int), np.zeros((3, 1), dtype=int), "not both integers"),
        (np.zeros(0, dtype=int), np.zeros(0, dtype=int), "bring another"),
        (np.arange(3), np.ones(3, dtype=int), "bring another"),
    ],
)
def test_samples_without_spread_are_refused(labels, clusters, message):
    with pytest.raises(ValueError, match=message):
        Sample(labels, clusters)


def test_observations_count_clusters():
    sample = Sample(np.array([5, 5, 5, 5, 9, 9, 9]), np.array([0, 0, 1, 1, 2, 3, 0]))
    np.testing.assert_allclose(sample.observations, [2, 3])
    sample = Sample(np.array([5, 5, 5, 5, 9]), np.array([0, 0, 0, 1, 2]))
    np.testing.assert_allclose(sample.observations, [16 / 10, 1])
    assert balanced_accuracy(np.arange(5) < 3, sample.labels) == pytest.approx((np.arange(5) < 3) @ sample.weights)


def test_small_classes_and_near_copies_count_for_little():
    """How many images in classes of equal size would know balanced accuracy as well."""
    assert alone(np.arange(100) % 10).images == 100
    assert alone(np.repeat([0, 1], [2, 1000])).images == 7
    assert Sample(np.tile(np.arange(20) % 2, 30), np.tile(np.arange(20), 30)).images == 20
    assert Sample(np.arange(100) % 10, np.arange(100) // 10).images == 100, "a copy of another class is another image"
    assert Sample(np.repeat([0, 1], 50), np.arange(100) // 2).images == 50


def test_balanced_accuracy_gives_every_guess_the_same():
    guesses = np.stack([guess == UNEQUAL for guess in range(3)]).reshape(3, 1, -1)
    np.testing.assert_allclose(balanced_accuracy(guesses, UNEQUAL), np.full((3, 1), 1 / 3))
    row = np.array([1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1], dtype=bool)
    assert balanced_accuracy(row, UNEQUAL) == pytest.approx((3 / 7 + 1 / 2 + 1 / 3) / 3)
    assert balanced_accuracy(row, UNEQUAL).shape == ()


def test_per_class_accuracy_says_nothing_of_classes_without_images():
    row = np.array([1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1], dtype=bool)
    expected = [1 / 2, 1 / 3, 3 / 7, np.nan]
    np.testing.assert_allclose(per_class_accuracy(row, UNEQUAL, 4), expected)
    np.testing.assert_allclose(per_class_accuracy(np.stack([row, ~row])[None], UNEQUAL, 4)[0, 0], expected)
    with pytest.raises(ValueError, match="not among 2 classes"):
        per_class_accuracy(row, UNEQUAL, 2)


def test_half_width_is_that_of_the_worst_accuracy():
    """Counted, not computed again: at 0.5, a bound this far off is crossed as rarely as asked for."""
    width = half_width(2500, 0.99)
    assert stats.binom.sf(2500 * (0.5 + width) - 1, 2500, 0.5) == pytest.approx(0.01, abs=0.0008)
    assert half_width(10_000, 0.99) == pytest.approx(width / 2)


@pytest.mark.parametrize("confidence", [0.99, 0.95, 0.6])
def test_images_needed_is_the_least_number_that_is_enough(confidence):
    for width in (0.3, 0.1, 0.0501, 0.02, 0.01, 0.003):
        images = images_needed(width, confidence)
        assert half_width(images, confidence) <= width
        assert images == 1 or half_width(images - 1, confidence) > width
    for images in (1, 2, 7, 100, 999, 10_000, 123_457):
        assert images_needed(half_width(images, confidence), confidence) == images


def test_numbers_without_meaning_are_refused():
    with pytest.raises(ValueError, match="positive"):
        images_needed(0.0, 0.95)
    with pytest.raises(ValueError, match="0 images"):
        half_width(0, 0.95)
    with pytest.raises(ValueError, match="confidence"):
        half_width(10, 0.5)
