"""Whether rows that are released without noise are near copies of the originals of rows that carry some."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from rem_release.data.copies.moved_images import find_moved
from rem_release.data.copies.near_groups import near_levels
from rem_release.data.copies.near_images import Grids, find_alike, find_near
from rem_release.data.images.pixels import pixel_hash
from rem_release.data.in_order import map_in_order
from rem_release.errors import VerificationError
from rem_release.gate.protected_originals import ProtectedOriginals
from rem_release.release.facts import Facts
from rem_release.verification.pairing import CleanRows, RecordedRow
from rem_release.verification.report import Check, Faults
from rem_release.verification.shard_images import ShardImages

_NAME = "unprotected rows against protected ones"

Progress = Callable[[int, int], None]


def check_unprotected_rows(
    release: Path,
    facts: Facts,
    clean: CleanRows | None,
    row_map: Sequence[RecordedRow] | None = None,
    progress: Progress | None = None,
) -> list[Check]:
    """Refuse rows without noise that are within twice ρ_u of the original of a protected row, see `near_groups`.

    Also refused are those that look like one: compressed again (`find_alike`), or moved (`find_moved`). `protect` gives
    near copies one role; version 0.2.0 gave one to equal images alone.

    Args:
        release: the folder; its files have been verified.
        facts: consistent facts.
        clean: the originals; without them the check is not made.
        row_map: the run's record of rows; without it the rows that equal an original count as unprotected, and all
            other originals as protected.
        progress: told (done, total) images read.

    Returns:
        One check, none where every row is protected.
    """
    if facts.data.unprotected == 0:
        return []
    if clean is None:
        return [Check(_NAME, None, "needs the originals: add --clean SOURCE")]
    try:
        return [_compare(release, facts, clean, row_map, progress)]
    except VerificationError as error:
        return [Check(_NAME, False, f"they could not be compared: {error}")]


def _compare(
    release: Path,
    facts: Facts,
    clean: CleanRows,
    row_map: Sequence[RecordedRow] | None,
    progress: Progress | None,
) -> Check:
    levels, resolution = near_levels(facts.protection.rho_u_levels), facts.protection.resolution
    files = [release / name for name in sorted(facts.files) if name.startswith("data/")]
    rows = ShardImages(files, facts.data.image_column, facts.data.label_column)
    originals = ProtectedOriginals(clean, row_map)
    if row_map is None:
        plain, protected = _tell_apart(rows, originals)
    else:
        plain = np.flatnonzero([not record.protected for record in row_map])
        protected = originals.numbers
    total, done = len(plain) + len(protected), 0

    def report() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, total)

    asked = Grids(rows.pixels, plain, resolution, report)
    known = Grids(originals.read, protected, resolution, report)
    faults, seen = Faults(), set()
    for near in find_near(asked, known, levels, first_only=True):
        seen.add(near.one)
        faults.add(
            f"row {near.one} is published clean, within {near.distance} levels of {originals.name(near.other)}, "
            "which is not; protect again with --overwrite: near copies get one role"
        )
    others = {near.one: near for near in (*find_alike(asked, known), *find_moved(asked, known))}
    for number, near in sorted(others.items()):
        if number not in seen:
            faults.add(
                f"row {number} is published clean and looks like {originals.name(near.other)}, which is not; protect "
                "again without one of them, or all with --fraction 1"
            )
    sound = f"none of {len(plain)} is within {levels} levels of {len(known)} originals of protected rows"
    return faults.conclude(_NAME, f"{sound}, or looks like one that was compressed again or moved")


def _tell_apart(rows: ShardImages, originals: ProtectedOriginals) -> tuple[np.ndarray, np.ndarray]:
    """int64 each: the rows that equal an original, and the originals that no row equals."""
    numbers = [int(number) for number in originals.numbers]
    read = map_in_order(lambda number: _hash(originals.read(number)), numbers)
    hashes = dict(zip(numbers, read, strict=True))
    known = set(hashes.values())
    released = list(map_in_order(lambda row: pixel_hash(rows.pixels(row)), range(len(rows))))
    plain = [row for row, found in enumerate(released) if found in known]
    shown = set(released)
    protected = [number for number, found in hashes.items() if found not in shown]
    return np.array(plain, np.int64), np.array(protected, np.int64)


def _hash(pixels: np.ndarray | None) -> str | None:
    return None if pixels is None else pixel_hash(pixels)
