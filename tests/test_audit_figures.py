import io
import math
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from PIL import Image

from rem_release.audit.report.figures import card_figures, plot_figures
from rem_release.audit.report.plotting import PAPER, to_svg
from rem_release.release.certificate import AUDIT_FIGURES, CLASSES_FIGURE, CURVES_FIGURE, RADIUS_FIGURE
from rem_release.verification.png import inspect_png, read_png
from tests.certificates import MEASURED, make_certificate, make_curves, make_row, measure

HOSTILE = [
    '</svg><script>alert("x")</script>',
    "a & b",
    "$\\frac{a}$",
    "#010a03 url(#x) id='y'",
    "two\nlines \x07",
    "猫",
]


@pytest.fixture(scope="module")
def pngs():
    certificate = make_certificate()
    return card_figures(certificate, make_curves(certificate))


@pytest.fixture(scope="module")
def svgs():
    """(panel, its SVG) of every panel."""
    certificate = make_certificate()
    plotted = plot_figures(certificate, make_curves(certificate))
    return [(panel, to_svg(panel)) for found in plotted.values() for panel in found]


def panels(certificate, name, curves=None):
    return plot_figures(certificate, make_curves(certificate) if curves is None else curves).get(name, [])


def draw(panel):
    """The panel's own axes, so that what was drawn can be read back."""
    axes = Figure().add_subplot()
    panel.plot(axes, PAPER)
    return axes


def lines(axes):
    """Points of each labelled line."""
    found = {}
    for line in axes.lines:
        if len(line.get_xdata()) > 0:
            found.setdefault(line.get_label(), []).append((list(line.get_xdata()), list(line.get_ydata())))
    return found


def words(svg):
    return [element.text for element in ET.fromstring(svg).iter("text")]


def test_all_figures_are_bare_and_named_as_the_release_expects(pngs):
    assert tuple(pngs) == AUDIT_FIGURES
    for png in pngs.values():
        pixels, reasons = read_png(png)
        assert reasons == []
        assert (pixels[0, 0] == 255).all()
        assert len(np.unique(pixels.astype(np.uint32) @ (1, 256, 65536))) > 20


def test_accuracy_by_radius_is_that_of_the_rows():
    first, second = panels(make_certificate(), RADIUS_FIGURE)
    axes = draw(first)
    plotted = lines(axes)
    assert axes.get_title() == "resnet18"
    assert plotted["protected"] == [([0, 2, 4, 8], pytest.approx([27.12, 30.7, 48.17, 83.99]))]
    assert plotted["originals"] == [([0, 2, 4, 8], pytest.approx([94, 92, 90, 85]))]
    assert plotted["random noise"] == [([0, 2, 4, 8], pytest.approx([93.1, 92, 89, 86]))]
    assert plotted["chance"][0][1] == pytest.approx([10, 10])
    assert plotted["ρ_a"][0][0] == pytest.approx([4, 4])
    assert "invalid row" not in plotted
    assert draw(second).get_title() == "densenet121"
    assert lines(draw(second))["protected"] == [([0, 4], pytest.approx([30.16, 80]))]


def test_spread_is_drawn_only_where_seeds_are_several():
    def bars(seeds):
        (panel,) = panels(make_certificate([make_row(seeds=seeds)]), RADIUS_FIGURE)
        return [container for container in draw(panel).containers if container.has_yerr]

    assert bars(1) == []
    low, high = sorted(bars(3)[2].lines[2][0].get_segments()[0][:, 1])
    assert (low, high) == pytest.approx((27.12 - 1.23, 27.12 + 1.23))


def test_invalid_rows_are_crossed_out():
    rows = [make_row(*MEASURED[0]), make_row(*MEASURED[2], valid=False, reason="weak")]
    plotted = lines(draw(panels(make_certificate(rows), RADIUS_FIGURE)[0]))
    assert plotted["invalid row"] == [([2], pytest.approx([30.7]))]


def test_curves_are_of_the_first_architecture_under_ordinary_and_adversarial_training():
    certificate = make_certificate()
    found = panels(certificate, CURVES_FIGURE)
    names = [f"curves-{threat}-{part}" for threat in ("standard", "adversarial") for part in ("accuracy", "loss")]
    assert [panel.name for panel in found] == names
    accuracy, loss = lines(draw(found[2])), lines(draw(found[1]))
    assert len(accuracy["protected"]) == 6  # three seeds, test and train
    steps, values = accuracy["protected"][0]
    assert steps[-1] == 1200
    assert values[-1] == pytest.approx(48.2, abs=0.2)
    assert len(loss["originals"]) == 3
    assert "48.2" not in str(lines(draw(found[0])))


def test_test_accuracy_is_solid_and_train_accuracy_dashed():
    certificate = make_certificate([make_row(seeds=1)])
    axes = draw(panels(certificate, CURVES_FIGURE)[0])
    dashes = {round(line.get_ydata()[-1]): line.get_linestyle() for line in axes.lines if len(line.get_xdata())}
    assert dashes[27] == "-"
    assert dashes[99] == "--"


def test_a_loss_that_is_not_finite_leaves_a_gap():
    certificate = make_certificate([make_row(seeds=1)])
    curves = make_curves(certificate)
    for curve in curves:
        curve.loss[5:] = [math.inf] * (len(curve.loss) - 5)
    figures = card_figures(certificate, curves)
    assert inspect_png(figures[CURVES_FIGURE]) == []
    loss = lines(draw(panels(certificate, CURVES_FIGURE, curves)[1]))["protected"][0][1]
    assert np.isnan(loss[5:]).all()
    assert np.isfinite(loss[:5]).all()


