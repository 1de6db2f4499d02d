"""The images of a reproduction: a balanced draw that is the same every time."""

import io
import json
import shutil
from pathlib import Path
from typing import Literal

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rem_release.data.sources.opening import open_source
from rem_release.data.sources.source import SourceOptions
from rem_release.errors import InputError
from rem_release.reproduce.images import draw_images, locate


def fill(folder: Path, each: int = 6, kind: str = "png", **how: int) -> Path:
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("cat", "dog", "owl"):
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for index in range(each):
                pixels = generator.integers(0, 256, (9, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{index}.{kind}", **how)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def save(
    folder: Path, splits: dict[str, list[dict[str, int]]], kind: Literal["saved", "Parquet"], **names: int
) -> Path:
    """A table of tiny images, a row for each dict of labels; `names` says how many classes each of these has."""
    generator = np.random.default_rng(0)
    classes = {
        column: datasets.ClassLabel(names=[f"{column}{number}" for number in range(count)])
        for column, count in names.items()
    }
    features = datasets.Features({"img": datasets.Image(), **classes})
    tables = datasets.DatasetDict()
    for split, rows in splits.items():
        images = [Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in rows]
        columns = {column: [row[column] for row in rows] for column in names}
        tables[split] = datasets.Dataset.from_dict({"img": images, **columns}, features=features)
    if kind == "saved":
        tables.save_to_disk(folder)
    else:
        for split, table in tables.items():
            table.to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return folder


def count_classes(split: Path) -> list[int]:
    return [len(list((split / name).iterdir())) for name in ("cat", "dog", "owl")]


def test_as_many_of_each_class_are_drawn_and_the_rows_are_recorded(tmp_path: Path) -> None:
    source = SourceOptions(source=str(fill(tmp_path / "source")))
    draw_images(source, "cifar10", 7, 6).copy(tmp_path / "out" / "data")
    counts = {split: count_classes(tmp_path / "out" / "data" / split) for split in ("train", "test")}
    assert counts == {"train": [3, 2, 2], "test": [2, 2, 2]}
    record = json.loads((tmp_path / "out" / "images.json").read_text())
    written = sorted(int(path.stem) for path in (tmp_path / "out" / "data" / "train").rglob("*.png"))
    assert record["train"]["rows"] == written
    originals = {path.read_bytes() for path in (tmp_path / "source" / "train").rglob("*.png")}
    assert all(path.read_bytes() in originals for path in (tmp_path / "out" / "data" / "train").rglob("*.png"))


def test_a_second_draw_is_the_same_and_completes_a_copy_that_was_cut_short(tmp_path: Path) -> None:
    source = SourceOptions(source=str(fill(tmp_path / "source")))
    draw_images(source, "cifar10", 6, 3).copy(tmp_path / "out" / "data")
    whole = files(tmp_path / "out")
    next((tmp_path / "out" / "data" / "train").rglob("*.png")).unlink()
    draw_images(source, "cifar10", 6, 3).copy(tmp_path / "out" / "data")
    assert files(tmp_path / "out") == whole
    draw_images(source, "cifar10", 6, 3).copy(tmp_path / "other" / "data")
    assert files(tmp_path / "other") == whole


def test_a_source_that_changed_is_refused(tmp_path: Path) -> None:
    source = SourceOptions(source=str(fill(tmp_path / "source")))
    draw_images(source, "cifar10", 6, 3).copy(tmp_path / "out" / "data")
    fill(tmp_path / "source", each=8)
    with pytest.raises(InputError, match=r"not what .*images\.json was drawn from any more"):
        draw_images(source, "cifar10", 6, 3).copy(tmp_path / "out" / "data")


def test_all_of_a_small_class_are_taken_and_it_is_said(tmp_path: Path) -> None:
    source = fill(tmp_path / "source")
    for index in range(2, 6):
        (source / "test" / "dog" / f"{index}.png").unlink()
    draw = draw_images(SourceOptions(source=str(source)), "cifar10", 6, 12)
    words = draw.copy(tmp_path / "out" / "data")
    assert count_classes(tmp_path / "out" / "data" / "train") == [2, 2, 2]
    assert count_classes(tmp_path / "out" / "data" / "test") == [4, 2, 4]
    assert len(draw.rows["test"]) == 10
    assert "6 training and 10 test images" in words
    assert "fewer test images than wanted of dog (2 of 4)" in words
    assert "fewer training images" not in words


def test_every_class_gets_an_image_where_fewer_are_wanted_than_there_are_classes(tmp_path: Path) -> None:
    draw_images(SourceOptions(source=str(fill(tmp_path / "source"))), "cifar100", 4, 2).copy(tmp_path / "out" / "data")
    assert count_classes(tmp_path / "out" / "data" / "train") == [2, 1, 1]
    assert count_classes(tmp_path / "out" / "data" / "test") == [1, 1, 1]


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_jpeg_is_said_to_be_no_original_pixels(tmp_path: Path, quality: int) -> None:
    source = SourceOptions(source=str(fill(tmp_path / "source", kind="jpg", quality=quality)))
    words = draw_images(source, "cifar10", None, None).copy(tmp_path / "out" / "data")
    assert "18 training and 18 test images" in words
    assert f"JPEG of quality {quality}, not the original pixels" in words


def test_imagenet_needs_a_local_copy() -> None:
    assert locate("cifar100", None).label_column == "fine_label"
    assert locate("imagenet100", "here").source == "here"
    with pytest.raises(InputError, match="first 100 classes"):
        locate("imagenet100", None)


@pytest.mark.parametrize("name", ["../up", "cat/dog", "..", "a\\b"])
def test_class_names_that_are_paths_are_refused(tmp_path: Path, name: str) -> None:
    generator = np.random.default_rng(0)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", name])})
    for split in ("train", "test"):
        images = [Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in range(4)]
        table = datasets.Dataset.from_dict({"image": images, "label": [0, 1, 0, 1]}, features=features)
        table.to_parquet(tmp_path / "source" / f"{split}-00000-of-00001.parquet")
    with pytest.raises(InputError, match="cannot be the name of a folder"):
        draw_images(SourceOptions(source=str(tmp_path / "source")), "cifar10", 4, 4)


def test_a_class_of_one_split_alone_is_refused(tmp_path: Path) -> None:
    source = fill(tmp_path / "source")
    shutil.rmtree(source / "test" / "owl")
    with pytest.raises(InputError, match="class 'owl' is in one of the splits train and test alone"):
        draw_images(SourceOptions(source=str(source)), "cifar10", None, None)


@pytest.mark.parametrize("kind", ["saved", "Parquet"])
def test_a_copy_with_the_hubs_columns_is_read_by_its_fine_labels(
    tmp_path: Path, kind: Literal["saved", "Parquet"]
) -> None:
    rows = [{"fine_label": number % 4, "coarse_label": number % 2} for number in range(12)]
    source = save(tmp_path / "source", {"train": rows, "test": rows}, kind, fine_label=4, coarse_label=2)
    draw = draw_images(locate("cifar100", str(source)), "cifar100", 8, 4)
    assert draw.classes == ["fine_label0", "fine_label1", "fine_label2", "fine_label3"]
    draw.copy(tmp_path / "out" / "data")
    assert {path.name for path in (tmp_path / "out" / "data" / "test").iterdir()} == set(draw.classes)


def test_a_copy_of_cifar10_as_the_hub_has_it_is_read(tmp_path: Path) -> None:
    rows = [{"label": number % 2} for number in range(6)]
    source = save(tmp_path / "source", {"train": rows, "test": rows}, "saved", label=2)
    assert draw_images(locate("cifar10", str(source)), "cifar10", 4, 2).classes == ["label0", "label1"]
    assert draw_images(locate("cifar100", str(source)), "cifar100", 4, 2).classes == ["label0", "label1"]


def test_a_refusal_names_the_columns_that_there_are(tmp_path: Path) -> None:
    rows = [{"shape": number % 2, "colour": number % 2} for number in range(6)]
    source = save(tmp_path / "source", {"train": rows, "test": rows}, "saved", shape=2, colour=2)
    with pytest.raises(InputError, match="no column 'label'; its columns are img, shape, colour"):
        draw_images(locate("cifar100", str(source)), "cifar100", 4, 2)


@pytest.mark.parametrize("name", ["val", "validation"])
def test_val_is_tested_on_where_there_is_no_test(tmp_path: Path, name: str) -> None:
    source = fill(tmp_path / "source")
    (source / "test").rename(source / name)
    words = draw_images(SourceOptions(source=str(source)), "imagenet100", 6, 3).copy(tmp_path / "out" / "data")
    assert f"its split {name} is tested on" in words
    assert count_classes(tmp_path / "out" / "data" / "test") == [1, 1, 1]
    assert set(json.loads((tmp_path / "out" / "images.json").read_text())) == {"source", "seed", "train", name}


def test_test_goes_before_val(tmp_path: Path) -> None:
    source = fill(tmp_path / "source")
    shutil.copytree(source / "train", source / "val")
    words = draw_images(SourceOptions(source=str(source)), "cifar10", 6, 3).words
    assert "tested on" not in words


def test_test_images_without_labels_are_passed_over(tmp_path: Path) -> None:
    """As in the Hub's ImageNet."""
    rows = [{"label": number % 2} for number in range(6)]
    unlabelled = [{"label": -1}] * 4
    source = save(tmp_path / "source", {"train": rows, "validation": rows, "test": unlabelled}, "Parquet", label=2)
    assert draw_images(locate("imagenet100", str(source)), "imagenet100", 4, 2).tested == "validation"


def test_a_source_without_anything_to_test_on_is_refused(tmp_path: Path) -> None:
    source = fill(tmp_path / "source")
    shutil.rmtree(source / "test")
    for folder in (source, source / "train"):
        with pytest.raises(
            InputError, match=r"none of the splits test, val, validation can be tested on: .* has no split"
        ):
            draw_images(SourceOptions(source=str(folder)), "cifar10", 6, 3)


def test_one_file_is_not_both_trained_and_tested_on(tmp_path: Path) -> None:
    source = save(tmp_path / "source", {"train": [{"label": number % 2} for number in range(6)]}, "Parquet", label=2)
    with pytest.raises(InputError, match="is one split; give a folder"):
        draw_images(SourceOptions(source=str(next(source.iterdir()))), "cifar10", 4, 2)


@pytest.mark.parametrize("dataset", ["imagenet100", "cifar100"])
def test_of_imagenet_the_first_hundred_classes_are_taken(
    tmp_path: Path, dataset: Literal["imagenet100", "cifar100"]
) -> None:
    names = [f"n{number:08d}" for number in range(0, 3 * 103, 3)]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 103, 8, 8, 3), dtype=np.uint8)
    for split, images in zip(("train", "val"), pixels, strict=True):
        for name, image in zip(names, images, strict=True):
            (tmp_path / "source" / split / name).mkdir(parents=True)
            Image.fromarray(image).save(tmp_path / "source" / split / name / "0.png")
    draw = draw_images(SourceOptions(source=str(tmp_path / "source")), dataset, None, None)
    words = draw.copy(tmp_path / "out" / "data")
    expected = names[:100] if dataset == "imagenet100" else names
    for split in ("train", "test"):
        assert sorted(path.name for path in (tmp_path / "out" / "data" / split).iterdir()) == expected
    assert f"{len(expected)} classes" in words
    assert ("the first of its 103 classes" in words) == (dataset == "imagenet100")


