"""What `recipes/paper` states: every figure of the paper's tables, and cells that are equal where the paper's are."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from rem_release.errors import InputError
from rem_release.reproduce.paper import Cell, Figure, Row, Table, load, names, parse
from rem_release.threats.threat import parse_threat
from rem_release.verdict.recipe import parse_architecture

SUMS = {
    "table1": (135, "6178.48"),
    "table2": (100, "7453.42"),
    "table3": (60, "4110.79"),
    "table4": (30, "1524.17"),
    "table6": (12, "132.3"),
    "table7": (135, "4878.98"),
    "table8": (99, "6656.16"),
    "table9": (60, "3440.06"),
    "table10": (90, "4768.29"),
    "table11": (40, "2548.83"),
}
"""Figures of each table that can be read in the paper, and their sum: taken from its text, not from these files."""
FIGURES = [f"figure{number}" for number in range(1, 9)]
CONTRADICTIONS = {
    ("cifar100", "clean"): {64.50: ["table1", "table2", "table4", "table7", "table8"], 63.43: ["table3"]},
    ("cifar100", "em-u8"): {63.43: ["table1", "table2"], 64.17: ["table3"]},
}
"""Where the paper prints two figures of one cell: ResNet-18, adversarial training with 4/255."""


def table(name: str) -> Table:
    found = load(name)
    assert isinstance(found, Table)
    return found


def figure(name: str) -> Figure:
    found = load(name)
    assert isinstance(found, Figure)
    return found


def rows(name: str) -> Iterator[tuple[str, Row]]:
    return ((dataset, row) for dataset, of_set in table(name).rows.items() for row in of_set)


def figures(name: str) -> Iterator[tuple[str, Cell, float]]:
    """Data set, cell and figure of every place of a table where the paper has one."""
    for dataset, row in rows(name):
        for cell, value in zip(table(name).cells(row), row.paper, strict=True):
            if cell is not None and value is not None:
                yield dataset, cell, value


def all_cells() -> set[Cell]:
    of_tables = {cell for name in SUMS for _, row in rows(name) for cell in table(name).cells(row) if cell}
    return of_tables | {cell for name in FIGURES for cell in figure(name).cells()}


def find(name: str, dataset: str, *heads: str) -> list[Cell | None]:
    """The cells of a row."""
    [row] = [row for of, row in rows(name) if of == dataset and row.heads == heads]
    return table(name).cells(row)


def test_the_files_are_the_tables_and_figures_of_the_paper_in_its_order():
    assert names() == [*SUMS, *FIGURES]
    assert [name for name in SUMS if table(name).kind == "times"] == ["table6"]


@pytest.mark.parametrize("name", SUMS)
def test_every_figure_of_the_paper_is_there(name):
    printed = [Decimal(str(value)) for _, row in rows(name) for value in row.paper if value is not None]
    count, total = SUMS[name]
    assert (len(printed), sum(printed)) == (count, Decimal(total))


def test_audits_know_the_threats_and_networks_of_all_cells():
    cells = all_cells()
    threats = {cell.threat for cell in cells}
    assert {text: parse_threat(text).name for text in threats} == {text: text for text in threats}
    networks = {"vgg16", "resnet18", "resnet50", "densenet121", "wide_resnet34_10"}
    assert {parse_architecture(cell.architecture).name for cell in cells} == networks


def test_equal_cells_have_one_figure_but_where_the_paper_contradicts_itself():
    found: dict[tuple[str, Cell], dict[float, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in set(SUMS) - {"table6"}:
        for dataset, cell, value in figures(name):
            found[dataset, cell][value].append(name)
    several = {key: values for key, values in found.items() if len(values) > 1}
    assert {cell.threat + cell.architecture for _, cell in several} == {"pgd(radius=4/255)resnet18"}
    said = {
        (dataset, cell.arm.name): {value: sorted(places) for value, places in values.items()}
        for (dataset, cell), values in several.items()
    }
    assert said == CONTRADICTIONS
    assert sum(len(places) > 1 for values in found.values() for places in values.values()) > 60


def test_cells_of_several_tables_are_equal():
    assert find("table3", "cifar10", "ResNet-18")[-1] == find("table1", "cifar10", "4/255")[-1]
    one, seven = find("table1", "cifar100", "4/255"), find("table7", "cifar100", "8/255")
    assert find("table3", "cifar100", "ResNet-18") == [*one[:4], one[6], one[8]]
    assert find("table9", "cifar100", "ResNet-18") == [*seven[:4], seven[6], seven[8]]
    assert find("table4", "cifar10", "0")[3] == find("table1", "cifar10", "0")[-1]
    assert find("table2", "cifar10", "2/255", "REM")[-1] == find("table1", "cifar10", "2/255")[-1]
    assert find("table8", "cifar10", "8/255", "Clean")[0] == find("table9", "cifar10", "ResNet-18")[0]
    assert find("table8", "cifar100", "4/255", "Clean") == find("table2", "cifar100", "4/255", "Clean")


def test_without_eot_is_another_arm():
    with_it, without = find("table4", "cifar10", "4/255")[3:]
    assert (with_it.arm.name, without.arm.name) == ("rem-u8-a4", "rem-u8-a4-no-eot")


def test_figures_are_of_cells_of_the_tables():
    one, seven = figure("figure2"), figure("figure7")
    of_table = [find("table1", "cifar10", head) for head in ("0", "2/255", "4/255")]
    assert one.cells() == [cells[place] for cells in of_table for place in (0, 1, 8)]
    assert seven.cells() == [of_table[2][place] for place in (0, 1, 2, 3, 8)]
    arms = [cell.arm for cell in of_table[0]]
    assert [cell.arm for cell in figure("figure1").cells()] == [*arms[:4], arms[8]]
    assert [cell.arm for cell in figure("figure8").cells()] == arms[4:]


@pytest.mark.parametrize("name", ["figure4", "figure5", "figure6"])
def test_pictures_have_noise_of_both_radii(name):
    arms = [find(table_name, "cifar10", head) for table_name, head in (("table1", "0"), ("table7", "0"))]
    assert [cell.arm for cell in figure(name).cells()] == [cells[place].arm for cells in arms for place in (1, 2, 3, 8)]


def test_what_the_clean_part_teaches_hangs_on_no_noise():
    parts = {cell for name in ("table2", "table8") for _, cell, _ in figures(name) if cell.part == "clean"}
    assert {cell.arm.name for cell in parts} == {"clean"}
    shares = {0.2, 0.4, 0.6, 0.8}
    radii = (2, 4, 8)
    assert {cell.threat for cell in parts} == {
        f"mixed(protected={share})+pgd(radius={levels}/255)" for share in shares for levels in radii
    }
    mixed = [cell for name in SUMS for _, cell, _ in figures(name) if "mixed" in cell.threat and cell.part == "mixed"]
    assert len(mixed) == 2 * 2 * 2 * 16 - 1
    assert all(cell.arm.method != "clean" for cell in mixed)


def double(cell: Cell) -> Cell:
    """The cell with twice its radii."""
    arm = replace(cell.arm, rho_u=2 * cell.arm.rho_u, rho_a=2 * cell.arm.rho_a)
    threat = re.sub(r"(?<=radius=)\d+", lambda levels: str(2 * int(levels[0])), cell.threat)
    return replace(cell, arm=arm, threat=threat)


@pytest.mark.parametrize(("small", "large"), [("table1", "table7"), ("table3", "table9"), ("table2", "table8")])
def test_twice_the_radii_of_one_table_are_those_of_another(small, large):
    """Where the paper has a figure in both."""
    compared = 0
    for (dataset, row), (other, doubled) in zip(rows(small), rows(large), strict=True):
        assert dataset == other
        for first, second in zip(table(small).cells(row), table(large).cells(doubled), strict=True):
            if second is not None:
                assert first is not None
                assert double(first) == second
                compared += 1
    assert compared == SUMS[large][0]


def test_rows_with_the_claim_are_marked_in_every_data_set():
    """They are the same in all data sets, and some are not marked."""
    for name in set(SUMS) - {"table6"}:
        marked = [[row.heads for row in of_set if row.claim] for of_set in table(name).rows.values()]
        assert all(heads == marked[0] for heads in marked), name
        assert 0 < len(marked[0]) < len(next(iter(table(name).rows.values()))), name


# refusals


def small_table(**changes: object) -> dict[str, object]:
    columns = [{"heads": ["Clean"], "method": "clean"}, {"heads": ["EM"], "method": "em", "rho_u": "8/255"}]
    rows = {"cifar10": [{"heads": ["0"], "paper": [94.66, 13.20]}]}
    document = {"kind": "table", "title": "A table", "row_heads": ["ρ_a"], "columns": columns, "rows": rows}
    return {**document, **changes}


def test_a_small_table_is_read():
    read = parse(small_table(), "small")
    assert isinstance(read, Table)
    assert [cell.arm.name for cell in read.cells(read.rows["cifar10"][0]) if cell] == ["clean", "em-u8"]


def cifar10(**row: object) -> dict[str, object]:
    return {"rows": {"cifar10": [{"heads": ["0"], "paper": [94.66, 13.20], **row}]}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (cifar10(paper=[94.66]), "small: row ('0',) has 1 figures for 2 columns"),
        (cifar10(method="sem"), "small: rows.cifar10.0.method: Input should be 'clean', 'em', 'tap'"),
        (cifar10(radii="4/255"), "small: rows.cifar10.0.radii: Unexpected keyword argument (got '4/255')"),
        (cifar10(radius="4/0"), "small: rows.cifar10.0.radius: write a radius as 0, 4/255 or 1000/255 (got '4/0')"),
        (cifar10(radius="-4/255"), "small: rows.cifar10.0.radius: a radius is 0 or more (got '-4/255')"),
        (cifar10(rho_u="300/255"), "small: rows.cifar10.0.rho_u: 300/255 is outside 0 to 1"),
        (cifar10(protected=1.0), "small: rows.cifar10.0.protected: Input should be less than 1 (got 1.0)"),
        ({"kind": "chart"}, "small: kind: Input should be 'lines', 'curves' or 'pictures' (got 'chart')"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused_in_one_line(changes, message):
    with pytest.raises(InputError) as refused:
        parse(small_table(**changes), "small")
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["table5", "table12", "figure0", "table01", "../table1", "scale-full"])
def test_an_unknown_name_is_refused_in_one_line_with_those_there_are(name):
    with pytest.raises(InputError) as refused:
        load(name)
    assert str(refused.value) == f"reproduce {name}: choose {', '.join([*SUMS, *FIGURES])}"
