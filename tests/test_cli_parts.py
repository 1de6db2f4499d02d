"""Parts: `--fraction`, `--release-unprotected`, `--reserve`, `--max-side`; and `--generator`, a run used again."""

import json
import shutil
import stat
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rem_release.methods.fields import Transform
from tests.command_line import (
    change,
    draw,
    draw_classes,
    pixels_of,
    released,
    run,
    same_release,
    snapshot,
    succeed,
    write_recipe,
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of eight images of several sizes; the last of each class repeats its first."""
    folder = tmp_path_factory.mktemp("parts")
    for number, name in enumerate(("a", "b", "c")):
        for index in range(7):
            draw(folder / name / f"{index}.png", 10 * number + index, (8 + 3 * (index % 3), 8 + index))
        shutil.copy(folder / name / "0.png", folder / name / "7.png")
    return folder


def originals(source: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted(source.rglob("*.png"))]


def roles_of(out: Path) -> list[dict[str, Any]]:
    return pq.read_table(out / "private" / "rows.parquet").to_pylist()


def protect(source: Path, out: Path, recipe: Path, *options: object) -> dict[str, Any]:
    document = succeed("protect", source, "--out", out, "--recipe", recipe, "--json", *options).json
    for arguments in ((out,), (out / "release", "--clean", source)):
        report = succeed("verify", *arguments, "--json").json
        assert all(check["passed"] for check in report["checks"])
    return document


@pytest.mark.parametrize("release_unprotected", [False, True])
def test_fraction_protects_a_part_and_releases_the_rest_only_when_told(
    tmp_path: Path, source: Path, recipe: Path, release_unprotected: bool
) -> None:
    out, option = tmp_path / "run", ["--release-unprotected"] if release_unprotected else []
    document = protect(source, out, recipe, "--fraction", "0.5", *option)
    rows = roles_of(out)
    images = {row["clean_sha256"]: row["role"] for row in rows}
    assert Counter(images.values()) == {"protected": 10, "unprotected": 11}  # half of 21, a tie rounds to even
    assert {(row["clean_sha256"], row["role"]) for row in rows} == set(images.items())
    count = Counter(row["role"] for row in rows)
    assert document["protected"] == count["protected"]
    assert document["unprotected"] == (count["unprotected"] if release_unprotected else 0)
    assert document["held_back"] == (0 if release_unprotected else count["unprotected"])
    clean, shipped = originals(source), released(out / "release")
    kept = [row for row in rows if release_unprotected or row["role"] == "protected"]
    assert [row["released_row"] for row in kept] == list(range(len(shipped)))
    assert len([row for row in rows if row["released_row"] is not None]) == len(shipped)
    for row in kept:
        png = shipped[row["released_row"]]["image"]["bytes"]
        assert (change(clean[row["source_row"]], png) == 0) == (row["role"] == "unprotected")
        assert shipped[row["released_row"]]["label"] == row["source_row"] // 8


def test_reserve_keeps_a_part_of_each_class_clean_and_unreleased(tmp_path: Path, source: Path, recipe: Path) -> None:
    out = tmp_path / "run"
    document = protect(source, out, recipe, "--reserve", "0.3", "--fraction", "0.8", "--release-unprotected")
    rows, clean = roles_of(out), originals(source)
    reserved = [row for row in rows if row["role"] == "reserved"]
    by_class = Counter(row["source_row"] // 8 for row in {row["clean_sha256"]: row for row in reserved}.values())
    assert by_class == {0: 2, 1: 2, 2: 2}
    assert document["held_back"] == len(reserved)
    assert document["images"] == 24 - len(reserved)
    assert {row["role"] for row in rows} == {"protected", "unprotected", "reserved"}
    assert all(row["released_row"] is None for row in reserved)
    hidden = {row["clean_sha256"] for row in reserved}
    assert not hidden & {row["clean_sha256"] for row in rows if row["role"] != "reserved"}
    kept = [
        row
        for path in sorted((out / "private" / "reserve" / "data").glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]
    assert len(kept) == len(reserved)
    for record, row in zip(reserved, kept, strict=True):
        assert np.array_equal(pixels_of(row["image"]["bytes"]), clean[record["source_row"]])
        assert row["label"] == record["source_row"] // 8


def test_max_side_shrinks_what_is_released(tmp_path: Path, recipe: Path) -> None:
    source = draw_classes(tmp_path / "source", count=2)
    draw(source / "cat" / "wide.png", 40, (64, 16))
    draw(source / "dog" / "tall.png", 41, (1, 64))
    out = tmp_path / "run"
    protect(source, out, recipe, "--max-side", "16", "--reserve", "0.5")
    sizes = {pixels_of(row["image"]["bytes"]).shape[:2] for row in released(out / "release")}
    assert sizes <= {(8, 8), (4, 16), (16, 1)}
    facts = json.loads((out / "release" / "protection.json").read_bytes())
    assert facts["data"]["max_side"] == 16
    protect(source, tmp_path / "all", recipe, "--max-side", "16")
    shapes = [pixels_of(row["image"]["bytes"]).shape[:2] for row in released(tmp_path / "all" / "release")]
    assert shapes == [(8, 8), (8, 8), (4, 16), (8, 8), (8, 8), (16, 1)]


def test_the_draw_of_parts_follows_the_seed(tmp_path: Path, source: Path, recipe: Path) -> None:
    parts = []
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        succeed(
            *("protect", source, "--out", tmp_path / name, "--recipe", recipe, "--method", "random"),
            *("--fraction", "0.5", "--reserve", "0.2", "--seed", seed),
        )
        parts.append([row["role"] for row in roles_of(tmp_path / name)])
    assert parts[0] == parts[1] != parts[2]


def test_private_is_private(tmp_path: Path, source: Path, recipe: Path) -> None:
    out = tmp_path / "run"
    succeed("protect", source, "--out", out, "--recipe", recipe, "--reserve", "0.3")
    assert stat.S_IMODE((out / "private").stat().st_mode) == 0o700
    assert {path.name for path in out.iterdir()} == {"release", "private"}
    public = {
        *("README.md", "protection.json", "data", "data/train-00000-of-00001.parquet"),
        *("figures", "figures/protected.png"),
    }
    assert set(snapshot(out / "release")) - {"figures/noise.png"} == public  # which is left out where it would help


# --- a generator used again


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    """A run on `source` under a recipe of its own: three steps, other radii."""
    folder = tmp_path_factory.mktemp("trained")
    mine = write_recipe(folder / "mine.yaml", generator__steps=3, noise__rho_u="12/255", noise__rho_a="6/255")
    succeed("protect", source, "--out", folder / "run", "--recipe", mine)
    return folder / "run"


def test_a_generator_protects_its_own_images_to_the_same_bytes(tmp_path: Path, source: Path, trained: Path) -> None:
    out = tmp_path / "again"
    document = succeed("protect", source, "--out", out, "--generator", trained, "--json").json
    assert document["cost"]["training_gradients"] == 0
    assert document["cost"]["noise_gradients"] > 0
    assert not (out / "private" / "checkpoints").exists()
    assert snapshot(out / "release" / "data") == snapshot(trained / "release" / "data")
    facts = json.loads((out / "release" / "protection.json").read_bytes())
    assert facts["protection"]["generator_reused"] is True
    assert facts["protection"]["rho_u"] == "12/255"
    assert facts["recipe_name"] == "mine"


def test_a_generator_protects_new_images_of_some_of_its_classes(tmp_path: Path, trained: Path) -> None:
    new = draw_classes(tmp_path / "new", ["c", "b"], count=3, seed=500)
    out = tmp_path / "run"
    before = snapshot(trained)
    result = succeed("protect", new, "--out", out, "--generator", trained)
    assert "Training" not in result.err
    assert snapshot(trained) == before
    succeed("verify", out)
    weights = (out / "private" / "generator.safetensors").read_bytes()
    assert weights == (trained / "private" / "generator.safetensors").read_bytes()
    third = tmp_path / "third"
    succeed("protect", new, "--out", third, "--generator", out)  # the copy is as good as the original
    assert same_release(out, third)


def test_noise_of_a_generator_follows_the_class_by_name(tmp_path: Path, trained: Path) -> None:
    """Leaving out the first class moves no other class to its place. Not to the byte, because the batches differ."""
    whole = draw_classes(tmp_path / "whole", ["a", "b", "c"], count=4, seed=700)
    part = Path(shutil.copytree(whole, tmp_path / "part"))
    shutil.rmtree(part / "a")
    pixels = {}
    for folder in (whole, part):
        succeed("protect", folder, "--out", tmp_path / "run" / folder.name, "--generator", trained)
        rows = released(tmp_path / "run" / folder.name / "release")
        pixels[folder.name] = np.stack([pixels_of(row["image"]["bytes"]) for row in rows])
    assert (pixels["whole"][4:] == pixels["part"]).mean() > 0.95


def test_noise_of_a_generator_follows_the_album_by_its_folder(tmp_path: Path, source: Path, recipe: Path) -> None:
    """Albums are published as numbers: album-000 of the new images may be another album, and must get its own noise."""
    albums = ("--label-from", "albums")
    trained = tmp_path / "trained"
    succeed("protect", source, "--out", trained, "--recipe", recipe, *albums)
    whole = draw_classes(tmp_path / "whole", ["a", "b", "c"], count=4, seed=700)
    part = Path(shutil.copytree(whole, tmp_path / "part"))
    shutil.rmtree(part / "a")
    pixels = {}
    for folder in (whole, part):
        succeed("protect", folder, "--out", tmp_path / "run" / folder.name, "--generator", trained, *albums)
        rows = released(tmp_path / "run" / folder.name / "release")
        pixels[folder.name] = np.stack([pixels_of(row["image"]["bytes"]) for row in rows])
    assert (pixels["whole"][4:] == pixels["part"]).mean() > 0.95
    (part / "b").rename(part / "new")
    result = run("protect", part, "--out", tmp_path / "refused", "--generator", trained, *albums)
    assert result.code == 2
    assert "was not trained on the classes new; it knows a, b, c" in result.err


def test_a_generator_cannot_know_new_clusters(tmp_path: Path, source: Path, trained: Path) -> None:
    clusters = ("--label-from", "clusters", "--label-column", "group")
    result = run("protect", source, "--out", tmp_path / "run", "--generator", trained, *clusters)
    assert result.code == 2
    assert "new clusters are not those" in result.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("transform", get_args(Transform))
def test_every_transform_is_released(tmp_path: Path, source: Path, recipe: Path, transform: str) -> None:
    protect(source, tmp_path / "run", recipe, "--set", f"noise.eot.transform={transform}")
    succeed("verify", tmp_path / "run")
    facts = json.loads((tmp_path / "run/release/protection.json").read_bytes())
    assert facts["protection"]["eot"]["transform"] == transform
