"""What networks take: the solver and victims beside the plain reference, and the device's own rate."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from accelerate import Accelerator

from rem_release.audit.victim import train_victim
from rem_release.bench.reference import plain_noise_step, plain_victim_step
from rem_release.bench.timing import Pair, Rate, Work, compare, measure
from rem_release.core.captured import Captured
from rem_release.core.draws import Draws
from rem_release.core.pgd import frozen_in_eval_mode
from rem_release.core.solver import NoiseSettings, min_max_noise
from rem_release.models import build_model
from rem_release.threats.images import TrainingImages
from rem_release.threats.threat import parse_threat
from rem_release.training.memory import memory_kept
from rem_release.training.precision import Execution, Precision, prepare_model
from rem_release.training.probe import count_operations, list_choices, measure_gradient
from rem_release.verdict.plan import Task
from rem_release.verdict.recipe import load_audit_recipe, parse_architecture

_CLASSES, _SIDE = 10, 32
_SEED = 0
_EVERYTHING = 1e18
"""floating-point operations of a run that every way is worth a measurement for"""
_HOPELESS = 0.5
"""of the rate of the first way; what is slower in a first look is not measured again"""
_STEPS = 40
"""of a victim"""
_RADIUS = 4 / 255


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


def measure_products(device: torch.device, precision: Precision) -> Rate:
    """Floating-point operations a second of a product of two large square matrices."""
    side = 8192 if device.type == "cuda" else 2048
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.full((side, side), 0.5, device=device, dtype=dtype) for _ in range(2))

    def multiply() -> None:
        (a @ b)[0, 0].item()

    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        return measure(multiply, 2 * side**3)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def measure_solver(
    network: str, noise: NoiseSettings, batch: int, device: torch.device, products: Callable[[Precision], Rate]
) -> Solved:
    """One step of the noise in every way that there is, in turns with the plain one.

    Args:
        network: by name, for 32 × 32.
        noise: of which K_u is 1.
        batch: images.
        device: where.
        products: rate of products of matrices in a precision.
    """
    images, labels = _draw_images(batch, device)
    plain = build_model(network, _CLASSES, _SIDE, _SEED).to(device).eval()
    operations = count_operations(build_model(network, _CLASSES, _SIDE, _SEED), _SIDE)
    generator, gradients = torch.Generator().manual_seed(_SEED), batch * noise.gradients_per_image

    def run_plain() -> None:
        with frozen_in_eval_mode(plain):
            plain_noise_step(plain, images, labels, torch.zeros_like(images), noise, generator).sum().item()

    choices = [
        (choice, is_captured)
        for choice in [list_choices("auto", "eager", device, 0)[0], *list_choices("auto", "auto", device, _EVERYTHING)]
        for is_captured in ([False, True] if device.type == "cuda" and choice.execution != "eager" else [False])
    ]
    first, works, ways = 0.0, [], []
    for choice, is_captured in choices:
        model = prepare_model(build_model(network, _CLASSES, _SIDE, _SEED), device, choice.precision, choice.execution)
        look = batch / measure_gradient(model, batch, _SIDE, device, is_captured)
        first = first or look
        way = Way(choice.precision, choice.execution, is_captured, None, look, None, None)
        ways.append(way)
        works.append(_solve(model, images, labels, noise, is_captured) if look > _HOPELESS * first else None)
    pairs = iter(compare([(run_plain, gradients), *((work, gradients) for work in works if work)]))
    finished = []
    for way, work in zip(ways, works, strict=True):
        if work is None:
            finished.append(way)
            continue
        pair = next(pairs)
        share = pair.rate.median * operations / products(way.precision).median
        finished.append(replace(way, pair=pair, share=share, peak_bytes=_peak(device, work)))
    return Solved(network, batch, noise, operations, finished)


def _solve(
    model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, noise: NoiseSettings, is_captured: bool
) -> Work:
    keys = torch.arange(len(images), device=images.device)

    def function(images: torch.Tensor, labels: torch.Tensor, keys: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        return min_max_noise(model, images, labels, noise, Draws(_SEED, keys, step))

    captured, step = Captured(function, is_captured), torch.zeros((), dtype=torch.int64, device=images.device)

    def solve() -> None:
        with memory_kept(images.device):
            captured(images, labels, keys, step).sum().item()

    return solve


def _peak(device: torch.device, work: Work) -> int | None:
    if device.type != "cuda":
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

    def run_plain() -> None:
        for step in range(_STEPS):
            batch = slice(step % 4 * size, (step % 4 + 1) * size)
            steps = recipe.adversary.steps
            plain_victim_step(plain, optimizer, images[batch], labels[batch], radius, steps, generator)
        plain(images[:1]).sum().item()

    def run() -> None:
        train_victim(accelerator, task, recipe, learnt, len(learnt), levels[:size], labels[:size])

    with one_thread() if device.type == "cpu" else nullcontext():
        return compare([(run_plain, _STEPS), (run, _STEPS)])[0]


@contextmanager
def one_thread() -> Iterator[None]:
    """As a victim is trained on a CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _draw_images(count: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(_SEED)
    images = torch.rand(count, 3, _SIDE, _SIDE, generator=generator).to(device)
    return images, (torch.arange(count) % _CLASSES).to(device)
