"""NTGA: its noise against a plain computation, blocks, the command line, and whether it works."""

import json
import re
import signal
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from rem_release.audit.victim import train_victim
from rem_release.core.resampling import resample
from rem_release.errors import RemReleaseError
from rem_release.methods import Setting, ntga_maker
from rem_release.methods.apply import make_noise_in_order, padded_count
from rem_release.methods.fields import Data
from rem_release.methods.maker import ImageSet, InSteps, make_image_set
from rem_release.methods.ntga import Ntga
from rem_release.methods.ntga_maker import NtgaMaker, rank_in_classes
from rem_release.methods.random_signs import SignMaker
from rem_release.recipe import load_recipe
from rem_release.recipe_changes import load_changed
from rem_release.threats.images import TrainingImages
from rem_release.threats.threat import parse_threat
from rem_release.verdict import plan
from rem_release.verdict.accuracy import balanced_accuracy
from rem_release.verdict.recipe import load_audit_recipe, parse_architecture
from tests.command_line import draw_classes, pixels_of, read_status, released, run, same_release, start, succeed
from tests.test_cli_processes import finish, free_port, launch

LEVEL = Fraction(1, 255)
RECIPE = """\
data: {resolution: 8}
noise: {method: ntga, rho_u: 8/255, steps: %d, step_size: 2.2/255, block_size: 4, validation: 6, time: 64.0}
"""
_PATIENCE = 120.0


def make(**changes: Any) -> NtgaMaker:
    fields = {"rho_u": 16 * LEVEL, "steps": 4, "step_size": 5 * LEVEL, "block_size": 4, "validation": 5, "time": 900.0}
    setting = Setting(Data(resolution=6), None, "fp32", "eager", 3, changes.pop("seed", 7))
    return NtgaMaker(Ntga(**{**fields, **changes}), setting)


def image_set(labels: list[int], sizes: list[tuple[int, int]] | None = None) -> ImageSet:
    generator, count = torch.Generator().manual_seed(3), len(labels)
    images = torch.randint(0, 256, (count, 3, 6, 6), generator=generator, dtype=torch.uint8)
    images[0], images[1 % count] = 0, 255
    keys = torch.randperm(10 * count, generator=generator)[:count] + 2**40
    own = torch.tensor(sizes or [(6, 6)] * count)
    return make_image_set(images, torch.tensor(labels), keys, own, torch.device("cpu"))


# --- the noise


def plain_kernel(rows: Tensor, columns: Tensor) -> Tensor:
    """Θ of five layers with erf, weights of variance 1.76 and biases of 0.18, by correlations (Yuan and Wu's code)."""
    inputs = torch.cat([rows, columns])
    sigma, theta = inputs @ inputs.T / inputs.shape[1], 0.0
    for _ in range(5):
        sigma = 1.76 * sigma + 0.18
        theta = sigma + 1.76 * theta
        scale = 1 + 2 * sigma.diagonal()
        angle = 2 * sigma / torch.outer(scale, scale).sqrt()
        theta = theta * 4 / torch.pi / (torch.outer(scale, scale) * (1 - angle**2)).sqrt()
        sigma = 2 / torch.pi * torch.arcsin(angle)
    return theta[: len(rows), len(rows) :]


def plain_loss(train: Tensor, targets: Tensor, test: Tensor, labels: Tensor, time: float, ridge: float) -> Tensor:
    """By the exponential of a matrix, and an inverse."""
    kernel, count = plain_kernel(train, train), len(train)
    kernel = kernel + ridge * kernel.trace() / count * torch.eye(count, dtype=torch.float64)
    learnt = torch.eye(count, dtype=torch.float64) - torch.linalg.matrix_exp(-kernel * time / targets.numel())
    return F.cross_entropy(plain_kernel(test, train) @ kernel.inverse() @ learnt @ targets, labels, reduction="sum")


OWN_SIZES = [(6, 6), (12, 9), (4, 6), (15, 15), (3, 5), (7, 7), (6, 6), (8, 8), (6, 6), (10, 6)]


