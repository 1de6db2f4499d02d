"""Draws, solver, PGD, precisions and the training loop on a GPU against figures of the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rem_release.core.draws import Draws, Purpose
from rem_release.core.norms import Norm, measure, project, random_start
from rem_release.core.pgd import frozen_in_eval_mode, pgd
from rem_release.core.resampling import DRAW, Resampling, resample
from rem_release.core.solver import min_max_noise
from rem_release.models import build_model
from rem_release.threats.kinds.cutmix import cutmix
from rem_release.threats.kinds.cutout import cutout
from rem_release.threats.kinds.mixup import mixup
from rem_release.threats.kinds.ueraser.augmentation import change_colours, ueraser
from rem_release.training.batches import batch_indices
from rem_release.training.checkpoints import Checkpoint
from rem_release.training.loop import Schedule, train
from rem_release.training.precision import Precision, prepare_model, use_precision
from rem_release.training.pretrained import Enlarged
from rem_release.training.runtime import start
from tests.gpu import CPU, GPU, on_gpu
from tests.test_audit_augmentations import cut_photographs
from tests.test_core_solver import SETTINGS, draw_images, smooth_network

pytestmark = on_gpu

IDS = torch.arange(64) * 7919 + 13


@contextmanager
def no_waiting() -> Iterator[None]:
    """Any operation that waits for the device, such as a copy from the host, is an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


# draws


def test_draws_are_those_of_a_cpu_to_the_bit() -> None:
    """Whole numbers, and one rounding in float32 at each operation, which IEEE 754 prescribes."""
    here, there = Draws(5, IDS, 3), Draws(5, IDS.to(GPU), 3)
    assert torch.equal(there.keys(Purpose.TRANSFORM, 1, 4).cpu(), here.keys(Purpose.TRANSFORM, 1, 4))
    noise = there.within(8 / 255, (3, 8, 8), Purpose.NOISE_START, 0, 2)
    assert torch.equal(noise.cpu(), here.within(8 / 255, (3, 8, 8), Purpose.NOISE_START, 0, 2))


@pytest.mark.parametrize("name", [name for name in DRAW if name != "none"])
def test_transformations_are_those_of_a_cpu(name: str) -> None:
    """Matrices of weights up to about 1: float32 sums of a few products, whose order may differ, err by some 1e-6."""
    keys = Draws(5, IDS, 3).keys(Purpose.TRANSFORM)
    for here, there in zip(DRAW[name](keys, 32) or (), DRAW[name](keys.to(GPU), 32) or (), strict=True):
        torch.testing.assert_close(there.cpu(), here, atol=1e-5, rtol=0)


def test_neither_draws_nor_enlarging_wait_for_the_device() -> None:
    draws, images = Draws(5, IDS.to(GPU), 3), torch.rand(4, 3, 20, 20, device=GPU)
    model = Enlarged(nn.Identity(), 24).to(GPU)
    model(images)  # the matrix of this size is built here, once
    torch.cuda.synchronize()
    with no_waiting():
        for draw in DRAW.values():
            draw(draws.keys(Purpose.TRANSFORM, 1, 2), 16)
        draws.within(0.5, (3, 4, 4), Purpose.NOISE_START)
        model(images)


def test_augmentations_are_those_of_a_cpu_and_leave_the_generator_of_the_gpu_alone() -> None:
    """Within the tolerance of `assert_close` for float32: a few operations a pixel."""
    images, targets = cut_photographs(24).float() / 255, torch.eye(3)[torch.arange(24) % 3]
    here, there = Draws(0, IDS[:24], 0), Draws(0, IDS[:24].to(GPU), 0)
    state = torch.cuda.get_rng_state()
    keys = here.keys(Purpose.CUTOUT)
    torch.testing.assert_close(cutout(images.to(GPU), keys.to(GPU)).cpu(), cutout(images, keys))
    for mix in (mixup, cutmix):
        for ours, theirs in zip(mix(images, targets, here), mix(images.to(GPU), targets.to(GPU), there), strict=True):
            torch.testing.assert_close(theirs.cpu(), ours)
    torch.testing.assert_close(change_colours(images.to(GPU), 7).cpu(), change_colours(images, 7))
    assert ueraser(images.to(GPU), 7).device.type == GPU.type
    assert torch.equal(torch.cuda.get_rng_state(), state)


# solver and PGD


