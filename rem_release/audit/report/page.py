"""The report of an audit: one HTML file that opens offline, with the verdict first."""

from collections.abc import Sequence

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rem_release.audit.curves import Curve
from rem_release.audit.report.figures import KINDS, plot_figures
from rem_release.audit.report.plotting import to_svg
from rem_release.plain_text import escape
from rem_release.release import wording
from rem_release.release.certificate import CLASSES_FIGURE, Certificate
from rem_release.resources import resource_folder


def render_report(certificate: Certificate, curves: Sequence[Curve], title: str) -> str:
    """Render the report; the same certificate, curves and title give the same bytes.

    Args:
        certificate: of the audit.
        curves: of its victims, in any order; may be empty.
        title: of the data set, as plain text.

    Returns:
        A whole HTML page without scripts, which asks for no other file.

    Raises:
        jinja2.UndefinedError: the template asks for something that the certificate does not have.
    """
    environment = Environment(
        loader=FileSystemLoader(resource_folder("cards")),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = wording.write_percent
    environment.filters["leakage"] = wording.write_leakage
    environment.filters["bound"] = wording.write_bound
    figures = _write_figures(certificate, curves)
    text = environment.get_template("audit_report.html.jinja").render(
        audit=certificate,
        title=" ".join(title.split()),
        kinds=KINDS,
        tier_words=wording.describe_tiers(certificate),
        leakage_words=wording.LEAKAGE,
        verdict_words=wording.VERDICT,
        proof_words=wording.PROOF,
        conditions=wording.describe_conditions(certificate),
        learnability=wording.describe_learnability(certificate),
        figures=[figure for name, figure in figures.items() if name != CLASSES_FIGURE],
        classes_figure=figures.get(CLASSES_FIGURE),
    )
    return escape(text)


def _write_figures(certificate: Certificate, curves: Sequence[Curve]) -> dict[str, tuple[str, str, list[str]]]:
    """(short name, caption, panels as SVG) of each figure. The SVG is our own: what names it holds is escaped in it."""
    words = wording.describe_figures(certificate)
    plotted = plot_figures(certificate, curves)
    return {name: (*words[name], [to_svg(panel) for panel in panels]) for name, panels in plotted.items()}
