"""Every byte of a data file is accounted for: what no row shows is found, wherever it lies."""

import base64
import datetime
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rem_release.data.images.png_writing import encode_png
from rem_release.data.shards import ShardWriter
from rem_release.verification import parquet_headers as parquet
from rem_release.verification.compact_protocol import CompactReader
from rem_release.verification.parquet_bytes import inspect_bytes
from rem_release.verification.parquet_pages import Chunk, Column, decompress, read_hybrid

SECRET = b"a small image, in some bytes that no row shows"
Value = datasets.Value
KINDS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "text": (Value("string"), st.none() | st.text(max_size=20)),
    "large": (Value("large_string"), st.sampled_from(["a", "b", "a" * 60])),
    "tiny": (Value("int8"), st.integers(-128, 127)),
    "small": (Value("uint16"), st.none() | st.integers(0, 2**16 - 1)),
    "whole": (Value("int64"), st.integers(-(2**63), 2**63 - 1)),
    "real": (Value("float64"), st.sampled_from([0.0, -0.0, 1.5, float("nan"), float("inf")])),
    "half": (Value("float16"), st.sampled_from([0.0, 0.5]).map(np.float16)),
    "flag": (Value("bool"), st.none() | st.booleans()),
    "nothing": (Value("string"), st.none()),
    "null": (Value("null"), st.none()),
    "day": (Value("date32"), st.dates(datetime.date(1970, 1, 1))),
    "moment": (Value("timestamp[us, tz=UTC]"), st.datetimes(timezones=st.just(datetime.UTC))),
    "span": (Value("duration[s]"), st.integers(0, 10**6).map(lambda seconds: datetime.timedelta(seconds=seconds))),
    "decimal": (Value("decimal128(20, 3)"), st.decimals(-1000, 1000, places=3)),
    "list": (datasets.List(Value("int32")), st.none() | st.lists(st.integers(0, 3), max_size=4)),
    "four": (datasets.List(Value("float32"), length=4), st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4)),
    "group": (
        {"a": Value("string"), "b": datasets.List({"c": Value("bool")})},
        st.none() | st.fixed_dictionaries({"a": st.text(max_size=3), "b": st.lists(st.just({"c": True}), max_size=2)}),
    ),
    "label": (datasets.ClassLabel(names=["cat", "dog"]), st.integers(0, 1)),
    "languages": (datasets.Translation(["de", "en"]), st.just({"de": "Hund", "en": "dog"})),
}


def features_of(names: list[str]) -> datasets.Features:
    return datasets.Features({"image": datasets.Image(), **{name: KINDS[name][0] for name in names}})


def write(folder: Path, features: datasets.Features, columns: dict[str, list[Any]], rows: int, group: int) -> Path:
    """A data file as protect writes it, in row groups of about so many bytes."""
    schema = pa.schema([features.arrow_schema.field(name) for name in columns])
    table = pa.table({name: pa.array(values, schema.field(name).type) for name, values in columns.items()}, schema)
    pngs = [encode_png(np.full((2, 3, 3), row % 256, np.uint8)) for row in range(rows)]
    with ShardWriter(folder, "train", features, max_row_group_bytes=group) as writer:
        for row, png in enumerate(pngs):
            writer.write([png], table.slice(row, 1) if columns else pa.table({}))
    return writer.files[0]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    names=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4, unique=True),
    rows=st.integers(1, 40),
)
def test_whatever_protect_writes_passes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, names: list[str], rows: int
) -> None:
    columns = {name: data.draw(st.lists(KINDS[name][1], min_size=rows, max_size=rows), name) for name in names}
    path = write(
        tmp_path_factory.mktemp("any"), features_of(names), columns, rows, data.draw(st.sampled_from([300, 9**9]))
    )
    assert list(inspect_bytes(path, features_of(names), "image")) == []


