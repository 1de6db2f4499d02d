"""How often an owner has tried: the audits of the same originals that a run folder remembers.

`private/attempts.json` outlives `protect --overwrite`, beside the record of what was published: to protect the same
pictures again until an audit passes is an attempt each time. What other run folders saw is not known here.
"""

from pathlib import Path
from typing import Any

from rem_release.errors import InputError
from rem_release.recipe_files import hash_document
from rem_release.release.certificate import AttemptFacts, Certificate
from rem_release.release.run_folder import RunFolder
from rem_release.verdict.plan import Seeds

_KEYS = ("originals", "release", "holdout", "recipe")


def note_attempt(run: RunFolder | None, seeds: Seeds, recipe_sha256: str, writes: bool) -> AttemptFacts | None:
    """Note an audit as it begins, and count the others of the same originals.

    Args:
        run: where the audit is remembered; None for another copy, whose audits nobody counts.
        seeds: name the originals, the release and the test images.
        recipe_sha256: of the audit recipe.
        writes: whether this process writes; the first of several.

    Returns:
        The other audits; None where none are remembered.

    Raises:
        InputError: the record is damaged, or cannot be written.
    """
    if run is None or not run.private.is_dir():
        return None
    mine = dict(zip(_KEYS, (seeds.clean, seeds.release, seeds.holdout, recipe_sha256), strict=True))
    known = _read(run.attempts, run)
    if writes and mine not in known:
        try:
            run.write_json(run.attempts, {"audits": [*known, mine]})
        except OSError as error:
            raise InputError(f"{run.attempts} cannot be written: {error.strerror}") from None
    others = [each for each in known if each["originals"] == seeds.clean and each != mine]
    releases = {each["release"] for each in others} - {seeds.release}
    return AttemptFacts(earlier=len(others), releases=len(releases))


def find_untold(run: RunFolder, audit: Certificate) -> str | None:
    """Why a certificate tells of fewer earlier audits than the run remembers; None where it does not.

    Raises:
        InputError: the record is damaged.
    """
    known = _read(run.attempts, run)
    mine = dict(
        zip(_KEYS, (audit.clean_digest, audit.digest, audit.holdout.digest, hash_document(audit.recipe)), strict=True)
    )
    others = [
        each
        for each in known[: known.index(mine) if mine in known else None]
        if each["originals"] == audit.clean_digest
    ]
    releases = len({each["release"] for each in others} - {audit.digest})
    stated = audit.attempts or AttemptFacts(earlier=0, releases=0)
    if stated.earlier >= len(others) and stated.releases >= releases:
        return None
    return (
        f"audit.json tells of {stated.earlier} earlier audits of these originals, of {stated.releases} other releases, "
        f"and {run.attempts} remembers {len(others)}, of {releases}"
    )


def _read(path: Path, run: RunFolder) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    document = run.read_json(path)
    audits = document.get("audits") if isinstance(document, dict) else None
    if not isinstance(audits, list) or not all(
        isinstance(each, dict) and all(isinstance(each.get(key), str) for key in _KEYS) for each in audits
    ):
        raise InputError(f"{path} is damaged: it is no list of audits; restore it, or delete it to forget them")
    return audits
