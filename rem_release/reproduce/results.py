"""What was measured of a cell, the table that the lines of a figure make, and the values of a curve."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from rem_release.audit.curves import Curve
from rem_release.radius import format_radius
from rem_release.reproduce.paper import Cell, Column, Figure, Row, Spec, Table
from rem_release.threats.threat import parse_threat

VALUES = {"loss": "training loss", "train_accuracy": "train accuracy, %", "test_accuracy": "test accuracy, %"}
"""what is seen while a victim trains, and how it is written"""


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
    def std(self) -> float | None:
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


def join_lines(figure: Figure, table: Table, rows: Sequence[Row]) -> Table:
    """The lines of a figure of the kind `lines` as a table: a row for each radius, a column for each line.

    Args:
        figure: its lines.
        table: whose figures they are.
        rows: of the table, those kept.
    """
    papers = {
        cell: paper for row in rows for paper, cell in zip(row.paper, table.cells(row), strict=True) if cell is not None
    }
    joined = []
    for radius in sorted({radius for cell in papers if (radius := parse_threat(cell.threat).plain_radius) is not None}):
        cells = replace(figure, cell=replace(figure.cell, radius=radius)).cells()
        paper = tuple(papers.get(cell) for cell in cells)
        if any(value is not None for value in paper):
            joined.append(Row(heads=(format_radius(radius),), radius=radius, paper=paper))
    specs = [{key: getattr(line, key) for key in Spec.__dataclass_fields__} for line in figure.lines]
    return Table(
        kind="table",
        title=figure.title,
        says=figure.says,
        row_heads=("Adv. train. ρ_a",),
        cell=figure.cell,
        columns=tuple(Column(heads=(line.name,), **spec) for line, spec in zip(figure.lines, specs, strict=True)),
        rows={figure.dataset: tuple(joined)},
    )


def list_lines(joined: Table, found: Mapping[Cell, Measured]) -> list[RadiusLine]:
    """What is drawn of a table of `join_lines`: a line for each column."""
    [rows] = joined.rows.values()
    cells = [joined.cells(row) for row in rows]
    return [
        RadiusLine(
            name=column.heads[0],
            radii=[row.radius or Fraction(0) for row in rows],
            paper=[row.paper[number] for row in rows],
            ours=[found.get(cell) if (cell := of_row[number]) else None for of_row in cells],
        )
        for number, column in enumerate(joined.columns)
    ]


def list_values(curve: Curve) -> dict[str, list[float]]:
    """The values of a curve by the keys of VALUES, accuracies in percent."""
    return {
        "loss": list(curve.loss),
        "train_accuracy": [100 * value for value in curve.train_accuracy],
        "test_accuracy": [100 * value for value in curve.test_accuracy],
    }