@pytest.mark.parametrize("name", SETTINGS)
def test_the_solver_makes_the_noise_of_a_cpu(name: str) -> None:
    """In float64. A step goes by the sign of a gradient: where one is as small as rounding, about 1e-16 of the others,
    it may turn, and with it later steps at other pixels. One value in a hundred is allowed, and expected is none; noise
    that has nothing to do with that of the CPU differs nearly everywhere."""
    model, (x, y, ids) = smooth_network().eval(), draw_images()
    expected = min_max_noise(model, x, y, SETTINGS[name], Draws(3, ids, 7))
    found = min_max_noise(model.to(GPU), x.to(GPU), y.to(GPU), SETTINGS[name], Draws(3, ids.to(GPU), 7))
    assert found.dtype == torch.int8
    assert (found.cpu() != expected).double().mean() <= 0.01


class Linear(nn.Module):
    """Two logits that are linear in the image."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weights = nn.Parameter(torch.randn(48, 2, generator=generator, dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        """float64 [N, 2]."""
        return images.flatten(1) @ self.weights


RADII: dict[Norm, float] = {"linf": 0.1, "l2": 0.4, "l1": 2.0}


def attack(norm: Norm, device: torch.device, steps: int) -> tuple[Tensor, Tensor, Linear]:
    """Images, what PGD finds from a random start, and the model; on the CPU again."""
    generator = torch.Generator().manual_seed(0)
    images = (0.3 + 0.4 * torch.rand(6, 3, 4, 4, generator=generator, dtype=torch.float64)).to(device)
    labels = (torch.arange(6) % 2).to(device)
    draws = Draws(2, torch.arange(6).to(device), 0)
    start_at = random_start(draws, RADII[norm], (3, 4, 4), norm, Purpose.ADVERSARY_START).double()
    model = Linear().to(device)
    with frozen_in_eval_mode(model):
        found = pgd(model, images, labels, RADII[norm], RADII[norm] / 4, steps, start_at, norm)
    return images.cpu(), found.cpu(), model.to(CPU)


@pytest.mark.parametrize("norm", RADII)
def test_pgd_finds_what_it_finds_on_a_cpu(norm: Norm) -> None:
    """The start is float32 with functions of their own on each device (1e-6 relative), and the multiplier of the
    projection is halved 26 times, to about 1e-8."""
    images, found, _ = attack(norm, GPU, 5)
    torch.testing.assert_close(found, attack(norm, CPU, 5)[1], atol=1e-5, rtol=0)
    assert measure(found, norm).max() <= RADII[norm] * (1 + 1e-6)
    assert (images + found).min() >= 0
    assert (images + found).max() <= 1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pgd_on_a_linear_model_finds_the_best(norm: Norm) -> None:
    """It is known: radius · sign(w) and radius · w / ‖w‖, w the difference of the classes' weights. The images lie far
    enough from 0 and 1 that the box does not count. In L2 every step turns towards w, and forty end within 1e-3."""
    _, found, model = attack(norm, GPU, 40)
    towards = torch.tensor([1.0, -1.0]).repeat(3)[:, None] * (model.weights[:, 1] - model.weights[:, 0]).detach()
    best = towards.sign() if norm == "linf" else towards / towards.norm(dim=1, keepdim=True)
    torch.testing.assert_close(found, (RADII[norm] * best).reshape(found.shape), atol=1e-3, rtol=0)


@pytest.mark.parametrize("norm", RADII)
def test_projections_are_those_of_a_cpu(norm: Norm) -> None:
    """In float32, with many values at the ends of the box: about 1e-6 by the order of the sums in a norm."""
    generator = torch.Generator().manual_seed(4)
    images = (torch.rand(8, 3, 8, 8, generator=generator) * 2 - 0.5).clamp(0, 1)
    delta = torch.randn(8, 3, 8, 8, generator=generator)
    found = project(delta.to(GPU), images.to(GPU), RADII[norm], norm).cpu()
    torch.testing.assert_close(found, project(delta, images, RADII[norm], norm), atol=1e-5, rtol=0)


# precision


def answers(device: torch.device, precision: Precision) -> Tensor:
    """Logits of the source model of the recipes, float32 [16, 10]."""
    images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    model = prepare_model(build_model("small_resnet", 10, 32, 0), device, precision).eval()
    with torch.no_grad():
        found = model(images.to(device))
    assert found.dtype == torch.float32
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    return found.cpu()


@pytest.mark.parametrize(
    ("precision", "share"),
    [
        ("fp32", 1e-4),  # fractions of 23 bits, 1e-7, summed in another order through seven layers
        ("tf32", 2e-2),  # of 10 bits: 5e-4 at each product, some of which add up over the layers
        ("bf16", 1e-1),  # of 7 bits: 4e-3 at each product and after each layer
    ],
)
def test_precisions_are_as_exact_as_they_are_called(precision: Precision, share: float) -> None:
    expected = answers(CPU, "fp32")
    error = (answers(GPU, precision) - expected).abs().max()
    assert error <= share * expected.abs().max()
    assert torch.backends.cuda.matmul.allow_tf32 is False
    assert torch.backends.cudnn.allow_tf32 is (precision == "tf32")


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_images_are_resampled_in_float32(precision: Precision) -> None:
    """In every precision: fractions of 10 bits would move a value near 1 by up to 2^-11, and float32 does by 1e-6."""
    use_precision(precision)
    images = torch.rand(4, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    drawn = DRAW["imagenet"](Draws(5, IDS[:4], 3).keys(Purpose.TRANSFORM), 40)
    assert drawn is not None
    there = Resampling(drawn.rows.to(GPU), drawn.columns.to(GPU))
    torch.testing.assert_close(resample(images.to(GPU), there).cpu(), resample(images, drawn), atol=1e-5, rtol=0)
    enlarged = prepare_model(Enlarged(nn.Identity(), 64), GPU, precision)(images.to(GPU)).cpu()
    torch.testing.assert_close(enlarged, Enlarged(nn.Identity(), 64)(images), atol=1e-5, rtol=0)


def test_bf16_is_computed_in_bf16() -> None:
    """Its answers differ from those in float32 by more than float32 could."""
    assert (answers(GPU, "bf16") - answers(GPU, "fp32")).abs().max() > 1e-4


# training

SCHEDULE = Schedule(
    steps=12, batch_size=8, learning_rate=0.05, momentum=0.9, weight_decay=5e-4, decay_every=5, decay=0.1
)
COUNT = 30


def test_training_is_plain_sgd_with_momentum_and_decay() -> None:
    """A reference written out on the CPU: v ← μv + g + λθ, θ ← θ − η·v. In float64, so that 12 steps keep 1e-9."""
    x, y, _ = draw_images(COUNT)
    model, reference = smooth_network(), smooth_network()
    x_there, y_there = x.to(GPU), y.to(GPU)

    def loss_of(model: nn.Module, wrapped: nn.Module, indices: Tensor, step: int) -> Tensor:
        assert indices.is_cuda
        return F.cross_entropy(wrapped(x_there[indices]), y_there[indices])

    train(start(), model, SCHEDULE, COUNT, 0, loss_of)
    velocity = [torch.zeros_like(parameter) for parameter in reference.parameters()]
    for step in range(SCHEDULE.steps):
        chosen = batch_indices(0, step, COUNT, SCHEDULE.batch_size)
        loss = F.cross_entropy(reference.train()(x[chosen]), y[chosen])
        gradients = torch.autograd.grad(loss, list(reference.parameters()))
        with torch.no_grad():
            for p, g, v in zip(reference.parameters(), gradients, velocity, strict=True):
                v.mul_(SCHEDULE.momentum).add_(g + SCHEDULE.weight_decay * p)
                p.sub_(SCHEDULE.learning_rate * SCHEDULE.decay ** (step // SCHEDULE.decay_every) * v)
    for name, tensor in reference.state_dict().items():
        found = model.state_dict()[name]
        assert found.is_cuda
        torch.testing.assert_close(found.cpu(), tensor, atol=1e-9, rtol=1e-9, msg=name)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_a_resumed_training_ends_with_the_bytes_of_one_that_was_not_stopped(
    precision: Precision, tmp_path: Path
) -> None:
    """The network and the precisions that noise is made with. Seen on an H200; promised for CPUs alone."""
    accelerator = start()
    images = torch.rand(COUNT, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(GPU)
    labels = (torch.arange(COUNT) % 10).to(GPU)

    def network() -> nn.Module:
        return prepare_model(build_model("small_resnet", 10, 32, 0), accelerator.device, precision)

    def loss_of(model: nn.Module, wrapped: nn.Module, indices: Tensor, step: int) -> Tensor:
        return F.cross_entropy(wrapped(images[indices]), labels[indices])

    def stop(model: nn.Module, wrapped: nn.Module, indices: Tensor, step: int) -> Tensor:
        if step == 7:
            raise KeyboardInterrupt
        return loss_of(model, wrapped, indices, step)

    whole, resumed = network(), network()
    train(accelerator, whole, SCHEDULE, COUNT, 0, loss_of)
    with pytest.raises(KeyboardInterrupt):
        train(accelerator, network(), SCHEDULE, COUNT, 0, stop, Checkpoint(tmp_path, "same", every_seconds=0))
    steps: list[int] = []
    train(
        accelerator,
        resumed,
        SCHEDULE,
        COUNT,
        0,
        loss_of,
        Checkpoint(tmp_path, "same"),
        after_step=lambda done, total: steps.append(done),
    )
    assert steps == [8, 9, 10, 11, 12]
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name
