"""What costs a reader more memory or time than its bytes give reason for is refused before it is unpacked."""

import struct
import zlib
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rem_release.release.schema import read_features, write_features
from rem_release.verification.parquet_bytes import inspect_bytes
from rem_release.verification.parquet_layout import read_footer, require_stated_sizes
from rem_release.verification.png import inspect_png
from tests.memory import peak_of

MEGABYTE = 1 << 20


def write(path: Path, columns: dict[str, list], features: datasets.Features, **options: object) -> Path:
    table = pa.table(columns, schema=features.arrow_schema)
    pq.write_table(table, path, compression="snappy", **options)
    return path


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_a_png_of_many_empty_blocks() -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"aBCd") * 100_000 + chunk(b"IEND")
    reasons = inspect_png(data)
    assert any("more blocks than an image of" in reason for reason in reasons)
    assert len(reasons) < 3_000


@pytest.mark.parametrize("length", [1 << 14, (1 << 14) + 1, 200_000_000])
def test_lists_of_fixed_length(length: int) -> None:
    text = write_features(datasets.Features({"a": datasets.List(datasets.Value("int8"), length=length)}))
    twice = datasets.List(datasets.List(datasets.Value("int8"), length=length), length=2)
    with pytest.raises(ValueError, match="16,384 are allowed"):
        read_features(write_features(datasets.Features({"a": twice})))
    if length <= 1 << 14:
        assert read_features(text)["a"].length == length
    else:
        with pytest.raises(ValueError, match="16,384 are allowed"):
            read_features(text)


def test_an_image_that_unpacks_to_far_more_than_its_bytes(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image()})
    image = {"bytes": bytes(300 * MEGABYTE), "path": None}
    path = write(tmp_path / "a.parquet", {"image": [image]}, features, use_dictionary=False)
    found, peak = peak_of(lambda: list(inspect_bytes(path, features, "image")))
    assert any("images are packed already" in fault for fault in found)
    assert peak < 200 * MEGABYTE


def test_one_text_inside_groups_that_many_rows_show(tmp_path: Path) -> None:
    features = datasets.Features({"a": {"b": datasets.Value("string")}, "k": datasets.Value("int64")})
    columns = {"a": [{"b": "x" * 60_000}] * 20_000, "k": list(range(20_000))}  # enough bytes for so many rows
    path = write(tmp_path / "a.parquet", columns, features, row_group_size=20_000)
    _, peak = peak_of(lambda: list(inspect_bytes(path, features, "image")))
    assert path.stat().st_size < MEGABYTE
    assert peak < 300 * MEGABYTE


def test_a_footer_far_longer_than_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1" + bytes(3 * MEGABYTE) + (3 * MEGABYTE).to_bytes(4, "little") + b"PAR1")
    with path.open("rb") as file, pytest.raises(ValueError, match="no footer"):
        read_footer(file)


def list_of(field: int, count: int) -> bytes:
    """A field with a list of empty structs, as Thrift's compact protocol writes it (field 1 above the one before)."""
    number, digits = count, b""
    while number > 0x7F:
        digits, number = digits + bytes([number & 0x7F | 0x80]), number >> 7
    return bytes([field << 4 | 9, 0xFC]) + digits + bytes([number]) + bytes(count)


@pytest.mark.parametrize(
    "metadata",
    [
        list_of(2, 1_000_000) + b"\x16\0" + list_of(1, 0),  # schema, num_rows, row_groups
        list_of(2, 1) + b"\x16\0" + list_of(1, 1_000_000),
    ],
    ids=["columns", "row groups"],
)
def test_a_million_things_of_one_byte_in_a_footer(metadata: bytes, tmp_path: Path) -> None:
    path, footer = tmp_path / "a.parquet", metadata + b"\0"
    path.write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    features = datasets.Features({"image": datasets.Image()})
    found, peak = peak_of(lambda: list(inspect_bytes(path, features, "image")))
    assert any("a list of 1000000 items" in fault for fault in found)
    assert peak < 50 * MEGABYTE


def test_many_columns_in_many_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    schema, groups = list_of(2, 2_000), b"\x16\0\x19\xfc\xe8\x07" + (list_of(1, 1_000) + b"\0") * 1_000
    footer = schema + groups + b"\0"
    path.write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    with path.open("rb") as file, pytest.raises(ValueError, match="1,000,000 parts of columns in 1,000 row groups"):
        read_footer(file)


@pytest.mark.parametrize(
    ("place", "byte", "reason"),
    [
        (12, 63 << 1, "63 values and 41 bytes in a column, which is not what it says"),
        (12, 3, "a page of less than nothing"),
        (7, 63 << 1, "2 values and 82 bytes in a column, which is not what it says"),
        (9, 60 << 1, "a page that is cut off"),
    ],
)
def test_pages_that_hold_more_than_their_footer_states(place: int, byte: int, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"a": pa.array([1, 2], pa.int64())})
    pq.write_table(table, path, compression="none", use_dictionary=False, write_statistics=False)
    require_stated_sizes(path)
    data = bytearray(path.read_bytes())
    assert (data[7], data[9], data[12]) == (22 << 1, 22 << 1, 2 << 1)  # bytes unpacked, as stored, and values
    data[place] = byte
    path.write_bytes(data)
    with pytest.raises(ValueError, match=reason):
        require_stated_sizes(path)


def test_columns_that_lie_elsewhere_than_their_footer_states(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [1, 2], "b": [3, 4]}), path)
    with path.open("rb") as file:
        metadata, start = read_footer(file)
    data = path.read_bytes()
    assert metadata[4][0][1][0][3][11] == 4
    place = data.index(b"\x26\x08", start)  # the offset of the first dictionary, a number of 64 bits
    path.write_bytes(data[:place] + b"\x26\x0a" + data[place + 2 :])
    with pytest.raises(ValueError, match="elsewhere"):
        require_stated_sizes(path)
