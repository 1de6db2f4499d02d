"""A split that is published without noise: what is written, what is refused, and what verify sees of it."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, PngImagePlugin

from rem_release.atomic_files import write_atomically
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.source import SourceOptions
from rem_release.errors import InputError
from rem_release.release.canonical import seal
from rem_release.release.clean_source import open_clean_split, parse_clean_split
from rem_release.release.clean_split import remove_clean_split, write_clean_split
from rem_release.release.documents import FACTS, describe_files, find_certificate, read_facts, write_documents
from rem_release.release.facts import Facts, data_digest
from rem_release.release.run_folder import RunFolder
from rem_release.verification.verify import verify_release
from tests.audit_commands import audit_run, draw_colours, protect
from tests.command_line import draw, draw_classes, pixels_of, run, snapshot, succeed

SHARD = "clean/test-00000-of-00001.parquet"


def add_split(location: Path, split: str, clean: str | None = None) -> Facts:
    """Put a clean split into the release of a run, as push does it."""
    folder, release = RunFolder(location), location / "release"
    facts = read_facts(release)
    facts = write_clean_split(release, facts, open_clean_split(folder, facts, split, clean))
    return write_documents(release, facts, find_certificate(release))


def drop_split(location: Path) -> None:
    """Take it out again."""
    release = location / "release"
    write_documents(release, remove_clean_split(release, read_facts(release)))


def clean_rows(location: Path, name: str = SHARD) -> list[dict[str, Any]]:
    return pq.read_table(location / "release" / name).to_pylist()


def data_of(location: Path) -> dict[str, bytes | None]:
    return snapshot(location / "release" / "data")


def failures(release: Path) -> dict[str, str]:
    return {check.name: check.detail for check in verify_release(release).failures}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders `train` and `test` of 8 x 8 images. Not to be changed."""
    folder = tmp_path_factory.mktemp("images")
    draw_classes(folder / "train")
    draw_classes(folder / "test", count=3, seed=1000)
    draw(folder / "test" / "cat" / "wide.png", 7, (40, 5))
    return folder


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory, images: Path, recipe: Path) -> Path:
    """`images` protected, no clean split yet. Not to be changed."""
    out = tmp_path_factory.mktemp("protected") / "run"
    succeed("protect", images, "--out", out, "--recipe", recipe)
    return out


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory, protected: Path) -> Path:
    """`protected` with its clean split `test`. Not to be changed."""
    out = Path(shutil.copytree(protected, tmp_path_factory.mktemp("split") / "run"))
    add_split(out, "test")
    return out


@pytest.fixture
def bare(tmp_path: Path, protected: Path) -> Path:
    """A copy of `protected` that a test may change."""
    return Path(shutil.copytree(protected, tmp_path / "bare"))


@pytest.fixture
def mine(tmp_path: Path, split: Path) -> Path:
    """A copy of `split` that a test may change."""
    return Path(shutil.copytree(split, tmp_path / "mine"))


# What is written


def test_the_split_is_written_bare_and_in_order(split: Path, images: Path) -> None:
    files = sorted((images / "test").glob("*/*.png"))
    rows = clean_rows(split)
    assert len(rows) == len(files) == 7
    for number, (row, file) in enumerate(zip(rows, files, strict=True)):
        assert row["image"]["path"] == f"{number:09d}.png"
        assert np.array_equal(pixels_of(row["image"]["bytes"]), np.asarray(Image.open(file)))
        assert ["cat", "dog"][row["label"]] == file.parent.name
    facts = read_facts(split / "release")
    assert facts.clean_split is not None
    assert facts.clean_split.model_dump() == {"split": "test", "images": 7, "class_counts": [4, 3]}
    assert facts.files[SHARD].rows == 7


def test_the_protected_rows_and_their_digest_stay_as_they_are(split: Path, protected: Path) -> None:
    before, after = read_facts(protected / "release"), read_facts(split / "release")
    assert data_of(split) == data_of(protected)
    changed = {"clean_split": None, "readme_sha256": "", "files": before.files}
    assert after.model_copy(update=changed) == before.model_copy(update=changed)
    assert after.digest == data_digest(after.files)
    assert {name for name in after.files if name not in before.files} == {SHARD}


