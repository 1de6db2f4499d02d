"""What came out, brought to the page: tables as Markdown, CSV and JSON, figures as SVG and PNG too."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from rem_release.audit.inputs.target import Target, open_target
from rem_release.audit.ledger import VictimRecord
from rem_release.plain_text import show
from rem_release.reproduce.arms import ArmRun
from rem_release.reproduce.drawing import plot_curves, plot_lines, plot_pictures, render
from rem_release.reproduce.page import Page, warn_of_fit
from rem_release.reproduce.paper import Arm, Cell, Column, Dataset, Figure, Table, load
from rem_release.reproduce.rendering import Shown, write_curves, write_pictures, write_table, write_times
from rem_release.reproduce.results import Measured, join_lines, list_lines
from rem_release.reproduce.scale import Scale
from rem_release.reproduce.wanted import kept_rows, trained_cells

_PICTURES = 5
"""of as many classes"""


@dataclass(frozen=True)
class Outcome:
    """All that a page is made of."""

    name: str
    paper: Table | Figure
    scale: Scale
    dataset: Dataset
    images: str
    """what is said of them"""
    arms: dict[tuple[Arm, int], ArmRun]
    records: dict[Cell, list[VictimRecord]]
    """by seed; empty where no victim is trained"""

    @property
    def opening(self) -> list[str]:
        """What a reader must know first."""
        lost = sum(not record.finite for records in self.records.values() for record in records)
        what = "curves end early" if self.paper.kind == "curves" else "cells are left out"
        told = [f"{lost} victims ended with a loss of NaN or infinity; their {what}."] if lost else []
        return [self.scale.words, f"Images: {show(self.images)}.", *self._left_out(), *told]

    def _left_out(self) -> list[str]:
        """The rows that the scale does not keep."""
        if self.paper.kind in ("curves", "pictures"):
            return []
        table = self.paper if isinstance(self.paper, Table) else _source(self.paper)
        kept = {trained_cells(table, row, self.scale): row for row, _ in kept_rows(table, self.scale, self.dataset)}
        left = []
        for row in table.rows[self.dataset]:
            same = kept.get(trained_cells(table, row, self.scale))
            if same is None:
                left.append(", ".join(row.heads))
            elif same != row:
                left.append(f"{', '.join(row.heads)} (here its victims are those of {', '.join(same.heads)})")
        return [f"Rows left out at this scale: {'; '.join(left)}."] if left else []

    def page(self) -> Page:
        """What all that is written of it has in common."""
        return Page(
            name=self.name,
            paper=self.paper,
            scale=self.scale,
            dataset=self.dataset,
            images=show(self.images),
            opening=self.opening,
        )

    def measured(self) -> dict[Cell, Measured]:
        """In percent, of the cells whose victims all ended well."""
        return {
            cell: Measured(
                accuracies=tuple(100 * record.test_curve[-1] for record in records),
                fit=tuple(100 * record.fit for record in records),
            )
            for cell, records in self.records.items()
            if all(record.finite for record in records)
        }


def write_outcome(outcome: Outcome, folder: Path) -> tuple[list[str], dict[str, Any]]:
    """Write the page of a table or figure.

    Returns:
        The lines for a terminal, and the document for `--json`.
    """
    folder.mkdir(exist_ok=True)
    paper, name = outcome.paper, outcome.name
    text = _write_table(outcome, paper, folder) if isinstance(paper, Table) else _write_figure(outcome, paper, folder)
    document = json.loads((folder / f"{name}.json").read_bytes())
    endings = sorted(path.suffix for path in folder.glob(f"{name}.*"))
    return [*text.splitlines(), "", f"Written: {folder / name} with {', '.join(endings)}"], document


def _write_table(outcome: Outcome, table: Table, folder: Path) -> str:
    kept = kept_rows(table, outcome.scale, outcome.dataset)
    columns = _kept_columns(table, [cells for _, cells in kept])
    shown = Shown(page=outcome.page(), table=table, rows=[row for row, _ in kept], columns=columns)
    if table.kind == "times":
        return write_times(folder, shown, _list_times(outcome))
    return write_table(folder, shown, outcome.measured())


def _list_times(outcome: Outcome) -> dict[Arm, float]:
    times = {arm: run.seconds for (arm, seed), run in outcome.arms.items() if seed == 0}
    return {arm: seconds for arm, seconds in times.items() if seconds is not None}


def _kept_columns(table: Table, rows: Sequence[Sequence[Cell | None]]) -> list[Column]:
    """Those of which a scale keeps a cell."""
    return [column for number, column in enumerate(table.columns) if any(cells[number] for cells in rows)]


def _write_figure(outcome: Outcome, figure: Figure, folder: Path) -> str:
    """Draw it, and write the numbers that were drawn; what must be known first is the title, too."""
    page, found = outcome.page(), outcome.measured()
    if figure.kind == "pictures":
        render(plot_pictures(_title(page), *_pictures(outcome, figure))).write(folder, page.name)
        return write_pictures(folder, page)
    if figure.kind == "lines":
        table = _source(figure)
        joined = join_lines(figure, table, [row for row, _ in kept_rows(table, outcome.scale, outcome.dataset)])
        shown = Shown(page=page, table=joined, rows=joined.rows[outcome.dataset], columns=joined.columns)
        seen = {cell: found[cell] for *_, cell in shown.stated() if cell in found}
        render(plot_lines(_title(page, seen), list_lines(joined, found))).write(folder, page.name)
        return write_table(folder, shown, found)
    of_lines = zip(figure.lines, figure.cells(), strict=True)
    cells = {line.name: cell for line, cell in of_lines if cell in outcome.records}
    curves = {name: outcome.records[cell][0].curve() for name, cell in cells.items()}
    seen = {cell: found[cell] for cell in cells.values() if cell in found}
    render(plot_curves(_title(page, seen), curves, figure.values)).write(folder, page.name)
    return write_curves(folder, page, cells, curves, found)


def _source(figure: Figure) -> Table:
    """Whose figures the lines are."""
    assert figure.table is not None
    table = load(figure.table)
    assert isinstance(table, Table)
    return table


def _title(page: Page, seen: Mapping[Cell, Measured] | None = None) -> str:
    """Of a drawing, which goes about without its page."""
    warning = warn_of_fit(seen or {})
    return " ".join([f"{page.paper.title}.", *page.opening, *([warning] if warning else [])])


def _pictures(outcome: Outcome, figure: Figure) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The first image of some classes, clean and with the noise of each line: uint8 [n, H, W, 3]."""
    clean: np.ndarray | None = None
    noisy: dict[str, np.ndarray] = {}
    for line, cell in zip(figure.lines, figure.cells(), strict=True):
        target = open_target(outcome.arms[cell.arm, 0].run.path)
        rows = _choose_rows(target)
        noisy[line.name] = np.stack([target.protected(row) for row in rows])
        clean = np.stack([target.clean(row) for row in rows]) if clean is None else clean
    assert clean is not None
    return clean, noisy


def _choose_rows(target: Target) -> list[int]:
    """The first rows of some classes that have the size of the first."""
    size = target.clean(0).shape
    fitting = (int(np.flatnonzero(target.labels == label)[0]) for label in np.unique(target.labels))
    return list(islice((row for row in fitting if target.clean(row).shape == size), _PICTURES))
