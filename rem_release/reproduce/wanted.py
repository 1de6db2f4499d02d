"""Which cells of a table or figure a scale has room for, and with how many seeds."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from rem_release.reproduce.paper import Arm, Cell, Dataset, Figure, Row, Table, load
from rem_release.reproduce.scale import Scale


@dataclass(frozen=True)
class Wanted:
    """A cell, and the seeds that it is run with."""

    cell: Cell
    seeds: int


def list_wanted(name: str, scale: Scale, dataset: Dataset) -> list[Wanted]:
    """The cells of a table or figure that a scale has room for, each once, with the most seeds it is wanted with."""
    paper = load(name)
    if isinstance(paper, Figure):
        if paper.table:
            arms = {cell.arm for cell in paper.cells()}
            return [each for each in list_wanted(paper.table, scale, dataset) if each.cell.arm in arms]
        return [Wanted(cell, 1) for cell in dict.fromkeys(paper.cells()) if _is_kept(cell.arm, scale)]
    seeds: dict[Cell, int] = {}
    for row, cells in kept_rows(paper, scale, dataset):
        for column, cell in zip(paper.columns, cells, strict=True):
            if cell is not None:
                count = scale.claim_seeds if row.claim and column.claim else scale.seeds
                seeds[cell] = max(seeds.get(cell, 0), count)
    return [Wanted(cell, count) for cell, count in seeds.items()]


def kept_rows(table: Table, scale: Scale, dataset: Dataset) -> list[tuple[Row, list[Cell | None]]]:
    """The rows of a data set that a scale has room for, with the cells that are left of them.

    Of rows whose victims are the very same, for the scale trains one network in place of several, the first is kept.
    """
    rows = table.rows[dataset]
    if scale.rows == "claim" and any(row.claim for row in rows):
        rows = tuple(row for row in rows if row.claim)
    first: dict[tuple[Cell | None, ...], Row] = {}
    for row in rows:
        first.setdefault(trained_cells(table, row, scale), row)
    kept = []
    for row in first.values():
        cells = table.cells(row)
        kept.append((row, [cell if cell and _is_kept(cell.arm, scale) else None for cell in cells]))
    return kept


def trained_cells(table: Table, row: Row, scale: Scale) -> tuple[Cell | None, ...]:
    """The cells of a row with the networks that are trained."""
    networks = scale.networks
    return tuple(
        cell and replace(cell, architecture=networks.get(cell.architecture, cell.architecture))
        for cell in table.cells(row)
    )


def _is_kept(arm: Arm, scale: Scale) -> bool:
    return not scale.columns or arm.name in scale.columns


def group_by_arm(wanted: Iterable[Wanted]) -> dict[tuple[Arm, int], list[Cell]]:
    """The cells of every arm and seed, clean images too."""
    found: dict[tuple[Arm, int], list[Cell]] = {}
    for each in wanted:
        for seed in range(each.seeds):
            found.setdefault((each.cell.arm, seed), []).append(each.cell)
    return found


def list_arms(wanted: Iterable[Wanted]) -> list[tuple[Arm, int]]:
    """Every arm with noise and each of its seeds, all arms of the first seed first."""
    return sorted((key for key in group_by_arm(wanted) if key[0].method != "clean"), key=lambda key: key[1])
