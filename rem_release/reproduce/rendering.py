"""A table beside the paper's, as Markdown for people, as CSV with a line for each seed, and as JSON.

Below each row of the paper stand ours and the difference: nine columns of `27.09 → 31.2 ± 0.8 (+4.1)` fit no window.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rem_release.atomic_files import write_atomically
from rem_release.radius import format_radius
from rem_release.release.canonical import canonical_bytes
from rem_release.reproduce.paper import Arm, Cell, Column, Dataset, Row, Table
from rem_release.reproduce.results import Measured

MIN_FIT = 90.0
"""percent: where clean victims fit their own training images worse than this, training is at fault, not the noise"""
_DATASETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet100": "ImageNet subset"}
_FIELDS = ("column", "arm", "threat", "architecture", "network", "part", "paper", "seed", "ours", "fit")
_TIME_FIELDS = ("column", "arm", "paper_hours", "our_seconds")
_NOTHING = "–"
_HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What of a table is shown."""

    name: str
    """of the files: table1-cifar10"""
    table: Table
    dataset: Dataset
    rows: Sequence[Row]
    """those kept, in their order"""
    columns: Sequence[Column]
    """those kept, in their order"""
    opening: Sequence[str]
    """the first lines, as Markdown: scale, data, what was cut"""
    networks: Mapping[str, str] = field(default_factory=dict)
    """victims' network in the paper -> the one that was trained in its place"""

    def cells(self, row: Row) -> list[tuple[Column, float | None, Cell | None]]:
        """The columns kept, with the paper's figure and the cell; both None where the paper has no figure."""
        found = zip(self.table.columns, row.paper, self.table.cells(row), strict=True)
        return [each for each in found if each[0] in self.columns]

    def stated(self) -> list[tuple[Row, Column, float, Cell]]:
        """Every cell shown that has a figure in the paper, row by row."""
        return [
            (row, column, paper, cell)
            for row in self.rows
            for column, paper, cell in self.cells(row)
            if paper is not None and cell is not None
        ]


def write_table(folder: Path, shown: Shown, found: Mapping[Cell, Measured]) -> str:
    """Write NAME.md, NAME.csv and NAME.json of a table of accuracies.

    Args:
        folder: it exists.
        shown: what of the table.
        found: of the cells of `Table.cells`; those that are missing are shown as a dash.

    Returns:
        The Markdown.
    """
    lines, cells = [], []
    for row, column, paper, cell in shown.stated():
        arm, ours = cell.arm, found.get(cell)
        network = shown.networks.get(cell.architecture, cell.architecture)
        where = [*row.heads, _head(column), arm.name, cell.threat, cell.architecture, network, cell.part, paper]
        per_seed = [(None, None, None)] if ours is None else zip(_numbers(ours), ours.accuracies, ours.fit, strict=True)
        lines += [[shown.dataset, *where, *values] for values in per_seed]
        cells.append(
            _place(row, column, arm)
            | {"threat": cell.threat, "architecture": cell.architecture, "network": network, "part": cell.part}
            | {"paper": paper}
            | _values(paper, ours)
        )
    text = _markdown(shown, ("paper", "ours", "difference"), partial(_accuracy_lines, found), _about(shown, found))
    _write(folder, shown, text, _FIELDS, lines, cells)
    return text


def write_times(folder: Path, shown: Shown, found: Mapping[Arm, float]) -> str:
    """The same for a table of the kind `times`.

    Args:
        folder: it exists.
        shown: what of the table.
        found: seconds that it took to make the noise of an arm.

    Returns:
        The Markdown.
    """
    lines, cells = [], []
    for row, column, paper, cell in shown.stated():
        seconds = found.get(cell.arm)
        lines.append(
            [shown.dataset, *row.heads, _head(column), cell.arm.name, paper, "" if seconds is None else seconds]
        )
        cells.append(_place(row, column, cell.arm) | {"paper_hours": paper, "our_seconds": seconds})
    text = _markdown(shown, ("paper", "ours"), partial(_time_lines, found), [])
    _write(folder, shown, text, _TIME_FIELDS, lines, cells)
    return text


def _write(
    folder: Path, shown: Shown, text: str, fields: Sequence[str], lines: list[list[Any]], cells: list[dict[str, Any]]
) -> None:
    table, stream = shown.table, io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["dataset", *table.row_heads, *fields])
    writer.writerows(lines)
    document = {
        **{"name": shown.name, "kind": table.kind, "title": table.title, "dataset": shown.dataset},
        **{"opening": list(shown.opening), "says": list(table.says)},
        **{"row_heads": list(table.row_heads), "cells": cells},
    }
    parts = {"md": text.encode(), "csv": stream.getvalue().encode(), "json": canonical_bytes(document)}
    for ending, data in parts.items():
        write_atomically(folder / f"{shown.name}.{ending}", data)


