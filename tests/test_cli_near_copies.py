"""Near copies from end to end: on both sides of `--fraction` and `--reserve`, averaged, counted, and at the gate."""

import json
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rem_release.data.images.pixels import pixel_hash
from rem_release.data.images.png_writing import encode_png
from rem_release.release.documents import read_facts
from tests.command_line import draw, draw_classes, pixels_of, released, run, snapshot, succeed
from tests.pushes import certify, cut_into_shards

BUDGET = 8


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def change_one_pixel(pixels: np.ndarray, levels: int, place: int = 0) -> np.ndarray:
    """Another image to any hash."""
    changed = pixels.astype(int)
    y, x = divmod(place, pixels.shape[1])
    changed[y, x] += np.where(changed[y, x] < 128, levels, -levels)
    return changed.astype(np.uint8)


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty images of two classes, each followed by a copy that differs in one pixel."""
    folder = tmp_path_factory.mktemp("copied")
    for number in range(30):
        pixels = draw(folder / "ab"[number % 2] / f"{number:02d}-0.png", number, (8, 8 + number % 3))
        save(folder / "ab"[number % 2] / f"{number:02d}-1.png", change_one_pixel(pixels, 2 * BUDGET))
    return folder


def originals(source: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted(source.rglob("*.png"))]


def rows_of(out: Path) -> list[dict[str, Any]]:
    return pq.read_table(out / "private" / "rows.parquet").to_pylist()


def far(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other).max())


def find_clean_copies(source: Path, out: Path) -> list[int]:
    """The protected rows that also go out clean, or lie in the reserve, but for 16 levels."""
    images, rows = originals(source), rows_of(out)
    protected = [row["source_row"] for row in rows if row["role"] == "protected"]
    others = [row["source_row"] for row in rows if row["role"] != "protected"]
    return [
        one
        for one in protected
        if any(images[one].shape == images[other].shape and far(images[one], images[other]) <= 16 for other in others)
    ]


def test_copies_that_differ_in_one_pixel_do_not_go_out_clean(tmp_path: Path, copied: Path, recipe: Path) -> None:
    out = tmp_path / "run"
    options = ("--recipe", recipe, "--fraction", 0.5, "--release-unprotected", "--reserve", 0.15)
    result = succeed("protect", copied, "--out", out, *options, "--json")
    assert find_clean_copies(copied, out) == []
    assert Counter(row["role"] for row in rows_of(out)) == {"protected": 26, "unprotected": 26, "reserved": 8}
    assert result.json["near_copies"] == 26
    plan = succeed("protect", copied, "--out", tmp_path / "plan", *options, "--plan", "--json").json
    assert (plan["near_copies"], plan["protected"]) == (26, 26)
    checks = {check["name"]: check for check in json.loads(succeed("verify", out, "--json").out)["checks"]}
    assert all(check["passed"] for check in checks.values())


def test_near_copies_are_counted_and_named(tmp_path: Path, copied: Path, photographs: Path, recipe: Path) -> None:
    out = tmp_path / "run"
    result = succeed("protect", copied, "--out", out, "--recipe", recipe, "--json")
    assert result.json["near_copies"] == 30
    assert "30 images are near copies of earlier ones, at most 16 levels apart" in result.err
    assert "a/00-1.png of a/00-0.png" in result.err
    assert read_facts(out / "release").data.near_copies == 30
    card = (out / "release" / "README.md").read_text()
    assert "30 images are near copies of others here: no value differs by more than 16 levels" in card
    plain = succeed("protect", photographs, "--out", tmp_path / "plain", "--recipe", recipe, "--json")
    assert plain.json["near_copies"] == 0
    assert "near copies of" not in plain.err
    assert "near cop" not in (tmp_path / "plain" / "release" / "README.md").read_text().lower()


def test_documents_of_before_do_not_know_of_near_copies(tmp_path: Path, finished_run: Path) -> None:
    document = json.loads((finished_run / "release" / "protection.json").read_bytes())
    del document["data"]["near_copies"]
    facts = read_facts(finished_run / "release")
    assert type(facts.data).model_validate(document["data"]).near_copies is None


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


def test_averaging_near_copies_gains_nothing(tmp_path: Path, recipe: Path) -> None:
    """Four copies of each image that differ in a pixel: with four noises their mean is nearer the original than
    any of them (5.9 dB were measured here)."""
    source, bases = tmp_path / "source", []
    for number in range(6):
        base = np.random.default_rng(number).integers(40, 216, (8, 8, 3), np.uint8)
        for copy in range(4):
            save(source / "ab"[number % 2] / f"{number}-{copy}.png", change_one_pixel(base, copy and 6, copy))
        bases.append((number % 2, number, base))
    out = tmp_path / "run"
    succeed("protect", source, "--out", out, "--recipe", recipe)
    rows = [pixels_of(row["image"]["bytes"]) for row in released(out / "release")]
    for place, (_, _, base) in enumerate(sorted(bases, key=lambda known: known[:2])):
        copies = np.stack(rows[4 * place : 4 * place + 4]).astype(int)
        gain = psnr(copies.mean(0), base) - max(psnr(copy, base) for copy in copies)
        assert gain < 0.1
        known = copies.min(0) + BUDGET == copies.max(0) - BUDGET
        assert not known[1:].any()
        for one, other in combinations(copies, 2):
            assert np.array_equal(one[1:], other[1:])
    assert succeed("verify", out, "--json").json["passed"]


def test_a_generator_gives_near_copies_one_noise_too(tmp_path: Path, copied: Path, finished_run: Path) -> None:
    new = draw_classes(tmp_path / "new", count=3, seed=600)
    save(new / "cat" / "0-again.png", change_one_pixel(np.asarray(Image.open(new / "cat" / "0.png")), 16))
    succeed("protect", new, "--out", tmp_path / "run", "--generator", finished_run)
    one, other = (pixels_of(row["image"]["bytes"]) for row in released(tmp_path / "run" / "release")[:2])
    assert np.array_equal(one[1:], other[1:])


def drift(source: Path, count: int, step: int = 4) -> Path:
    """A burst: each image is within 16 levels of the next few, and the last is nothing like the first."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(100, 110, (8, 8, 3))
    for number in range(count):
        save(source / "a" / f"{number:02d}.png", pixels + step * number)
    return source


