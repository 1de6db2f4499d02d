"""What audit says at the beginning and at the end."""

from rem_release.audit.inputs.target import Target
from rem_release.audit.publish import AuditFolder
from rem_release.console import Console
from rem_release.radius import format_radius
from rem_release.release.certificate import Certificate, RowFacts


def describe_target(target: Target) -> str:
    """What is audited, in one line."""
    changed = int(target.changed.sum())
    return (
        f"{len(target)} images of {len(target.classes)} classes, {changed} of them changed, "
        f"rho_u {format_radius(target.rho_u)}, seen at {target.resolution} x {target.resolution}"
    )


def summarise_audit(certificate: Certificate, folder: AuditFolder, console: Console) -> None:
    """Say what was found and where to look."""
    document = {
        "passed": certificate.passed,
        "summary": certificate.summary,
        "digest": certificate.digest,
        "tiers": [tier.model_dump() for tier in certificate.tiers],
        "rows": [row.model_dump() for row in certificate.rows],
        "certificate": str(folder.certificate),
        "report": str(folder.report),
    }
    lines = ["Test accuracy in % on clean images, by what the victim was trained on", _HEAD]
    for tier in certificate.tiers:
        lines.append(f"{tier.name}: {tier.outcome}, limit {tier.limit:.0%}{'' if tier.required else ' (not required)'}")
        lines += [_line(row) for row in certificate.rows if row.tier == tier.name]
    lines += ["", *certificate.summary, "", f"Report:      {folder.report}", f"Certificate: {folder.certificate}"]
    console.result(document, lines)


_HEAD = f"  {'network':<16} {'threat':<44} {'clean':>6} {'random':>6} {'prot.':>6} {'leakage':>8} {'at most':>8}"


def _line(row: RowFacts) -> str:
    leakage = "-" if row.leakage is None else f"{row.leakage:.2f}"
    high = "-" if row.high is None else f"{row.high:.2f}"
    mark = "" if row.valid else f"  invalid: {row.reason}"
    return (
        f"  {row.architecture:<16} {row.threat:<44} {row.clean.judged:>6.1%} {row.random.judged:>6.1%} "
        f"{row.protected.judged:>6.1%} {leakage:>8} {high:>8}{mark}"
    )
