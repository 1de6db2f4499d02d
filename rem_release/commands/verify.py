"""`rem-release verify`: the order of its stages."""

from pathlib import Path

from rem_release.console import Console
from rem_release.errors import InputError, VerificationError
from rem_release.release.documents import read_facts
from rem_release.release.run_folder import RunFolder
from rem_release.verification.originals import Originals, SourceMovedError, find_originals
from rem_release.verification.pairing import RecordedRow
from rem_release.verification.report import Report
from rem_release.verification.verify import verify_release


def verify(target: Path, clean: str | None, console: Console) -> None:
    """Check a run or a release folder, and say what was and was not checked.

    No check can prove what the pixels of the figures show.

    Raises:
        InputError: there is no such folder, or `clean` cannot be opened.
        VerificationError: a check failed.
    """
    run = RunFolder(target)
    release = run.release if run.private.is_dir() or run.release.is_dir() else target
    if not release.is_dir():
        hint = "; finish the run with --resume" if run.exists else "; give a run folder or its release/ folder"
        raise InputError(f"{target} holds no release{hint}")
    originals, row_map = _find_originals(run, release, clean, console)
    with console.stage("Verifying") as report_progress:
        report = verify_release(release, originals, row_map, report_progress)
    console.result(report.to_json() | {"release": str(release)}, _describe(report, release))
    if not report.passed:
        first = report.failures[0]
        more = f" (and {len(report.failures) - 1} more failed checks)" if len(report.failures) > 1 else ""
        raise VerificationError(f"{release} is not what it says: {first.name}: {first.detail}{more}")


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


def _describe(report: Report, release: Path) -> str:
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
    return "\n".join([*lines, f"{release}: {verdict}{unknown}"])
