"""The images of a reproduction: a balanced draw that is the same every time."""

import json
import shutil
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

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


def count_classes(split: Path) -> list[int]:
    return [len(list((split / name).iterdir())) for name in ("cat", "dog", "owl")]


def test_as_many_of_each_class_are_drawn_and_the_rows_are_recorded(tmp_path: Path) -> None:
    source = SourceOptions(source=str(fill(tmp_path / "source")))
    draw_images(source, 7, 6).copy(tmp_path / "out" / "data")
    counts = {split: count_classes(tmp_path / "out" / "data" / split) for split in ("train", "test")}
    assert counts == {"train": [3, 2, 2], "test": [2, 2, 2]}
    record = json.loads((tmp_path / "out" / "images.json").read_text())
    written = sorted(int(path.stem) for path in (tmp_path / "out" / "data" / "train").rglob("*.png"))
    assert record["train"]["rows"] == written
    originals = {path.read_bytes() for path in (tmp_path / "source" / "train").rglob("*.png")}
    assert all(path.read_bytes() in originals for path in (tmp_path / "out" / "data" / "train").rglob("*.png"))


def test_a_second_draw_is_the_same_and_completes_a_copy_that_was_cut_short(tmp_path: Path) -> None:
    source = SourceOptions(source=str(fill(tmp_path / "source")))
    draw_images(source, 6, 3).copy(tmp_path / "out" / "data")
    whole = files(tmp_path / "out")
    next((tmp_path / "out" / "data" / "train").rglob("*.png")).unlink()
    draw_images(source, 6, 3).copy(tmp_path / "out" / "data")
    assert files(tmp_path / "out") == whole
    draw_images(source, 6, 3).copy(tmp_path / "other" / "data")
    assert files(tmp_path / "other") == whole


def test_a_source_that_changed_is_refused(tmp_path: Path) -> None:
    source = SourceOptions(source=str(fill(tmp_path / "source")))
    draw_images(source, 6, 3).copy(tmp_path / "out" / "data")
    fill(tmp_path / "source", each=8)
    with pytest.raises(InputError, match=r"not what .*images\.json was drawn from any more"):
        draw_images(source, 6, 3).copy(tmp_path / "out" / "data")


def test_too_few_images_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    source = SourceOptions(source=str(fill(tmp_path / "source")))
    with pytest.raises(InputError, match="class 'cat' has 6 images in the split test, and 10 are needed"):
        draw_images(source, 6, 30).copy(tmp_path / "out" / "data")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_jpeg_is_said_to_be_no_original_pixels(tmp_path: Path, quality: int) -> None:
    source = SourceOptions(source=str(fill(tmp_path / "source", kind="jpg", quality=quality)))
    words = draw_images(source, None, None).copy(tmp_path / "out" / "data")
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
        draw_images(SourceOptions(source=str(tmp_path / "source")), 4, 4)


def test_a_class_of_one_split_alone_is_refused(tmp_path: Path) -> None:
    source = fill(tmp_path / "source")
    shutil.rmtree(source / "test" / "owl")
    with pytest.raises(InputError, match="class 'owl' is in one of the splits train and test alone"):
        draw_images(SourceOptions(source=str(source)), None, None)
