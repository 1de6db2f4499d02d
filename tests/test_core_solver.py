"""The solver against known answers: closed forms, a plain Algorithm 1, an independent EM, counted gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rem_release.core.draws import Draws, Purpose, own_purpose, uniform
from rem_release.core.levels import add_quantised
from rem_release.core.norms import project
from rem_release.core.pgd import frozen_in_eval_mode, pgd
from rem_release.core.resampling import NoiseRoute
from rem_release.core.solver import NoiseSettings, adversarial_images, min_max_noise
from rem_release.recipe import load_recipe
from tests.algorithm1 import plain_em, plain_noise, plain_step_loss

REM = NoiseSettings(
    rho_u=16 / 255, alpha_u=4 / 255, K_u=3, rho_a=8 / 255, alpha_a=3 / 255, K_a=2, J=2, transform="cifar", inner="pgd"
)


def changed(**changes):
    return NoiseSettings(**{**REM.__dict__, **changes})


SETTINGS = {
    "rem": REM,
    "no EOT": changed(transform="none", J=1),
    "sem": changed(inner="uniform"),
    "rho_a = 0 keeps EOT": changed(rho_a=0.0, alpha_a=0.0, K_a=0),
    "em": changed(rho_a=0.0, alpha_a=0.0, K_a=0, J=1, transform="none"),
}


SIZES = [(8, 8), (16, 12), (5, 8), (20, 21), (3, 7)]
"""(height, width) that the five images are released at."""


def smooth_network(classes=4, size=8, seed=0):
    """Double precision and no kinks, so that the sign of a gradient does not hang on the order of a sum."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(6 * size * size, classes),
        ).double()


def draw_images(count=5, size=8, seed=1):
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 256, (count, 3, size, size), generator=generator)
    levels[0, :, :3] = 0  # saturated pixels, where the box cuts the ball
    levels[1, :, :3] = 255
    return levels.double() / 255, torch.arange(count) % 4, torch.arange(count) + 1000


def draws_of(index, ids, s, draws, shape):
    """The numbers of one image out of the batch's draws: start, transformations and adversary starts by [k][j]."""
    n, count = len(ids), torch.Size(shape).numel()

    def split(purpose, width):
        return [[uniform(draws.keys(purpose, k, s.J), width)[j * n + index] for j in range(s.J)] for k in range(s.K_u)]

    start = (uniform(draws.keys(Purpose.NOISE_START), count)[index] * 2 - 1) * s.rho_u
    adversary = [[((v * 2 - 1) * s.rho_a).reshape(shape) for v in row] for row in split(Purpose.ADVERSARY_START, count)]
    return start.reshape(shape), split(Purpose.TRANSFORM, 3), adversary


@pytest.mark.parametrize("name", SETTINGS)
def test_batched_solver_equals_the_plain_algorithm_1(name):
    s, model, (x, y, ids) = SETTINGS[name], smooth_network().eval(), draw_images()
    draws = Draws(seed=3, ids=ids, step=7)
    batched = min_max_noise(model, x, y, s, draws)
    for index in range(len(x)):
        start, transforms, adversary = draws_of(index, ids, s, draws, tuple(x.shape[1:]))
        plain = plain_noise(model, x[index], y[index], s, start, transforms, adversary)
        assert torch.equal(batched[index].double(), plain), name


def test_noise_goes_by_way_of_the_images_own_sizes():
    model, (x, y, ids) = smooth_network().eval(), draw_images()
    draws, route = Draws(seed=3, ids=ids, step=7), NoiseRoute(torch.tensor(SIZES), 8).of(torch.arange(5))
    batched = min_max_noise(model, x, y, REM, draws, route)
    for index, size in enumerate(SIZES):
        numbers = draws_of(index, ids, REM, draws, tuple(x.shape[1:]))
        assert torch.equal(batched[index].double(), plain_noise(model, x[index], y[index], REM, *numbers, size)), size


