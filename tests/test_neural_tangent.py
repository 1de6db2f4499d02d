"""The infinitely wide ensemble: its kernel against quadrature and wide networks, its training against the ODE."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rem_release.core import neural_tangent
from rem_release.core.neural_tangent import WideNetwork, divided_phi, learn, phi, predict, tangent_kernel

NETWORK = WideNetwork()
SMALL = WideNetwork(layers=2, weight_variance=0.7, bias_variance=0.4)
FAR = torch.tensor([[0.9, 0.1, 0.5, 0.2], [0.8, 0.3, 0.4, 0.1], [0.1, 0.9, 0.9, 0.7], [0.0, 0.2, 0.0, 0.1]]).double()


def draw(count: int, size: int = 6, seed: int = 0) -> Tensor:
    return torch.rand((count, size), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- the kernel


def integrate(one: float, other: float, between: float) -> tuple[float, float]:
    """E[erf(u) erf(v)] and E[erf′(u) erf′(v)] of normal u and v by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    root = np.linalg.cholesky([[one, between], [between, other]])
    u, v = root[0, 0] * nodes[:, None] + 0 * nodes, root[1, 0] * nodes[:, None] + root[1, 1] * nodes
    mass = weights[:, None] * weights / (2 * np.pi)
    erf = lambda x: torch.erf(torch.from_numpy(x)).numpy()  # noqa: E731
    slopes = 4 / np.pi * np.exp(-(u**2) - v**2)
    return float((mass * erf(u) * erf(v)).sum()), float((mass * slopes).sum())


@pytest.mark.parametrize("network", [NETWORK, SMALL])
def test_the_kernel_is_what_quadrature_of_each_layer_gives(network: WideNetwork) -> None:
    x, y = FAR[0], FAR[2]
    sigma = {"xx": float(x @ x) / 4, "yy": float(y @ y) / 4, "xy": float(x @ y) / 4}
    theta = 0.0
    for _ in range(network.layers):
        sigma = {key: network.weight_variance * value + network.bias_variance for key, value in sigma.items()}
        activations, slopes = integrate(sigma["xx"], sigma["yy"], sigma["xy"])
        theta = (sigma["xy"] + network.weight_variance * theta) * slopes
        eps = 1e-13  # of a pair with itself the covariance has no root
        sigma = {
            "xx": integrate(sigma["xx"], sigma["xx"], sigma["xx"] * (1 - eps))[0],
            "yy": integrate(sigma["yy"], sigma["yy"], sigma["yy"] * (1 - eps))[0],
            "xy": activations,
        }
    assert tangent_kernel(x[None], y[None], network).item() == pytest.approx(theta, rel=1e-7)


