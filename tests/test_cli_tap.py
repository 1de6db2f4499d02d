"""TAP at the command line: cost, facts and card; a kill while it trains; a generator used again."""

import json
import signal
from pathlib import Path

import pytest

from rem_release.release.documents import read_facts
from tests.command_line import (
    SECRET,
    change,
    draw_classes,
    pixels_of,
    released,
    run,
    same_release,
    snapshot,
    start,
    succeed,
    write_recipe,
)
from tests.test_cli_kill import stop
from tests.test_release_card import glance, says, section


@pytest.fixture(scope="module")
def tap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny recipe of TAP as a file: two steps of training in batches of eight, two of noise."""
    noise = {
        "method": "tap",
        "rho_u": "8/255",
        "steps": 2,
        "step_size": "3.2/255",
        "eot": {"transform": "cifar", "samples": 3},
        "permutation": "random",
    }
    return write_recipe(tmp_path_factory.mktemp("recipe") / "tap.yaml", noise=noise)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, photographs: Path, tap: Path) -> Path:
    out = tmp_path_factory.mktemp("tap") / "run"
    succeed("protect", photographs, "--out", out, "--recipe", tap, "--seed", "7")
    return out


def test_what_a_run_states(finished: Path, photographs: Path) -> None:
    succeed("verify", finished, "--clean", photographs)
    clean = [pixels_of(path.read_bytes()) for path in sorted(photographs.rglob("*.png"))]
    rows = released(finished / "release")
    assert max(change(image, row["image"]["bytes"]) for image, row in zip(clean, rows, strict=True)) == 8
    protection = read_facts(finished / "release").protection
    assert (protection.method, protection.rho_a, protection.adversary_steps) == ("tap", "0", 0)
    assert (protection.eot.transform, protection.eot.samples) == ("cifar", 3)
    assert protection.settings == {"permutation": "random"}
    card = (finished / "release/README.md").read_text()
    assert says(glance(card), "TAP", "Fowl")
    assert "ρ_a" not in glance(card)
    assert says(card, "Targets of the noise", "a cycle through all that the seed draws")
    assert says(card, "K_u = 2 of α_u = 3.2/255")
    assert says(card, "cifar augmentation, J = 3")
    first = card.partition("## What this is")[0].replace("\n", " ")
    assert "undo such noise with JPEG compression or adversarial training: see" in first
    assert "greyscale" not in first
    assert section(card, "Citation").count("@inproceedings{") == 2


def test_the_plan_counts_a_gradient_an_image_of_training(tmp_path: Path, photographs: Path, tap: Path) -> None:
    """Of eight images, two of which are grey ones for the card's figure."""
    plan = succeed("protect", photographs, "--out", tmp_path / "run", "--recipe", tap, "--plan", "--json").json
    training = {"name": "Training the source model on clean images", "gradients": 2 * 8}
    assert plan["phases"] == [training, {"name": "Making noise", "gradients": (8 + 2) * 2 * 3}]


def test_a_generator_keeps_the_permutation_that_its_seed_drew(
    tmp_path: Path, photographs: Path, finished: Path
) -> None:
    succeed("protect", photographs, "--out", tmp_path / "again", "--generator", finished, *SECRET)
    assert snapshot(tmp_path / "again/release/data") == snapshot(finished / "release/data")
    new = draw_classes(tmp_path / "new", count=3, seed=500)
    succeed("protect", new, "--out", tmp_path / "new run", "--generator", finished, *SECRET)
    succeed("verify", tmp_path / "new run", "--clean", new)


def test_a_radius_of_an_adversary_is_refused(tmp_path: Path, photographs: Path, tap: Path) -> None:
    result = run("protect", photographs, "--out", tmp_path / "run", "--recipe", tap, "--rho-a", "2/255")
    assert result.code == 2
    assert "--rho-a 2/255: noise.method tap has no adversary; use --method rem or sem" in result.err


def test_killed_while_training(tmp_path: Path, tap: Path, process_env: dict[str, str]) -> None:
    source = draw_classes(tmp_path / "source", count=8)
    settings = ("--set", "generator.steps=200", "--set", "data.resolution=16")
    command = ("protect", source, "--recipe", tap, *settings)
    succeed(*command, "--out", tmp_path / "whole")
    out = tmp_path / "run"

    def is_training(private: Path) -> bool:
        return any((private / "checkpoints").glob("clean_model-step-*.json"))

    process = start(*command, "--out", out, env=process_env)
    assert stop(process, out, is_training, signal.SIGKILL) == -signal.SIGKILL
    notes = [json.loads(path.read_bytes()) for path in (out / "private/checkpoints").glob("*.json")]
    assert 0 < max(note["step"] for note in notes) < 200
    assert not (out / "private/noise.json").exists()
    said = succeed(*command, "--out", out, "--resume").err
    assert "Training the source model on clean images: 200 of 200" in said
    assert same_release(out, tmp_path / "whole")
    succeed("verify", out)
