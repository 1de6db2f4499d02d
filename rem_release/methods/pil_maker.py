"""Noise of a linear classifier: it is trained on clean images, and noise is found that it names by itself."""

from math import cos, pi
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from rem_release.core.draws import Draws, Purpose
from rem_release.core.levels import round_to_levels
from rem_release.core.pgd import frozen_in_eval_mode, pgd
from rem_release.errors import NonFiniteLossError
from rem_release.methods.maker import Batch, ImageSet, OpenStage, own_order
from rem_release.methods.method import Setting
from rem_release.methods.pil import TRAINING, Pil
from rem_release.radius import whole_levels
from rem_release.training.checkpoints import Checkpoint, load_weights, save_weights
from rem_release.training.loop import Models, Progress, Schedule, ScheduledOptimizer, train_together

_MOMENTUM = 0.9
_STAIRS = 30


class PilMaker:
    """See `methods.maker.Maker`.

    Args:
        noise: the fields of the recipe.
        setting: what it is built for; its seed is that of initial weights, order of images and draws.
        accelerator: device and processes.
    """

    def __init__(self, noise: Pil, setting: Setting, accelerator: Accelerator) -> None:
        self.noise, self.classes, self.seed = noise, setting.classes, setting.seed
        self.accelerator = accelerator
        self.batch_size = noise.batch_size
        self.radius = whole_levels(noise.rho_u) / 255
        self.rate = noise.learning_rate * (32 / setting.data.resolution) ** 2
        with torch.random.fork_rng(devices=[]):  # the global random state is left as it was
            torch.default_generator.manual_seed(setting.seed)
            weights = nn.Linear(3 * setting.data.resolution**2, setting.classes, bias=False)
        self.classifier = nn.Sequential(nn.Flatten(), weights).to(accelerator.device)

    def order(self, image_set: ImageSet) -> Tensor:
        """As they stand."""
        return own_order(image_set)

    def train(self, image_set: ImageSet, checkpoint: Checkpoint | None, stage: OpenStage) -> None:
        """SGD on the cross-entropy of clean images."""
        with stage(TRAINING) as progress:
            try:
                self._train(image_set, self.noise.training_steps, self.rate, checkpoint, progress)
            except NonFiniteLossError as error:
                key = "noise.learning_rate"
                raise NonFiniteLossError(
                    f"{error}; lower {key} ({self.noise.learning_rate}) with --set {key}=..."
                ) from None

    def _train(
        self,
        image_set: ImageSet,
        steps: int,
        rate: float,
        checkpoint: Checkpoint | None = None,
        progress: Progress | None = None,
    ) -> None:
        def loss_of(models: Models, wrapped: Models, indices: Tensor, step: int | Tensor) -> Tensor:
            batch = image_set.batch(indices)
            return F.cross_entropy(wrapped["classifier"](batch.images), batch.labels)

        def rate_of(step: int) -> float:
            return rate * (1 + cos(pi * (_STAIRS * step // steps) / _STAIRS)) / 2

        schedule = Schedule(
            steps=steps,
            batch_size=self.batch_size,
            learning_rate=rate,
            momentum=_MOMENTUM,
            weight_decay=0.0,
            decay_every=steps,
            decay=1.0,
        )
        optimizer = schedule.optimizer(self.classifier.parameters()).optimizer
        train_together(
            self.accelerator,
            {"classifier": self.classifier},
            schedule,
            len(image_set),
            self.seed,
            loss_of,
            checkpoint,
            progress,
            {"sgd": ScheduledOptimizer(optimizer, rate_of)},
        )

    def make_noise(self, image_set: ImageSet, indices: Tensor) -> Tensor:
        """-δ under the trained classifier: int8 [N, 3, R, R]."""
        return self.make_unseen(image_set.batch(indices))

    def make_unseen(self, batch: Batch) -> Tensor:
        """The same for any images."""
        return round_to_levels(self._descend(batch, self.noise.steps))

    def _descend(self, batch: Batch, steps: int) -> Tensor:
        """What ships is n = -δ, so f(x - δ) = f(x + n) and, as f is linear, f(δ) = f(x) - f(x + n): float32
        [N, 3, R, R]."""
        noise = self.noise
        uniform = torch.full((len(batch.labels), self.classes), 1 / self.classes, device=batch.images.device)
        with frozen_in_eval_mode(self.classifier) as f:
            clean = f(batch.images)

            def loss(seen: Tensor, labels: Tensor) -> Tensor:
                shortcut = F.cross_entropy(clean - seen, labels, reduction="sum")
                obfuscation = F.cross_entropy(seen, uniform, reduction="sum")  # KL, but for a constant
                return noise.balance * shortcut + (1 - noise.balance) * obfuscation

            shape = tuple(batch.images.shape[1:])
            start = Draws.final(self.seed, batch.keys).within(self.radius, shape, Purpose.NOISE_START)
            size = float(noise.step_size)
            return pgd(f, batch.images, batch.labels, self.radius, size, steps, start, loss=loss, direction="down")

    def spend(self, image_set: ImageSet) -> int:
        """One gradient for each image of a batch."""
        count = min(self.batch_size, len(image_set))
        batch = image_set.batch(torch.arange(count, device=image_set.labels.device))
        self._descend(batch, 1).sum().item()  # waits for the device
        return count

    def rehearse(self, image_set: ImageSet) -> None:
        """Four steps that change no weights: on a GPU the third is recorded and the fourth replayed."""
        self._train(image_set, 4, 0.0)

    def save(self, path: Path) -> None:
        """Write the classifier's weights."""
        save_weights(path, self.classifier)

    def load(self, path: Path) -> None:
        """Read the classifier's weights.

        Raises:
            InputError: missing, damaged, or of other classes or another resolution.
        """
        load_weights(path, self.classifier)
