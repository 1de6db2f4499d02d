"""What was measured of a cell, and of the cells that a line of a figure joins."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from rem_release.reproduce.paper import Cell, Figure, Row, Table
from rem_release.threats.threat import parse_threat


@dataclass(frozen=True)
class Measured:
    """The victims of one cell, one for each seed.

    Attributes:
        accuracies: accuracy on the clean test images, in percent.
        fit: accuracy on its own training images, in percent, as many.

    Raises:
        ValueError: there is no victim, the two differ in length, or a value is not from 0 to 100.
    """

    accuracies: tuple[float, ...]
    fit: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.accuracies or len(self.accuracies) != len(self.fit):
            raise ValueError(f"{len(self.accuracies)} test accuracies with {len(self.fit)} on training images")
        for value in (*self.accuracies, *self.fit):
            if not 0 <= value <= 100:
                raise ValueError(f"an accuracy of {value} %")

    @cached_property
    def mean(self) -> float:
        """Of the test accuracies."""
        return statistics.fmean(self.accuracies)

    @cached_property
    def spread(self) -> float | None:
        """Standard deviation of the test accuracies over S seeds, with S − 1 in the denominator; None for one seed."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None


@dataclass(frozen=True, kw_only=True)
class RadiusLine:
    """Accuracies over the radius of adversarial training, in percent; the three are of one length."""

    name: str
    radii: Sequence[Fraction]
    """of our victims"""
    paper: Sequence[float | None]
    ours: Sequence[Measured | None]


def join_lines(figure: Figure, table: Table, rows: Sequence[Row], found: Mapping[Cell, Measured]) -> list[RadiusLine]:
    """The lines of a figure of the kind `lines`: cells of the table with the line's noise, network and part.

    Args:
        figure: its lines.
        table: whose figures they are.
        rows: of the table, those kept.
        found: of the table's cells.
    """
    stated = [
        (paper, cell)
        for row in rows
        for paper, cell in zip(row.paper, table.cells(row), strict=True)
        if cell is not None
    ]
    lines = []
    for line, wanted in zip(figure.lines, figure.cells(), strict=True):
        places = {
            radius: (paper, found.get(cell))
            for paper, cell in stated
            if replace(cell, threat=wanted.threat) == wanted
            and (radius := parse_threat(cell.threat).plain_radius) is not None
        }
        radii = sorted(places)
        theirs, ours = [places[radius][0] for radius in radii], [places[radius][1] for radius in radii]
        lines.append(RadiusLine(name=line.name, radii=radii, paper=theirs, ours=ours))
    return lines
