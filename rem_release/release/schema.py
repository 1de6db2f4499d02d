"""The schema of the released Parquet files, as the facts state it and as the files must have it."""

import json
import re
from typing import Any

import pyarrow as pa
from datasets import Features

from rem_release.plain_text import show

_UNREADABLE = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, NotImplementedError),
    *(RecursionError, OverflowError, pa.ArrowException),
)
"""what `datasets` raises over features that are none"""
_MAX_TEXT = 4_000_000
_LONGEST_LIST = 1 << 14
"""values of lists of fixed length in a row: missing ones take their room in memory and none in a file"""
_TYPE = re.compile(
    r"null|bool|u?int(8|16|32|64)|float(16|32|64)|(large_)?(string|binary)|(string|binary)_view|date(32|64)"
    r"|(time(32|64)|timestamp|duration)\[(s|ms|us|ns)(, tz=[\w/+:-]{1,60})?\]|decimal(128|256)\(\d{1,3}, -?\d{1,3}\)"
)
"""names of types; `datasets` calls whatever function of Arrow another name is one of"""


def write_features(features: Features) -> str:
    """Features as JSON text for the facts. Text, because the order of its keys (fields of a struct) matters."""
    return json.dumps(features.to_dict(), ensure_ascii=False)


def read_features(text: str) -> Features:
    """Features from the facts.

    Raises:
        ValueError: the text does not describe features.
    """
    try:
        if len(text) > _MAX_TEXT:
            raise ValueError(f"{len(text):,} characters of them")
        features = Features.from_dict(json.loads(text, object_hook=_require_types))
        values = sum(_count_fixed(field.type) for field in features.arrow_schema)  # which not all that can be read has
        if values > _LONGEST_LIST:
            raise ValueError(f"lists of {values:,} values in each row, and {_LONGEST_LIST:,} are allowed")
    except _UNREADABLE as error:
        raise ValueError(f"data.features does not describe columns ({show(error, 200)})") from None
    return features


def _require_types(document: dict[str, Any]) -> dict[str, Any]:
    """The object, whose type, if it names one, is one that columns have."""
    name = document.get("dtype", "null")
    if document.get("_type") == "Value" and not (isinstance(name, str) and _TYPE.fullmatch(name)):
        raise ValueError(f"no type of a column: {show(name, 60)}")
    return document


def _count_fixed(type_: pa.DataType) -> int:
    """Values in lists of fixed length that a row has at least."""
    inner = sum(_count_fixed(type_.field(index).type) for index in range(type_.num_fields))
    return type_.list_size * max(1, inner) if pa.types.is_fixed_size_list(type_) else inner


def compare_schema(found: pa.Schema, features: Features) -> list[str]:
    """What is wrong with the schema of a Parquet file: columns, types, and the metadata that restores Image and labels.

    Args:
        found: the Arrow schema of the file.
        features: what the facts promise.
    """
    expected = features.arrow_schema
    if found.names != expected.names:
        return [f"has the columns {', '.join(found.names)} instead of {', '.join(expected.names)}"]
    faults = [
        f"column {field.name} is {found.field(field.name).type} instead of {field.type}"
        for field in expected
        if found.field(field.name).type != field.type
    ]
    noted = sorted(key.decode("utf-8", "backslashreplace") for key in found.metadata or {})
    if noted != ["huggingface"]:
        faults.append(f"carries the schema metadata {', '.join(noted) or 'nothing'} instead of huggingface alone")
    elif not faults and _restore(found) != features:
        faults.append("carries other features in its metadata than protection.json")
    return faults


def _restore(schema: pa.Schema) -> Features | None:
    try:
        return Features.from_arrow_schema(schema)
    except _UNREADABLE:
        return None
