"""A split that is released without noise, such as `test`, by the owner's explicit choice.

Its shards lie in `clean/` beside `data/`: the facts list them, and the digest, to which the certificate is bound, does
not cover them. Its columns are exactly those of the protected rows.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

from rem_release.data.images.decoding import BadImage
from rem_release.data.images.png_writing import encode_png
from rem_release.data.in_order import map_in_order
from rem_release.data.shards import ShardWriter, released_columns, released_features
from rem_release.data.sources.source import Source
from rem_release.data.working_set import read_image
from rem_release.errors import InputError
from rem_release.release.clean_source import OPTION, open_clean_split
from rem_release.release.deletion import SHARDS, STAGED_SPLIT, delete_own, require_own
from rem_release.release.documents import CLEAN, describe_files
from rem_release.release.facts import CleanSplitFacts, DataFacts, Facts, FileFacts
from rem_release.release.schema import read_features
from rem_release.release.writing import Progress

__all__ = ["open_clean_split", "remove_clean_split", "write_clean_split"]

_BATCH_ROWS = 256
_SHOWN = 5
_GUESSED = {str(datasets.Value(name)) for name in ("int64", "float64")}
"""What readers of text take numbers for: one or the other, as the rows at hand are."""


def write_clean_split(release: Path, facts: Facts, source: Source, progress: Progress | None = None) -> Facts:
    """Write `clean/`, in place of what it held before. The bytes depend on the rows alone.

    The shards are made in a hidden folder beside the release, which a killed command may leave and the next one clears.

    Args:
        release: the folder.
        facts: of the release.
        source: see `open_clean_split`.
        progress: told (done, total) rows.

    Returns:
        The facts with the split and its files; the caller writes them.

    Raises:
        InputError: a column is missing or of another type, a class is not one of the release, an image cannot be
            read, or a folder that is to be replaced holds something else. Nothing of the release has changed.
    """
    split, features = source.options.split, read_features(facts.data.features)
    require_own(release, CLEAN, SHARDS)
    _require_columns(source, facts.data)
    numbers = _number_classes(source, facts.data.classes)
    staging = release.parent / f".{release.name}-{CLEAN}"
    delete_own(staging.parent, staging.name, STAGED_SPLIT)
    staging.mkdir(mode=0o700)
    try:
        with ShardWriter(staging, split, features, facts.data.image_column, subfolder=CLEAN) as writer:
            _write_rows(writer, source, facts.data, features, numbers, progress)
        files = describe_files(staging, (CLEAN,))
        delete_own(release, CLEAN, SHARDS)
        (staging / CLEAN).replace(release / CLEAN)
    finally:
        delete_own(staging.parent, staging.name, STAGED_SPLIT)
    counts = np.bincount(numbers, minlength=len(facts.data.classes)).tolist()
    described = CleanSplitFacts(split=split, images=len(source), class_counts=counts)
    return facts.model_copy(update={"clean_split": described, "files": {**_other_files(facts), **files}})


def remove_clean_split(release: Path, facts: Facts) -> Facts:
    """Delete `clean/`; returns the facts as if it had never been there, which the caller writes.

    Raises:
        InputError: `clean/` is a link, or holds something that this tool did not write.
    """
    delete_own(release, CLEAN, SHARDS)
    return facts.model_copy(update={"clean_split": None, "files": _other_files(facts)})


def _other_files(facts: Facts) -> dict[str, FileFacts]:
    return {name: file for name, file in facts.files.items() if not name.startswith(f"{CLEAN}/")}


def _require_columns(source: Source, data: DataFacts) -> None:
    missing = [name for name in data.columns if name not in source.dataset.column_names]
    if missing:
        raise InputError(
            f"{OPTION} {source.options.split}: {source.options.source} lacks the columns {_enumerate(missing)}, "
            "which the protected rows have; add them"
        )


def _number_classes(source: Source, classes: list[str]) -> np.ndarray:
    """int64 [rows], the index of each row's class in the release; any for a stray file, which is refused when read."""
    used = [source.classes[number] for number in np.unique(source.class_ids[source.class_ids >= 0])]
    if unknown := [name for name in used if name not in classes]:
        raise InputError(
            f"{OPTION} {source.options.split}: the release has no class {_enumerate(unknown)}; "
            f"its classes are {_enumerate(classes)}"
        )
    places = {name: number for number, name in enumerate(classes)}
    of_class = np.array([places.get(name, 0) for name in source.classes], np.int64)
    return of_class[source.class_ids]


def _write_rows(
    writer: ShardWriter,
    source: Source,
    data: DataFacts,
    features: datasets.Features,
    numbers: np.ndarray,
    progress: Progress | None,
) -> None:
    def encode(row: int) -> bytes | BadImage:
        try:
            return encode_png(read_image(source, row, data.max_side))
        except BadImage as error:
            return error

    bad: list[str] = []
    for first in range(0, len(source), _BATCH_ROWS):
        rows = np.arange(first, min(first + _BATCH_ROWS, len(source)))
        columns = _fit_columns(released_columns(source, rows), source, data, features, numbers[rows])
        for index, png in enumerate(map_in_order(encode, rows.tolist())):
            if isinstance(png, BadImage):
                bad.append(f"{source.origin(first + index)} ({png.reason})")
            else:
                writer.write([png], columns.slice(index, 1))
            if progress:
                progress(first + index + 1, len(source))
    if bad:
        more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise InputError(
            f"{OPTION} {source.options.split}: {len(bad)} images cannot be read: {', '.join(bad[:_SHOWN])}{more}; "
            "mend or remove them"
        )


def _fit_columns(
    table: pa.Table, source: Source, data: DataFacts, features: datasets.Features, numbers: np.ndarray
) -> pa.Table:
    """The columns beside the image with the very types of the release; labels by the names of their classes."""
    wanted = features.arrow_schema
    columns = {}
    for name in data.columns:
        if name == data.label_column:
            values = [_write_label(features[name], data.classes[number], int(number)) for number in numbers]
            columns[name] = pa.chunked_array([pa.array(values, wanted.field(name).type)])
        elif name != data.image_column:
            columns[name] = _fit_column(table.column(name), source, name, features[name], wanted.field(name).type)
    return pa.table(columns, schema=pa.schema([wanted.field(name) for name in columns]))


def _write_label(feature: Any, name: str, number: int) -> Any:
    """The value of a class in the label column."""
    if isinstance(feature, datasets.ClassLabel):
        return number
    if feature.dtype == "bool":
        return name == "True"
    return name if "string" in feature.dtype else float(name) if "float" in feature.dtype else int(name)


def _fit_column(
    values: pa.ChunkedArray, source: Source, name: str, feature: Any, wanted: pa.DataType
) -> pa.ChunkedArray:
    """Values as they are; readers of text guess types split by split, so whole numbers may have become others."""
    found = released_features(source)[name]
    if found == feature:
        return values
    both = {str(type_) for type_ in (found, feature)}
    if values.null_count == len(values) or both == _GUESSED:
        try:
            return values.cast(wanted)
        except pa.ArrowException:
            pass
    raise InputError(
        f"{OPTION} {source.options.split}: column {name!r} holds {values.type}, and {wanted} in the protected rows; "
        "give it the same values"
    )


def _enumerate(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(repr(name) for name in names[:_SHOWN]) + more
