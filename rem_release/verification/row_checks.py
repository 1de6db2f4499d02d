"""The checks of verify that look at each released row by itself: path, image, label."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features

from rem_release.data.shards import ReleasedRow, image_path
from rem_release.data.sources.labels import name_value
from rem_release.release.facts import CleanSplitFacts, Facts
from rem_release.release.schema import compare_schema
from rem_release.verification.parquet_bytes import inspect_bytes
from rem_release.verification.parquet_layout import read_footer
from rem_release.verification.png import read_png
from rem_release.verification.report import Check, Faults


def check_bytes(release: Path, facts: Facts, features: Features, names: list[str]) -> tuple[Check, list[str]]:
    """Whether every byte of the data files is accounted for, see `parquet_bytes`.

    Args:
        release: the folder.
        facts: consistent facts.
        features: the promised features.
        names: the data files that may be opened.

    Returns:
        The check, and the files that may be opened further.
    """
    faults = Faults()
    sound = []
    for name in names:
        found = list(inspect_bytes(release / name, features, facts.data.image_column))
        for fault in found:
            faults.add(f"{name} {fault}")
        if not found:
            sound.append(name)
    return faults.conclude("file bytes", f"{len(sound)} data files hold their rows and nothing else"), sound


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
            with (release / name).open("rb") as file:
                read_footer(file)  # strictly, and so in bounds
            footer = pq.read_metadata(release / name)
            found = compare_schema(footer.schema.to_arrow_schema(), features)
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


@dataclass(frozen=True)
class CheckedImage:
    """A released row after decoding."""

    row: int
    pixels: np.ndarray | None
    """uint8 (H, W, 3), None where it cannot be decoded"""
    class_name: str | None
    """None where the label is missing or names no class"""
    image_faults: list[str]
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
        self._classes_known = frozenset(facts.data.classes)
        self._label = features[facts.data.label_column]
        largest = facts.data.largest
        self._most_pixels = None if clean_split else largest[0] * largest[1]
        self._images, self._rows = Faults(), Faults()
        self._classes: Counter[str | None] = Counter()
        self._sizes: set[tuple[int, int]] = set()

    def read(self, row: ReleasedRow, number: int) -> CheckedImage:
        """Decode released row `number`; safe to call from several threads."""
        row_faults = []
        if row.path != image_path(number):
            row_faults.append(f"row {number} has the path {row.path!r} instead of {image_path(number)!r}")
        value = row.columns[self._facts.label_column]
        name = name_class(value, self._label)
        if name not in self._classes_known:
            row_faults.append(f"row {number} has the label {value!r}, which is no class of the facts")
            name = None
        if row.png is None:
            return CheckedImage(number, None, name, [f"row {number} has no image"], row_faults)
        pixels, reasons = read_png(row.png, self._most_pixels)
        return CheckedImage(number, pixels, name, [f"row {number} {reason}" for reason in reasons], row_faults)

    def take(self, image: CheckedImage) -> None:
        """Count one row."""
        for fault in image.image_faults:
            self._images.add(fault)
        for fault in image.row_faults:
            self._rows.add(fault)
        self._classes[image.class_name] += 1
        if image.pixels is None:
            return
        height, width = image.pixels.shape[:2]
        self._sizes.add((width, height))
        limit = self._facts.max_side
        if limit is not None and max(width, height) > limit:
            self._images.add(f"row {image.row} is {width} x {height}, above max_side {limit}")

    def conclude(self, is_complete: bool) -> list[Check]:
        """The checks of all rows; counts are compared only if every row was read."""
        pairs = list(zip(self._names, (self._rows, self._images), strict=True))
        if not is_complete:
            return [faults.conclude(name, "") if faults.count else _incomplete(name) for name, faults in pairs]
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
            sound = f"{total} images of the split {self._clean_split.split} are clean, by the owner's choice"
        else:
            self._compare_sizes()
        words = (sound, f"{total} bare 8-bit RGB PNG images, all decode")
        return [faults.conclude(name, said) for (name, faults), said in zip(pairs, words, strict=True)]

    def _compare_sizes(self) -> None:
        for word, stated, choose in (("smallest", self._facts.smallest, min), ("largest", self._facts.largest, max)):
            found: tuple[int, int] | None = choose(self._sizes, key=_area, default=None)
            if stated not in self._sizes or found is None or _area(found) != _area(stated):
                self._images.add(f"the {word} image is {found}, not {stated} (width, height) as the facts say")


def name_class(value: Any, feature: Any) -> str | None:
    """The class name of a label as the facts write it; None for a missing or impossible label."""
    if value is None:
        return None
    if isinstance(feature, ClassLabel):
        return feature.names[value] if 0 <= value < len(feature.names) else None
    return name_value(value)


def _incomplete(name: str) -> Check:
    return Check(name, None, "not all rows could be read: see the damaged files above")


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]
