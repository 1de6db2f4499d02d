"""`rem-release card`: render README.md again from the facts."""

from pathlib import Path

from rem_release.console import Console
from rem_release.errors import InputError
from rem_release.release.canonical import read_sealed
from rem_release.release.documents import CARD, CERTIFICATE, read_facts, write_documents
from rem_release.release.run_folder import RunFolder


def render(target: Path, console: Console) -> None:
    """Write the card of a run once more, with the facts' hash of it.

    Raises:
        InputError: there is no release.
        VerificationError: the facts are damaged.
    """
    run = RunFolder(target)
    if not run.release.is_dir():
        raise InputError(f"{target} holds no release; give a run folder")
    audit = read_sealed(run.release / CERTIFICATE) if (run.release / CERTIFICATE).exists() else None
    write_documents(run.release, read_facts(run.release), audit)
    console.result({"card": str(run.release / CARD)}, f"Card: {run.release / CARD}")
