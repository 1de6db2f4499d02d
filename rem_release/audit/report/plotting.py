"""One plot, two outputs: SVG that follows the colours of its page, and a bare PNG on white.

A plot is a row of panels. As SVG each panel is an image of its own, so that a page can set them side by side or one
below the other; as PNG they are one image.
"""

import io
import math
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import numpy as np
from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rem_release.data.images.png_writing import encode_png

_WIDTH = 4.5
_MAX_COLUMNS = 2
DPI = 150
_SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "rem-release",
}
_LINK = "{http://www.w3.org/1999/xlink}href"


@dataclass(frozen=True, kw_only=True)
class PlotColours:
    """The colours of a plot, as `#rrggbb`."""

    text: str
    grid: str
    protected: str
    clean: str
    random: str


PAPER = PlotColours(text="#1f2328", grid="#d0d7de", protected="#c2410c", clean="#0860b0", random="#6e7781")
"""For a white page. The three kinds keep apart for the colour-blind, and differ in marker and dash besides."""
_PAGE = PlotColours(text="#010a01", grid="#010a02", protected="#010a03", clean="#010a04", random="#010a05")
_VARIABLES = {colour: f"var(--{name})" for name, colour in asdict(_PAGE).items()}
"""Stand-ins, which `to_svg` replaces by the custom properties of the page: --text, --grid and so on."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes."""

    name: str
    """Letters, digits and hyphens; differs from that of every other panel of a page."""
    words: str
    """What a reader who cannot see it is told."""
    plot: Callable[[Axes, PlotColours], None]
    height: float = 3.3
    """In inches, of a panel 4.5 inches wide."""


def to_svg(panel: Panel) -> str:
    """Plot one panel as an `<svg>` element for the inside of an HTML page: no background, text as text, no addresses.

    The page defines the custom properties --text, --grid, --protected, --clean and --random.
    """
    stream = io.StringIO()
    with plain_style():
        figure = _compose([panel], _PAGE)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    root = ET.fromstring(stream.getvalue())
    _simplify(root, f"{panel.name}-")
    view = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib.update({"viewBox": view, "role": "img", "aria-label": panel.words})
    return ET.tostring(root, encoding="unicode")


def to_png(panels: Sequence[Panel]) -> bytes:
    """Plot all panels as one bare PNG on white, at most two in a row."""
    with plain_style():
        canvas = FigureCanvasAgg(_compose(panels, PAPER))
        canvas.draw()
        return encode_png(np.asarray(canvas.buffer_rgba())[..., :3])


@contextmanager
def plain_style() -> Iterator[None]:
    """The library's own defaults, whatever its user configured; a letter that its font lacks is not worth a warning."""
    with style.context(["default", _SETTINGS]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def _compose(panels: Sequence[Panel], ink: PlotColours) -> Figure:
    columns = min(len(panels), _MAX_COLUMNS)
    rows = math.ceil(len(panels) / columns)
    height = max(panel.height for panel in panels)
    figure = Figure(figsize=(_WIDTH * columns, height * rows), dpi=DPI, layout="constrained")
    handles: dict[str, Artist] = {}
    for number, panel in enumerate(panels, 1):
        axes = figure.add_subplot(rows, columns, number)
        set_colours(axes, ink)
        panel.plot(axes, ink)
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        labelcolor=ink.text,
        fontsize=9.5,
    )
    return figure


def set_colours(axes: Axes, ink: PlotColours) -> None:
    """Words, frame and grid of a pair of axes; names stand as they are, whatever they mean in mathematics."""
    axes.tick_params(colors=ink.text)
    axes.grid(color=ink.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_color(ink.text)
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
        text.set_color(ink.text)
        text.set_parse_math(False)


def _simplify(root: ET.Element, prefix: str) -> None:
    """Drop namespaces, styles for the whole page, fonts and unused ids; make the other ids the panel's own."""
    links = " ".join(value for element in root.iter() for value in element.attrib.values() if "#" in value)
    used = set(re.findall(r"#([\w.-]+)", links))
    for element in root.iter():
        element.tag = element.tag.partition("}")[2]
        for child in [child for child in element if child.tag.endswith("}style")]:
            element.remove(child)
        if (name := element.attrib.pop("id", None)) in used:
            element.set("id", f"{prefix}{name}")
        if link := element.attrib.pop(_LINK, None):
            element.set("href", f"#{prefix}{link[1:]}")
        if "clip-path" in element.attrib:
            element.set("clip-path", element.attrib["clip-path"].replace("#", f"#{prefix}"))
        if "style" in element.attrib:
            element.set("style", _write_style(element.attrib["style"]))


def _write_style(text: str) -> str:
    styles = [style.strip() for style in text.split(";") if not style.strip().startswith("font-family")]
    written = "; ".join(styles)
    for colour, variable in _VARIABLES.items():
        written = written.replace(colour, variable)
    return written


def plain(text: str, most: int = 28) -> str:
    """A name as one line of printable text, cut where it is long."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
