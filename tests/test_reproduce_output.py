"""What `reproduce` shows: tables beside the paper's, and figures."""

import csv
import io
import itertools
import json
import xml.etree.ElementTree as ET
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from rem_release.audit.curves import Curve
from rem_release.release.canonical import canonical_bytes
from rem_release.reproduce.drawing import COLOURS, draw_curves, draw_lines, draw_pictures
from rem_release.reproduce.paper import load, parse
from rem_release.reproduce.rendering import Shown, write_table, write_time, write_times
from rem_release.reproduce.results import Measured, RadiusLine, join_lines

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
FIELDS = ["column", "arm", "threat", "architecture", "network", "part", "paper", "seed", "ours", "fit"]


def shown(**changes):
    settings = {"name": "made-up", "table": TABLE, "dataset": "cifar10", "rows": ROWS, "columns": TABLE.columns}
    return Shown(**(settings | {"opening": ["Scale smoke: 10 images.", "Not the paper's."]} | changes))


def read_csv(folder, name="made-up"):
    with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_mean_and_spread_are_those_of_a_sample():
    several = Measured((12.0, 14.0, 16.0), (98.0, 99.0, 100.0))
    assert (several.mean, several.spread) == (14.0, 2.0)  # sqrt((4 + 0 + 4) / 2)
    assert (Measured((31.5,), (99.0,)).mean, Measured((31.5,), (99.0,)).spread) == (31.5, None)


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
        "- Differences are ours less the paper's, in percentage points.",
        "- Clean victims fit their training images to 97.0 % or more.",
    ]


