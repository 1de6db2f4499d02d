"""`rem-release card`: the owner's fields into the facts, and README.md rendered again from them."""

from pathlib import Path

from rem_release.console import Console
from rem_release.errors import InputError
from rem_release.release.documents import (
    CARD,
    CERTIFICATE,
    find_certificate,
    read_facts,
    require_current,
    write_documents,
)
from rem_release.release.owner import apply_card_fields, read_card_fields
from rem_release.release.run_folder import RunFolder


def render(target: Path, fields: list[str], file: Path | None, console: Console) -> None:
    """Write the card of a run once more, with the facts' hash of it. A void certificate counts for nothing.

    Args:
        target: RUN.
        fields: what the owner wants on the card, each KEY=VALUE; fields that were given earlier stay.
        file: the same as YAML.
        console: the terminal.

    Raises:
        InputError: there is no release, a field is not valid, or another command works on the run.
        VerificationError: the facts or the certificate are damaged.
    """
    changes = read_card_fields(fields, file)
    run = RunFolder(target)
    if not run.release.is_dir():
        raise InputError(f"{target} holds no release; give a run folder")
    with run.held():
        run.refuse_links()
        facts, audit = read_facts(run.release), find_certificate(run.release)
        require_current(facts, target)
        if audit is not None and audit.digest != facts.digest:
            console.warn(f"{CERTIFICATE} is void: it is of other data. The card says that these were not audited")
            audit = None
        facts = facts.model_copy(update={"owner": apply_card_fields(facts.owner, changes)})
        write_documents(run.release, facts, audit)
    document = {"card": str(run.release / CARD), "owner": facts.owner.model_dump(mode="json")}
    console.result(document, [f"Card: {run.release / CARD}"])
