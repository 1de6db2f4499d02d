"""Parquet shards: what `datasets` reads back, bytes that depend on the rows alone, and damage that is named."""

import io
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rem_release.data.images.decoding import decode
from rem_release.data.images.png_writing import encode_png
from rem_release.data.shards import ShardWriter, iterate_rows, released_columns, released_features
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.source import Source, SourceOptions
from rem_release.errors import InputError, VerificationError

RNG = np.random.default_rng(11)
NAMES = datasets.ClassLabel(names=["cat", "dog"])
COUNT = 23


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    images = RNG.integers(0, 256, (COUNT, 6, 5, 3), dtype=np.uint8)
    features = {
        "note": datasets.Value("large_string"),
        "image": datasets.Image(),
        "label": NAMES,
        "small": datasets.Value("int8"),
        "boxes": datasets.List({"box": datasets.List(datasets.Value("float32")), "kind": NAMES}),
    }
    values = {
        "note": [None if row % 3 == 0 else f"ä{row}" for row in range(COUNT)],
        "image": [{"bytes": as_jpeg(image), "path": f"/home/me/{row}.jpg"} for row, image in enumerate(images)],
        "label": [row % 2 for row in range(COUNT)],
        "small": [row - 5 for row in range(COUNT)],
        "boxes": [[{"box": [row, 0.5], "kind": 1}] * (row % 3) for row in range(COUNT)],
    }
    path = tmp_path_factory.mktemp("source") / "x.parquet"
    pq.write_table(datasets.Dataset.from_dict(values, features=datasets.Features(features)).data.table, path)
    return open_source(SourceOptions(source=str(path)))


def as_jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def write(source: Source, folder: Path, rows: list[int], batch: int = 4, **limits: int) -> list[Path]:
    with ShardWriter(folder, "train", released_features(source), **limits) as writer:
        for start in range(0, len(rows), batch):
            some = np.array(rows[start : start + batch])
            pngs = [encode_png(decode(source.image_bytes(int(row)))) for row in some]
            writer.write(pngs, released_columns(source, some))
    return writer.files


def load(files: list[Path], tmp_path: Path) -> datasets.Dataset:
    names = [str(file) for file in files]
    return datasets.load_dataset("parquet", data_files=names, split="train", cache_dir=str(tmp_path / "cache"))


def test_datasets_reads_back_images_labels_and_columns(source: Source, tmp_path: Path) -> None:
    rows = [5, 4, 22, 0, 17]
    files = write(source, tmp_path / "release", rows)
    assert [file.relative_to(tmp_path).as_posix() for file in files] == ["release/data/train-00000-of-00001.parquet"]
    loaded = load(files, tmp_path)
    assert loaded.column_names == ["note", "image", "label", "small", "boxes"]
    expected = dict(source.dataset.features) | {"image": datasets.Image()}
    assert dict(loaded.features) == expected
    for index, row in enumerate(rows):
        image = loaded[index].pop("image")
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), decode(source.image_bytes(row)))
        for name in ("note", "label", "small", "boxes"):
            assert loaded[index][name] == source.dataset[row][name]


def test_arrow_types_are_those_of_the_source(source: Source, tmp_path: Path) -> None:
    schema = pq.read_schema(write(source, tmp_path, [0, 1])[0])
    for name in ("note", "label", "small", "boxes"):
        assert schema.field(name).type == source.dataset.data.schema.field(name).type
    assert schema.field("image").type == pa.struct({"bytes": pa.binary(), "path": pa.string()})


def test_paths_say_nothing(source: Source, tmp_path: Path) -> None:
    files = write(source, tmp_path, [7, 3, 9])
    assert [row.path for row in iterate_rows(files)] == ["000000000.png", "000000001.png", "000000002.png"]
    assert b"/home/me" not in files[0].read_bytes()


def test_the_footer_holds_no_image(source: Source, tmp_path: Path) -> None:
    file = write(source, tmp_path, list(range(COUNT)))[0]
    group = pq.read_metadata(file).row_group(0)
    columns = {group.column(index).path_in_schema: group.column(index) for index in range(group.num_columns)}
    assert columns["image.bytes"].statistics is None
    assert columns["label"].statistics is not None


def test_rows_are_streamed_in_order_over_shards_and_row_groups(source: Source, tmp_path: Path) -> None:
    files = write(source, tmp_path, list(range(COUNT)), max_shard_bytes=1500, max_row_group_bytes=500)
    assert len(files) > 2
    assert files[0].name == f"train-00000-of-{len(files):05d}.parquet"
    assert pq.read_metadata(files[0]).num_row_groups > 1
    found = list(iterate_rows(files))
    assert [row.number for row in found] == list(range(COUNT))
    assert [row.file for row in found] == sorted(row.file for row in found)
    assert sum(pq.read_metadata(file).num_rows for file in files) == COUNT
    for row in found:
        assert row.path == f"{row.number:09d}.png"
        np.testing.assert_array_equal(decode(row.png), decode(source.image_bytes(row.number)))
        assert row.columns == {name: source.dataset[row.number][name] for name in ("note", "label", "small", "boxes")}
    assert [row.columns for row in iterate_rows(files, columns=["label"])] == [{"label": n % 2} for n in range(COUNT)]
    np.testing.assert_array_equal(load(files, tmp_path)["small"][:], np.arange(COUNT) - 5)


