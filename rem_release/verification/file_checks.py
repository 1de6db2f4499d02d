"""The checks of verify that look at files as a whole: the facts, the list of files, their hashes, card and figures."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from jinja2 import TemplateError

from rem_release.errors import VerificationError
from rem_release.release.canonical import MAX_BYTES, sha256_file
from rem_release.release.card import RENDERERS, render_card
from rem_release.release.certificate import ANSWERS, AUDIT_FIGURES, Certificate, OldCertificateError
from rem_release.release.consistency import allowed_names, find_contradictions
from rem_release.release.documents import CARD, CERTIFICATE, CLEAN, FACTS, explain_format, find_certificate
from rem_release.release.facts import Facts
from rem_release.verification.png import inspect_png
from rem_release.verification.report import Check, Faults
from rem_release.versions import find_versions

_CERTIFIED = b"**Certified**"
"""with which the card of a release begins that passed its audit, whatever version made it"""


def check_consistency(facts: Facts) -> Check:
    """Whether the facts agree with each other, before any file is opened on their word."""
    faults = Faults()
    for fault in find_contradictions(facts):
        faults.add(f"{FACTS}: {fault}")
    return faults.conclude("facts", "protection.json fits its own hash and schema, and agrees with itself")


def check_file_list(release: Path, facts: Facts) -> Check:
    """Whether the folder holds exactly the files of the facts: no other file, no link, no hidden file, none missing."""
    faults = Faults()
    expected = {CARD, FACTS, *facts.files}
    if not expected.isdisjoint((*AUDIT_FIGURES, ANSWERS)):
        expected.add(CERTIFICATE)
    folders = {"data", "figures"} | ({CLEAN} if facts.clean_split else set())
    found = set()
    for path in _walk(release, faults):
        name = path.relative_to(release).as_posix()
        if path.is_symlink():
            faults.add(f"{name} is a link")
        elif path.is_dir():
            if name not in folders:
                faults.add(f"{name}/ is a folder that does not belong to a release")
        elif name not in expected and name != CERTIFICATE:
            faults.add(f"{name} does not belong to the release")
        found.add(name)
    for name in sorted(expected - found):
        faults.add(f"{name} is missing")
    return faults.conclude("file list", f"{len(found - folders)} files, none missing and none besides")


def _walk(release: Path, faults: Faults) -> Iterator[Path]:
    """Everything below the folder in sorted order; links are not followed."""
    for folder, folders, files in os.walk(release, onerror=lambda error: faults.add(f"cannot be listed: {error}")):
        folders.sort()
        yield from (Path(folder) / name for name in sorted([*folders, *files]))


def check_hashes(release: Path, facts: Facts) -> tuple[Check, set[str]]:
    """Compare size and sha256 of every file with the facts.

    Returns:
        The check, and the names of the files whose every byte is right: only those are worth opening.
    """
    faults = Faults()
    intact, allowed = set(), allowed_names(facts)
    for name, stated in sorted(facts.files.items()):
        path = release / name
        if name not in allowed or path.is_symlink() or not path.is_file():
            faults.add(f"{name} is missing or is not a plain file")
        elif path.stat().st_size != stated.bytes:
            faults.add(f"{name} has {path.stat().st_size} bytes instead of {stated.bytes}")
        elif sha256_file(path) != stated.sha256:
            faults.add(f"{name} is damaged or was changed: its sha256 is not that of {FACTS}")
        else:
            intact.add(name)
    return faults.conclude("file hashes", f"{len(intact)} files have the recorded size and sha256"), intact


def check_format(facts: Facts) -> Check | None:
    """What the facts of an earlier version cannot prove; None for those of this one."""
    reason = explain_format(facts)
    return None if reason is None else Check("format", None, f"what it can say was checked, but {reason}")


def check_card(release: Path, facts: Facts, audit: Certificate | None) -> Check:
    """Whether README.md is the recorded one, and renders again identically with the versions that made it."""
    path = release / CARD
    if path.is_symlink() or not path.is_file():
        return Check("card", False, f"{CARD} is missing or is not a plain file")
    if path.stat().st_size > MAX_BYTES:
        return Check("card", False, f"{CARD} has {path.stat().st_size:,} bytes, and no card has {MAX_BYTES:,}")
    found = path.read_bytes()
    if hashlib.sha256(found).hexdigest() != facts.readme_sha256:
        return Check("card", False, f"{CARD} was changed: its sha256 is not that of {FACTS}")
    installed = find_versions(RENDERERS)
    if changed := [name for name in RENDERERS if facts.versions.get(name, installed[name]) != installed[name]]:
        says_certified = _CERTIFIED in found
        if facts.is_current and says_certified != (audit is not None and audit.passed):
            return Check(
                "card", False, f"{CARD} says {'' if says_certified else 'not '}certified, and {CERTIFICATE} does not"
            )
        why = ", ".join(f"{name} {facts.versions[name]}, not {installed[name]}" for name in changed)
        return Check("card", None, f"{CARD} has its recorded sha256, but was made with {why}: not rendered again")
    try:
        again = render_card(facts, audit).encode()
    except (ValueError, TypeError, TemplateError) as error:
        return Check("card", False, f"{CARD} cannot be rendered again from {FACTS}: {error}")
    sources = f"{FACTS} and {CERTIFICATE}" if audit else FACTS
    if again != found:
        return Check("card", False, f"{CARD} does not render again identically from {sources}")
    return Check("card", True, f"{CARD} renders again identically from {sources}")


def check_certificate(release: Path, facts: Facts) -> tuple[Check | None, Certificate | None]:
    """Whether audit.json, where there is one, is whole and speaks of these data.

    Returns:
        The check, and the certificate if it may be believed: the card must not repeat a void or damaged one.
    """
    try:
        audit = find_certificate(release)
    except OldCertificateError as error:
        return Check("certificate", None, str(error)), None
    except VerificationError as error:
        return Check("certificate", False, f"{error}; audit these data again"), None
    if audit is None:
        return None, None
    if audit.digest != facts.digest:
        words = f"{CERTIFICATE} is void: it is of data with the digest {audit.digest[:12]}…, not {facts.digest[:12]}…"
        return Check("certificate", False, f"{words}; audit these data again"), None
    sound = f"{CERTIFICATE} is whole and bound to the digest of these data; it has no signature"
    return Check("certificate", True, sound), audit


def check_figures(release: Path, facts: Facts, intact: set[str]) -> Check:
    """Whether the figures that the facts list are bare PNG. What their pixels show cannot be proven."""
    faults = Faults()
    figures = sorted(name for name in intact if name.startswith("figures/"))
    for name in figures:
        for reason in inspect_png((release / name).read_bytes()):
            faults.add(f"{name} {reason}")
    skipped = sum(name.startswith("figures/") for name in facts.files) - len(figures)
    if skipped and not faults.count:
        return Check("figures", None, f"{skipped} damaged figures were not opened")
    return faults.conclude("figures", f"{len(figures)} figures, bare PNG; what their pixels show cannot be proven")
