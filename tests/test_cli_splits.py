"""Several splits in one release: one generator, each split under its own name, and no image in between."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from rem_release.data.noise_store import NoiseStore
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.source import SourceOptions
from rem_release.data.working_set import read_working_set
from rem_release.errors import InputError
from rem_release.release.canonical import seal
from rem_release.release.documents import describe_files, read_facts, read_stated_facts, write_documents
from rem_release.release.facts import data_digest
from rem_release.release.private_record import fingerprint_of_release
from rem_release.release.shard_journal import open_journals
from rem_release.release.writing import Choice, write_rows
from rem_release.verification.verify import verify_release
from tests.audit_commands import audit_run, draw_colours, protect
from tests.command_line import change, draw, draw_classes, pixels_of, released, run, same_release, succeed
from tests.forks import Forks
from tests.loopback_hub import LoopbackHub
from tests.pushes import certify

BOTH = "train+validation"
CLASSES = ["bird", "cat", "dog"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three splits with other classes each; the first dog of `validation` is the first one of `train`."""
    folder = tmp_path_factory.mktemp("splits")
    draw_classes(folder / "train", ["cat", "dog"], 4)
    draw_classes(folder / "validation", ["bird", "dog"], 3, seed=500)
    draw(folder / "validation/dog/0.png", 100)
    draw_classes(folder / "test", ["cat", "dog"], 2, seed=900)
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, folders: Path, recipe: Path) -> Path:
    """`folders` protected, two splits of it, which are named in the wrong order. Not to be changed."""
    out = tmp_path_factory.mktemp("two") / "run"
    succeed("protect", folders, "--out", out, "--recipe", recipe, "--split", "validation+train")
    return out


@pytest.fixture
def mine(tmp_path: Path, two: Path) -> Path:
    """The release of `two`, which a test may change."""
    folder = tmp_path / "release"
    for path in sorted((two / "release").rglob("*")):
        target = folder / path.relative_to(two / "release")
        target.mkdir(parents=True) if path.is_dir() else target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            target.write_bytes(path.read_bytes())
    return folder


def load(release: Path, tmp_path: Path) -> dict[str, list[dict[str, Any]]]:
    """What `load_dataset` gives: the rows of each split, images as bytes."""
    found = datasets.load_dataset(str(release), cache_dir=str(tmp_path / "cache"))
    return {name: list(rows.cast_column("image", datasets.Image(decode=False))) for name, rows in found.items()}


def test_load_dataset_never_gives_the_rows_of_another_release(two: Path, tmp_path: Path, recipe: Path) -> None:
    """It keeps what it reads under a hash of the card's metadata: with an equal card it would give the first ones."""
    for seed in ("1", "2"):
        draw_classes(tmp_path / "source")
        out = ("--out", tmp_path / "run", "--recipe", recipe, "--seed", seed, "--overwrite")
        succeed("protect", tmp_path / "source", *out)
        for split, rows in load(tmp_path / "run/release", tmp_path).items():
            table = pq.read_table(next((tmp_path / "run/release/data").glob(f"{split}-*")))
            assert [row["image"]["bytes"] for row in rows] == [cell["bytes"] for cell in table["image"].to_pylist()]


def test_load_dataset_gives_each_split_with_its_labels_and_images(two: Path, folders: Path, tmp_path: Path) -> None:
    loaded = load(two / "release", tmp_path)
    assert list(loaded) == ["train", "validation"]
    for split, rows in loaded.items():
        files = sorted((folders / split).rglob("*.png"))
        assert [CLASSES[row["label"]] for row in rows] == [path.parent.name for path in files]
        for row, path in zip(rows, files, strict=True):
            assert row["image"]["bytes"].startswith(b"\x89PNG")
            assert 0 < change(np.asarray(Image.open(path)), row["image"]["bytes"]) <= 8
    assert [row["image"]["path"] for row in released(two / "release")] == [f"{row:09d}.png" for row in range(14)]


def test_facts_and_card_name_both_splits_and_no_other(two: Path) -> None:
    data, card = read_facts(two / "release").data, (two / "release/README.md").read_text()
    assert (data.split, data.split_images) == (BOTH, {"train": 8, "validation": 6})
    assert (data.classes, data.class_counts) == (CLASSES, [3, 4, 7])
    assert "| Splits | train (8), validation (6), protected together |" in card
    assert "8 in the split `train`, 6 in the split `validation`, 8-bit RGB PNG" in card
    assert "test" not in {path.name.split("-")[0] for path in (two / "release/data").iterdir()}
    shards = [path.name for path in sorted((two / "release/data").iterdir())]
    assert shards == ["train-00000-of-00001.parquet", "validation-00000-of-00001.parquet"]