@pytest.mark.parametrize("data", [b"no image", b"\xff\xd8\xff\xe0\x00\x10JFIF"])
def test_a_file_that_is_no_whole_image_is_named(data: bytes, tmp_path: Path) -> None:
    source = fill(tmp_path / "source")
    (source / "train" / "cat" / "3.png").write_bytes(data)
    with pytest.raises(InputError, match=r"cat/3\.png of the split train: no image that can be read"):
        draw_images(SourceOptions(source=str(source)), "cifar10", None, None).copy(tmp_path / "out" / "data")


@pytest.mark.parametrize("kind", ["jp2", "webp", "tiff", "bmp", "gif", "jpg", "ppm"])
def test_a_class_of_any_format_is_read_again_from_the_copy(kind: str, tmp_path: Path) -> None:
    source = fill(tmp_path / "source")
    for path in source.glob("*/cat/*.png"):
        Image.open(path).save(path.with_suffix(f".{kind}"))
        path.unlink()
    draw = draw_images(SourceOptions(source=str(source)), "cifar10", None, None)
    draw.copy(tmp_path / "out" / "data")
    copied = open_source(SourceOptions(source=str(tmp_path / "out" / "data"), split="train"))
    assert len(copied) == len(draw.rows["train"])


def test_a_class_that_folders_cannot_hold_is_refused(tmp_path: Path) -> None:
    """As a table may name it."""
    source = tmp_path / "source"
    source.mkdir()
    for split in ("train", "test"):
        picture = io.BytesIO()
        Image.new("RGB", (8, 8), "red").save(picture, "png")
        labels = ["cat", "dog", "Thumbs.db"] * 2
        rows = {"image": [{"bytes": picture.getvalue(), "path": None}] * len(labels), "label": labels}
        pq.write_table(pa.table(rows), source / f"{split}.parquet")
    draw = draw_images(SourceOptions(source=str(source)), "cifar10", None, None)
    with pytest.raises(InputError, match=r"images of class 'Thumbs\.db' cannot be read again from class folders"):
        draw.copy(tmp_path / "out" / "data")


def test_a_copy_that_was_changed_is_mended_or_refused(tmp_path: Path) -> None:
    draw = draw_images(SourceOptions(source=str(fill(tmp_path / "source"))), "cifar10", None, None)
    folder = tmp_path / "out" / "data"
    draw.copy(folder)
    first, other = sorted((folder / "test" / "cat").iterdir())[:2]
    whole = first.read_bytes()
    first.write_bytes(other.read_bytes())
    draw.copy(folder)
    assert first.read_bytes() == whole
    first.with_name("more.png").write_bytes(whole)
    with pytest.raises(InputError, match="test/cat has images that were not drawn; remove them"):
        draw.copy(folder)
