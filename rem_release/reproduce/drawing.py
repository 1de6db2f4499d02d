"""The paper's figures with our measurements, as SVG and PNG on white.

Colours are those of Okabe & Ito 2008 (Color universal design) that show on white, which the colour-blind tell apart;
each line has a marker or a dash of its own besides. The same values give the same bytes.
"""

import io
import math
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
from rem_release.reproduce.results import RadiusLine

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_MARKERS = "osD^vPX*<>"
_DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)))
_LONGEST = 60
"""letters of a name"""
_MARKED = 6
_VALUES = {"loss": "training loss", "train_accuracy": "train accuracy, %", "test_accuracy": "test accuracy, %"}
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


def draw_lines(title: str, lines: Sequence[RadiusLine]) -> Drawing:
    """Test accuracy over radius: ours solid, with the spread over seeds, beside the paper's dashed and thin.

    Args:
        title: of the figure.
        lines: in the order of the legend.

    Raises:
        ValueError: the values of a line are not of one length.
    """
    with plain_style():
        figure = Figure(figsize=(7.5, 4.6), dpi=DPI, layout="constrained")
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
        if ours is not None and ours.spread is not None:
            axes.errorbar(level, ours.mean, ours.spread, color=color, capsize=3)


def draw_curves(title: str, curves: Mapping[str, Curve], values: Sequence[Value]) -> Drawing:
    """What was seen while victims trained, over the steps: one panel for each of `values`, one line for each curve.

    A value that is not finite leaves a gap.

    Args:
        title: of the figure.
        curves: name of a line -> its curve, in the order of the legend.
        values: at least one.
    """
    with plain_style():
        figure = Figure(figsize=(4.5 * len(values), 4.2), dpi=DPI, layout="constrained")
        looks = {name: _look(number) for number, name in enumerate(curves)}
        for number, value in enumerate(values, 1):
            axes = figure.add_subplot(1, len(values), number)
            for name, curve in curves.items():
                seen = np.asarray(getattr(curve, value), float) * (1 if value == "loss" else 100)
                shown = np.where(np.isfinite(seen), seen, np.nan)
                every = max(1, len(curve.steps) // _MARKED)
                axes.plot(curve.steps, shown, markevery=every, clip_on=False, **looks[name])
            axes.set_xlabel("training steps")
            axes.set_ylabel(_VALUES[value])
            axes.set_xlim(left=0)
            axes.set_ylim(0, None if value == "loss" else 100)
        handles = [Line2D([], [], label=plain(name, _LONGEST), **look) for name, look in looks.items()]
        return _finish(figure, title, handles)


def _look(number: int) -> dict[str, Any]:
    """Colour, marker and dash of a line."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": _MARKERS[number % len(_MARKERS)],
        "linestyle": _DASHES[number % len(_DASHES)],
        "linewidth": 1.6,
        "markersize": 4.5,
    }


def draw_pictures(title: str, clean: np.ndarray, arms: Mapping[str, np.ndarray]) -> Drawing:
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
        shown = plain(name, 24)
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


def _finish(figure: Figure, title: str, handles: Sequence[Line2D]) -> Drawing:
    """Add title and legend, and write both forms."""
    for axes in figure.axes:
        if axes.axison:
            set_colours(axes, PAPER)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    words = figure.suptitle(" ".join(title.split()), fontsize=11, wrap=True, color=PAPER.text)
    words.set_parse_math(False)
    if handles:
        legend = figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9.5)
        for text in legend.get_texts():
            text.set_parse_math(False)
            text.set_color(PAPER.text)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    png = encode_png(np.asarray(canvas.buffer_rgba())[..., :3])
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return Drawing(svg=stream.getvalue(), png=png)
