"""What networks take: the solver and victims beside the plain reference, and the device's own rate."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from rem_release.audit.victim import train_victim
from rem_release.bench.reference import plain_noise_step, plain_victim_step
from rem_release.bench.timing import Pair, Work, compare
from rem_release.commands.audit_plan import torch_threads
from rem_release.core.captured import Captured, recorder_of
from rem_release.core.draws import Draws
from rem_release.core.pgd import frozen_in_eval_mode
from rem_release.core.solver import NoiseSettings, min_max_noise
from rem_release.models import build_model
from rem_release.threats.images import TrainingImages
from rem_release.threats.threat import parse_threat
from rem_release.training.memory import memory_kept
from rem_release.training.precision import Execution, Precision, prepare_model, use_precision
from rem_release.training.probe import Choice, count_operations, list_choices, measure_gradient
from rem_release.verdict.plan import Task
from rem_release.verdict.recipe import load_audit_recipe, parse_architecture

_CLASSES, _SIDE = 10, 32
_SEED = 0
_EVERYTHING = 1e18
"""floating-point operations of a run that every way is worth a measurement for"""
_HOPELESS = 0.5
"""of the rate of the first way; what is slower in a first look is not measured again"""
_STEPS, _FIRST = 40, 5
"""of a victim, and those that do not count: a GPU records one of them. Nor does the last, behind which it is tested."""


@dataclass(frozen=True)
class Way:
    """The solver, computed in one way."""

    precision: Precision
    execution: Execution
    is_captured: bool
    """as a CUDA graph"""
    pair: Pair | None
    """gradients a second; None where a first look was enough"""
    first_look: float
    """gradients a second in one gradient of the batch"""
    share: float | None
    """of the device's rate of products of matrices in that precision"""
    peak_bytes: int | None
    """of a GPU's memory"""


@dataclass(frozen=True)
class Solved:
    """The solver on one network."""

    network: str
    batch: int
    settings: NoiseSettings
    operations: int
    """floating-point operations of one input gradient"""
    ways: list[Way]

    @property
    def best(self) -> Way:
        """The fastest one."""
        return max(self.ways, key=lambda way: way.pair.rate.median if way.pair else 0.0)


