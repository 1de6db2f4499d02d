"""What `reproduce` writes: tables beside the paper's, and the pages of figures."""

import csv
import json
from dataclasses import replace
from fractions import Fraction

import pytest

from rem_release.audit.curves import Curve
from rem_release.release.canonical import canonical_bytes
from rem_release.reproduce.page import Page
from rem_release.reproduce.paper import load, parse
from rem_release.reproduce.rendering import (
    Shown,
    write_curves,
    write_pictures,
    write_table,
    write_time,
    write_times,
)
from rem_release.reproduce.results import Measured, join_lines, list_lines
from rem_release.reproduce.scale import Scale

TABLE = parse(
    {
        "kind": "table",
        "title": "A table | of tests",
        "says": ["The paper says 71 elsewhere."],
        "row_heads": ["Radius", "Model"],
        "cell": {"rho_u": "8/255"},
        "columns": [
            {"heads": ["Clean"], "method": "clean"},
            {"heads": ["EM", "20 % | mixed"], "method": "em"},
            {"heads": ["REM"], "method": "rem", "rho_a": "4/255"},
        ],
        "rows": {
            "cifar10": [
                {"heads": ["0", "RN-18"], "radius": 0, "paper": [94.66, 13.2, 27.09]},
                {"heads": ["2/255", "VGG-16"], "radius": "2/255", "architecture": "vgg16", "paper": [92, 71.43, None]},
            ]
        },
    },
    "table of tests",
)
ROWS = TABLE.rows["cifar10"]
(CLEAN, EM, REM), (CLEAN_2, EM_2, _) = (TABLE.cells(row) for row in ROWS)
FOUND = {
    CLEAN: Measured((90.0,), (99.5,)),
    EM: Measured((12.0, 14.0, 16.0), (98.0, 99.0, 100.0)),
    REM: Measured((27.09,), (97.0,)),
    CLEAN_2: Measured((80.25,), (97.04,)),
}
ORIGIN = {"dataset": "cifar10", "scale": "smoke", "images": "10 training images of here (JPEG of quality 75)"}
FIELDS = ["column", "arm", "threat", "architecture", "network", "part", "paper", "seed", "ours", "fit"]


def page(paper, name="made-up", networks=None):
    scale = Scale(name="smoke", words="Scale smoke: 10 images.", networks=networks or {})
    opening = [scale.words, "Not the paper's."]
    return Page(name=name, paper=paper, scale=scale, opening=opening, dataset="cifar10", images=ORIGIN["images"])


def shown(**changes):
    settings = {"page": page(TABLE), "table": TABLE, "rows": ROWS, "columns": TABLE.columns}
    return Shown(**(settings | changes))


def read_csv(folder, name="made-up"):
    with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_mean_and_standard_deviation_are_those_of_a_sample():
    several = Measured((12.0, 14.0, 16.0), (98.0, 99.0, 100.0))
    assert (several.mean, several.std) == (14.0, 2.0)  # sqrt((4 + 0 + 4) / 2)
    assert (Measured((31.5,), (99.0,)).mean, Measured((31.5,), (99.0,)).std) == (31.5, None)


@pytest.mark.parametrize(
    "values", [((), ()), ((1.0,), ()), ((101.0,), (99.0,)), ((1.0,), (-1.0,)), ((1.0,), (float("nan"),))]
)
def test_what_is_no_accuracy_is_refused(values):
    with pytest.raises(ValueError, match="accurac"):
        Measured(*values)


