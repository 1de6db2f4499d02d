"""NTGA: its noise against a plain computation, how images are dealt to blocks, and its recipes."""

import re
from fractions import Fraction
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rem_release.core.resampling import resample
from rem_release.errors import RemReleaseError
from rem_release.methods import Setting
from rem_release.methods.apply import make_noise_in_order
from rem_release.methods.drawn import DrawnMaker
from rem_release.methods.fields import Data
from rem_release.methods.maker import ImageSet, InSteps, make_image_set
from rem_release.methods.ntga import Ntga
from rem_release.methods.ntga_maker import NtgaMaker, rank_in_classes
from rem_release.recipe import load_recipe
from rem_release.recipe_changes import load_changed

LEVEL = Fraction(1, 255)


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
    assert len(one & other) < 15  # 7 by chance, and all but one where both blocks draw the same numbers


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
    assert not isinstance(DrawnMaker(8, lambda batch: batch.images), InSteps)
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


@pytest.mark.parametrize(("images", "most"), [(1, 0), (2, 1), (3, 2), (26, 17), (1500, 1000)])
def test_a_block_leaves_a_third_of_the_images_to_validate_on(images: int, most: int) -> None:
    assert not most or make(block_size=most).noise.refuses_count(images) is None
    refused = make(block_size=most + 1).noise.refuses_count(images) or ""
    assert refused.endswith(f"try --set noise.block_size={most}" if most else "add images")


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
