"""Tables as sources: Parquet, `save_to_disk`, the Hub; which labels and which other columns are let through."""

import io
import os
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rem_release.data.images.decoding import BadImage, decode
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.source import Source, SourceOptions
from rem_release.errors import InputError


def png(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (level, level, level)).save(buffer, "PNG")
    return buffer.getvalue()


def levels(source: Source) -> list[int]:
    return [int(decode(source.image_bytes(row))[0, 0, 0]) for row in range(len(source))]


def make(labels: list[object], feature: object, **others: tuple[list[object], object]) -> datasets.Dataset:
    values = {"image": [{"bytes": png(level), "path": None} for level in range(len(labels))], "label": labels}
    features = {"image": datasets.Image(), "label": feature}
    for name, (column, kind) in others.items():
        values[name], features[name] = column, kind
    return datasets.Dataset.from_dict(values, features=datasets.Features(features))


NAMES = datasets.ClassLabel(names=["cat", "dog", "none"])


def write_parquet(path: Path, dataset: datasets.Dataset) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(dataset.data.table, path)
    return path


def open_rows(path: Path, **options: object) -> Source:
    return open_source(SourceOptions(source=str(path), **options))


def refuse(path: Path | str, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        open_source(SourceOptions(source=str(path), **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


# --- kinds


def test_one_parquet_file(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "set [1]" / "my data*.parquet", make([1, 0, 1], NAMES))
    source = open_rows(path)
    assert source.classes == ["cat", "dog", "none"]
    assert source.class_ids.tolist() == [1, 0, 1]
    assert source.dataset.features["label"] == NAMES
    assert source.dataset.features["image"] == datasets.Image(decode=False)
    assert levels(source) == [0, 1, 2]
    assert source.origin(2) == "row 2"
    assert source.labels_from == "column"


def test_parquet_folder_in_the_layout_of_the_hub(tmp_path: Path) -> None:
    for split, first in (("train", [0, 1]), ("test", [1, 0])):
        for shard in range(2):
            name = f"{split}-{shard:05d}-of-00002.parquet"
            write_parquet(tmp_path / "set [1]" / "data" / name, make(first, NAMES))
    (tmp_path / "set [1]" / "README.md").write_text("---\nlicense: mit\n---\n# A set\n")
    source = open_rows(tmp_path / "set [1]")
    assert source.class_ids.tolist() == [0, 1, 0, 1]
    assert open_rows(tmp_path / "set [1]", split="test").class_ids.tolist() == [1, 0, 1, 0]
    message = refuse(tmp_path / "set [1]", split="dev")
    assert "has no split 'dev'; choose one of train, test with --split" in message


def test_parquet_folder_without_splits(tmp_path: Path) -> None:
    write_parquet(tmp_path / "b.parquet", make([1, 1], NAMES))
    write_parquet(tmp_path / "a.parquet", make([0, 0], NAMES))
    assert open_rows(tmp_path).class_ids.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("kind", ["struct", "reversed", "binary", "large_binary"])
def test_images_as_plain_bytes(tmp_path: Path, kind: str) -> None:
    data = pa.array([png(3), png(4)], pa.large_binary() if kind == "large_binary" else pa.binary())
    paths = pa.array([None, "x.png"], pa.string())
    column = {
        "struct": pa.StructArray.from_arrays([data, paths], names=["bytes", "path"]) if kind == "struct" else None,
        "reversed": pa.StructArray.from_arrays([paths, data], names=["path", "bytes"]) if kind == "reversed" else None,
    }.get(kind, data)
    table = pa.table({"image": column, "label": pa.array(["x", "y"])})
    pq.write_table(table, tmp_path / "x.parquet")
    source = open_rows(tmp_path / "x.parquet")
    assert levels(source) == [3, 4]
    assert source.dataset.features["image"] == datasets.Image(decode=False)


def test_images_as_paths_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "ä.png").write_bytes(png(9))
    column = pa.array([{"bytes": None, "path": "images/ä.png"}, {"bytes": png(8), "path": "gone.png"}])
    pq.write_table(pa.table({"image": column, "label": ["x", "y"]}), tmp_path / "x.parquet")
    assert levels(open_rows(tmp_path / "x.parquet")) == [9, 8]
    assert levels(open_rows(tmp_path)) == [9, 8]


@pytest.mark.parametrize("many", [False, True])
def test_save_to_disk(tmp_path: Path, many: bool) -> None:
    dataset = make([1, 0], NAMES, note=(["ä", None], datasets.Value("large_string")))
    (datasets.DatasetDict(train=dataset, test=dataset.select([1, 0])) if many else dataset).save_to_disk(tmp_path / "d")
    before = sorted(path.name for path in (tmp_path / "d").rglob("*"))
    source = open_rows(tmp_path / "d")
    assert levels(source) == [0, 1]
    assert source.other_columns() == ["note"]
    assert source.dataset.features["note"] == datasets.Value("large_string")
    assert sorted(path.name for path in (tmp_path / "d").rglob("*")) == before
    if many:
        assert levels(open_rows(tmp_path / "d", split="test")) == [1, 0]
        assert "choose one of train, test" in refuse(tmp_path / "d", split="dev")


OPEN_A_HUB_DATASET = """
from rem_release.data.sources.source import SourceOptions
from rem_release.data.sources.opening import open_source
from rem_release.errors import InputError
try:
    open_source(SourceOptions(source="nobody-has-this/not-a-set"))
except InputError as error:
    print(error)
"""


def test_a_hub_dataset_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}  # read when `datasets` is imported
    command = [sys.executable, "-c", OPEN_A_HUB_DATASET]
    done = subprocess.run(command, env=offline, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(
        "there is no such folder here, and on the Hub nobody-has-this/not-a-set cannot be read:"
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_a_local_path_wins_over_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(tmp_path / "name" / "space" / "x.parquet", make([0, 1], NAMES))
    monkeypatch.chdir(tmp_path)
    assert levels(open_source(SourceOptions(source="name/space"))) == [0, 1]


def test_nothing_is_left_in_any_cache(tmp_path: Path, temporary_folder: Path, capfd: pytest.CaptureFixture) -> None:
    shared = Path(datasets.config.HF_DATASETS_CACHE)
    before = sorted(shared.rglob("*")) if shared.exists() else []
    source = open_rows(write_parquet(tmp_path / "x.parquet", make([0, 1], NAMES)))
    assert [path.stat().st_mode & 0o777 for path in temporary_folder.iterdir()] == [0o700]
    assert levels(source) == [0, 1]
    del source
    assert list(temporary_folder.iterdir()) == []
    assert (sorted(shared.rglob("*")) if shared.exists() else []) == before
    assert capfd.readouterr().err == ""


def test_damaged_and_wrong_tables(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 not really")
    assert "x.parquet cannot be read:" in refuse(tmp_path / "x.parquet")
    assert "no column 'picture'; its columns are image, label: choose with --image-column" in refuse(
        write_parquet(tmp_path / "a.parquet", make([0, 1], NAMES)), image_column="picture"
    )
    assert "no column 'kind'; its columns are image, label: choose with --label-column" in refuse(
        tmp_path / "a.parquet", label_column="kind"
    )
    pq.write_table(pa.table({"image": ["a.png", "b.png"], "label": [0, 1]}), tmp_path / "b.parquet")
    assert "column 'image' of" in refuse(tmp_path / "b.parquet")
    empty = write_parquet(tmp_path / "c.parquet", make([], NAMES))
    assert "has no rows" in refuse(empty)
    make([], NAMES).save_to_disk(tmp_path / "d")
    assert "has no rows" in refuse(tmp_path / "d")
    datasets.DatasetDict(train=make([], NAMES), test=make([0, 1], NAMES)).save_to_disk(tmp_path / "e")
    assert "train has no rows" in refuse(tmp_path / "e")
    (tmp_path / "e" / "test" / "state.json").write_text("{")
    assert "e cannot be read:" in refuse(tmp_path / "e", split="test")


def test_null_images_are_bad(tmp_path: Path) -> None:
    table = pa.table({"image": pa.array([png(1), None, b""], pa.binary()), "label": [0, 1, 1]})
    pq.write_table(table, tmp_path / "x.parquet")
    source = open_rows(tmp_path / "x.parquet")
    with pytest.raises(BadImage, match="no image"):
        source.image_bytes(1)
    assert source.image_bytes(2) == b""


# --- labels


@pytest.mark.parametrize(
    ("values", "feature", "classes", "ids"),
    [
        (["b", "a", "b"], datasets.Value("string"), ["a", "b"], [1, 0, 1]),
        (["b", "ä", "B"], datasets.Value("large_string"), ["B", "b", "ä"], [1, 2, 0]),
        ([10, 9, 10], datasets.Value("int64"), ["9", "10"], [1, 0, 1]),
        ([7, 200, 7], datasets.Value("uint8"), ["7", "200"], [0, 1, 0]),
        ([2, 0, 2], NAMES, ["cat", "dog", "none"], [2, 0, 2]),
    ],
)
def test_labels_keep_their_type_and_values(
    tmp_path: Path, values: list[object], feature: object, classes: list[str], ids: list[int]
) -> None:
    source = open_rows(write_parquet(tmp_path / "x.parquet", make(values, feature)))
    assert source.classes == classes
    assert source.class_ids.tolist() == ids
    assert source.class_ids.dtype == np.int64
    assert source.dataset["label"][:] == values
    assert source.dataset.features["label"] == feature


@pytest.mark.parametrize(
    ("values", "feature", "message"),
    [
        ([0, 1, None], NAMES, "'label' has no label in 1 rows, first in row 2 (null)"),
        ([0, -1, 1, -1], NAMES, "'label' has no label in 2 rows, first in row 1 (-1, which means no label)"),
        ([0, 1, -1], datasets.Value("int32"), "first in row 2 (-1, which means no label)"),
        ([None, "a", "b"], datasets.Value("string"), "first in row 0 (null)"),
        (["a", "", "b"], datasets.Value("string"), "'label' has no label in 1 rows, first in row 1 (blank)"),
        (["a", "b", " \t", " "], datasets.Value("large_string"), "no label in 2 rows, first in row 2 (blank)"),
        ([0, 1, 2], datasets.ClassLabel(names=["a", " ", "b"]), "no label in 1 rows, first in row 1 (blank)"),
        ([0.5, 1.0], datasets.Value("float32"), "'label' holds numbers such as 0.5, not one class a row"),
        ([[0, 1], [1]], datasets.List(NAMES), "'label' holds lists of ClassLabel (row 0: [0, 1])"),
        ([b"a", b"b"], datasets.Value("binary"), "'label' holds binary"),
        ([{"a": 1}, {"a": 2}], {"a": datasets.Value("int64")}, "'label' holds nested values"),
        ([1, 1, 1], NAMES, "only class 'dog' has images; at least two classes are needed"),
        (["a", "a"], datasets.Value("string"), "only class 'a' has images"),
    ],
)
def test_labels_that_are_refused(tmp_path: Path, values: list[object], feature: object, message: str) -> None:
    text = refuse(write_parquet(tmp_path / "x.parquet", make(values, feature)))
    assert message in text
    assert "--label-column" in text or "--label-from" in text


@pytest.mark.parametrize("label", [3, -2])
def test_a_label_beyond_the_names_is_refused(tmp_path: Path, label: int) -> None:
    """Other tools write what `datasets` would not: integers, with the names in the schema's metadata."""
    path = write_parquet(tmp_path / "x.parquet", make([0, 1, 2], NAMES))
    table = pq.read_table(path)
    table = table.set_column(table.column_names.index("label"), table.schema.field("label"), pa.array([0, 1, label]))
    pq.write_table(table, path)
    assert f"'label' holds {label} in row 2, and names only the classes 0 to 2" in refuse(path)


def test_clusters_of_a_table_need_a_free_name(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "x.parquet", make([0, 0], NAMES))
    assert "has a column 'label' already; give the clusters another name" in refuse(path, label_from="clusters")
    source = open_rows(path, label_from="clusters", label_column="cluster")
    assert source.labels_from == "clusters"
    assert source.other_columns() == ["label"]


# --- other columns


def test_other_columns_keep_their_exact_types(tmp_path: Path) -> None:
    features = {
        "text": datasets.Value("large_string"),
        "small": datasets.Value("int8"),
        "when": datasets.Value("timestamp[ms]"),
        "boxes": datasets.List({"box": datasets.List(datasets.Value("float32"), length=4), "kind": NAMES}),
    }
    values = {
        "text": ["x", None],
        "small": [1, -1],
        "when": [None, None],
        "boxes": [[{"box": [0, 1, 2, 3], "kind": 1}], []],
    }
    dataset = make([0, 1], NAMES, **{name: (values[name], features[name]) for name in features})
    source = open_rows(write_parquet(tmp_path / "x.parquet", dataset))
    assert source.other_columns() == list(features)
    assert {name: source.dataset.features[name] for name in features} == features


PIXELS = {
    "an image": ([{"bytes": b"x", "path": None}] * 2, datasets.Image(decode=False)),
    "a nested image": ([[{"bytes": b"x", "path": None}]] * 2, datasets.List(datasets.Image(decode=False))),
    "an image in a group": ([{"a": {"bytes": b"x", "path": None}}] * 2, {"a": datasets.Image(decode=False)}),
    "bytes": ([b"x"] * 2, datasets.Value("binary")),
    "large bytes": ([b"x"] * 2, datasets.Value("large_binary")),
    "nested bytes": ([[b"x"]] * 2, datasets.List(datasets.Value("binary"))),
    "an array": ([[[1]]] * 2, datasets.Array2D((1, 1), "uint8")),
}


@pytest.mark.parametrize("kind", list(PIXELS))
def test_columns_that_could_hold_pixels_must_be_dropped(tmp_path: Path, kind: str) -> None:
    dataset = make([0, 1], NAMES, extra=PIXELS[kind])
    dataset.save_to_disk(tmp_path / "d")
    text = refuse(tmp_path / "d")
    assert "column 'extra'" in text
    assert "--drop-column extra" in text
    source = open_rows(tmp_path / "d", drop_columns=("extra",))
    assert source.dataset.column_names == ["image", "label"]


def test_dropping_an_unknown_column_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "x.parquet", make([0, 1], NAMES))
    assert "no column 'extra'; its columns are image, label: choose with --drop-column" in refuse(
        path, drop_columns=("extra",)
    )
    assert "needs its image and its label" in refuse(path, drop_columns=("image",))
