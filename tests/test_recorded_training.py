"""Recorded steps end where direct ones end, on a CPU, by a recorder that is as blind as a CUDA graph: it does the
operations on tensors again, and whatever was read on the host stays what it was."""

import gc
import warnings
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from rem_release.audit.victim import train_victim
from rem_release.errors import NonFiniteLossError
from rem_release.models import build_model
from rem_release.threats.images import TrainingImages
from rem_release.threats.registry import known_parts
from rem_release.threats.threat import parse_threat
from rem_release.training import loop
from rem_release.training.checkpoints import Checkpoint
from rem_release.training.loop import Schedule, ScheduledOptimizer, train, train_together
from rem_release.training.precision import prepare_model
from rem_release.verdict.plan import Task
from rem_release.verdict.recipe import load_audit_recipe, parse_architecture
from tests.recording import CpuRecorder
from tests.test_methods import build, images_of_own_sizes, recipe_of

CPU = torch.device("cpu")
SCHEDULE = Schedule(steps=9, batch_size=8, learning_rate=0.1, momentum=0.9, weight_decay=5e-4, decay_every=5, decay=0.1)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> CpuRecorder:
    found = CpuRecorder()
    monkeypatch.setattr(loop, "recorder_of", lambda device: found)
    return found


def images_and_labels(count: int = 20) -> tuple[Tensor, Tensor]:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(count) % 4


def network() -> nn.Module:
    return prepare_model(build_model("small_resnet", 4, 8, 0), CPU, "fp32")


def loss_on(images: Tensor, labels: Tensor) -> loop.LossOf:
    def loss_of(model: nn.Module, wrapped: nn.Module, indices: Tensor, step: int | Tensor) -> Tensor:
        return F.cross_entropy(wrapped(images[indices]) * (1 + step), labels[indices])

    return loss_of


