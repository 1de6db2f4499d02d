"""The methods hand the solver the right numbers; roles of images are drawn as the documentation says."""

import copy
from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from hypothesis import given, settings
from hypothesis import strategies as st

from rem_release.core.draws import Draws
from rem_release.core.frozen import fold
from rem_release.core.solver import NoiseSettings, adversarial_images, min_max_noise
from rem_release.data.selection import Role, choose_roles
from rem_release.data.working_set import WorkingSet
from rem_release.errors import NonFiniteLossError
from rem_release.methods import METHODS, min_max_maker
from rem_release.methods.fields import EotSettings
from rem_release.methods.maker import make_image_set
from rem_release.methods.min_max_maker import MinMaxMaker
from rem_release.methods.probe import _goes_on, probe_gradients
from rem_release.recipe import load_recipe
from rem_release.training.batches import batch_indices

SEED = 11
SETTINGS = {
    method: NoiseSettings(
        rho_u=16 / 255,
        alpha_u=4 / 255,
        K_u=2,
        rho_a=8 / 255,
        alpha_a=3 / 255,
        K_a=2,
        J=2,
        transform="cifar",
        inner=inner,
    )
    for method, inner in (("rem", "pgd"), ("sem", "uniform"))
}


def recipe_of(method):
    """Fast, and in every number different from the rest."""
    recipe = load_recipe("rem-cifar10")
    noise = METHODS[method](
        rho_u=Fraction(16, 255),
        steps=2,
        step_size=Fraction(4, 255),
        rho_a=Fraction(8, 255),
        adversary_steps=2,
        adversary_step_size=Fraction(3, 255),
        eot=EotSettings(transform="cifar", samples=2),
    )
    generator = replace(recipe.generator, model="small_resnet", steps=3, batch_size=4, decay_every=2, decay=0.5)
    data = replace(recipe.data, resolution=8)
    return replace(recipe, data=data, noise=noise, generator=generator, precision="fp32")


def build(recipe):
    return recipe.noise.build(recipe.set_for(3, SEED), Accelerator())


def images_of_own_sizes():
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (6, 3, 8, 8), generator=generator, dtype=torch.uint8)
    images[0], images[1] = 0, 255
    sizes = torch.tensor([(8, 8), (16, 12), (5, 8), (20, 20), (3, 7), (9, 9)])
    keys = torch.tensor([5, 900, 31, 7, 2**40, 64])
    return make_image_set(images, torch.arange(6) % 3, keys, sizes, torch.device("cpu"))


@pytest.mark.parametrize("method", SETTINGS)
def test_the_noise_that_ships_is_the_solvers_with_the_final_draws(method):
    image_set, chosen = images_of_own_sizes(), torch.tensor([4, 1, 3, 0])
    generator = build(recipe_of(method))
    assert isinstance(generator, MinMaxMaker)
    route, keys = image_set.route.of(chosen), image_set.keys[chosen]

    def solved(draws, route):
        images, labels = image_set.images[chosen].float() / 255, image_set.labels[chosen]
        return min_max_noise(generator.model, images, labels, SETTINGS[method], draws, route)

    made = generator.make_noise(image_set, chosen)
    assert torch.equal(made, solved(Draws.final(SEED, keys), route))
    assert not torch.equal(made, solved(Draws.final(SEED, keys), None))
    assert not any(torch.equal(made, solved(Draws(SEED, keys, step), route)) for step in range(4))


