"""Recipes: the paper's settings, exact radii, and every mistake named."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rem_release.errors import InputError
from rem_release.methods import METHODS
from rem_release.radius import format_radius, parse_radius, whole_levels
from rem_release.recipe import load_recipe
from rem_release.recipe_changes import load_changed
from rem_release.recipe_files import recipe_names, recipe_text
from rem_release.resources import resource_folder

LEVEL = Fraction(1, 255)


@pytest.mark.parametrize("data", ["cifar10", "cifar100", "imagenet100"])
@pytest.mark.parametrize("method", ["rem", "em", "sem"])
def test_shipped_recipes_are_table_5_and_a31(method, data):
    recipe = load_recipe(f"{method}-{data}")
    noise, generator, is_imagenet = recipe.noise, recipe.generator, data == "imagenet100"
    assert recipe.data.resolution == (224 if is_imagenet else 32)
    assert (noise.method, noise.rho_u, noise.steps) == (method, 8 * LEVEL, 7 if is_imagenet else 10)
    assert noise.step_size == noise.rho_u / (4 if is_imagenet and method != "em" else 5)
    if method == "em":
        solved = noise.solve()
        assert (solved.rho_a, solved.K_a, solved.transform, solved.J) == (0, 0, "none", 1)
    else:
        assert (noise.rho_a, noise.adversary_steps, noise.adversary_step_size) == (4 * LEVEL, 10, noise.rho_a / 5)
        assert noise.eot.transform == ("imagenet" if is_imagenet else "cifar")
        assert noise.eot.samples == (4 if is_imagenet else 5)
    assert (generator.model, generator.batch_size, generator.learning_rate) == ("resnet18", 128, 0.1)
    assert (generator.momentum, generator.weight_decay, generator.decay) == (0.9, 0.0005, 0.1)
    assert (generator.steps, generator.decay_every) == ((3000, 1200) if is_imagenet else (5000, 2000))


@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
def test_rem_without_eot_is_the_rem_recipe_but_for_its_transformation(data):
    """The ablation of paper Table 4, and what its steps cost."""
    whole, without = load_recipe(f"rem-{data}"), load_recipe(f"rem-no-eot-{data}")
    assert (without.noise.eot.transform, without.noise.eot.samples) == ("none", 1)
    assert replace(without, noise=replace(without.noise, eot=whole.noise.eot)) == whole
    assert (without.noise.solve().gradients_per_step, without.noise.solve().gradients_per_image) == (121, 110)


def test_recipes_of_baselines_are_their_defaults_but_for_the_patches_at_224():
    for method in ("lsp", "pil", "classwise"):
        assert load_recipe(f"{method}-cifar10").noise == METHODS[method](rho_u=8 * LEVEL)
    noise = load_recipe("lsp-imagenet100").noise
    assert (noise.patch, noise.spread) == (32, 0.7)


@pytest.mark.parametrize("name", [name for name in recipe_names() if not name.startswith("audit-")])
def test_the_head_of_a_recipe_gives_command_cost_and_expectation(name):
    head = recipe_text(name).split("\n\n")[0]
    assert f"--recipe {name}" in head
    assert "sample gradient evaluations" in head
    assert "Expected" in head


@pytest.mark.parametrize(
    ("text", "radius"),
    [("8/255", 8 * LEVEL), ("8px", 8 * LEVEL), ("1.6/255", LEVEL * 8 / 5), ("0.0314", Fraction(157, 5000)), (0, 0)],
)
def test_radii_are_exact(text, radius):
    assert parse_radius(text) == radius


@given(st.integers(0, 255 * 10**4))
def test_a_written_radius_reads_back(tenths):
    radius = Fraction(tenths, 255 * 10**4)
    assert parse_radius(format_radius(radius)) == radius


@pytest.mark.parametrize(
    ("text", "levels"), [("8/255", 8), ("0.0314", 8), ("0.03", 7), ("7.99/255", 7), ("127px", 127)]
)
def test_fractional_radii_round_down(text, levels):
    assert whole_levels(parse_radius(text)) == levels


@pytest.mark.parametrize("text", ["8", "-1/255", "eight", "8/0", "1/2/3", "nan", "inf", "", True, None, "1e999999999"])
def test_radii_that_are_none(text):
    with pytest.raises(ValueError, match="255"):
        parse_radius(text)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"noise.rho": "8/255"}, "no such key; the nearest is noise.rho_u"),
        ({"generator.lr": "1"}, "no such key"),
        ({"noise.rho_a": "8/255"}, "not below noise.rho_u"),
        ({"noise.rho_a": "9/255"}, "not below noise.rho_u"),
        ({"noise.rho_u": "0.5/255", "noise.rho_a": "0"}, "less than one 8-bit level"),
        ({"noise.rho_u": "200/255"}, "above 127/255"),
        ({"noise.method": "em"}, "--method em"),
        ({"noise.steps": "0"}, "needs noise.steps"),
        ({"noise.adversary_steps": "0"}, "needs adversary_steps"),
        ({"generator.model": "vgg"}, "generator.model"),
        ({"generator.learning_rate": "-1"}, "generator.learning_rate"),
        ({"noise.eot.transform": "rotate"}, "noise.eot.transform"),
        ({"noise": "1"}, "no such key"),
    ],
)
def test_overrides_that_cannot_be(overrides, message):
    with pytest.raises(InputError, match=message):
        load_changed("rem-cifar10", settings=overrides)


def test_all_mistakes_of_a_file_are_named_at_once(tmp_path):
    path = tmp_path / "mine.yaml"
    text = recipe_text("rem-cifar10")
    path.write_text(text.replace("steps: 5000", "stepz: 5000").replace("rho_u: 8/255", "rho_u: eight"))
    with pytest.raises(InputError) as error:
        load_recipe(str(path))
    for part in (
        "generator.steps: missing",
        "generator.stepz: no such key",
        "nearest is generator.steps",
        "noise.rho_u",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [("rem-cifar", "did you mean 'rem-cifar10'"), ("nothing", "shipped:"), ("absent.yaml", "cannot be read")],
)
def test_recipes_that_do_not_exist(name, message):
    with pytest.raises(InputError, match=message):
        load_recipe(name)


@pytest.mark.parametrize(
    ("content", "message"), [("a: [", "is not YAML"), ("- 1", "not a mapping"), ("", "not a mapping")]
)
def test_files_that_are_no_recipe(tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        load_recipe(str(path))


def test_radii_on_the_command_line_take_their_steps_along():
    recipe = load_changed("rem-cifar10", rho_u="16/255", rho_a="8/255")
    assert recipe.noise.step_size == recipe.noise.rho_u / 5
    assert recipe.noise.adversary_step_size == recipe.noise.rho_a / 5


def test_method_em_drops_adversary_and_eot():
    recipe = load_changed("rem-cifar10", "em")
    assert recipe == load_recipe("em-cifar10")


def test_method_sem_is_the_sem_recipe():
    assert load_changed("rem-cifar10", "sem") == load_recipe("sem-cifar10")


@pytest.mark.parametrize("name", [name for name in recipe_names() if not name.startswith("audit-")])
def test_the_control_passes_over_what_other_methods_have_and_nothing_else(name):
    control = load_changed(name, settings={"noise.method": "random"})
    assert control == load_changed(name, "random")
    assert control.noise == METHODS["random"](rho_u=8 * LEVEL)
    with pytest.raises(InputError, match=r"noise\.rho: no such key"):
        load_changed(name, settings={"noise.method": "random", "noise.rho": "8/255"})


def test_an_em_recipe_cannot_become_rem():
    with pytest.raises(
        InputError, match=r"needs noise\.rho_a, .* which a recipe for em lacks; start from a rem- recipe"
    ):
        load_changed("em-cifar10", "rem")


def test_the_hash_is_of_the_values_not_of_the_writing(tmp_path):
    path = tmp_path / "same.yaml"
    path.write_text(recipe_text("rem-cifar10").replace("8/255", "8px").replace("5.0e-4", "0.0005"))
    assert load_recipe(str(path)).sha256() == load_recipe("rem-cifar10").sha256()
    assert (
        load_changed("rem-cifar10", settings={"noise.rho_u": "9/255"}).sha256() != load_recipe("rem-cifar10").sha256()
    )


def test_recipes_and_cards_are_found():
    assert (resource_folder("recipes") / "quickstart.yaml").is_file()
    assert any(resource_folder("cards").iterdir())