@pytest.mark.parametrize("sizes", [[None] * 5, SIZES], ids=["grid size", "own sizes"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_training_step_equals_the_plain_algorithm_1(name, sizes):
    """Lines 8 to 19: the loss, its gradients, and the statistics that the one pass in training mode leaves."""
    s, model, reference, (x, y, ids) = SETTINGS[name], smooth_network().train(), smooth_network().eval(), draw_images()
    draws, shape = Draws(seed=3, ids=ids, step=7), tuple(x.shape[1:])
    route = NoiseRoute(torch.tensor(SIZES), 8).of(torch.arange(5)) if sizes is SIZES else None
    levels = [
        plain_noise(reference, x[i], y[i], s, *draws_of(i, ids, s, draws, shape), sizes[i]) for i in range(len(x))
    ]
    transforms = uniform(draws.keys(Purpose.OUTER_TRANSFORM), 3)
    starts = (uniform(draws.keys(Purpose.OUTER_ADVERSARY_START), x[0].numel()).reshape(x.shape) * 2 - 1) * s.rho_a
    plain = plain_step_loss(reference, x, y, s, levels, transforms, starts, sizes)
    loss = F.cross_entropy(model(adversarial_images(model, x, y, s, draws, route)), y)
    torch.testing.assert_close(loss, plain, rtol=1e-6, atol=0)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    expected = torch.autograd.grad(plain, list(reference.parameters()))
    torch.testing.assert_close(gradients, expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(dict(model.named_buffers()), dict(reference.named_buffers()), rtol=1e-6, atol=1e-7)


def test_no_two_purposes_share_a_number():
    """Two names of one value would be one Enum member, and would draw the same numbers."""
    assert len({int(purpose) for purpose in Purpose}) == len(Purpose.__members__)


def test_a_purpose_of_ones_own_is_apart_from_all_others_and_stays_the_same() -> None:
    names = [f"threat {number}" for number in range(10_000)]
    own = {own_purpose(name) for name in names}
    assert len(own) == len(names)
    assert min(own) > max(Purpose)
    assert max(own) < 2**63
    assert own_purpose("a_threat masks") == 135641788127836222
    draws = Draws(3, torch.arange(5), 2)
    assert draws.keys(own_purpose("a_threat masks"), 1, 2).shape == (10,)
    assert not set(draws.keys(own_purpose("a_threat masks")).tolist()) & {
        key for each in Purpose for key in draws.keys(each).tolist()
    }


def test_em_setting_equals_an_independent_em():
    noise = load_recipe("em-cifar10").noise.solve()
    model, (x, y, ids) = smooth_network().eval(), draw_images()
    draws = Draws(seed=0, ids=ids, step=0)
    batched = min_max_noise(model, x, y, noise, draws)
    starts = draws.within(8 / 255, tuple(x.shape[1:]), Purpose.NOISE_START)
    for index in range(len(x)):
        plain = plain_em(model, x[index], y[index], 8 / 255, 1.6 / 255, 10, starts[index])
        assert torch.equal(batched[index].double(), plain)


def test_pgd_reaches_the_closed_form_on_a_linear_model():
    """Two classes and a linear model: the loss rises with −y·w·δ, so δ* is the corner of ball ∩ box along its sign."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 2)).double()
    generator = torch.Generator().manual_seed(0)
    x = torch.rand((6, 3, 4, 4), generator=generator, dtype=torch.float64)
    x[0], x[1] = 0, 1
    y, rho = torch.tensor([0, 1, 0, 1, 0, 1]), 0.1
    weight = model[1].weight.detach()
    uphill = torch.where(y[:, None] == 0, weight[1] - weight[0], weight[0] - weight[1]).reshape(x.shape).sign()
    best = torch.minimum(torch.maximum(rho * uphill, -x), 1 - x)
    start = (torch.rand(x.shape, generator=generator, dtype=torch.float64) * 2 - 1) * rho
    with frozen_in_eval_mode(model):
        found = pgd(model, x, y, rho, rho / 4, 8, start)
    torch.testing.assert_close(found, best, atol=1e-12, rtol=0)


def test_saturated_pixels_end_with_optimised_noise():
    """On a linear model δ_u is the closed form too: minus the uphill corner, full size where the box has room."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 2)).double()
    x, y = torch.zeros((2, 3, 4, 4), dtype=torch.float64), torch.tensor([0, 1])
    s = changed(K_u=20, rho_a=0.0, K_a=0, J=1, transform="none")
    weight = model[1].weight.detach()
    downhill = torch.stack([weight[0] - weight[1], weight[1] - weight[0]]).reshape(x.shape).sign()
    levels = min_max_noise(model, x, y, s, Draws(0, torch.arange(2), 0))
    assert torch.equal(levels.double(), (16 * downhill).clamp(min=0))


@pytest.mark.parametrize("name", SETTINGS)
def test_gradients_counted_by_a_hook_equal_the_reported_cost(name):
    s, model, (x, y, ids) = SETTINGS[name], smooth_network(), draw_images()
    counted = []

    def count(module, inputs, logits):
        logits.register_hook(lambda gradient: counted.append(len(gradient)))

    model.register_forward_hook(count)
    min_max_noise(model, x, y, s, Draws(0, ids, 0))
    assert sum(counted) == len(x) * s.gradients_per_image
    counted.clear()
    F.cross_entropy(model(adversarial_images(model, x, y, s, Draws(0, ids, 0))), y).backward()
    assert sum(counted) == len(x) * s.gradients_per_step


@pytest.mark.parametrize(
    ("recipe", "per_step", "per_image"),
    [
        ("rem-cifar10", 561, 550),
        ("rem-cifar100", 561, 550),
        ("sem-cifar10", 61, 50),
        ("em-cifar10", 11, 10),
        ("rem-imagenet100", 319, 308),
        ("sem-imagenet100", 39, 28),
        ("em-imagenet100", 8, 7),
    ],
)
def test_cost_of_the_shipped_recipes(recipe, per_step, per_image):
    s = load_recipe(recipe).noise.solve()
    assert (s.gradients_per_step, s.gradients_per_image) == (per_step, per_image)


def test_the_source_model_trains_on_quantised_noise():
    """What it sees, less δ_a and t, is a whole number of levels."""
    model, (x, y, ids) = smooth_network(), draw_images()
    s = changed(rho_a=0.0, K_a=0, J=1, transform="none")
    expected = add_quantised(x, min_max_noise(model, x, y, s, Draws(0, ids, 0)), None)
    seen = adversarial_images(model, x, y, s, Draws(0, ids, 0))
    levels = seen * 255
    torch.testing.assert_close(levels, levels.round(), atol=1e-9, rtol=0)
    assert torch.equal(seen, expected)


def test_noise_does_not_depend_on_the_batch():
    model, (x, y, ids) = smooth_network().eval(), draw_images()
    whole = min_max_noise(model, x, y, REM, Draws(5, ids, 2))
    order = torch.tensor([3, 0])
    part = min_max_noise(model, x[order], y[order], REM, Draws(5, ids[order], 2))
    assert torch.equal(part, whole[order])


def test_noise_lowers_the_adversarial_loss_that_it_is_made_for():
    model, (x, y, ids) = smooth_network().eval(), draw_images()
    s = changed(K_u=10, transform="none", J=1)
    levels = min_max_noise(model, x, y, s, Draws(0, ids, 0))

    def adversarial_loss(images):
        with frozen_in_eval_mode(model):
            delta = pgd(model, images, y, s.rho_a, s.alpha_a, 20, torch.zeros_like(images))
        return F.cross_entropy(model(images + delta), y, reduction="none")

    assert (adversarial_loss(add_quantised(x, levels, None)) < adversarial_loss(x)).all()


def test_frozen_restores_the_model_even_after_an_error():
    model = smooth_network()
    model[0].weight.requires_grad_(False)
    model[1].eval()
    before = ([m.training for m in model.modules()], [p.requires_grad for p in model.parameters()])

    def fail_inside():
        with frozen_in_eval_mode(model):
            assert not any(m.training for m in model.modules())
            assert not any(p.requires_grad for p in model.parameters())
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail_inside()
    assert before == ([m.training for m in model.modules()], [p.requires_grad for p in model.parameters()])


def test_projection_is_the_nearest_point_of_ball_and_box():
    x = torch.tensor([0.0, 0.02, 0.5, 0.98, 1.0])
    high = project(torch.full_like(x, 0.3), x, 0.1)
    low = project(torch.full_like(x, -0.3), x, 0.1)
    torch.testing.assert_close(high, torch.tensor([0.1, 0.1, 0.1, 0.02, 0.0]))
    torch.testing.assert_close(low, torch.tensor([0.0, -0.02, -0.1, -0.1, -0.1]))
