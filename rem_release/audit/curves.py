"""The learning curve of one victim, and the file that keeps those of an audit."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from rem_release.atomic_files import write_atomically
from rem_release.errors import VerificationError

TrainedOn = Literal["protected", "clean", "random", "clean part"]


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


def write_curves(path: Path, curves: Sequence[Curve]) -> None:
    """Keep the curves that the figures of an audit are drawn from."""
    write_atomically(path, f"{_Curves(curves=list(curves)).model_dump_json()}\n".encode())


def read_curves(path: Path) -> list[Curve]:
    """Read what `write_curves` wrote.

    Raises:
        VerificationError: the file is missing or damaged.
    """
    try:
        return _Curves.model_validate_json(path.read_bytes()).curves
    except OSError as error:
        raise VerificationError(f"{path} cannot be read ({error.strerror})") from None
    except ValidationError as error:
        raise VerificationError(f"{path} is damaged: {error.errors()[0]['msg']}") from None
