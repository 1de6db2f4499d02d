"""Tables as people have them: by Polars, pandas and spreadsheets, in caches of the Hub and clones of repositories."""

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rem_release.data.images.decoding import BadImage, decode
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.source import Source, SourceOptions
from tests.command_line import released, succeed
from tests.test_data_folders import refuse

LABELS = ["a", "b", "a", "b"]


def draw_image(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def encode(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(draw_image(number)).save(buffer, "PNG")
    return buffer.getvalue()


BYTES = [encode(number) for number in range(4)]


def cells(bytes_: Any = None, path: Any = None, **further: pa.DataType) -> pa.Array:
    fields = {"bytes": bytes_ or pa.binary(), "path": path or pa.string(), **further}
    rows = [{"bytes": data, "path": f"{number}.png", **dict.fromkeys(further, 8)} for number, data in enumerate(BYTES)]
    return pa.array(rows, pa.struct(list(fields.items())))


def write(path: Path, image: pa.Array | None = None, label: Any = None, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    named = {"image": cells() if image is None else image, "label": LABELS if label is None else label}
    pq.write_table(pa.table({**({} if columns.pop("bare", False) else named), **columns}), path)
    return path


def read(path: Path, **options: object) -> Source:
    return open_source(SourceOptions(source=str(path), **options))


def check(source: Source, classes: list[str], ids: list[int]) -> None:
    assert (source.classes, source.class_ids.tolist()) == (classes, ids)
    for row in range(4):
        np.testing.assert_array_equal(decode(source.image_bytes(row)), draw_image(row))


KINDS: dict[str, tuple[dict[str, Any], list[str], list[int]]] = {
    "booleans": ({"label": [True, False, True, False]}, ["False", "True"], [1, 0, 1, 0]),
    "whole floats": ({"label": [3.0, 1.0, 1.0, 3.0]}, ["1", "3"], [1, 0, 0, 1]),
    "views of texts": ({"label": pa.array(LABELS, pa.string_view())}, ["a", "b"], [0, 1, 0, 1]),
    "views of bytes": ({"image": pa.array(BYTES, pa.binary_view())}, ["a", "b"], [0, 1, 0, 1]),
    "views in cells": ({"image": cells(pa.binary_view(), pa.string_view())}, ["a", "b"], [0, 1, 0, 1]),
    "large cells": ({"image": cells(pa.large_binary(), pa.large_string())}, ["a", "b"], [0, 1, 0, 1]),
    "cells that hold more": ({"image": cells(height=pa.int64(), width=pa.int32())}, ["a", "b"], [0, 1, 0, 1]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_types_that_people_have_are_read_and_released(kind: str, tmp_path: Path, recipe: Path) -> None:
    columns, classes, ids = KINDS[kind]
    path = write(tmp_path / "in" / "data.parquet", **columns)
    check(read(path.parent), classes, ids)
    if kind in ("whole floats", "views of texts", "cells that hold more"):
        succeed("protect", path, "--out", tmp_path / "run", "--recipe", recipe)
        succeed("verify", tmp_path / "run")
        assert len(released(tmp_path / "run/release")) == 4


def test_floats_that_are_no_classes_and_missing_ones_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "parts.parquet", label=[0.5, 1.0, 1.0, 0.5])
    assert "column 'label' holds numbers such as 0.5, not one class a row" in refuse(tmp_path / "parts.parquet")
    write(tmp_path / "nan.parquet", label=[0.0, float("nan"), 1.0, 0.0])
    assert "column 'label' has no label in 1 rows, first in row 1 (null)" in refuse(tmp_path / "nan.parquet")


def test_the_only_columns_of_their_kinds_need_no_options(tmp_path: Path) -> None:
    write(tmp_path / "one.parquet", bare=True, img=cells(), fine_label=[0, 1, 0, 1], width=[8] * 4)
    source = read(tmp_path / "one.parquet")
    assert (source.image_column, source.label_column, source.other_columns()) == ("img", "fine_label", ["width"])
    check(source, ["0", "1"], [0, 1, 0, 1])
    two = write(tmp_path / "two.parquet", bare=True, img=cells(), fine_label=[0, 1, 0, 1], coarse_label=[0, 0, 1, 1])
    assert "has no column 'label'; its columns are img, fine_label, coarse_label: choose with" in refuse(two)
    pair = write(tmp_path / "pair.parquet", bare=True, before=cells(), after=cells())
    assert "has no column 'image'; its columns are before, after: choose with --image-column" in refuse(pair)
    named = write(tmp_path / "named.parquet", bare=True, img=cells(), label=LABELS)
    assert "has no column 'photo'" in refuse(named, image_column="photo"), "what is asked for is not guessed"


def test_files_are_tables_by_their_first_bytes(tmp_path: Path) -> None:
    """A link into a cache's blobs, and a name in capitals."""
    blob = write(tmp_path / "cache/blobs/x.parquet").rename(tmp_path / "cache/blobs/0123abcd")
    link = tmp_path / "cache/snapshots/ff/train.parquet"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    for path in (link, link.parent, blob):
        check(read(path), ["a", "b"], [0, 1, 0, 1])
    capital = write(tmp_path / "capital/DATA.PARQUET")
    check(read(capital), ["a", "b"], [0, 1, 0, 1])
    check(read(capital.parent), ["a", "b"], [0, 1, 0, 1])
    (tmp_path / "other.parquet").write_bytes(b"PK\3\4")
    assert "is one file and not Parquet" in refuse(tmp_path / "other.parquet")


def test_shards_of_which_one_holds_nulls_alone(tmp_path: Path, recipe: Path) -> None:
    write(tmp_path / "in/train-0.parquet", note=pa.nulls(4), score=pa.array([1, 2, 3, 4], pa.int64()))
    write(tmp_path / "in/train-1.parquet", note=["x", None, "y", "z"], score=pa.array([0.5] * 4))
    source = read(tmp_path / "in")
    assert source.dataset["note"][:] == [None] * 4 + ["x", None, "y", "z"]
    assert source.dataset["score"][:] == [1.0, 2.0, 3.0, 4.0, 0.5, 0.5, 0.5, 0.5]
    succeed("protect", tmp_path / "in", "--out", tmp_path / "run", "--recipe", recipe)
    succeed("verify", tmp_path / "run")


@pytest.mark.parametrize("column", ["note", "label", "image"])
def test_a_column_that_one_file_lacks(column: str, tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", note=["x"] * 4)
    write(tmp_path / "train-1.parquet", note=["x"] * 4)
    file = tmp_path / "train-1.parquet"
    pq.write_table(pq.read_table(file).drop_columns([column]), file)
    cure = f", or leave it out with --drop-column {column}" if column == "note" else ""
    assert f"column '{column}' is in train-0.parquet and not in train-1.parquet; write it into all files{cure}" in (
        refuse(tmp_path)
    )
    if column == "note":
        source = read(tmp_path, drop_columns=("note",))
        assert source.dataset.column_names == ["image", "label"]
        assert len(source) == 8


def test_a_column_in_the_names_of_folders(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write(tmp_path / f"label={name}" / "0.parquet", bare=True, img=cells())
    assert "keeps a column in the names of its folders (label=cat); write it into a file" in refuse(tmp_path)
    import pandas  # what the message tells to do

    pandas.read_parquet(tmp_path).to_parquet(tmp_path.parent / "all.parquet")
    assert read(tmp_path.parent / "all.parquet").classes == ["cat", "dog"]


CARD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: plain_text/train-*
---
# A set
"""


def test_a_clone_of_a_dataset_repository(tmp_path: Path) -> None:
    write(tmp_path / "plain_text/train-00000-of-00001.parquet")
    (tmp_path / "README.md").write_text(CARD)
    check(read(tmp_path), ["a", "b"], [0, 1, 0, 1])
    (tmp_path / "teaser").mkdir()
    (tmp_path / "teaser/figure.png").write_bytes(BYTES[0])
    check(read(tmp_path), ["a", "b"], [0, 1, 0, 1])


def test_a_table_beside_class_folders_hides_nothing(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(2):
            (tmp_path / name / f"{number}.png").write_bytes(BYTES[number])
    write(tmp_path / "index.parquet", bare=True, key=[1, 2])
    source = read(tmp_path)
    assert (source.classes, len(source)) == (["a", "b"], 5)
    stray = next(row for row in range(5) if source.origin(row) == "index.parquet")
    with pytest.raises(BadImage, match="is in no class folder"):
        source.image_bytes(stray)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le with mark"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("slash", ["/", "\\"])
def test_tables_of_spreadsheets(encoding: str, separator: str, slash: str, tmp_path: Path) -> None:
    (tmp_path / "im").mkdir()
    for number in range(4):
        (tmp_path / "im" / f"{number}.png").write_bytes(BYTES[number])
    rows = ["file_name", *(f"im{slash}{number}.png" for number in range(4))]
    text = "\r\n".join(separator.join(pair) for pair in zip(rows, ["label", "ä", "b, c", "ä", "b, c"], strict=True))
    text = text.replace("b, c", '"b, c"')
    data = b"\xff\xfe" + text.encode("utf-16-le") if "mark" in encoding else text.encode(encoding)
    (tmp_path / "metadata.csv").write_bytes(data)
    check(read(tmp_path), ["b, c", "ä"], [1, 0, 1, 0])


def test_other_encodings_are_refused_and_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_bytes("file_name,label\n0.png,ä\n".encode("cp1252"))
    assert "it is not UTF-8 (" in (message := refuse(tmp_path))
    assert message.endswith("bring it there with iconv -f ENCODING -t UTF-8")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("s3://bucket/x.png", "s3://bucket/x.png is an address, and only files on this machine are read"),
        ("gone/x.png", "no such file: gone/x.png"),
    ],
)
def test_a_path_that_cannot_be_opened_is_shown(path: str, words: str, tmp_path: Path) -> None:
    image = pa.array([{"bytes": None, "path": path}] * 4, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    write(tmp_path / "data.parquet", image=image)
    with pytest.raises(BadImage) as caught:
        read(tmp_path / "data.parquet").image_bytes(0)
    assert caught.value.reason == words


def named(path: Path, names: list[str] | None) -> None:
    label = datasets.ClassLabel(names=names) if names else datasets.Value("int64")
    features = datasets.Features({"image": datasets.Image(), "label": label})
    write(path, label=[0, 1, 0, 1])
    table = pq.read_table(path).cast(features.arrow_schema)
    pq.write_table(table.replace_schema_metadata(features.arrow_schema.metadata if names else None), path)


@pytest.mark.parametrize("other", [["dog", "cat"], None])
def test_files_that_number_their_classes_differently_are_refused(other: list[str] | None, tmp_path: Path) -> None:
    named(tmp_path / "train-0.parquet", ["cat", "dog"])
    named(tmp_path / "train-1.parquet", other)
    assert "column 'label' names the classes cat, dog in train-0.parquet and" in refuse(tmp_path)


def test_files_of_other_splits_are_not_merged_and_lost_ones_are_named(tmp_path: Path) -> None:
    for name in ("Train.parquet", "Test.parquet"):
        write(tmp_path / "spelled" / name)
    assert "named like several splits (Test.parquet, Train.parquet) and would be read as one" in refuse(
        tmp_path / "spelled"
    )
    for name in ("train.parquet", "more.parquet"):
        write(tmp_path / "more" / name)
    assert read(tmp_path / "more").left_out == ("more.parquet",)


def test_minus_one_is_no_label_in_any_type(tmp_path: Path) -> None:
    write(tmp_path / "float.parquet", label=[-1.0, 1.0, 2.0, 1.0])
    assert "first in row 0 (-1, which means no label)" in refuse(tmp_path / "float.parquet")
    write(tmp_path / "whole.parquet", label=[-1, 0, 1, 1])
    assert "first in row 0 (-1, which means no label)" in refuse(tmp_path / "whole.parquet")
    write(tmp_path / "pair.parquet", label=[-1, 1, 1, -1])
    assert read(tmp_path / "pair.parquet").classes == ["-1", "1"], "two classes"
    write(tmp_path / "half.parquet", label=np.array([1, 2, 1, 2], np.float16))
    assert read(tmp_path / "half.parquet").classes == ["1", "2"]


def with_classes(names: list[str], numbers: list[int]) -> pa.Table:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    return pa.table([cells(), pa.array(numbers, pa.int64())], schema=features.arrow_schema)


@pytest.mark.parametrize("other", [["dog", "cat"], ["dog"], ["cat", "dog", "emu"]])
def test_each_split_names_its_own_classes(other: list[str], tmp_path: Path) -> None:
    """`datasets` lays those of the first split over all others."""
    numbers = [0, len(other) - 1, 0, len(other) - 1]
    pq.write_table(with_classes(["cat", "dog"], [0, 1, 0, 1]), tmp_path / "train-0.parquet")
    pq.write_table(with_classes(other, numbers), tmp_path / "test-0.parquet")
    assert read(tmp_path).classes == ["cat", "dog"]
    if len(other) > 1:
        source = read(tmp_path, split="test")
        assert [source.classes[each] for each in source.class_ids] == [other[number] for number in numbers]
    assert "column 'label' holds the classes" in refuse(tmp_path, split="test+train")


def test_a_shard_that_is_not_there(tmp_path: Path) -> None:
    write(tmp_path / "train-00000-of-00002.parquet")
    assert "holds train-00000-of-00002.parquet and not train-00001-of-00002.parquet" in refuse(tmp_path)
    write(tmp_path / "train-00001-of-00002.parquet")
    assert len(read(tmp_path)) == 8


def test_a_table_of_file_names_under_another_name(tmp_path: Path) -> None:
    write(tmp_path / "labels.parquet", bare=True, file_name=["0.png", "1.png"], label=["a", "b"])
    assert "names files and holds no images; call it metadata.parquet" in refuse(tmp_path / "labels.parquet")


def configure(*configs: str) -> str:
    return "\n".join(["---", "configs:", *configs, "---", "# A set", ""])


@pytest.mark.parametrize("name", ["train-00000-of-00001.parquet", "train/0.parquet"])
def test_two_tables_of_one_split_in_folders(name: str, tmp_path: Path) -> None:
    for language in ("en", "fr"):
        write(tmp_path / language / name)
    assert refuse(tmp_path) == (
        f"{tmp_path} holds 2 tables of the split 'train', in the folders en, fr: give one of them, such as "
        f"{tmp_path}/en"
    )
    check(read(tmp_path / "en"), ["a", "b"], [0, 1, 0, 1])
    (tmp_path / "README.md").write_text("---\ndataset_info:\n  dataset_size: 8\n---\n")
    assert "holds 2 tables" in refuse(tmp_path), "which says nothing of files"
    (tmp_path / "README.md").write_text(
        configure("- config_name: default", "  data_files:", "  - split: train", f"    path: '*/{name}'")
    )
    assert len(read(tmp_path)) == 8, "the card says so"


@pytest.mark.parametrize("names", [("train/a/0", "train/b/1"), ("part-0/x", "part-1/y"), ("data/train-0", "test-0")])
def test_pieces_of_one_table_may_lie_in_several_folders(names: tuple[str, str], tmp_path: Path) -> None:
    for name in names:
        write(tmp_path / f"{name}.parquet")
    assert len(read(tmp_path)) == (4 if "test-0" in names else 8)


def test_a_card_of_several_data_sets(tmp_path: Path) -> None:
    for language in ("en", "fr"):
        write(tmp_path / "sets" / language / "train-0.parquet")
    configs = [f"- config_name: {name}\n  data_files: sets/{name}/train-*" for name in ("en", "fr")]
    (tmp_path / "README.md").write_text(configure(*configs))
    assert refuse(tmp_path) == (
        f"README.md of {tmp_path} names several data sets (en, fr): give the folder of one of them, such as "
        f"{tmp_path}/sets/en"
    )
    check(read(tmp_path / "sets/en"), ["a", "b"], [0, 1, 0, 1])
    (tmp_path / "README.md").write_text(configure(configs[0] + "\n  default: true", configs[1]))
    assert read(tmp_path).left_out == ("sets/fr/train-0.parquet",)
    for name in ("en", "fr"):
        (tmp_path / f"{name}.parquet").write_bytes((tmp_path / "sets/en/train-0.parquet").read_bytes())
    configs = [f"- config_name: {name}\n  data_files: {name}.parquet" for name in ("en", "fr")]
    (tmp_path / "README.md").write_text(configure(*configs))
    assert refuse(tmp_path).endswith("(en, fr): give the folder of one of them, or one file")


def test_images_beside_a_table_are_counted(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet")
    for name in ("more/0.png", "more/1.png", "figure.PNG", "more/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(BYTES[0])
    source = read(tmp_path)
    assert (len(source), source.unlisted) == (4, {"more": 2, ".": 1})
    assert read(tmp_path / "train.parquet").unlisted == {}, "one file is all of the source"


def test_a_file_of_no_split_is_named(tmp_path: Path) -> None:
    for name in ("trainval", "test"):
        write(tmp_path / f"{name}.parquet")
    assert refuse(tmp_path).endswith(
        "has no split 'train'; choose one of test with --split; trainval.parquet belongs to none of them: rename it, "
        "or give it alone"
    )
    assert len(read(tmp_path / "trainval.parquet")) == 4


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_a_column_of_paths_is_told_by_one_of_them(kind: pa.DataType, tmp_path: Path) -> None:
    paths = pa.array([f"s3://bucket/{number}.png" for number in range(4)], kind)
    message = refuse(write(tmp_path / "a.parquet", paths))
    assert "holds text such as 's3://bucket/0.png' and no images: put the bytes of the images into it" in message
