"""Which columns a release can have: one of images, one of labels, read as classes, and others without any pixels."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rem_release.data.leaks.hidden_images import find_image, is_plain
from rem_release.data.sources.one_hot import find_one_hot
from rem_release.data.sources.rows import SourceOptions
from rem_release.errors import InputError

LABELS = {
    *("class", "classes", "class_name", "class_id", "category", "category_id", "target", "y", "tag"),
    *("species", "breed", "diagnosis"),
}
"""what people call a column of classes, beside labels"""
_LABEL = re.compile(
    r"(?:.*[\W_])?labels?(?:[\W_]?(?:ids?|idx|index|names?|text|str|string|num|number|class))?|classlabel"
)
_ADVICE = "give every row one class, or name another column with --label-column"


def drop_columns(tables: Sequence[datasets.Dataset], options: SourceOptions) -> list[datasets.Dataset]:
    """Leave out of each split what the options leave out; a column that is dropped need not stand in all of them.

    Raises:
        InputError: a column that is to be dropped is in none of them, or is needed.
    """
    for name in options.drop_columns:
        if not any(name in table.column_names for table in tables):
            raise InputError(name_columns(tables[0], options, name, "--drop-column"))
        if name in (options.image_column, options.label_column):
            raise InputError(f"--drop-column {name}: a release needs its image and its label column")
    return [table.remove_columns(_list_dropped(table, options)) for table in tables]


def _list_dropped(table: datasets.Dataset, options: SourceOptions) -> list[str]:
    dropped = [name for name in table.column_names if name in options.drop_columns]
    if options.keep_columns is not None:
        kept = {options.image_column, options.label_column, *options.keep_columns}
        dropped += [name for name in table.column_names if name not in {*kept, *dropped}]
    return dropped


def guess_columns(features: datasets.Features, options: SourceOptions) -> SourceOptions:
    """The columns of images and labels, where there is one of each kind alone and the options name none."""
    image, label = options.image_column, options.label_column
    if image == SourceOptions.image_column and image not in features:
        image = _only([name for name, feature in features.items() if is_image(feature)]) or image
    if label == SourceOptions.label_column and label not in features and options.label_from is None:
        others = {name: feature for name, feature in features.items() if name != image and _is_label(feature)}
        classes = [name for name, feature in others.items() if isinstance(feature, datasets.ClassLabel)]
        named = [name for name in others if names_labels(name)]
        label = _only([name for name in classes if name in named]) or _only([*{*classes, *named}]) or label
    return replace(options, image_column=image, label_column=label)


def names_labels(name: str) -> bool:
    """Whether a column's name says that it holds labels: `label`, `fine_label`, `label_id`; not `labelled_by`."""
    return name.lower() in LABELS or _LABEL.fullmatch(name.lower()) is not None


def _only(names: list[str]) -> str | None:
    return names[0] if len(names) == 1 else None


def read_plain(dataset: datasets.Dataset) -> datasets.Dataset:
    """The same with texts as texts and bytes as bytes: Polars writes views of them."""
    for name, feature in dataset.features.items():
        if isinstance(feature, datasets.Value) and feature.dtype.endswith("_view"):
            dataset = dataset.cast_column(name, datasets.Value(feature.dtype.removesuffix("_view")))
    return dataset


def name_columns(dataset: datasets.Dataset, options: SourceOptions, missing: str, option: str) -> str:
    """Say that a column is missing, and which there are."""
    columns = ", ".join(dataset.column_names)
    return f"{options.source} has no column {missing!r}; its columns are {columns}: choose with {option}"


def refuse_one_hot(dataset: datasets.Dataset, options: SourceOptions) -> None:
    """Refuse a table with a column for each class in place of one of labels.

    Raises:
        InputError: names them, and the line that makes one of them.
    """
    numbers = [
        name
        for name, feature in dataset.features.items()
        if isinstance(feature, datasets.Value) and feature.dtype.startswith(("int", "uint", "float", "bool"))
    ]
    if classes := find_one_hot({name: dataset[name][:] for name in numbers}):
        label = options.label_column
        raise InputError(
            f"{options.source} has no column {label!r}, and a column for each class ({', '.join(classes[:5])}), with a "
            f"1 in that of each row; write the name of that column into a column {label!r}, with pandas: "
            f"table[{label!r}] = table[{classes}].astype(float).idxmax(axis=1)"
        )


