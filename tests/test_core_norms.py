"""The balls of L∞, L2 and L1: projections against a solver, steps and attacks against closed forms, uniform starts."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rem_release.core.draws import Draws, Purpose
from rem_release.core.norms import ascend, measure, project, random_start
from rem_release.core.pgd import frozen_in_eval_mode, pgd

NORMS = ["linf", "l2", "l1"]
START = Purpose.ADVERSARY_START
ROUNDING = 1 + 1e-6

small_problems = st.tuples(
    st.lists(st.floats(-3, 3, width=32), min_size=5, max_size=5),
    st.lists(st.floats(0, 1, width=32), min_size=5, max_size=5),
    st.floats(0.03125, 4, width=32),
)


def size(delta, norm):
    """‖δ‖ of each image in double precision, by another road than `measure`: numpy."""
    order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
    return np.linalg.norm(delta.double().flatten(1).numpy(), order, axis=1)


def assert_inside(delta, images, radius, norm):
    seen = images + delta
    assert size(delta, norm).max() <= radius * ROUNDING
    assert seen.min() >= 0
    assert seen.max() <= 1


def draw_images(count=6, side=8, seed=0, dtype=torch.float32):
    """Noise-like images with many values at the ends of the range, where the box cuts the ball."""
    generator = torch.Generator().manual_seed(seed)
    images = (torch.rand((count, 3, side, side), generator=generator, dtype=dtype) * 2 - 0.5).clamp(0, 1)
    return images, torch.randn(images.shape, generator=generator, dtype=dtype)


def linear_model(side=4, classes=2, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, classes)).double()


def nearest(delta, images, radius, norm):
    """The projection as a quadratic programme in δ⁺, δ⁻ ≥ 0, solved by SLSQP."""
    count = len(delta)
    bounds = [(0, 1 - x) for x in images] + [(0, x) for x in images]
    limits = {
        "linf": lambda v: radius - v,
        "l2": lambda v: np.array([radius**2 - ((v[:count] - v[count:]) ** 2).sum()]),
        "l1": lambda v: np.array([radius - v.sum()]),
    }
    found = scipy.optimize.minimize(
        lambda v: ((v[:count] - v[count:] - delta) ** 2).sum(),
        np.zeros(2 * count),
        jac=lambda v: np.concatenate([2 * (v[:count] - v[count:] - delta), -2 * (v[:count] - v[count:] - delta)]),
        bounds=bounds,
        constraints={"type": "ineq", "fun": limits[norm]},
        method="SLSQP",
        options={"maxiter": 300, "ftol": 1e-12},
    )
    return found.x[:count] - found.x[count:]


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=60, derandomize=True)
@given(problem=small_problems)
def test_the_projection_is_the_nearest_point_of_ball_and_box(norm, problem):
    delta, images, radius = problem
    d, x = (torch.tensor([values], dtype=torch.float64) for values in (delta, images))
    found = project(d, x, radius, norm)
    assert_inside(found, x, radius, norm)
    reference = torch.from_numpy(nearest(np.array(delta), np.array(images), radius, norm))[None]
    assert (d - found).norm() <= (d - project(reference, x, radius, norm)).norm() + 1e-6
    torch.testing.assert_close(found, reference, atol=2e-3, rtol=0)


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=60, derandomize=True)
@given(problem=small_problems, scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_projecting_again_changes_nothing(norm, problem, scale):
    delta, images, radius = problem
    x = torch.tensor([images])
    once = project(torch.tensor([delta]) * scale, x, radius, norm)
    assert_inside(once, x, radius, norm)
    assert torch.equal(project(once, x, radius, norm), once)


@pytest.mark.parametrize("norm", NORMS)
def test_noise_inside_is_left_alone_and_radius_zero_leaves_none(norm):
    x, direction = draw_images()
    inside = project(direction * 1e-3, x, 100.0, norm)
    assert torch.equal(inside, torch.clamp(direction * 1e-3, -x, 1 - x))
    assert not project(direction, x, 0.0, norm).any()
    assert not project(torch.zeros_like(x), x, 0.0, norm).any()


@pytest.mark.parametrize(("norm", "radius"), [("l2", 3.0), ("l1", 300.0)])
def test_float32_keeps_to_the_ball_on_large_images(norm, radius):
    x, direction = draw_images(count=2, side=224)
    found = project(direction, x, radius, norm)
    assert_inside(found, x, radius, norm)
    assert size(found, norm).min() > radius * (1 - 1e-4), "the ball binds"
    exact = project(direction.double(), x.double(), radius, norm)
    assert (found - exact).abs().max() < 1e-5


def test_the_default_is_linf_to_the_last_bit():
    x, direction = draw_images()
    bounds = (1 - x).clamp(max=0.1), (-x).clamp(min=-0.1)
    assert torch.equal(project(direction, x, 0.1), torch.maximum(torch.minimum(direction, bounds[0]), bounds[1]))
    assert torch.equal(project(direction, x, 0.1), project(direction, x, 0.1, "linf"))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e-42])
def test_a_step_has_the_length_asked_for_however_small_the_gradient(norm, scale):
    _, gradient = draw_images()
    step = ascend(gradient * scale, torch.full_like(gradient, 0.5), 0.3, 2.0, norm)
    np.testing.assert_allclose(size(step, norm), 0.3, rtol=1e-5)
    assert (step * gradient >= 0).all()


@pytest.mark.parametrize("norm", NORMS)
def test_no_gradient_gives_no_step(norm):
    zeros = torch.zeros((2, 3, 4, 4))
    assert torch.equal(ascend(zeros, zeros + 0.5, 0.3, 2.0, norm), zeros)


def test_the_step_in_l1_goes_to_the_largest_values_that_can_move():
    """Two parts of 0.2: none where the box ends, a little where little room is left, the rest to the next."""
    gradient = torch.tensor([[9.0, -8.0, 7.0, -6.0, 5.0, 4.0], [3.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    seen = torch.tensor([[1.0, 0.0, 0.95, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]])
    step = ascend(gradient, seen, 0.4, 1.0, "l1")
    torch.testing.assert_close(step[0], torch.tensor([0.0, 0.0, 0.05, -0.2, 0.15, 0.0]))
    torch.testing.assert_close(step[1], torch.tensor([0.2, 0.0, 0.0, 0.0, 0.0, 0.0]))


def best_noise(uphill, x, radius, norm):
    """The noise of ball and box that goes farthest uphill, uphill a vector: known for each norm."""
    room = np.where(uphill > 0, 1 - x, x)
    if norm == "linf":
        return np.sign(uphill) * np.minimum(radius, room)
    if norm == "l2":
        size_at = lambda m: np.linalg.norm(np.minimum(m * np.abs(uphill), room))  # noqa: E731
        m = scipy.optimize.brentq(lambda m: size_at(m) - radius, 0, 1e6, xtol=1e-12)
        return np.sign(uphill) * np.minimum(m * np.abs(uphill), room)
    left, best = radius, np.zeros_like(uphill)
    for index in np.argsort(-np.abs(uphill)):
        best[index] = np.sign(uphill[index]) * min(room[index], left)
        left -= abs(best[index])
    return best


@pytest.mark.parametrize(
    ("norm", "radius", "step_size", "short"),
    [
        *(("linf", 0.1, 0.025, 1e-9), ("l2", 0.05, 0.02, 1e-6), ("l2", 1.5, 0.3, 1e-4)),
        *(("l1", 0.5, 0.01, 0.01), ("l1", 2.0, 0.05, 0.08)),
    ],
)
def test_the_attack_reaches_the_known_optimum_of_a_linear_model(norm, radius, step_size, short):
    """Also where the box binds: a ball projection followed by a clip stops short of it in L2.

    In L1 the best noise fills one value after another. Steps in several parts end a few hundredths short of it.
    """
    model = linear_model()
    x, noise = draw_images(side=4, dtype=torch.float64)
    y = torch.arange(len(x)) % 2
    weight = model[1].weight
    uphill = torch.where(y[:, None] == 0, weight[1] - weight[0], weight[0] - weight[1]).detach()
    with frozen_in_eval_mode(model):
        found = pgd(model, x, y, radius, step_size, 200, noise, norm)
    assert_inside(found, x, radius, norm)
    for index in range(len(x)):
        best = best_noise(uphill[index].numpy(), x[index].flatten().numpy(), radius, norm)
        gain, most = (uphill[index].numpy() @ d for d in (found[index].flatten().numpy(), best))
        assert most * (1 - short) <= gain <= most * ROUNDING


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=15, derandomize=True)
@given(seed=st.integers(0, 1000), radius=st.floats(0.01, 5), steps=st.integers(0, 6), share=st.floats(0.05, 3))
def test_every_iterate_lies_in_ball_and_box(norm, seed, radius, steps, share):
    model = linear_model(side=8, classes=3, seed=seed).float()
    x, noise = draw_images(seed=seed)
    with frozen_in_eval_mode(model):
        found = pgd(model, x, torch.arange(len(x)) % 3, radius, radius * share, steps, noise, norm)
    assert_inside(found, x, radius, norm)


def test_linf_is_the_plain_signed_iteration_to_the_last_bit():
    model, (x, delta) = linear_model(side=8, classes=4).float(), draw_images()
    y, radius = torch.arange(len(x)) % 4, 8 / 255
    with frozen_in_eval_mode(model):
        found = pgd(model, x, y, radius, radius / 4, 5, delta)
    low, high = (-x).clamp(min=-radius), (1 - x).clamp(max=radius)
    delta = torch.maximum(torch.minimum(delta, high), low)
    for _ in range(5):
        delta = delta.detach().requires_grad_()
        F.cross_entropy(model(x + delta), y, reduction="sum").backward()
        stepped = delta.detach() + radius / 4 * delta.grad.sign()
        delta = torch.maximum(torch.minimum(stepped, high), low)
    assert torch.equal(found, delta)


@pytest.mark.parametrize("norm", NORMS)
def test_noise_does_not_depend_on_the_batch(norm):
    model, (x, noise) = linear_model(side=8, classes=4), draw_images(dtype=torch.float64)
    y, order = torch.arange(len(x)) % 4, torch.tensor([4, 1])
    with frozen_in_eval_mode(model):
        whole = pgd(model, x, y, 1.0, 0.3, 5, noise, norm)
        part = pgd(model, x[order], y[order], 1.0, 0.3, 5, noise[order], norm)
    torch.testing.assert_close(part, whole[order], atol=1e-9, rtol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_soft_labels_pull_away_from_the_mixture(norm):
    """Certain ones equal numbers; a mixture of two classes ascends the mixture of their losses."""
    model, (x, noise) = linear_model(side=8, classes=3), draw_images(dtype=torch.float64)
    y = torch.arange(len(x)) % 3
    certain = F.one_hot(y, 3).double()
    mixed = 0.5 * certain + 0.5 * certain.roll(1, dims=1)
    with frozen_in_eval_mode(model):
        hard = pgd(model, x, y, 0.5, 0.1, 5, noise * 0, norm)
        torch.testing.assert_close(pgd(model, x, certain, 0.5, 0.1, 5, noise * 0, norm), hard)
        soft = pgd(model, x, mixed, 0.5, 0.1, 5, noise * 0, norm)
        losses = [F.cross_entropy(model(x + delta), mixed).item() for delta in (soft, hard, noise * 0)]
    assert losses[0] > losses[1]
    assert losses[0] > losses[2]


def starts(norm, shape, count, radius=2.0, **where):
    return random_start(Draws(0, torch.arange(count), 0), radius, shape, norm, START, **where)


@pytest.mark.parametrize(("norm", "values"), [("l2", 3), ("l2", 3072), ("l1", 3), ("l1", 3072)])
def test_starts_fill_the_ball_evenly(norm, values):
    """Volume grows with radius^d, so (‖δ‖/radius)^d is uniform."""
    found = starts(norm, (values,), 20000 if values == 3 else 2000)
    shares = size(found, norm) / 2.0
    assert shares.max() <= ROUNDING
    assert scipy.stats.kstest(shares**values, "uniform").pvalue > 0.01


def test_starts_point_everywhere_alike():
    """In three dimensions one value of a uniform point has density ∝ 1 − v² in the L2 ball, ∝ (1 − |v|)² in L1's."""
    for norm, law in (("l2", scipy.stats.beta(2, 2)), ("l1", scipy.stats.beta(1, 3))):
        found = starts(norm, (3,), 6000).numpy().astype(float) / 2.0
        for value in found.T:
            seen = (value + 1) / 2 if norm == "l2" else np.abs(value)
            assert scipy.stats.kstest(seen, law.cdf).pvalue > 0.01
            assert scipy.stats.binomtest(int((value > 0).sum()), len(value)).pvalue > 0.01
        assert np.abs(np.corrcoef(found.T) - np.eye(3)).max() < 0.05