def test_the_markdown_is_known(tmp_path):
    text = write_table(tmp_path, shown(), FOUND)
    assert text == (tmp_path / "made-up.md").read_text(encoding="utf-8")
    assert text.splitlines() == [
        "Scale smoke: 10 images.",
        "",
        "# CIFAR-10: A table | of tests",
        "",
        "Not the paper's.",
        "",
        r"| Radius | Model  |            | Clean | EM, 20 % \| mixed |   REM |",
        "| ------ | ------ | ---------- | ----: | ----------------: | ----: |",
        "| 0      | RN-18  | paper      | 94.66 |             13.20 | 27.09 |",
        "|        |        | ours       |  90.0 |        14.0 ± 2.0 |  27.1 |",
        "|        |        | difference |  −4.7 |              +0.8 |   0.0 |",
        "| 2/255  | VGG-16 | paper      | 92.00 |             71.43 |       |",
        "|        |        | ours       |  80.2 |                 – |       |",
        "|        |        | difference | −11.8 |                 – |       |",
        "",
        "- The paper says 71 elsewhere.",
        "- Seeds of each of our figures: 1 or 3; ± is their standard deviation (n − 1).",
        "- Clean victims fit their training images to 97.0 % or more.",
        "- Differences are ours less the paper's, in percentage points.",
    ]


def test_the_csv_has_a_line_for_each_seed_and_loses_no_digit(tmp_path):
    found = FOUND | {CLEAN: Measured((100 / 3,), (200 / 3,))}
    write_table(tmp_path, shown(page=page(TABLE, networks={"vgg16": "small_vgg"})), found)
    lines = read_csv(tmp_path)
    assert list(lines[0]) == [*ORIGIN, "Radius", "Model", *FIELDS]
    assert [(line["column"], line["seed"]) for line in lines] == [
        *[("Clean", "0"), *(("EM, 20 % | mixed", str(seed)) for seed in range(3)), ("REM", "0")],
        *[("Clean", "0"), ("EM, 20 % | mixed", "")],
    ]
    assert (float(lines[0]["ours"]), float(lines[0]["fit"])) == (100 / 3, 200 / 3)
    assert [(float(line["ours"]), float(line["fit"])) for line in lines[1:4]] == [(12, 98), (14, 99), (16, 100)]
    assert lines[4]["arm"] == "rem-u8-a4"
    assert lines[5] | {"ours": "", "fit": ""} == {
        **ORIGIN,
        **{"Radius": "2/255", "Model": "VGG-16", "column": "Clean", "arm": "clean"},
        **{"threat": "pgd(radius=2/255)", "architecture": "vgg16", "network": "small_vgg", "part": "mixed"},
        **{"paper": "92.0", "seed": "0", "ours": "", "fit": ""},
    }
    assert (lines[6]["ours"], lines[6]["fit"]) == ("", "")


def test_the_json_is_canonical_and_says_the_same(tmp_path):
    write_table(tmp_path, shown(), FOUND)
    data = (tmp_path / "made-up.json").read_bytes()
    document = json.loads(data)
    assert canonical_bytes(document) == data
    assert (document["title"], document["says"]) == (TABLE.title, list(TABLE.says))
    assert document["opening"] == ["Scale smoke: 10 images.", "Not the paper's."]
    assert {key: document[key] for key in ORIGIN} == ORIGIN
    seeds = [
        (*cell["row"], ", ".join(cell["column"]), str(cell["paper"]), str(ours), str(fit))
        for cell in document["cells"]
        for ours, fit in zip(cell["accuracies"], cell["fit"], strict=True)
    ]
    keys = ("Radius", "Model", "column", "paper", "ours", "fit")
    assert seeds == [tuple(line[key] for key in keys) for line in read_csv(tmp_path) if line["seed"]]
    _, em, rem, _, missing = document["cells"]
    assert (em["mean"], em["std"], em["difference"]) == (14.0, 2.0, pytest.approx(0.8))
    assert rem["arm"] == {"name": "rem-u8-a4", "method": "rem", "rho_u": "8/255", "rho_a": "4/255", "eot": True}
    assert (missing["accuracies"], missing["mean"], missing["difference"]) == ([], None, None)


