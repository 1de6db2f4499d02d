"""Which precision and execution are fastest on a device for one network and one batch, found by a short measurement.

On two cores with AVX-512 and bf16 a ResNet-18 is computed 2.3 times as fast in bf16 as in float32, on cores with AVX2
alone 18 times more slowly: what is faster cannot be guessed. A run that is short takes no probe.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rem_release.core.captured import Captured, recorder_of
from rem_release.core.frozen import frozen
from rem_release.core.pgd import input_gradient
from rem_release.training.memory import memory_kept
from rem_release.training.precision import Execution, Precision, prepare_model

_LONG = 1e13
"""floating-point operations; two cores take a minute or two for so many"""
_VERY_LONG = 1e17
"""ten minutes or more on a large GPU; torch.compile takes one to begin with"""
_MARGIN = 1.2
"""times as fast as the precision with more bits, at least"""
_IMAGES = 64
"""on a CPU, whose rate depends little on more"""
_ROUNDS = 3
_BEFORE = {"cpu": 1, "cuda": 3}
"""rounds that do not count, in which libraries are loaded and a CUDA graph is recorded"""
_WORTH, _FEW, _HOPELESS = 0.1, 8, 4
"""where a rival takes more seconds, an eighth of the images is tried first; who is 4 times slower is not measured on"""


@dataclass(frozen=True)
class Choice:
    """A way to compute a network, and what was measured of it.

    Attributes:
        precision: resolved.
        execution: resolved.
        rate: sample gradient evaluations a second; None without a measurement.
    """

    precision: Precision
    execution: Execution
    rate: float | None = None


def count_operations(model: nn.Module, resolution: int) -> int:
    """Floating-point operations of one input gradient, twice those of the forward pass: of convolutions and linear
    layers. (torch's own counter leaves a folder of its compiler in the temporary one.)"""
    counted: list[int] = []

    def count(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        places = output.numel() // layer.weight.shape[0]
        counted.append(2 * places * layer.weight.numel())

    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, resolution, resolution))
    for hook in hooks:
        hook.remove()
    return 2 * sum(counted)


def list_choices(precision: Precision, execution: Execution, device: torch.device, operations: float) -> list[Choice]:
    """What is worth a measurement, the one with most bits first.

    Args:
        precision: `auto`, or the one that it has to be.
        execution: likewise.
        device: where.
        operations: floating-point operations of the whole run.
    """
    plain: Precision = "tf32" if device.type == "cuda" else "fp32"
    precisions: list[Precision] = [precision] if precision != "auto" else [plain]
    executions: list[Execution] = [execution] if execution != "auto" else ["folded"]
    if precision == "auto" and operations >= _LONG:
        precisions.append("bf16")
    if execution == "auto" and operations >= _VERY_LONG and device.type == "cuda":
        executions.append("compiled")
    return [Choice(each, way) for each in precisions for way in executions]


def choose(
    choices: Sequence[Choice], build: Callable[[], nn.Module], resolution: int, batch_size: int, device: torch.device
) -> list[Choice]:
    """Measure the choices, and sort them, see `sort_measured`.

    Args:
        choices: at least one; a single one is not measured. One that fails is left out.
        build: makes the network, new each time.
        resolution: R.
        batch_size: images whose gradients are computed at once in the run.
        device: where.
    """
    if len(choices) == 1:
        return list(choices)
    count = max(1, batch_size if device.type == "cuda" else min(batch_size, _IMAGES))
    measured: list[Choice] = []
    for choice in choices:
        rival = count / _rate(measured[0]) if measured else None
        try:
            model = prepare_model(build(), device, choice.precision, choice.execution)
            rate = count / measure_gradient(model, count, resolution, device, rival=rival)
        except RuntimeError:  # no compiler for what is compiled, too little memory
            if not measured:
                return [choice]  # the run itself says it better
            continue
        measured.append(Choice(choice.precision, choice.execution, rate))
    return sort_measured(measured)


def sort_measured(measured: Sequence[Choice]) -> list[Choice]:
    """The best first, the others by their rate; the first of those given stays unless another is 1.2 times as fast."""
    rates = [_rate(each) for each in measured]
    rates[0] *= _MARGIN
    best = measured[rates.index(max(rates))]
    return [best, *sorted((each for each in measured if each is not best), key=_rate, reverse=True)]


def measure_gradient(
    model: nn.Module,
    count: int,
    resolution: int,
    device: torch.device,
    records: bool = True,
    rival: float | None = None,
) -> float:
    """Seconds of the input gradients of a batch of a prepared network, as PGD computes them: the median of some.

    Args:
        model: on the device.
        count: images of the batch.
        resolution: R.
        device: where.
        records: as a CUDA graph, where there are some.
        rival: seconds of another way. On a CPU one that is hopelessly slower is not measured to the end.
    """
    images = torch.linspace(0, 1, count * 3 * resolution**2, device=device).reshape(count, 3, resolution, resolution)
    labels = torch.zeros(count, dtype=torch.int64, device=device)

    def compute(images: Tensor, labels: Tensor) -> Tensor:
        with frozen(model) as network:
            moving = images.detach().requires_grad_()
            return input_gradient(network, moving, labels, moving)

    captured = Captured(compute, recorder_of(device) if records else None)
    few = max(1, count // _FEW)
    with memory_kept(device):
        if rival and rival > _WORTH and device.type == "cpu":
            taken = min(_seconds(captured, images[:few], labels[:few]) for _ in range(2)) * count / few
            if taken > _HOPELESS * rival:
                return taken
        seconds = [_seconds(captured, images, labels) for _ in range(_BEFORE[device.type] + _ROUNDS)]
    return sorted(seconds[-_ROUNDS:])[_ROUNDS // 2]


def _seconds(captured: Captured, images: Tensor, labels: Tensor) -> float:
    began = time.perf_counter()
    captured(images, labels).sum().item()  # waits for the device
    return time.perf_counter() - began


def _rate(choice: Choice) -> float:
    assert choice.rate is not None
    return choice.rate