def test_same_rows_same_bytes_in_whatever_batches(source: Source, tmp_path: Path) -> None:
    limits = {"max_shard_bytes": 1500, "max_row_group_bytes": 500}
    rows = list(range(COUNT))
    written = [write(source, tmp_path / str(batch), rows, batch, **limits) for batch in (1, 4, COUNT)]
    contents = [[file.read_bytes() for file in files] for files in written]
    assert contents[0] == contents[1] == contents[2]


def test_a_failure_leaves_nothing_behind(source: Source, tmp_path: Path) -> None:
    def fail() -> None:
        with ShardWriter(tmp_path, "train", released_features(source), max_row_group_bytes=1) as writer:
            writer.write([b"png"], released_columns(source, np.array([0])))
            assert len(list((tmp_path / "data").iterdir())) == 1
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert list((tmp_path / "data").iterdir()) == []


def test_what_a_killed_run_left_is_cleared(source: Source, tmp_path: Path) -> None:
    killed = ShardWriter(tmp_path, "train", released_features(source), max_shard_bytes=1, max_row_group_bytes=1)
    killed.write([b"a", b"b"], released_columns(source, np.array([0, 1])))
    assert len(list((tmp_path / "data").iterdir())) == 2
    files = write(source, tmp_path, [0])
    assert list((tmp_path / "data").iterdir()) == files


def test_closing_twice_changes_nothing(source: Source, tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, "train", released_features(source))
    writer.write([b"png"], released_columns(source, np.array([0])))
    assert writer.close() == writer.close() == [tmp_path / "data" / "train-00000-of-00001.parquet"]


def test_rows_that_do_not_fit_are_refused(source: Source, tmp_path: Path) -> None:
    columns = released_columns(source, np.array([0]))
    with ShardWriter(tmp_path, "train", released_features(source)) as writer:
        with pytest.raises(ValueError, match="2 images but 1 rows"):
            writer.write([b"a", b"b"], columns)
        wrong = columns.set_column(columns.column_names.index("small"), "small", pa.array([1], pa.int64()))
        with pytest.raises(ValueError, match="columns do not fit the features"):
            writer.write([b"a"], wrong)
    with pytest.raises(InputError, match="'tr-ain' cannot name a split"):
        ShardWriter(tmp_path, "tr-ain", released_features(source))


def test_another_image_column_and_no_other_columns(tmp_path: Path) -> None:
    features = datasets.Features({"photo": datasets.Image()})
    with ShardWriter(tmp_path, "test", features, image_column="photo") as writer:
        writer.write([b"png", b"png2"], pa.table({"x": [1, 2]}))
    rows = list(iterate_rows(writer.files, image_column="photo"))
    assert [(row.png, row.path, row.columns) for row in rows] == [
        (b"png", "000000000.png", {}),
        (b"png2", "000000001.png", {}),
    ]


def test_class_folders_are_released_without_their_paths(tmp_path: Path) -> None:
    for name in ("secret-a", "b"):
        (tmp_path / "s" / name).mkdir(parents=True)
        Image.fromarray(RNG.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(tmp_path / "s" / name / "private.png")
    source = open_source(SourceOptions(source=str(tmp_path / "s"), label_from="albums"))
    content = write(source, tmp_path, [0, 1])[0].read_bytes()
    assert b"secret" not in content
    assert b"private" not in content
    assert b"album-001" in content


def test_damaged_files_are_named(source: Source, tmp_path: Path) -> None:
    files = write(source, tmp_path, list(range(COUNT)), max_shard_bytes=1500, max_row_group_bytes=500)
    files[1].write_bytes(files[1].read_bytes()[:-30])
    with pytest.raises(VerificationError, match=r"^train-00001-of-\d+.parquet is damaged: "):
        list(iterate_rows(files))
    with pytest.raises(VerificationError, match="is damaged"):
        list(iterate_rows([tmp_path / "gone.parquet"]))
    with pytest.raises(VerificationError, match=r"train-00000-of-\d+.parquet lacks the columns \['nothing'\]"):
        list(iterate_rows(files, columns=["nothing"]))
    with pytest.raises(VerificationError, match="column 'label' does not hold images"):
        list(iterate_rows(files, image_column="label"))


def test_missing_images_are_reported_as_none(source: Source, tmp_path: Path) -> None:
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({"image": pa.array([None, {"bytes": None, "path": "x"}], kind)})
    pq.write_table(table, tmp_path / "x.parquet")
    assert [(row.png, row.path) for row in iterate_rows([tmp_path / "x.parquet"])] == [(None, None), (None, "x")]
