"""Whether the figures of an audit show what it found, and nothing else."""

from pathlib import Path

import numpy as np

from rem_release.audit.curves import read_curves
from rem_release.data.images.decoding import BadImage, decode
from rem_release.errors import VerificationError
from rem_release.release.certificate import AUDIT_FIGURES, Certificate
from rem_release.release.facts import Facts
from rem_release.verification.report import Check, Faults


def check_audit_figures(release: Path, facts: Facts, audit: Certificate | None, curves: Path) -> Check:
    """Whether the figures of the audit are, pixel for pixel, what it plots from its certificate and its curves.

    Args:
        release: the folder; its files have been verified.
        facts: consistent facts.
        audit: the certificate of the release.
        curves: RUN/audit/curves.json.
    """
    mend = f"plot them again: rem-release audit {curves.parent.parent} --resume, with the options of that audit"
    name, stated = "audit figures", {figure for figure in AUDIT_FIGURES if figure in facts.files}
    if audit is None:
        words = "an audit's figures without its certificate; audit again"
        return Check(name, not stated, words if stated else "none, as there is no certificate")
    from rem_release.audit.report.figures import card_figures  # matplotlib takes a second

    try:
        plotted = card_figures(audit, read_curves(curves))
    except VerificationError as error:
        return Check(name, False, f"they cannot be compared with what was found: {error}; {mend}")
    faults = Faults()
    for figure in sorted(stated ^ set(plotted)):
        faults.add(f"{figure} {'is not one of this audit' if figure in stated else 'is missing'}; {mend}")
    for figure in sorted(stated & set(plotted)):
        if not _shows(release / figure, plotted[figure]):
            faults.add(f"{figure} is not what the audit plots from its certificate and {curves.name}; {mend}")
    return faults.conclude(name, f"{len(stated)} figures, each as the audit plots it from its certificate and curves")


def _shows(path: Path, png: bytes) -> bool:
    """Whether a file shows exactly these pixels."""
    try:
        return np.array_equal(decode(path.read_bytes()), decode(png))
    except (BadImage, OSError):
        return False
