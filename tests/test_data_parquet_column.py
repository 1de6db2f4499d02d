"""Images read from Parquet files where they lie: any order, any row groups, and nothing unpacked."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rem_release.data.images.decoding import decode
from rem_release.data.images.png_writing import encode_png
from rem_release.data.sources.labels import refuse_unwritable
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.parquet_column import ParquetColumn
from rem_release.data.sources.source import SourceOptions
from rem_release.errors import InputError
from tests.command_line import succeed, write_recipe

ROWS = 500
NAMES = datasets.ClassLabel(names=["cat", "dog"])
FEATURES = datasets.Features({"image": datasets.Image(), "label": NAMES, "size": datasets.Value("int16")})


def write(path: Path, first: int, rows: int, group: int) -> None:
    values = [{"bytes": f"image {row}".encode(), "path": None} for row in range(first, first + rows)]
    arrays = [
        pa.array(values, pa.struct({"bytes": pa.binary(), "path": pa.string()})),
        pa.array([row % 2 for row in range(first, first + rows)], pa.int64()),
        pa.array(range(first, first + rows), pa.int16()),
    ]
    table = pa.Table.from_arrays(arrays, schema=FEATURES.arrow_schema)
    pq.write_table(table, path, row_group_size=group)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three files of row groups of very different sizes, and an empty one between them."""
    folder = tmp_path_factory.mktemp("files")
    plan = [(0, 230, 7), (230, 0, 1), (230, 20, 20), (250, 250, 200)]
    for number, (first, rows, group) in enumerate(plan):
        write(folder / f"train-{number}.parquet", first, rows, group)
    return sorted(folder.iterdir())


def text(column: ParquetColumn, row: int) -> str:
    return str(column[row]["bytes"].decode())


@given(rows=st.lists(st.integers(0, ROWS - 1), max_size=40))
@settings(max_examples=60)
def test_rows_in_any_order(files: list[Path], rows: list[int]) -> None:
    column = ParquetColumn(files, "image")
    assert len(column) == ROWS
    assert [text(column, row) for row in rows] == [f"image {row}" for row in rows]


def test_rows_from_many_threads(files: list[Path]) -> None:
    column = ParquetColumn(files, "image")
    rows = np.random.default_rng(0).permutation(ROWS).tolist() + list(range(ROWS))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda row: text(column, row), rows)) == [f"image {row}" for row in rows]


def bytes_read() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("rchar")))


def test_rows_in_order_are_read_once(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    values = [{"bytes": noise.bytes(20_000), "path": None} for _ in range(400)]
    table = pa.table({"image": pa.array(values)})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=100)
    column = ParquetColumn([tmp_path / "x.parquet"], "image")
    before = bytes_read()
    for row in range(400):
        assert column[row] == values[row]
    assert bytes_read() - before < 1.5 * (tmp_path / "x.parquet").stat().st_size


def test_a_source_keeps_columns_and_types_and_unpacks_no_image(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 40, 40, 3), dtype=np.uint8)
    features = {
        "id": datasets.Value("uint64"),
        "image": datasets.Image(),
        "label": NAMES,
        "when": datasets.Value("timestamp[us, tz=UTC]"),
        "scores": datasets.List(datasets.Value("float16"), length=3),
        "place": {"lat": datasets.Value("float32"), "tags": datasets.List(datasets.Value("large_string"))},
        "second": datasets.Image(),
    }
    encoded = [encode_png(image) for image in images]
    values = {
        "id": [2**62 + row for row in range(60)],
        "image": [{"bytes": png, "path": None} for png in encoded],
        "label": [row % 2 for row in range(60)],
        "when": [1_700_000_000_000_000 + row for row in range(60)],
        "scores": [[row, 0.5, None] for row in range(60)],
        "place": [{"lat": row / 7, "tags": ["ä", str(row)]} for row in range(60)],
        "second": [{"bytes": png, "path": None} for png in encoded],
    }
    whole = datasets.Dataset.from_dict(values, features=datasets.Features(features))
    (tmp_path / "data").mkdir()
    for number in range(2):
        part = whole.data.table.slice(30 * number, 30)
        pq.write_table(part, tmp_path / "data" / f"train-0000{number}-of-00002.parquet", row_group_size=7)
    source = open_source(SourceOptions(source=str(tmp_path), drop_columns=("second",)))
    assert source.dataset.features == datasets.Features(
        {name: feature for name, feature in features.items() if name != "second"}
        | {"image": datasets.Image(decode=False)}
    )
    assert source.dataset.column_names == ["id", "image", "label", "when", "scores", "place"]
    for row in range(60):
        np.testing.assert_array_equal(decode(source.image_bytes(row)), images[row])
    for name in ("id", "label", "when", "scores", "place"):
        assert source.dataset.data.column(name).combine_chunks().equals(whole.data.column(name).combine_chunks())
    assert source.caches
    unpacked = sum(path.stat().st_size for path in Path(source.caches[0].name).rglob("*") if not path.is_symlink())
    assert unpacked < sum(len(png) for png in encoded) / 4