def estimate(inputs: Tensor, network: WideNetwork, width: int, draws: int) -> tuple[Tensor, Tensor]:
    """Products of the parameters' gradients of finite networks with one output: mean and standard error, [n, n]."""
    generator, found = torch.Generator().manual_seed(1), []
    widths = [inputs.shape[1], *[width] * (network.layers - 1), 1]
    for _ in range(draws // 100):
        weights, biases = (
            [
                torch.randn((100, rows, columns), generator=generator, dtype=torch.float64).requires_grad_()
                for rows, columns in zip(tall, widths[1:], strict=True)
            ]
            for tall in (widths[:-1], [1] * network.layers)
        )
        gradients = []
        for x in inputs:
            values = x.expand(100, 1, -1)
            for weight, bias in zip(weights, biases, strict=True):
                scale = (network.weight_variance / weight.shape[1]) ** 0.5
                values = torch.erf(values @ weight * scale + bias * network.bias_variance**0.5)
            own = torch.autograd.grad(values.sum(), [*weights, *biases])
            gradients.append(torch.cat([each.flatten(1) for each in own], 1))
        stacked = torch.stack(gradients, 1)
        found.append(stacked @ stacked.transpose(1, 2))
    every = torch.cat(found)
    return every.mean(0), every.std(0) / len(every) ** 0.5


@pytest.mark.parametrize(("network", "width"), [(NETWORK, 64), (SMALL, 96)])
def test_the_kernel_is_the_mean_of_that_of_wide_networks(network: WideNetwork, width: int) -> None:
    """Within 4 standard errors of 2,000 draws, about 8 %, and 2/width for what is finite of them."""
    mean, error = estimate(FAR, network, width, 2000)
    kernel = tangent_kernel(FAR, FAR, network)
    assert (error < 0.03 * kernel).all(), "too few draws would say nothing"
    assert ((mean - kernel).abs() <= 4 * error + 2 / width * kernel).all(), (mean / kernel, error / kernel)


@given(st.integers(0, 2**31), st.integers(1, 12), st.sampled_from([NETWORK, SMALL]))
@settings(max_examples=30)
def test_the_kernel_is_symmetric_and_positive(seed: int, count: int, network: WideNetwork) -> None:
    inputs = draw(count, seed=seed)
    inputs[-1] = inputs[0]  # equal images
    kernel = tangent_kernel(inputs, inputs, network)
    torch.testing.assert_close(kernel, kernel.T, rtol=1e-13, atol=0)
    assert torch.linalg.eigvalsh(kernel).min() >= -1e-12 * kernel.diagonal().sum()
    assert (kernel[0] == kernel[-1]).all()
    rows = tangent_kernel(inputs[: count // 2 + 1], inputs, network)
    torch.testing.assert_close(rows, kernel[: count // 2 + 1], rtol=1e-13, atol=0)


def test_kernel_and_gradient_do_not_depend_on_the_parts_they_are_computed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def compute() -> tuple[Tensor, ...]:
        rows, columns = (draw(7, seed=1).requires_grad_(), draw(5, seed=2).requires_grad_())
        kernel = tangent_kernel(rows, columns, NETWORK)
        return kernel, *torch.autograd.grad((kernel * torch.arange(35.0).reshape(7, 5)).sum(), (rows, columns))

    whole = compute()
    monkeypatch.setattr(neural_tangent, "_AT_ONCE", 10)  # two rows, and one at the end
    torch.testing.assert_close(compute(), whole, rtol=1e-13, atol=1e-15)


# --- functions of eigenvalues


def exactly(function: str, a: float, b: float) -> float:
    """φ(a), or its divided difference, in 150 digits."""
    with localcontext() as context:
        context.prec = 150
        x, y = Decimal(a), Decimal(b)
        value = [(1 - (-z).exp()) / z if z else Decimal(1) for z in (x, y)]
        if function == "phi":
            return float(value[0])
        if a == b:
            return float(((-x).exp() * (1 + x) - 1) / x**2 if x else Decimal("-0.5"))
        return float((value[0] - value[1]) / (x - y))


spectrum = st.one_of(st.floats(0, 1e-3), st.floats(0, 0.3), st.floats(0, 30), st.floats(0, 1e6)).map(
    lambda z: z if z > 1e-20 else 0.0
)


@given(spectrum, spectrum, st.sampled_from([0.0, 1e-12, 1e-6, 1e-2]))
@settings(max_examples=300)
def test_divided_differences_lose_no_digits(a: float, b: float, gap: float) -> None:
    """Of values far apart, close together, equal, and near 0, where plain differences cancel."""
    for other in (b, a * (1 + gap)):
        found = divided_phi(torch.tensor([a, other], dtype=torch.float64))
        assert found[0, 1].item() == found[1, 0].item() == pytest.approx(exactly("divided", a, other), rel=1e-12)
        assert found[0, 0].item() == pytest.approx(exactly("divided", a, a), rel=1e-12)
    assert phi(torch.tensor(a, dtype=torch.float64)).item() == pytest.approx(exactly("phi", a, a), rel=1e-14)


# --- training


TRAIN, TEST = draw(8, seed=3), draw(5, seed=4)
LABELS = torch.eye(3, dtype=torch.float64)[torch.arange(8) % 3]


def follow(time: float, ridge: float, steps: int = 4000) -> Tensor:
    """Gradient flow on ½ · the mean squared error, step by step by Runge and Kutta's method: answers on TEST."""
    kernel, across = tangent_kernel(TRAIN, TRAIN, NETWORK), tangent_kernel(TEST, TRAIN, NETWORK)
    kernel = kernel + ridge * kernel.trace() / 8 * torch.eye(8, dtype=torch.float64)
    both, step = torch.cat([kernel, across]) / LABELS.numel(), time / steps
    answers = torch.zeros((13, 3), dtype=torch.float64)

    def slope(now: Tensor) -> Tensor:
        return both @ (LABELS - now[:8])

    for _ in range(steps):
        first = slope(answers)
        second = slope(answers + step / 2 * first)
        third = slope(answers + step / 2 * second)
        answers = answers + step / 6 * (first + 2 * second + 2 * third + slope(answers + step * third))
    return answers[8:]


@pytest.mark.parametrize(("time", "ridge"), [(0.5, 0.0), (20.0, 1e-2), (300.0, 1e-4)])
def test_the_prediction_is_where_gradient_flow_has_come_to(time: float, ridge: float) -> None:
    torch.testing.assert_close(
        predict(TRAIN, LABELS, TEST, time, NETWORK, ridge), follow(time, ridge), rtol=1e-8, atol=0
    )


def test_nothing_is_learnt_at_first_and_in_the_end_it_is_regression() -> None:
    assert (predict(TRAIN, LABELS, TEST, 0.0, NETWORK, 1e-4) == 0).all()
    kernel = tangent_kernel(TRAIN, TRAIN, NETWORK)
    ridged = kernel + 1e-3 * kernel.trace() / 8 * torch.eye(8, dtype=torch.float64)
    regression = tangent_kernel(TEST, TRAIN, NETWORK) @ torch.linalg.solve(ridged, LABELS)
    torch.testing.assert_close(predict(TRAIN, LABELS, TEST, 1e9, NETWORK, 1e-3), regression, rtol=1e-9, atol=1e-12)
    own = predict(TRAIN, LABELS, TRAIN, 1e9, NETWORK, 0.0)
    torch.testing.assert_close(own, LABELS, rtol=0, atol=1e-6)


@pytest.mark.parametrize("time", [1e-3, 20.0, 4096.0, 1e8])
def test_the_gradient_is_that_of_finite_differences(time: float) -> None:
    """With two equal inputs, and so with a kernel that has no rank for all."""
    train = draw(6, seed=5)
    train[3] = train[1]
    targets, test = LABELS[:6], TEST[:3]

    def answer(inputs: Tensor) -> Tensor:
        return predict(inputs, targets, test, time, NETWORK, 0.05)

    assert torch.autograd.gradcheck(answer, train.requires_grad_(), eps=1e-5, atol=1e-8, rtol=1e-5)


def test_the_gradient_is_right_where_all_eigenvalues_are_equal() -> None:
    kernel = 3.0 * torch.eye(4, dtype=torch.float64)

    def answer(change: Tensor) -> Tensor:
        return learn(kernel + change + change.T, LABELS[:4], 0.7)

    start = torch.zeros((4, 4), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(answer, start, eps=1e-5, atol=1e-9, rtol=1e-6)
    assert torch.isfinite(torch.autograd.grad(answer(start).sum(), start)[0]).all()
