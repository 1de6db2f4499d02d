"""`rem-release verify`: the order of its stages."""

import re
import tempfile
from pathlib import Path
from typing import Any

from rem_release.console import Console
from rem_release.errors import InputError, VerificationError
from rem_release.gate.remote_files import check_remote
from rem_release.hub.client import MAIN, Hub
from rem_release.hub.proof import check_loading, fetch
from rem_release.paths import check_path
from rem_release.release.documents import read_facts
from rem_release.release.run_folder import RunFolder
from rem_release.verification.originals import Originals, SourceMovedError, find_originals
from rem_release.verification.pairing import RecordedRow
from rem_release.verification.report import Report
from rem_release.verification.verify import verify_release


def verify(target: str, clean: str | None, console: Console) -> None:
    """Check a run, a release folder, or a release on the Hub, and say what was and was not checked.

    No check can prove what the pixels of the figures show.

    Raises:
        InputError: there is no such folder, or `clean` cannot be opened.
        HubError: the Hub refuses, or cannot be reached.
        VerificationError: a check failed.
    """
    path = check_path(target, "RUN|RELEASE|REPO")
    if not path.exists() and re.fullmatch(r"[^/@]+/[^/@]+(@.+)?", target):
        _verify_remote(target, clean, console)
        return
    run = RunFolder(path)
    release = run.release if run.private.is_dir() or run.release.is_dir() else path
    if not release.is_dir():
        hint = "; finish the run with --resume" if run.exists else "; give a run folder, its release/ folder, or a name"
        raise InputError(f"{target} holds no release{hint}{'' if run.exists else ' on the Hub, NAMESPACE/NAME@REV'}")
    report = _check(run, release, clean, console)
    _conclude(report, str(release), {"release": str(release)}, console)


def _verify_remote(target: str, clean: str | None, console: Console) -> None:
    """Fetch a revision whole, check it, and see that `load_dataset` gives the same in a process of its own."""
    repo_id, _, revision = target.partition("@")
    hub = Hub(repo_id, console.note)
    with tempfile.TemporaryDirectory(prefix="rem-release-") as folder:
        release = Path(folder) / "release"
        console.note(f"There is no folder {target} here; downloading it from the Hub")
        commit = fetch(hub, revision or MAIN, release)
        report = _check(RunFolder(Path(folder) / "none"), release, clean, console)
        if report.passed:
            report.checks.extend(check_remote(hub, commit, release, Path(folder)))
        if report.passed:
            console.note("Loading it in a new process with an empty cache")
            report.checks.extend(check_loading(hub, commit, release, read_facts(release)))
    _conclude(report, f"{repo_id}@{commit}", {"repo": repo_id, "commit": commit}, console)


def _check(run: RunFolder, release: Path, clean: str | None, console: Console) -> Report:
    originals, row_map = _find_originals(run, release, clean, console)
    with console.stage("Verifying") as report_progress:
        return verify_release(release, originals, row_map, report_progress)


def _conclude(report: Report, name: str, document: dict[str, Any], console: Console) -> None:
    console.result(report.to_json() | document, _describe(report, name))
    if not report.passed:
        first = report.failures[0]
        more = f" (and {len(report.failures) - 1} more failed checks)" if len(report.failures) > 1 else ""
        raise VerificationError(f"{name} is not what it says: {first.name}: {first.detail}{more}")


def _find_originals(
    run: RunFolder, release: Path, clean: str | None, console: Console
) -> tuple[Originals | None, list[RecordedRow] | None]:
    """The originals, by --clean or as the run remembers them, and the run's record of rows."""
    try:
        return find_originals(run, read_facts(release).data, clean)
    except VerificationError:
        return None, None
    except SourceMovedError as error:
        console.warn(str(error))
        return None, None


def _describe(report: Report, name: str) -> list[str]:
    words = {True: "ok     ", False: "FAILED ", None: "unknown"}
    lines = [f"{words[check.passed]} {check.name}: {check.detail}" for check in report.checks]
    change, worst = report.imperceptibility, report.worst
    if change and worst:
        similarity = "" if change.ssim_mean is None else f", SSIM {change.ssim_mean:.4f} (lowest {change.ssim_min:.4f})"
        lines.append(f"PSNR {change.psnr_mean:.2f} dB (lowest {change.psnr_min:.2f}){similarity}")
        lines.append(
            f"Worst pixel: row {worst.row}, x {worst.x}, y {worst.y}, channel {worst.channel}: "
            f"{worst.change:+d} levels of 255"
        )
    verdict = "passed" if report.passed else "FAILED"
    count = len(report.unchecked)
    cure = ", give the originals with --clean" if any("--clean" in check.detail for check in report.unchecked) else ""
    unknown = f"; {count} checks could not be made{cure}" if count else ""
    return [*lines, f"{name}: {verdict}{unknown}"]