def test_raw_bytes_are_images_too(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    table = pa.table({"image": pa.array([encode_png(image)] * 2, pa.binary()), "label": ["a", "b"]})
    pq.write_table(table, tmp_path / "x.parquet")
    source = open_source(SourceOptions(source=str(tmp_path / "x.parquet")))
    np.testing.assert_array_equal(decode(source.image_bytes(1)), image)


def test_a_damaged_page_is_named(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", 0, 40, 40)
    data = bytearray((tmp_path / "train.parquet").read_bytes())
    place = pq.read_metadata(tmp_path / "train.parquet").row_group(0).column(0).data_page_offset
    data[place + 4 : place + 64] = bytes(60)
    (tmp_path / "train.parquet").write_bytes(data)
    column = ParquetColumn([tmp_path / "train.parquet"], "image")
    for _ in range(2):
        with pytest.raises(InputError, match=r"train\.parquet is damaged .* from row 0 on; restore the file"):
            column[3]


def test_types_that_parquet_does_not_have_become_the_nearest(tmp_path: Path) -> None:
    """Seconds are kept as milliseconds, in lists and structs too; the release says so and verifies."""
    when = datetime(2020, 2, 29, 12, 30, 1)
    values = {
        "image": [Image.fromarray(np.full((8, 8, 3), 20 * row, np.uint8)) for row in range(8)],
        "label": [row % 2 for row in range(8)],
        "when": [when] * 8,
        "in_berlin": [when] * 8,
        "clock": [when.time()] * 8,
        "nested": [{"days": [when], "kind": 1}] * 8,
    }
    second, milli = datasets.Value("timestamp[s]"), datasets.Value("timestamp[ms]")
    features = {"image": datasets.Image(), "label": NAMES, "when": second}
    features |= {"in_berlin": datasets.Value("timestamp[s, tz=Europe/Berlin]"), "clock": datasets.Value("time32[s]")}
    features |= {"nested": {"days": datasets.List(second), "kind": NAMES}}
    datasets.Dataset.from_dict(values, datasets.Features(features)).save_to_disk(tmp_path / "saved")
    succeed("protect", tmp_path / "saved", "--out", tmp_path / "run", "--recipe", write_recipe(tmp_path / "r.yaml"))
    succeed("verify", tmp_path / "run")
    found = datasets.Dataset.from_parquet(str(next((tmp_path / "run/release/data").iterdir())))
    assert found.features["when"] == milli
    assert found.features["in_berlin"] == datasets.Value("timestamp[ms, tz=Europe/Berlin]")
    assert found.features["clock"] == datasets.Value("time32[ms]")
    assert found.features["nested"] == {"days": datasets.List(milli), "kind": NAMES}
    row = found[0]
    assert (row["when"], row["clock"], row["nested"]) == (when, when.time(), {"days": [when], "kind": 1})


def test_a_column_that_parquet_cannot_hold_is_refused(tmp_path: Path) -> None:
    table = datasets.Dataset.from_dict({"image": [b"", b""], "label": [0, 1]}).data.table
    table = table.append_column("nothing", pa.StructArray.from_buffers(pa.struct([]), 2, [None]))
    with pytest.raises(InputError, match=r"column 'nothing' .* cannot be written to Parquet .*--drop-column nothing"):
        refuse_unwritable(datasets.Dataset(table))
