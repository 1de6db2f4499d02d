"""Folders as sources: class folders, albums, flat folders to be clustered, metadata files."""

import json
from dataclasses import asdict
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from rem_release.data.images.decoding import BadImage, decode
from rem_release.data.sources.clusters import label_by_clusters
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.source import Source, SourceOptions
from rem_release.errors import InputError


def draw(path: Path, level: int = 0, size: tuple[int, int] = (6, 5)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, level, level)).save(path)


def levels(source: Source) -> list[int]:
    return [int(decode(source.image_bytes(row))[0, 0, 0]) for row in range(len(source))]


def refuse(path: Path | str, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        open_source(SourceOptions(source=str(path), **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- class folders


def test_class_folders_are_sorted_by_code_point(tmp_path: Path) -> None:
    for level, name in enumerate(
        ["zebra/b.png", "zebra/a.png", "Ape/2.png", "Ape/10.png", "ähre/ü ö.png", "寺/寺.png"]
    ):
        draw(tmp_path / name, level)
    source = open_source(SourceOptions(source=str(tmp_path)))
    assert source.classes == ["Ape", "zebra", "ähre", "寺"]
    assert [source.origin(row) for row in range(6)] == [
        "Ape/10.png", "Ape/2.png", "zebra/a.png", "zebra/b.png", "ähre/ü ö.png", "寺/寺.png",
    ]  # fmt: skip
    assert levels(source) == [3, 2, 1, 0, 4, 5]
    assert source.class_ids.tolist() == [0, 0, 1, 1, 2, 3]
    assert source.dataset["label"][:] == [0, 0, 1, 1, 2, 3]
    assert source.dataset.features["label"].names == source.classes
    assert source.labels_from == "folders"
    assert source.other_columns() == []


def test_nested_files_belong_to_their_class_and_empty_folders_are_no_class(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "deep" / "er" / "1.png", 1)
    draw(tmp_path / "a" / "deep-2.png", 2)
    draw(tmp_path / "b" / "3.png", 3)
    (tmp_path / "empty" / "inside").mkdir(parents=True)
    source = open_source(SourceOptions(source=str(tmp_path)))
    assert source.classes == ["a", "b"]
    assert source.class_ids.tolist() == [0, 0, 1]
    assert levels(source) == [1, 2, 3]


def test_hidden_files_are_ignored_and_every_other_file_is_a_row(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "1.png")
    draw(tmp_path / "b" / "2.png")
    for name in ("a/.DS_Store", "a/Thumbs.db", "b/desktop.ini", ".git/x", "__MACOSX/a/._1.png", "a/.hidden/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "b" / "notes.txt").write_text("no image")
    (tmp_path / "stray.png").write_bytes((tmp_path / "a" / "1.png").read_bytes())
    source = open_source(SourceOptions(source=str(tmp_path)))
    assert source.origins == ["a/1.png", "b/2.png", "b/notes.txt", "stray.png"]
    assert source.image_bytes(2) == b"no image"
    with pytest.raises(BadImage, match="is in no class folder"):
        source.image_bytes(3)


def test_files_that_cannot_be_read_are_bad_images(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "1.png")
    draw(tmp_path / "b" / "2.png")
    (tmp_path / "b" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    source = open_source(SourceOptions(source=str(tmp_path)))
    with pytest.raises(BadImage, match="no such file"):
        source.image_bytes(2)
    (tmp_path / "a" / "1.png").unlink()
    (tmp_path / "a" / "1.png").mkdir()
    with pytest.raises(BadImage, match="not a file"):
        source.image_bytes(0)


def test_links_are_followed(tmp_path: Path) -> None:
    draw(tmp_path / "store" / "1.png", 9)
    draw(tmp_path / "s" / "b" / "2.png", 8)
    (tmp_path / "s" / "a").symlink_to(tmp_path / "store")
    (tmp_path / "s" / "b" / "link.png").symlink_to(tmp_path / "store" / "1.png")
    source = open_source(SourceOptions(source=str(tmp_path / "s")))
    assert source.origins == ["a/1.png", "b/2.png", "b/link.png"]
    assert levels(source) == [9, 8, 9]
    (tmp_path / "s" / "a" / "loop").symlink_to(tmp_path / "s")
    assert "a link to a folder that contains it" in refuse(tmp_path / "s")


def test_split_folder_is_used_when_it_holds_class_folders(tmp_path: Path) -> None:
    draw(tmp_path / "train" / "a" / "1.png", 1)
    draw(tmp_path / "train" / "b" / "2.png", 2)
    draw(tmp_path / "test" / "a" / "3.png", 3)
    draw(tmp_path / "test" / "b" / "4.png", 4)
    assert levels(open_source(SourceOptions(source=str(tmp_path)))) == [1, 2]
    assert levels(open_source(SourceOptions(source=str(tmp_path), split="test"))) == [3, 4]
    message = refuse(tmp_path, split="validation")
    assert "no split 'validation'" in message
    assert "test, train" in message
    assert "--split" in message


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    draw(tmp_path / "train" / "locomotive.png")
    draw(tmp_path / "plane" / "jet.png")
    assert open_source(SourceOptions(source=str(tmp_path))).classes == ["plane", "train"]


def test_columns_take_the_names_asked_for(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "1.png")
    draw(tmp_path / "b" / "2.png")
    source = open_source(SourceOptions(source=str(tmp_path), image_column="photo", label_column="kind"))
    assert source.dataset.column_names == ["photo", "kind"]
    assert source.dataset.features["photo"] == datasets.Image(decode=False)
    assert (source.image_column, source.label_column) == ("photo", "kind")
    assert "both 'x'" in refuse(tmp_path, image_column="x", label_column="x")


def test_options_are_json_and_open_the_same_source_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "s" / "a" / "1.png", 3)
    draw(tmp_path / "s" / "b" / "2.png", 5)
    monkeypatch.chdir(tmp_path)
    kept = json.loads(json.dumps(asdict(open_source(SourceOptions(source="s")).options)))
    monkeypatch.chdir("/")
    assert levels(open_source(SourceOptions(**kept))) == [3, 5]


def test_folders_that_are_refused(tmp_path: Path) -> None:
    assert "does not exist" in refuse(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    assert "holds no files" in refuse(tmp_path / "empty")
    draw(tmp_path / "flat" / "1.png")
    message = refuse(tmp_path / "flat")
    assert "class folders" in message
    assert "--label-from clusters" in message
    draw(tmp_path / "one" / "only" / "1.png")
    (tmp_path / "one" / "empty").mkdir()
    assert "only class 'only' has images; at least two classes" in refuse(tmp_path / "one")
    assert "one file and not Parquet" in refuse(tmp_path / "flat" / "1.png")
    assert "'tr/ain'" in refuse(tmp_path / "flat", split="tr/ain")
    draw(tmp_path / "two" / "a" / "1.png")
    draw(tmp_path / "two" / "b" / "1.png")
    assert "no column 'x'; its columns are image, label" in refuse(tmp_path / "two", drop_columns=("x",))
    assert "needs its image and its label column" in refuse(tmp_path / "two", drop_columns=("label",))


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "1.png")
    draw(tmp_path / "b" / "2.png")
    (tmp_path / "b" / "2.png").rename(tmp_path / "b" / "caf\udce9.png")
    assert "not UTF-8; rename it" in refuse(tmp_path)


# --- albums


def test_albums_are_the_folders_that_hold_files(tmp_path: Path) -> None:
    for level, name in enumerate(["2019/Anna's wedding/x.png", "2019/y.png", "2019/Anna's wedding/z.png", "w.png"]):
        draw(tmp_path / name, level)
    source = open_source(SourceOptions(source=str(tmp_path), label_from="albums"))
    assert source.classes == ["album-000", "album-001", "album-002"]
    assert source.album_names == {"album-000": ".", "album-001": "2019", "album-002": "2019/Anna's wedding"}
    by_origin = {source.origin(row): source.classes[source.class_ids[row]] for row in range(4)}
    assert by_origin["w.png"] == "album-000"
    assert by_origin["2019/y.png"] == "album-001"
    assert by_origin["2019/Anna's wedding/z.png"] == "album-002"
    assert source.labels_from == "albums"
    assert "Anna" not in str(source.dataset.features)


def test_albums_of_a_split_layout_stay_in_their_split(tmp_path: Path) -> None:
    for name in ("train/a/1.png", "train/b/2.png", "test/a/3.png"):
        draw(tmp_path / name)
    source = open_source(SourceOptions(source=str(tmp_path), label_from="albums"))
    assert source.origins == ["a/1.png", "b/2.png"]
    draw(tmp_path / "holiday" / "4.png")
    assert len(open_source(SourceOptions(source=str(tmp_path), label_from="albums"))) == 4


def test_one_album_is_refused(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "1.png")
    assert "at least two classes" in refuse(tmp_path, label_from="albums")


# --- clusters


def test_a_flat_folder_can_be_clustered(tmp_path: Path) -> None:
    for number, level in enumerate([10, 200, 12, 198, 11]):
        draw(tmp_path / f"{number}.png", level)
    (tmp_path / "bad.png").write_bytes(b"")
    source = open_source(SourceOptions(source=str(tmp_path), label_from="clusters"))
    assert source.classes == []
    assert source.dataset.column_names == ["image"]
    assert source.class_ids.tolist() == [-1] * 6
    images = np.stack([np.full((3, 4, 4), level, np.uint8) for level in levels_of(source, range(5))])
    labelled = label_by_clusters(source, np.arange(5), torch.from_numpy(images), 2, seed=0)
    assert labelled.class_ids.tolist() == [0, 1, 0, 1, 0, -1]
    assert labelled.classes == ["cluster-0", "cluster-1"]
    assert labelled.dataset.features["label"] == datasets.ClassLabel(names=["cluster-0", "cluster-1"])
    assert labelled.dataset["label"][:] == [0, 1, 0, 1, 0, None]
    assert labelled.labels_from == "clusters"


def levels_of(source: Source, rows: range) -> list[int]:
    return [int(decode(source.image_bytes(row))[0, 0, 0]) for row in rows]


def test_clusters_are_deterministic_and_drop_what_stays_empty(tmp_path: Path) -> None:
    for number in range(4):
        draw(tmp_path / f"{number}.png", number)
    source = open_source(SourceOptions(source=str(tmp_path), label_from="clusters"))
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 3, 16, 16), dtype=np.uint8))
    first, second = (label_by_clusters(source, np.arange(4), images, 3, seed=5) for _ in range(2))
    assert first.class_ids.tolist() == second.class_ids.tolist()
    assert len(first.classes) == 3
    same = images[[0, 1, 0, 1]]
    assert label_by_clusters(source, np.arange(4), same, 4, seed=0).class_ids.tolist() == [0, 1, 0, 1]
    with pytest.raises(InputError, match="at least two different-looking images"):
        label_by_clusters(source, np.arange(4), images[[0, 0, 0, 0]], 2, seed=0)


# --- metadata files

RECORDS = [
    {"file_name": "b.png", "label": "dog", "age": 3, "tags": ["x", "y"]},
    {"file_name": "sub/ä.png", "label": "cat", "age": 5, "tags": []},
]


def write_metadata(folder: Path, kind: str, records: list[dict[str, object]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "csv":
        columns = [name for name in records[0] if name != "tags"]
        lines = [",".join(columns)] + [",".join(str(record[name]) for name in columns) for record in records]
        (folder / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    elif kind == "jsonl":
        text = "".join(json.dumps(record) + "\n" for record in records)
        (folder / "metadata.jsonl").write_text(text, encoding="utf-8")
    else:
        pq.write_table(pa.Table.from_pylist(records), folder / "metadata.parquet")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("split_folder", ["", "train"])
def test_metadata_file(tmp_path: Path, kind: str, split_folder: str) -> None:
    folder = tmp_path / "set [1]*" / split_folder
    draw(folder / "b.png", 1)
    draw(folder / "sub" / "ä.png", 2)
    write_metadata(folder, kind, RECORDS)
    source = open_source(SourceOptions(source=str(tmp_path / "set [1]*")))
    assert levels(source) == [1, 2]
    assert source.origins == ["b.png", "sub/ä.png"]
    assert source.classes == ["cat", "dog"]
    assert source.class_ids.tolist() == [1, 0]
    assert source.labels_from == "column"
    assert source.dataset["label"][:] == ["dog", "cat"]
    assert source.dataset["age"][:] == [3, 5]
    assert source.dataset.column_names[0] == "image"
    assert "file_name" not in source.dataset.column_names
    if kind != "csv":
        assert source.dataset["tags"][:] == [["x", "y"], []]
        assert source.other_columns() == ["age", "tags"]


def test_metadata_row_without_its_file_is_a_bad_image(tmp_path: Path) -> None:
    write_metadata(tmp_path, "jsonl", RECORDS)
    source = open_source(SourceOptions(source=str(tmp_path)))
    with pytest.raises(BadImage, match="no such file"):
        source.image_bytes(0)


def test_metadata_that_is_refused(tmp_path: Path) -> None:
    write_metadata(tmp_path / "a", "jsonl", [{"name": "b.png", "label": 1}])
    assert "no column 'file_name'; its columns are name, label" in refuse(tmp_path / "a")
    write_metadata(tmp_path / "b", "jsonl", [{"file_name": "../b.png", "label": 1}])
    assert "leads out of the folder: ../b.png" in refuse(tmp_path / "b")
    write_metadata(tmp_path / "c", "jsonl", [{"file_name": "b.png", "label": 1, "mask_file_name": "m.png"}])
    assert "--drop-column mask_file_name" in refuse(tmp_path / "c")
    write_metadata(tmp_path / "d", "jsonl", [{"file_name": "b.png", "caption": "x"}])
    assert "no column 'label'; its columns are image, caption: choose with --label-column" in refuse(tmp_path / "d")
    write_metadata(tmp_path / "e", "csv", [{"file_name": "b.png", "label": ""}, {"file_name": "c.png", "label": "x"}])
    assert "first in row 0 (null)" in refuse(tmp_path / "e")
    assert "no split 'test'" in refuse(tmp_path / "d", split="test")
    assert "takes a plain folder of folders" in refuse(tmp_path / "d", label_from="albums")
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "metadata.jsonl").write_text("{broken")
    assert "metadata.jsonl cannot be read:" in refuse(tmp_path / "f")
    write_metadata(tmp_path / "g", "jsonl", [{"file_name": "b.png", "label": 1, "image": "x"}])
    assert "has a column 'image' already" in refuse(tmp_path / "g")


@pytest.mark.parametrize("name", ["\udcff", "", "a\nb", "\x1b[31m", "\u202eflow"])
@pytest.mark.parametrize("option", ["image_column", "label_column"])
def test_what_cannot_name_a_column_is_refused_first(tmp_path: Path, name: str, option: str) -> None:
    draw(tmp_path / "a/1.png")
    draw(tmp_path / "b/2.png")
    assert f"--{option.replace('_', '-')} {name!r} is no name of a column" in refuse(tmp_path, **{option: name})