def multiply(device: torch.device, precision: Precision) -> tuple[Work, float]:
    """A product of two large square matrices in a precision, and its floating-point operations.

    On a CPU by a convolution of 1 × 1: the library of convolutions, which some processors are faster with.
    """
    side = 8192 if device.type == "cuda" else 2048
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.full((side, side), 0.5, device=device, dtype=dtype) for _ in range(2))
    image = a.reshape(1, 64, side // 64, side).permute(0, 3, 1, 2)  # channels last
    weights = b.reshape(side, side, 1, 1).to(memory_format=torch.channels_last)

    def work() -> None:
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        (a @ b if device.type == "cuda" else F.conv2d(image, weights)[0, 0])[0, 0].item()
        torch.backends.cuda.matmul.allow_tf32 = False

    return work, 2 * side**3


def measure_solver(network: str, noise: NoiseSettings, batch: int, device: torch.device) -> Solved:
    """One step of the noise in every way that there is, in turns with the plain one and with products of matrices.

    Args:
        network: by name, for 32 × 32.
        noise: of which K_u is 1.
        batch: images.
        device: where.
    """
    images, labels = _draw_images(batch, device)
    plain = build_model(network, _CLASSES, _SIDE, _SEED).to(device).eval()
    operations = count_operations(build_model(network, _CLASSES, _SIDE, _SEED), _SIDE)
    generator, gradients = torch.Generator().manual_seed(_SEED), batch * noise.gradients_per_image

    def run_plain() -> None:
        use_precision("fp32")
        with frozen_in_eval_mode(plain):
            plain_noise_step(plain, images, labels, torch.zeros_like(images), noise, generator).sum().item()

    looks: list[tuple[Way, Work]] = []
    for choice in [list_choices("auto", "eager", device, 0)[0], *list_choices("auto", "auto", device, _EVERYTHING)]:
        for is_captured in [False, True] if device.type == "cuda" and choice.execution != "eager" else [False]:
            rival = batch / looks[0][0].first_look if looks else None
            looks.append(_look(network, choice, is_captured, images, labels, noise, rival))
    least = _HOPELESS * looks[0][0].first_look
    ways = [(way, work if way.first_look > least else None) for way, work in looks]
    precisions = sorted({way.precision for way, work in ways if work is not None})
    works = [(work, float(gradients)) for _, work in ways if work is not None]
    pairs = compare([(run_plain, gradients), *works, *(multiply(device, precision) for precision in precisions)])
    products = dict(zip(precisions, pairs[len(works) :], strict=True))
    measured, finished = iter(pairs), []
    for way, work in ways:
        pair = next(measured) if work is not None else None
        # round by round, for both ratios have the same reference
        share = pair.ratio.median / products[way.precision].ratio.median * operations if pair else None
        finished.append(replace(way, pair=pair, share=share, peak_bytes=_peak(device, work)))
    return Solved(network, batch, noise, operations, finished)


def _look(
    network: str,
    choice: Choice,
    is_captured: bool,
    images: Tensor,
    labels: Tensor,
    noise: NoiseSettings,
    rival: float | None,
) -> tuple[Way, Work]:
    """A way, measured once, and its step of the noise."""
    plain = build_model(network, _CLASSES, _SIDE, _SEED)
    model = prepare_model(plain, images.device, choice.precision, choice.execution)
    look = len(images) / measure_gradient(model, len(images), _SIDE, images.device, is_captured, rival)
    way = Way(choice.precision, choice.execution, is_captured, None, look, None, None)
    solve = _solve(model, images, labels, noise, is_captured)

    def work() -> None:
        use_precision(choice.precision)
        with memory_kept(images.device):
            solve().sum().item()

    return way, work


def _solve(
    model: nn.Module, images: Tensor, labels: Tensor, noise: NoiseSettings, is_captured: bool
) -> Callable[[], Tensor]:
    def function(images: Tensor, labels: Tensor, keys: Tensor, step: Tensor) -> Tensor:
        return min_max_noise(model, images, labels, noise, Draws(_SEED, keys, step))

    keys = torch.arange(len(images), device=images.device)
    step = torch.zeros((), dtype=torch.int64, device=images.device)
    return partial(Captured(function, recorder_of(images.device) if is_captured else None), images, labels, keys, step)


def _peak(device: torch.device, work: Work | None) -> int | None:
    if device.type != "cuda" or work is None:
        return None
    torch.cuda.reset_peak_memory_stats(device)
    work()
    return int(torch.cuda.max_memory_allocated(device))


def measure_victim(network: str, radius: float, accelerator: Accelerator) -> Pair:
    """Training steps a second of a victim of audit-quick, alone, on as many threads as one has there, and of the plain
    training; radius 0 is standard training."""
    device = accelerator.device
    changes = {"victim.least_steps": str(_STEPS), "victim.epochs": "1", "victim.evaluations": "1"}
    recipe = load_audit_recipe("audit-quick", changes)
    size = recipe.victim.batch_size
    images, labels = _draw_images(4 * size, device)
    threat = parse_threat(f"pgd(radius={round(255 * radius)}/255)" if radius else "standard")
    task = Task(parse_architecture(network), threat, "protected", _SEED)
    levels = (images * 255).to(torch.uint8)
    learnt = TrainingImages(levels, labels, _CLASSES)
    plain = build_model(network, _CLASSES, _SIDE, _SEED).to(device)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    generator = torch.Generator().manual_seed(_SEED)

    def run_plain() -> float:
        began = time.perf_counter()
        for step in range(_STEPS):
            batch = slice(step % 4 * size, (step % 4 + 1) * size)
            steps = recipe.adversary.steps
            plain_victim_step(plain, optimizer, images[batch], labels[batch], radius, steps, generator)
        plain(images[:1]).sum().item()
        return time.perf_counter() - began

    def run() -> float:
        times: list[float] = []

        def note(step: int, steps: int) -> None:
            if step in (_FIRST, _STEPS - 1):
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                times.append(time.perf_counter())

        train_victim(accelerator, task, recipe, learnt, len(learnt), levels[:size], labels[:size], note)
        return (times[1] - times[0]) * _STEPS / (_STEPS - 1 - _FIRST)

    with torch_threads(1 if device.type == "cpu" else torch.get_num_threads()):
        return compare([(run_plain, _STEPS), (run, _STEPS)])[0]


def _draw_images(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(_SEED)
    images = torch.rand(count, 3, _SIDE, _SIDE, generator=generator).to(device)
    return images, (torch.arange(count) % _CLASSES).to(device)