def test_verify_says_that_the_split_is_clean(split: Path) -> None:
    for arguments in ((split,), (split / "release",)):
        checks = succeed("verify", *arguments, "--json").json["checks"]
        found = {check["name"]: check for check in checks if check["name"].startswith("clean split")}
        assert set(found) == {*("clean split", "clean split file bytes", "clean split schema", "clean split images")}
        assert found["clean split"]["detail"] == "7 images of the split test are clean, by the owner's choice"
        assert all(check["passed"] for check in found.values())
        assert next(check for check in checks if check["name"] == "rows")["detail"].startswith("8 rows")
    assert "budget" in succeed("verify", split).out


def test_without_a_clean_split_verify_does_not_speak_of_one(protected: Path) -> None:
    assert "clean split" not in succeed("verify", protected).out


def test_progress_counts_all_rows(split: Path) -> None:
    seen: list[tuple[int, int]] = []
    verify_release(split / "release", progress=lambda *pair: seen.append(pair))
    assert seen == [(number, 15) for number in range(1, 16)]


def test_load_dataset_gives_both_splits(tmp_path: Path, split: Path, images: Path) -> None:
    loaded = datasets.load_dataset(str(split / "release"), cache_dir=str(tmp_path))
    assert {name: len(rows) for name, rows in loaded.items()} == {"train": 8, "test": 7}
    assert loaded["train"].features == loaded["test"].features
    file = images / "test" / "dog" / "2.png"
    assert np.array_equal(np.asarray(loaded["test"][6]["image"]), np.asarray(Image.open(file)))
    assert np.array_equal(
        np.asarray(loaded["train"][0]["image"]),
        pixels_of(pq.read_table(split / "release" / "data").to_pylist()[0]["image"]["bytes"]),
    )


def test_the_release_can_be_read_as_a_source_split_by_split(split: Path) -> None:
    for name, count in (("train", 8), ("test", 7)):
        assert len(open_source(SourceOptions(source=str(split / "release"), split=name))) == count


def test_the_bytes_depend_on_the_rows_alone(mine: Path, split: Path) -> None:
    add_split(mine, "test")
    assert snapshot(mine / "release") == snapshot(split / "release")


def test_another_split_takes_the_place_of_the_first(mine: Path, images: Path, tmp_path: Path) -> None:
    draw_classes(tmp_path / "more", count=1, seed=50)
    facts = add_split(mine, f"valid={tmp_path / 'more'}")
    assert [name for name in facts.files if name.startswith("clean/")] == ["clean/valid-00000-of-00001.parquet"]
    assert [path.name for path in (mine / "release" / "clean").iterdir()] == ["valid-00000-of-00001.parquet"]
    assert not failures(mine / "release")


def test_removed_it_is_as_if_it_had_never_been_there(mine: Path, protected: Path) -> None:
    drop_split(mine)
    assert snapshot(mine / "release") == snapshot(protected / "release")


def test_images_are_shrunk_as_the_release_is(tmp_path: Path, images: Path, recipe: Path) -> None:
    out = tmp_path / "run"
    succeed("protect", images, "--out", out, "--recipe", recipe, "--max-side", 16)
    add_split(out, "test")
    assert pixels_of(clean_rows(out)[3]["image"]["bytes"]).shape == (2, 16, 3)  # from 40 x 5
    assert not failures(out / "release")


def test_an_audit_reads_the_protected_rows_alone(tmp_path: Path) -> None:
    draw_colours(tmp_path / "images" / "train")
    draw_colours(tmp_path / "images" / "test", count=10, seed=1)
    location = protect(tmp_path / "images", tmp_path / "run")
    facts = add_split(location, "test")
    certificate = audit_run(location, "--holdout", location / "release")  # whose split `test` is the clean one
    assert (certificate.digest, certificate.images, certificate.holdout.images) == (facts.digest, 24, 20)
    after = read_facts(location / "release")
    assert (after.clean_split, after.files[SHARD]) == (facts.clean_split, facts.files[SHARD])
    succeed("verify", location)
    drop_split(location)
    assert not [name for name in read_facts(location / "release").files if name.startswith("clean/")]