def read_image_column(dataset: datasets.Dataset, options: SourceOptions) -> datasets.Dataset:
    """Read the image column as encoded images, which are not decoded.

    Raises:
        InputError: there is none, or it holds something else.
    """
    column = options.image_column
    if column not in dataset.column_names:
        if "file_name" in dataset.column_names:
            raise InputError(
                f"{options.source} names files and holds no images; call it metadata.parquet, put it into the folder "
                "of the images, and give that folder"
            )
        raise InputError(name_columns(dataset, options, column, "--image-column"))
    if not is_image(dataset.features[column]):
        if text := _first_text(dataset, column):
            raise InputError(
                f"column {column!r} of {options.source} holds text such as {text!r:.120} and no images: put the bytes "
                "of the images into it, or call it file_name and the table metadata.parquet, beside the images"
            )
        raise InputError(f"column {column!r} of {options.source} does not hold images; choose one with --image-column")
    try:
        return dataset.cast_column(column, datasets.Image(decode=False))
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise InputError(f"column {column!r} of {options.source} cannot be read as images: {error}") from error


def read_classes(dataset: datasets.Dataset, column: str) -> tuple[list[str], np.ndarray]:
    """Read the label column, which stays as it is.

    Args:
        dataset: rows in source order.
        column: a ClassLabel, integers or strings.

    Returns:
        The names of the classes (those of the ClassLabel, else the distinct values, sorted, as text), and int64 [rows],
        each row's index into them.

    Raises:
        InputError: labels of another kind, or a row without one (null, or -1).
    """
    feature = dataset.features[column]
    values = dataset.select_columns([column]).with_format("arrow")[:].column(column)
    if not _is_label(feature):
        first = values[0].as_py() if len(values) else None
        kind = describe_feature(feature)
        raise InputError(f"column {column!r} holds {kind} (row 0: {first!r:.60}), not one class a row; {_ADVICE}")
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    _refuse_missing(values, column, feature.names if isinstance(feature, datasets.ClassLabel) else None)
    if isinstance(feature, datasets.ClassLabel):
        _refuse_unnamed(values, column, feature.num_classes)
        return list(feature.names), values.to_numpy().astype(np.int64)
    distinct = sorted(pc.unique(values).to_pylist())
    if fractions := [value for value in distinct if isinstance(value, float) and not value.is_integer()]:
        raise InputError(f"column {column!r} holds numbers such as {fractions[0]}, not one class a row; {_ADVICE}")
    found = pc.index_in(values, value_set=pa.array(distinct, values.type))
    return [name_value(value) for value in distinct], found.to_numpy().astype(np.int64)


def refuse_alike(classes: Sequence[str], source: str) -> None:
    """Refuse classes that are one for whoever reads their names.

    Raises:
        InputError: names two that differ in blanks around them, or in how accents are encoded, and in nothing else.
    """
    seen: dict[str, str] = {}
    for name in classes:
        other = seen.setdefault(unicodedata.normalize("NFC", name).strip(), name)
        if other != name:
            raise InputError(
                f"{source} has the classes {other!a} and {name!a}, which differ in blanks or in how letters "
                "are encoded alone; give both one name"
            )


