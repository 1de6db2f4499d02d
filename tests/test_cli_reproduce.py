"""`rem-release reproduce` on drawn images: pages, runs that are shared, a kill, and what it refuses."""

import csv
import io
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rem_release.release.canonical import canonical_bytes
from rem_release.release.documents import read_facts
from tests.command_line import run, start, succeed

NAMES = [f"class{number}" for number in range(10)]
_PATIENCE = 180.0


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 training and 200 test images of 32 × 32: what scale smoke draws; each class has a colour."""
    folder, generator = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, each in (("train", 40), ("test", 20)):
        for number, name in enumerate(NAMES):
            (folder / split / name).mkdir(parents=True)
            colour = np.array([number * 25, 255 - number * 25, number * 60 % 256])
            for index in range(each):
                pixels = np.clip(colour + generator.normal(0, 40, (32, 32, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def finished(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Table 4: REM with and without EOT at two radii."""
    out = tmp_path_factory.mktemp("reproduction") / "out"
    succeed("reproduce", "table4", "--scale", "smoke", "--data", images, "--out", out)
    return out


def refuse(*arguments: object) -> str:
    """The one line with which bad input is refused."""
    result = run(*arguments)
    assert result.code == 2
    assert len(result.err.strip().splitlines()) == 1
    return result.err


def pages(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "results").iterdir()}


def test_a_table_states_the_papers_figures_and_ours(finished: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((finished / "results" / "table4.csv").read_text())))
    of_paper = {(row["Adv. train. ρ_a"], row["column"]): float(row["paper"]) for row in rows}
    assert of_paper["4/255", "REM, ρ_a = 4/255, EOT"] == 48.16
    assert of_paper["4/255", "REM, ρ_a = 4/255, None"] == 89.41
    noise = {f"rem-u8-a{levels}{eot}" for levels in (2, 4) for eot in ("", "-no-eot")}
    assert {row["arm"] for row in rows} == {"clean"} | noise
    assert all(0 <= float(row["ours"]) <= 100 and 0 <= float(row["fit"]) <= 100 for row in rows)
    text = (finished / "results" / "table4.md").read_text()
    assert text.startswith("Scale smoke: 400 images")
    assert "400 training and 200 test images" in text


def test_what_a_table_has_run_is_not_run_again(images: Path, finished: Path) -> None:
    victims = (finished / "victims.jsonl").read_bytes()
    before = sorted((path, path.stat().st_mtime_ns) for path in finished.glob("arms/*/release/data/*"))
    assert len(before) == 4
    elsewhere = os.path.relpath(images)  # the same folder, written otherwise
    result = succeed("reproduce", "table4", "--scale", "smoke", "--data", elsewhere, "--out", finished, "--json")
    assert sorted((path, path.stat().st_mtime_ns) for path in finished.glob("arms/*/release/data/*")) == before
    assert (finished / "victims.jsonl").read_bytes() == victims
    assert json.loads(result.out)["name"] == "table4"


