"""Random noise is not certified: simulated audits in which the release is as good as the control beside it."""

import numpy as np
import pytest

from rem_release.verdict.plan import Task
from tests.evidence import answer, describe, judge

CLASSES = [f"class {number}" for number in range(10)]


def audit(number: int, protected: float, random: float, spread: float, **changes: object) -> bool:
    """Whether a simulated audit passes: each training draws its own accuracy about that of its kind."""
    given = describe(CLASSES, digest=f"{number:064x}", **changes)

    def accuracy(task: Task, _: int) -> float:
        mean = {"protected": protected, "random": random}.get(task.trained_on, 0.85)
        draws = np.random.default_rng([number, task.seed, len(task.trained_on), len(task.threat.name)])
        return float(np.clip(mean + spread * draws.standard_normal(), 0, 1))

    return judge(given, answer(given, accuracy, images=500)).passed


@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_random_noise_that_leaks_is_not_certified(spread: float) -> None:
    assert not any(audit(number, 0.7, 0.7, spread) for number in range(10))


@pytest.mark.slow
@pytest.mark.parametrize(("level", "spread"), [(0.7, 0.0), (0.7, 0.05), (0.15, 0.0), (0.15, 0.02)])
def test_of_200_audits_of_random_noise_hardly_any_pass(level: float, spread: float) -> None:
    """Also where random noise itself stays under every limit: then the release must still teach less than it."""
    passed = sum(audit(number, level, level, spread) for number in range(200))
    print(f"random noise at {level:.0%}, spread {spread}: {passed} of 200 audits passed")
    assert passed <= 0.07 * 200


def test_a_release_that_teaches_little_is_certified() -> None:
    assert all(audit(number, 0.15, 0.7, 0.02) for number in range(3))


def test_the_control_is_never_certified() -> None:
    assert not audit(0, 0.15, 0.7, 0.0, method="random")