# Every kind of source


@dataclass
class Case:
    """A source, the value of the option, and the clean rows that must come of it."""

    source: Path
    value: str
    pixels: list[np.ndarray]
    labels: list[Any]
    options: tuple[object, ...] = ()
    clean: str | None = None
    others: dict[str, list[Any]] | None = None


def draw_rows(folder: Path, count: int, seed: int) -> list[np.ndarray]:
    return [draw(folder / f"{number}.png", seed + number) for number in range(count)]


def write_table(
    folder: Path, count: int, seed: int, names: tuple[str, ...] = ("cat", "dog"), extra: bool = False
) -> tuple[datasets.Dataset, list[np.ndarray]]:
    """A table of images whose classes alternate, cat first; `extra` adds a column of bytes that no release takes."""
    pixels = draw_rows(folder, count, seed)
    columns: dict[str, list[Any]] = {
        "image": [{"bytes": (folder / f"{number}.png").read_bytes(), "path": None} for number in range(count)],
        "note": [f"note {number}" for number in range(count)],
        "label": [names.index(("cat", "dog")[number % 2]) for number in range(count)],
    }
    features = {
        "image": datasets.Image(),
        "note": datasets.Value("string"),
        "label": datasets.ClassLabel(names=list(names)),
    }
    if extra:
        columns["thumb"], features["thumb"] = [b"clean"] * count, datasets.Value("binary")
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features)), pixels


def saved_dict(folder: Path) -> Case:
    """The test split counts the classes the other way round, and has a column that the release does not have."""
    train, _ = write_table(folder / "a", 4, 0)
    test, pixels = write_table(folder / "b", 3, 100, names=("dog", "cat"), extra=True)
    datasets.DatasetDict({"train": train, "test": test}).save_to_disk(folder / "saved")
    return Case(folder / "saved", "test", pixels, [0, 1, 0], others={"note": ["note 0", "note 1", "note 2"]})


def parquet_folder(folder: Path) -> Case:
    train, _ = write_table(folder / "a", 4, 0)
    test, pixels = write_table(folder / "b", 2, 100)
    (folder / "data").mkdir()
    train.to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    test.to_parquet(folder / "data" / "test-00000-of-00001.parquet")
    return Case(folder / "data", "test", pixels, [0, 1])


def parquet_files(folder: Path) -> Case:
    train, _ = write_table(folder / "a", 4, 0)
    test, pixels = write_table(folder / "b", 2, 100)
    train.to_parquet(folder / "train.parquet")
    test.to_parquet(folder / "test.parquet")
    return Case(folder / "train.parquet", f"test={folder / 'test.parquet'}", pixels, [0, 1])


def saved_dataset(folder: Path) -> Case:
    """Given with --clean, which takes the place of the source: a DatasetDict of the same splits."""
    train, _ = write_table(folder / "a", 4, 0)
    test, pixels = write_table(folder / "b", 2, 100)
    train.save_to_disk(folder / "train")
    datasets.DatasetDict({"train": train, "test": test}).save_to_disk(folder / "both")
    return Case(folder / "train", "test", pixels, [0, 1], clean=str(folder / "both"))


