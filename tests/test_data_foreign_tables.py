"""Tables and archives beside class folders that say nothing of them: a question, and the option in it goes on."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rem_release.data.images.decoding import BadImage
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.source import SourceOptions
from tests.command_line import run, succeed
from tests.test_data_folders import draw, refuse
from tests.test_data_layouts import draw_folders, read

LISTED = {"file_name": ["away/1.png", "away/2.png"], "label": ["x", "y"]}
UNNAMED = {"id": [1, 2], "breed": ["x", "y"]}
UNLISTED = "lists 2 files of which none is there, such as away/1.png"
UNNAMED_COLUMNS = "has no column 'file_name'; its columns are id, breed"
TABLES: dict[str, Callable[[Path], object]] = {
    "metadata.csv that lists other files": lambda folder: (folder / "metadata.csv").write_text(
        "file_name,label\naway/1.png,x\naway/2.png,y\n"
    ),
    "metadata.csv without file_name": lambda folder: (folder / "metadata.csv").write_text("id,breed\n1,x\n2,y\n"),
    "metadata.jsonl that lists other files": lambda folder: (folder / "metadata.jsonl").write_text(
        '{"file_name": "away/1.png", "label": "x"}\n{"file_name": "away/2.png", "label": "y"}\n'
    ),
    "metadata.parquet that lists other files": lambda folder: pq.write_table(
        pa.table(LISTED), folder / "metadata.parquet"
    ),
    "metadata.parquet without file_name": lambda folder: pq.write_table(pa.table(UNNAMED), folder / "metadata.parquet"),
}


@pytest.mark.parametrize("write", TABLES.values(), ids=TABLES)
def test_a_table_of_other_images_beside_class_folders(tmp_path: Path, write: Callable[[Path], object]) -> None:
    draw_folders(tmp_path, ["cat", "dog"], ("",))
    write(tmp_path)
    (table,) = tmp_path.glob("metadata.*")
    message = refuse(tmp_path)
    assert message.startswith(str(table))
    assert (UNLISTED if b"file_name" in table.read_bytes() else UNNAMED_COLUMNS) in message
    assert message.endswith("add --layout classes to read the class folders there and pass the table over")
    source = read(tmp_path, layout="classes")
    assert (source.layout, source.classes, source.splits) == ("class folders", ["cat", "dog"], {"train": 4})
    assert source.ignored == (str(table),)


@pytest.mark.parametrize("place", [".", "Train"])
@pytest.mark.parametrize("write", TABLES.values(), ids=TABLES)
def test_a_table_of_other_images_beside_splits(tmp_path: Path, write: Callable[[Path], object], place: str) -> None:
    draw_folders(tmp_path, ["Train", "Test"])
    write(tmp_path / place)
    (table,) = (tmp_path / place).glob("metadata.*")
    assert refuse(tmp_path).endswith("add --layout splits to read the class folders there and pass the table over")
    source = read(tmp_path, layout="splits")
    assert (source.layout, source.classes, source.splits) == ("class folders of splits", ["a", "b"], {"train": 4})
    assert source.ignored == (str(table),)


def test_a_table_above_one_split_alone(tmp_path: Path) -> None:
    draw_folders(tmp_path, ["train"])
    TABLES["metadata.csv without file_name"](tmp_path)
    assert "add --layout splits" in refuse(tmp_path)
    assert read(tmp_path, layout="splits").classes == ["a", "b"]


def test_a_table_that_lists_one_file_that_is_there_is_no_foreign_one(tmp_path: Path) -> None:
    draw_folders(tmp_path, ["cat", "dog"], ("",))
    (tmp_path / "metadata.csv").write_text("file_name,label\ncat/0.png,x\naway/2.png,y\n")
    for layout in (None, "classes"):
        source = read(tmp_path, layout=layout)
        assert (source.layout, source.classes) == ("images with metadata", ["x", "y"])
        with pytest.raises(BadImage, match="no such file"):
            source.image_bytes(1)


def test_a_table_whose_paths_are_misspelt_names_the_file_that_may_be_meant(tmp_path: Path) -> None:
    draw_folders(tmp_path, ["cat", "dog"], ("",))
    (tmp_path / "metadata.csv").write_text("file_name,label\ncat/0,x\ndog/0,y\n")
    assert "such as cat/0; 0.png is there: write into 'file_name'" in refuse(tmp_path)


def test_without_class_folders_no_layout_is_offered(tmp_path: Path) -> None:
    draw(tmp_path / "1.png")
    TABLES["metadata.csv without file_name"](tmp_path)
    for layout in (None, "classes"):
        assert refuse(tmp_path, layout=layout).endswith("give that name to the one that says where each image is")
    TABLES["metadata.csv that lists other files"](tmp_path)
    with pytest.raises(BadImage, match="no such file"):
        read(tmp_path).image_bytes(0)


def test_without_labels_of_folders_no_layout_is_offered(tmp_path: Path) -> None:
    draw_folders(tmp_path, ["cat", "dog"], ("",))
    TABLES["metadata.csv without file_name"](tmp_path)
    assert "--layout" not in refuse(tmp_path, label_from="clusters")


@pytest.mark.parametrize("name", ["index.parquet", "cats.zip", "Cats.TAR.GZ", "rows.arrow"])
@pytest.mark.parametrize("layout", ["classes", "splits"])
def test_tables_and_archives_beside_class_folders(tmp_path: Path, layout: str, name: str) -> None:
    if layout == "classes":
        place = draw_folders(tmp_path, ["a", "b"], ("",))
    else:
        place = draw_folders(tmp_path, ["train", "test"]) / "train"
    if name == "index.parquet":
        pq.write_table(pa.table(UNNAMED), place / name)
    else:
        (place / name).write_bytes(b"PK\3\4")
    source = open_source(SourceOptions(source=str(tmp_path)))
    (row,) = (row for row in range(len(source)) if source.origin(row) == name)
    with pytest.raises(BadImage) as caught:
        source.image_bytes(row)
    assert caught.value.reason == (
        f"is in no class folder: move it elsewhere, or add --layout {layout} to pass over tables and archives beside "
        "class folders"
    )
    source = read(tmp_path, layout=layout)
    assert (source.classes, source.splits, source.ignored) == (["a", "b"], {"train": 4}, (str(place / name),))


def test_an_image_beside_class_folders_is_refused_with_any_layout(tmp_path: Path) -> None:
    draw(draw_folders(tmp_path, ["a", "b"], ("",)) / "1.png")
    for layout in (None, "classes"):
        with pytest.raises(BadImage) as caught:
            read(tmp_path, layout=layout).image_bytes(0)
        assert caught.value.reason == "is in no class folder"


def test_the_command_says_what_to_do_and_does_it(tmp_path: Path, recipe: Path) -> None:
    source = draw_folders(tmp_path / "in", ["cat", "dog"], ("",))
    for level, name in enumerate(("cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png")):
        draw(source / name, 60 * level)
    TABLES["metadata.csv that lists other files"](source)
    (source / "cats.zip").write_bytes(b"PK\3\4")
    command = ("protect", source, "--out", tmp_path / "run", "--recipe", recipe)
    assert "add --layout classes" in run(*command).err
    (source / "metadata.csv").rename(source / "other.csv")
    refused = run(*command)
    assert refused.code == 2
    assert "cats.zip: is in no class folder: move it elsewhere, or add --layout classes" in refused.err
    (source / "other.csv").rename(source / "metadata.csv")
    assert "2 hidden files" in succeed(*command, "--layout", "classes").err
    succeed("verify", tmp_path / "run", "--clean", source)
