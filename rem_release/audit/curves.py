"""The learning curve of one victim."""

from dataclasses import dataclass
from typing import Literal

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
