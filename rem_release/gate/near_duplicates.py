"""Whether pictures that go out without noise show what other rows protect."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from rem_release.audit.material.stored_pictures import StoredPictures
from rem_release.data.decoding import BadImage, pixel_hash
from rem_release.data.near_pictures import Grids, Near, find_alike, find_near
from rem_release.errors import VerificationError
from rem_release.release.documents import CLEAN
from rem_release.release.facts import Facts
from rem_release.verification.pairing import CleanRows, RecordedRow
from rem_release.verification.report import Check, Faults

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
    """Refuse a clean split whose pictures lie within ρ_u of the original of a protected row, see `near_pictures`.

    A row whose original is not known is compared itself: its original lies within ρ_u of it. Copies that
    were compressed anew are seen (`find_alike`); flipped, cropped and recoloured ones are not. The radius is at most 32
    levels.

    Args:
        release: the folder; its files have been verified.
        facts: consistent facts.
        clean: the originals, as far as they are known.
        row_map: the run's record of rows; without it every original counts as protected.
        progress: told (done, total) pictures read.

    Returns:
        One check, none where no split goes out clean.
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
    originals = _Originals(clean, row_map)
    known = Grids(originals.read, originals.numbers, resolution, report)
    rest = originals.list_unknown(facts.data.images, known.rows)
    released = Grids(_open(release, facts, "data").pixels, rest, resolution, report) if len(rest) else None
    faults, split_name = Faults(), facts.clean_split.split
    for others, name in ((known, originals.name), (released, "released row {}".format)):
        if others is None:
            continue
        found = {near.one: near for near in find_alike(asked, others)}
        found |= {near.one: near for near in find_near(asked, others, levels, first_only=True)}
        for _, near in sorted(found.items()):
            faults.add(_describe(split_name, near, name(near.other)))
    with_what = f"{len(known)} originals" + (f" and {len(rest)} released pictures" if len(rest) else "")
    return faults.conclude(
        _NAME, f"none of its {len(split)} pictures lies within {levels} levels of {with_what}, or looks like one"
    )


class _Originals:
    """The originals of protected rows under the numbers of the rows; without a record all, under their own numbers."""

    def __init__(self, clean: CleanRows | None, row_map: Sequence[RecordedRow] | None) -> None:
        self._clean, self._map = clean, row_map
        if row_map is None:
            numbers = list(range(len(clean) if clean else 0))
        else:
            numbers = [number for number, record in enumerate(row_map) if clean and self._is_known(record)]
        self.numbers = np.array(numbers, np.int64)

    @staticmethod
    def _is_known(record: RecordedRow) -> bool:
        return record.protected and record.index is not None

    def read(self, number: int) -> np.ndarray | None:
        """uint8 (H, W, 3); None where it cannot be read, or is not the one that was protected."""
        assert self._clean is not None
        record = self._map[number] if self._map is not None else None
        try:
            pixels = self._clean.pixels(number if record is None or record.index is None else record.index)
        except BadImage:
            return None
        return pixels if record is None or pixel_hash(pixels) == record.clean_sha256 else None

    def name(self, number: int) -> str:
        """An original in words."""
        return (
            f"original {number}" if self._map is None else f"the original of row {number}, {self._map[number].origin}"
        )

    def list_unknown(self, images: int, known: np.ndarray) -> np.ndarray:
        """int64, the released rows that may be protected and whose originals are not at hand."""
        if self._map is None:
            return np.arange(images)
        protected = [number for number, record in enumerate(self._map) if record.protected]
        return np.setdiff1d(np.array(protected, np.int64), known)


def _describe(split: str, near: Near, what: str) -> str:
    return (
        f"row {near.one} of the split {split} lies within {near.distance} levels of {what}: it would go out clean; "
        f"take it out of {split}, or push without --publish-clean-split"
    )


def _open(release: Path, facts: Facts, folder: str) -> StoredPictures:
    files = [release / name for name in sorted(facts.files) if name.startswith(f"{folder}/")]
    return StoredPictures(files, facts.data.image_column, facts.data.label_column)
