"""What came out, brought to the page: tables as Markdown, CSV and JSON, figures as SVG and PNG."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from rem_release.atomic_files import write_atomically
from rem_release.audit.inputs.target import Target, open_target
from rem_release.audit.ledger import VictimRecord
from rem_release.plain_text import show
from rem_release.radius import format_radius
from rem_release.release.canonical import canonical_bytes
from rem_release.reproduce.arms import ArmRun
from rem_release.reproduce.drawing import draw_curves, draw_lines, draw_pictures
from rem_release.reproduce.paper import Arm, Cell, Column, Dataset, Figure, Row, Table, load
from rem_release.reproduce.rendering import Shown, write_table, write_times
from rem_release.reproduce.results import Measured, RadiusLine, join_lines
from rem_release.reproduce.scale import Scale
from rem_release.reproduce.wanted import kept_rows

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
        told = [f"{lost} victims ended with a loss of NaN or infinity; their cells are left out."] if lost else []
        return [self.scale.words, f"Images: {show(self.images)}.", *told]

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
    paper = outcome.paper
    if isinstance(paper, Table):
        shown = _show(outcome, paper)
        text = (
            write_times(folder, shown, _list_times(outcome))
            if paper.kind == "times"
            else write_table(folder, shown, outcome.measured())
        )
        document = json.loads((folder / f"{outcome.name}.json").read_bytes())
        return [*text.splitlines(), "", f"Written: {folder / outcome.name}.md, .csv and .json"], document
    numbers = _draw(outcome, paper, folder)
    document = {"name": outcome.name, "title": paper.title, "opening": outcome.opening, "says": list(paper.says)}
    document["lines"] = numbers
    write_atomically(folder / f"{outcome.name}.json", canonical_bytes(document))
    says = [f"Note: {line}" for line in paper.says]
    written = f"Written: {folder / outcome.name}.svg, .png and .json"
    return [outcome.scale.words, paper.title, *outcome.opening[1:], *says, written], document


def _list_times(outcome: Outcome) -> dict[Arm, float]:
    times = {arm: run.seconds for (arm, seed), run in outcome.arms.items() if seed == 0}
    return {arm: seconds for arm, seconds in times.items() if seconds is not None}


def _show(outcome: Outcome, table: Table) -> Shown:
    kept = kept_rows(table, outcome.scale, outcome.dataset)
    return Shown(
        name=outcome.name,
        table=table,
        dataset=outcome.dataset,
        rows=[row for row, _ in kept],
        columns=_kept_columns(table, [cells for _, cells in kept]),
        opening=outcome.opening,
        networks=outcome.scale.networks,
    )


def _kept_columns(table: Table, rows: Sequence[Sequence[Cell | None]]) -> list[Column]:
    """Those of which a scale keeps a cell."""
    return [column for number, column in enumerate(table.columns) if any(cells[number] for cells in rows)]


def _draw(outcome: Outcome, figure: Figure, folder: Path) -> list[dict[str, Any]]:
    """Draw it, and give the numbers that were drawn, a line each; none of pictures."""
    title = "\n".join([figure.title, *outcome.opening])
    if figure.kind == "lines":
        assert figure.table is not None
        table = load(figure.table)
        assert isinstance(table, Table)
        rows: list[Row] = [row for row, _ in kept_rows(table, outcome.scale, outcome.dataset)]
        lines = join_lines(figure, table, rows, outcome.measured())
        draw_lines(title, lines).write(folder, outcome.name)
        return [_describe_line(line) for line in lines]
    if figure.kind == "curves":
        cells = figure.cells()
        curves = {
            line.name: outcome.records[cell][0].curve()
            for line, cell in zip(figure.lines, cells, strict=True)
            if cell in outcome.records
        }
        draw_curves(title, curves, figure.values).write(folder, outcome.name)
        return [{"name": name, **asdict(curve)} for name, curve in curves.items()]
    draw_pictures(title, *_pictures(outcome, figure)).write(folder, outcome.name)
    return []


def _describe_line(line: RadiusLine) -> dict[str, Any]:
    ours = [measured and {"accuracies": list(measured.accuracies), "mean": measured.mean} for measured in line.ours]
    radii = [format_radius(radius) for radius in line.radii]
    return {"name": line.name, "radii": radii, "paper": list(line.paper), "ours": ours}


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
