"""Noise by the min-min-max solver: a source model trained by Algorithm 1, and the noise that minimises its loss."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from rem_release.core.captured import Captured, Function, recorder_of
from rem_release.core.draws import FINAL_PASS, Draws, Purpose
from rem_release.core.frozen import frozen
from rem_release.core.pgd import pgd
from rem_release.core.resampling import DRAW, Resampling, resample
from rem_release.core.solver import NoiseSettings, adversarial_images, min_max_noise
from rem_release.errors import NonFiniteLossError
from rem_release.methods.fields import GeneratorSettings
from rem_release.methods.maker import Batch, ImageSet, OpenStage, own_order
from rem_release.methods.method import Setting
from rem_release.methods.min_max import TRAINING
from rem_release.models import build_model
from rem_release.training.checkpoints import Checkpoint, load_weights, save_weights
from rem_release.training.loop import LossOf, Schedule, train
from rem_release.training.precision import prepare_model


class MinMaxMaker:
    """See `methods.maker.Maker`.

    Args:
        noise: the symbols of Algorithm 1.
        setting: what it is built for; its seed is that of initial weights, order of images and draws.
        training: of the source model.
        accelerator: device and processes.
    """

    phase: ClassVar[str] = TRAINING
    """what the training is called"""

    def __init__(
        self, noise: NoiseSettings, setting: Setting, training: GeneratorSettings, accelerator: Accelerator
    ) -> None:
        self.noise = noise
        self.seed = setting.seed
        self.accelerator = accelerator
        self.batch_size = training.batch_size
        self.schedule = Schedule(
            steps=training.steps,
            batch_size=training.batch_size,
            learning_rate=training.learning_rate,
            momentum=training.momentum,
            weight_decay=training.weight_decay,
            decay_every=training.decay_every,
            decay=training.decay,
        )
        model = build_model(training.model, setting.classes, setting.data.resolution, setting.seed)
        self.model = prepare_model(model, accelerator.device, setting.precision, setting.execution)
        self._records = setting.execution != "eager"
        self._final_noise = self._capture(self._solve)
        self._one_gradient = self._capture(self._step_once)

    def order(self, image_set: ImageSet) -> Tensor:
        """As they stand."""
        return own_order(image_set)

    def train(self, image_set: ImageSet, checkpoint: Checkpoint | None, stage: OpenStage) -> None:
        """Algorithm 1 over all steps of the recipe."""
        with stage(self.phase) as progress:
            loss_of, count = self._loss_on(image_set, self.noise), len(image_set)
            try:
                train(self.accelerator, self.model, self.schedule, count, self.seed, loss_of, checkpoint, progress)
            except NonFiniteLossError as error:
                key = "generator.learning_rate"
                raise NonFiniteLossError(
                    f"{error}; lower {key} ({self.schedule.learning_rate}) with --set {key}=..."
                ) from None

    def _loss_on(self, image_set: ImageSet, noise: NoiseSettings) -> LossOf:
        """The step that the training loop is handed: the source model learns quantised noise (Algorithm 1)."""
        lines_8_to_18 = self._capture(partial(self._attack, noise))

        def loss_of(model: nn.Module, wrapped: nn.Module, indices: Tensor, step: int | Tensor) -> Tensor:
            batch = image_set.batch(indices)
            adversarial = lines_8_to_18(*_inputs(batch, step))
            return F.cross_entropy(wrapped(adversarial), batch.labels)  # line 19

        return loss_of

    def _capture(self, function: Function) -> Captured:
        return Captured(function, recorder_of(self.accelerator.device) if self._records else None)

    def _attack(self, noise: NoiseSettings, images: Tensor, labels: Tensor, keys: Tensor, *others: Tensor) -> Tensor:
        step, route = _step_and_route(others)
        return adversarial_images(self.model, images, labels, noise, Draws(self.seed, keys, step), route)

    def _solve(self, images: Tensor, labels: Tensor, keys: Tensor, *others: Tensor) -> Tensor:
        step, route = _step_and_route(others)
        return min_max_noise(self.model, images, labels, self.noise, Draws(self.seed, keys, step), route)

    def _step_once(self, images: Tensor, labels: Tensor) -> Tensor:
        with frozen(self.model) as network:
            return pgd(network, images, labels, 0.01, 0.01, 1, torch.zeros_like(images))

    def make_noise(self, image_set: ImageSet, indices: Tensor) -> Tensor:
        """δ_u of Eq. 5 under the trained generator: int8 [N, 3, R, R]."""
        return self.make_unseen(image_set.batch(indices))

    def make_unseen(self, batch: Batch) -> Tensor:
        """The same for any images."""
        return self._final_noise(*_inputs(batch, FINAL_PASS))

    def spend(self, image_set: ImageSet) -> int:
        """One gradient for each of the J draws of the images of a batch, as each step of the noise takes."""
        count, J = min(self.batch_size, len(image_set)), self.noise.J
        batch = image_set.batch(torch.arange(count, device=image_set.labels.device))
        draws = Draws.final(self.seed, batch.keys)
        t = DRAW[self.noise.transform](draws.keys(Purpose.TRANSFORM, 0, J), batch.images.shape[-1])
        delta = self._one_gradient(resample(batch.images.repeat(J, 1, 1, 1), t), batch.labels.repeat(J))
        delta.sum().item()  # waits for the device
        return count * J

    def rehearse(self, image_set: ImageSet) -> None:
        """Four steps with one step of each PGD: the second begins with what the first left, and on a GPU the third is
        recorded and the fourth replayed. BatchNorm's statistics move, so the model is not to be used afterwards."""
        noise = replace(self.noise, K_u=1, K_a=min(self.noise.K_a, 1))
        schedule = replace(self.schedule, steps=4, learning_rate=0.0)
        train(self.accelerator, self.model, schedule, len(image_set), self.seed, self._loss_on(image_set, noise))

    def save(self, path: Path) -> None:
        """Write the generator's weights."""
        save_weights(path, self.model)

    def load(self, path: Path) -> None:
        """Read the generator's weights.

        Raises:
            InputError: missing, damaged, or of another network.
        """
        load_weights(path, self.model)


def _inputs(batch: Batch, step: int | Tensor) -> tuple[Tensor, ...]:
    """Of one batch, all that a recorded function reads: the step, too, is a tensor there, filled on the device."""
    number = step if isinstance(step, Tensor) else torch.full((), step, device=batch.images.device)
    return batch.images, batch.labels, batch.keys, number, *(batch.route or ())


def _step_and_route(others: tuple[Tensor, ...]) -> tuple[Tensor, Resampling | None]:
    step, *route = others
    return step, Resampling(*route) if route else None
