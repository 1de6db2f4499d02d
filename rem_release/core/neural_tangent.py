"""The mean prediction of infinitely wide networks that gradient descent trains, in closed form.

Networks of `layers` times an affine map and erf, in the NTK parametrisation: weights N(0, weight_variance / fan-in),
biases N(0, bias_variance). Of the infinite width both covariances are known in closed form:

    Σ(x, x′), that of the activations    (Williams, NIPS 1996, for erf)
    Θ(x, x′), the neural tangent kernel  (Jacot, Gabriel and Hongler, NeurIPS 2018)

and gradient descent on the mean squared error keeps Θ, so that the ensemble's mean after training time t is a function
of kernels alone (Lee et al., NeurIPS 2019, Eq. 10 and 11). Everything here is float64.
"""

from dataclasses import dataclass
from math import factorial, pi
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_AT_ONCE = 1 << 17
"""values of the kernel whose intermediate ones are held at a time"""
_SMALL, _TERMS = 0.1, 11
"""below, a power series of so many terms is exact to rounding, and the closed form is not"""


@dataclass(frozen=True, kw_only=True)
class WideNetwork:
    """The networks of the ensemble; the numbers are those of NTGA's published surrogate (Yuan and Wu, ICML 2021)."""

    layers: int = 5
    weight_variance: float = 1.76
    bias_variance: float = 0.18


def tangent_kernel(rows: Tensor, columns: Tensor, network: WideNetwork) -> Tensor:
    """Θ(x, x′) for inputs [m, d] and [n, d]: float64 [m, n], differentiable in both."""
    size = rows.shape[1]
    left, right = (torch.einsum("id,id->i", each, each) / size for each in (rows, columns))
    return _Layers.apply(rows @ columns.T / size, left, right, network)


class _Layers(torch.autograd.Function):
    """`_pass_layers` a few rows at a time; what lies between Σ and Θ is computed again for the gradient."""

    @staticmethod
    def forward(ctx: Any, products: Tensor, left: Tensor, right: Tensor, network: WideNetwork) -> Tensor:
        ctx.save_for_backward(products, left, right)
        ctx.network, ctx.rows = network, max(1, _AT_ONCE // len(right))
        parts = zip(products.split(ctx.rows), left.split(ctx.rows), strict=True)
        return torch.cat([_pass_layers(part, own, right, network) for part, own in parts])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        products, left, right = ctx.saved_tensors
        found, found_left, found_right = torch.empty_like(products), torch.empty_like(left), torch.zeros_like(right)
        for first in range(0, len(left), ctx.rows):
            part = slice(first, first + ctx.rows)
            with torch.enable_grad():
                between, own, other = (each.detach().requires_grad_() for each in (products[part], left[part], right))
                tangent = _pass_layers(between, own, other, ctx.network)
            inputs = (between, own, other)
            found[part], found_left[part], of_right = torch.autograd.grad(tangent, inputs, gradient[part])
            found_right += of_right
        return found, found_left, found_right, None


def _pass_layers(products: Tensor, left: Tensor, right: Tensor, network: WideNetwork) -> Tensor:
    """Θ [m, n] from Σ of the inputs: between both [m, n], of each with itself [m] and [n]."""
    tangent = torch.zeros_like(products)
    for _ in range(network.layers):
        products, left, right = (
            network.weight_variance * each + network.bias_variance for each in (products, left, right)
        )
        spread = (1 + 2 * left).unsqueeze(1) * (1 + 2 * right)
        slopes = 4 / pi * (spread - 4 * products.square()).rsqrt()  # the mean of erf′ · erf′
        tangent = (products + network.weight_variance * tangent) * slopes
        products = 2 / pi * torch.asin(2 * products * spread.rsqrt())  # the mean of erf · erf
        left, right = (2 / pi * torch.asin(2 * each / (1 + 2 * each)) for each in (left, right))
    return tangent


def predict(train: Tensor, targets: Tensor, test: Tensor, time: float, network: WideNetwork, ridge: float) -> Tensor:
    """What the ensemble answers on average after training: Θ(test, train) Θ⁻¹ (I − exp(−Θ t / nC)) Y, float64 [m, C].

    Its mean before training is 0. Gradient descent is of ½ · the mean over all n·C values of the squared error.

    Args:
        train: inputs float64 [n, d], differentiable.
        targets: Y, float64 [n, C].
        test: inputs float64 [m, d].
        time: t, training time: steps times learning rate.
        network: of the ensemble.
        ridge: added to the diagonal of Θ = Θ(train, train), as a part of its mean.
    """
    kernel = tangent_kernel(train, train, network)
    ridged = kernel + ridge * kernel.diagonal().mean() * torch.eye(
        len(kernel), dtype=kernel.dtype, device=kernel.device
    )
    return tangent_kernel(test, train, network) @ learn(ridged, targets, time / targets.numel())


def learn(kernel: Tensor, targets: Tensor, time: float) -> Tensor:
    """What gradient flow multiplies kernels with: Θ⁻¹ (I − exp(−Θ t)) Y for symmetric Θ [n, n] and Y [n, C].

    The gradient is exact and stable, also where eigenvalues are equal (Daleckii and Krein, 1965).
    """
    return _Learn.apply(kernel, targets, time)


class _Learn(torch.autograd.Function):
    """t φ(Θ t) Y with φ(z) = (1 − e^−z) / z."""

    @staticmethod
    def forward(ctx: Any, kernel: Tensor, targets: Tensor, time: float) -> Tensor:
        values, vectors = torch.linalg.eigh(kernel)
        turned, values = vectors.T @ targets, values * time
        ctx.save_for_backward(values, vectors, turned)
        ctx.time = time
        return vectors @ (time * phi(values).unsqueeze(1) * turned)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        values, vectors, turned = ctx.saved_tensors
        inner = ctx.time**2 * divided_phi(values) * ((vectors.T @ gradient) @ turned.T)
        return vectors @ inner @ vectors.T, None, None


def phi(z: Tensor) -> Tensor:
    """(1 − e^−z) / z, and 1 at 0."""
    return torch.where(z == 0, 1.0, -torch.expm1(-z) / torch.where(z == 0, 1.0, z))


def divided_phi(z: Tensor) -> Tensor:
    """(φ(a) − φ(b)) / (a − b), and φ′(a) where they are equal, for all pairs of values from 0 up: [n] → [n, n].

    1 − e^−z = z φ(z), and by Leibniz' rule for divided differences e^−b φ(a − b) = a φ[a, b] + φ(b), where nothing
    cancels if a is the larger one and not small.
    """
    a, b = torch.maximum(z.unsqueeze(1), z), torch.minimum(z.unsqueeze(1), z)
    closed = (torch.exp(-b) * phi(a - b) - phi(b)) / torch.where(a < _SMALL, 1.0, a)
    return torch.where(a < _SMALL, _series(a, b), closed)


def _series(a: Tensor, b: Tensor) -> Tensor:
    """The same for small values: of z^k the divided difference is a^(k−1) + a^(k−2) b + ... + b^(k−1)."""
    total, powers, last = torch.zeros_like(a), torch.ones_like(a), torch.ones_like(b)
    for k in range(1, _TERMS + 1):
        total += (-1) ** k / factorial(k + 1) * powers
        last = last * b
        powers = a * powers + last
    return total
