"""Where an audit is written: beside the release of a run, or in a folder of its own for any other copy."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rem_release.atomic_files import write_atomically
from rem_release.audit.curves import Curve, write_curves
from rem_release.audit.material.target import find_run
from rem_release.audit.report.figures import card_figures
from rem_release.audit.report.page import render_report
from rem_release.errors import InputError
from rem_release.release.canonical import seal
from rem_release.release.certificate import Certificate
from rem_release.release.documents import CERTIFICATE, describe_files, read_facts, write_documents
from rem_release.release.run_folder import RunFolder

_PREFIX = "audit-"
"""of the figures that an audit adds to a release"""


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
            raise InputError(f"--out {path} lies inside {target}, which is read; name a folder outside")
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
        is_audit = self.victims.exists() or self.report.exists()
        if self.run is None and there == self.path and any(self.path.iterdir()) and not is_audit:
            raise InputError(f"--out {self.path} is not empty and not an audit; name a new folder")

    def open(self, *, resume: bool) -> None:
        """Make the folder. Unless it is resumed, what a finished audit found there is forgotten, baselines excepted.

        Raises:
            InputError: it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.report.unlink(missing_ok=True)
            if not resume:
                self.victims.unlink(missing_ok=True)
            self.victims.touch()
        except OSError as error:
            raise InputError(f"{self.path} cannot be written: {error.strerror}") from None


def publish_audit(folder: AuditFolder, certificate: Certificate, curves: Sequence[Curve], title: str) -> None:
    """Write certificate, figures, card, facts and curves, and the report at the end, when all else is in place.

    Killed between two of these files, the release does not verify until `audit --resume` has written them all.
    """
    figures = card_figures(certificate, curves)
    root = folder.run.release if folder.run else folder.path
    (root / "figures").mkdir(exist_ok=True)
    for path in (root / "figures").iterdir():
        if path.name.lstrip(".").startswith(_PREFIX):  # half-written ones of a killed audit are hidden
            path.unlink()
    for name, data in figures.items():
        write_atomically(root / name, data)
    write_atomically(folder.certificate, seal(certificate.model_dump(mode="json")))
    if folder.run:
        facts = read_facts(root).model_copy(update={"files": describe_files(root)})
        write_documents(root, facts, certificate)
    write_curves(folder.curves, curves)
    write_atomically(folder.report, render_report(certificate, curves, title).encode())
