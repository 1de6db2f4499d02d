"""Audits made by hand: victims that answer as they are told, and the certificate that follows."""

from collections.abc import Callable, Mapping

import numpy as np

from rem_release.release.certificate import PACKAGES, Certificate, Circumstances, HoldoutSource
from rem_release.release.facts import Facts
from rem_release.verdict.certify import certify, list_tasks
from rem_release.verdict.evidence import Answers, Evidence
from rem_release.verdict.plan import Task, yardstick
from rem_release.verdict.recipe import AuditRecipe
from tests.audits import AUDIT

CLEAN, RANDOM = 0.94, 0.93
"""Accuracies of victims of clean images and of random noise."""
POLICY = {
    "standard": {"required": True, "limit": 0.3, "threats": ["standard"]},
    "adversarial": {"required": True, "limit": 0.7, "threats": ["pgd(radius=rho_a)"]},
}
Accuracy = Callable[[Task, int], float]
"""(victim, number of the evaluation, -1 for the last) -> accuracy"""


def describe(classes: list[str], **changes: object) -> Circumstances:
    """The circumstances of an audit with three seeds of one network, all its images protected."""
    recipe = {**AUDIT, "seeds": {"required": 3, "others": 1}, "tiers": POLICY, **changes.pop("recipe", {})}
    values = {
        **{"digest": "cd" * 32, "clean_digest": "ab" * 32, "method": "rem", "source": "small_vgg", "partial": False},
        **{"classes": classes, "images": 64, "rho_u": "8/255", "rho_a": "4/255", "learnability": None},
        "holdout": HoldoutSource(origin="given", digest="ef" * 32, dropped=0),
        **{"attempts": None, "cached": 0, "recipe_name": "the owner's policy.yaml", "device": "cpu"},
        "recipe": AuditRecipe.of(recipe).published(),
        "versions": dict.fromkeys(PACKAGES, "2.15.0") | {"rem-release": _version()},
    }
    return Circumstances.model_validate(values | changes)


def describe_release(facts: Facts, **changes: object) -> Circumstances:
    """The circumstances of an audit of a release."""
    protection = facts.protection
    values = {
        **{"digest": facts.digest, "method": protection.method, "rho_u": protection.rho_u, "rho_a": protection.rho_a},
        **{"source": protection.source_model or "small_vgg", "images": facts.data.images},
    }
    return describe(facts.data.classes, **{**values, **changes})


def answer(
    given: Circumstances,
    accuracy: Accuracy | Mapping[str, float],
    images: int = 400,
    *,
    clusters: np.ndarray | None = None,
    **facts: object,
) -> Evidence:
    """Victims that are right on a random share of each class, as large as `accuracy` says, else wrong at random.

    Args:
        given: the circumstances.
        accuracy: a function, or accuracies by `trained_on`; clean and random have their defaults.
        images: test images, spread evenly over the classes.
        clusters: of the test images; each its own by default.
        facts: what all `Answers` have besides.
    """
    by_kind = {
        "clean": CLEAN,
        "random": RANDOM,
        "yardstick": CLEAN,
        **(accuracy if isinstance(accuracy, Mapping) else {}),
    }
    count, recipe = len(given.classes), AuditRecipe.of(given.recipe)
    labels = np.arange(images, dtype=np.int32) % count
    victims = {}
    for task in list_tasks(given):
        budget = yardstick(recipe) if task.trained_on == "yardstick" else recipe
        steps = budget.victim.list_evaluations(given.images)
        named = []
        for number in range(len(steps)):
            at = number - len(steps) if number == len(steps) - 1 else number
            share = by_kind[task.trained_on] if isinstance(accuracy, Mapping) else accuracy(task, at)
            named.append(_answer(labels, count, share, task.seed))
        values = {
            **{"task": task.key, "finite": True, "train_accuracy": 0.99, "fit": 0.99},
            **{"attack_gain": 0.5, "steps": np.array(steps), "named": np.stack(named)},
        }
        victims[task.key] = Answers(**{**values, **facts})
    return Evidence(labels, np.arange(images, dtype=np.int32) if clusters is None else clusters, victims)


def judge(given: Circumstances, evidence: Evidence) -> Certificate:
    """The certificate that follows."""
    return certify(given, evidence, "12" * 32)


def _answer(labels: np.ndarray, classes: int, share: float, seed: int) -> np.ndarray:
    draws = np.random.default_rng(seed)
    named = ((labels + draws.integers(1, classes, len(labels))) % classes).astype(np.int32)
    for label in range(classes):
        members = draws.permutation(np.flatnonzero(labels == label))
        right = members[: round(share * len(members))]
        named[right] = label
    return named


def _version() -> str:
    import rem_release

    return rem_release.__version__
