"""PIL: the classifier is trained as the recipe says, and its noise is that of a plain loop over the objective."""

import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from hypothesis import given, settings
from hypothesis import strategies as st

from rem_release.core.draws import Draws, Purpose
from rem_release.errors import InputError, NonFiniteLossError
from rem_release.methods.pil_maker import PilMaker
from rem_release.recipe_changes import load_changed
from rem_release.training.batches import batch_indices
from tests import baselines
from tests.baselines import SEED, draw_images, recipe_of
from tests.command_line import succeed

LABELS = [0, 1, 2, 2, 1, 0, 2, 0]


def make(resolution: int = 8, seed: int = SEED, **fields: object) -> PilMaker:
    recipe = recipe_of("pil", resolution, **{"training_steps": 60, "batch_size": 5, **fields})
    return recipe.noise.build(recipe.set_for(3, seed), Accelerator())


def trained(image_set, **fields: object) -> PilMaker:
    maker = make(**fields)
    maker.train(image_set, None, lambda name: nullcontext(lambda done, total: None))
    return maker


def weights_of(maker: PilMaker) -> torch.Tensor:
    (weights,) = maker.classifier.parameters()
    return weights.detach().double()


def objective(weights: torch.Tensor, clean: torch.Tensor, labels: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
    """0.9 CE(W δ, y) + 0.1 KL(uniform || softmax W (x - δ)) of each image, as the paper writes it: δ, x [N, d]."""
    shortcut = F.cross_entropy(delta @ weights.T, labels, reduction="none")
    answers = torch.log_softmax((clean - delta) @ weights.T, 1)
    return 0.9 * shortcut + 0.1 * (math.log(1 / 3) - answers).mean(1)


def test_the_noise_is_that_of_a_plain_loop_over_the_objective() -> None:
    """In float64. Where a gradient is next to nothing its sign is rounding, and a few values differ."""
    image_set, everything = draw_images(LABELS, 8), torch.arange(len(LABELS))
    maker = trained(image_set)
    made = maker.make_noise(image_set, everything)
    weights, clean = weights_of(maker), image_set.images.double().flatten(1) / 255
    start = Draws.final(SEED, image_set.keys).within(8 / 255, (3, 8, 8), Purpose.NOISE_START).flatten(1)
    low, high = (clean - 1).clamp(min=-8 / 255), clean.clamp(max=8 / 255)  # of δ, for x - δ in the box
    delta = (-start.double()).clamp(low, high)
    for _ in range(30):
        delta.requires_grad_()
        (gradient,) = torch.autograd.grad(objective(weights, clean, image_set.labels, delta).sum(), delta)
        delta = (delta.detach() - 0.8 / 255 * gradient.sign()).clamp(low, high)
    wanted = torch.round(-delta * 255).reshape(made.shape)
    assert (made != wanted).double().mean() < 0.01
    assert (made.abs() <= 8).all()


def test_the_objective_falls_from_a_random_start_to_what_ships() -> None:
    image_set, everything = draw_images(LABELS, 8), torch.arange(len(LABELS))
    maker = trained(image_set)
    weights, clean = weights_of(maker), image_set.images.double().flatten(1) / 255
    values = []
    for steps in (0, 5, 30):
        noise = maker._descend(image_set.batch(everything), steps).double().flatten(1)
        values.append(objective(weights, clean, image_set.labels, -noise))
    assert (values[1] < values[0]).all()
    assert (values[2] < values[1]).all()
    shipped = -maker.make_noise(image_set, everything).double().flatten(1) / 255
    torch.testing.assert_close(objective(weights, clean, image_set.labels, shipped), values[2], rtol=0.02, atol=0)


def test_what_is_released_is_the_image_less_what_the_classifier_names() -> None:
    """The noise itself is of the class; what ships is its opposite."""
    image_set, everything = draw_images(LABELS, 8, 20, 235), torch.arange(len(LABELS))
    maker = trained(image_set)
    shipped = maker.make_noise(image_set, everything).double().flatten(1)
    answers = -shipped @ weights_of(maker).T
    assert torch.equal(answers.argmax(1), image_set.labels)
    assert ((-answers).argmax(1) != image_set.labels).all()


def test_the_classifier_is_sgd_whose_rate_falls_by_a_cosine_in_thirty_stairs() -> None:
    """At 8 x 8 the rate is 16 times that of 32 x 32; 60 steps are two on a stair."""
    image_set = draw_images(LABELS, 8)
    maker, reference = make(), make().classifier
    assert [tuple(parameter.shape) for parameter in reference.parameters()] == [(3, 192)], "no bias"
    assert not torch.equal(next(make(seed=1).classifier.parameters()), next(reference.parameters()))
    optimizer = torch.optim.SGD(reference.parameters(), lr=1.0, momentum=0.9)
    for step in range(60):
        optimizer.param_groups[0]["lr"] = 0.048 * (1 + math.cos(math.pi * (step // 2) / 30)) / 2
        chosen = batch_indices(SEED, step, len(LABELS), 5)
        loss = F.cross_entropy(reference(image_set.images[chosen].float() / 255), image_set.labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    maker.train(image_set, None, lambda name: nullcontext(lambda done, total: None))
    torch.testing.assert_close(maker.classifier.state_dict(), reference.state_dict())


def test_enlarged_images_train_an_equal_classifier() -> None:
    """With values in blocks of 2 x 2, the rate of R × R pixels makes of W / 4 in each what W is on the small ones."""
    small = draw_images(LABELS, 8)
    large = replace(draw_images(LABELS, 16), images=small.images.repeat_interleave(2, 2).repeat_interleave(2, 3))
    makers = make(8), make(16)
    for maker, image_set in zip(makers, (small, large), strict=True):
        torch.nn.init.zeros_(next(maker.classifier.parameters()))
        maker.train(image_set, None, lambda name: nullcontext(lambda done, total: None))
    few, many = (weights_of(maker).reshape(3, 3, size, size) for maker, size in zip(makers, (8, 16), strict=True))
    assert few.abs().max() > 0.01
    torch.testing.assert_close(many, few.repeat_interleave(2, 2).repeat_interleave(2, 3) / 4, rtol=0.01, atol=1e-5)


@given(st.integers(1, 127), st.lists(st.integers(0, 2), min_size=1, max_size=6), st.integers(0, 2**31))
@settings(max_examples=20)
def test_no_value_leaves_the_budget_or_the_box(levels: int, labels: list[int], seed: int) -> None:
    image_set = draw_images(labels, 8, seed=seed)
    noise = make(seed=seed, rho_u=f"{levels}/255").make_noise(image_set, torch.arange(len(labels))).int()
    seen = image_set.images.int() + noise
    assert noise.abs().max() <= levels
    assert seen.min() >= 0
    assert seen.max() <= 255


def test_a_rehearsal_changes_no_weights() -> None:
    maker, image_set = make(), draw_images(LABELS, 8)
    before = weights_of(maker).clone()
    maker.rehearse(image_set)
    assert torch.equal(weights_of(maker), before)
    assert maker.spend(image_set) == 5


def test_it_takes_the_settings_of_any_recipe_and_its_step_follows_the_radius() -> None:
    noise = load_changed("quickstart", "pil", rho_u="16/255").noise
    assert (noise.rho_u / noise.step_size, noise.steps, noise.balance) == (2.5, 5, 0.9)
    noise = load_changed("pil-cifar10", rho_u="16/255").noise
    assert (noise.rho_u / noise.step_size, noise.steps) == (10, 30)
    with pytest.raises(InputError, match=r"noise\.method pil needs noise\.steps"):
        load_changed("pil-cifar10", settings={"noise.steps": "0"})


def test_a_classifier_that_diverges_says_what_to_lower() -> None:
    advice = r"the training loss is (nan|inf) at step \d+; lower noise\.learning_rate \(1e\+36\) with --set "
    with pytest.raises(NonFiniteLossError, match=advice + r"noise\.learning_rate=\.\.\."):
        trained(draw_images(LABELS, 8), learning_rate="1.0e+36")


OPTIONS = ("--method", "pil", "--set", "noise.training_steps=100", "--set", "noise.steps=30")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return baselines.protect_gratings(tmp_path_factory.mktemp("pil"), *OPTIONS)


def test_a_victim_learns_next_to_nothing(run_folder: Path, tmp_path: Path) -> None:
    baselines.hides_what_it_protects(run_folder, tmp_path)


def test_its_classifier_makes_the_noise_of_the_same_images_again(run_folder: Path, tmp_path: Path) -> None:
    clean = run_folder.parent / "clean"
    succeed("protect", clean, "--out", tmp_path / "run", "--generator", run_folder)
    assert (baselines.released_pixels(tmp_path / "run") == baselines.released_pixels(run_folder)).all()


def test_killed_while_training_and_resumed(tmp_path: Path, process_env: dict[str, str]) -> None:
    options = ("--recipe", "pil-cifar10", "--set", "noise.training_steps=200")
    baselines.resumes_to_the_same_bytes(tmp_path, "checkpoints/step-*.json", process_env, *options)