def write_metadata(folder: Path, weights: list[Any], seed: int) -> list[np.ndarray]:
    pixels = draw_rows(folder, len(weights), seed)
    lines = [f"{number}.png,{('cat', 'dog')[number % 2]},{weight}" for number, weight in enumerate(weights)]
    (folder / "metadata.csv").write_text("file_name,label,weight\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return pixels


def metadata_folder(folder: Path) -> Case:
    """Whose weights are read as whole numbers in one split, and as fractions in the other."""
    write_metadata(folder / "source" / "train", [0.5, 1, 1.5, 2], 0)
    pixels = write_metadata(folder / "source" / "test", [3, 4], 100)
    return Case(folder / "source", "test", pixels, ["cat", "dog"], others={"weight": [3.0, 4.0]})


def metadata_elsewhere(folder: Path) -> Case:
    write_metadata(folder / "train", [1, 2, 3, 4], 0)
    pixels = write_metadata(folder / "kept", [5, 6], 100)
    return Case(folder / "train", f"held_out={folder / 'kept'}", pixels, ["cat", "dog"])


def class_folders_elsewhere(folder: Path) -> Case:
    draw_classes(folder / "DATA=1" / "train")
    pixels = [draw(folder / "DATA=1" / "test" / "dog" / f"{number}.png", 70 + number) for number in range(2)]
    pixels = [draw(folder / "DATA=1" / "test" / "cat" / "one.png", 60), *pixels]
    return Case(folder / "DATA=1" / "train", f"test={folder / 'DATA=1' / 'test'}", pixels, [0, 1, 1])


def classes_of_text_from_folders(folder: Path) -> Case:
    """The labels of the release are text, and those of the folders become text too; `emu` has no image here."""
    write_metadata(folder / "train", [""] * 6, 0)
    text = (folder / "train" / "metadata.csv").read_text(encoding="utf-8").replace(",weight", "").replace(",\n", "\n")
    (folder / "train" / "metadata.csv").write_text(text.replace("5.png,dog", "5.png,emu"), encoding="utf-8")
    pixels = [draw(folder / "test" / "cat" / "a.png", 60), draw(folder / "test" / "dog" / "b.png", 61)]
    return Case(folder / "train", f"test={folder / 'test'}", pixels, ["cat", "dog"])


def albums(folder: Path) -> Case:
    """Albums keep the numbers that the release gave them, though one is missing here."""
    for name in ("Anna", "Bob", "Zoë"):
        draw_rows(folder / "train" / name, 2, len(name) * 10)
    pixels = [*draw_rows(folder / "test" / "Bob", 1, 200), *draw_rows(folder / "test" / "Zoë", 2, 300)]
    return Case(folder, "test", pixels, [1, 2, 2], options=("--label-from", "albums"))


KINDS: dict[str, Callable[[Path], Case]] = {
    "DatasetDict": saved_dict,
    "Parquet folder": parquet_folder,
    "Parquet files": parquet_files,
    "Dataset and --clean": saved_dataset,
    "metadata folder": metadata_folder,
    "metadata elsewhere": metadata_elsewhere,
    "class folders elsewhere": class_folders_elsewhere,
    "folders for labels of text": classes_of_text_from_folders,
    "albums": albums,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source_gives_its_split(tmp_path: Path, recipe: Path, kind: str) -> None:
    case, out = KINDS[kind](tmp_path / "source"), tmp_path / "run"
    succeed("protect", case.source, "--out", out, "--recipe", recipe, *case.options)
    facts = add_split(out, case.value, case.clean)
    assert facts.clean_split is not None
    rows = clean_rows(out, f"clean/{facts.clean_split.split}-00000-of-00001.parquet")
    assert len(rows) == len(case.pixels) == facts.clean_split.images
    for row, pixels in zip(rows, case.pixels, strict=True):
        assert np.array_equal(pixels_of(row["image"]["bytes"]), pixels)
    assert [row["label"] for row in rows] == case.labels
    assert {name: [row[name] for row in rows] for name in case.others or {}} == (case.others or {})
    loaded = datasets.load_dataset(str(out / "release"), cache_dir=str(tmp_path / "cache"))
    assert loaded[facts.clean_split.split].features == loaded[facts.data.split].features
    succeed("verify", out)


# What is refused, with nothing changed


def refuse(location: Path, value: str, clean: str | None = None) -> str:
    """The reason why a split is refused; the release must stay as it was, and nothing must be left beside it."""
    before, beside = snapshot(location / "release"), sorted(location.iterdir())
    with pytest.raises(InputError) as caught:
        add_split(location, value, clean)
    assert snapshot(location / "release") == before
    assert sorted(location.iterdir()) == beside
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("value", ["", "=x", "te st", "../test", "test/a", "all", "-test", "test=", "a" * 201])
def test_a_name_that_no_split_can_have_is_refused(value: str) -> None:
    with pytest.raises(InputError, match="--publish-clean-split"):
        parse_clean_split(value)


def test_the_value_names_a_split_and_may_say_where_it_lies() -> None:
    assert parse_clean_split("test") == ("test", None)
    assert parse_clean_split("test=a/b=c") == ("test", "a/b=c")


def test_the_protected_split_itself_is_refused(bare: Path, images: Path) -> None:
    assert "protected split itself" in refuse(bare, "train")
    assert "protected split itself" in refuse(bare, f"train={images / 'test'}")


def test_a_split_that_is_not_there_is_refused_with_the_way_to_give_it(bare: Path, images: Path) -> None:
    reason = refuse(bare, "valid")
    assert "has no split 'valid'" in reason
    assert "--publish-clean-split valid=SOURCE" in reason
    assert "with --split" not in reason
    assert "does not exist" in refuse(bare, f"valid={images / 'nowhere'}")


def test_a_split_without_images_is_refused(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "none" / "cat").mkdir(parents=True)
    assert "holds no files" in refuse(bare, f"test={tmp_path / 'none'}")


def test_a_source_without_splits_does_not_pass_for_another_split(tmp_path: Path, recipe: Path) -> None:
    """A file and a saved Dataset are read under any name of a split: they would give the protected images."""
    table, _ = write_table(tmp_path / "a", 4, 0)
    table.to_parquet(tmp_path / "images.parquet")
    table.save_to_disk(tmp_path / "saved")
    write_metadata(tmp_path / "test", [1, 2, 3, 4], 0)
    for number, name in enumerate(("images.parquet", "saved", "test")):
        out = tmp_path / f"run {number}"
        succeed("protect", tmp_path / name, "--out", out, "--recipe", recipe)
        assert "has no split 'test'" in refuse(out, "test")
        assert "has no split 'test'" in refuse(out, "test", clean=str(tmp_path / name))


def test_never_another_split_than_the_named_one(tmp_path: Path, bare: Path, images: Path) -> None:
    """Whose `train` would be at hand: class folders, a DatasetDict, Parquet files, and the source as a whole."""
    table, _ = write_table(tmp_path / "a", 4, 0)
    datasets.DatasetDict({"train": table}).save_to_disk(tmp_path / "saved")
    (tmp_path / "files").mkdir()
    table.to_parquet(tmp_path / "files" / "train.parquet")
    for source in (images, tmp_path / "saved", tmp_path / "files"):
        assert "has no split 'valid'" in refuse(bare, f"valid={source}")


def test_other_classes_are_named(bare: Path, tmp_path: Path) -> None:
    draw_classes(tmp_path / "test", ("cat", "emu", "yak"))
    assert "no class 'emu', 'yak'; its classes are 'cat', 'dog'" in refuse(bare, f"test={tmp_path / 'test'}")


def test_missing_columns_are_named(tmp_path: Path, recipe: Path) -> None:
    table, _ = write_table(tmp_path / "a", 4, 0)
    table = table.add_column("source", ["web"] * 4)
    splits = {"train": table, "test": table.remove_columns(["note", "source"])}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    succeed("protect", tmp_path / "saved", "--out", tmp_path / "run", "--recipe", recipe)
    assert "lacks the columns 'note', 'source'" in refuse(tmp_path / "run", "test")
    without = {"train": table, "valid": table.remove_columns("label")}
    datasets.DatasetDict(without).save_to_disk(tmp_path / "without")
    assert "has no column 'label'" in refuse(tmp_path / "run", "valid", clean=str(tmp_path / "without"))


def test_a_column_of_another_type_is_named(tmp_path: Path, recipe: Path) -> None:
    """Not even a number becomes text: 007 read as 7 would have lost its zeros."""
    table, _ = write_table(tmp_path / "a", 4, 0)
    table.save_to_disk(tmp_path / "saved")
    succeed("protect", tmp_path / "saved", "--out", tmp_path / "run", "--recipe", recipe)
    for number, values in enumerate(([1, 2, 3, 4], [b"a"] * 4, [0.5] * 4, [["a"]] * 4)):
        other = table.remove_columns("note").add_column("note", values)
        other.save_to_disk(tmp_path / f"other {number}")
        assert "column 'note'" in refuse(tmp_path / "run", f"test={tmp_path / f'other {number}'}")


def test_a_fraction_does_not_become_a_whole_number(tmp_path: Path, recipe: Path) -> None:
    write_metadata(tmp_path / "source" / "train", [1, 2, 3, 4], 0)
    write_metadata(tmp_path / "source" / "test", [1.5, 2], 100)
    succeed("protect", tmp_path / "source", "--out", tmp_path / "run", "--recipe", recipe)
    assert "column 'weight' holds double, and int64" in refuse(tmp_path / "run", "test")


def test_images_that_cannot_be_read_are_named(bare: Path, tmp_path: Path) -> None:
    folder = draw_classes(tmp_path / "test")
    (folder / "cat" / "1.png").write_bytes((folder / "cat" / "1.png").read_bytes()[:60])
    draw(folder / "stray.png", 5)
    reason = refuse(bare, f"test={folder}")
    assert "2 images cannot be read: cat/1.png (" in reason
    assert "stray.png (is in no class folder)" in reason


def test_clusters_have_no_other_images(tmp_path: Path, recipe: Path) -> None:
    for name in ("train", "test"):
        draw_rows(tmp_path / "source" / name, 6, 0)
    options = ("--label-from", "clusters", "--set", "data.clusters=2")
    succeed("protect", tmp_path / "source", "--out", tmp_path / "run", "--recipe", recipe, *options)
    assert "clusters" in refuse(tmp_path / "run", "test")


def test_a_run_that_forgot_its_source_asks_for_it(bare: Path, images: Path) -> None:
    (bare / "private" / "options.json").unlink()
    assert "test=SOURCE" in refuse(bare, "test")
    add_split(bare, "test", clean=str(images))
    assert not failures(bare / "release")


# Killed half-way


_WRITE = """
import sys
from pathlib import Path
from rem_release.release.clean_split import open_clean_split, write_clean_split
from rem_release.release.documents import read_facts
from rem_release.release.run_folder import RunFolder

run = Path(sys.argv[1])
facts = read_facts(run / "release")
source = open_clean_split(RunFolder(run), facts, "test", None)
write_clean_split(run / "release", facts, source, lambda done, total: print(done, flush=True))
"""


def test_killed_half_way_it_leaves_the_release_as_it_was(tmp_path: Path, recipe: Path) -> None:
    draw_classes(tmp_path / "source" / "train", count=2)
    draw_classes(tmp_path / "source" / "test", count=300)
    out = tmp_path / "run"
    succeed("protect", tmp_path / "source", "--out", out, "--recipe", recipe)
    undisturbed = Path(shutil.copytree(out, tmp_path / "undisturbed"))
    before = snapshot(out / "release")
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITE, str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert next(line for line in process.stdout if line.strip() == "300")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert snapshot(out / "release") == before
    left = [path for path in out.iterdir() if path.name.startswith(".")]
    assert len(left) == 1  # otherwise it was not killed in the middle
    assert left[0].stat().st_mode & 0o077 == 0
    succeed("verify", out)
    for location in (out, undisturbed):
        add_split(location, "test")
    assert snapshot(out / "release") == snapshot(undisturbed / "release")
    assert not left[0].exists()


def test_shards_that_no_facts_speak_of_are_refused_and_replaced(bare: Path, split: Path) -> None:
    """What a command leaves that is killed between the last rename and the writing of the facts."""
    shutil.copytree(split / "release" / "clean", bare / "release" / "clean")
    assert f"{SHARD} does not belong to the release" in failures(bare / "release")["file list"]
    again = Path(shutil.copytree(bare, bare.parent / "again"))
    drop_split(again)
    assert not failures(again / "release")
    add_split(bare, "test")
    assert snapshot(bare / "release") == snapshot(split / "release")


# What verify refuses


@pytest.mark.parametrize("name", [SHARD, "data/test-00000-of-00001.parquet", "clean/cat.png", "clean/a/b.png"])
def test_a_planted_split_is_refused(bare: Path, split: Path, name: str) -> None:
    path = bare / "release" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(split / "release" / SHARD, path)
    assert f"{name} does not belong to the release" in failures(bare / "release")["file list"]
    assert run("verify", bare).code == 1


@pytest.mark.parametrize("name", ["clean/cat.png", "clean/valid-00000-of-00001.parquet", "clean/.hidden"])
def test_a_file_beside_the_clean_split_is_refused(mine: Path, name: str) -> None:
    shutil.copy(mine / "release" / SHARD, mine / "release" / name)
    assert f"{name} does not belong to the release" in failures(mine / "release")["file list"]


def test_an_empty_folder_and_a_link_are_refused(bare: Path, mine: Path, tmp_path: Path) -> None:
    (bare / "release" / "clean").mkdir()
    assert "clean/ is a folder that does not belong" in failures(bare / "release")["file list"]
    (mine / "release" / "clean").rename(tmp_path / "elsewhere")
    (mine / "release" / "clean").symlink_to(tmp_path / "elsewhere")
    assert "clean is a link" in failures(mine / "release")["file list"]
    before = snapshot(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="clean is a link"):
        drop_split(mine)
    assert snapshot(tmp_path / "elsewhere") == before


@pytest.mark.parametrize("name", [".release-clean/cat.png", ".release-clean/clean/cat.png", "release/clean/cat.png"])
@pytest.mark.parametrize("write", [True, False])
def test_what_we_did_not_write_is_not_deleted_with_a_split(mine: Path, name: str, write: bool) -> None:
    path = mine / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"mine")
    if write or name.startswith("release"):
        before = snapshot(mine)
        with pytest.raises(InputError, match=f"holds .*{path.name}, which rem-release did not write; move it away"):
            add_split(mine, "test") if write else drop_split(mine)
        assert snapshot(mine) == before


def test_facts_that_list_the_files_of_no_clean_split_are_refused(mine: Path) -> None:
    facts = read_facts(mine / "release")
    write_documents(mine / "release", facts.model_copy(update={"clean_split": None}))
    found = failures(mine / "release")
    assert "name that a release cannot have" in found["facts"]
    assert SHARD in found["file hashes"]  # it was not opened


def test_any_flipped_bit_and_a_missing_file_are_seen(mine: Path) -> None:
    path = mine / "release" / SHARD
    sound = path.read_bytes()
    for position in (0, len(sound) // 3, len(sound) // 2, len(sound) - 1):
        damaged = bytearray(sound)
        damaged[position] ^= 1
        path.write_bytes(bytes(damaged))
        assert SHARD in failures(mine / "release")["file hashes"]
    checks = {check.name: check for check in verify_release(mine / "release").checks}
    assert checks["clean split"].passed is None  # damaged, so not read; but the rows of data/ were
    assert checks["rows"].passed
    path.unlink()
    assert f"{SHARD} is missing" in failures(mine / "release")["file list"]


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"split": "train"}, "has the name of the released split"),
    ({"split": "valid"}, "holds other files than shards of 'valid'"),
    ({"split": "../data/train"}, "holds other files than shards"),
    ({"images": 8}, "do not add up to the images of clean_split"),
    ({"class_counts": [4, 4]}, "class_counts of clean_split do not add up"),
    ({"class_counts": [7]}, "are not those of the classes"),
]


