"""The paper's figures with our measurements, as SVG and PNG on white.

Colours are those of Okabe & Ito 2008 (Color universal design) that show on white, which the colour-blind tell apart;
each line has a marker of its own besides. The same values give the same bytes.
"""

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from rem_release.atomic_files import write_atomically
from rem_release.audit.curves import Curve
from rem_release.audit.report.plotting import DPI, PAPER, plain, plain_style, set_colours
from rem_release.data.images.png_writing import encode_png
from rem_release.release.figures import amplify_noise
from rem_release.reproduce.results import VALUES, RadiusLine, list_values

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_MARKERS = "osD^vPX*<>"
_DASHES = ("-", (0, (4, 2)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)))
_LONGEST = 60
"""letters of a name"""
_WIDTH = 7.5
"""inches, at least, of what has a legend"""
_MOST_COLUMNS = 3
"""of a legend"""
_LETTERS = 12
"""of a title that fit an inch, with room to spare"""
_MARKED = 6
Value = Literal["loss", "train_accuracy", "test_accuracy"]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One figure in two forms."""

    svg: bytes
    png: bytes

    def write(self, folder: Path, name: str) -> None:
        """Write NAME.svg and NAME.png into a folder that exists."""
        write_atomically(folder / f"{name}.svg", self.svg)
        write_atomically(folder / f"{name}.png", self.png)


def plot_lines(title: str, lines: Sequence[RadiusLine]) -> Figure:
    """Test accuracy over radius: ours solid, with the spread over seeds, beside the paper's dashed and thin.

    Args:
        title: of the figure.
        lines: in the order of the legend.

    Raises:
        ValueError: the values of a line are not of one length.
    """
    with plain_style():
        figure = Figure(figsize=(_WIDTH, 4.6), dpi=DPI, layout="constrained")
        axes = figure.add_subplot()
        handles = []
        for number, line in enumerate(lines):
            color, marker = COLOURS[number % len(COLOURS)], _MARKERS[number % len(_MARKERS)]
            _plot_line(axes, line, color, marker)
            handles.append(Line2D([], [], color=color, marker=marker, linewidth=2, label=plain(line.name, _LONGEST)))
        handles.append(Line2D([], [], color=PAPER.text, linewidth=2, label="ours"))
        handles.append(Line2D([], [], color=PAPER.text, linewidth=0.9, linestyle="--", label="the paper's"))
        axes.set_xlabel("radius of adversarial training, of 255 levels")
        axes.set_ylabel("test accuracy, %")
        axes.set_ylim(0, 100)
        return _finish(figure, title, handles)


def _plot_line(axes: Axes, line: RadiusLine, color: str, marker: str) -> None:
    places = sorted(zip(line.radii, line.paper, line.ours, strict=True), key=lambda place: place[0])
    levels = [float(255 * radius) for radius, _, _ in places]
    paper = [math.nan if figure is None else figure for _, figure, _ in places]
    means = [math.nan if ours is None else ours.mean for *_, ours in places]
    axes.plot(
        levels, paper, color=color, marker=marker, linestyle="--", linewidth=0.9, markersize=3, markerfacecolor="white"
    )
    axes.plot(levels, means, color=color, marker=marker, linewidth=2, markersize=6, clip_on=False)
    for level, (*_, ours) in zip(levels, places, strict=True):
        if ours is not None and ours.std is not None:
            axes.errorbar(level, ours.mean, ours.std, color=color, capsize=3)


def plot_curves(title: str, curves: Mapping[str, Curve], values: Sequence[Value]) -> Figure:
    """What was seen while victims trained, over the steps: one panel for each of `values`, one line for each curve.

    A value that is not finite leaves a gap.

    Args:
        title: of the figure.
        curves: name of a line -> its curve, in the order of the legend.
        values: at least one.
    """
    with plain_style():
        figure = Figure(figsize=(max(_WIDTH, 4.5 * len(values)), 4.6), dpi=DPI, layout="constrained")
        looks = choose_looks(list(curves))
        for number, value in enumerate(values, 1):
            axes = figure.add_subplot(1, len(values), number)
            for name, curve in curves.items():
                seen = np.asarray(list_values(curve)[value], float)
                shown = np.where(np.isfinite(seen), seen, np.nan)
                every = max(1, len(curve.steps) // _MARKED)
                axes.plot(curve.steps, shown, markevery=every, clip_on=False, **looks[name])
            axes.set_xlabel("training steps")
            axes.set_ylabel(VALUES[value])
            axes.set_xlim(left=0)
            axes.set_ylim(0, None if value == "loss" else 100)
        handles = [Line2D([], [], label=plain(name, _LONGEST), **look) for name, look in looks.items()]
        return _finish(figure, title, handles)


def choose_looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and dash of each line; up to 28 lines, no two share both colour and dash.

    Where names are a method and what it met, "EM, 4/255", the method has a colour, and what it met a dash.

    Args:
        names: different ones, in the order of the legend.
    """
    parts = [name.partition(", ")[::2] for name in names]
    methods, met = (list(dict.fromkeys(each)) for each in (zip(*parts, strict=True) if parts else ((), ())))
    by_part = 1 < len(met) <= len(_DASHES) and len(methods) <= len(COLOURS)
    looks = {}
    for number, (name, (method, other)) in enumerate(zip(names, parts, strict=True)):
        colour, dash = (methods.index(method), met.index(other)) if by_part else (number, number)
        looks[name] = {
            "color": COLOURS[colour % len(COLOURS)],
            "marker": _MARKERS[number % len(_MARKERS)],
            "linestyle": _DASHES[dash % len(_DASHES)],
            "linewidth": 1.6,
            "markersize": 4.5,
        }
    return looks


