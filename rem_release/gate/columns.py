"""The scan of what stands beside the images: columns and class names that lead to an original, or show it."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from rem_release.data.leaks.hidden_images import MAX_NUMBERS, is_plain
from rem_release.errors import InputError
from rem_release.gate import values
from rem_release.gate.excess import find_excess, read_batches
from rem_release.release.facts import Facts
from rem_release.release.schema import read_features
from rem_release.verification.report import Check, Faults

_MAJORITY = 0.5
_DIFFERENT = 0.9
_MIN_NAMES = 8
_REMEMBERED = 10_000
_TOLD_APART = (values.NUMBERED_NAME, values.SPACED_NAME, values.REFERENCE)
"""Kinds that a column holds only where its values differ from row to row."""
_DAMAGED = "not read: {}"


@dataclass
class _Seen:
    """One kind of finding in one column."""

    rows: int
    where: str
    excerpt: str


@dataclass
class _Scan:
    """The values of one column so far."""

    may_refer: bool = False
    """by its name"""
    count: int = 0
    seen: dict[str, _Seen] = field(default_factory=dict)
    different: dict[str, set[int]] = field(default_factory=dict)
    """kind -> hashes of the values that could be of it, the first ten thousand"""
    last_names: set[int] = field(default_factory=set)
    """of paths with spaces"""

    def take(self, value: Any, where: str) -> None:
        """Look at one value; missing ones do not count."""
        if value is None:
            return
        self.count += 1
        found = values.read_value(value)
        if self.may_refer and values.is_reference(value):
            found[values.REFERENCE] = values.excerpt(value)
        for kind, excerpt in found.items():
            self.seen.setdefault(kind, _Seen(0, where, excerpt)).rows += 1
            if kind in _TOLD_APART and len(names := self.different.setdefault(kind, set())) < _REMEMBERED:
                names.add(hash(repr(value)))
                if kind == values.SPACED_NAME:
                    self.last_names.add(hash(values.read_last_name(str(value))))

    def conclude(self) -> dict[str, _Seen]:
        """What the column holds: of kinds that a few values do not prove, those of most values."""
        return {kind: seen for kind, seen in self.seen.items() if self._counts(kind, seen.rows)}

    def _counts(self, kind: str, rows: int) -> bool:
        if kind in (values.CHECKSUM, values.RELATIVE_PATH):
            return rows >= _MAJORITY * self.count
        if kind in _TOLD_APART:
            # `train/0017` in most rows, and nearly always another one: M/F and benign/malignant repeat themselves
            differ = len(self.different[kind]) >= _DIFFERENT * min(rows, _REMEMBERED)
            is_measure = kind == values.SPACED_NAME and len(self.last_names) < _MIN_NAMES  # `5 mg/ml`
            return rows >= max(_MIN_NAMES, _MAJORITY * self.count) and differ and not is_measure
        return True


def check_columns(release: Path, facts: Facts, kept: Collection[str]) -> list[Check]:
    """Look for what should not be published in the columns beside the images, and in the names of classes.

    Named and refused are paths, file names and addresses; camera data (EXIF); embeddings, also spread over columns;
    checksums; other encoded data; by their names, small copies, and sources that differ from row to row; and columns
    that say too much, see `data.row_capacity`. The owner can let them pass with `kept`. Images are refused in any case.
    Names and types are looked at by `gate.words`.

    Args:
        release: the folder; its files have been verified.
        facts: consistent facts.
        kept: columns that the owner lets pass (--keep-column).

    Raises:
        InputError: `kept` names no column beside the images.
    """
    data = facts.data
    require_columns(facts, kept)
    others = _list_others(facts)
    features = read_features(data.features)
    try:
        found = _scan_columns(release, facts, features, others)
        too_much = [words for _, words in find_excess(release, facts, features, kept)]
    except (pa.ArrowException, OSError, ValueError) as error:
        return [Check("columns", False, _DAMAGED.format(str(error).splitlines()[0])), _check_classes(facts, kept)]
    faults = Faults()
    passing: list[str] = []
    for name, seen in found.items():
        for fault in _judge(name, seen, kept, passing):
            faults.add(fault)
    for fault in too_much:
        faults.add(fault)
    words = f"{len(others)} columns beside the images hold nothing that leads to an original"
    passing += [f"column {name}" for name in others if name in kept and name not in found]
    if passing:
        words = f"kept by the owner's choice: {'; '.join(passing)}"
    return [faults.conclude("columns", words), _check_classes(facts, kept)]


def require_columns(facts: Facts, kept: Collection[str]) -> None:
    """Refuse to keep what is not there.

    Raises:
        InputError: `kept` names no column beside the images.
    """
    others = _list_others(facts)
    if unknown := [name for name in kept if name not in others]:
        there = ", ".join(others) or "none"
        raise InputError(f"--keep-column {unknown[0]}: no such column beside the images; there are: {there}")


def _list_others(facts: Facts) -> list[str]:
    return [name for name in facts.data.columns if name != facts.data.image_column]


def _judge(name: str, seen: dict[str, _Seen], kept: Collection[str], passing: list[str]) -> Iterator[str]:
    """The faults of one column; what the owner keeps goes to `passing` instead."""
    for kind, one in seen.items():
        words = f"column {name} holds {kind}{one.where}: {one.excerpt}"
        if kind == values.IMAGE:
            yield f"{words}; protect again with --drop-column {name}"
        elif name in kept:
            passing.append(f"column {name} ({kind})")
        else:
            yield f"{words}; protect again with --drop-column {name}, or push with --keep-column {name}"


def _scan_columns(
    release: Path, facts: Facts, features: datasets.Features, others: list[str]
) -> dict[str, dict[str, _Seen]]:
    """column -> kind -> what was seen; columns in which nothing was seen are left out."""
    label = facts.data.label_column
    found: dict[str, dict[str, _Seen]] = {name: {} for name in others}
    for name in others:
        if name != label and (kind := values.read_name(name)):
            found[name][kind] = _Seen(0, ", by its name", values.excerpt(name))
        if not is_plain(features[name]):
            found[name][values.IMAGE] = _Seen(0, ", or could", f"it is {type(features[name]).__name__}")
    for names, kind in _spread_numbers(features, [name for name in others if name != label]):
        for name in names:
            found[name][kind] = _Seen(0, "", f"{len(names)} columns of numbers, {names[0]} to {names[-1]}")
    texts = [name for name in others if name != label and _can_tell(name, features[name])]
    for name, seen in _read_columns(release, facts, texts).items():
        found[name] = seen | found[name]
    for name in others:
        if name != label and isinstance(features[name], datasets.ClassLabel):
            found[name] = _scan_names(features[name].names, " among its classes") | found[name]
    return {name: seen for name, seen in found.items() if seen}


def _can_tell(name: str, feature: Any) -> bool:
    """Whether the values of a column can be more than one number or one date, or number the originals."""
    if isinstance(feature, datasets.Value):
        return "string" in feature.dtype or (values.may_refer(name) and "int" in feature.dtype)
    return is_plain(feature) and not isinstance(feature, datasets.ClassLabel)


def _read_columns(release: Path, facts: Facts, names: list[str]) -> dict[str, dict[str, _Seen]]:
    """Stream some columns of all shards, the images left where they are."""
    scans = {name: _Scan(values.may_refer(name)) for name in names}
    for batch, places in read_batches(release, facts, names):
        for name, scan in scans.items():
            for value, where in zip(batch.column(name).to_pylist(), places, strict=True):
                scan.take(value, f" in {where}")
    return {name: scan.conclude() for name, scan in scans.items()}


def _spread_numbers(features: datasets.Features, names: list[str]) -> Iterator[tuple[list[str], str]]:
    """Columns of numbers whose names differ in a number only, `pixel0`, `pixel1` …, and what so many of them are."""
    numeric = [name for name in names if isinstance(features[name], datasets.Value) and _is_number(features[name])]
    stems = Counter(re.sub(r"\d+", "0", name) for name in numeric)
    for stem, count in stems.items():
        if stem.count("0") and count >= values.MIN_NUMBERS:
            group = [name for name in numeric if re.sub(r"\d+", "0", name) == stem]
            yield group, values.IMAGE if count > MAX_NUMBERS else values.NUMBERS


def _is_number(feature: datasets.Value) -> bool:
    return feature.dtype.lstrip("u").startswith(("int", "float"))


def _check_classes(facts: Facts, kept: Collection[str]) -> Check:
    """Names of classes are text like any other: paths and checksums of images make bad classes."""
    label = facts.data.label_column
    feature = read_features(facts.data.features).get(label)
    names = dict.fromkeys([*facts.data.classes, *(feature.names if isinstance(feature, datasets.ClassLabel) else [])])
    faults = Faults()
    for kind, seen in _scan_names(list(names), "").items():
        words = f"a class is named like {kind}: {seen.excerpt}; rename the classes and protect again"
        if kind == values.IMAGE:
            faults.add(words)
        elif label not in kept:
            faults.add(f"{words}, or push with --keep-column {label}")
    if label in kept:
        return faults.conclude("class names", f"kept by the owner's choice: column {label}")
    return faults.conclude("class names", f"{len(names)} names of classes lead to no file")


def _scan_names(names: Sequence[str], where: str) -> dict[str, _Seen]:
    """What names of classes hold. That all differ says nothing: classes always do."""
    scan = _Scan()
    for name in names:
        scan.take(name, where)
    return {kind: seen for kind, seen in scan.conclude().items() if kind not in _TOLD_APART}
