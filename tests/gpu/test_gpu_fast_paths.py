"""What a GPU records and replays gives what the function gives; folded and compiled networks, the same gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rem_release.core.captured import Captured, recorder_of
from rem_release.core.draws import Draws
from rem_release.core.frozen import frozen
from rem_release.core.pgd import input_gradient
from rem_release.core.solver import min_max_noise
from rem_release.errors import NonFiniteLossError
from rem_release.models import build_model
from rem_release.training import loop
from rem_release.training.loop import Schedule, train
from rem_release.training.precision import Execution, Precision, prepare_model
from rem_release.training.runtime import start
from tests.gpu import GPU, on_gpu
from tests.test_core_solver import REM

pytestmark = on_gpu

IDS = torch.arange(32) * 7919 + 13
PRECISIONS: list[Precision] = ["tf32", "bf16"]


def images_and_labels(count: int = 32, seed: int = 0) -> tuple[Tensor, Tensor]:
    images = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return images.to(GPU), (torch.arange(count) % 10).to(GPU)


def network(name: str, precision: Precision, execution: Execution = "folded") -> nn.Module:
    return prepare_model(build_model(name, 10, 32, 0), GPU, precision, execution)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["small_resnet", "resnet18"])
def test_replayed_noise_is_the_noise_to_the_bit(name: str, precision: Precision) -> None:
    model, keys = network(name, precision), IDS.to(GPU)

    def solve(images: Tensor, labels: Tensor, step: Tensor) -> Tensor:
        return min_max_noise(model, images, labels, REM, Draws(3, keys, step))

    captured = Captured(solve, recorder_of(GPU))
    for number in range(5):
        (images, labels), step = images_and_labels(seed=number), torch.full((), number, device=GPU)
        assert torch.equal(captured(images, labels, step), solve(images, labels, step)), number
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.01)


def test_what_waits_for_the_device_is_called_as_it_is() -> None:
    """And does not keep anything else from being recorded."""
    captured = Captured(lambda x: x * int(x.sum()), recorder_of(GPU))
    assert captured(torch.full((2,), 1.0, device=GPU)).tolist() == [2.0, 2.0]
    with pytest.warns(UserWarning, match="nothing could be recorded"):
        found = captured(torch.full((2,), 3.0, device=GPU))
    assert found.tolist() == [18.0, 18.0]
    assert captured(torch.full((2,), 4.0, device=GPU)).tolist() == [32.0, 32.0]
    other = Captured(lambda x: 2 * x, recorder_of(GPU))
    for number in range(5):
        assert other(torch.full((2,), float(number), device=GPU)).tolist() == [2.0 * number] * 2
    assert not other.is_given_up


SCHEDULE = Schedule(
    steps=12, batch_size=16, learning_rate=0.1, momentum=0.9, weight_decay=5e-4, decay_every=8, decay=0.1
)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_recorded_training_ends_with_the_bytes_of_one_that_is_not(
    precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = images_and_labels(40)

    def loss_of(model: nn.Module, wrapped: nn.Module, indices: Tensor, step: int | Tensor) -> Tensor:
        return F.cross_entropy(wrapped(images[indices]), labels[indices])

    recorded, plain = network("small_resnet", precision), network("small_resnet", precision)
    train(start(), recorded, SCHEDULE, 40, 0, loss_of)
    monkeypatch.setattr(loop, "recorder_of", lambda device: None)
    train(start(), plain, SCHEDULE, 40, 0, loss_of)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(recorded.state_dict()[name], tensor), name


def test_a_loss_that_is_not_finite_ends_a_recorded_training() -> None:
    images, labels = images_and_labels(40)

    def loss_of(model: nn.Module, wrapped: nn.Module, indices: Tensor, step: int | Tensor) -> Tensor:
        factor = torch.where(torch.as_tensor(step, device=GPU) == 6, torch.inf, 1.0)
        return F.cross_entropy(wrapped(images[indices]), labels[indices]) * factor

    with pytest.raises(NonFiniteLossError, match=r"inf at step 6"):
        train(start(), network("small_resnet", "tf32"), SCHEDULE, 40, 0, loss_of)


@pytest.mark.parametrize("execution", ["folded", "compiled"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_gradients_point_where_those_of_float32_do(precision: Precision, execution: Execution) -> None:
    """To the share of signs that rounding leaves."""
    images, labels = images_and_labels()

    def signs(model: nn.Module) -> Tensor:
        with frozen(model) as network:
            moving = images.clone().requires_grad_()
            return input_gradient(network, moving, labels, moving).sign()

    expected = signs(network("resnet18", "fp32", "eager"))
    found = signs(network("resnet18", precision, execution))
    assert (found == expected).float().mean() > (0.95 if precision == "tf32" else 0.85)
