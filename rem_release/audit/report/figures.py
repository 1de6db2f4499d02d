"""The figures of an audit: accuracy by training radius, learning curves, and accuracy of each class."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from rem_release.audit.curves import Curve
from rem_release.audit.report.plotting import Panel, PlotColours, plain, to_png
from rem_release.radius import parse_radius
from rem_release.release.certificate import (
    CLASSES_FIGURE,
    CURVES_FIGURE,
    RADIUS_FIGURE,
    Accuracies,
    Certificate,
    RowFacts,
)

KINDS = ("clean", "random", "protected")
"""What victims were trained on, in the order in which it is plotted and told."""
_WORDS = {"clean": "originals", "random": "random noise", "protected": "protected"}
_MARKERS = {"clean": "s", "random": "^", "protected": "o"}
_DASHES = {"clean": "--", "random": "-.", "protected": "-"}
_MAX_NAMED = 30
_MARKED = 6


def plot_figures(certificate: Certificate, curves: Sequence[Curve]) -> dict[str, list[Panel]]:
    """The panels of each figure that has something to show, under the figure's path in the release."""
    panels = {
        RADIUS_FIGURE: _radius_panels(certificate),
        CURVES_FIGURE: _curve_panels(certificate, curves),
        CLASSES_FIGURE: _class_panels(certificate),
    }
    return {name: found for name, found in panels.items() if found}


def card_figures(certificate: Certificate, curves: Sequence[Curve]) -> dict[str, bytes]:
    """Bare PNG of the figures that have something to show, under their paths in the release.

    Args:
        certificate: of the audit.
        curves: of its victims, in any order; those of the first row's architecture are plotted.
    """
    return {name: to_png(panels) for name, panels in plot_figures(certificate, curves).items()}


def _radius_panels(certificate: Certificate) -> list[Panel]:
    """One panel an architecture, that of the first row first."""
    rows = [row for row in certificate.rows if row.radius is not None]
    names = dict.fromkeys(row.architecture for row in certificate.rows)
    by_name = {name: [row for row in rows if row.architecture == name] for name in names}
    return [
        Panel(
            name=f"radius-{number}",
            words=f"Test accuracy of {plain(name)} by training radius; the numbers are in the tables.",
            plot=partial(_plot_radii, certificate, found),
        )
        for number, (name, found) in enumerate(by_name.items())
        if found
    ]


def _levels(radius: str | None) -> float:
    """A radius in levels of 255; not rounded."""
    return float(parse_radius(radius) * 255)


