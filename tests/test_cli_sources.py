"""End to end for every kind of SOURCE: protect, verify twice, and `datasets.load_dataset` offline in a new process."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.command_line import change, draw, pixels_of, released, run, succeed

SIZES = [(8, 8), (1, 1), (1, 9), (17, 1), (40, 30), (2, 2), (30, 40), (8, 9), (3, 5), (8, 8), (12, 12), (5, 21)]
"""(width, height) of the images; the last one is a duplicate of the first."""
CLASSES = ["Ünïcødé 猫", "cat", "dog", "cat", "dog", "cat", "dog", "cat", "dog", "cat", "dog", "cat", "dog"]
"""Of each image: one class has a single one."""
NOTES = [None, "", "naïve", "日本", "a,b", 'say "x"', "line\nbreak", "d", "e", "f", "g", "h", "i"]


@dataclass
class Case:
    """One source, and what its release must hold."""

    source: Path
    pixels: list[np.ndarray]
    features: datasets.Features
    columns: dict[str, list[Any]]
    """every column but the image"""
    image_column: str = "image"
    label_column: str = "label"
    split: str = "train"
    options: list[str] = field(default_factory=list)


def draw_all(folder: Path, names: list[str]) -> list[np.ndarray]:
    """Write the thirteen images under these names; the last repeats the first in another file."""
    pixels = [draw(folder / name, seed, SIZES[seed]) for seed, name in enumerate(names[:12])]
    return [*pixels, draw(folder / names[12], 0, SIZES[0])]


def class_folders(folder: Path) -> Case:
    names = [f"{label}/{index:02d} é.png" for index, label in enumerate(CLASSES)]
    pixels = draw_all(folder / "validation", names)
    order = sorted(range(13), key=lambda index: names[index])
    classes = sorted(set(CLASSES))
    return Case(
        source=folder,
        pixels=[pixels[index] for index in order],
        features=datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=classes)}),
        columns={"label": [classes.index(CLASSES[index]) for index in order]},
        split="validation",
        options=["--split", "validation"],
    )


def metadata_csv(folder: Path) -> Case:
    files = [f"{index} ü.png" for index in range(13)]
    pixels = draw_all(folder, files)
    weights = [index / 3 for index in range(13)]
    rows = [
        f'{weight!r},{file},{label},"{note}"'
        for weight, file, label, note in zip(weights, files, CLASSES, "abcdefghijklm", strict=True)
    ]
    (folder / "metadata.csv").write_text("weight,file_name,label,note\n" + "\n".join(rows) + "\n", encoding="utf-8")
    read = datasets.Dataset.from_csv(str(folder / "metadata.csv"), cache_dir=str(folder.parent / "cache")).features
    features = {"weight": read["weight"], "image": datasets.Image(), "label": read["label"], "note": read["note"]}
    columns = {"weight": weights, "label": CLASSES, "note": list("abcdefghijklm")}
    return Case(source=folder, pixels=pixels, features=datasets.Features(features), columns=columns)


def metadata_jsonl(folder: Path) -> Case:
    files = [f"deep/{index}.png" for index in range(13)]
    pixels = draw_all(folder, files)
    tags = [["x"] * (index % 3) for index in range(13)]
    numbers = [7 if label == "cat" else 3 for label in CLASSES]
    rows = zip(files, tags, numbers, strict=True)
    text = "".join(json.dumps({"file_name": f, "tags": t, "kind": n}) + "\n" for f, t, n in rows)
    (folder / "metadata.jsonl").write_text(text, encoding="utf-8")
    features = {
        "picture": datasets.Image(),
        "tags": datasets.List(datasets.Value("string")),
        "kind": datasets.Value("int64"),
    }
    return Case(
        source=folder,
        pixels=pixels,
        features=datasets.Features(features),
        columns={"tags": tags, "kind": numbers},
        image_column="picture",
        label_column="kind",
        options=["--image-column", "picture", "--label-column", "kind"],
    )


def table(folder: Path) -> tuple[Case, datasets.Dataset]:
    """A table of embedded images, labels before them, with types that are easily lost, and a thumbnail to drop."""
    files = [f"{index}.png" for index in range(13)]
    pixels = draw_all(folder / "images", files)
    names = ["unused", *sorted(set(CLASSES))]
    features = {
        "label": datasets.ClassLabel(names=names),
        "small": datasets.Value("int8"),
        "image": datasets.Image(),
        "when": datasets.Value("timestamp[ms]"),
        "note": datasets.Value("string"),
        "box": {"x": datasets.Value("float32"), "ys": datasets.List(datasets.Value("uint16"))},
    }
    columns: dict[str, list[Any]] = {
        "label": [names.index(label) for label in CLASSES],
        "small": [index - 6 for index in range(13)],
        "when": [np.datetime64(f"20{index:02d}-02-03T04:05:06").item() for index in range(13)],
        "note": NOTES,
        "box": [{"x": index / 4, "ys": [index] * (index % 2)} for index in range(13)],
    }
    images = [{"bytes": (folder / "images" / name).read_bytes(), "path": name} for name in files]
    everything = datasets.Dataset.from_dict(
        {**columns, "image": images, "thumb": [b"clean"] * 13},
        features=datasets.Features({**features, "thumb": datasets.Value("binary")}),
    )
    case = Case(
        source=folder,
        pixels=pixels,
        features=datasets.Features(features),
        columns=columns,
        options=["--drop-column", "thumb"],
    )
    return case, everything.select_columns([*features, "thumb"])


def parquet_file(folder: Path) -> Case:
    case, data = table(folder)
    case.source = folder / "data [1].parquet"
    data.to_parquet(case.source)
    return case


def saved(folder: Path) -> Case:
    case, data = table(folder)
    case.source = folder / "saved"
    datasets.DatasetDict({"test": data, "train": data.select([0, 1])}).save_to_disk(case.source)
    case.split = "test"
    case.options += ["--split", "test"]
    return case


def albums(folder: Path) -> Case:
    names = [f"{'Anna' if index < 7 else 'Zoë/summer'}/{index:02d}.png" for index in range(13)]
    pixels = draw_all(folder, names)
    classes = ["album-000", "album-001"]
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=classes)}
    return Case(
        source=folder,
        pixels=pixels,
        features=datasets.Features(features),
        columns={"label": [0] * 7 + [1] * 6},
        options=["--label-from", "albums"],
    )


def clusters(folder: Path) -> Case:
    """Black and white images, with a little noise: which cluster each belongs to is beyond doubt."""
    pixels = []
    for index in range(12):
        path = folder / f"{index:02d}.png"
        pixels.append((draw(path, index, SIZES[index]) // 8 + (220 if index % 3 else 0)).astype(np.uint8))
        Image.fromarray(pixels[-1]).save(path)
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cluster-0", "cluster-1"])}
    return Case(
        source=folder,
        pixels=pixels,
        features=datasets.Features(features),
        columns={"label": [1 if index % 3 else 0 for index in range(12)]},
        options=["--label-from", "clusters", "--set", "data.clusters=2"],
    )


KINDS: dict[str, Callable[[Path], Case]] = {
    "class folders": class_folders,
    "metadata.csv": metadata_csv,
    "metadata.jsonl": metadata_jsonl,
    "parquet": parquet_file,
    "save_to_disk": saved,
    "albums": albums,
    "clusters": clusters,
}

LOAD = """
import pickle, sys
import numpy as np
from datasets import load_dataset

