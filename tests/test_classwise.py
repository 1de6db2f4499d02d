"""Class-wise random noise: one pattern of signs for each class, as far as the box lets it."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import baselines
from tests.baselines import SEED, draw_images, recipe_of
from tests.command_line import succeed

LABELS = [0, 1, 2, 2, 1, 0, 2, 0]


def make(resolution: int = 8, rho_u: str = "8/255", seed: int = SEED):
    recipe = recipe_of("classwise", resolution, rho_u=rho_u)
    return recipe.noise.build(recipe.set_for(3, seed), Accelerator())


def test_images_of_a_class_share_their_noise_up_to_the_box() -> None:
    image_set, everything = draw_images(LABELS, 8), torch.arange(len(LABELS))
    noise, clean = make().make_noise(image_set, everything).int(), image_set.images.int()
    pattern = make().make_noise(draw_images([0, 1, 2], 8, 100, 150, seed=5), torch.arange(3)).int()
    assert (pattern.abs() == 8).all()
    low, high = -clean.clamp(max=8), (255 - clean).clamp(max=8)
    assert torch.equal(noise, torch.maximum(torch.minimum(pattern[LABELS], high), low))
    order = torch.tensor([5, 2])
    assert torch.equal(make().make_noise(image_set, order).int(), noise[order])


def test_classes_and_seeds_have_signs_of_their_own() -> None:
    """Independent signs agree in half of 192 values, within five standard deviations of 7."""
    image_set = draw_images([0, 1, 2], 8, 100, 150)
    one, other = (make(seed=seed).make_noise(image_set, torch.arange(3)) for seed in (0, 1))
    for first, second in ((one[0], one[1]), (one[1], one[2]), (one[0], other[0]), (one[0], one[0].flip(-1))):
        assert 61 < int((first == second).sum()) < 131
    assert 61 < int((one[0] > 0).sum()) < 131


@given(st.integers(1, 127), st.lists(st.integers(0, 2), min_size=1, max_size=6), st.integers(0, 2**31))
@settings(max_examples=30)
def test_no_value_leaves_the_budget_or_the_box(levels: int, labels: list[int], seed: int) -> None:
    image_set = draw_images(labels, 8, seed=seed)
    noise = make(rho_u=f"{levels}/255", seed=seed).make_noise(image_set, torch.arange(len(labels))).int()
    seen = image_set.images.int() + noise
    assert noise.abs().max() <= levels
    assert seen.min() >= 0
    assert seen.max() <= 255


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return baselines.protect_gratings(tmp_path_factory.mktemp("classwise"), "--method", "classwise")


def test_a_victim_learns_next_to_nothing(run_folder: Path, tmp_path: Path) -> None:
    baselines.hides_what_it_protects(run_folder, tmp_path)


def test_no_figure_shows_its_noise(run_folder: Path) -> None:
    """A tile of the noise figure would be the noise of a whole class."""
    assert not (run_folder / "release/figures/noise.png").exists()


def test_protect_warns_that_classes_share_a_noise(tmp_path: Path, photographs: Path) -> None:
    said = succeed("protect", photographs, "--out", tmp_path / "run", "--method", "classwise", "--plan").err
    assert "warning: all images of a class carry one noise" in said


def test_killed_and_resumed(tmp_path: Path, process_env: dict[str, str]) -> None:
    baselines.resumes_to_the_same_bytes(tmp_path, "noise.json", process_env, "--recipe", "classwise-cifar10")