@pytest.mark.parametrize("release_unprotected", [True, False])
def test_a_long_chain_is_split_and_leaks_nothing(tmp_path: Path, recipe: Path, release_unprotected: bool) -> None:
    source, out = drift(draw_classes(tmp_path / "source", ["a", "b"], 20, 900), 34), tmp_path / "run"
    option = ["--release-unprotected"] if release_unprotected else []
    result = succeed("protect", source, "--out", out, "--recipe", recipe, "--fraction", 0.4, *option, "--json")
    assert "34 images are linked in chains of more than 20 near copies, the longest of 34" in result.err
    assert "split into groups" in result.err
    roles = Counter(row["role"] for row in rows_of(out) if row["origin"].startswith("a/") and len(row["origin"]) == 8)
    if release_unprotected:
        assert find_clean_copies(source, out) == []
        assert len(roles) == 1
    else:
        assert len(roles) == 2  # nothing is published clean: the groups are drawn as they come
    assert result.json["images"] == result.json["protected"] + result.json["unprotected"]


def test_the_reserve_holds_no_near_copy_of_a_released_image(tmp_path: Path, copied: Path, recipe: Path) -> None:
    out = tmp_path / "run"
    succeed("protect", copied, "--out", out, "--recipe", recipe, "--reserve", 0.3)
    assert find_clean_copies(copied, out) == []
    assert sum(row["role"] == "reserved" for row in rows_of(out)) == 16


def test_a_resumed_run_shares_the_same_noises(tmp_path: Path, copied: Path, recipe: Path) -> None:
    for name in ("one", "other"):
        succeed("protect", copied, "--out", tmp_path / name, "--recipe", recipe, "--seed", 5)
    private = tmp_path / "other" / "private"
    (private / "rows.parquet").unlink()  # the last thing that a run writes
    succeed("protect", copied, "--out", tmp_path / "other", "--recipe", recipe, "--seed", 5, "--resume")
    assert snapshot(tmp_path / "one" / "release") == snapshot(tmp_path / "other" / "release")


def leak(source: Path, out: Path) -> tuple[int, int]:
    """Make the run one of version 0.2.0, which drew near copies apart: a row without noise becomes a copy of one with.

    Returns:
        (number of the row that is published clean, number of the protected row that it copies).
    """
    rows = rows_of(out)
    plain = next(row for row in rows if row["role"] == "unprotected")
    noisy = next(row for row in rows if row["role"] == "protected" and row["origin"][0] == plain["origin"][0])
    paths = sorted(source.rglob("*.png"))
    copy = change_one_pixel(np.asarray(Image.open(paths[noisy["source_row"]])), 2 * BUDGET)
    save(paths[plain["source_row"]], copy)
    plain["clean_sha256"] = pixel_hash(copy)
    pq.write_table(
        pq.read_table(out / "private" / "rows.parquet").from_pylist(
            rows, schema=pq.read_schema(out / "private" / "rows.parquet")
        ),
        out / "private" / "rows.parquet",
    )
    (file,) = (out / "release" / "data").glob("*.parquet")
    table = pq.read_table(file)
    records = table.to_pylist()
    records[plain["released_row"]]["image"]["bytes"] = encode_png(copy)
    pq.write_table(table.from_pylist(records, schema=table.schema), file)
    cut_into_shards(out, len(table))
    return plain["released_row"], noisy["released_row"]


@pytest.mark.parametrize("record", [True, False])
def test_push_refuses_a_run_whose_protected_images_go_out_clean(tmp_path: Path, recipe: Path, record: bool) -> None:
    source, out = draw_classes(tmp_path / "source"), tmp_path / "run"
    options = ("--recipe", recipe, "--fraction", 0.5, "--release-unprotected")
    succeed("protect", source, "--out", out, *options)
    command = ("push", out, "me/pets", "--dry-run", "--clean", source)
    name = "unprotected rows against protected ones"

    def check() -> tuple[int, dict[str, Any]]:
        if not record:
            (out / "private" / "rows.parquet").unlink()
        certify(out)
        result = run(*command, "--json")
        (found,) = [check for check in result.json["gate"] if check["name"] == name]
        return result.code, found

    plain, noisy = leak(source, out)
    code, found = check()
    assert code == 3
    assert found["passed"] is False
    what = f"the original of row {noisy}" if record else "original "
    assert f"row {plain} is published clean, within 16 levels of {what}" in found["detail"]
    assert "protect again with --overwrite" in found["detail"]


def test_push_lets_a_sound_part_pass_and_says_what_it_could_not_compare(tmp_path: Path, recipe: Path) -> None:
    source, out = draw_classes(tmp_path / "source"), tmp_path / "run"
    succeed("protect", source, "--out", out, "--recipe", recipe, "--fraction", 0.5, "--release-unprotected")
    certify(out)
    name = "unprotected rows against protected ones"
    for moved in (False, True):
        if moved:
            source.rename(tmp_path / "elsewhere")
        checks = {check["name"]: check for check in run("push", out, "me/pets", "--dry-run", "--json").json["gate"]}
        assert checks[name]["passed"] is (None if moved else True)
    assert "needs the originals" in checks[name]["detail"]