def test_rows_and_columns_that_are_not_kept_are_not_shown(tmp_path):
    text = write_table(tmp_path, shown(rows=ROWS[:1], columns=TABLE.columns[1:]), FOUND)
    assert "94.66" not in text
    assert "VGG-16" not in text
    assert "No clean victim was trained" in text
    assert {line["arm"] for line in read_csv(tmp_path)} == {"em-u8", "rem-u8-a4"}


def test_a_network_in_place_of_others_is_said(tmp_path):
    networks = {"resnet18": "small_net", "vgg16": "small_net", "resnet50": "never_shown"}
    text = write_table(tmp_path, shown(page=page(TABLE, networks=networks)), FOUND)
    assert "- small_net was trained in place of resnet18, vgg16." in text
    assert "never_shown" not in text
    assert "in place of" not in write_table(tmp_path, shown(), FOUND)


def test_nothing_measured_is_said(tmp_path):
    text = write_table(tmp_path, shown(), {})
    assert "- No victim was trained to the end." in text
    assert "±" not in text


def test_one_seed_has_no_spread(tmp_path):
    text = write_table(tmp_path, shown(), {CLEAN: FOUND[CLEAN]})
    assert "Seeds of each of our figures: 1; one has no spread." in text
    assert "±" not in text


@pytest.mark.parametrize(("fit", "warns"), [(89.9, True), (90.0, False)])
def test_clean_victims_that_fit_badly_warn(tmp_path, fit, warns):
    found = FOUND | {CLEAN: Measured((90.0, 91.0), (99.5, fit)), EM: Measured((14.0,), (20.0,))}
    text = write_table(tmp_path, shown(), found)
    assert ("these figures say little" in text) == warns
    assert f"{fit:.1f} %" in text


def test_times_stand_beside_the_papers_hours(tmp_path):
    document = {
        **{"kind": "times", "title": "Hours", "row_heads": ["Data"], "cell": {"rho_u": "8/255"}},
        "columns": [{"heads": [name.upper()], "method": name} for name in ("em", "tap", "rem")],
        "rows": {"cifar10": [{"heads": ["CIFAR-10"], "paper": [0.4, 0.5, 22.6]}]},
    }
    table = parse(document, "times")
    em, tap, _ = (cell.arm for cell in table.cells(table.rows["cifar10"][0]))
    wanted = shown(page=page(table, "hours"), table=table, rows=table.rows["cifar10"], columns=table.columns)
    text = write_times(tmp_path, wanted, {em: 42.4, tap: 5400.0})
    assert text.splitlines()[-6:-1] == [
        "| Data     |       |    EM |    TAP |    REM |",
        "| -------- | ----- | ----: | -----: | -----: |",
        "| CIFAR-10 | paper | 0.4 h |  0.5 h | 22.6 h |",
        "|          | ours  |  42 s | 1.50 h |      – |",
        "",
    ]
    assert text.splitlines()[-1].startswith("- The making of rem-u8-a0 was stopped on the way")
    lines = read_csv(tmp_path, "hours")
    assert [line["our_seconds"] for line in lines] == ["42.4", "5400.0", ""]
    cells = json.loads((tmp_path / "hours.json").read_bytes())["cells"]
    assert [(cell["paper_hours"], cell["our_seconds"]) for cell in cells] == [(0.4, 42.4), (0.5, 5400.0), (22.6, None)]
    assert (write_time(359), write_time(360)) == ("359 s", "0.10 h")


FIGURE = parse(
    {
        **{"kind": "lines", "title": "A figure", "dataset": "cifar10", "table": "table1", "cell": {"rho_u": "8/255"}},
        "lines": [{"name": "Clean", "method": "clean"}, {"name": "REM", "method": "rem", "rho_a": "4/255"}],
    },
    "figure of tests",
)