@pytest.mark.parametrize("sizes", [None, OWN_SIZES])
@pytest.mark.parametrize(("time", "steps"), [(900.0, 4), (1.0, 1)])
def test_the_noise_is_that_of_a_plain_computation(sizes, time: float, steps: int) -> None:
    """PGD from no noise on, up the loss on the validation images, projected onto ball and box, in whole levels."""
    images, block = image_set([0, 1, 2, 0, 1, 2, 0, 1, 2, 0], sizes), torch.tensor([3, 1, 8, 0])
    maker = make(time=time, steps=steps)
    others = maker.choose_validation(images, block)
    clean, test = images.images[block].double() / 255, images.images[others].double().flatten(1) / 255
    targets, route = torch.eye(3, dtype=torch.float64)[images.labels[block]], images.route.of(block)
    delta = torch.zeros_like(clean)
    for _ in range(steps):
        delta.requires_grad_()
        train = (clean + resample(delta, route)).flatten(1)
        loss = plain_loss(train, targets, test, images.labels[others], time, 1e-4)
        (gradient,) = torch.autograd.grad(loss, delta)
        delta = (delta.detach() + 5 / 255 * gradient.sign()).clamp(-16 / 255, 16 / 255)
        delta = (clean + delta).clamp(0, 1) - clean
    expected = (delta * 255).round().to(torch.int8)
    assert expected.abs().float().mean() > 2
    assert torch.equal(maker.make_noise(images, block), expected)


def test_the_noise_raises_the_loss_more_than_random_noise_does() -> None:
    images = image_set([index % 3 for index in range(24)])
    maker, block = make(block_size=12, validation=12, steps=10, step_size=Fraction(2, 255)), torch.arange(12)
    others = maker.choose_validation(images, block)
    test, labels = images.images[others].double().flatten(1) / 255, images.labels[others]
    targets = torch.eye(3, dtype=torch.float64)[images.labels[block]]

    def loss(noise: Tensor) -> float:
        noisy = (images.images[block].double() + noise).clamp(0, 255) / 255
        return plain_loss(noisy.flatten(1), targets, test, labels, 900.0, 1e-4).item() / len(test)

    noise = maker.make_noise(images, block)
    signs = torch.randint(0, 2, noise.shape, generator=torch.Generator().manual_seed(0)) * 32 - 16
    assert loss(noise) > loss(torch.zeros_like(noise)) + 0.1
    assert loss(noise) > loss(signs) + 0.1
    assert noise.abs().max() == 16


# --- blocks


some_labels = st.lists(st.integers(0, 3), min_size=1, max_size=60)


@given(some_labels, st.integers(1, 9), st.integers(0, 2**62))
@settings(max_examples=60)
def test_every_block_has_its_share_of_each_class(labels: list[int], size: int, seed: int) -> None:
    images = image_set(labels)
    order = make(seed=seed).order(images)
    assert order.sort().values.tolist() == list(range(len(labels)))
    for place in range(0, len(labels) - size + 1, size):
        found = images.labels[order[place : place + size]].bincount(minlength=4)
        share = images.labels.bincount(minlength=4) * size / len(labels)
        assert ((found - share).abs() < 2 + 1e-9).all()


