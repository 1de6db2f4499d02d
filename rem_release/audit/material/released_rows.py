"""A release of ours beside its originals: first its files must be what its facts say, then every row finds its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rem_release.audit.material.pairs import Pairs, Progress
from rem_release.data.images.decoding import BadImage
from rem_release.data.images.pixels import pixel_hash
from rem_release.data.in_order import map_in_order
from rem_release.errors import InputError, VerificationError
from rem_release.release.documents import FACTS, read_facts
from rem_release.release.facts import Facts
from rem_release.release.schema import read_features
from rem_release.verification.file_checks import check_hashes
from rem_release.verification.originals import Originals
from rem_release.verification.pairing import OriginalLostError, Pairing, RecordedRow, choose_pairing, is_within
from rem_release.verification.row_checks import check_schema
from rem_release.verification.stored_pictures import StoredPictures

_CURE = "give the images that were protected, as they were then, with --clean"


def read_sound_facts(release: Path) -> Facts:
    """Read the facts of a release and hold its data files against them. Card and figures are not looked at.

    Raises:
        VerificationError: protection.json is missing, damaged or contradicts itself, or a data file is not its own.
    """
    facts = read_facts(release)
    _, intact = check_hashes(release, facts)
    names = _data_files(facts)
    damaged = [name for name in names if name not in intact]
    if damaged:
        more = f" (and {len(damaged) - 1} more files)" if len(damaged) > 1 else ""
        raise VerificationError(
            f"{release / damaged[0]} is missing, damaged or was changed: it is not the file of {FACTS}{more}; "
            "restore it, or protect again"
        )
    schema, _ = check_schema(release, facts, read_features(facts.data.features), names)
    if not schema.passed:
        raise VerificationError(f"{release} is not what it says: {schema.detail}")
    return facts


def _data_files(facts: Facts) -> list[str]:
    return sorted(name for name in facts.files if name.startswith("data/"))


@dataclass(frozen=True)
class _Matched:
    """What was found out about one row."""

    index: int
    """of the original"""
    protected_hash: str
    clean_hash: str


def pair_release(
    release: Path,
    facts: Facts,
    originals: Originals,
    row_map: Sequence[RecordedRow] | None,
    progress: Progress | None = None,
) -> Pairs:
    """Read every row of a release once and find its original as `verify` does.

    Args:
        release: the folder.
        facts: from `read_sound_facts`.
        originals: the clean images.
        row_map: the run's record; without it rows are paired by position or by search.
        progress: told (done, total) rows.

    Raises:
        InputError: an original is missing or changed, or these are not the originals.
        VerificationError: a released picture cannot be read.
    """
    data = facts.data
    stored = StoredPictures([release / name for name in _data_files(facts)], data.image_column, data.label_column)
    pairing = choose_pairing(originals, row_map, data.images, facts.protection.rho_u_levels)

    def match(row: int) -> _Matched:
        return _match(row, stored, originals, pairing, facts.protection.rho_u_levels)

    found: list[_Matched] = []
    for matched in map_in_order(match, range(len(stored)), threads=1 if pairing.in_order else None):
        found.append(matched)
        if progress:
            progress(len(found), len(stored))
    indices = [matched.index for matched in found]
    pairs = Pairs(
        names=stored.names,
        origins=[originals.origin(index) for index in indices],
        protected_hashes=[matched.protected_hash for matched in found],
        clean_hashes=[matched.clean_hash for matched in found],
        read_protected=stored.pixels,
        read_clean=lambda row: originals.pixels(indices[row]),
    )
    changed = int(pairs.changed.sum())
    if changed != data.protected:
        raise InputError(
            f"{changed} released rows differ from what was taken for their originals, and {FACTS} counts "
            f"{data.protected} protected rows: these are not the originals; {_CURE}"
        )
    return pairs


def _match(row: int, stored: StoredPictures, originals: Originals, pairing: Pairing, levels: int) -> _Matched:
    protected = stored.pixels(row)
    try:
        partner = pairing.find(row, protected)
    except OriginalLostError as error:
        raise InputError(f"{error}; {_CURE}") from None
    except BadImage as error:
        raise InputError(f"the original of row {row} cannot be read ({error}); {_CURE}") from None
    if partner is None:
        raise InputError(f"row {row} has no original among those given; {_CURE}")
    origin, label = originals.origin(partner.index), originals.label(partner.index)
    if label is not None and label != stored.names[row]:
        raise InputError(f"row {row} is labelled {stored.names[row]}, and {origin} is labelled {label}; {_CURE}")
    if not is_within(partner.pixels, protected, levels):
        raise InputError(
            f"row {row} is not {origin} with noise of at most {levels} levels, which {FACTS} promises: "
            f"that is not its original; {_CURE}"
        )
    return _Matched(partner.index, pixel_hash(protected), pixel_hash(partner.pixels))
