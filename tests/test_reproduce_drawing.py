"""The figures that `reproduce` draws: what is in them, that all of it can be read, and that lines are told apart."""

import io
import itertools
import xml.etree.ElementTree as ET
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from rem_release.audit.curves import Curve
from rem_release.reproduce.drawing import COLOURS, choose_looks, plot_curves, plot_lines, plot_pictures, render
from rem_release.reproduce.paper import load
from rem_release.reproduce.results import Measured, RadiusLine


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


VALUES = ("loss", "train_accuracy", "test_accuracy")
DRAWN = {
    "lines": lambda: render(plot_lines("Lines", make_lines(9))),
    "curves": lambda: render(plot_curves("Curves", make_curves(9), VALUES)),
    "pictures": lambda: render(plot_pictures("Pictures", *make_pictures())),
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
    assert render(plot_lines("Lines", [moved, *rest])).png != drawings["lines"].png
    with pytest.raises(ValueError, match="shorter"):
        plot_lines("Lines", [RadiusLine(name="short", radii=line.radii, paper=[1.0], ours=line.ours)])


def test_ours_are_solid_with_a_bar_and_the_papers_dashed():
    radii = [Fraction(0), Fraction(1, 255)]
    seeds, one = Measured((40.0, 60.0), (99.0, 99.0)), Measured((50.0,), (99.0,))

    def strokes(paper, ours):
        """Styles of the strokes in the first colour, the legend's one aside."""
        drawing = render(plot_lines("Lines", [RadiusLine(name="one", radii=radii, paper=paper, ours=ours)]))
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
        plot_pictures("Pictures", clean, {"other": arms["arm 8"][:1]})


TITLE = "A title of many words that says what is drawn, and the scale, and the images, and a warning. " * 4
LONG = "a name as long as a legend shows it, sixty letters, line {}"
CURVE = next(iter(make_curves(1).values()))
LAID_OUT = {
    "lines": lambda: plot_lines(TITLE, [replace(line, name=LONG.format(line.name)) for line in make_lines(9)]),
    "one panel": lambda: plot_curves(TITLE, {line.name: CURVE for line in load("figure2").lines}, ["loss"]),
    "long names": lambda: plot_curves(TITLE, {LONG.format(n): CURVE for n in range(9)}, ["loss"]),
    "three panels": lambda: plot_curves(TITLE, make_curves(9), VALUES),
}


@pytest.mark.parametrize("name", LAID_OUT)
def test_title_and_legend_lie_inside_the_figure(name):
    figure = LAID_OUT[name]()
    render(figure)
    [title], [legend] = figure.texts, figure.legends
    assert len(legend.get_texts()) >= 9
    for part in (title, *legend.get_texts(), *legend.legend_handles):
        box = part.get_window_extent()
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, part
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, part
    for axes in figure.axes:
        assert not title.get_window_extent().overlaps(axes.get_window_extent())
        assert axes.get_window_extent().height > 100


@pytest.mark.parametrize("figure", ["figure3", "figure4"])
def test_heads_of_pictures_are_whole_and_do_not_overlap(figure):
    names = [line.name for line in load(figure).lines]
    clean, arms = make_pictures()
    drawn = plot_pictures(TITLE, clean, dict.fromkeys(names, arms["arm 8"]))
    render(drawn)
    heads = [axes.title for axes in drawn.axes if axes.get_title()]
    assert [head.get_text() for head in heads[2::2]] == [name.replace(", ", "\n") for name in names]
    boxes = [head.get_window_extent() for head in heads]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert all(drawn.bbox.x0 <= box.x0 and box.x1 <= drawn.bbox.x1 for box in boxes)


@pytest.mark.parametrize("names", [[line.name for line in load("figure2").lines], [f"line {n}" for n in range(28)]])
def test_no_two_lines_share_colour_and_dash(names):
    looks = choose_looks(names)
    assert len({(look["color"], look["linestyle"]) for look in looks.values()}) == len(names)


def test_a_method_has_a_colour_and_a_radius_a_dash():
    looks = choose_looks([line.name for line in load("figure2").lines])
    of_em = [looks[name] for name in ("EM, ordinary training", "EM, 2/255", "EM, 4/255")]
    assert len({look["color"] for look in of_em}) == 1
    assert looks["REM, 4/255"]["linestyle"] == looks["EM, 4/255"]["linestyle"]
    assert len({look["marker"] for look in looks.values()}) == 9


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
