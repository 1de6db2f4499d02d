"""A release of ours beside its originals: first its files must be what its facts say, then every row finds its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np

from rem_release.audit.inputs.pairs import Pairs, Progress
from rem_release.audit.inputs.remembered import pack_hashes, recall, remember, stamp_of, unpack_hashes
from rem_release.data.images.decoding import BadImage
from rem_release.data.images.pixels import pixel_hash
from rem_release.data.in_order import map_in_order
from rem_release.errors import InputError, VerificationError
from rem_release.release.documents import FACTS, read_facts
from rem_release.release.facts import Facts
from rem_release.release.run_folder import RunFolder
from rem_release.release.schema import read_features
from rem_release.verification.file_checks import check_hashes
from rem_release.verification.originals import Originals
from rem_release.verification.pairing import OriginalLostError, Pairing, RecordedRow, choose_pairing, is_within
from rem_release.verification.row_checks import check_schema
from rem_release.verification.shard_images import ShardImages

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
    run: RunFolder | None = None,
    progress: Progress | None = None,
) -> Pairs:
    """Read every row of a release once and find its original as `verify` does, or take what an audit remembered.

    Args:
        release: the folder.
        facts: from `read_sound_facts`.
        originals: the clean images.
        row_map: the run's record; without it rows are paired by position or by search.
        run: where an earlier audit may have left what it found.
        progress: told (done, total) rows.

    Raises:
        InputError: an original is missing or changed, or these are not the originals.
        VerificationError: a released image cannot be read.
    """
    data = facts.data
    stored = _LateStored([release / name for name in _data_files(facts)], data.image_column, data.label_column)
    stamp = _stamp(facts, originals, row_map)
    known = recall(run, "pairs", stamp, ("names", "indices", "protected", "clean"))
    if known is None:
        pairing = choose_pairing(originals, row_map, data.images, facts.protection.rho_u_levels)
        names, found = stored.opened.names, _match_all(stored.opened, originals, pairing, facts, progress)
        indices = [matched.index for matched in found]
        protected, clean = [each.protected_hash for each in found], [each.clean_hash for each in found]
    else:
        names, indices = known["names"].tolist(), known["indices"].tolist()
        protected, clean = unpack_hashes(known["protected"]), unpack_hashes(known["clean"])
    pairs = Pairs(
        names=names,
        origins=[originals.origin(index) for index in indices],
        protected_hashes=protected,
        clean_hashes=clean,
        read_protected=stored.pixels,
        read_clean=lambda row: originals.pixels(indices[row]),
        indices=np.array(indices, np.int64),
        stamp=stamp,
    )
    changed = int(pairs.changed.sum())
    if changed != data.protected:
        raise InputError(
            f"{changed} released rows differ from what was taken for their originals, and {FACTS} counts "
            f"{data.protected} protected rows: these are not the originals; {_CURE}"
        )
    return pairs


def keep_pairs(run: RunFolder | None, pairs: Pairs) -> None:
    """Leave what was found out for the next audit of the run."""
    protected, clean = pack_hashes(pairs.protected_hashes), pack_hashes(pairs.clean_hashes)
    arrays = {"names": np.array(pairs.names), "indices": pairs.indices, "protected": protected, "clean": clean}
    remember(run, "pairs", pairs.stamp, **arrays)


def _stamp(facts: Facts, originals: Originals, row_map: Sequence[RecordedRow] | None) -> str:
    recorded = None if row_map is None else [(row.index, row.origin, row.clean_sha256) for row in row_map]
    stated = [facts.digest, facts.data.model_dump(mode="json"), facts.protection.model_dump(mode="json")]
    return stamp_of(stated, originals.source.stamp(), recorded)


class _LateStored:
    """The images of a release, whose files are not read before the first is asked for."""

    def __init__(self, files: Sequence[Path], image_column: str, label_column: str) -> None:
        self._of = (files, image_column, label_column)
        self._lock = Lock()
        self._opened: ShardImages | None = None

    @property
    def opened(self) -> ShardImages:
        with self._lock:
            if self._opened is None:
                self._opened = ShardImages(*self._of)
            return self._opened

    def pixels(self, row: int) -> np.ndarray:
        """See `ShardImages`."""
        return self.opened.pixels(row)


def _match_all(
    stored: ShardImages, originals: Originals, pairing: Pairing, facts: Facts, progress: Progress | None
) -> list[_Matched]:
    def match(row: int) -> _Matched:
        return _match(row, stored, originals, pairing, facts.protection.rho_u_levels)

    found: list[_Matched] = []
    for matched in map_in_order(match, range(len(stored)), threads=1 if pairing.in_order else None):
        found.append(matched)
        if progress:
            progress(len(found), len(stored))
    return found


def _match(row: int, stored: ShardImages, originals: Originals, pairing: Pairing, levels: int) -> _Matched:
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
    return _Matched(partner.index, pixel_hash(protected), partner.sha256 or pixel_hash(partner.pixels))