def test_a_line_joins_the_cells_of_its_noise():
    table = load("table1")
    rows = table.rows["cifar10"]
    measured = Measured((30.0, 32.0), (99.0, 99.0))
    joined = join_lines(FIGURE, table, rows[::2][::-1])
    clean, rem = list_lines(joined, {table.cells(rows[2])[8]: measured})
    assert (clean.name, rem.name) == ("Clean", "REM")
    assert clean.radii == rem.radii == [0, Fraction(2, 255), Fraction(4, 255)]
    assert (clean.paper, rem.paper) == ([94.66, 92.37, 89.51], [27.09, 30.69, 48.16])
    assert (clean.ours, rem.ours) == ([None] * 3, [None, measured, None])


def test_the_lines_of_a_figure_are_written_as_a_table(tmp_path):
    table = load("table1")
    joined = join_lines(FIGURE, table, table.rows["cifar10"][2:3])
    [row] = joined.rows["cifar10"]
    clean, rem = joined.cells(row)
    found = {clean: Measured((80.0,), (50.0,)), rem: Measured((30.0, 32.0), (99.0, 99.0))}
    drawn = shown(page=page(FIGURE), table=joined, rows=[row], columns=joined.columns)
    text = write_table(tmp_path, drawn, found)
    assert "![the figure](made-up.png)" in text
    assert "|                 | ours       |  80.0 | 31.0 ± 1.4 |" in text
    assert "fits its training images to only 50.0 %" in text
    assert [(line["column"], line["seed"], line["ours"]) for line in read_csv(tmp_path)] == [
        ("Clean", "0", "80.0"),
        ("REM", "0", "30.0"),
        ("REM", "1", "32.0"),
    ]
    document = json.loads((tmp_path / "made-up.json").read_bytes())
    of_rem = document["cells"][1]
    assert document["kind"] == "lines"
    assert (of_rem["fit"], of_rem["std"]) == ([99.0, 99.0], pytest.approx(2**0.5))
    assert of_rem["difference"] == pytest.approx(31 - 30.69)


CURVE = Curve(
    **{"architecture": "small_resnet", "threat": "standard", "trained_on": "clean", "seed": 0, "steps": [0, 10, 20]},
    **{"loss": [2.0, 1.0, 0.5], "train_accuracy": [0.1, 0.5, 1], "test_accuracy": [0.1, 0.4, 0.6]},
)


def test_curves_are_written_with_a_line_for_each_step(tmp_path):
    figure = load("figure2")
    cells = dict(zip((line.name for line in figure.lines[:2]), figure.cells()[:2], strict=True))
    lost = replace(CURVE, steps=[], loss=[], train_accuracy=[], test_accuracy=[])
    name, other = cells
    found = {cells[name]: Measured((60.0,), (50.0,))}
    text = write_curves(tmp_path, page(figure), cells, {name: CURVE, other: lost}, found)
    assert "| Clean, ordinary training |    20 |         0.500 |             100.0 |             60.0 |" in text
    assert "| EM, ordinary training    |     – |             – |                 – |                – |" in text
    assert "fits its training images to only 50.0 %" in text
    lines = read_csv(tmp_path)
    assert [(line["line"], line["step"], line["loss"], line["train_accuracy"]) for line in lines] == [
        *((name, "0", "2.0", "10.0"), (name, "10", "1.0", "50.0"), (name, "20", "0.5", "100")),
    ]
    assert lines[0] | ORIGIN == lines[0]
    first, second = json.loads((tmp_path / "made-up.json").read_bytes())["lines"]
    assert (first["fit"], first["steps"], first["test_accuracy"]) == (50.0, [0, 10, 20], [10, 40, 60])
    assert (second["fit"], second["steps"]) == (None, [])


def test_a_figure_of_pictures_has_a_page_without_numbers(tmp_path):
    text = write_pictures(tmp_path, page(load("figure3")))
    assert text.splitlines()[0] == "Scale smoke: 10 images."
    assert "here CIFAR-10, ρ_u = 8/255" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made-up.json", "made-up.md"]
