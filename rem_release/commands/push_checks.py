"""The gate as push runs it, in order: what must hold of the release, then what must hold of the repository."""

import tempfile
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from rem_release.audit.attempts import find_untold
from rem_release.audit.publish import AuditFolder
from rem_release.commands.push_options import PushOptions
from rem_release.console import Console
from rem_release.errors import VerificationError
from rem_release.gate.audit_figures import check_audit_figures
from rem_release.gate.columns import check_columns
from rem_release.gate.earlier_pushes import check_earlier_pushes
from rem_release.gate.figures import check_figures_show
from rem_release.gate.history import read_history
from rem_release.gate.near_duplicates import check_clean_split
from rem_release.gate.policy import check_card_again, check_metadata, check_policy
from rem_release.gate.second_noise import check_second_noise
from rem_release.gate.unprotected_rows import check_unprotected_rows
from rem_release.gate.words import check_words
from rem_release.hub.client import Hub
from rem_release.hub.manifest import Manifest
from rem_release.hub.repository import State, read_state
from rem_release.hub.settings import check_tag, create
from rem_release.release.certificate import Certificate
from rem_release.release.documents import explain_format, find_certificate, read_facts
from rem_release.release.facts import Facts
from rem_release.release.run_folder import RunFolder
from rem_release.verification.originals import Originals, SourceMovedError, find_originals
from rem_release.verification.pairing import RecordedRow
from rem_release.verification.report import Check
from rem_release.verification.verify import verify_release

_FILE_CHECKS = (
    *("facts", "file list", "file hashes", "file bytes", "schema", "data files", "rows", "images", "certificate"),
    *("clean split", "clean split file bytes", "clean split schema", "clean split images", "clean split data files"),
)
"""Only files that passed these are opened to look for leaks."""


def check_release(
    options: PushOptions, run: RunFolder, release: Path, url: str, console: Console
) -> tuple[list[Check], Facts | None]:
    """Everything that must hold before a byte leaves and that needs no network.

    Args:
        options: what the command line said.
        run: the run.
        release: its release, or a copy of it.
        url: of the repository that is pushed to.
        console: for progress.

    Returns:
        The checks, and the facts under which they were made; None where these cannot be read.

    Raises:
        InputError: the originals that were given cannot be opened, a kept column does not exist, or the run's record
            of earlier pushes is damaged.
    """
    try:
        facts = read_facts(release)
    except VerificationError as error:
        return [Check("facts", False, str(error))], None
    originals, row_map = _find_originals(run, facts, options.clean, console)
    with console.stage("Verifying") as report:
        verified = verify_release(release, originals, row_map, report).checks
    checks = [_require(check) for check in verified if check.name != "format"]  # which verify only notes
    if reason := explain_format(facts, str(options.run)):
        return [*checks, Check("format", False, reason)], facts
    checks += [check_policy(release, facts, options.allow_uncertified), check_card_again(release, facts)]
    if any(check.passed is False for check in checks if check.name in _FILE_CHECKS):
        return [*checks, Check("leaks", None, "not looked for: the files are not what the facts say")], facts
    checks.append(check_earlier_pushes(run, release, facts, url))
    audit = find_certificate(release)
    checks.append(check_words(facts, audit))
    checks += [_check_attempts(run, audit)] if audit else []
    checks += check_columns(release, facts, options.keep_columns)
    with console.stage("Looking for clean images") as report:
        checks += check_figures_show(release, facts, originals, row_map, report)
    checks.append(check_audit_figures(release, facts, audit, AuditFolder.of(run.path, None).curves))
    with console.stage("Comparing the clean split") if facts.clean_split else nullcontext() as report:
        checks += check_clean_split(release, facts, originals, row_map, report)
    with console.stage("Comparing rows without noise") if facts.data.unprotected else nullcontext() as report:
        checks += check_unprotected_rows(release, facts, originals, row_map, report)
    return checks, facts


def _require(check: Check) -> Check:
    """What must be proven before it is published, though `verify` is content to say that it could not be."""
    if check.name != "answers" or check.passed is not None:
        return check
    return replace(check, passed=False, detail=f"{check.detail}; write them again: rem-release audit RUN --resume")


def _check_attempts(run: RunFolder, audit: Certificate) -> Check:
    """Whether the certificate tells of the audits that the run remembers."""
    if untold := find_untold(run, audit):
        return Check("attempts", False, f"{untold}; audit again: rem-release audit RUN")
    return Check("attempts", True, "the certificate tells of every earlier audit that the run remembers")


def _find_originals(
    run: RunFolder, facts: Facts, clean: str | None, console: Console
) -> tuple[Originals | None, list[RecordedRow] | None]:
    try:
        return find_originals(run, facts.data, clean)
    except SourceMovedError as error:
        console.warn(str(error))
        return None, None


def check_repository(
    hub: Hub, manifest: Manifest, release: Path, facts: Facts, tag: str | None, console: Console
) -> tuple[list[Check], State | None]:
    """Everything that must hold of the repository; and its state, None where it is yet to be made.

    Raises:
        HubError: the Hub refuses, or cannot be reached.
        InputError: the tag is taken.
    """
    hub.ask("logging in", hub.api.whoami)
    metadata, state = check_metadata(hub, release), read_state(hub)
    if state is None:
        return [metadata, Check("history", True, f"{hub.repo_id} does not exist yet")], None
    console.note(f"Looking at what {hub.repo_id} holds")
    checks = _check_history(hub, manifest, release, facts, tag, console)
    return [metadata, *checks], state


def create_repository(
    hub: Hub, manifest: Manifest, release: Path, facts: Facts, tag: str | None, console: Console
) -> tuple[list[Check], State]:
    """Make the repository that was not there, and look at what it holds all the same: somebody may have been faster.

    Raises:
        HubError: the Hub refuses, or cannot be reached.
    """
    state = create(hub)
    return _check_history(hub, manifest, release, facts, tag, console), state


def _check_history(
    hub: Hub, manifest: Manifest, release: Path, facts: Facts, tag: str | None, console: Console
) -> list[Check]:
    with tempfile.TemporaryDirectory(prefix="rem-release-") as folder:
        checks, published = read_history(hub, manifest, Path(folder))
        with console.stage("Comparing with earlier versions") as report:
            checks.append(check_second_noise(hub, published, release, facts, Path(folder), report))
    check_tag(hub, published.refs, manifest, tag)
    return checks