def name_value(value: Any) -> str:
    """What a class is called whose label is no ClassLabel: 3 of 3.0, as pandas writes whole numbers beside gaps."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _refuse_missing(values: pa.ChunkedArray, column: str, names: list[str] | None) -> None:
    missing = values.is_null(nan_is_null=True)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        missing = pc.or_(missing, pc.fill_null(pc.equal(pc.utf8_trim_whitespace(values), ""), False))
    blank = [number for number, name in enumerate(names or ()) if not name.strip()]
    missing = pc.or_(missing, pc.is_in(values, pa.array(blank, values.type))) if blank else missing
    is_number = pa.types.is_signed_integer(values.type) or pa.types.is_floating(values.type)
    if is_number and (names or set(pc.unique(values).to_pylist()) != {-1, 1}):  # which are two classes
        missing = pc.or_(missing, pc.fill_null(pc.equal(values, -1), False))
    rows = np.flatnonzero(missing.to_numpy())
    if len(rows):
        value = values[int(rows[0])].as_py()
        shown = "-1, which means no label" if value == -1 else "null" if value is None or value != value else "blank"
        raise InputError(
            f"column {column!r} has no label in {len(rows)} rows, first in row {rows[0]} ({shown}); {_ADVICE}"
        )


def _refuse_unnamed(values: pa.ChunkedArray, column: str, classes: int) -> None:
    numbers = values.to_numpy()
    rows = np.flatnonzero((numbers < 0) | (numbers >= classes))
    if len(rows):
        raise InputError(
            f"column {column!r} holds {numbers[rows[0]]} in row {rows[0]}, and names only the classes "
            f"0 to {classes - 1}; {_ADVICE}"
        )


def _is_label(feature: Any) -> bool:
    if isinstance(feature, datasets.ClassLabel):
        return True
    return isinstance(feature, datasets.Value) and (
        feature.dtype in ("string", "large_string", "bool") or feature.dtype.lstrip("u").startswith(("int", "float"))
    )


def refuse_pixels(dataset: datasets.Dataset, kept: set[str]) -> None:
    """Make sure that no column but the `kept` ones can carry a clean image into the release.

    Only plain values are let through, see `is_plain`, and of these neither more than 256 numbers in one row, be they
    written as text, nor text that holds an encoded image, see `find_image`. Names are seen to by `refuse_words`.

    Raises:
        InputError: names the first column that could.
    """
    for name, feature in dataset.features.items():
        if name in kept:
            continue
        what = describe_feature(feature) if not is_plain(feature) else _find_image(dataset, name, feature)
        if what:
            raise InputError(
                f"column {name!r} ({what}) could carry clean pixels into the release; "
                f"leave it out with --drop-column {name}"
            )


def refuse_unwritable(dataset: datasets.Dataset) -> None:
    """Make sure that Parquet can hold every column.

    Raises:
        InputError: names the first column that it cannot.
    """
    for field in dataset.features.arrow_schema:
        try:
            pq.write_table(pa.schema([field]).empty_table(), pa.BufferOutputStream())
        except pa.ArrowException as error:
            raise InputError(
                f"column {field.name!r} ({field.type}) cannot be written to Parquet ({error}); "
                f"leave it out with --drop-column {field.name}"
            ) from None


def _find_image(dataset: datasets.Dataset, name: str, feature: Any) -> str | None:
    """What looks like an image in a column of plain values, and in which row."""
    if isinstance(feature, datasets.ClassLabel) or (
        isinstance(feature, datasets.Value) and feature.dtype not in ("string", "large_string")
    ):
        return None
    for row, value in enumerate(dataset.with_format(None)[name]):
        if what := find_image(value):
            return f"{what} in row {row}"
    return None


def describe_feature(feature: Any) -> str:
    """The type of a column in a few words."""
    if isinstance(feature, datasets.Value):
        return feature.dtype
    if isinstance(feature, (datasets.List, datasets.LargeList)):
        return f"lists of {describe_feature(feature.feature)}"
    return "nested values" if isinstance(feature, dict) else type(feature).__name__


def _first_text(dataset: datasets.Dataset, column: str) -> str | None:
    feature = dataset.features[column]
    if not isinstance(feature, datasets.Value) or feature.dtype not in ("string", "large_string", "string_view"):
        return None
    return next((text for text in dataset[column][:100] if text), None)


def is_image(feature: Any) -> bool:
    """Tell a column that can be read as images: an `Image`, a struct with bytes, or raw binary."""
    if isinstance(feature, datasets.Image):
        return True
    return _is_binary(feature.get("bytes") if isinstance(feature, dict) else feature)


def _is_binary(feature: Any) -> bool:
    return isinstance(feature, datasets.Value) and feature.dtype in ("binary", "large_binary", "binary_view")
