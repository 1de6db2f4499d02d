"""Trains one victim under one threat (paper Eq. 2) and tests it on clean images."""

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from rem_release.audit.step import make_step
from rem_release.core.draws import Draws
from rem_release.core.frozen import frozen
from rem_release.errors import NonFiniteLossError
from rem_release.models import build_model
from rem_release.paths import check_path
from rem_release.threats.images import Batch, TestImages, TrainingImages, as_floats
from rem_release.training.loop import Progress, Schedule, train
from rem_release.training.precision import prepare_model
from rem_release.training.pretrained import build_pretrained
from rem_release.verdict.accuracy import balanced_accuracy
from rem_release.verdict.plan import Task
from rem_release.verdict.recipe import AuditRecipe

_TEST_BATCH = 500
_FITTED = 2048
"""training images on which it is checked at the end that they were learnt"""
_MIN_LOSS = 1e-12
"""as if a network that leaves no loss left this: what raises it is a gain, what does not is none"""
_ATTACKED = 512
"""training images on which the adversary is checked at the end"""


@dataclass
class TrainingCurves:
    """What is seen while a victim trains: sums since the last evaluation, and the curves."""

    steps: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    _sums: Tensor | None = None

    def add(self, loss: Tensor, hits: Tensor) -> None:
        """Note a step: its mean loss and its share of hits; nothing waits for the device here, and the sums stay where
        they lie, so that it can be recorded."""
        if self._sums is None:
            self._sums = torch.zeros(3, dtype=torch.float64, device=loss.device)
        self._sums.add_(torch.stack([loss.detach().double(), hits.detach().double(), torch.ones_like(self._sums[0])]))

    def require_finite(self, step: int) -> None:
        """Make sure that what is evaluated was not updated with a loss that is not finite.

        Raises:
            NonFiniteLossError: it was.
        """
        assert self._sums is not None
        if not self._sums[0].isfinite():
            raise NonFiniteLossError(f"the training loss is not finite before step {step}")

    def close(self, step: int, test_accuracy: float) -> None:
        """End a stretch of steps with an evaluation."""
        assert self._sums is not None
        loss, hits, count = self._sums.tolist()
        loss, hits = loss / count, hits / count
        self._sums.zero_()
        self.steps.append(step)
        self.loss.append(round(loss, 6))
        self.train_accuracy.append(round(hits, 6))
        self.test_accuracy.append(round(test_accuracy, 6))


@dataclass(frozen=True)
class TrainedVictim:
    """A trained victim; `model` is None where the loss became NaN or infinite."""

    model: nn.Module | None
    named: np.ndarray
    """int32 [E, T]: the class that it named for each test image at each evaluation; 0 at those that a loss of NaN or
    infinity left out"""
    fit: float
    """accuracy on its own training images as they are"""
    curves: TrainingCurves
    attack_gain: float | None


