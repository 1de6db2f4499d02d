"""NTGA on the command line, and whether it works."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor

from rem_release.audit.victim import train_victim
from rem_release.methods import ntga_maker
from rem_release.methods.apply import padded_count
from rem_release.threats.images import TrainingImages
from rem_release.threats.threat import parse_threat
from rem_release.verdict import plan
from rem_release.verdict.accuracy import balanced_accuracy
from rem_release.verdict.recipe import load_audit_recipe, parse_architecture
from tests.command_line import draw_classes, pixels_of, read_status, released, run, same_release, start, succeed
from tests.test_cli_processes import finish, free_port, launch

RECIPE = """\
data: {resolution: 8}
noise: {method: ntga, rho_u: 8/255, steps: 30, step_size: 2.2/255, block_size: 4, validation: 6, time: 64.0}
"""
_PATIENCE = 120.0


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """26 images, so that the last block of four has two."""
    return draw_classes(tmp_path_factory.mktemp("ntga") / "source", count=13)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "ntga.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, source: Path, recipe: Path) -> Path:
    out = tmp_path_factory.mktemp("ntga") / "run"
    succeed("protect", source, "--out", out, "--recipe", recipe)
    return out


def test_a_release_verifies_and_its_facts_and_card_say_how_it_was_made(finished: Path) -> None:
    succeed("verify", finished)
    facts = json.loads((finished / "release/protection.json").read_bytes())
    own = {"block_size": 4, "validation": 6, "time": 64.0, "ridge": 1e-4}
    assert facts["protection"]["settings"] == own
    assert [facts["protection"][key] for key in ("source_model", "precision", "generator_steps")] == [None, None, 0]
    assert facts["cost"] == {"training_gradients": 0, "noise_gradients": 28 * 30}
    card = (finished / "release/README.md").read_text()
    assert "| Noise steps | K_u = 30 of α_u = 2.2/255 |" in card
    assert "| Images of a block | 4, validated on others: 6 at most |" in card
    assert "840 sample gradient evaluations |" in card
    assert "source model" not in card.lower()
    assert "input gradient of the ensemble" in card
    assert "yuan2021neural" in card
    assert not (finished / "release/figures/noise.png").exists()
    assert len(released(finished / "release")) == 26


def test_killed_in_the_middle_it_goes_on_to_the_same_bytes(
    tmp_path: Path, source: Path, recipe: Path, finished: Path, process_env: dict[str, str]
) -> None:
    command = ("protect", source, "--recipe", recipe, "--out", tmp_path / "run")
    process, deadline = start(*command, env=process_env), time.monotonic() + _PATIENCE
    while not (tmp_path / "run/private/noise.json").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=_PATIENCE)
    assert 0 < json.loads((tmp_path / "run/private/noise.json").read_bytes())["done"] < 26
    assert read_status(tmp_path / "run")["state"] == "running"
    succeed(*command, "--resume")
    assert same_release(tmp_path / "run", finished)


@pytest.mark.slow
def test_two_processes_make_the_same_bytes(tmp_path: Path, source: Path, recipe: Path, finished: Path) -> None:
    """Seven blocks: the last turn has one for the first process and none for the second."""
    command = ("protect", source, "--recipe", recipe, "--seed", 0, "--out", tmp_path / "run")
    finish(launch("-m", "rem_release", *command, port=free_port()))
    both = (tmp_path / "run", finished)
    facts, alone = (json.loads((path / "release/protection.json").read_bytes()) for path in both)
    assert facts["digest"] == alone["digest"]
    assert facts["cost"]["noise_gradients"] == 32 * 30


def test_a_plan_counts_what_is_then_computed(
    tmp_path: Path, source: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = succeed("protect", source, "--out", tmp_path / "run", "--recipe", recipe, "--plan", "--json").json
    assert planned["phases"] == [{"name": "Making noise", "gradients": 28 * 30}]
    assert planned["cost"] == {"training_gradients": 0, "noise_gradients": 28 * 30}
    assert planned["precision"] is None
    assert (planned["seconds"]["noise"] > 0, planned["seconds"]["training"]) == (True, 0)
    counted, predict = [], ntga_maker.predict

    def count(train: Tensor, *others: Any) -> Tensor:
        answers = predict(train, *others)
        answers.register_hook(lambda gradient: counted.append(len(train)))
        return answers

    monkeypatch.setattr(ntga_maker, "predict", count)
    succeed("protect", source, "--out", tmp_path / "run", "--recipe", recipe)
    assert sum(counted) == planned["cost"]["noise_gradients"] == padded_count(26, 4) * 30


def test_what_does_not_suit_it_is_refused_in_one_line(
    tmp_path: Path, source: Path, finished: Path, recipe: Path
) -> None:
    out = ("--out", tmp_path / "run")
    for planning in ((), ("--plan",)):
        large = run("protect", source, *out, "--recipe", recipe, "--set", "noise.block_size=18", *planning)
        assert (large.code, large.err.count("error: ")) == (2, 1)
        assert "noise.block_size 18 is more than two thirds of the 26 images" in large.err
        assert "--set noise.block_size=17" in large.err
        assert not (tmp_path / "run").exists()
    again = run("protect", source, *out, "--generator", finished)
    assert again.code == 2
    assert "makes the noise of a block of images together; protect all images together" in again.err
    adversary = run("protect", source, *out, "--recipe", recipe, "--rho-a", "4/255")
    assert adversary.code == 2
    assert "noise.method ntga has no adversary; use --method rem or sem" in adversary.err


def test_too_little_memory_names_the_size_of_a_block(
    tmp_path: Path, source: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*inputs: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 128000000 bytes.")

    monkeypatch.setattr(ntga_maker, "predict", refuse)
    result = run("protect", source, "--out", tmp_path / "run", "--recipe", recipe)
    assert result.code == 1
    assert "too little memory for batches of 4 (tried to allocate 128000000 bytes); try --set noise.block_size=2" in (
        result.err
    )


# --- does it work?


SIDE, CLASSES, EACH = 8, 4, 100
VICTIM = {"victim.epochs": "12", "victim.least_steps": "1", "victim.batch_size": "128", "victim.evaluations": "1"}
VICTIM |= {"victim.learning_rate": "0.1", "victim.decay_every": "0.6667", "victim.augmentation": "none"}


def draw_fields(folder: Path, seed: int, contrast: float = 8.0, noise: float = 14.0) -> Path:
    """An easy task: each class has a coarse pattern of 4 × 4 colours, which its images show more or less strongly."""
    patterns = np.random.default_rng(99).normal(size=(CLASSES, 4, 4, 3)).repeat(2, 1).repeat(2, 2)
    random = np.random.default_rng(seed)
    for label, pattern in enumerate(patterns):
        (folder / f"c{label}").mkdir(parents=True)
        for index in range(EACH):
            shown = 128 + contrast * pattern * random.uniform(0.3, 1) + random.normal(0, noise, (SIDE, SIDE, 3))
            Image.fromarray(shown.clip(0, 255).astype(np.uint8)).save(folder / f"c{label}" / f"{index:03d}.png")
    return folder


def read_folder(folder: Path) -> tuple[Tensor, Tensor]:
    paths = sorted(folder.rglob("*.png"))
    images = torch.from_numpy(np.stack([np.asarray(Image.open(path)) for path in paths])).permute(0, 3, 1, 2)
    return images, torch.tensor([int(path.parent.name[1:]) for path in paths])


def train_and_test(images: Tensor, labels: Tensor, test: tuple[Tensor, Tensor]) -> float:
    """Test accuracy in percent of a small residual network, trained as an audit trains its victims."""
    task = plan.Task(parse_architecture("small_resnet"), parse_threat("standard"), "protected", 0)
    learnt = TrainingImages(images, labels, CLASSES)
    trained = train_victim(Accelerator(), task, load_audit_recipe("audit-quick", VICTIM), learnt, len(images), *test)
    return 100 * float(balanced_accuracy(trained.named[-1] == test[1].numpy(), test[1].numpy()))


def test_a_network_that_learns_from_it_errs_on_other_images(tmp_path: Path) -> None:
    source, test = draw_fields(tmp_path / "source", seed=0), read_folder(draw_fields(tmp_path / "test", seed=1))
    clean, labels = read_folder(source)
    accuracy = {"clean": train_and_test(clean, labels, test)}
    sizes = ("--set", "data.resolution=8", "--set", "noise.block_size=200", "--set", "noise.validation=200")
    for method, options in (("random", sizes[:2]), ("ntga", sizes)):
        succeed("protect", source, "--out", tmp_path / method, "--method", method, *options)
        rows = released(tmp_path / method / "release")
        pixels = np.stack([pixels_of(row["image"]["bytes"]) for row in rows])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        accuracy[method] = train_and_test(images, torch.tensor([row["label"] for row in rows]), test)
    assert accuracy["clean"] > 70, "a weak victim would flatter the protection"
    assert accuracy["random"] - accuracy["ntga"] > 30, accuracy
