"""The checks of verify that look at each released row by itself: path, picture, label."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features

from rem_release.data.shards import ReleasedRow, image_path
from rem_release.release.facts import CleanSplitFacts, Facts
from rem_release.release.schema import compare_schema
from rem_release.verification.png import read_png
from rem_release.verification.report import Check, Faults

_FOOTER_KEYS = {b"huggingface", b"ARROW:schema"}
_FIELD_KEYS = {b"PARQUET:field_id"}


def check_schema(release: Path, facts: Facts, features: Features, names: list[str]) -> tuple[Check, list[str]]:
    """Whether every data file has the promised columns, types and number of rows.

    Args:
        release: the folder.
        facts: consistent facts.
        features: the promised features.
        names: the data files that may be opened.

    Returns:
        The check, and the files whose rows can be read.
    """
    faults = Faults()
    readable = []
    for name in names:
        try:
            footer = pq.read_metadata(release / name)
            schema = footer.schema.to_arrow_schema()
            found = [*compare_schema(schema, features), *_inspect_footer(footer, schema, facts.data.image_column)]
        except (pa.ArrowException, OSError, ValueError) as error:
            faults.add(f"{name} is no Parquet file: {str(error).splitlines()[0]}")
            continue
        if footer.num_rows != facts.files[name].rows:
            found.append(f"has {footer.num_rows} rows instead of {facts.files[name].rows}")
        for fault in found:
            faults.add(f"{name} {fault}")
        if not found:
            readable.append(name)
    return faults.conclude("schema", f"{len(readable)} data files have the recorded columns, types and rows"), readable


def _inspect_footer(footer: pq.FileMetaData, schema: pa.Schema, image_column: str) -> Iterator[str]:
    """What a file carries beside its rows where nobody looks: notes, or pictures as statistics."""
    if extra := sorted(set(footer.metadata or {}) - _FOOTER_KEYS):
        yield f"carries the notes {_list_keys(extra)} in its footer"
    for field in _walk_fields(schema):
        if extra := sorted(set(field.metadata or {}) - _FIELD_KEYS):
            yield f"carries the notes {_list_keys(extra)} on the field {field.name}"
    groups = [footer.row_group(index) for index in range(footer.num_row_groups)]
    chunks = [group.column(index) for group in groups for index in range(group.num_columns)]
    paths = {f"{image_column}.bytes", f"{image_column}.path"}
    if any(chunk.is_stats_set for chunk in chunks if chunk.path_in_schema in paths):
        yield f"carries statistics of the column {image_column}, which may hold whole pictures"


def _walk_fields(fields: Iterable[pa.Field]) -> Iterator[pa.Field]:
    for field in fields:
        yield field
        yield from _walk_fields(field.type.field(index) for index in range(field.type.num_fields))


def _list_keys(keys: list[bytes]) -> str:
    return ", ".join(key.decode("utf-8", "backslashreplace") for key in keys)


@dataclass(frozen=True)
class Picture:
    """A released row after decoding."""

    row: int
    pixels: np.ndarray | None
    """uint8 (H, W, 3), None where it cannot be decoded"""
    class_name: str | None
    """None where the label is missing or names no class"""
    picture_faults: list[str]
    row_faults: list[str]


class RowChecks:
    """Looks at rows one by one and adds up what the facts count.

    Args:
        facts: of the release.
        features: the promised features.
        clean_split: the split whose rows these are, where they are not those of `data/`.
    """

    def __init__(self, facts: Facts, features: Features, clean_split: CleanSplitFacts | None = None) -> None:
        self._facts = facts.data
        self._clean_split = clean_split
        self._counts = clean_split.class_counts if clean_split else facts.data.class_counts
        self._names = ("clean split", "clean split images") if clean_split else ("rows", "images")
        self._label = features[facts.data.label_column]
        self._pictures, self._rows = Faults(), Faults()
        self._classes: Counter[str | None] = Counter()
        self._sizes: set[tuple[int, int]] = set()

    def read(self, row: ReleasedRow, number: int) -> Picture:
        """Decode released row `number`; safe to call from several threads."""
        row_faults = []
        if row.path != image_path(number):
            row_faults.append(f"row {number} has the path {row.path!r} instead of {image_path(number)!r}")
        value = row.columns[self._facts.label_column]
        name = name_class(value, self._label)
        if name not in self._facts.classes:
            row_faults.append(f"row {number} has the label {value!r}, which is no class of the facts")
            name = None
        if row.png is None:
            return Picture(number, None, name, [f"row {number} has no picture"], row_faults)
        pixels, reasons = read_png(row.png)
        return Picture(number, pixels, name, [f"row {number} {reason}" for reason in reasons], row_faults)

    def take(self, picture: Picture) -> None:
        """Count one row."""
        for fault in picture.picture_faults:
            self._pictures.add(fault)
        for fault in picture.row_faults:
            self._rows.add(fault)
        self._classes[picture.class_name] += 1
        if picture.pixels is None:
            return
        height, width = picture.pixels.shape[:2]
        self._sizes.add((width, height))
        limit = self._facts.max_side
        if limit is not None and max(width, height) > limit:
            self._pictures.add(f"row {picture.row} is {width} x {height}, above max_side {limit}")

    def conclude(self, is_complete: bool) -> list[Check]:
        """The checks of all rows; counts are compared only if every row was read."""
        parts = list(zip(self._names, (self._rows, self._pictures), strict=True))
        if not is_complete:
            return [faults.conclude(name, "") if faults.count else _incomplete(name) for name, faults in parts]
        counts = [self._classes[name] for name in self._facts.classes]
        if counts != self._counts:
            wrong = [
                f"{name} {found} instead of {stated}"
                for name, found, stated in zip(self._facts.classes, counts, self._counts, strict=True)
                if found != stated
            ]
            self._rows.add(f"rows of a class are not those of the facts: {', '.join(wrong[:5])}")
        total = sum(self._classes.values())
        sound = f"{total} rows with opaque paths, labels complete, counts of classes right"
        if self._clean_split:
            sound = f"{total} pictures of the split {self._clean_split.split} are clean, by the owner's choice"
        else:
            self._compare_sizes()
        words = (sound, f"{total} bare 8-bit RGB PNG pictures, all decode")
        return [faults.conclude(name, said) for (name, faults), said in zip(parts, words, strict=True)]

    def _compare_sizes(self) -> None:
        for word, stated, choose in (("smallest", self._facts.smallest, min), ("largest", self._facts.largest, max)):
            found: tuple[int, int] | None = choose(self._sizes, key=_area, default=None)
            if stated not in self._sizes or found is None or _area(found) != _area(stated):
                self._pictures.add(f"the {word} picture is {found}, not {stated} (width, height) as the facts say")


def name_class(value: Any, feature: Any) -> str | None:
    """The class name of a label as the facts write it; None for a missing or impossible label."""
    if value is None:
        return None
    if isinstance(feature, ClassLabel):
        return feature.names[value] if 0 <= value < len(feature.names) else None
    return str(value)


def _incomplete(name: str) -> Check:
    return Check(name, None, "not all rows could be read: see the damaged files above")


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]
