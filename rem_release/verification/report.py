"""What verify says: one line for each check, and the figures that it measured itself."""

from dataclasses import asdict, dataclass, field
from typing import Any

from rem_release.release.facts import ImperceptibilityFacts
from rem_release.release.imperceptibility import WorstPixel

_SHOWN = 5


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    passed: bool | None
    """None: it could not be checked, and `detail` says why."""
    detail: str


@dataclass
class Report:
    """All checks of one release, in the order in which they were made."""

    checks: list[Check]
    imperceptibility: ImperceptibilityFacts | None = None
    """Measured against the originals; None without them."""
    worst: WorstPixel | None = None
    """The largest change found, protected rows only; None without the originals."""

    @property
    def passed(self) -> bool:
        """Whether no check failed. Checks that could not be made do not count: they are in `unchecked`."""
        return all(check.passed is not False for check in self.checks)

    @property
    def failures(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if check.passed is False]

    @property
    def unchecked(self) -> list[Check]:
        """The checks that could not be made."""
        return [check for check in self.checks if check.passed is None]

    def to_json(self) -> dict[str, Any]:
        """The report as plain values for `--json`."""
        return {
            "passed": self.passed,
            "checks": [asdict(check) for check in self.checks],
            "imperceptibility": self.imperceptibility.model_dump() if self.imperceptibility else None,
            "worst_pixel": asdict(self.worst) if self.worst else None,
        }


@dataclass
class Faults:
    """The faults of one check: all are counted, the first few are kept to be shown."""

    count: int = 0
    shown: list[str] = field(default_factory=list)

    def add(self, fault: str) -> None:
        """Note one fault."""
        self.count += 1
        if len(self.shown) < _SHOWN:
            self.shown.append(fault)

    def conclude(self, name: str, sound: str) -> Check:
        """The check: passed with the words `sound`, or failed with the faults."""
        if not self.count:
            return Check(name, True, sound)
        more = f"; and {self.count - len(self.shown)} more" if self.count > len(self.shown) else ""
        return Check(name, False, "; ".join(self.shown) + more)
