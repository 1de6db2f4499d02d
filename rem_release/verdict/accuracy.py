"""Accuracy of answers, within each class and over the classes.

A hit says how right an answer is, 0 to 1: bool or float64 [..., T].
"""

import numpy as np


def per_class_accuracy(correct: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Accuracy within each class, float64 [..., classes]; NaN for a class without images.

    Args:
        correct: hits, bool or float64 [..., T].
        labels: int [T], each at least 0 and below `classes`.
        classes: number of classes.

    Raises:
        ValueError: no images, wrong types, lengths that differ, or a label that is no class.
    """
    check_hits(correct, labels)
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
        correct: hits, bool or float64 [..., T].
        labels: int [T].

    Raises:
        ValueError: no images, wrong types, or lengths that differ.
    """
    check_hits(correct, labels)
    within = [correct[..., labels == label].mean(axis=-1) for label in np.unique(labels)]
    return np.asarray(np.mean(within, axis=0))


def check_hits(hits: np.ndarray, labels: np.ndarray) -> None:
    """Refuse what are no hits for labels.

    Raises:
        ValueError: no images, wrong types, or lengths that differ.
    """
    if hits.dtype not in (np.bool_, np.float64) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"hits are {hits.dtype} and labels {labels.dtype}; they must be bool or float64, and integers")
    if labels.ndim != 1 or not len(labels) or hits.shape[-1:] != labels.shape:
        raise ValueError(f"hits {hits.shape} and labels {labels.shape} are not [..., T] and [T] with images")