def test_one_image_in_two_splits_has_one_noise(two: Path) -> None:
    rows = released(two / "release")
    assert rows[4]["image"]["bytes"] == rows[11]["image"]["bytes"]
    assert read_facts(two / "release").data.duplicates == 1


def test_verify_with_the_record_and_by_position(two: Path, folders: Path) -> None:
    assert "paired by the record in private/" in succeed("verify", two).out
    assert "paired by position" in succeed("verify", two / "release", "--clean", folders).out
    records = pq.read_table(two / "private/rows.parquet").column("origin").to_pylist()
    assert records[7:9] == ["train/dog/3.png", "validation/bird/0.png"]


def test_what_is_left_out_is_named_once(folders: Path, tmp_path: Path, recipe: Path) -> None:
    plan = ("protect", folders, "--out", tmp_path / "run", "--recipe", recipe, "--plan", "--split")
    assert succeed(*plan, BOTH).err.count("left out: test;") == 1
    assert "left out: test, validation;" in succeed(*plan, "train").err
    assert "left out" not in succeed(*plan, "train+validation+test").err


def draw_table(rows: int, seed: int) -> datasets.Dataset:
    images = []
    for row in range(rows):
        buffer = io.BytesIO()
        pixels = np.random.default_rng(seed + row).integers(0, 256, (8 + row, 9, 3), np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG")
        images.append({"bytes": buffer.getvalue(), "path": None})
    features = {
        "note": datasets.Value("string"),
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=["cat", "dog"]),
    }
    columns = {"note": [f"{seed} {row}" for row in range(rows)], "image": images, "label": [0, 1] * (rows // 2)}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


TABLES = {"train": (6, 10), "validation": (4, 50), "test": (2, 90)}
"""Rows and seed of each split."""


def write_parquet(folder: Path) -> None:
    for name, (rows, seed) in TABLES.items():
        table = draw_table(rows, seed)
        for part in range(2):
            half = table.select(range(part * rows // 2, (part + 1) * rows // 2))
            half.to_parquet(folder / "data" / f"{name}-0000{part}-of-00002.parquet")


def write_saved(folder: Path) -> None:
    splits = {name: draw_table(*numbers) for name, numbers in TABLES.items()}
    datasets.DatasetDict(splits).save_to_disk(folder)


def write_metadata(folder: Path) -> None:
    for name, (rows, seed) in TABLES.items():
        for row, values in enumerate(draw_table(rows, seed)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            values["image"].save(folder / name / f"{row}.png")
        lines = [f'{{"file_name": "{row}.png", "note": "{seed} {row}", "label": {row % 2}}}' for row in range(rows)]
        (folder / name / "metadata.jsonl").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("write", [write_parquet, write_saved, write_metadata])
def test_tables_of_every_kind(write: Callable[[Path], None], tmp_path: Path, recipe: Path) -> None:
    (tmp_path / "source").mkdir()
    write(tmp_path / "source")
    out = tmp_path / "run"
    done = succeed("protect", tmp_path / "source", "--out", out, "--recipe", recipe, "--split", BOTH)
    assert "left out: test;" in done.err
    loaded = load(out / "release", tmp_path)
    assert {name: len(rows) for name, rows in loaded.items()} == {"train": 6, "validation": 4}
    for split, rows in loaded.items():
        for row, clean in zip(rows, draw_table(*TABLES[split]), strict=True):
            assert (row["note"], row["label"]) == (clean["note"], clean["label"])
            assert 0 < change(np.asarray(clean["image"]), row["image"]["bytes"]) <= 8
    succeed("verify", out)
    succeed("verify", out / "release", "--clean", tmp_path / "source")


def test_a_noise_generator_reads_rows_of_files_across_splits_as_they_are(tmp_path: Path) -> None:
    """Parquet images are read from the files of both splits, which come in the order of the names."""
    (tmp_path / "source").mkdir()
    write_parquet(tmp_path / "source")
    source = open_source(SourceOptions(source=str(tmp_path / "source"), split="validation+test"))
    expected = [row["image"] for name in ("test", "validation") for row in draw_table(*TABLES[name])]
    for row, image in enumerate(expected):
        assert pixels_of(source.image_bytes(row)).tobytes() == image.tobytes()
    assert (source.splits, source.origin(1), source.origin(2)) == (
        {"test": 2, "validation": 4},
        "test/row 1",
        "validation/row 0",
    )


def test_clusters_go_over_all_splits(folders: Path, tmp_path: Path, recipe: Path) -> None:
    options = ("--recipe", recipe, "--set", "data.clusters=2", "--label-from", "clusters", "--split", BOTH)
    succeed("protect", folders, "--out", tmp_path / "run", *options)
    data = read_facts(tmp_path / "run/release").data
    assert (data.split_images, sum(data.class_counts)) == ({"train": 8, "validation": 6}, 14)
    succeed("verify", tmp_path / "run")


class StoppedError(Exception):
    """The run ends here."""


def test_stopped_anywhere_it_ends_with_the_same_bytes(folders: Path, tmp_path: Path) -> None:
    """In a split, between two, and behind the last row; shards of a row or two."""
    source = open_source(SourceOptions(source=str(folders), split=BOTH))
    working = read_working_set(source, 8, tmp_path)
    images = len(working.hashes)
    store = NoiseStore(tmp_path / "noise.npy", images, 8, "noise", warn=print)
    store.write(0, torch.from_numpy(np.random.default_rng(0).integers(-8, 9, (images, 3, 8, 8), np.int8)))
    choice = Choice(working, np.zeros(images, np.int8), np.arange(images), False, None)

    def write(folder: Path, stop_at: int = -1) -> dict[str, bytes]:
        def stop(done: int, total: int) -> None:
            if done == stop_at:
                raise StoppedError

        folder.mkdir(exist_ok=True)
        journals = open_journals(folder / "writing", folder / "staging", source.splits, "one")
        written = write_rows(folder / "staging", source, choice, store, 8, journals, 500, stop)
        assert written.rows == 14
        return {path.name: path.read_bytes() for path in (folder / "staging/data").iterdir()}

    whole = write(tmp_path / "whole")
    assert len(whole) > 6
    for stop_at in range(1, 15):
        with pytest.raises(StoppedError):
            write(tmp_path / str(stop_at), stop_at)
        assert write(tmp_path / str(stop_at)) == whole


def test_finished_shards_count_for_the_same_splits_alone(folders: Path, tmp_path: Path) -> None:
    source = open_source(SourceOptions(source=str(folders), split=BOTH))
    working = read_working_set(source, 8, tmp_path)
    choice = Choice(working, np.zeros(13, np.int8), np.arange(13), False, None)
    other = replace(source, splits={"train": 7, "validation": 7})
    prints = [fingerprint_of_release("noise", each, choice, 500) for each in (source, source, other)]
    assert prints[0] == prints[1] != prints[2]


def test_the_order_in_which_splits_are_named_decides_nothing(
    two: Path, folders: Path, tmp_path: Path, recipe: Path
) -> None:
    out = tmp_path / "run"
    succeed("protect", folders, "--out", out, "--recipe", recipe, "--split", BOTH)
    assert same_release(out, two)
    assert (
        "complete already"
        in succeed("protect", folders, "--out", out, "--recipe", recipe, "--split", "validation+train", "--resume").err
    )


def move_row(release: Path) -> None:
    """Take the last row of `train` to the head of `validation`; hashes, sizes and digest fit again."""
    paths = sorted((release / "data").iterdir())
    tables = [pq.ParquetFile(path).read() for path in paths]
    train, moved = tables[0].slice(0, 7), tables[0].slice(7)
    rows = [train, moved.from_batches([*moved.to_batches(), *tables[1].to_batches()])]
    for path, table in zip(paths, rows, strict=True):
        with pq.ParquetWriter(path, table.schema, write_statistics=["label"], use_dictionary=["label"]) as writer:
            writer.write_table(table)
    files = describe_files(release)
    facts = read_facts(release).model_copy(update={"files": files, "digest": data_digest(files)})
    write_documents(release, facts)


def test_a_row_in_the_wrong_split_is_found(mine: Path, two: Path, folders: Path) -> None:
    move_row(mine)
    failed = {check.name: check.detail for check in verify_release(mine).failures}
    assert "rows of the data files are not those of split_images" in failed["facts"]


def test_a_row_in_the_wrong_split_is_found_by_the_originals_where_the_facts_hide_it(mine: Path, folders: Path) -> None:
    move_row(mine)
    facts = read_stated_facts(mine)
    data = facts.data.model_copy(update={"split_images": {"train": 7, "validation": 7}})
    write_documents(mine, facts.model_copy(update={"data": data}))
    succeed("verify", mine)
    found = run("verify", mine, "--clean", folders)
    assert found.code == 1
    assert "row 7 stands in the split validation, and its original in train" in found.err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"split": "train"}, "split_images names other splits than 'train'"),
        ({"split_images": {"train": 14}, "split": "train"}, "rows of the data files are not those of split_images"),
        ({"split_images": {"train": 8, "validation": 6, "x": 0}, "split": f"{BOTH}+x"}, "does not follow its schema"),
    ],
)
def test_facts_that_contradict_the_files_are_refused(mine: Path, changes: dict[str, Any], words: str) -> None:
    facts = read_facts(mine)
    facts = facts.model_copy(update={"data": facts.data.model_copy(update=changes)})
    (mine / "protection.json").write_bytes(seal(facts.model_dump(mode="json")))
    assert words in {check.name: check.detail for check in verify_release(mine).failures}["facts"]


def write_other_column(folder: Path) -> None:
    splits = {"train": draw_table(4, 0), "validation": draw_table(4, 9)}
    splits["validation"] = splits["validation"].add_column("extra", [1, 2, 3, 4])
    datasets.DatasetDict(splits).save_to_disk(folder)


def write_other_type(folder: Path) -> None:
    splits = {"train": draw_table(4, 0), "validation": draw_table(4, 9)}
    splits["validation"] = splits["validation"].remove_columns("note").add_column("note", [1, 2, 3, 4])
    datasets.DatasetDict(splits).save_to_disk(folder)


def write_other_classes(folder: Path) -> None:
    splits = {"train": draw_table(4, 0), "validation": draw_table(4, 9)}
    splits["validation"] = splits["validation"].cast_column("label", datasets.ClassLabel(names=["dog", "cat"]))
    datasets.DatasetDict(splits).save_to_disk(folder)


def write_file(folder: Path) -> None:
    draw_table(4, 0).to_parquet(folder / "x.parquet")


def write_half_folders(folder: Path) -> None:
    draw_classes(folder)
    draw_classes(folder / "validation")


def write_two_kinds(folder: Path) -> None:
    write_metadata(folder)
    (folder / "train/metadata.jsonl").unlink()
    draw_classes(folder / "train")


def write_broken(folder: Path) -> None:
    draw_classes(folder / "train")
    (folder / "validation/cat").mkdir(parents=True)
    (folder / "validation/cat/0.png").write_bytes(b"no image")


def write_two(folder: Path) -> None:
    draw_classes(folder / "train")
    draw_classes(folder / "validation", seed=900)


REFUSED: dict[str, tuple[Callable[[Path], None], list[str], list[str]]] = {
    "unknown": (write_two, ["--split", "train+dev"], ["has no split 'dev'", "train, validation"]),
    "unknown in a table": (write_saved, ["--split", "train+dev"], ["no split 'dev'", "train, validation, test"]),
    "unknown in files": (write_parquet, ["--split", "train+dev"], ["no split 'dev'", "validation"]),
    "twice": (write_two, ["--split", "train+train"], ["names 'train' twice"]),
    "no name": (write_two, ["--split", "train+"], ["'train+'", "'' cannot name a split"]),
    "a slice": (write_two, ["--split", "train[:50%]+validation"], ["'train[:50%]' cannot name a split"]),
    "too long": (write_two, ["--split", "a" * 300], ["a split with 300 characters", "64 are allowed"]),
    "too long in letters": (
        write_two,
        ["--split", "train+" + "ü" * 65],
        ["a split with 65 characters", "64 are allowed"],
    ),
    "all": (write_two, ["--split", "all"], ["'all' cannot name a split"]),
    "albums": (write_two, ["--split", BOTH, "--label-from", "albums"], ["albums", "name one split"]),
    "another column": (
        write_other_column,
        ["--split", BOTH],
        ["column 'extra' is in the split validation and not in train", "--drop-column extra"],
    ),
    "another type": (
        write_other_type,
        ["--split", BOTH],
        ["column 'note' holds string in the split train and int64 in validation", "--drop-column note"],
    ),
    "other classes": (
        write_other_classes,
        ["--split", BOTH],
        ["column 'label' holds the classes cat, dog in the split train and dog, cat in validation", "one split alone"],
    ),
    "a file": (write_file, ["--split", BOTH], ["is one split", "names several"]),
    "no own folder": (write_half_folders, ["--split", BOTH], ["of which some are named like splits"]),
    "two kinds": (write_two_kinds, ["--split", BOTH], ["of several kinds"]),
    "nothing left": (write_broken, ["--split", BOTH, "--skip-bad"], ["of 'validation' nothing would be released"]),
}


@pytest.mark.parametrize("name", ["a" * 64, "ü" * 64])
def test_the_longest_names_fit(tmp_path: Path, recipe: Path, name: str) -> None:
    """Files get longer ones: shards, their journal, and what `datasets` makes of them."""
    draw_classes(tmp_path / "source" / name)
    options = ("--out", tmp_path / "run", "--recipe", recipe, "--split", name)
    succeed("protect", tmp_path / "source", *options, "--reserve", "0.25")
    again = ("--out", tmp_path / "again", "--recipe", recipe, "--split", name)
    succeed("protect", tmp_path / "run/release", *again)
    assert datasets.load_dataset(str(tmp_path / "run/release"), cache_dir=str(tmp_path / "cache"))[name].num_rows == 6
    succeed("verify", tmp_path / "again")


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_one_line_and_leaves_nothing(case: str, tmp_path: Path, recipe: Path) -> None:
    write, options, words = REFUSED[case]
    source = tmp_path / "source"
    source.mkdir()
    write(source)
    given = source / "x.parquet" if case == "a file" else source
    done = run("protect", given, "--out", tmp_path / "run", "--recipe", recipe, *options)
    assert done.code == 2
    message = done.err.strip().splitlines()[-1]
    assert all(word in message for word in words), message
    assert not (tmp_path / "run").exists()


def test_a_column_of_one_split_can_be_dropped(tmp_path: Path, recipe: Path) -> None:
    (tmp_path / "source").mkdir()
    write_other_column(tmp_path / "source")
    options = ("--recipe", recipe, "--split", BOTH, "--drop-column", "extra")
    succeed("protect", tmp_path / "source", "--out", tmp_path / "run", *options)
    assert read_facts(tmp_path / "run/release").data.columns == ["note", "image", "label"]
    succeed("verify", tmp_path / "run")
    with pytest.raises(InputError, match="has no column 'missing'"):
        open_source(SourceOptions(source=str(tmp_path / "source"), split=BOTH, drop_columns=("missing",)))


def test_an_audit_trains_on_the_rows_of_all_splits(tmp_path: Path) -> None:
    for number, name in enumerate(("train", "validation", "test")):
        draw_colours(tmp_path / "source" / name, count=8, seed=number)
    out = protect(tmp_path / "source", tmp_path / "run", "--split", BOTH)
    certificate = audit_run(out, "--holdout", tmp_path / "source")
    assert certificate.images == 32
    assert (
        "trained on the images of the splits train and validation together" in (out / "release/README.md").read_text()
    )
    succeed("verify", out)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, process_env: dict[str, str]) -> Iterator[tuple[LoopbackHub, Forks]]:
    """A Hub on this machine, and processes that talk to it."""
    folder = tmp_path_factory.mktemp("place")
    with LoopbackHub(folder / "hub") as hub:
        env = process_env | hub.environment(folder / "home", xet=False)
        with Forks(env, folder / "forks") as forks:
            yield hub, forks


