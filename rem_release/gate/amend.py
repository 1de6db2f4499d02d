"""What push still changes in a release, by the owner's word: fields of the card, columns that are kept, clean split."""

import hashlib
from collections.abc import Collection
from pathlib import Path

from rem_release.errors import VerificationError
from rem_release.gate.columns import require_columns
from rem_release.release.clean_source import OPTION
from rem_release.release.clean_split import open_clean_split, remove_clean_split, write_clean_split
from rem_release.release.documents import CARD, find_certificate, read_facts, write_documents
from rem_release.release.owner import apply_card_fields, read_card_fields
from rem_release.release.run_folder import RunFolder
from rem_release.release.separate import check_files_separate


def amend_release(
    run: RunFolder,
    release: Path,
    fields: tuple[str, ...],
    file: Path | None,
    clean_split: str | None,
    clean: str | None,
    kept: Collection[str] = (),
) -> None:
    """Bring a release to what the owner says now. A release that is damaged is left as it is: the gate will say so.

    Args:
        run: the run.
        release: its release, or a copy of it.
        fields: `KEY=VALUE` of the card.
        file: the same as YAML.
        clean_split: the split that is published without noise, `NAME` or `NAME=SOURCE`; None: none is published.
        clean: the originals, where they are not where the run remembers them.
        kept: columns that the owner lets pass by name (--keep-column), which the card lists: these and no others.

    Raises:
        InputError: a field, the split, or a column is not valid.
    """
    changes = read_card_fields(list(fields), file)
    try:
        facts, audit = read_facts(release), find_certificate(release)
    except VerificationError:
        return
    if not facts.is_current or (audit is not None and audit.digest != facts.digest):
        return
    card = release / CARD
    if not card.is_file() or hashlib.sha256(card.read_bytes()).hexdigest() != facts.readme_sha256:
        return
    require_columns(facts, kept)
    listed = [name for name in facts.data.columns if name in kept]
    amended = facts.model_copy(update={"owner": apply_card_fields(facts.owner, changes), "kept_columns": listed})
    if clean_split is not None:
        source = open_clean_split(run, amended, clean_split, clean)
        check_files_separate(run.path, source, f"{OPTION} {clean_split}")
        amended = write_clean_split(release, amended, source)
    elif amended.clean_split is not None:
        amended = remove_clean_split(release, amended)
    if amended != facts:
        write_documents(release, amended, audit)
