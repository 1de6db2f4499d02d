"""How often the bounds of leakage cover the truth, and how often a release at the limit passes: audits by the hundred.

Legend: S seeds, T test images, C classes. The truth is known because each training draws its accuracy about one that is
given, and each image how hard it is.
"""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import special

from rem_release.verdict.statistics import Sample, bound_accuracy, bound_difference, bound_leakage

FLOOR, CLEAN = 0.1, 0.8
SHARED, KIND = 0.4, 0.3
"""of the variance of what a victim makes of an image: shared by all victims, and by those of one kind; the rest is its
training's own"""


@dataclass(frozen=True)
class World:
    """Audits of one kind.

    Attributes:
        leakage: the truth.
        spread: standard deviation between trainings, in leakage.
        counts: images of each class.
        copies: images that are near copies of each other.
        spanning: whether classes are mixed, so that near copies lie in several.
        victims: whether the floor is a group of victims too, not a number.
    """

    leakage: float
    spread: float
    counts: tuple[int, ...]
    seeds: int = 3
    copies: int = 1
    spanning: bool = False
    victims: bool = False

    def draw(self, rng: np.random.Generator) -> tuple[Sample, np.ndarray, np.ndarray, float | np.ndarray]:
        labels = np.repeat(np.arange(len(self.counts)), self.counts)
        if self.spanning:
            labels = rng.permutation(labels)
        clusters = np.arange(len(labels)) // self.copies
        originals = clusters[-1] + 1
        hard = rng.normal(0, SHARED**0.5, originals)
        easier = np.linspace(-0.4, 0.4, len(self.counts))[labels]
        deviation = self.spread * (CLEAN - FLOOR) / (1 + self.leakage**2) ** 0.5

        def answer(accuracy: float) -> np.ndarray:
            room = min(accuracy, 1 - accuracy)
            reached = accuracy + np.clip(rng.normal(0, deviation, (self.seeds, 1)), -room, room)
            own = rng.normal(0, (1 - SHARED - KIND) ** 0.5, (self.seeds, originals))
            luck = hard + rng.normal(0, KIND**0.5, originals) + own
            in_class = reached + np.minimum(reached, 1 - reached) * easier
            return np.asarray(luck[:, clusters] < special.ndtri(in_class))

        floor = answer(FLOOR) if self.victims else FLOOR
        return Sample(labels, clusters), answer(FLOOR + self.leakage * (CLEAN - FLOOR)), answer(CLEAN), floor


def simulate(world: World, audits: int, seed: int = 0) -> np.ndarray:
    """Low and high of each audit, [audits, 2]."""
    rng = np.random.default_rng(seed)
    found = (bound_leakage(*world.draw(rng), confidence=0.95) for _ in range(audits))
    return np.array([(each.low, each.high) for each in found])


def even(images: int, classes: int = 10) -> tuple[int, ...]:
    return (images // classes,) * classes


@pytest.mark.parametrize("spread", [0, 0.05, 0.1, 0.15])
@pytest.mark.parametrize("images", [200, 500, 2000, 10_000])
def test_bounds_cover_and_releases_at_the_limit_do_not_pass(spread, images):
    """500 audits at each limit, 250 of many images: a share of 0.95 has a standard error of 0.01 or 0.014."""
    for limit in (0.3, 0.7):
        found = simulate(World(limit, spread, even(images)), 250 if images > 5000 else 500)
        assert (found[:, 1] >= limit).mean() >= 0.93
        assert (found[:, 0] <= limit).mean() >= 0.93
        assert (found[:, 1] < limit).mean() <= 0.07


def test_a_release_far_below_the_limit_passes():
    found = simulate(World(0.1, 0.05, even(500)), 300)
    assert (found[:, 1] < 0.3).mean() > 0.9


OTHER = {
    "five seeds": ((even(500),), {"seeds": 5}),
    "two classes": ((even(200, 2),), {}),
    "a hundred classes": ((even(2000, 100),), {}),
    "two images a class": ((even(200, 100),), {}),
    "one image a class": ((even(100, 100),), {}),
    "a class of three": (((3,) + (100,) * 9,), {}),
    "unequal classes": (((2, 5, 10, 20, 40, 80, 160, 320),), {}),
    "three near copies": ((even(600),), {"copies": 3}),
    "twenty near copies": ((even(600),), {"copies": 20}),
    "copies across classes": ((even(600),), {"copies": 5, "spanning": True}),
    "victims as floor": ((even(500),), {"victims": True}),
}


@pytest.mark.slow
@pytest.mark.parametrize("leakage", [0.3, 0.7])
@pytest.mark.parametrize("spread", [0, 0.05, 0.1, 0.15])
@pytest.mark.parametrize("name", OTHER)
def test_bounds_cover_whatever_the_test_images_are(name, spread, leakage):
    """2,000 audits: a share of 0.95 has a standard error of 0.005."""
    (counts,), more = OTHER[name]
    found = simulate(World(leakage, spread, counts, **more), 2000)
    assert (found[:, 1] >= leakage).mean() >= 0.94
    assert (found[:, 0] <= leakage).mean() >= 0.94


@pytest.mark.slow
@pytest.mark.parametrize("leakage", [0.3, 0.7])
@pytest.mark.parametrize("spread", [0, 0.05, 0.1, 0.15])
@pytest.mark.parametrize("images", [200, 510, 2000])
def test_bounds_cover_in_many_audits(images, spread, leakage):
    found = simulate(World(leakage, spread, even(images)), 4000)
    assert (found[:, 1] >= leakage).mean() >= 0.94
    assert (found[:, 0] <= leakage).mean() >= 0.94


@pytest.mark.parametrize("accuracy", [0.002, 0.01, 0.03, 0.1, 0.5, 0.97, 0.99, 0.998])
def test_accuracy_is_covered_near_none_chance_and_all(accuracy):
    """Victims that answer alike, as those do that learnt one thing: the images are the only luck there is."""
    rng = np.random.default_rng(2)
    for images, classes in ((200, 10), (200, 2), (500, 100)):
        sample = Sample(np.arange(images) % classes, np.arange(images))
        rows = rng.random((1000, images)) < accuracy
        found = np.array([bound_accuracy(sample, np.stack([row] * 3), confidence=0.95) for row in rows])
        assert (found[:, 0] <= accuracy).mean() >= 0.93
        assert (found[:, 1] >= accuracy).mean() >= 0.93


@pytest.mark.parametrize("spread", [0, 0.1])
def test_what_leaks_as_much_as_noise_is_seldom_told_from_it(spread):
    rng, world = np.random.default_rng(3), World(0.7, spread, even(500))
    false = 0
    for _ in range(600):
        sample, release, *_ = world.draw(rng)
        noise = world.draw(rng)[1]
        false += bound_difference(sample, release, noise, confidence=0.95) < 0
    assert false / 600 <= 0.07