def test_push_publishes_both_splits_and_the_clean_one_that_is_asked_for(
    tmp_path: Path, folders: Path, recipe: Path, place: tuple[LoopbackHub, Forks]
) -> None:
    """The proof loads every split; a protected split never is published clean."""
    _, forks = place
    succeed("protect", folders, "--out", tmp_path / "run", "--recipe", recipe, "--split", BOTH)
    certify(tmp_path / "run")
    refused = forks.run("push", tmp_path / "run", "owner/two", "--publish-clean-split", "validation")
    assert refused.code == 2
    assert "that is the protected split itself" in refused.err
    done = forks.run("push", tmp_path / "run", "owner/two", "--publish-clean-split", "test")
    assert done.code == 0, done.err
    for split, rows in (("train", 8), ("validation", 6), ("test", 4)):
        assert f"load_dataset, split {split}: {rows} images and labels" in done.out
    found = forks.run("verify", "owner/two@v1", "--clean", folders, "--json")
    assert found.code == 0, found.err
    assert all(check["passed"] is not False for check in json.loads(found.out)["checks"])
    again = forks.run(
        "protect", "owner/two", "--out", tmp_path / "again", "--recipe", recipe, "--split", BOTH, "--plan"
    )
    assert again.code == 0, again.err
    assert "Images:  14 to release" in again.out
    assert "left out: test;" in again.err
