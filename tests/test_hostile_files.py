"""What costs a reader more memory or time than its bytes give reason for is refused before it is unpacked."""

import struct
import zlib
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rem_release.release.schema import read_features, write_features
from rem_release.verification.parquet_bytes import inspect_bytes, read_footer
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
    assert any("more blocks than a picture of" in reason for reason in reasons)
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


def test_a_picture_that_unpacks_to_far_more_than_its_bytes(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image()})
    image = {"bytes": bytes(300 * MEGABYTE), "path": None}
    path = write(tmp_path / "a.parquet", {"image": [image]}, features, use_dictionary=False)
    found, peak = peak_of(lambda: list(inspect_bytes(path, features, "image")))
    assert any("pictures are packed already" in fault for fault in found)
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