def test_the_seed_deals_the_images() -> None:
    images = image_set([index % 2 for index in range(100)])
    one, again, other = (make(seed=seed).order(images) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert (one == other).float().mean() < 0.2
    assert (one == torch.arange(100)).float().mean() < 0.2


@given(some_labels, st.integers(1, 40), st.integers(0, 2**62), st.data())
@settings(max_examples=60)
def test_a_block_is_validated_on_others_and_on_each_class_alike(
    labels: list[int], count: int, seed: int, data: st.DataObject
) -> None:
    images = image_set(labels)
    block = torch.tensor(data.draw(st.lists(st.integers(0, len(labels) - 1), min_size=1, max_size=9, unique=True)))
    chosen = make(seed=seed, validation=count).choose_validation(images, block)
    rest = len(labels) - len(block)
    assert len(set(chosen.tolist())) == len(chosen) == min(count, rest)
    assert not set(chosen.tolist()) & set(block.tolist())
    there = images.labels.bincount(minlength=4) - images.labels[block].bincount(minlength=4)
    found = images.labels[chosen].bincount(minlength=4)
    partial = found[found < there]  # of these classes more are there
    assert (found <= there).all()
    assert not len(partial) or found.max() - partial.min() <= 1


def test_each_block_has_a_validation_of_its_own() -> None:
    images, maker = image_set([index % 2 for index in range(60)]), make(validation=20)
    one, other = (set(maker.choose_validation(images, torch.tensor([k])).tolist()) for k in (0, 1))
    assert one != other


@given(some_labels, st.randoms())
def test_ranks_count_from_0_in_each_class(labels: list[int], random) -> None:
    numbers = list(range(len(labels)))
    random.shuffle(numbers)
    ranks, counts = rank_in_classes(torch.tensor(labels), torch.tensor(numbers))
    for index, label in enumerate(labels):
        before = [other for other, its in enumerate(labels) if its == label and numbers[other] < numbers[index]]
        assert (ranks[index], counts[index]) == (len(before), labels.count(label))


def test_the_last_block_is_filled_up_with_other_images() -> None:
    """Not with its own first image over and over, as batches are: the network would learn little else."""
    images = image_set([index % 3 for index in range(10)])
    maker = make()
    order = maker.order(images)
    found = list(make_noise_in_order(Accelerator(), maker, images))
    assert [(start, len(levels)) for start, levels in found] == [(0, 4), (4, 4), (8, 2)]
    filled = torch.cat([order[8:], order[:2]])
    assert torch.equal(found[2][1], maker.make_noise(images, filled)[:2])
    assert not torch.equal(found[2][1], maker._ascend(images, order[[8, 9, 8, 8]], 4)[:2])
    padded = maker.make_noise(images, order[[9, 9, 9, 9]])  # a batch of a process for which no image is left
    assert all(torch.equal(padded[0], each) for each in padded)


def test_it_says_how_far_it_is_within_a_block() -> None:
    images, maker = image_set([index % 3 for index in range(10)]), make()
    assert isinstance(maker, InSteps)
    assert not isinstance(SignMaker(8, 0), InSteps)
    said: list[tuple[int, int]] = []
    list(make_noise_in_order(Accelerator(), maker, images, report=lambda *told: said.append(told)))
    assert said == [(1, 10), (2, 10), (3, 10), (5, 10), (6, 10), (7, 10), (9, 10), (9, 10), (9, 10)]


# --- recipes


@pytest.mark.parametrize("data", ["cifar10", "cifar100", "imagenet100"])
def test_shipped_recipes_are_table_5(data: str) -> None:
    recipe = load_recipe(f"ntga-{data}")
    noise, is_imagenet = recipe.noise, data == "imagenet100"
    assert isinstance(noise, Ntga)
    assert (recipe.data.resolution, recipe.generator) == (224 if is_imagenet else 32, None)
    assert (noise.rho_u, noise.steps, noise.block_size) == (8 * LEVEL, *((8, 100) if is_imagenet else (10, 4000)))
    assert noise.step_size == noise.rho_u / noise.steps * Fraction(11, 10)
    assert (noise.validation, noise.time) == ((1000, 1.0) if is_imagenet else (10_000, 4096.0))


def test_the_quick_recipe_gives_its_steps_and_blocks_of_at_most_a_thousand() -> None:
    noise = load_changed("quickstart", method="ntga", rho_u="16/255").noise
    assert isinstance(noise, Ntga)
    assert (noise.rho_u, noise.steps, noise.step_size) == (16 * LEVEL, 5, Fraction(32, 5) * LEVEL)
    assert noise.block_size <= 1000


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": 0}, "needs noise.steps and noise.step_size above 0"),
        ({"step_size": Fraction(0)}, "needs noise.steps and noise.step_size above 0"),
        ({"rho_u": Fraction(1, 300)}, "less than one 8-bit level"),
    ],
)
def test_settings_that_make_no_noise_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RemReleaseError, match=re.escape(said)):
        make(**changes).noise.check()


# --- the command line


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """26 images, so that the last block of four has two."""
    return draw_classes(tmp_path_factory.mktemp("ntga") / "source", count=13)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ntga") / "ntga.yaml"
    path.write_text(RECIPE % 30)
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
        large = run("protect", source, *out, "--recipe", recipe, "--set", "noise.block_size=14", *planning)
        assert (large.code, large.err.count("error: ")) == (2, 1)
        assert "noise.block_size 14 is more than half of the 26 images" in large.err
        assert "--set noise.block_size=13" in large.err
        assert not (tmp_path / "run").exists()
    again = run("protect", source, *out, "--generator", finished)
    assert again.code == 2
    assert "makes the noise of a block of images together; protect all images together" in again.err
    adversary = run("protect", source, *out, "--recipe", recipe, "--rho-a", "4/255")
    assert adversary.code == 2
    assert "noise.method ntga has no adversary; use --method rem or sem" in adversary.err


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