@pytest.mark.parametrize(("changes", "reason"), CONTRADICTIONS, ids=[reason for _, reason in CONTRADICTIONS])
def test_facts_that_contradict_the_clean_split_are_refused(mine: Path, changes: dict[str, Any], reason: str) -> None:
    facts = read_facts(mine / "release")
    assert facts.clean_split is not None
    changed = facts.model_copy(update={"clean_split": facts.clean_split.model_copy(update=changes)})
    write_atomically(mine / "release" / FACTS, seal(changed.model_dump(mode="json")))
    found = failures(mine / "release")
    assert reason in found["facts"]
    assert "render" in found["card"]  # it says otherwise, or cannot be rendered at all


def reseal(location: Path, **changes: Any) -> None:
    """Give the facts of the files as they are now, so that only what is in them can be wrong."""
    release = location / "release"
    write_documents(release, read_facts(release).model_copy(update={"files": describe_files(release), **changes}))


def edit(location: Path, change: Callable[[list[dict[str, Any]]], object], schema: pa.Schema | None = None) -> None:
    path = location / "release" / SHARD
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    made = pa.Table.from_pylist(rows, schema=schema or table.schema)
    pq.write_table(made, path, write_statistics=["label"], use_dictionary=["label"])
    reseal(location)


def add_text(rows: list[dict[str, Any]]) -> None:
    notes, data = PngImagePlugin.PngInfo(), io.BytesIO()
    notes.add_text("Author", "Anna")
    Image.fromarray(pixels_of(rows[2]["image"]["bytes"])).save(data, "PNG", pnginfo=notes)
    rows[2]["image"]["bytes"] = data.getvalue()


