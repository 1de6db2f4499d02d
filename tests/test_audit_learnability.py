"""The learnability bound, against known distributions, scipy's binomial, and networks whose accuracy has a formula."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from rem_release.audit.learnability import perturbed_accuracies
from rem_release.verdict.learnability import learnability_bound, samples_needed


def shifted_share(q: float, sigma: float, eta: float) -> float:
    return float(stats.norm.cdf(stats.norm.ppf(q) + eta / sigma))


class Threshold(nn.Module):
    """Answers class 1 where x + b > 0, so that accuracy on evenly spread x is a known function of b."""

    def __init__(self, b: float) -> None:
        super().__init__()
        self.b = nn.Parameter(torch.tensor(b))
        self.seen: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(self.b.item())
        shifted = x.flatten(1)[:, 0] + self.b
        return torch.stack([torch.zeros_like(shifted), shifted], dim=1)


EVEN = torch.linspace(-1, 1, 2001).reshape(-1, 1, 1, 1)
ONES = torch.ones(2001, dtype=torch.int64)


def small_network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(144, 3))


def small_images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (50, 3, 8, 8), dtype=torch.uint8, generator=generator)
    return images, torch.randint(0, 3, (50,), generator=generator)


@pytest.mark.parametrize(("count", "q", "eta"), [(40, 0.5, 0.05), (200, 0.5, 0.1), (300, 0.9, 0.1)])
def test_the_rank_is_the_first_that_a_sum_of_binomials_allows(count, q, eta):
    p = Fraction(shifted_share(q, 0.25, eta))
    below, rank = Fraction(0), 0
    while below <= Fraction(99, 100):  # P[Binomial(count, p) ≤ rank − 1], added up exactly
        below += comb(count, rank) * p**rank * (1 - p) ** (count - rank)
        rank += 1
    assert rank >= p * count
    accuracies = np.random.default_rng(0).permutation(np.arange(1, count + 1)) / count
    assert learnability_bound(accuracies, q, 0.25, eta) == rank / count


def test_the_bound_holds_and_is_close_on_uniform_accuracies():
    """The p-quantile of a uniform distribution is p itself."""
    rng = np.random.default_rng(1)
    p = shifted_share(0.8, 0.25, 0.1)
    bounds = [learnability_bound(rng.random(500), 0.8, 0.25, 0.1, confidence=0.9) for _ in range(2000)]
    holds = float(np.mean([bound >= p for bound in bounds if bound is not None]))
    assert 0.88 < holds < 0.95  # at least 0.9, less three standard deviations
    assert np.mean(np.array(bounds) - p) < 2 * np.sqrt(p * (1 - p) / 500)


def test_the_bound_holds_for_accuracies_that_tie():
    """Accuracies are multiples of 1/T; the quantile of a die is counted, not computed."""
    rng = np.random.default_rng(2)
    quantile = np.ceil(6 * shifted_share(0.5, 1.0, 0.3)) / 6
    bounds = [learnability_bound(rng.integers(1, 7, 300) / 6, 0.5, 1.0, 0.3, confidence=0.9) for _ in range(1000)]
    assert np.mean([bound >= quantile - 1e-12 for bound in bounds if bound is not None]) > 0.88


def test_no_shift_bounds_the_quantile_itself_and_longer_shifts_more():
    accuracies = np.arange(1, 1001) / 1000
    bounds = [learnability_bound(accuracies, 0.5, 0.25, eta) for eta in (0, 0.1, 0.3, 0.5)]
    assert all(bound is not None for bound in bounds)
    assert bounds == sorted(set(bounds))
    assert bounds[0] == pytest.approx(0.5 + 2.326 * 0.5 / np.sqrt(1000), abs=0.002)


def test_a_thousand_samples_reach_a_third_at_the_published_setting():
    accuracies = np.arange(1, 1001) / 1000
    assert learnability_bound(accuracies, 0.9, 0.25, 0.33) == 1.0
    assert learnability_bound(accuracies, 0.9, 0.25, 0.332) is None
    assert samples_needed(0.9, 0.25, 0.33, 0.99) <= 1000 < samples_needed(0.9, 0.25, 0.332, 0.99)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize("eta", [0.0, 0.02, 0.1, 0.33])
def test_samples_needed_is_where_the_bound_stops_abstaining(eta, confidence):
    for q in (0.1, 0.5, 0.9):
        needed = samples_needed(q, 0.25, eta, confidence)
        assert learnability_bound(np.zeros(needed), q, 0.25, eta, confidence) == 0
        assert learnability_bound(np.zeros(needed - 1), q, 0.25, eta, confidence) is None


@pytest.mark.parametrize(("q", "confidence", "needed"), [(0.2, 0.96, 3), (0.2, 0.992, 4), (0.5, 0.75, 3)])
def test_a_confidence_met_and_not_passed_takes_one_sample_more(q, confidence, needed):
    """1 − 0.2² is 0.96, not above it."""
    assert samples_needed(q, 0.25, 0.0, confidence) == needed
    assert learnability_bound(np.zeros(needed), q, 0.25, 0.0, confidence) == 0


def test_a_shift_beyond_all_samples_abstains():
    assert learnability_bound(np.zeros(1000), 0.9, 0.25, 33.0) is None
    assert learnability_bound(np.zeros(0), 0.9, 0.25, 0.1) is None
    with pytest.raises(ValueError, match=r"eta 33\.0"):
        samples_needed(0.9, 0.25, 33.0, 0.99)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": 1.0}, "q of 1"),
        ({"sigma": 0.0}, "sigma of 0"),
        ({"eta": -0.1}, "eta of -0.1"),
        ({"confidence": 1.0}, "confidence of 1"),
        ({"accuracies": np.array([0.1, np.nan])}, "not .* finite"),
    ],
)
def test_numbers_out_of_range_are_refused(change, message):
    whole = {"accuracies": np.zeros(100), "q": 0.5, "sigma": 0.25, "eta": 0.1, "confidence": 0.99}
    learnability_bound(**whole)
    with pytest.raises(ValueError, match=message):
        learnability_bound(**(whole | change))


def test_accuracy_of_a_linear_network_is_its_formula():
    """A linear layer is right about x = 1 when w₁ + b₁ beats w₀ + b₀, a difference with noise of four parameters."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[0.1], [0.4]]))
        model[1].bias.zero_()
    accuracies = perturbed_accuracies(model, torch.ones(1, 1, 1, 1), torch.ones(1, dtype=torch.int64), 4000, 0.5, 0)
    expected = stats.norm.cdf(0.3 / (2 * 0.5))
    assert set(accuracies) == {0.0, 1.0}
    assert stats.binomtest(int(accuracies.sum()), 4000, expected).pvalue > 0.01
    # were a bias or a weight left without noise, it would be this
    assert stats.binomtest(int(accuracies.sum()), 4000, stats.norm.cdf(0.3 / (3**0.5 * 0.5))).pvalue < 0.05