@pytest.mark.parametrize("norm", NORMS)
def test_starts_belong_to_the_image_the_step_and_the_draw(norm):
    whole = starts(norm, (3, 4, 4), 5, k=2, samples=2)
    part = random_start(Draws(0, torch.tensor([3]), 0), 2.0, (3, 4, 4), norm, START, k=2, samples=2)
    assert whole.shape == (10, 3, 4, 4)
    assert whole.dtype == torch.float32
    torch.testing.assert_close(part, whole[[3, 8]])
    assert not torch.allclose(whole[:5], whole[5:])
    assert not torch.allclose(whole[:5], starts(norm, (3, 4, 4), 5, k=1))


def test_starts_in_linf_are_those_of_the_draws():
    draws = Draws(3, torch.arange(4), 7)
    expected = draws.within(0.1, (3, 4, 4), START, 2, 3)
    assert torch.equal(random_start(draws, 0.1, (3, 4, 4), "linf", START, 2, 3), expected)


@pytest.mark.parametrize("norm", NORMS)
def test_measure_is_the_norm(norm):
    _, noise = draw_images()
    assert measure(noise, norm).shape == (6, 1, 1, 1)
    np.testing.assert_allclose(measure(noise, norm).flatten(), size(noise, norm), rtol=1e-6)


def test_the_ball_holds_where_an_image_leaves_the_box() -> None:
    """Bicubic resampling overshoots; up to 0.5.0 the noise left the ball at the dark side."""
    images = torch.tensor([-0.2, -0.01, 0.0, 0.5, 1.0, 1.01, 1.2])
    for start in (-0.3, 0.0, 0.3):
        found = project(torch.full_like(images, start), images, 0.03)
        assert found.abs().max() <= 0.03
        inside = (images >= 0) & (images <= 1)
        assert ((images + found)[inside] >= 0).all()
        assert ((images + found)[inside] <= 1).all()
        assert found[0] == pytest.approx(0.03)
        assert found[-1] == pytest.approx(-0.03)
        assert found[1] >= 0.01
        assert found[-2] <= -0.01 + 1e-7
