"""`rem-release card`: render README.md again from the facts."""

from pathlib import Path

from rem_release.console import Console
from rem_release.errors import InputError
from rem_release.release.documents import CARD, CERTIFICATE, find_certificate, read_facts, write_documents
from rem_release.release.run_folder import RunFolder


def render(target: Path, console: Console) -> None:
    """Write the card of a run once more, with the facts' hash of it. A void certificate counts for nothing.

    Raises:
        InputError: there is no release.
        VerificationError: the facts or the certificate are damaged.
    """
    run = RunFolder(target)
    if not run.release.is_dir():
        raise InputError(f"{target} holds no release; give a run folder")
    facts, audit = read_facts(run.release), find_certificate(run.release)
    if audit is not None and audit.digest != facts.digest:
        console.warn(f"{CERTIFICATE} is void: it is of other data. The card says that these were not audited")
        audit = None
    write_documents(run.release, facts, audit)
    console.result({"card": str(run.release / CARD)}, f"Card: {run.release / CARD}")