def train_victim(
    accelerator: Accelerator,
    task: Task,
    recipe: AuditRecipe,
    images: TrainingImages,
    images_in_all: int,
    test_images: Tensor | TestImages,
    test_labels: Tensor,
    after_step: Progress | None = None,
) -> TrainedVictim:
    """Train and test one victim.

    Args:
        accelerator: decides device and processes.
        task: architecture, threat and seed.
        recipe: the training.
        images: what it learns from, on the device.
        images_in_all: what the number of steps goes by: that of the whole release, also for victims of a part.
        test_images: clean, as `test` takes them, on the device.
        test_labels: int64 [T].
        after_step: told after each step.
    """
    steps = recipe.victim.count_steps(images_in_all)
    model = prepare_victim(task, recipe, images.classes, images.resolution, accelerator.device)
    curves = TrainingCurves()
    evaluations = recipe.victim.list_evaluations(images_in_all)
    labels = test_labels.cpu().numpy()
    named = np.zeros((len(evaluations), len(labels)), np.int32)

    def look(step: int, steps: int) -> None:
        if step in evaluations:
            curves.require_finite(step)
            answers = name_classes(model, test_images)
            named[evaluations.index(step)] = answers
            curves.close(step, float(balanced_accuracy(answers == labels, labels)))
        if after_step:
            after_step(step, steps)

    step, seed = make_step(task.threat, recipe, images, task.seed, curves.add), batch_seed(task.seed)
    try:
        task.threat.initial_weights(accelerator, model, images, seed)
        schedule, records = _schedule(task, recipe, steps), not task.threat.reads_draws
        train(accelerator, model, schedule, len(images), seed, step, after_step=look, records=records)
        share = -(-recipe.victim.batch_size // accelerator.num_processes)
        gain = _measure_attack(model, task, recipe, images, steps, share)
    except NonFiniteLossError:
        return TrainedVictim(None, named, 0.0, curves, None)
    return TrainedVictim(model, named, _measure_fit(model, images), curves, gain)


def _schedule(task: Task, recipe: AuditRecipe, steps: int) -> Schedule:
    settings = recipe.victim
    ordinary = Schedule(
        steps=steps,
        batch_size=settings.batch_size,
        learning_rate=task.architecture.network.learning_rate or settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        decay_every=max(1, round(steps * settings.decay_every)),
        decay=settings.decay,
    )
    return task.threat.schedule(ordinary)


def build_victim(task: Task, classes: int, resolution: int) -> nn.Module:
    """The network before training. Its weights are drawn apart from those that a source model of that seed starts
    from: noise made with the victim's own initial weights would flatter the protection."""
    architecture, seed = task.architecture, _derive("weights", task.seed)
    if architecture.network.weights:
        weights = Path(architecture.network.weights)
        check_path(str(weights), "the file of weights")
        return build_pretrained(architecture.name, classes, weights, architecture.network.resize, seed=seed)
    return build_model(architecture.name, classes, resolution, seed)


def prepare_victim(task: Task, recipe: AuditRecipe, classes: int, resolution: int, device: torch.device) -> nn.Module:
    """The network before training on the device, in the precision of the recipe, as it is trained and timed."""
    return prepare_model(build_victim(task, classes, resolution), device, recipe.victim.precision)


def batch_seed(seed: int) -> int:
    """Seed of the victim's batches and draws, apart from those of a source model of that seed."""
    return _derive("batches", seed)


def name_classes(model: nn.Module, images: Tensor | TestImages) -> np.ndarray:
    """The class that a model names for each image: int32 [T].

    Args:
        model: on the device of the images.
        images: [T, 3, R, R], uint8 levels or float32.
    """
    with frozen(model) as network, torch.no_grad():
        named = [network(as_floats(x)).argmax(1) for x in images.split(_TEST_BATCH)]
    return torch.cat(named).cpu().numpy().astype(np.int32)


def _measure_fit(model: nn.Module, images: TrainingImages) -> float:
    """Balanced accuracy on training images as they are, a spread of them where they are many."""
    hits, labels = [], []
    with frozen(model) as network, torch.no_grad():
        for part in _spread(images, _FITTED).split(_TEST_BATCH):
            x, y = images.floats(part)
            hits.append(network(x).argmax(1) == y)
            labels.append(y)
    return float(balanced_accuracy(torch.cat(hits).cpu().numpy(), torch.cat(labels).cpu().numpy()))


def _spread(images: TrainingImages, most: int) -> Tensor:
    """Numbers of at most that many training images, evenly spread, for rows often stand class by class: int64 [N]."""
    count = min(most, len(images))
    return torch.arange(count, device=images.labels.device) * len(images) // count


def _measure_attack(
    model: nn.Module, task: Task, recipe: AuditRecipe, images: TrainingImages, steps: int, batch_size: int
) -> float | None:
    """By what part the adversary raises the loss over its start, on training images; None without one.

    In batches no larger than those of the training, which there was memory for.

    Raises:
        NonFiniteLossError: the last step left a network whose loss is NaN or infinite, which no step saw.
    """
    chosen, start, end = _spread(images, _ATTACKED), 0.0, 0.0
    with frozen(model) as network:
        for ids in torch.arange(len(chosen), device=chosen.device).split(batch_size):
            x, y = images.floats(chosen[ids])
            if not math.isfinite(loss := _mean_loss(network, x, y)):
                raise NonFiniteLossError(f"the loss after the last step is {loss}")
            if task.threat.adversary:
                draws = Draws(batch_seed(task.seed), ids, steps)
                found = task.threat.attack(network, Batch(x, y, y, images.classes, draws), recipe.adversary)
                before, after = (_mean_loss(network, x + noise, y) for noise in found)
                start, end = start + before * len(ids) / len(chosen), end + after * len(ids) / len(chosen)
    gain = (end - start) / max(start, _MIN_LOSS)
    if task.threat.adversary is None:
        return None
    return gain if math.isfinite(gain) else 0.0


def _mean_loss(network: nn.Module, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float(F.cross_entropy(network(x), y))


def _derive(what: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"victim {what} {seed}".encode()).digest()[:7])