def test_only_what_has_something_to_show_is_drawn():
    without_radii = make_certificate([make_row(*MEASURED[5])])
    assert list(card_figures(without_radii, make_curves(without_radii))) == [CLASSES_FIGURE]
    assert CURVES_FIGURE not in card_figures(make_certificate(), [])
    assert card_figures(make_certificate([]), []) == {}


def test_bars_are_of_the_worst_required_row():
    certificate = make_certificate()
    row = certificate.deciding_row
    assert (row.architecture, row.tier) == ("densenet121", "adversarial")
    (panel,) = panels(certificate, CLASSES_FIGURE)
    axes = draw(panel)
    bars = {group.get_label(): [bar.get_width() for bar in group] for group in axes.containers}
    assert bars["protected"] == pytest.approx([100 * share for share in row.protected.per_class])
    assert bars["originals"] == pytest.approx([100 * share for share in row.clean.per_class])
    assert [label.get_text() for label in axes.get_yticklabels()] == certificate.classes


def test_an_unbounded_row_decides_before_all_others():
    rows = [make_row(*MEASURED[0], high=None), make_row(*MEASURED[4])]
    assert make_certificate(rows).deciding_row is not None
    assert make_certificate(rows).deciding_row.tier == "standard"


def test_many_classes_are_ranked_dots():
    names = [f"c{number}" for number in range(100)]
    shares = [((37 * number) % 100) / 100 for number in range(100)]
    row = make_row(classes=100, seeds=1, protected=0.495)
    row = row.model_copy(update={"protected": measure(0.495, 100, 1, per_class=shares)})
    (panel,) = panels(make_certificate([row], classes=names), CLASSES_FIGURE)
    ranks, values = lines(draw(panel))["protected"][0]
    assert ranks == list(range(1, 101))
    assert values == pytest.approx([100 * share for share in sorted(shares)])
    assert panel.height == 3.3


def test_one_radius_one_seed_one_point_can_be_drawn():
    certificate = make_certificate([make_row(classes=2, seeds=1)], classes=["cat", "dog"])
    figures = card_figures(certificate, make_curves(certificate, points=1))
    assert tuple(figures) == AUDIT_FIGURES
    assert all(inspect_png(png) == [] for png in figures.values())


def test_the_same_input_gives_the_same_bytes_whatever_the_settings(pngs, svgs):
    certificate = make_certificate()
    curves = make_curves(certificate)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": None, "lines.linewidth": 9}):
        assert card_figures(certificate, curves) == pngs
        again = [to_svg(panel) for found in plot_figures(certificate, curves).values() for panel in found]
    assert again == [svg for _, svg in svgs]
    assert pyplot.get_fignums() == []


def test_svg_follows_the_page_and_is_plain(svgs):
    for panel, svg in svgs:
        root = ET.fromstring(svg)
        assert (root.tag, root.get("role"), root.get("aria-label")) == ("svg", "img", panel.words)
        assert not {"style", "script", "metadata", "image", "title"} & {element.tag for element in root.iter()}
        for part in ("#010a0", "http", "xlink", "font-family", "<!", "#000000", "#ffffff"):
            assert part not in svg
        for name in ("text", "grid", "protected"):
            assert f"var(--{name})" in svg


def test_ids_are_the_panels_own_and_links_find_them(svgs):
    seen = set()
    for _, svg in svgs:
        elements = list(ET.fromstring(svg).iter())
        ids = [element.get("id") for element in elements if element.get("id")]
        links = [element.get("href")[1:] for element in elements if element.get("href")]
        clips = [element.get("clip-path")[5:-1] for element in elements if element.get("clip-path")]
        assert len(ids) == len(set(ids))
        assert links
        assert {*links, *clips} == set(ids)
        assert not seen & set(ids)
        seen |= set(ids)


def test_hostile_names_stay_text():
    row = make_row(architecture='<b onload="x">', words="<img src=x>", classes=len(HOSTILE), seeds=1)
    certificate = make_certificate([row], classes=HOSTILE)
    found = plot_figures(certificate, make_curves(certificate))
    (bars,) = found[CLASSES_FIGURE]
    shown = ["</svg><script>a…", "a & b", "$\\frac{a}$", "#010a03 url(#x)…", "two lines", "猫"]
    assert [word for word in words(to_svg(bars)) if word in shown] == shown
    assert '<b onload="x">' in words(to_svg(found[RADIUS_FIGURE][0]))
    for png in card_figures(certificate, make_curves(certificate)).values():
        assert inspect_png(png) == []


def test_kinds_differ_in_colour_marker_and_dash():
    axes = draw(panels(make_certificate(), RADIUS_FIGURE)[0])
    kinds = [line for line in axes.lines if line.get_label() in ("originals", "random noise", "protected")]
    for look in (lambda line: line.get_color(), lambda line: line.get_marker(), lambda line: line.get_linestyle()):
        assert len({look(line) for line in kinds}) == 3


def test_pngs_are_of_a_sensible_size(pngs):
    for png in pngs.values():
        image = Image.open(io.BytesIO(png))
        assert 600 <= image.width <= 1400
        assert 300 <= image.height <= 1400
        assert len(png) < 400_000