@pytest.mark.parametrize(("curve", "words"), [(0.99, "is said to name 0.9900"), (1.5, None), (float("nan"), None)])
def test_an_accuracy_that_its_answers_do_not_give_is_not_shown(
    curve: float, words: str | None, images: Path, finished: Path
) -> None:
    """One that cannot be is no record, and its victim is trained again."""
    before, path, kept = pages(finished), finished / "victims.jsonl", finished.with_name("kept.jsonl")
    lines = path.read_text().splitlines()
    first = json.loads(lines[0])
    first["test_curve"][-1] = curve
    path.rename(kept)
    try:
        path.write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")
        result = run("reproduce", "table4", "--scale", "smoke", "--data", images, "--out", finished)
    finally:
        kept.replace(path)
    assert result.code == (2 if words else 0)
    assert words is None or words in result.err
    assert pages(finished) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("there", "needs_resume"), [("arms/rem-u8-a4-*/private/options.json", True), ("victims.jsonl", False)]
)
def test_a_killed_reproduction_ends_with_the_same_table(
    there: str, needs_resume: bool, images: Path, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ("reproduce", "table4", "--scale", "smoke", "--data", images, "--out", out)
    process = start(*command)
    ends = time.monotonic() + _PATIENCE
    while not list(out.glob(there)):
        assert process.poll() is None
        assert time.monotonic() < ends
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (out / "results").exists()
    if needs_resume:
        assert "was stopped; add --resume to go on" in run(*command).err
    succeed(*command, "--resume")
    assert pages(out) == pages(finished)


def test_a_plan_prices_it_and_writes_nothing(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = succeed("reproduce", "table1", "--scale", "smoke", "--data", images, "--out", out, "--plan", "--json")
    plan = json.loads(result.out)
    assert plan["arms"] == plan["arms_missing"] == 8
    assert (plan["victims"], plan["victims_known"]) == (2 * 9, 0)
    assert not out.exists()


def test_a_plan_counts_the_gradients_that_are_then_computed(images: Path, finished: Path, tmp_path: Path) -> None:
    command = ("reproduce", "table4", "--scale", "smoke", "--data", images, "--out", tmp_path / "out", "--plan")
    costs = [read_facts(arm / "release").cost for arm in finished.glob("arms/*seed0")]
    spent = sum(cost.training_gradients + cost.noise_gradients for cost in costs)
    assert json.loads(succeed(*command, "--json").out)["gradients"] == spent


def test_a_plan_leaves_out_what_is_there(images: Path, finished: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in finished.rglob("*"))
    command = ("reproduce", "table1", "--scale", "smoke", "--data", images, "--out", finished, "--plan", "--json")
    plan = json.loads(succeed(*command).out)
    assert (plan["arms"], plan["arms_missing"]) == (8, 6)
    assert (plan["victims"], plan["victims_known"]) == (2 * 9, 2 * 3)  # clean images, and REM with 2/255 and 4/255
    assert sorted((path, path.stat().st_mtime_ns) for path in finished.rglob("*")) == before


def test_another_data_set_needs_another_folder(images: Path, finished: Path) -> None:
    others = ("--dataset", "cifar100", "--scale", "smoke", "--data", images, "--out", finished)
    message = refuse("reproduce", "table4", *others)
    assert "holds another reproduction" in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("table5",), "reproduce table5: choose table1, table2"),
        (("table1", "--scale", "huge"), "--scale huge: choose smoke, quick, card or full"),
        (("table1", "--dataset", "mnist"), "--dataset mnist: choose cifar10 or cifar100 or imagenet100"),
        (
            ("table2", "--dataset", "imagenet100", "--data", "."),
            "table2 has no figures for imagenet100; choose cifar10",
        ),
        (("table1", "--dataset", "imagenet100"), "first 100 classes"),
    ],
)
def test_what_is_not_there_is_refused_in_a_line(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    message = refuse("reproduce", *arguments, "--out", tmp_path / "out")
    assert words in message
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_left_alone(images: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    message = refuse("reproduce", "table4", "--scale", "smoke", "--data", images, "--out", tmp_path)
    assert "is not empty and no reproduction" in message
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_inside_the_images_is_refused(images: Path) -> None:
    message = refuse("reproduce", "table4", "--scale", "smoke", "--data", images, "--out", images / "train" / "runs")
    assert "--data" in message
    assert not (images / "train" / "runs").exists()


def test_a_file_in_the_place_of_the_results_is_refused_at_once(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    mine = {"scale": "smoke", "dataset": "cifar10", "source": str(images)}
    (out / "reproduction.json").write_bytes(canonical_bytes(mine))
    (out / "results").write_text("mine")
    message = refuse("reproduce", "table4", "--scale", "smoke", "--data", images, "--out", out)
    assert "results is a file, where a folder is to stand" in message
    assert not (out / "arms").exists()


@pytest.mark.parametrize("planning", [(), ("--plan",)])
def test_a_file_in_the_place_of_the_folder_is_refused(planning: tuple[str, ...], images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    message = refuse("reproduce", "table4", "--scale", "smoke", "--data", images, "--out", out, *planning)
    assert "out is a file; name a folder" in message


@pytest.mark.slow
def test_a_figure_states_its_numbers(images: Path, finished: Path) -> None:
    succeed("reproduce", "figure8", "--scale", "smoke", "--data", images, "--out", finished)
    document = json.loads((finished / "results" / "figure8.json").read_text())
    assert len(document["cells"]) == 5 * 2
    assert {cell["row"][0] for cell in document["cells"]} == {"2/255", "4/255"}
    endings = ("svg", "png", "md", "csv", "json")
    assert {f"figure8.{ending}" for ending in endings} <= set(pages(finished))
