"""Whether images that are published without noise show what other rows protect."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from rem_release.data.copies.moved_images import find_moved
from rem_release.data.copies.near_images import Grids, NearPair, find_alike, find_near
from rem_release.errors import VerificationError
from rem_release.gate.protected_originals import ProtectedOriginals
from rem_release.release.documents import CLEAN
from rem_release.release.facts import Facts
from rem_release.verification.pairing import CleanRows, RecordedRow
from rem_release.verification.report import Check, Faults
from rem_release.verification.shard_images import ShardImages

_WIDEST = 32
_NAME = "clean split against protected rows"

Progress = Callable[[int, int], None]


def check_clean_split(
    release: Path,
    facts: Facts,
    clean: CleanRows | None,
    row_map: Sequence[RecordedRow] | None = None,
    progress: Progress | None = None,
) -> list[Check]:
    """Refuse a clean split whose images are within ρ_u of the original of a protected row, see `near_images`.

    A row whose original is not known is compared itself: its original is within ρ_u of it. Copies that
    were compressed again are seen (`find_alike`), and those with a border, cropped, shifted or mirrored (`find_moved`);
    turned and recoloured ones are not. The radius is at most 32 levels.

    Args:
        release: the folder; its files have been verified.
        facts: consistent facts.
        clean: the originals, as far as they are known.
        row_map: the run's record of rows; without it every original counts as protected.
        progress: told (done, total) images read.

    Returns:
        One check, none where no split is published clean.
    """
    if facts.clean_split is None:
        return []
    try:
        return [_compare(release, facts, clean, row_map, progress)]
    except VerificationError as error:
        return [Check(_NAME, False, f"it could not be compared: {error}")]


def _compare(
    release: Path,
    facts: Facts,
    clean: CleanRows | None,
    row_map: Sequence[RecordedRow] | None,
    progress: Progress | None,
) -> Check:
    assert facts.clean_split is not None
    split, resolution = _open(release, facts, CLEAN), facts.protection.resolution
    levels = min(facts.protection.rho_u_levels, _WIDEST)
    total, done = len(split) + facts.data.images, 0

    def report() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(min(done, total), total)

    asked = Grids(split.pixels, np.arange(len(split)), resolution, report)
    originals = ProtectedOriginals(clean, row_map)
    known = Grids(originals.read, originals.numbers, resolution, report)
    rest = originals.list_unknown(facts.data.images, known.rows)
    released = Grids(_open(release, facts, "data").pixels, rest, resolution, report) if len(rest) else None
    faults, split_name = Faults(), facts.clean_split.split
    for others, name in ((known, originals.name), (released, "released row {}".format)):
        if others is None:
            continue
        found = {near.one: near for near in find_moved(asked, others)}
        found |= {near.one: near for near in find_alike(asked, others)}
        found |= {near.one: near for near in find_near(asked, others, levels, first_only=True)}
        for _, near in sorted(found.items()):
            faults.add(_describe(split_name, near, name(near.other)))
    with_what = f"{len(known)} originals" + (f" and {len(rest)} released images" if len(rest) else "")
    return faults.conclude(
        _NAME, f"none of its {len(split)} images is within {levels} levels of {with_what}, or looks like one"
    )


def _describe(split: str, near: NearPair, what: str) -> str:
    return (
        f"row {near.one} of the split {split} is within {near.distance} levels of {what}: it would be published clean; "
        f"take it out of {split}, or push without --publish-clean-split"
    )


def _open(release: Path, facts: Facts, folder: str) -> ShardImages:
    files = [release / name for name in sorted(facts.files) if name.startswith(f"{folder}/")]
    return ShardImages(files, facts.data.image_column, facts.data.label_column)