@pytest.mark.parametrize("method", SETTINGS)
def test_training_a_generator_is_sgd_on_the_solvers_loss(method):
    recipe, image_set = recipe_of(method), images_of_own_sizes()
    generator = build(recipe)
    model = copy.deepcopy(generator.model)
    assert fold(model, torch.float32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    for step, rate in enumerate((0.1, 0.1, 0.05)):
        optimizer.param_groups[0]["lr"] = rate
        chosen = batch_indices(SEED, step, 6, 4)
        images, labels = image_set.images[chosen].float() / 255, image_set.labels[chosen]
        draws, route = Draws(SEED, image_set.keys[chosen], step), image_set.route.of(chosen)
        model.train()
        loss = F.cross_entropy(model(adversarial_images(model, images, labels, SETTINGS[method], draws, route)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    generator.train(image_set, None, lambda name: nullcontext(lambda done, total: None))
    torch.testing.assert_close(generator.model.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_a_generator_that_diverges_says_what_to_lower():
    recipe = recipe_of("rem")
    recipe = replace(recipe, generator=replace(recipe.generator, learning_rate=1e30))
    advice = r"the training loss is (nan|inf) at step [12]; lower generator\.learning_rate \(1e\+30\) with --set "
    with pytest.raises(NonFiniteLossError, match=advice + r"generator\.learning_rate=\.\.\."):
        build(recipe).train(images_of_own_sizes(), None, lambda name: nullcontext(lambda done, total: None))


def draw_signs(levels, seed):
    recipe = recipe_of("rem")
    noise = METHODS["random"](rho_u=Fraction(levels, 255))
    return noise.build(replace(recipe, noise=noise).set_for(3, seed), Accelerator())


def test_random_signs_are_the_whole_radius_up_or_down_as_far_as_the_box_lets_them():
    image_set, everything = images_of_own_sizes(), torch.arange(6)
    noise = draw_signs(8, SEED).make_noise(image_set, everything).int()
    clean = image_set.images.int()
    up, down = (255 - clean).clamp(max=8), -clean.clamp(max=8)
    assert ((noise == up) | (noise == down)).all()
    free = (clean >= 8) & (clean <= 247)
    share = (noise[free] == 8).float().mean()
    assert abs(share - 0.5) < 4 * 0.5 / int(free.sum()) ** 0.5
    order = torch.tensor([5, 2])
    assert torch.equal(draw_signs(8, SEED).make_noise(image_set, order).int(), noise[order])
    other = draw_signs(8, SEED + 1).make_noise(image_set, everything).int()
    assert 0.4 < (other[free] == noise[free]).float().mean() < 0.6


def working_set(labels, changed=None):
    """Images known by their hashes alone; `changed` is the one that is another image now."""
    generator = np.random.default_rng(4)
    hashes = [generator.bytes(32).hex() for _ in labels]
    if changed is not None:
        hashes[changed] = generator.bytes(32).hex()
    return WorkingSet(
        images=torch.zeros((len(labels), 3, 2, 2), dtype=torch.uint8),
        labels=torch.tensor(labels),
        keys=torch.tensor([int(text[:16], 16) >> 1 for text in hashes]),
        sizes=torch.full((len(labels), 2), 2),
        hashes=hashes,
        rows=np.arange(len(labels)),
        image_of_row=np.arange(len(labels)),
        bad=[],
        doubts=[],
        choices={},
        faults={},
        resolution=2,
    )


@given(st.integers(0, 199), st.integers(0, 2**31))
@settings(max_examples=50)
def test_another_image_elsewhere_draws_the_roles_anew(changed, seed):
    """Roles of a seed and the image alone would stay as they are, and whoever guesses the seed would know them."""
    labels = [index % 2 for index in range(200)]
    before, again, after = (
        choose_roles(working_set(labels, which), ["a", "b"], 0.2, 0.5, seed) for which in (None, None, changed)
    )
    assert (before == again).all()
    others = np.arange(200) != changed
    assert (before == after)[others].mean() < 0.6  # 0.36 by chance, 7 standard deviations below


def test_the_seed_draws_the_roles_anew():
    labels = [index % 2 for index in range(200)]
    one, other = (choose_roles(working_set(labels), ["a", "b"], 0.2, 0.5, seed) for seed in (0, 1))
    assert (one == other).mean() < 0.6


@pytest.mark.parametrize("seed", range(5))
def test_what_is_reserved_tells_nothing_of_what_is_protected(seed):
    working = working_set([index % 2 for index in range(400)])
    reserved = choose_roles(working, ["a", "b"], 0.25, 1.0, seed) == Role.RESERVED
    protected = choose_roles(working, ["a", "b"], 0.0, 0.5, seed) == Role.PROTECTED
    assert reserved.sum() == 100
    assert 25 < (reserved & protected).sum() < 75  # 50 ± 4.3 when independent; 100 or 0 when one draw serves both


@given(st.lists(st.integers(1, 40), min_size=2, max_size=5), st.integers(0, 7), st.integers(0, 5))
def test_as_many_are_reserved_and_protected_as_asked(sizes, eighths, seed):
    """Eighths, which floats hold exactly."""
    sizes = [40, *sizes]  # so that a reserve above 0 keeps something back
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    roles = choose_roles(working_set(labels), [str(n) for n in range(len(sizes))], eighths / 8, 1.0, seed)
    reserved = np.bincount(np.array(labels)[roles == Role.RESERVED], minlength=len(sizes))
    assert reserved.tolist() == [min(eighths * size // 8, size - 1) for size in sizes]
    assert not (roles == Role.UNPROTECTED).any()


@pytest.mark.parametrize(("fraction", "protected"), [(1.0, 150), (0.5, 75), (0.25, 38), (0.125, 19)])
def test_the_fraction_is_of_what_is_not_reserved(fraction, protected):
    """25 of each 100 are reserved; of the 150 left, as many as asked, rounded."""
    roles = choose_roles(working_set([index % 2 for index in range(200)]), ["a", "b"], 0.25, fraction, 0)
    assert np.bincount(roles, minlength=3).tolist() == [protected, 150 - protected, 50]


# the probe of --plan


@pytest.mark.parametrize("method", ["rem", "sem", "em"])
def test_a_rehearsal_has_the_memory_of_a_training_and_changes_no_weights(method, monkeypatch):
    """While noise is made for a batch, gradients and momentum of the step before lie there."""
    recipe = recipe_of("sem" if method == "em" else method)
    if method == "em":
        recipe = replace(recipe, noise=METHODS["em"].adopt(recipe.noise))
    maker, optimizers, begun = build(recipe), [], []
    weights = [parameter.detach().clone() for parameter in maker.model.parameters()]
    sgd, attack = torch.optim.SGD, min_max_maker.adversarial_images

    def note_optimizer(*given, **settings):
        optimizers.append(sgd(*given, **settings))
        return optimizers[-1]

    def note_step(model, images, labels, noise, *rest):
        gradients = sum(parameter.grad is not None for parameter in model.parameters())
        momentum = sum(state["momentum_buffer"] is not None for state in optimizers[0].state.values())
        begun.append((gradients, momentum, len(images), noise.K_u, noise.J))
        return attack(model, images, labels, noise, *rest)

    monkeypatch.setattr(torch.optim, "SGD", note_optimizer)
    monkeypatch.setattr(min_max_maker, "adversarial_images", note_step)
    maker.rehearse(images_of_own_sizes())
    count, J = len(weights), maker.noise.J
    assert begun == [(0, 0, 4, 1, J), *[(count, count, 4, 1, J)] * 3]
    assert all(torch.equal(*pair) for pair in zip(maker.model.parameters(), weights, strict=True))


@pytest.mark.parametrize("trains", [True, False])
def test_the_probe_of_a_plan_rehearses_a_training_that_there_will_be(trains):
    called = []

    def spend(image_set):
        called.append("spend")
        return 8

    maker = SimpleNamespace(rehearse=lambda image_set: called.append("rehearse"), spend=spend)
    assert probe_gradients(maker, None, trains) > 0
    assert called[: len(called) - called.count("spend")] == ["rehearse"] * trains


def test_the_probe_of_a_plan_takes_four_rounds_or_one_that_is_long():
    assert [_goes_on(rounds, 0.01) for rounds in (0, 3, 4, 49, 50)] == [True, True, True, True, False]
    assert [_goes_on(rounds, 5.0) for rounds in (0, 3, 4)] == [True, True, False]
    assert [_goes_on(rounds, 60.0) for rounds in (0, 1, 3)] == [True, False, False]
