"""Texts of JSON that look like dates: JSON has no dates, and pyarrow makes timestamps of 2021-05-01."""

import codecs
import io
import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.json as paj


def read_dates_as_texts(path: Path, loaded: datasets.Dataset) -> datasets.Dataset:
    """The same rows, with the texts of the file in every column that was read as timestamps.

    Args:
        path: a file of JSON, one object a line, or one list of objects.
        loaded: its rows as `datasets` reads them.
    """
    guessed = [field for field in loaded.data.schema if _with_texts(field.type) != field.type]
    if not guessed:
        return loaded
    data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    if data.startswith(b"["):
        data = "\n".join(json.dumps(row) for row in json.loads(data)).encode()
    texts = paj.read_json(
        io.BytesIO(data),
        paj.ReadOptions(block_size=len(data)),
        paj.ParseOptions(
            explicit_schema=pa.schema([field.with_type(_with_texts(field.type)) for field in guessed]),
            unexpected_field_behavior="ignore",
        ),
    )
    table = loaded.data.table
    for name in texts.column_names:
        table = table.set_column(table.column_names.index(name), name, texts.column(name))
    features = loaded.features | datasets.Features.from_arrow_schema(texts.schema)
    schema = datasets.Features({name: features[name] for name in table.column_names}).arrow_schema
    return datasets.Dataset(pa.Table.from_arrays(table.columns, schema=schema))


def _with_texts(kind: pa.DataType) -> pa.DataType:
    """The same type with texts in place of timestamps, however deep."""
    if pa.types.is_timestamp(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_with_texts(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_with_texts(field.type)) for field in kind])
    return kind
