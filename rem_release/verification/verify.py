"""Proves from the released bytes, and from the originals where they are at hand, that a release is what it says.

Checks do not stop at the first fault, with one exception: without a sound protection.json there is nothing to check
against. Files whose bytes are not the recorded ones are named and not opened. Rows are streamed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rem_release.data.in_order import map_in_order
from rem_release.data.shards import ReleasedRow, iterate_rows
from rem_release.errors import InputError, VerificationError
from rem_release.release.documents import CLEAN, read_stated_facts
from rem_release.release.facts import CleanSplitFacts, Facts
from rem_release.release.schema import read_features
from rem_release.verification.clean_checks import CleanChecks, Comparison, list_unchecked
from rem_release.verification.file_checks import (
    check_card,
    check_certificate,
    check_consistency,
    check_figures,
    check_file_list,
    check_format,
    check_hashes,
)
from rem_release.verification.pairing import CleanRows, RecordedRow, choose_pairing
from rem_release.verification.report import Check, Report
from rem_release.verification.row_checks import CheckedImage, RowChecks, check_bytes, check_schema
from rem_release.verification.verdict_checks import check_verdict

__all__ = ["Check", "CleanRows", "Report", "verify_release"]

Progress = Callable[[int, int], None]


def verify_release(
    release: Path,
    clean: CleanRows | None = None,
    row_map: Sequence[RecordedRow] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check a release folder.

    Args:
        release: the folder.
        clean: the originals, or None: what needs them is then listed as not checked.
        row_map: for each released row which original of `clean` it shows, that image's hash, and whether the row
            carries noise. A row whose original is missing or changed is not compared. Without the map rows are paired
            by position or by search, and a row counts as protected if it differs from its original.
        progress: called with (rows done, rows in all); those of a split without noise come last.

    Raises:
        InputError: `release` is not a folder.
    """
    if not release.is_dir():
        raise InputError(f"{release} is not a folder; give a run folder or its release/ folder")
    try:
        facts = read_stated_facts(release)
    except VerificationError as error:
        return Report([Check("facts", False, str(error))])
    consistency = check_consistency(facts)
    hashes, intact = check_hashes(release, facts)
    certificate, audit = check_certificate(release, facts)
    old = check_format(facts)
    checks = [
        consistency,
        *([old] if old else []),
        check_file_list(release, facts),
        hashes,
        check_card(release, facts, audit),
        *([certificate] if certificate else []),
        *(check_verdict(release, facts, audit) if audit else []),
        check_figures(release, facts, intact),
    ]
    if not consistency.passed:
        return Report([*checks, Check("rows", None, "not read: protection.json contradicts itself")])
    total = facts.data.images + (facts.clean_split.images if facts.clean_split else 0)
    count = _Counter(total, progress)
    rows = _check_rows(release, facts, intact, clean, row_map, count)
    others = _check_clean_split(release, facts, facts.clean_split, intact, count) if facts.clean_split else []
    return Report([*checks, *rows.checks, *others], rows.imperceptibility, rows.worst)


@dataclass
class _Counter:
    """Tells how many rows are done."""

    total: int
    progress: Progress | None
    done: int = 0

    def advance(self) -> None:
        """Count one row."""
        self.done += 1
        if self.progress:
            self.progress(self.done, self.total)


def _check_rows(
    release: Path,
    facts: Facts,
    intact: set[str],
    clean: CleanRows | None,
    row_map: Sequence[RecordedRow] | None,
    count: _Counter,
) -> Report:
    """Stream all rows of the files that can be trusted through the row checks and the clean checks."""
    features = read_features(facts.data.features)
    names = sorted(name for name in facts.files if name.startswith("data/"))
    content, sound = check_bytes(release, facts, features, [name for name in names if name in intact])
    schema, fitting = check_schema(release, facts, features, [name for name in names if name in intact])
    readable = [name for name in fitting if name in sound]
    by_row = RowChecks(facts, features)
    by_clean, in_order = None, False
    if clean is not None:
        pairing = choose_pairing(clean, row_map, facts.data.images, facts.protection.rho_u_levels)
        by_clean, in_order = CleanChecks(facts, clean, pairing), pairing.in_order

    def look(numbered: tuple[int, ReleasedRow]) -> tuple[CheckedImage, Comparison | None]:
        image = by_row.read(numbered[1], numbered[0])
        return image, by_clean.compare(image, numbered[1].columns) if by_clean else None

    damaged: list[Check] = []
    rows = _number_rows(release, facts, names, readable, damaged)
    for image, comparison in map_in_order(look, rows, threads=1 if in_order else None):
        by_row.take(image)
        if by_clean and comparison:
            by_clean.take(comparison)
        count.advance()
    checks = [content, schema, *damaged, *by_row.conclude(count.done == facts.data.images)]
    if by_clean is None:
        return Report([*checks, *list_unchecked()])
    return Report([*checks, *by_clean.conclude()], by_clean.imperceptibility, by_clean.worst)


def _check_clean_split(
    release: Path, facts: Facts, clean_split: CleanSplitFacts, intact: set[str], count: _Counter
) -> list[Check]:
    """Stream all rows of the split without noise through the row checks."""
    features = read_features(facts.data.features)
    names = sorted(name for name in facts.files if name.startswith(f"{CLEAN}/"))
    content, sound = check_bytes(release, facts, features, [name for name in names if name in intact])
    schema, fitting = check_schema(release, facts, features, [name for name in names if name in intact])
    readable = [name for name in fitting if name in sound]
    by_row, first = RowChecks(facts, features, clean_split), count.done
    damaged: list[Check] = []
    rows = _number_rows(release, facts, names, readable, damaged)
    for image in map_in_order(lambda numbered: by_row.read(numbered[1], numbered[0]), rows):
        by_row.take(image)
        count.advance()
    checks = [replace(check, name=f"clean split {check.name}") for check in (content, schema, *damaged)]
    return [*checks, *by_row.conclude(count.done - first == clean_split.images)]


def _number_rows(
    release: Path, facts: Facts, names: list[str], readable: list[str], damaged: list[Check]
) -> Iterator[tuple[int, ReleasedRow]]:
    """Yield (row of the release, row) of the readable files; a file that breaks on the way goes to `damaged`."""
    first = 0
    for name in names:
        if name in readable:
            try:
                for row in iterate_rows([release / name], None, facts.data.image_column):
                    yield first + row.number, row
            except VerificationError as error:
                damaged.append(Check("data files", False, str(error)))
        first += facts.files[name].rows or 0