def _plot_radii(certificate: Certificate, rows: list[RowFacts], axes: Axes, ink: PlotColours) -> None:
    rows = sorted(rows, key=lambda row: _levels(row.radius))
    radii = [_levels(row.radius) for row in rows]
    for kind in KINDS:
        found: list[Accuracies] = [getattr(row, kind) for row in rows]
        shares, look = [100 * facts.judged for facts in found], _look(kind, ink)
        axes.plot(radii, shares, label=_WORDS[kind], clip_on=False, **look)
        for radius, share, facts, row in zip(radii, shares, found, rows, strict=True):
            if row.seeds > 1:
                axes.errorbar(radius, share, 100 * facts.spread, capsize=3, color=look["color"])
    invalid = [(radius, 100 * row.protected.judged) for radius, row in zip(radii, rows, strict=True) if not row.valid]
    _mark_chance(certificate, axes.axhline, ink)
    axes.axvline(_levels(certificate.rho_a), color=ink.text, linewidth=0.9, label="ρ_a", zorder=1)
    if invalid:
        axes.plot(*zip(*invalid, strict=True), "x", color=ink.text, markersize=10, label="invalid row", clip_on=False)
    axes.set_title(plain(rows[0].architecture))
    axes.set_xlabel("radius of adversarial training, of 255 levels")
    _set_accuracy(axes, "test accuracy, %")
    plotted = [_levels(row.radius) for row in certificate.rows if row.radius is not None]
    axes.set_xlim(-0.4, max(*plotted, _levels(certificate.rho_a)) + 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def _mark_chance(certificate: Certificate, plot: Callable[..., Any], ink: PlotColours) -> None:
    plot(100 * certificate.chance, color=ink.text, linestyle=":", linewidth=1.2, label="chance")


def _look(kind: str, ink: PlotColours) -> dict[str, Any]:
    """Colour, marker and dash of one kind: any of the three tells it."""
    return {
        "color": getattr(ink, kind),
        "marker": _MARKERS[kind],
        "linestyle": _DASHES[kind],
        "linewidth": 2 if kind == "protected" else 1.5,
        "markersize": 5.5,
    }


def _set_accuracy(axes: Axes, label: str) -> None:
    axes.set_ylim(0, 100)
    axes.set_ylabel(label)


def _curve_panels(certificate: Certificate, curves: Sequence[Curve]) -> list[Panel]:
    """Accuracy and loss under ordinary training, then under adversarial training at ρ_a."""
    panels = []
    for name, radius in (("standard", "0"), ("adversarial", certificate.rho_a)):
        row = _find_row(certificate, radius)
        found = [] if row is None else _pick_curves(row, curves)
        if row is None or not found:
            continue
        kinds: list[tuple[str, str, Callable[..., None]]] = [
            ("accuracy", "Accuracy", _plot_accuracy),
            ("loss", "Training loss", _plot_loss),
        ]
        panels += [
            Panel(
                name=f"curves-{name}-{kind}",
                words=f"{what} of {plain(row.architecture)} while it trains: {row.words}.",
                plot=partial(plot, row, found),
            )
            for kind, what, plot in kinds
        ]
    return panels


def _find_row(certificate: Certificate, radius: str) -> RowFacts | None:
    """The row of the first row's architecture at that radius."""
    first = certificate.rows[0].architecture if certificate.rows else None
    rows = [row for row in certificate.rows if row.architecture == first and row.radius is not None]
    return next((row for row in rows if parse_radius(row.radius) == parse_radius(radius)), None)


def _pick_curves(row: RowFacts, curves: Sequence[Curve]) -> list[Curve]:
    """The curves of a row's victims, in the order of plotting."""
    found = [
        curve
        for curve in curves
        if (curve.architecture, curve.threat) == (row.architecture, row.threat)
        and curve.trained_on in KINDS
        and curve.steps
    ]
    return sorted(found, key=lambda curve: (KINDS.index(curve.trained_on), curve.seed))


def _plot_accuracy(row: RowFacts, curves: list[Curve], axes: Axes, ink: PlotColours) -> None:
    for curve in curves:
        _plot_line(curve, 100 * np.asarray(curve.test_accuracy), "-", axes, ink)
        _plot_line(curve, 100 * np.asarray(curve.train_accuracy), "--", axes, ink)
    for dash, name in (("-", "test"), ("--", "train")):
        axes.plot([], [], color=ink.text, linestyle=dash, label=name)
    _set_accuracy(axes, "accuracy, %")
    _set_steps(row, axes)


def _plot_loss(row: RowFacts, curves: list[Curve], axes: Axes, ink: PlotColours) -> None:
    for curve in curves:
        _plot_line(curve, np.asarray(curve.loss), "--", axes, ink)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("training loss")
    _set_steps(row, axes)


def _plot_line(curve: Curve, values: np.ndarray, dash: str, axes: Axes, ink: PlotColours) -> None:
    """A value that is not finite leaves a gap."""
    look = _look(curve.trained_on, ink) | {"linestyle": dash, "linewidth": 1.4, "markersize": 4.5}
    shown = np.where(np.isfinite(values), values, np.nan)
    every = max(1, len(curve.steps) // _MARKED)
    axes.plot(curve.steps, shown, label=_WORDS[curve.trained_on], markevery=every, clip_on=False, **look)


def _set_steps(row: RowFacts, axes: Axes) -> None:
    axes.set_title(plain(row.words, 44))
    axes.set_xlabel("training steps")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _class_panels(certificate: Certificate) -> list[Panel]:
    """The row that decides, class by class: bars with names, or dots in order of accuracy where classes are many."""
    row = certificate.deciding_row
    if row is None:
        return []
    count = len(certificate.classes)
    few = count <= _MAX_NAMED
    panel = Panel(
        name="classes",
        words=f"Test accuracy of each class: {plain(row.words, 80)}, {plain(row.architecture)}; the numbers follow.",
        plot=partial(_plot_bars if few else _plot_ranks, certificate, row),
        height=1.3 + 0.36 * max(count, 3) if few else 3.3,
    )
    return [panel]


def _plot_bars(certificate: Certificate, row: RowFacts, axes: Axes, ink: PlotColours) -> None:
    places = np.arange(len(certificate.classes))
    for kind, shift, fill in (("clean", -0.2, "none"), ("protected", 0.2, ink.protected)):
        shares = [100 * share for share in getattr(row, kind).per_class]
        edge = getattr(ink, kind)
        axes.barh(places + shift, shares, 0.34, color=fill, edgecolor=edge, linewidth=1.3, label=_WORDS[kind])
    names = axes.set_yticks(places, [plain(name, 16) for name in certificate.classes])
    for tick in names:
        tick.label1.set_parse_math(False)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    _mark_chance(certificate, axes.axvline, ink)
    axes.set_xlim(0, 100)
    axes.set_xlabel("test accuracy, %")


def _plot_ranks(certificate: Certificate, row: RowFacts, axes: Axes, ink: PlotColours) -> None:
    order = np.argsort(row.protected.per_class, kind="stable")
    for kind in ("clean", "protected"):
        look = _look(kind, ink) | {"linestyle": "none", "markersize": 3.5}
        if kind == "clean":
            look["markerfacecolor"] = "none"
        shares = 100 * np.asarray(getattr(row, kind).per_class)
        axes.plot(np.arange(1, len(order) + 1), shares[order], label=_WORDS[kind], **look)
    _mark_chance(certificate, axes.axhline, ink)
    axes.set_xlabel(f"the {len(order)} classes, by accuracy from protected images")
    _set_accuracy(axes, "test accuracy, %")
