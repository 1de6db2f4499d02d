"""LSP: patches of one colour, linearly separable classes, one L2 norm until single values are cut."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from hypothesis import given, settings
from hypothesis import strategies as st

from rem_release.errors import InputError
from rem_release.methods.maker import ImageSet
from tests import baselines
from tests.baselines import SEED, draw_images, recipe_of


def make(resolution: int = 32, classes: int = 10, seed: int = SEED, **fields: object):
    recipe = recipe_of("lsp", resolution, **fields)
    return recipe.noise.build(recipe.set_for(classes, seed), Accelerator())


def noise_of(maker, image_set: ImageSet) -> torch.Tensor:
    return maker.make_noise(image_set, torch.arange(len(image_set))).int()


def patches_of(labels: list[int], **fields: object) -> torch.Tensor:
    """The noise of images that the box leaves alone, a value for each patch: float64 [N, 48]."""
    noise = noise_of(make(**fields), draw_images(labels, 32, 20, 235))
    return noise[:, :, ::8, ::8].flatten(1).double()


def test_a_patch_has_one_value() -> None:
    noise = noise_of(make(), draw_images([0, 4, 9], 32, 20, 235))
    assert torch.equal(noise, noise[:, :, ::8, ::8].repeat_interleave(8, 2).repeat_interleave(8, 3))
    cut = noise_of(make(resolution=20), draw_images([0, 4, 9], 20, 20, 235))
    whole = torch.arange(20) // 8 * 8
    assert torch.equal(cut, cut[:, :, whole][:, :, :, whole]), "the last patch is what is left of the grid"


def test_a_linear_classifier_names_the_noise_alone() -> None:
    """Least squares on half of the images, one-hot, names every other one; random signs of the image leave it at
    chance."""
    labels = [index % 10 for index in range(800)]
    for values, least, most in ((patches_of(labels), 1.0, 1.0), (torch.rand(800, 48).double() - 0.5, 0.0, 0.3)):
        wanted = torch.nn.functional.one_hot(torch.tensor(labels), 10).double()
        weights = torch.linalg.lstsq(values[:400], wanted[:400]).solution
        share = ((values[400:] @ weights).argmax(1) == torch.tensor(labels[400:])).double().mean()
        assert least <= share <= most


def test_classes_are_clusters_around_a_corner_of_the_cube() -> None:
    """Before values are cut they are 1 and a spread of 0.4 times one factor an image, up or down as the class says."""
    image_set = draw_images([0] * 400 + [1] * 400, 32)
    noise = recipe_of("lsp", 32).noise.draw(image_set.batch(torch.arange(800)), SEED)
    values = noise[:, :, ::8, ::8].flatten(1).split(400)
    corners = [cluster.mean(0).sign() for cluster in values]
    for cluster, corner in zip(values, corners, strict=True):
        ups = cluster * corner
        assert ups.mean() == pytest.approx(1.16**-0.5, abs=0.02)
        assert ups.std(0).mean() == pytest.approx(0.4 * 1.16**-0.5, abs=0.03)
    assert 7 < int((corners[0] == corners[1]).sum()) < 41, "half of 48 agree by chance, ± 17 at five deviations"
    assert len(torch.unique(patches_of([0] * 20, spread=0), dim=0)) == 1
    assert (patches_of([0, 1], spread=0).abs() == 8).all()


def test_the_noise_of_an_image_has_the_norm_of_the_radius_everywhere() -> None:
    recipe, image_set = recipe_of("lsp", 32, spread=0.7), draw_images([0, 1, 2, 3], 32)
    noise = recipe.noise.draw(image_set.batch(torch.arange(4)), SEED)
    torch.testing.assert_close(noise.square().mean((1, 2, 3)), torch.ones(4))
    assert (noise.abs() > 1).any(), "single values exceed it, and are cut"


@given(st.integers(1, 127), st.integers(2, 6), st.floats(0, 5), st.integers(0, 2**31))
@settings(max_examples=30)
def test_no_value_leaves_the_budget_or_the_box(levels: int, patch: int, spread: float, seed: int) -> None:
    image_set = draw_images([0, 1, 1], 12, seed=seed)
    maker = make(resolution=12, classes=2, seed=seed, rho_u=f"{levels}/255", patch=patch, spread=spread)
    noise = noise_of(maker, image_set)
    seen = image_set.images.int() + noise
    assert noise.abs().max() <= levels
    assert seen.min() >= 0
    assert seen.max() <= 255


def test_an_image_has_its_noise_wherever_it_stands() -> None:
    image_set = draw_images([0, 1, 0, 1, 0], 32)
    everything = noise_of(make(), image_set)
    order = torch.tensor([4, 1])
    assert torch.equal(make().make_noise(image_set, order).int(), everything[order])
    assert not torch.equal(noise_of(make(seed=1), image_set), everything)


def test_patches_that_are_too_few_to_tell_the_classes_apart_are_refused() -> None:
    """3 values are 8 corners, and 12 are 4,096: enough for 8 classes."""
    with pytest.raises(InputError, match=r"noise\.patch 8 leaves 3 values on 8 x 8 pixels.*--set noise\.patch=2$"):
        make(resolution=8, classes=2)
    make(resolution=8, classes=8, patch=4)
    with pytest.raises(InputError, match="9 classes"):
        make(resolution=8, classes=9, patch=4)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = ("--method", "lsp", "--set", "noise.patch=4")
    return baselines.protect_gratings(tmp_path_factory.mktemp("lsp"), *options)


def test_a_victim_learns_next_to_nothing(run_folder: Path, tmp_path: Path) -> None:
    baselines.hides_what_it_protects(run_folder, tmp_path)


def test_killed_and_resumed(tmp_path: Path, process_env: dict[str, str]) -> None:
    options = ("--recipe", "lsp-cifar10", "--set", "noise.patch=4")
    baselines.resumes_to_the_same_bytes(tmp_path, "noise.json", process_env, *options)
