"""How often an owner has tried: the audits of the same originals that a run folder remembers.

`private/attempts.json` outlives `protect --overwrite`, beside the record of what was published: to protect the same
images again until an audit passes is an attempt each time. An image more or fewer does not make other originals: a
sketch of their hashes, the lowest of them, is kept (Broder 1997, On the resemblance and containment of documents), and
sets whose sketches share an image count as the same. What other run folders saw is not known here.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rem_release.errors import InputError
from rem_release.recipe_files import hash_document
from rem_release.release.certificate import AttemptFacts, Certificate
from rem_release.release.run_folder import RunFolder
from rem_release.verdict.plan import Seeds

_KEYS = ("originals", "release", "holdout", "recipe")
_SKETCHED, _DIGITS = 256, 16
_SKETCH = "pictures"
"""key of the sketch in the record"""


def sketch(hashes: Iterable[str]) -> list[str]:
    """The lowest hashes of a set of images, in few digits: two sets that share most of their images share some."""
    return sorted({text[:_DIGITS] for text in hashes})[:_SKETCHED]


def note_attempt(
    run: RunFolder | None, seeds: Seeds, recipe_sha256: str, images: list[str], made_on: dict[str, Any], writes: bool
) -> AttemptFacts | None:
    """Note an audit as it begins, and count the others of the same originals.

    Args:
        run: where the audit is remembered; None for another copy, whose audits nobody counts.
        seeds: name the originals, the release and the test images.
        recipe_sha256: of the audit recipe.
        images: the sketch of the originals.
        made_on: device, processes and versions, on which the victims depend too.
        writes: whether this process writes; the first of several.

    Returns:
        The other audits; None where none are remembered.

    Raises:
        InputError: the record is damaged, or cannot be written.
    """
    if run is None or not run.private.is_dir():
        return None
    mine: dict[str, Any] = dict(zip(_KEYS, (seeds.clean, seeds.release, seeds.holdout, recipe_sha256), strict=True))
    mine |= {_SKETCH: images, "made_on": hash_document(made_on)}
    known = _read(run.attempts, run)
    if writes and mine not in known:
        try:
            run.write_json(run.attempts, {"audits": [*known, mine]})
        except OSError as error:
            raise InputError(f"{run.attempts} cannot be written: {error.strerror}") from None
    return _count([each for each in known if each != mine], mine)


def find_untold(run: RunFolder, audit: Certificate) -> str | None:
    """Why a certificate tells of fewer earlier audits than the run remembers; None where it does not.

    Raises:
        InputError: the record is damaged.
    """
    known = _read(run.attempts, run)
    names = (audit.clean_digest, audit.digest, audit.holdout.digest, hash_document(audit.recipe))
    mine: dict[str, Any] = dict(zip(_KEYS, names, strict=True))
    places = [place for place, each in enumerate(known) if mine.items() <= each.items()]
    before = known[: places[0]] if places else known
    counted = _count(before, known[places[0]] if places else mine)
    stated = audit.attempts or AttemptFacts(earlier=0, releases=0)
    if stated.earlier >= counted.earlier and stated.releases >= counted.releases:
        return None
    return (
        f"audit.json tells of {stated.earlier} earlier audits of these originals, of {stated.releases} other releases, "
        f"and {run.attempts} remembers {counted.earlier}, of {counted.releases}"
    )


def _count(others: list[dict[str, Any]], mine: dict[str, Any]) -> AttemptFacts:
    """Those of the same originals, and of how many other releases they were."""
    images = set(mine.get(_SKETCH, []))
    alike = [
        each
        for each in others
        if each["originals"] == mine["originals"] or not images.isdisjoint(each.get(_SKETCH, []))
    ]
    return AttemptFacts(earlier=len(alike), releases=len({each["release"] for each in alike} - {mine["release"]}))


def _read(path: Path, run: RunFolder) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    document = run.read_json(path)
    audits = document.get("audits") if isinstance(document, dict) else None
    if not isinstance(audits, list) or not all(
        isinstance(each, dict)
        and all(isinstance(each.get(key), str) for key in _KEYS)
        and all(isinstance(text, str) for text in each.get(_SKETCH, []))
        for each in audits
    ):
        raise InputError(f"{path} is damaged: it is not a list of audits; restore it, or delete it to forget them")
    return audits
