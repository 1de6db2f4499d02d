"""Rates with their spread, and two of them side by side."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Work = Callable[[], float | None]
"""Something that is over, on the device too, when it returns; it may say itself how many seconds count of it."""


@dataclass(frozen=True)
class Rate:
    """Units a second, or a ratio: the median of some rounds, the least and the most."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Rate":
        """Of the values of all rounds."""
        ordered = sorted(values)
        return cls(ordered[len(ordered) // 2], ordered[0], ordered[-1])

    def to_dict(self) -> dict[str, float]:
        """With four digits, which is more than they are known to."""
        return {name: float(f"{value:.4g}") for name, value in vars(self).items()}


@dataclass(frozen=True)
class Pair:
    """A rate, that of the reference, and how many times as fast it is, round by round."""

    rate: Rate
    reference: Rate
    ratio: Rate

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {name: value.to_dict() for name, value in vars(self).items()}


def compare(works: list[tuple[Work, float]], rounds: int = 3) -> list[Pair]:
    """Works against the first of them, in turns, so that what else the machine does falls on all alike.

    Args:
        works: what to do, and how many units that is; the first is the reference. Each is done once before.
        rounds: how often.

    Returns:
        A pair for each but the first.
    """
    for work, _ in works:
        work()
    rates: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for each, (work, units) in zip(rates, works, strict=True):
            each.append(units / _seconds(work))
    reference = rates[0]
    return [
        Pair(Rate.of(each), Rate.of(reference), Rate.of([a / b for a, b in zip(each, reference, strict=True)]))
        for each in rates[1:]
    ]


def _seconds(work: Work) -> float:
    began = time.perf_counter()
    told = work()
    return time.perf_counter() - began if told is None else told
