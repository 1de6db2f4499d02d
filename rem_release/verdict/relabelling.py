"""Answers that are wrong on purpose: hits after the best relabelling of classes.

Legend: S seeds, T test images.
"""

import numpy as np

from rem_release.verdict.statistics import Sample


def relabel(sample: Sample, answers: np.ndarray, classes: int) -> np.ndarray:
    """Hits after the best relabelling of classes, bool [S, T]: who names wrong classes on purpose still leaks.

    The images are cut into two halves; each victim's map from named to true classes is fitted on one and scored on the
    other, both ways, so answers without information still score 1/C. A named class becomes the true class of which it
    takes the largest share (the lowest of equals); one that the fitting half never names keeps its name. The halves:
    clusters in the order of the class of their first image, then of that image, each whole to the half with
    fewer images of that class, of equals to the smaller half, of equals to the first.

    Args:
        sample: the test images, their labels at least 0 and below `classes`.
        answers: the class that each victim names, int [S, T], at least 0 and below `classes`.
        classes: number of classes.

    Raises:
        ValueError: wrong shapes or types, or answers or labels that are no class.
    """
    if answers.ndim != 2 or not len(answers) or answers.shape[1:] != sample.labels.shape:
        raise ValueError(f"answers {answers.shape} are not [S, {len(sample.labels)}] with seeds")
    if not np.issubdtype(answers.dtype, np.integer):
        raise ValueError(f"answers are {answers.dtype}; they must be integers")
    for name, values in (("answers", answers), ("labels", sample.labels)):
        if values.min() < 0 or values.max() >= classes:
            raise ValueError(f"{name} run from {values.min()} to {values.max()}, which are not among {classes} classes")
    second = _second_half(sample)
    hits = np.zeros(answers.shape, dtype=bool)
    for scored in (second, ~second):
        true = sample.labels[~scored]
        for named, hit in zip(answers, hits, strict=True):
            pairs, counts = np.unique(named[~scored] * np.int64(classes) + true, return_counts=True)
            names, meant = np.divmod(pairs, classes)
            shares = counts / np.bincount(true, minlength=classes)[meant]
            meaning = np.arange(classes)
            order = np.lexsort((-meant, shares))  # what is written last stays: the largest, of equals the lowest
            meaning[names[order]] = meant[order]
            hit[scored] = meaning[named[scored]] == sample.labels[scored]
    return hits


def _second_half(sample: Sample) -> np.ndarray:
    """Which images lie in the second half, bool [T]; `relabel` says how they are cut."""
    first = np.unique(sample.owners, return_index=True)[1]
    counts = np.zeros((2, sample.places.max() + 1), dtype=np.int64)
    half = np.zeros(len(first), dtype=np.int64)
    members = np.split(np.argsort(sample.owners, kind="stable"), np.cumsum(np.bincount(sample.owners))[:-1])
    for cluster in np.lexsort((first, sample.places[first])):
        own = sample.places[first[cluster]]
        half[cluster] = min((0, 1), key=lambda side: (counts[side, own], counts[side].sum(), side))
        np.add.at(counts[half[cluster]], sample.places[members[cluster]], 1)
    return np.asarray(half[sample.owners] == 1)