FEATURES = features_of(["label", "text"])


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data file of 300 rows in several row groups."""
    columns = {"label": [row % 2 for row in range(300)], "text": [f"word {row % 7}" for row in range(300)]}
    return write(tmp_path_factory.mktemp("sound"), FEATURES, columns, 300, 9000)


def found(path: Path) -> str:
    return "; ".join(inspect_bytes(path, FEATURES, "image"))


def split(data: bytes) -> tuple[bytes, bytes]:
    """The pages and the metadata of a file."""
    (length,) = struct.unpack_from("<I", data, len(data) - 8)
    return data[: len(data) - 8 - length], data[len(data) - 8 - length : -8]


def join(pages: bytes, metadata: bytes) -> bytes:
    return pages + metadata + struct.pack("<I", len(metadata)) + b"PAR1"


EDITS: dict[str, Callable[[bytes], bytes]] = {
    "bytes before the footer": lambda data: join(split(data)[0] + SECRET, split(data)[1]),
    "bytes behind the metadata": lambda data: join(split(data)[0], split(data)[1] + SECRET),
    "another maker": lambda data: data.replace(b"parquet-cpp-arrow version ", b"an image in that version: "),
    "a field that nobody knows": lambda data: join(
        split(data)[0], split(data)[1][:-1] + b"\xc8\x01" + bytes([len(SECRET)]) + SECRET + b"\0"
    ),
    "another name in the schema": lambda data: join(split(data)[0], split(data)[1].replace(b"schema", b"pixels", 1)),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_bytes_that_no_row_shows_are_found(tmp_path: Path, sound: Path, edit: Callable[[bytes], bytes]) -> None:
    """Readers see nothing of them: the rows are the same as before."""
    assert found(sound) == ""
    path = tmp_path / "train.parquet"
    path.write_bytes(edit(sound.read_bytes()))
    assert pq.read_table(path).to_pylist() == pq.read_table(sound).to_pylist()
    assert found(path)


def test_numbers_and_names_of_the_footer_that_no_reader_heeds_are_found(tmp_path: Path, sound: Path) -> None:
    """Paths of columns spell whatever one likes, with names that are all known; ids and widths are free numbers."""
    pages, metadata = split(sound.read_bytes())
    path = tmp_path / "train.parquet"
    names = b"\x28\x05image\x05bytes"  # a list of two texts
    assert metadata.count(names)
    for other in (
        metadata.replace(names, b"\x38\x05image\x05bytes\x05bytes", 1),
        metadata.replace(b"\x05label", b"\x05image"),
    ):
        path.write_bytes(join(pages, other))
        assert found(path)


def test_no_byte_of_the_footer_can_be_changed_but_some_numbers(tmp_path: Path, sound: Path) -> None:
    """Every tenth byte, flipped: found, or a number that says how the file is laid out, or no reader takes the file."""
    pages, metadata = split(sound.read_bytes())
    path, missed = tmp_path / "train.parquet", 0
    places = range(0, len(metadata), 10)
    for place in places:
        changed = bytearray(metadata)
        changed[place] ^= 0x20
        path.write_bytes(join(pages, bytes(changed)))
        missed += not found(path)
    assert missed < len(places) * 0.1


def rewrite(path: Path, table: pa.Table, notes: dict[str, bytes] | None = None, **options: Any) -> Path:
    """Write rows with other options than protect has; `notes` stand in place of the usual ones."""
    options = {"use_dictionary": ["label", "text"], "write_statistics": ["label", "text"], **options}
    with pq.ParquetWriter(path, table.schema, store_schema=notes is None, **options) as writer:
        writer.write_table(table)
        if notes is not None:
            writer.add_key_value_metadata({key: value.decode() for key, value in notes.items()})
    return path


def notes_of(schema: pa.Schema, schema_tail: bytes = b"", features: bytes | None = None) -> dict[str, bytes]:
    metadata = schema.metadata or {}
    return {
        "ARROW:schema": base64.b64encode(schema.serialize().to_pybytes() + schema_tail),
        "huggingface": metadata[b"huggingface"] if features is None else features,
    }


def test_notes_hold_the_features_and_nothing_else(tmp_path: Path, sound: Path) -> None:
    table = pq.read_table(sound)
    bare = table.replace_schema_metadata(None)
    path, features = tmp_path / "train.parquet", (table.schema.metadata or {})[b"huggingface"]
    assert found(rewrite(path, bare, notes_of(table.schema))) == ""
    assert "behind its Arrow schema" in found(rewrite(path, bare, notes_of(table.schema, SECRET)))
    document = json.loads(features)
    for other in (
        features + b" " * 100,
        json.dumps({**document, "thumbnail": "x"}).encode(),
        json.dumps(document, indent=3).encode(),
        json.dumps({"info": {**document["info"], "description": "x"}}).encode(),
    ):
        assert "under huggingface" in found(rewrite(path, bare, notes_of(table.schema, features=other)))
    named = table.schema.with_metadata({**(table.schema.metadata or {}), b"owner": b"Anna"})
    assert "the notes owner" in found(rewrite(path, bare, notes_of(named, features=features)))


def test_values_of_a_dictionary_that_no_row_uses_are_found(tmp_path: Path, sound: Path) -> None:
    table = pq.read_table(sound)
    used = table.column("text").combine_chunks().dictionary_encode()
    for more in (["unused " + "x" * 200], [used.dictionary[0].as_py()]):
        values = pa.array([*used.dictionary.to_pylist(), *more])
        column = pa.DictionaryArray.from_arrays(used.indices, values)
        changed = table.set_column(2, "text", column).replace_schema_metadata(None)
        path = rewrite(tmp_path / "train.parquet", changed, notes_of(table.schema))
        assert pq.read_table(path).to_pylist() == table.to_pylist()
        assert "the column text of row group 0" in found(path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"compression": "none"}, ""),
        ({"compression": "snappy", "data_page_size": 100}, ""),
        ({"use_dictionary": False}, ""),
        ({"compression": "zstd"}, "which protect does not write"),
        ({"compression": "gzip"}, "which protect does not write"),
        ({"data_page_version": "2.0"}, "no place there"),
        ({"write_page_index": True}, "no place there"),
        ({"write_page_checksum": True}, "no place there"),
        ({"use_dictionary": True}, "a column of images"),
        ({"write_statistics": True}, "a smallest or largest value"),
        ({"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}}, "of the encoding"),
    ],
)
def test_other_ways_to_write_pass_or_are_refused(tmp_path: Path, sound: Path, options: dict, words: str) -> None:
    """Pages that could hold more than their rows, and indexes that are not looked into, are not let through."""
    result = found(rewrite(tmp_path / "train.parquet", pq.read_table(sound), **options))
    assert (words in result) if words else result == ""


def test_whole_numbers_are_no_wider_than_their_type(tmp_path: Path) -> None:
    """An int8 stands in four bytes, of which a reader drops three."""
    features = datasets.Features({"image": datasets.Image(), "tiny": Value("int8")})
    path = write(tmp_path, features, {"tiny": [7, 9]}, 2, 9**9)
    table = pq.read_table(path)
    wide = table.set_column(1, "tiny", pa.array([7 + (1 << 20), 9], pa.int32()))
    plain = {"use_dictionary": False, "write_statistics": False}
    rewrite(path, wide.replace_schema_metadata(None), notes_of(table.schema), **plain)
    assert list(inspect_bytes(path, features, "image"))


COLUMN = Column("text", parquet.BYTE_ARRAY, 0, 1, 0, None, is_image=False)


def encode_hybrid(values: list[int], width: int) -> bytes:
    """Runs of the hybrid: of one value each, or bit-packed groups of eight."""
    out = io.BytesIO()
    if width <= 8 and len(values) >= 8:
        groups = len(values) // 8
        bits = np.array([[value >> bit & 1 for bit in range(width)] for value in values[: groups * 8]], np.uint8)
        out.write(bytes([groups << 1 | 1]) + np.packbits(bits.reshape(-1), bitorder="little").tobytes())
        values = values[groups * 8 :]
    for value in values:
        out.write(b"\x02" + value.to_bytes((width + 7) // 8, "little"))
    return out.getvalue()


@given(width=st.integers(1, 20), data=st.data(), tail=st.binary(min_size=1, max_size=8))
def test_runs_are_read_to_their_end(width: int, data: st.DataObject, tail: bytes) -> None:
    values = data.draw(st.lists(st.integers(0, 2**width - 1), min_size=1, max_size=60))
    runs = encode_hybrid(values, width)
    assert read_hybrid(runs, len(values), width).tolist() == values
    with pytest.raises(ValueError, match="behind its last value"):
        read_hybrid(runs + tail, len(values), width)
    if values[-1]:
        with pytest.raises(ValueError, match=r"run|last value|group"):
            read_hybrid(runs, len(values) - 1, width)


def test_what_fills_up_a_group_is_zero() -> None:
    assert read_hybrid(b"\x03\x05", 3, 1).tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match="not filled up with zeros"):
        read_hybrid(b"\x03\x15", 3, 1)
    with pytest.raises(ValueError, match="an empty run"):
        read_hybrid(b"\x00\x01\x06\x01", 3, 1)


def test_pages_hold_their_values_and_nothing_behind_them() -> None:
    levels = struct.pack("<I", 2) + b"\x04\x01"  # two values, both there
    page = levels + b"\x02\0\0\0no\x03\0\0\0yes"
    header = {1: 2, 2: parquet.PLAIN, 3: parquet.RLE, 4: parquet.RLE}
    chunk = Chunk(COLUMN, 2)
    chunk.read_data(page, header)
    assert (chunk.values, chunk.rows, chunk.expanded, chunk.seen) == (2, 2, 5, {b"no", b"yes"})
    for other in (page + SECRET, page[:-1]):
        with pytest.raises(ValueError, match=r"behind its last value|too few bytes"):
            Chunk(COLUMN, 2).read_data(other, header)


def test_a_stream_is_no_longer_than_it_need_be() -> None:
    """Snappy can say the same page in many ways, some of them long enough for an image."""
    plain = b"the same words again and again, " * 400
    assert decompress(pa.compress(plain, "snappy", asbytes=True), len(plain), parquet.SNAPPY) == plain
    size, header = len(plain), io.BytesIO()
    while size >= 0x80:
        header.write(bytes([size & 0x7F | 0x80]))
        size >>= 7
    long = header.getvalue() + bytes([size]) + b"".join(b"\0" + plain[place : place + 1] for place in range(len(plain)))
    assert pa.decompress(long, len(plain), "snappy", asbytes=True) == plain
    with pytest.raises(ValueError, match="that compresses to"):
        decompress(long, len(plain), parquet.SNAPPY)
    with pytest.raises(ValueError, match=r"damaged|can hold"):
        decompress(pa.compress(plain, "snappy", asbytes=True) + SECRET, len(plain), parquet.SNAPPY)


@given(st.binary(max_size=200))
def test_headers_of_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        reader = CompactReader(data)
        reader.read_struct(parquet.FILE_METADATA)
        assert reader.position <= len(data)
    except ValueError:
        pass