def plot_pictures(title: str, clean: np.ndarray, arms: Mapping[str, np.ndarray]) -> Figure:
    """Images with the noise of each arm: a row an image; the clean one, then noise and image with it for each arm.

    Noise is shown as the product of itself and the whole range over the largest of its arm, around mid grey.

    Args:
        title: of the figure.
        clean: uint8 [n, H, W, 3].
        arms: name -> the same images with its noise, uint8 [n, H, W, 3].

    Raises:
        ValueError: there is no image, or arrays are of another type or shape than these.
    """
    for images in (clean, *arms.values()):
        if images.dtype != np.uint8 or images.shape != clean.shape or images.ndim != 4 or not images.size:
            raise ValueError(f"expected uint8 {clean.shape}, not {images.dtype} {images.shape}")
    columns = [("clean", clean)]
    for name, protected in arms.items():
        noise = protected.astype(np.int16) - clean
        levels = max(1, int(np.abs(noise).max()))
        shown = "\n".join(plain(part, _LONGEST) for part in name.split(", "))
        columns += [(f"{shown}\nnoise × {127.5 / levels:.0f}", amplify_noise(noise, levels)), (shown, protected)]
    with plain_style():
        size = (1.15 * len(columns), 1.2 * len(clean) + 0.8)
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        for place in range(len(clean) * len(columns)):
            row, column = divmod(place, len(columns))
            axes = figure.add_subplot(len(clean), len(columns), place + 1)
            axes.imshow(columns[column][1][row], interpolation="nearest")
            axes.set_axis_off()
            if row == 0:
                axes.set_title(columns[column][0], fontsize=8, color=PAPER.text).set_parse_math(False)
        return _finish(figure, title, [])


def _finish(figure: Figure, title: str, handles: Sequence[Line2D]) -> Figure:
    """Add title and legend."""
    for axes in figure.axes:
        if axes.axison:
            set_colours(axes, PAPER)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    lines = textwrap.fill(title, int(_LETTERS * figure.get_figwidth()))
    words = figure.suptitle(lines, fontsize=10, color=PAPER.text)
    words.set_parse_math(False)
    if handles:
        _add_legend(figure, handles)
    return figure


def _add_legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    """Below the axes, with as many columns as there is room for."""
    for columns in range(_MOST_COLUMNS, 0, -1):
        legend = figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=columns,
            frameon=False,
            fontsize=9.5,
            handlelength=3.5,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
            text.set_color(PAPER.text)
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


def render(figure: Figure) -> Drawing:
    """Write both forms of a figure of this module."""
    with plain_style():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        png = encode_png(np.asarray(canvas.buffer_rgba())[..., :3])
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return Drawing(svg=stream.getvalue(), png=png)
