"""Every byte of a data file, accounted for: it lies in a page that rows show, in a header, or under a known key.

A reader skips what it does not need, so that a file can carry bytes which no row shows: before the footer, behind a
stream, in fields that nobody knows, as values of a dictionary that no row uses. Not byte equality with a writer, whose
versions differ: the layout of the Parquet format is read here, and nothing may be left over. What stays is the choice
that any writer has, such as where a page ends.
"""

import base64
import io
import json
import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rem_release.verification import parquet_headers as parquet
from rem_release.verification.parquet_layout import MAGIC, iterate_pages, read_footer
from rem_release.verification.parquet_pages import Chunk, Column, decompress

_FREE_PAGE, _PACKED = 1 << 23, 2
"""bytes that any page of images may unpack to, and how many times its own length a longer one"""
_AT_ONCE = 128
"""rows whose nested values are unpacked at a time"""
_MIN_ROW = 4
"""bytes that an image and its path take, even where Snappy finds that all are alike"""
_NESTED = (dict, datasets.List, datasets.LargeList, datasets.Translation, datasets.TranslationVariableLanguages)
"""features whose values lie inside groups and lists, where a reader may pass over them"""
_MAKER = re.compile(rb"parquet-cpp-arrow version \d{1,3}(\.\d{1,3}){2}(-SNAPSHOT)?")
_ZEROS = {struct.pack(form, zero) for form in ("<e", "<f", "<d") for zero in (0.0, -0.0)}
"""what may stand for the other one as the smallest or largest number"""
_WHOLE = {
    "null": (1, 0),
    "int8": (-(2**7), 2**7 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "uint8": (0, 2**8 - 1),
    "uint16": (0, 2**16 - 1),
}


def inspect_bytes(path: Path, features: datasets.Features, image_column: str) -> Iterator[str]:
    """What of a Parquet file is not accounted for: sentences that follow its name, the first of each part.

    Args:
        path: the file.
        features: the promised columns.
        image_column: the column of images.
    """
    try:
        with path.open("rb") as file:
            metadata, start = read_footer(file)
            if not _MAKER.fullmatch(metadata.get(6, b"")):
                yield "does not say in its footer that it was made by parquet-cpp-arrow"
            yield from _inspect_keys(metadata.get(5, []), features)
            yield from _inspect_schema(metadata, features)
            yield from _inspect_chunks(file, metadata, start, path, features, image_column)
    except (ValueError, KeyError, IndexError, OSError, pa.ArrowException) as error:
        words = str(error).splitlines()[0] if not isinstance(error, KeyError) else f"a header without its field {error}"
        yield f"is not laid out as protect writes it: it has {words}"


def _inspect_keys(pairs: list[dict[int, bytes]], features: datasets.Features) -> Iterator[str]:
    """The notes of the footer: the features as `datasets` writes them, and the Arrow schema, and nothing in between."""
    notes = {pair[1]: pair.get(2, b"") for pair in pairs}
    if extra := sorted(set(notes) - {b"ARROW:schema", b"huggingface"}):
        yield f"carries the notes {_list_keys(extra)} in its footer"
        return
    if len(pairs) != 2 or len(notes) != 2:
        yield "does not carry the notes ARROW:schema and huggingface, once each, in its footer"
        return
    if not _is_plain_json(notes[b"huggingface"], features):
        yield "carries other notes under huggingface than its features"
    schema = base64.b64decode(notes[b"ARROW:schema"], validate=True)
    stated = pa.ipc.read_schema(pa.py_buffer(schema))
    again = stated.serialize().to_pybytes()
    if len(schema) > len(again) or base64.b64encode(schema) != notes[b"ARROW:schema"]:
        yield f"carries {len(schema) - len(again):,} bytes behind its Arrow schema"
    if extra := sorted(set(stated.metadata or {}) - {b"huggingface"}):
        yield f"carries the notes {_list_keys(extra)} in its Arrow schema"
    for field in _walk_fields(stated):
        if field.metadata:
            yield f"carries the notes {_list_keys(sorted(field.metadata))} on the field {field.name}"
    if not _is_plain_json((stated.metadata or {}).get(b"huggingface", notes[b"huggingface"]), features):
        yield "carries other notes in its Arrow schema than its features"


def _is_plain_json(text: bytes, features: datasets.Features) -> bool:
    """Whether a note is the features and nothing else, without room between its marks."""
    try:
        document = json.loads(text)
        written = {json.dumps(document, ensure_ascii=is_ascii).encode() for is_ascii in (True, False)}
    except (ValueError, RecursionError):
        return False
    return text in written and document == {"info": {"features": features.to_dict()}}


def _walk_fields(fields: Iterable[pa.Field]) -> Iterator[pa.Field]:
    for field in fields:
        yield field
        yield from _walk_fields(field.type.field(index) for index in range(field.type.num_fields))


def _list_keys(keys: list[bytes]) -> str:
    return ", ".join(key.decode("utf-8", "backslashreplace") for key in keys)


def _inspect_schema(metadata: dict[int, Any], features: datasets.Features) -> Iterator[str]:
    """Compare the schema, and what each column chunk says of its place in it, with that of an empty file."""
    sink = io.BytesIO()
    pq.write_table(features.arrow_schema.empty_table(), sink)
    expected, _ = read_footer(sink)
    if metadata[2] != expected[2]:
        yield "has another schema than its columns, or says more in it"
        return
    root, *elements = expected[2]
    rest = iter(elements)
    paths = [path for _ in range(root[5]) for path in _list_paths(rest)]
    for number, group in enumerate(metadata[4]):
        if [outer[3][3] for outer in group[1]] != paths:
            yield f"names other columns in row group {number} than in its schema"


def _list_paths(elements: Iterator[dict[int, Any]], above: tuple[bytes, ...] = ()) -> Iterator[list[bytes]]:
    """The paths of the leaves in the next element of a schema; what an element holds comes behind it."""
    element = next(elements)
    path = (*above, element[4])
    if not element.get(5):
        yield list(path)
    for _ in range(element.get(5, 0)):
        yield from _list_paths(elements, path)


def _inspect_chunks(
    file: IO[bytes], metadata: dict[int, Any], end: int, path: Path, features: datasets.Features, image_column: str
) -> Iterator[str]:
    """Walk through all pages, which lie one behind the other from the first byte to the footer."""
    if metadata[3] != sum(group[3] for group in metadata[4]) or metadata[1] not in (1, 2):
        raise ValueError("numbers of rows that do not add up, or an unknown version")
    if metadata[3] > end // _MIN_ROW:
        raise ValueError("more rows than its bytes can hold")
    shown = pq.ParquetFile(path)
    columns = _describe_columns(features.arrow_schema, shown.schema, metadata, image_column)
    position = len(MAGIC)
    nested = [name for name, feature in features.items() if isinstance(feature, _NESTED)]
    for number, group in enumerate(metadata[4]):
        present: dict[str, int] = {}
        _require_sums(group, number, position, len(columns))
        for column, outer in zip(columns, group[1], strict=True):
            chunk = outer[3]
            if not 0 < chunk[7] <= end - position:
                raise ValueError(f"pages of {column.name} that reach into the footer")
            file.seek(position)
            try:
                present[column.name] = _walk_chunk(file.read(chunk[7]), position, chunk, group[3], column)
            except ValueError as error:
                yield f"has, in the column {column.name} of row group {number}, {error}"
            position += chunk[7]
        if nested and len(present) == len(columns):
            inner = [count for name, count in present.items() if name.split(".")[0] in nested]
            if _count_shown(shown, number, nested) != inner:
                yield f"has, in row group {number}, values inside groups and lists that no row shows"
    if position != end:
        raise ValueError(f"{end - position:,} bytes between its last page and its footer")


def _count_shown(file: pq.ParquetFile, group: int, names: list[str]) -> list[int]:
    """How many values the rows of a row group show at each leaf of these columns, in their order."""
    counts: dict[str, np.ndarray] = {}
    for batch in file.iter_batches(_AT_ONCE, row_groups=[group], columns=names):
        for name in names:
            counts[name] = counts.get(name, 0) + np.array(list(_count_leaves(batch.column(name))), np.int64)
    return [int(count) for name in names for count in counts[name]]


def _count_leaves(array: pa.Array) -> Iterator[int]:
    """How many values are there at each leaf of groups and lists, as rows show them, in the order of the columns."""
    if pa.types.is_nested(array.type):
        inner = array.flatten()
        for child in inner if isinstance(inner, list) else [inner]:
            yield from _count_leaves(child)
    else:
        yield len(array) - array.null_count


def _require_sums(group: dict[int, Any], number: int, position: int, columns: int) -> None:
    """Make sure that what a row group says of itself follows from its columns."""
    chunks = [outer[3] for outer in group[1]]
    stated = (len(chunks), group[2], group.get(6), group.get(7, number), group.get(5, position))
    sums = (columns, sum(chunk[6] for chunk in chunks), sum(chunk[7] for chunk in chunks), number, position)
    if stated != sums or any(outer.get(2, 0) not in (0, *_list_offsets(outer[3])) for outer in group[1]):
        raise ValueError(f"a row group {number} that does not add up")


def _list_offsets(chunk: dict[int, Any]) -> list[int]:
    return [chunk[number] for number in (9, 11) if number in chunk]


def _describe_columns(
    schema: pa.Schema, leaves: "pq.ParquetSchema", metadata: dict[int, Any], image_column: str
) -> list[Column]:
    elements = [element for element in metadata[2] if 5 not in element or not element[5]]
    types = list(_list_types(schema))
    if not len(elements) == len(leaves) == len(types):
        raise ValueError("a schema that is not the one of its columns")
    found = []
    for index, (element, type_) in enumerate(zip(elements, types, strict=True)):
        leaf = leaves.column(index)
        is_image = leaf.path == f"{image_column}.bytes"
        found.append(
            Column(
                *(leaf.path, element[1], element.get(2, 0), leaf.max_definition_level, leaf.max_repetition_level),
                bounds=_WHOLE.get(str(type_)),
                is_image=is_image,
            )
        )
    return found


def _list_types(types: Any) -> Iterator[pa.DataType]:
    """The types of the leaves of a schema, in order."""
    for field in types:
        if field.type.num_fields:
            yield from _list_types([field.type.field(index) for index in range(field.type.num_fields)])
        else:
            yield field.type


def _walk_chunk(data: bytes, start: int, stated: dict[int, Any], rows: int, column: Column) -> int:
    """One column of one row group; how many values it holds, missing ones not counted.

    Raises:
        ValueError: something in it is not accounted for.
    """
    chunk, size = Chunk(column, rows), 0
    first_data = None
    for where, header, head, body in iterate_pages(data):
        size += head + header[2]
        if column.is_image and header[2] > _FREE_PAGE + _PACKED * len(body):
            raise ValueError(f"a page of {header[2]:,} bytes in {len(body):,}: images are packed already")
        plain = decompress(body, header[2], stated[4])
        if header[1] == parquet.DICTIONARY_PAGE and 7 in header and 5 not in header:
            chunk.read_dictionary(plain, header[7][1], header[7][2])
        elif header[1] == parquet.DATA_PAGE and 5 in header and 7 not in header:
            first_data = start + where if first_data is None else first_data
            chunk.read_data(plain, header[5])
        else:
            raise ValueError(f"a page of the kind {header[1]}, which protect does not write")
    chunk.finish()
    if (chunk.values, chunk.rows, size) != (stated[5], rows, stated[6]):
        raise ValueError(f"{chunk.rows} rows, {chunk.values} values and {size} bytes, which is not what it says")
    if first_data != stated[9] or (11 in stated and stated[11] not in (0, start)):
        raise ValueError("pages that begin elsewhere than it says")
    _require_counts(stated, chunk)
    _require_found([stated.get(12), *chunk.statistics], chunk)
    return chunk.values - chunk.missing


def _require_counts(stated: dict[int, Any], chunk: Chunk) -> None:
    """Make sure that encodings and counts, which nobody reads, say nothing else than the pages."""
    sizes = stated.get(16, {})
    for levels, counts in zip((2, 3), chunk.levels, strict=True):
        if levels in sizes and sizes[levels] not in ([], counts.tolist()):
            raise ValueError("counts of levels that are not those of its pages")
    if sizes.get(1, chunk.expanded) != chunk.expanded:
        raise ValueError("a size that is not that of its values")
    used = {encoding for _, encoding in chunk.pages} | {parquet.PLAIN, parquet.RLE}
    if len(set(stated[2])) != len(stated[2]) or not used.issuperset(stated[2]):
        raise ValueError("encodings that are not those of its pages")
    pages = {(one[1], one[2]): one[3] for one in stated.get(13, [])}
    if 13 in stated and (pages != chunk.pages or len(pages) != len(stated[13])):
        raise ValueError("counts of pages that are not those of its pages")


def _require_found(statistics: list[dict[int, Any] | None], chunk: Chunk) -> None:
    """Make sure that smallest and largest values, which stand beside the rows, are values of rows."""
    for stated in filter(None, statistics):
        values = [stated[number] for number in parquet.STATED_VALUES if number in stated]
        if chunk.column.physical == parquet.BOOLEAN:
            strange = any(value not in (b"\0", b"\1") for value in values)
        else:
            strange = any(value not in chunk.seen for value in values if value not in _ZEROS)
        if strange or (values and chunk.column.is_image):
            raise ValueError("a smallest or largest value beside it that no row shows")
        if not 0 <= stated.get(3, 0) <= chunk.missing or 4 in stated:
            raise ValueError("a count beside it that is not that of its values")