def test_a_recorded_training_is_that_of_direct_steps(recorder: CpuRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, statistics and momentum; the step is in the loss, and the learning rate changes once: two recordings."""
    loss_of, models = loss_on(*images_and_labels()), (network(), network())
    train(Accelerator(), models[0], SCHEDULE, 20, 0, loss_of)
    assert recorder.recorded == 2
    monkeypatch.setattr(loop, "recorder_of", lambda device: None)
    train(Accelerator(), models[1], SCHEDULE, 20, 0, loss_of)
    torch.testing.assert_close(models[0].state_dict(), models[1].state_dict(), rtol=0, atol=0)


def test_what_was_recorded_goes_with_its_training(recorder: CpuRecorder) -> None:
    """At once, not when Python looks for circles: it holds the memory of a GPU."""
    gc.collect()
    gc.disable()
    try:
        train(Accelerator(), network(), SCHEDULE, 20, 0, loss_on(*images_and_labels()))
    finally:
        gc.enable()
    assert recorder.recorded == 2
    assert len(recorder.alive) == 0


def test_a_recorded_training_goes_on_from_a_checkpoint(recorder: CpuRecorder, tmp_path: Path) -> None:
    loss_of, whole, resumed = loss_on(*images_and_labels()), network(), network()
    train(Accelerator(), whole, SCHEDULE, 20, 0, loss_of)

    def stop(done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Accelerator(), network(), SCHEDULE, 20, 0, loss_of, Checkpoint(tmp_path, "x", every_seconds=0), stop)
    steps: list[int] = []
    checkpoint = Checkpoint(tmp_path, "x")
    train(Accelerator(), resumed, SCHEDULE, 20, 0, loss_of, checkpoint, lambda done, total: steps.append(done))
    assert steps == [7, 8, 9]
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)


def test_a_rate_of_every_step_is_never_recorded(recorder: CpuRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
    loss_of, models = loss_on(*images_and_labels()), (network(), network())

    def run(model: nn.Module) -> None:
        def loss_of_all(models: loop.Models, wrapped: loop.Models, indices: Tensor, step: int | Tensor) -> Tensor:
            return loss_of(models["m"], wrapped["m"], indices, step)

        optimizer = torch.optim.SGD(model.parameters(), lr=1, momentum=0.9)
        optimizers = {"m": ScheduledOptimizer(optimizer, lambda step: 0.01 * (step + 1))}
        train_together(Accelerator(), {"m": model}, SCHEDULE, 20, 0, loss_of_all, optimizers=optimizers)

    run(models[0])
    assert recorder.recorded == 0
    monkeypatch.setattr(loop, "recorder_of", lambda device: None)
    run(models[1])
    torch.testing.assert_close(models[0].state_dict(), models[1].state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_told_with_its_step_and_never_saved(
    number: float, recorder: CpuRecorder, tmp_path: Path
) -> None:
    plain = loss_on(*images_and_labels())

    def loss_of(model: nn.Module, wrapped: nn.Module, indices: Tensor, step: int | Tensor) -> Tensor:
        return plain(model, wrapped, indices, step) * torch.where(torch.as_tensor(step) == 6, number, 1.0)

    checkpoint = Checkpoint(tmp_path, "x", every_seconds=1000)
    with pytest.raises(NonFiniteLossError, match=rf"the training loss is {number} at step 6"):
        train(Accelerator(), network(), SCHEDULE, 20, 0, loss_of, checkpoint)
    assert recorder.recorded
    first, state = Checkpoint(tmp_path, "x").load()
    assert first == 1
    assert all(tensor.isfinite().all() for tensor in state.values())


@pytest.mark.parametrize("method", ["rem", "sem"])
def test_a_recorded_generator_is_that_of_direct_steps(
    method: str, recorder: CpuRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(method)
    recipe = replace(recipe, generator=replace(recipe.generator, steps=7, decay_every=4))
    makers = [build(recipe), build(recipe)]
    makers[0].train(images_of_own_sizes(), None, lambda name: nullcontext(lambda done, total: None))
    assert recorder.recorded == 2
    monkeypatch.setattr(loop, "recorder_of", lambda device: None)
    makers[1].train(images_of_own_sizes(), None, lambda name: nullcontext(lambda done, total: None))
    torch.testing.assert_close(makers[0].model.state_dict(), makers[1].model.state_dict(), rtol=0, atol=0)


THREATS = [
    *("standard", "pgd(radius=4/255)", "pgd(radius=0.5, norm=l2)", "cutmix", "mixup", "cutout", "eot(samples=2)"),
    *("gaussian(sigma=0.5)", "ueraser(mode=max)", "greyscale(on=both)", "mixup+pgd(radius=4/255)"),
    *("trades(radius=4/255)", "fat(radius=4/255)", "cutout+fat(radius=0.5,norm=l2,tau=0)"),
]


@pytest.mark.parametrize("text", THREATS)
def test_a_recorded_victim_answers_as_one_of_direct_steps(
    text: str, recorder: CpuRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that reads its draws on the host says so, and is not recorded."""
    changes = {"victim.least_steps": "7", "victim.epochs": "1", "victim.batch_size": "8", "victim.evaluations": "2"}
    recipe = load_audit_recipe("audit-quick", changes)
    images, labels = images_and_labels(24)
    levels = (images * 255).to(torch.uint8)
    learnt = TrainingImages(levels, labels, 4)
    task = Task(parse_architecture("small_resnet"), parse_threat(text), "protected", 3)
    found = []
    for recording in (True, False):
        if not recording:
            monkeypatch.setattr(loop, "recorder_of", lambda device: None)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found.append(train_victim(Accelerator(), task, recipe, learnt, 24, levels, labels))
        assert not [each for each in caught if "nothing could be recorded" in str(each.message)]
    assert recorder.recorded == (0 if task.threat.reads_draws else 1)
    assert (found[0].named == found[1].named).all()
    assert found[0].curves.loss == found[1].curves.loss
    assert found[0].model is not None
    assert found[1].model is not None
    torch.testing.assert_close(found[0].model.state_dict(), found[1].model.state_dict(), rtol=0, atol=0)


def test_every_threat_of_a_step_was_tried() -> None:
    """Those of other stages change images before a step, and the list above holds the rest."""
    named = {name for name in known_parts() if any(text.startswith(name) or f"+{name}" in text for text in THREATS)}
    of_steps = {name for name, part in known_parts().items() if part.stage.name in ("BATCH", "ADVERSARY", "IMAGE")}
    assert {name for name in of_steps if "._" not in name} - named == set()