EDITS: list[tuple[Callable[[list[dict[str, Any]]], object], str, str]] = [
    (add_text, "clean split images", "row 2 carries a tEXt block"),
    (lambda rows: rows[1]["image"].update(path="cat/1.png"), "clean split", "row 1 has the path 'cat/1.png'"),
    (lambda rows: rows[1]["image"].update(bytes=None), "clean split images", "row 1 has no image"),
    (lambda rows: rows[0].update(label=1), "clean split", "cat 3 instead of 4"),
    (lambda rows: rows[0].update(label=2), "clean split", "row 0 has the label 2"),
    (lambda rows: rows.reverse(), "clean split", "row 0 has the path"),
    (lambda rows: rows.pop(), "facts", "do not add up to the images of clean_split"),
]


@pytest.mark.parametrize(("change", "name", "reason"), EDITS, ids=[reason for _, _, reason in EDITS])
def test_a_changed_row_is_refused_even_if_all_hashes_fit(
    mine: Path, change: Callable[[list[dict[str, Any]]], object], name: str, reason: str
) -> None:
    edit(mine, change)
    assert reason in failures(mine / "release")[name]


def test_another_schema_and_notes_in_the_footer_are_refused(mine: Path, tmp_path: Path) -> None:
    schema = pq.read_schema(mine / "release" / SHARD)
    edit(mine, lambda rows: None, schema.append(pa.field("name", pa.string())))
    assert "has the columns image, label, name" in failures(mine / "release")["clean split schema"]
    edit(mine, lambda rows: None, schema.with_metadata({**(schema.metadata or {}), "exif": "home"}))
    assert "exif" in failures(mine / "release")["clean split schema"]