def _place(row: Row, column: Column, arm: Arm) -> dict[str, Any]:
    made = {"method": arm.method, "rho_u": format_radius(arm.rho_u), "rho_a": format_radius(arm.rho_a), "eot": arm.eot}
    return {"row": list(row.heads), "column": list(column.heads), "arm": {"name": arm.name, **made}}


def _values(paper: float, ours: Measured | None) -> dict[str, Any]:
    if ours is None:
        return {"accuracies": [], "fit": [], "mean": None, "spread": None, "difference": None}
    summary = {"mean": ours.mean, "spread": ours.spread, "difference": ours.mean - paper}
    return {"accuracies": list(ours.accuracies), "fit": list(ours.fit), **summary}


def _numbers(ours: Measured) -> range:
    """Of the seeds: their places, from 0."""
    return range(len(ours.accuracies))


# Markdown


def _markdown(
    shown: Shown, words: Sequence[str], write: Callable[[float, Cell], Sequence[str]], about: Sequence[str]
) -> str:
    """What was cut, the title, the rest of the opening, one table with `words` as the lines of each row, notes."""
    table = shown.table
    lines = [[*table.row_heads, "", *(_head(column) for column in shown.columns)]]
    for row in shown.rows:
        written = [
            [""] * len(words) if paper is None or cell is None else write(paper, cell)
            for _, paper, cell in shown.cells(row)
        ]
        for number, word in enumerate(words):
            heads = row.heads if number == 0 else [""] * len(row.heads)
            lines.append([*heads, word, *(cell[number] for cell in written)])
    notes = [*table.says, *about]
    parts = [
        *shown.opening[:1],
        f"# {_DATASETS[shown.dataset]}: {table.title}",
        *shown.opening[1:],
        _align(lines, len(table.row_heads) + 1),
        *(["\n".join(f"- {note}" for note in notes)] if notes else []),
    ]
    return "\n\n".join(parts) + "\n"


def _align(lines: Sequence[Sequence[str]], heads: int) -> str:
    """A table whose text, too, is in columns: the first `heads` to the left, figures to the right."""
    cells = [[cell.replace("|", r"\|") for cell in line] for line in lines]
    widths = [max(3, *(len(cell) for cell in column)) for column in zip(*cells, strict=True)]
    rule = ["-" * width if place < heads else f"{'-' * (width - 1)}:" for place, width in enumerate(widths)]
    padded = [
        [cell.ljust(width) if place < heads else cell.rjust(width) for place, (cell, width) in enumerate(pairs)]
        for pairs in (list(zip(line, widths, strict=True)) for line in cells)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [padded[0], rule, *padded[1:]])


def _accuracy_lines(found: Mapping[Cell, Measured], paper: float, cell: Cell) -> tuple[str, str, str]:
    if (ours := found.get(cell)) is None:
        return f"{paper:.2f}", _NOTHING, _NOTHING
    spread = "" if ours.spread is None else f" ± {ours.spread:.1f}"
    return f"{paper:.2f}", f"{ours.mean:.1f}{spread}", _signed(ours.mean - paper)


def _time_lines(found: Mapping[Arm, float], paper: float, cell: Cell) -> tuple[str, str]:
    seconds = found.get(cell.arm)
    return f"{paper:g} h", _NOTHING if seconds is None else write_time(seconds)


def write_time(seconds: float) -> str:
    """Hours with two digits behind the point; seconds below a tenth of an hour."""
    return f"{seconds / _HOUR:.2f} h" if seconds >= _HOUR / 10 else f"{seconds:.0f} s"


def _signed(difference: float) -> str:
    text = f"{difference:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def _head(column: Column) -> str:
    return ", ".join(column.heads)


def _about(shown: Shown, found: Mapping[Cell, Measured]) -> list[str]:
    """Seeds, what ± means, and whether clean victims learnt their images."""
    seen = {cell: found[cell] for *_, cell in shown.stated() if cell in found}
    if not seen:
        return ["No victim was trained."]
    counts = sorted({len(ours.accuracies) for ours in seen.values()})
    means = "± is their standard deviation (n − 1)" if counts[-1] > 1 else "one has no spread"
    about = [f"Seeds of each of our figures: {' or '.join(map(str, counts))}; {means}."]
    about.append("Differences are ours less the paper's, in percentage points.")
    clean = [min(ours.fit) for cell, ours in seen.items() if cell.arm.method == "clean"]
    if not clean:
        return [*about, "No clean victim was trained: what training reaches here without noise is not known."]
    fit = round(min(clean), 1)
    about.append(f"Clean victims fit their training images to {fit:.1f} % or more.")
    if fit < MIN_FIT:
        about[-1] = (
            f"**Warning: a clean victim fits its training images to only {fit:.1f} %, less than {MIN_FIT:.0f} %. "
            "It is not trained to the end, so these rows say little about noise.**"
        )
    return about
