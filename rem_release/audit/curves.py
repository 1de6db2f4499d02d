"""The learning curve of one victim, and the file that keeps those of an audit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from rem_release.atomic_files import write_atomically
from rem_release.errors import VerificationError
from rem_release.verdict.plan import TrainedOn

_MAX_STEPS, _MAX_LOSS = 10**12, 1e30
"""more than any training has; what is beyond cannot be drawn"""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What was seen while one victim trained; all lists are of one length."""

    architecture: str
    threat: str
    """Canonical name, as in the certificate."""
    trained_on: TrainedOn
    seed: int
    steps: list[int]
    """Training steps done when each value was taken."""
    loss: list[float]
    """Training loss, under the threat."""
    train_accuracy: list[float]
    """On the victim's own training images, from 0 to 1."""
    test_accuracy: list[float]
    """On the clean test images, from 0 to 1."""


class _Curves(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    curves: list[Curve]

    @model_validator(mode="after")
    def _can_be_drawn(self) -> Self:
        for number, curve in enumerate(self.curves):
            lists: list[Sequence[float]] = [curve.steps, curve.loss, curve.train_accuracy, curve.test_accuracy]
            if len({len(values) for values in lists}) > 1:
                raise ValueError(f"the lists of curve {number} are not of one length")
            if any(not 0 <= step <= _MAX_STEPS for step in curve.steps):
                raise ValueError(f"a step of curve {number} is not from 0 to {_MAX_STEPS:,}")
            if any(value < 0 or value > 1 for value in (*curve.train_accuracy, *curve.test_accuracy)):
                raise ValueError(f"an accuracy of curve {number} is not from 0 to 1")
            if any(_MAX_LOSS < abs(value) < math.inf for value in curve.loss):
                raise ValueError(f"a loss of curve {number} is above {_MAX_LOSS:g}")
        return self


def write_curves(path: Path, curves: Sequence[Curve]) -> None:
    """Keep the curves that the figures of an audit are drawn from."""
    write_atomically(path, f"{_Curves(curves=list(curves)).model_dump_json()}\n".encode())


def read_curves(path: Path) -> list[Curve]:
    """Read what `write_curves` wrote.

    Raises:
        VerificationError: the file is missing or damaged.
    """
    if path.exists() and not path.is_file():
        raise VerificationError(f"{path} cannot be read: it is no file")
    try:
        return _Curves.model_validate_json(path.read_bytes()).curves
    except OSError as error:
        raise VerificationError(f"{path} cannot be read ({error.strerror})") from None
    except ValidationError as error:
        raise VerificationError(f"{path} is damaged: {error.errors()[0]['msg']}") from None
