"""Trains one victim under one threat (paper Eq. 2) and tests it on clean images."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from rem_release.audit.plan import Task
from rem_release.audit.recipe import AuditRecipe
from rem_release.audit.statistics import balanced_accuracy
from rem_release.audit.step import TrainingImages, as_floats, attack, make_step
from rem_release.core.pgd import frozen
from rem_release.errors import NonFiniteLossError
from rem_release.models import build_model
from rem_release.paths import check_path
from rem_release.training.loop import Progress, Schedule, train
from rem_release.training.pretrained import build_pretrained

_TEST_BATCH = 500
_ATTACKED = 512
"""training images on which the adversary is checked at the end"""


@dataclass
class Watched:
    """What is seen while a victim trains: sums since the last evaluation, and the curves."""

    steps: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    _sums: list[Tensor] = field(default_factory=list)

    def add(self, loss: Tensor, hits: Tensor) -> None:
        """Note a step: its mean loss and its share of hits; nothing waits for the device here."""
        self._sums.append(torch.stack([loss.detach().float(), hits.detach().float()]))

    def close(self, step: int, test_accuracy: float) -> None:
        """End a stretch of steps with an evaluation."""
        loss, hits = torch.stack(self._sums).mean(0).tolist()
        self._sums.clear()
        self.steps.append(step)
        self.loss.append(round(loss, 6))
        self.train_accuracy.append(round(hits, 6))
        self.test_accuracy.append(round(test_accuracy, 6))


@dataclass(frozen=True)
class Outcome:
    """A trained victim; `model` is None where the loss became NaN or infinite."""

    model: nn.Module | None
    correct: np.ndarray
    """bool [T]: which test images the final victim gets right"""
    watched: Watched
    attack_gain: float | None


def train_victim(
    accelerator: Accelerator,
    task: Task,
    recipe: AuditRecipe,
    images: TrainingImages,
    test_images: Tensor,
    test_labels: Tensor,
    after_step: Progress | None = None,
) -> Outcome:
    """Train and test one victim.

    Args:
        accelerator: decides device, precision and processes.
        task: architecture, threat and seed.
        recipe: the training.
        images: what it learns from, on the device.
        test_images: clean, as `test` takes them, on the device.
        test_labels: int64 [T].
        after_step: told after each step.
    """
    settings, network = recipe.victim, task.architecture.network
    model = build_victim(task, images.classes, images.resolution).to(memory_format=torch.channels_last)
    schedule = Schedule(
        steps=settings.steps,
        batch_size=settings.batch_size,
        learning_rate=network.learning_rate or settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        decay_every=settings.decay_every,
        decay=settings.decay,
    )
    watched = Watched()
    evaluations = {round(settings.steps * (n + 1) / settings.evaluations) for n in range(settings.evaluations)}
    labels = test_labels.cpu().numpy()
    answers = np.zeros(len(labels), bool)

    def look(step: int, steps: int) -> None:
        nonlocal answers
        if step in evaluations:
            answers = test(model, test_images, test_labels)
            watched.close(step, float(balanced_accuracy(answers, labels)))
        if after_step:
            after_step(step, steps)

    step = make_step(task.threat, recipe, images, task.seed, watched.add)
    try:
        train(accelerator, model, schedule, len(images), batch_seed(task.seed), step, after_step=look)
        gain = _measure_attack(model, task, recipe, images)
    except NonFiniteLossError:
        return Outcome(None, np.zeros(len(labels), bool), watched, None)
    return Outcome(model, answers, watched, gain)


def build_victim(task: Task, classes: int, resolution: int) -> nn.Module:
    """The network before training. Its weights are drawn apart from those that a source model of that seed starts
    from: noise made with the victim's own initial weights would flatter the protection."""
    architecture, seed = task.architecture, _derive("weights", task.seed)
    if architecture.network.weights:
        weights = Path(architecture.network.weights)
        check_path(str(weights), "the file of weights")
        return build_pretrained(architecture.name, classes, weights, architecture.network.resize, seed=seed)
    return build_model(architecture.name, classes, resolution, seed)


def batch_seed(seed: int) -> int:
    """Seed of the victim's batches and draws, apart from those of a source model of that seed."""
    return _derive("batches", seed)


def test(model: nn.Module, images: Tensor, labels: Tensor) -> np.ndarray:
    """Which test images a model gets right: bool [T].

    Args:
        model: on the device of the images.
        images: [T, 3, R, R], uint8 levels, or float32 after a projection.
        labels: int64 [T].
    """
    with frozen(model), torch.no_grad():
        parts = zip(images.split(_TEST_BATCH), labels.split(_TEST_BATCH), strict=True)
        hits = [model(as_floats(x)).argmax(1) == y for x, y in parts]
    return torch.cat(hits).cpu().numpy()


def _measure_attack(model: nn.Module, task: Task, recipe: AuditRecipe, images: TrainingImages) -> float | None:
    """By how much the threat's PGD raises the loss over its random start, on training images; None without PGD.

    Raises:
        NonFiniteLossError: the last step left a network whose loss is NaN or infinite, which no step saw.
    """
    count = min(_ATTACKED, len(images))
    spread = torch.arange(count, device=images.labels.device) * len(images) // count  # rows often stand class by class
    x, y = images.floats(spread)
    with frozen(model):
        with torch.no_grad():
            loss = F.cross_entropy(model(x), y)
        if not torch.isfinite(loss):
            raise NonFiniteLossError(f"the loss after the last step is {loss.item()}")
        found = attack(model, x, y, task.threat, recipe, batch_seed(task.seed))
        if found is None:
            return None
        start, end = found
        with torch.no_grad():
            return float(F.cross_entropy(model(x + end), y) - F.cross_entropy(model(x + start), y))


def _derive(what: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"victim {what} {seed}".encode()).digest()[:7])