def test_the_csv_has_a_line_for_each_seed_and_loses_no_digit(tmp_path):
    found = FOUND | {CLEAN: Measured((100 / 3,), (200 / 3,))}
    write_table(tmp_path, shown(networks={"vgg16": "small_vgg"}), found)
    lines = read_csv(tmp_path)
    assert list(lines[0]) == ["dataset", "Radius", "Model", *FIELDS]
    assert [(line["column"], line["seed"]) for line in lines] == [
        *[("Clean", "0"), *(("EM, 20 % | mixed", str(seed)) for seed in range(3)), ("REM", "0")],
        *[("Clean", "0"), ("EM, 20 % | mixed", "")],
    ]
    assert (float(lines[0]["ours"]), float(lines[0]["fit"])) == (100 / 3, 200 / 3)
    assert [(float(line["ours"]), float(line["fit"])) for line in lines[1:4]] == [(12, 98), (14, 99), (16, 100)]
    assert lines[4]["arm"] == "rem-u8-a4"
    assert lines[5] | {"ours": "", "fit": ""} == {
        **{"dataset": "cifar10", "Radius": "2/255", "Model": "VGG-16", "column": "Clean", "arm": "clean"},
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
    seeds = [
        (*cell["row"], ", ".join(cell["column"]), str(cell["paper"]), str(ours), str(fit))
        for cell in document["cells"]
        for ours, fit in zip(cell["accuracies"], cell["fit"], strict=True)
    ]
    keys = ("Radius", "Model", "column", "paper", "ours", "fit")
    assert seeds == [tuple(line[key] for key in keys) for line in read_csv(tmp_path) if line["seed"]]
    _, em, rem, _, missing = document["cells"]
    assert (em["mean"], em["spread"], em["difference"]) == (14.0, 2.0, pytest.approx(0.8))
    assert rem["arm"] == {"name": "rem-u8-a4", "method": "rem", "rho_u": "8/255", "rho_a": "4/255", "eot": True}
    assert (missing["accuracies"], missing["mean"], missing["difference"]) == ([], None, None)


def test_rows_and_columns_that_are_not_kept_are_not_shown(tmp_path):
    text = write_table(tmp_path, shown(rows=ROWS[:1], columns=TABLE.columns[1:]), FOUND)
    assert "94.66" not in text
    assert "VGG-16" not in text
    assert "No clean victim was trained" in text
    assert {line["arm"] for line in read_csv(tmp_path)} == {"em-u8", "rem-u8-a4"}


def test_nothing_measured_is_said(tmp_path):
    text = write_table(tmp_path, shown(), {})
    assert "- No victim was trained." in text
    assert "±" not in text


def test_one_seed_has_no_spread(tmp_path):
    text = write_table(tmp_path, shown(), {CLEAN: FOUND[CLEAN]})
    assert "Seeds of each of our figures: 1; one has no spread." in text
    assert "±" not in text


@pytest.mark.parametrize(("fit", "warns"), [(89.9, True), (90.0, False)])
def test_clean_victims_that_fit_badly_warn(tmp_path, fit, warns):
    found = FOUND | {CLEAN: Measured((90.0, 91.0), (99.5, fit)), EM: Measured((14.0,), (20.0,))}
    text = write_table(tmp_path, shown(), found)
    assert ("these rows say little" in text) == warns
    assert f"{fit:.1f} %" in text


def test_times_stand_beside_the_papers_hours(tmp_path):
    document = {
        **{"kind": "times", "title": "Hours", "row_heads": ["Data"], "cell": {"rho_u": "8/255"}},
        "columns": [{"heads": [name.upper()], "method": name} for name in ("em", "tap", "rem")],
        "rows": {"cifar10": [{"heads": ["CIFAR-10"], "paper": [0.4, 0.5, 22.6]}]},
    }
    table = parse(document, "times")
    em, tap, _ = (cell.arm for cell in table.cells(table.rows["cifar10"][0]))
    wanted = shown(name="hours", table=table, rows=table.rows["cifar10"], columns=table.columns)
    text = write_times(tmp_path, wanted, {em: 42.4, tap: 5400.0})
    assert text.splitlines()[-4:] == [
        "| Data     |       |    EM |    TAP |    REM |",
        "| -------- | ----- | ----: | -----: | -----: |",
        "| CIFAR-10 | paper | 0.4 h |  0.5 h | 22.6 h |",
        "|          | ours  |  42 s | 1.50 h |      – |",
    ]
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
    clean, rem = join_lines(FIGURE, table, rows[::2][::-1], {table.cells(rows[2])[8]: measured})
    assert (clean.name, rem.name) == ("Clean", "REM")
    assert rem.radii == [0, Fraction(2, 255), Fraction(4, 255)]
    assert (clean.paper, rem.paper) == ([94.66, 92.37, 89.51], [27.09, 30.69, 48.16])
    assert (clean.ours, rem.ours) == ([None] * 3, [None, measured, None])


def make_lines(count):
    radii = [Fraction(level, 255) for level in range(4)]
    ours = [Measured((50.0, 52.0), (99.0, 99.0)), None, Measured((70.0,), (99.0,)), None]
    return [
        RadiusLine(name=f"arm {n}, $ρ_a$ <{n}/255>", radii=radii, paper=[20.0 + n, None, 40, 50], ours=ours)
        for n in range(count)
    ]


def make_curves(count):
    values = {"loss": [2.0, float("nan"), 0.5], "train_accuracy": [0.1, 0.5, 1], "test_accuracy": [0.1, 0.4, 0.6]}
    settings = {"architecture": "resnet18", "threat": "standard", "trained_on": "clean", "seed": 0}
    return {f"curve {n} & co": Curve(**settings, steps=[0, 10, 20], **values) for n in range(count)}


def make_pictures():
    draws = np.random.default_rng(0)
    clean = draws.integers(20, 236, (2, 8, 8, 3), dtype=np.uint8)
    return clean, {
        f"arm {levels}": (clean + draws.choice([-levels, 0, levels], clean.shape)).astype(np.uint8)
        for levels in (8, 16)
    }


DRAWN = {
    "lines": lambda: draw_lines("Lines", make_lines(9)),
    "curves": lambda: draw_curves("Curves", make_curves(9), ("loss", "train_accuracy", "test_accuracy")),
    "pictures": lambda: draw_pictures("Pictures", *make_pictures()),
}
NAMES = {
    "lines": [*(line.name for line in make_lines(9)), "ours", "the paper's"],
    "curves": [*make_curves(9), "training loss", "train accuracy, %", "test accuracy, %"],
    "pictures": ["clean", "arm 8", "noise × 16", "arm 16", "noise × 8"],
}


@pytest.fixture(scope="module")
def drawings():
    return {name: draw() for name, draw in DRAWN.items()}


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_values_give_the_same_bytes(drawings, name):
    again = DRAWN[name]()
    assert (again.svg, again.png) == (drawings[name].svg, drawings[name].png)


@pytest.mark.parametrize("name", DRAWN)
def test_svg_and_png_can_be_read_and_name_all(drawings, name, tmp_path):
    drawings[name].write(tmp_path, name)
    root = ET.parse(tmp_path / f"{name}.svg").getroot()
    words = [" ".join("".join(element.itertext()).split()) for element in root.iter() if element.tag.endswith("}text")]
    assert set(NAMES[name]) <= set(words)
    assert b"<dc:date>" not in drawings[name].svg
    with Image.open(tmp_path / f"{name}.png") as image:
        assert image.mode == "RGB"
        assert image.getpixel((0, 0)) == (255, 255, 255)


def test_values_move_the_drawing(drawings):
    line, *rest = make_lines(9)
    moved = RadiusLine(name=line.name, radii=line.radii, paper=[*line.paper[:-1], 51], ours=line.ours)
    assert draw_lines("Lines", [moved, *rest]).png != drawings["lines"].png
    with pytest.raises(ValueError, match="shorter"):
        draw_lines("Lines", [RadiusLine(name="short", radii=line.radii, paper=[1.0], ours=line.ours)])


def test_ours_are_solid_with_a_bar_and_the_papers_dashed():
    radii = [Fraction(0), Fraction(1, 255)]
    seeds, one = Measured((40.0, 60.0), (99.0, 99.0)), Measured((50.0,), (99.0,))

    def strokes(paper, ours):
        """Styles of the strokes in the first colour, the legend's one aside."""
        drawing = draw_lines("Lines", [RadiusLine(name="one", radii=radii, paper=paper, ours=ours)])
        paths = [path for path in ET.fromstring(drawing.svg).iter() if path.tag.endswith("}path") and path.get("d")]
        styles = [path.get("style", "") for path in paths]
        return [style for style in styles if COLOURS[0] in style and "fill: none" in style][:-1]

    assert strokes([None, None], [None, None]) == []
    (dashed,) = strokes([50.0, 60.0], [None, None])
    assert "dasharray" in dashed
    assert "stroke-width: 0.9" in dashed
    (solid,) = strokes([None, None], [one, one])
    assert "dasharray" not in solid
    assert "stroke-width: 2" in solid
    assert len(strokes([None, None], [seeds, one])) > 1  # the bar


def test_noise_is_amplified_to_the_whole_range(drawings):
    svg = drawings["pictures"].svg.decode()
    assert svg.count("<image") == 2 * 5
    pixels = np.asarray(Image.open(io.BytesIO(drawings["pictures"].png)))
    colours = {tuple(colour) for colour in pixels.reshape(-1, 3)}
    assert {(0, 0, 0), (255, 255, 255), (128, 128, 128)} <= colours
    clean, arms = make_pictures()
    assert all(tuple(pixel) in colours for pixel in clean.reshape(-1, 3))
    with pytest.raises(ValueError, match="expected uint8"):
        draw_pictures("Pictures", clean, {"other": arms["arm 8"][:1]})


MACHADO = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
}
"""Machado, Oliveira & Fernandes 2009, severity 1, on linear RGB"""


def see(colour, matrix):
    """CIE L*a*b* of `#rrggbb` as it is seen."""
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(matrix) @ linear, 0, 1)
    return rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("vision", MACHADO)
def test_the_colour_blind_tell_all_lines_apart(vision):
    """A difference of 2.3 can just be noticed; white is the ground."""
    seen = [see(colour, MACHADO[vision]) for colour in (*COLOURS, "#ffffff")]
    assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2)) > 15
    red_green = [see(colour, MACHADO["deuteranopia"]) for colour in ("#d62728", "#8c8c00")]
    assert np.linalg.norm(red_green[0] - red_green[1]) < 15  # a pair that such a palette may not hold
