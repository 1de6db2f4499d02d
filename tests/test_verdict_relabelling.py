"""Relabelling of classes: finds what is wrong on purpose, and nothing where there is nothing."""

import numpy as np
import pytest

from rem_release.verdict.accuracy import balanced_accuracy
from rem_release.verdict.relabelling import relabel
from rem_release.verdict.statistics import Sample


def plain_halves(labels: list[int], clusters: list[int]) -> list[int]:
    """Which half each image lies in, told by the words of the docstring."""
    seen: dict[int, int] = {}
    for image, cluster in enumerate(clusters):
        seen.setdefault(cluster, image)
    order = sorted(seen, key=lambda cluster: (labels[seen[cluster]], seen[cluster]))
    halves: list[list[int]] = [[], []]
    for cluster in order:
        own = labels[seen[cluster]]
        sizes = [(sum(labels[i] == own for i in half), len(half), side) for side, half in enumerate(halves)]
        halves[min(sizes)[2]] += [i for i, number in enumerate(clusters) if number == cluster]
    return [int(image in halves[1]) for image in range(len(labels))]


def plain_hits(labels: list[int], clusters: list[int], answers: list[list[int]], classes: int) -> list[list[bool]]:
    half = plain_halves(labels, clusters)
    hits = []
    for row in answers:
        meaning = {}
        for side in (0, 1):
            fitting = [i for i in range(len(labels)) if half[i] != side]
            for named in range(classes):
                shares = [
                    sum(row[i] == named for i in fitting if labels[i] == true)
                    / max(1, sum(labels[i] == true for i in fitting))
                    for true in range(classes)
                ]
                meaning[side, named] = shares.index(max(shares)) if max(shares) else named
        hits.append([meaning[half[i], row[i]] == labels[i] for i in range(len(labels))])
    return hits


@pytest.mark.parametrize("seed", range(8))
def test_hits_are_those_of_plain_loops(seed):
    rng = np.random.default_rng(seed)
    labels, clusters = rng.integers(5, size=70), rng.integers(50, size=70)
    answers = np.where(rng.random((3, 70)) < 0.4, (labels * 2 + 1) % 5, rng.integers(4, size=(3, 70)))
    found = relabel(Sample(labels, clusters), answers, 6)
    assert found.tolist() == plain_hits(labels.tolist(), clusters.tolist(), answers.tolist(), 6)


def test_a_permutation_of_classes_is_undone():
    rng = np.random.default_rng(0)
    labels = rng.integers(10, size=600)
    right = rng.random((3, 600)) < 0.7
    answers = np.where(right, (labels + 3) % 10, rng.integers(10, size=(3, 600)))
    sample = Sample(labels, np.arange(600))
    assert balanced_accuracy(answers == labels, labels).mean() < 0.06
    assert balanced_accuracy(relabel(sample, answers, 10), labels).mean() == pytest.approx(0.73, abs=0.04)


def test_right_answers_stay_right():
    labels = np.arange(40) % 4
    assert relabel(Sample(labels, np.arange(40)), np.stack([labels, labels]), 4).all()


def test_answers_without_information_score_chance():
    """200 audits of guesses, of unequal classes and in clusters; standard error 0.001."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(5), [20, 40, 40, 80, 120])
    clusters = np.arange(300) // 2
    sample = Sample(labels, clusters)
    found = [
        balanced_accuracy(relabel(sample, rng.integers(5, size=(3, 150))[:, clusters], 5), labels).mean()
        for _ in range(200)
    ]
    assert np.mean(found) == pytest.approx(0.2, abs=0.004)


def test_copies_across_the_halves_would_leak_and_lie_in_one_half():
    """Every image twice and random answers: what is fitted on one copy is not scored on the other."""
    labels = np.arange(60) % 30
    answers = np.broadcast_to(np.arange(60) % 30, (3, 60))[:, ::-1].copy()
    pairs = np.arange(60) % 30
    assert not relabel(Sample(labels, pairs), answers, 30).all()
    assert relabel(Sample(labels, np.arange(60)), answers, 30).all()


def test_classes_that_the_fitting_half_never_names_keep_their_names():
    labels = np.array([0, 0, 1, 1])
    answers = np.array([[0, 1, 1, 0]])  # halves: images 0 and 2, 1 and 3
    assert relabel(Sample(labels, np.arange(4)), answers, 3).tolist() == [[False, False, False, False]]
    answers = np.array([[2, 0, 2, 1]])  # 2 is named in the first half only, and by both classes alike
    assert relabel(Sample(labels, np.arange(4)), answers, 3).tolist() == [[False, True, False, True]]


@pytest.mark.parametrize(
    ("answers", "classes", "message"),
    [
        (np.zeros((3, 5), dtype=int), 3, "with seeds"),
        (np.zeros(6, dtype=int), 3, "with seeds"),
        (np.zeros((0, 6), dtype=int), 3, "with seeds"),
        (np.zeros((3, 6)), 3, "must be integers"),
        (np.full((3, 6), 3), 3, "answers run from 3 to 3"),
        (np.full((3, 6), -1), 3, "answers run from -1"),
        (np.zeros((3, 6), dtype=int), 2, "labels run from 0 to 2"),
    ],
)
def test_what_is_no_answer_is_refused(answers, classes, message):
    with pytest.raises(ValueError, match=message):
        relabel(Sample(np.arange(6) % 3, np.arange(6)), answers, classes)
