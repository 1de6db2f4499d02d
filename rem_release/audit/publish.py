"""Where an audit is written: beside the release of a run, or in a folder of its own for any other copy."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from rem_release.atomic_files import write_atomically
from rem_release.audit.curves import Curve, write_curves
from rem_release.audit.inputs.target import find_run
from rem_release.audit.ledger import begins_as_ledger
from rem_release.errors import InputError, VerificationError
from rem_release.release.canonical import seal
from rem_release.release.certificate import ANSWERS, AUDIT_FIGURES, Certificate
from rem_release.release.deletion import AUDIT_OF_A_COPY, RELEASE, refuse_links, require_own
from rem_release.release.documents import CERTIFICATE, describe_files, find_certificate, read_facts, write_documents
from rem_release.release.run_folder import RunFolder
from rem_release.verdict.evidence import Evidence, write_evidence


@dataclass(frozen=True)
class AuditFolder:
    """The paths of one audit.

    Attributes:
        path: RUN/audit, or the folder of its own.
        run: the run, or None where something else is audited.
    """

    path: Path
    run: RunFolder | None

    @classmethod
    def of(cls, target: Path, out: Path | None) -> "AuditFolder":
        """The folder of a target's audit.

        Raises:
            InputError: `out` is given for a run, which has its own place, or lies inside the target.
        """
        run = find_run(target)
        if run:
            if out is not None:
                raise InputError(f"--out {out}: the audit of a run is written to {target / 'audit'}; leave --out out")
            return cls(target / "audit", run)
        path = out or Path(f"{target.resolve().name}-audit")
        if path.resolve() == target.resolve() or target.resolve() in path.resolve().parents:
            raise InputError(f"--out {path} lies inside {target}, which is read; choose a folder outside")
        return cls(path, None)

    @property
    def victims(self) -> Path:
        """A line a finished victim."""
        return self.path / "victims.jsonl"

    @property
    def report(self) -> Path:
        """The report, written last."""
        return self.path / "report.html"

    @property
    def curves(self) -> Path:
        """What the figures are drawn from, beside the certificate."""
        return self.path / "curves.json"

    @property
    def certificate(self) -> Path:
        """audit.json."""
        return (self.run.release if self.run else self.path) / CERTIFICATE

    @property
    def answers(self) -> Path:
        """What the victims answered, beside the certificate."""
        return self.certificate.with_name(ANSWERS)

    def claim(self, *, resume: bool) -> None:
        """Check that the audit may be written here; nothing is written.

        Raises:
            InputError: something else is there, or an audit was stopped here and is not resumed.
        """
        try:
            str(self.path.absolute()).encode()
            self._check_place()
        except UnicodeEncodeError:
            raise InputError(
                f"{os.fsencode(self.path.absolute())!r} is not UTF-8; use a folder of another name"
            ) from None
        except OSError as error:
            raise InputError(f"{self.path} cannot be read: {error.strerror}") from None
        if resume:
            return
        if self.victims.exists() and not self.report.exists():
            raise InputError(
                f"an audit was stopped in {self.path}; go on with --resume, or delete that folder to start again"
            )

    def _check_place(self) -> None:
        there = next(place for place in (self.path, *self.path.absolute().parents) if place.exists())
        if not there.is_dir():
            raise InputError(f"{there} is a file; an audit needs a folder there")
        for file in (self.victims, self.report):
            if file.is_dir():
                raise InputError(f"{file} is a folder; an audit writes a file there")
        for place in (there, self.certificate.parent):
            if place.is_dir() and not os.access(place, os.W_OK | os.X_OK):
                raise InputError(f"{place} is read-only; an audit is written there")
        if self.run is not None:
            self.run.refuse_links()
            require_own(self.run.path, self.run.release.name, RELEASE)  # its files get into the facts
        elif there == self.path and any(self.path.iterdir()) and not self._is_audit():
            raise InputError(f"--out {self.path} is not empty and not an audit; name a new folder")
        elif there == self.path:
            refuse_links(self.path, "", AUDIT_OF_A_COPY)

    def _is_audit(self) -> bool:
        """Whether an audit was written here: its first file says so, or is empty beside a certificate or alone."""
        if not self.victims.is_file() or not begins_as_ledger(self.victims):
            return False
        try:
            is_begun_anew = self.victims.stat().st_size == 0 and find_certificate(self.path) is None
        except VerificationError:
            return False
        return not is_begun_anew or len(list(self.path.iterdir())) == 1

    def open(self, *, resume: bool) -> None:
        """Make the folder. Unless it is resumed, what a finished audit found there is forgotten, baselines excepted.

        Raises:
            InputError: it cannot be written, or something else is there by now.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._check_place()
            self.report.unlink(missing_ok=True)
            if not (resume and self.victims.exists()):
                write_atomically(self.victims, b"")
        except OSError as error:
            raise InputError(f"{self.path} cannot be written: {error.strerror}") from None


def write_answers(folder: AuditFolder, evidence: Evidence) -> str:
    """Write answers.parquet; returns its sha256."""
    file = BytesIO()
    write_evidence(evidence, file)
    write_atomically(folder.answers, file.getvalue())
    return hashlib.sha256(file.getvalue()).hexdigest()


def publish_audit(folder: AuditFolder, certificate: Certificate, curves: Sequence[Curve], title: str) -> None:
    """Write certificate, figures, card, facts and curves, and the report at the end, when all else is in place.

    The answers of which the certificate speaks are written before, see `write_answers`.

    Killed between two of these files, the release does not verify until `audit --resume` has written them all.
    """
    from rem_release.audit.report.figures import card_figures  # matplotlib takes a second
    from rem_release.audit.report.page import render_report

    figures = card_figures(certificate, curves)
    root = folder.run.release if folder.run else folder.path
    (root / "figures").mkdir(exist_ok=True)
    for path in (root / name for name in AUDIT_FIGURES):
        path.unlink(missing_ok=True)
        path.with_name(f".{path.name}.partial").unlink(missing_ok=True)  # which a killed audit left
    for name, data in figures.items():
        write_atomically(root / name, data)
    write_atomically(folder.certificate, seal(certificate.model_dump(mode="json")))
    if folder.run:
        facts = read_facts(root).model_copy(update={"files": describe_files(root)})
        write_documents(root, facts, certificate)
    write_curves(folder.curves, curves)
    write_atomically(folder.report, render_report(certificate, curves, title).encode())
