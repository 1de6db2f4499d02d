"""The two documents of a release, README.md and protection.json."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
from pydantic import ValidationError

from rem_release.atomic_files import write_atomically
from rem_release.errors import InputError, VerificationError
from rem_release.release.canonical import canonical_bytes, read_sealed, seal, sha256_file
from rem_release.release.card import render_card
from rem_release.release.certificate import ANSWERS, Certificate, read_certificate
from rem_release.release.consistency import CLEAN as CLEAN
from rem_release.release.consistency import find_contradictions
from rem_release.release.facts import Facts, FileFacts

CARD = "README.md"
FACTS = "protection.json"
CERTIFICATE = "audit.json"


def read_facts(release: Path) -> Facts:
    """Read protection.json.

    Raises:
        VerificationError: it is missing, damaged, does not follow the schema, or contradicts itself.
    """
    facts = read_stated_facts(release)
    if faults := find_contradictions(facts):
        more = f", and {len(faults) - 1} more faults" if len(faults) > 1 else ""
        raise VerificationError(f"{FACTS} contradicts itself: {faults[0]}{more}; restore it, or protect again")
    return facts


def read_stated_facts(release: Path) -> Facts:
    """Read protection.json for `verify`, which says of each contradiction in it what it is.

    Raises:
        VerificationError: it is missing, damaged, or does not follow the schema.
    """
    document = read_sealed(release / FACTS)
    try:
        return Facts.model_validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        more = f" and {error.error_count() - 1} more faults" if error.error_count() > 1 else ""
        raise VerificationError(f"{FACTS} does not follow its schema: {where}: {first['msg']}{more}") from None


def explain_format(facts: Facts, run: str = "RUN") -> str | None:
    """Why a release of an earlier version is published no more, and what makes it again; None for one of this version.

    Args:
        facts: of the release.
        run: where it lies, for the command.
    """
    if facts.is_current:
        return None
    maker = facts.versions.get("rem-release", "an earlier version")
    return (
        f"it was made by rem-release {maker} (format {facts.format}), whose seed was 0 unless the owner chose another, "
        "and which looked neither for near copies nor for all that other columns and files can carry; make it again: "
        f"rem-release protect SOURCE --out {run} --overwrite"
    )


def require_current(facts: Facts, run: Path) -> None:
    """Refuse to write into a release that an earlier version made.

    Raises:
        InputError: it is one; with the command that makes it anew.
    """
    if reason := explain_format(facts, str(run)):
        raise InputError(f"{run}: {reason}")


def find_certificate(release: Path) -> Certificate | None:
    """Read audit.json; None where there is none. It may be void: of data with another digest.

    Raises:
        VerificationError: it is damaged, or does not follow the schema.
    """
    path = release / CERTIFICATE
    return read_certificate(path) if path.exists() or path.is_symlink() else None


def describe_files(release: Path, folders: Sequence[str] = ("data", CLEAN, "figures")) -> dict[str, FileFacts]:
    """The facts of every file in these folders of a release, and of the answers of its audit, under its path there."""
    answers = [path] if (path := release / ANSWERS).exists() else []
    paths = sorted([*answers, *(path for folder in folders for path in (release / folder).glob("*"))])
    return {path.relative_to(release).as_posix(): _describe(path) for path in paths}


def _describe(path: Path) -> FileFacts:
    is_data = path.suffix == ".parquet" and path.name != ANSWERS
    rows = pq.read_metadata(path).num_rows if is_data else None
    return FileFacts(bytes=path.stat().st_size, sha256=sha256_file(path), rows=rows)


def write_documents(release: Path, facts: Facts, audit: Certificate | None = None) -> Facts:
    """Render README.md, then write protection.json with the card's hash.

    Args:
        release: the folder, in which all other files are final.
        facts: complete but for `readme_sha256`, which is replaced.
        audit: the certificate of these data, once there is one; `audit.json` itself is not written.

    Returns:
        The facts as written.

    Raises:
        ValueError: the certificate is of other data.
    """
    facts = Facts.model_validate_json(canonical_bytes(facts.model_dump(mode="json")))  # in the order of a reader
    if audit is not None:
        audit = Certificate.model_validate_json(canonical_bytes(audit.model_dump(mode="json")))  # likewise
    card = render_card(facts, audit).encode()
    complete = facts.model_copy(update={"readme_sha256": hashlib.sha256(card).hexdigest()})
    write_atomically(release / CARD, card)
    write_atomically(release / FACTS, seal(complete.model_dump(mode="json")))
    return complete