loaded = {}
for name, release in pickle.load(sys.stdin.buffer).items():
    for split, data in load_dataset(release).items():
        images = [column for column, feature in data.features.items() if type(feature).__name__ == "Image"]
        loaded[name] = {
            "split": split,
            "features": data.features,
            "pixels": [np.asarray(row) for row in data[images[0]]],
            "modes": {row.mode for row in data[images[0]]},
            "columns": {column: data[column][:] for column in data.column_names if column not in images},
        }
pickle.dump(loaded, sys.stdout.buffer)
"""


@dataclass
class Protected:
    """A source, its run, and what a fresh process loaded."""

    case: Case
    out: Path
    loaded: dict[str, Any]


@pytest.fixture(scope="module")
def all_protected(
    tmp_path_factory: pytest.TempPathFactory, recipe: Path, process_env: dict[str, str]
) -> dict[str, Protected]:
    root = tmp_path_factory.mktemp("sources")
    cases, releases = {}, {}
    for number, (name, make) in enumerate(KINDS.items()):
        (root / f"source {number}").mkdir()
        cases[name] = make(root / f"source {number}")
        out = root / f"run {number} ü"
        succeed("protect", cases[name].source, "--out", out, "--recipe", recipe, *cases[name].options)
        releases[name] = str(out / "release")
    answer = subprocess.run(
        [sys.executable, "-c", LOAD],
        input=pickle.dumps(releases),
        env={**os.environ, **process_env, "HF_HUB_OFFLINE": "1", "HF_HOME": str(root / "home")},
        capture_output=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr.decode()
    loaded = pickle.loads(answer.stdout)
    return {name: Protected(cases[name], Path(releases[name]).parent, loaded[name]) for name in KINDS}


@pytest.fixture(params=KINDS)
def protected(request: pytest.FixtureRequest, all_protected: dict[str, Protected]) -> Protected:
    return all_protected[request.param]


def test_verify_passes_on_the_run_and_on_the_release_beside_its_source(protected: Protected) -> None:
    case, release = protected.case, protected.out / "release"
    for arguments in ((protected.out,), (release, "--clean", case.source)):
        report = succeed("verify", *arguments, "--json").json
        unknown = [check["name"] for check in report["checks"] if not check["passed"]]
        assert unknown == (["source labels"] if "clusters" in case.options else [])
    alone = succeed("verify", release, "--json").json
    assert {check["name"] for check in alone["checks"] if check["passed"] is None} >= {"budget", "noise"}


def test_load_dataset_gives_the_released_pixels_and_the_columns_of_the_source(protected: Protected) -> None:
    case, loaded = protected.case, protected.loaded
    assert loaded["split"] == case.split
    assert loaded["features"] == case.features
    assert list(loaded["features"]) == list(case.features)
    assert loaded["columns"] == case.columns
    assert loaded["modes"] == {"RGB"}
    rows = released(protected.out / "release")
    assert len(rows) == len(loaded["pixels"]) == len(case.pixels)
    for row, pixels, clean in zip(rows, loaded["pixels"], case.pixels, strict=True):
        png = row[case.image_column]["bytes"]
        assert np.array_equal(pixels_of(png), pixels)
        assert pixels.shape == clean.shape
        assert 0 < change(clean, png) <= 8


@pytest.mark.parametrize("type_name", ["int8", "int64", "uint64", "string", "large_string"])
def test_labels_of_every_type_are_kept(
    tmp_path: Path, all_protected: dict[str, Protected], recipe: Path, type_name: str
) -> None:
    """At the ends of their range, which is where they break."""
    ends = {"int8": [-128, 127], "int64": [-(2**63), 2**63 - 1], "uint64": [0, 2**64 - 1]}.get(type_name, ["-", "猫"])
    images = [row["image"] for row in released(all_protected["albums"].out / "release")][:12]
    labels = pa.array(ends * 6, type_name)
    pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / "source.parquet")
    out = tmp_path / "run"
    succeed("protect", tmp_path / "source.parquet", "--out", out, "--recipe", recipe)
    succeed("verify", out / "release", "--clean", tmp_path / "source.parquet")
    table = pq.read_table(out / "release" / "data")
    assert table.column("label").combine_chunks() == labels


def test_equal_images_carry_equal_noise(all_protected: dict[str, Protected]) -> None:
    for name in ("metadata.csv", "parquet", "albums"):
        rows = released(all_protected[name].out / "release")
        assert rows[0]["image"]["bytes"] == rows[12]["image"]["bytes"]
        assert len({row["image"]["bytes"] for row in rows}) == 12
        facts = json.loads((all_protected[name].out / "release" / "protection.json").read_bytes())
        assert facts["data"]["duplicates"] == 1


def test_other_originals_are_noticed(tmp_path: Path, all_protected: dict[str, Protected]) -> None:
    """The clean folder of the same shape, one image drawn anew: both ways of pairing must fall over it."""
    (tmp_path / "source").mkdir()
    case = metadata_csv(tmp_path / "source")
    draw(tmp_path / "source" / "4 ü.png", 99, SIZES[4])
    run_folder = all_protected["metadata.csv"].out
    for target in (run_folder, run_folder / "release"):
        result = run("verify", target, "--clean", case.source)
        assert result.code == 1
        assert "row 4" in result.err


def test_private_records_say_where_each_row_comes_from(all_protected: dict[str, Protected]) -> None:
    folders = all_protected["class folders"]
    private = folders.out / "private"
    rows = pq.read_table(private / "rows.parquet").to_pylist()
    names = sorted(f"{label}/{index:02d} é.png" for index, label in enumerate(CLASSES))
    assert [row["origin"] for row in rows] == names
    assert [row["released_row"] for row in rows] == list(range(13))
    assert {row["role"] for row in rows} == {"protected"}
    album_names = json.loads((all_protected["albums"].out / "private" / "albums.json").read_bytes())
    assert album_names == {"album-000": "Anna", "album-001": "Zoë/summer"}
    for path in sorted((all_protected["albums"].out / "release").rglob("*.*")):
        assert b"Anna" not in path.read_bytes()
        assert "Zoë".encode() not in path.read_bytes()


def test_the_card_says_that_clusters_made_the_labels(all_protected: dict[str, Protected]) -> None:
    card = (all_protected["clusters"].out / "release" / "README.md").read_text(encoding="utf-8")
    assert "machine-generated" in card
    assert "cluster" in card.split("---", 2)[2].lower()
    other = (all_protected["albums"].out / "release" / "README.md").read_text(encoding="utf-8")
    assert "machine-generated" not in other


def test_dropped_columns_and_names_of_files_stay_behind(all_protected: dict[str, Protected]) -> None:
    for name in KINDS:
        for row in released(all_protected[name].out / "release"):
            image = row[all_protected[name].case.image_column]
            assert image["path"].removesuffix(".png").isdigit()
            assert "thumb" not in row
