"""A table beside the paper's, as Markdown for people, as CSV with a line for each seed, and as JSON; curves likewise.

Below each row of the paper stand ours and the difference: nine columns of `27.09 → 31.2 ± 0.8 (+4.1)` fit no window.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rem_release.audit.curves import Curve
from rem_release.radius import format_radius
from rem_release.reproduce.page import Page, align
from rem_release.reproduce.paper import Arm, Cell, Column, Row, Table
from rem_release.reproduce.results import VALUES, Measured, list_values

_FIELDS = ("column", "arm", "threat", "architecture", "network", "part", "paper", "seed", "ours", "fit")
_TIME_FIELDS = ("column", "arm", "paper_hours", "our_seconds")
_CURVE_FIELDS = ("line", "arm", "threat", "architecture", "network", "part", "seed", "step", *VALUES)
_NOTHING = "–"
_HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What of a table is shown."""

    page: Page
    table: Table
    rows: Sequence[Row]
    """those kept, in their order"""
    columns: Sequence[Column]
    """those kept, in their order"""

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
        shown: what of the table; the lines of a figure joined to a table, see `join_lines`, are one too.
        found: of the cells of `Table.cells`; those that are missing are shown as a dash.

    Returns:
        The Markdown.
    """
    lines, cells = [], []
    for row, column, paper, cell in shown.stated():
        ours, victim = found.get(cell), _victim(shown.page, cell)
        per_seed = [("", "", "")] if ours is None else zip(_numbers(ours), ours.accuracies, ours.fit, strict=True)
        head = [*row.heads, _head(column), cell.arm.name, *victim.values(), paper]
        lines += [[*head, *values] for values in per_seed]
        cells.append(_place(row, column, cell.arm) | victim | {"paper": paper} | _values(paper, ours))
    seen = {cell: found[cell] for *_, cell in shown.stated() if cell in found}
    about = shown.page.about(seen)
    if seen:
        about.append("Differences are ours less the paper's, in percentage points.")
    body = _markdown(shown, ("paper", "ours", "difference"), partial(_accuracy_lines, found))
    return _write(folder, shown, body, about, _FIELDS, lines, cells)


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
        lines.append([*row.heads, _head(column), cell.arm.name, paper, "" if seconds is None else seconds])
        cells.append(_place(row, column, cell.arm) | {"paper_hours": paper, "our_seconds": seconds})
    body = _markdown(shown, ("paper", "ours"), partial(_time_lines, found))
    missing = [cell.arm.name for *_, cell in shown.stated() if cell.arm not in found]
    notes = [
        f"The making of {name} was stopped on the way, so what it takes is not known; without arms/{name}-seed0 it is "
        "made and timed again."
        for name in dict.fromkeys(missing)
    ]
    return _write(folder, shown, body, notes, _TIME_FIELDS, lines, cells)


def write_curves(
    folder: Path, page: Page, cells: Mapping[str, Cell], curves: Mapping[str, Curve], found: Mapping[Cell, Measured]
) -> str:
    """Write NAME.md with the last values, NAME.csv with a line for each step, and NAME.json; accuracies in percent.

    Args:
        folder: it exists.
        page: of the figure.
        cells: name of a line -> its victim, in the order of the legend.
        curves: under the same names; they may be empty.
        found: of the cells whose victims ended well.

    Returns:
        The Markdown.
    """
    rows, lines, drawn = [["Line", "steps", *VALUES.values()]], [], []
    for name, cell in cells.items():
        curve, victim = curves[name], _victim(page, cell)
        values = list_values(curve)
        for step, *each in zip(curve.steps, *values.values(), strict=True):
            lines.append([name, cell.arm.name, *victim.values(), curve.seed, step, *each])
        fit = found[cell].fit[0] if cell in found else None
        drawn.append(
            {"name": name, "arm": _arm(cell.arm), "seed": curve.seed, "fit": fit}
            | victim
            | {"steps": curve.steps}
            | values
        )
        last = [f"{series[-1]:.{3 if key == 'loss' else 1}f}" if series else _NOTHING for key, series in values.items()]
        rows.append([name, str(curve.steps[-1]) if curve.steps else _NOTHING, *last])
    body = [_picture(page), "At the end of training:", align(rows, 1)]
    seen = {cell: found[cell] for cell in cells.values() if cell in found}
    return page.write(folder, body, page.about(seen), {"lines": drawn}, _CURVE_FIELDS, lines)


def write_pictures(folder: Path, page: Page) -> str:
    """Write NAME.md and NAME.json of a figure that shows images.

    Args:
        folder: it exists.
        page: of the figure.

    Returns:
        The Markdown.
    """
    return page.write(folder, [_picture(page)], [], {})


def _write(
    folder: Path,
    shown: Shown,
    body: str,
    notes: Sequence[str],
    fields: Sequence[str],
    lines: Sequence[Sequence[Any]],
    cells: Sequence[dict[str, Any]],
) -> str:
    page, heads = shown.page, shown.table.row_heads
    pictures = [] if page.paper is shown.table else [_picture(page)]
    document = {"row_heads": list(heads), "cells": cells}
    return page.write(folder, [*pictures, body], notes, document, [*heads, *fields], lines)


def _victim(page: Page, cell: Cell) -> dict[str, str]:
    return {
        **{"threat": cell.threat, "architecture": cell.architecture},
        **{"network": page.network(cell), "part": cell.part},
    }


def _arm(arm: Arm) -> dict[str, Any]:
    made = {"method": arm.method, "rho_u": format_radius(arm.rho_u), "rho_a": format_radius(arm.rho_a), "eot": arm.eot}
    return {"name": arm.name, **made}


def _place(row: Row, column: Column, arm: Arm) -> dict[str, Any]:
    return {"row": list(row.heads), "column": list(column.heads), "arm": _arm(arm)}


def _values(paper: float, ours: Measured | None) -> dict[str, Any]:
    if ours is None:
        return {"accuracies": [], "fit": [], "mean": None, "std": None, "difference": None}
    summary = {"mean": ours.mean, "std": ours.std, "difference": ours.mean - paper}
    return {"accuracies": list(ours.accuracies), "fit": list(ours.fit), **summary}


def _numbers(ours: Measured) -> range:
    """Of the seeds: their places, from 0."""
    return range(len(ours.accuracies))


# Markdown


def _picture(page: Page) -> str:
    return f"![the figure]({page.name}.png)"


def _markdown(shown: Shown, words: Sequence[str], write: Callable[[float, Cell], Sequence[str]]) -> str:
    """One table with `words` as the lines of each row."""
    row_heads = shown.table.row_heads
    lines = [[*row_heads, "", *(_head(column) for column in shown.columns)]]
    for row in shown.rows:
        written = [
            [""] * len(words) if paper is None or cell is None else write(paper, cell)
            for _, paper, cell in shown.cells(row)
        ]
        for number, word in enumerate(words):
            heads = row.heads if number == 0 else [""] * len(row.heads)
            lines.append([*heads, word, *(cell[number] for cell in written)])
    return align(lines, len(row_heads) + 1)


def _accuracy_lines(found: Mapping[Cell, Measured], paper: float, cell: Cell) -> tuple[str, str, str]:
    if (ours := found.get(cell)) is None:
        return f"{paper:.2f}", _NOTHING, _NOTHING
    std = "" if ours.std is None else f" ± {ours.std:.1f}"
    return f"{paper:.2f}", f"{ours.mean:.1f}{std}", _signed(ours.mean - paper)


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