def test_the_bound_meets_the_worst_shift_where_it_is_known():
    """For a threshold the worst shift raises b by η, and its quantile equals the shifted quantile exactly."""
    sigma, eta, q, b = 0.25, 0.2, 0.7, -0.3
    accuracies = perturbed_accuracies(Threshold(b), EVEN, ONES, 2000, sigma, seed=3, batch_size=2001)
    worst = (1 + b + eta + sigma * stats.norm.ppf(q)) / 2
    bound = learnability_bound(accuracies, q, sigma, eta)
    assert bound is not None
    assert worst <= bound + 1 / 2001
    assert bound < worst + 0.03
    shifted = perturbed_accuracies(Threshold(b + eta), EVEN, ONES, 2000, sigma, seed=4, batch_size=2001)
    assert np.quantile(shifted, q) == pytest.approx(worst, abs=0.01)
    assert np.quantile(shifted, q) <= bound


def test_noise_is_normal_and_not_that_of_initial_weights():
    model = Threshold(0.5)
    perturbed_accuracies(model, EVEN[:1], ONES[:1], 3000, 0.25, seed=0)
    noise = (np.array(model.seen) - 0.5) / 0.25
    assert stats.kstest(noise, "norm").pvalue > 0.01
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.06
    initial = torch.randn(1, generator=torch.Generator().manual_seed(0)).item()
    assert abs(noise[0] - initial) > 1e-3


def test_accuracy_is_that_of_the_network_in_eval_mode_where_noise_is_nothing():
    model, (images, labels) = small_network(), small_images()
    model.eval()
    with torch.no_grad():
        expected = (model(images / 255).argmax(1) == labels).double().mean().item()
    model.train()
    np.testing.assert_allclose(perturbed_accuracies(model, images, labels, 3, 1e-12, 0), expected)
    np.testing.assert_allclose(perturbed_accuracies(model, images / 255, labels, 3, 1e-12, 0, 7), expected)


def test_samples_are_a_function_of_seed_and_number():
    model, (images, labels) = small_network(), small_images()
    many = perturbed_accuracies(model, images, labels, 12, 0.3, 5)
    np.testing.assert_array_equal(perturbed_accuracies(model, images, labels, 4, 0.3, 5, batch_size=7), many[:4])
    assert len(set(many)) > 3
    assert not np.array_equal(perturbed_accuracies(model, images, labels, 12, 0.3, 6), many)


def test_the_network_and_the_global_draws_are_left_as_they_were():
    model, (images, labels) = small_network(), small_images()
    model[1].eval()
    model[0].weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    learning = [parameter.requires_grad for parameter in model.parameters()]
    torch.manual_seed(1)
    random_state = torch.get_rng_state()
    perturbed_accuracies(model, images, labels, 5, 0.3, 0)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == learning


class FailsLater(nn.Module):
    """Fails in its third pass, when its parameter has long been changed."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 8 * 8, 3)
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        if self.passes == 3:
            raise RuntimeError("out of memory")
        return self.layer(x.flatten(1))


def test_weights_are_restored_when_the_network_fails():
    model, (images, labels) = FailsLater(), small_images()
    before = model.layer.weight.detach().clone()
    with pytest.raises(RuntimeError, match="out of memory"):
        perturbed_accuracies(model, images, labels, 5, 0.3, 0)
    assert torch.equal(model.layer.weight, before)
    assert model.training
    assert model.layer.weight.requires_grad


@pytest.mark.parametrize(
    ("samples", "sigma", "kept", "message"), [(0, 0.1, 50, "0 samples"), (1, 0.0, 50, "sigma 0"), (1, 0.1, 49, "49")]
)
def test_impossible_requests_are_refused(samples, sigma, kept, message):
    images, labels = small_images()
    with pytest.raises(ValueError, match=message):
        perturbed_accuracies(small_network(), images, labels[:kept], samples, sigma, 0)
