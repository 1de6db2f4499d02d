"""A network while inputs are optimised: its folded copy is the same function, renewed, and leaves the network alone."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rem_release.core.frozen import FoldedCopy, FoldingError, fold, frozen
from rem_release.core.pgd import input_gradient
from rem_release.models import MODELS, build_model
from rem_release.models.build import Centred
from rem_release.training.precision import prepare_model

CPU = torch.device("cpu")
SLOW = {"wide_resnet34_10", "densenet121", "resnet50"}


def lived(model: nn.Module, resolution: int = 32) -> nn.Module:
    """A network whose BatchNorm has seen something: statistics, scales and shifts of their own."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.3, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.3, generator=generator)
    return model


def gradient(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    moving = images.clone().requires_grad_()
    return input_gradient(network, moving, labels, moving)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in MODELS])
def test_the_folded_copy_is_the_same_function(name: str) -> None:
    """In double precision, where rounding cannot hide a difference: answers and input gradients."""
    model = lived(build_model(name, 7, 32, 0)).double().eval()
    images, labels = torch.rand(3, 3, 32, 32).double(), torch.tensor([0, 3, 6])
    copied = FoldedCopy(model, torch.float64)
    copied.renew()
    # `forward` answers in float32, for products of float32 networks
    torch.testing.assert_close(copied.network(images), model(images), rtol=1e-9, atol=1e-9)
    expected = gradient(model, images, labels)
    torch.testing.assert_close(gradient(copied.network, images, labels), expected, rtol=1e-8, atol=1e-12)


def test_batchnorm_is_gone_where_a_convolution_stands_before_it() -> None:
    def count(network: nn.Module) -> int:
        return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())

    model = build_model("small_resnet", 4, 16, 0)
    assert count(model) == 9
    assert count(FoldedCopy(model, torch.float32)) == 0


class Shared(nn.Module):
    """One convolution, read twice, and one that is called twice: neither can hold a BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        read_twice = self.first(x)
        called_twice = self.norms[1](self.second(x)) + self.norms[2](self.second(read_twice))
        return (self.norms[0](read_twice) + read_twice + called_twice).mean((2, 3))


def test_a_convolution_that_something_else_reads_keeps_its_weights() -> None:
    model = lived(Shared()).eval()
    copied, images = FoldedCopy(model, torch.float32), torch.rand(2, 3, 4, 4)
    copied.renew()
    torch.testing.assert_close(copied(images), model(images))


class Branching(nn.Module):
    """What torch.fx cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer(x).mean((2, 3))
        return out if out.sum() > 0 else -out


def test_a_network_that_cannot_be_followed_is_computed_as_it_is() -> None:
    model = Branching()
    with pytest.raises(FoldingError):
        FoldedCopy(model, torch.float32)
    assert not fold(model, torch.float32)
    with frozen(model) as network:
        assert network is model


def test_the_copy_follows_the_weights_and_statistics() -> None:
    """A step of training changes both; the next time the copy answers as the network does."""
    model = prepare_model(lived(build_model("small_resnet", 4, 16, 0)), CPU, "fp32")
    images, labels = torch.rand(8, 3, 16, 16), torch.arange(8) % 4
    with frozen(model) as network:
        before = network(images)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    model.train()
    F.cross_entropy(model(images), labels).backward()
    optimizer.step()
    with frozen(model) as network:
        after, expected = network(images), model(images)
    assert not torch.allclose(before, after, atol=1e-3)
    torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-5)


def test_the_network_is_left_as_it_was() -> None:
    model = prepare_model(build_model("small_vgg", 4, 16, 0), CPU, "fp32").train()
    before = copy.deepcopy(model.state_dict())
    images, labels = torch.rand(4, 3, 16, 16), torch.arange(4)
    with frozen(model) as network:
        assert not model.training
        gradient(network, images, labels)
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_a_deep_copy_of_a_network_is_not_computed_by_the_copy_of_the_other() -> None:
    model = prepare_model(build_model("small_resnet", 4, 16, 0), CPU, "bf16")
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    with frozen(other) as network:
        assert network(torch.rand(2, 3, 16, 16)).abs().max() == 0


def test_images_stay_float32_until_they_are_centred() -> None:
    """Near white bfloat16 has steps of 1/256, and one of PGD is 0.8/255; about 0.25 it has steps of 1/1024."""
    layer = nn.Conv2d(3, 1, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1))
    model, images = prepare_model(Centred(layer), CPU, "bf16"), torch.rand(2, 3, 8, 8)
    with frozen(model) as network:
        found = network(images)
    assert torch.equal(found, (images[:, :1] - 0.5).bfloat16().float())
    assert not torch.equal(found, (images[:, :1].bfloat16() - 0.5).float())


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in MODELS])
def test_every_network_has_a_copy_in_bf16(name: str) -> None:
    model = prepare_model(lived(build_model(name, 7, 32, 0)), CPU, "bf16")
    images, labels = torch.rand(2, 3, 32, 32), torch.tensor([0, 6])
    with frozen(model) as network:
        assert isinstance(network, FoldedCopy)
        found, plain = network(images), model(images)
        assert gradient(network, images, labels).isfinite().all()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, plain, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_folded_gradient_points_where_the_plain_one_does(precision: str) -> None:
    """To the share of signs that rounding leaves: all but some per mille in float32, nine tenths in bfloat16."""
    images, labels = torch.rand(16, 3, 32, 32), torch.arange(16) % 10
    plain = prepare_model(lived(build_model("small_resnet", 10, 32, 0)), CPU, "fp32", "eager")
    with frozen(plain) as network:
        assert network is plain
        expected = gradient(network, images, labels).sign()
    model = prepare_model(lived(build_model("small_resnet", 10, 32, 0)), CPU, precision, "folded")  # type: ignore[arg-type]
    with frozen(model) as network:
        assert isinstance(network, FoldedCopy)
        found = gradient(network, images, labels).sign()
    share = (found == expected).float().mean()
    assert share > (0.998 if precision == "fp32" else 0.9)