def test_images_above_the_largest_side_are_refused(mine: Path) -> None:
    facts = read_facts(mine / "release")
    reseal(mine, data=facts.data.model_copy(update={"max_side": 16}))
    assert "row 3 is 40 x 5, above max_side 16" in failures(mine / "release")["clean split images"]


def test_several_shards_are_one_split(mine: Path) -> None:
    """Paths are numbered over all shards, which a split of many images has."""
    folder = mine / "release" / "clean"
    table = pq.read_table(mine / "release" / SHARD)
    (mine / "release" / SHARD).unlink()
    for number in range(2):
        part = table.slice(4 * number, 4)
        pq.write_table(
            part, folder / f"test-0000{number}-of-00002.parquet", write_statistics=["label"], use_dictionary=["label"]
        )
    reseal(mine)
    assert not failures(mine / "release")
    (folder / "test-00001-of-00002.parquet").rename(folder / "test-00002-of-00002.parquet")
    reseal(mine)
    assert "holds other files than shards" in failures(mine / "release")["facts"]


def test_the_sha256_in_the_facts_is_that_of_the_file(split: Path) -> None:
    document = json.loads((split / "release" / "protection.json").read_bytes())
    found = hashlib.sha256((split / "release" / SHARD).read_bytes()).hexdigest()
    assert document["files"][SHARD]["sha256"] == found
    assert document["clean_split"]["split"] == "test"
