"""REM, SEM and EM: settings of the one min-min-max solver (paper Eq. 5, Algorithm 1)."""

from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from rem_release.core.draws import Draws
from rem_release.core.solver import NoiseSettings, generator_loss, min_max_noise
from rem_release.methods.base import Batch, Pictures
from rem_release.models import build_model
from rem_release.radius import whole_levels
from rem_release.recipe import Noise, Recipe
from rem_release.training.checkpoints import Checkpoint, load_weights, save_weights
from rem_release.training.loop import Progress, Schedule, train


def solver_settings(noise: Noise) -> NoiseSettings:
    """The recipe's words as the paper's symbols; ρ_u in whole levels."""
    return NoiseSettings(
        rho_u=whole_levels(noise.rho_u) / 255,
        alpha_u=float(noise.step_size),
        K_u=noise.steps,
        rho_a=float(noise.rho_a),
        alpha_a=float(noise.adversary_step_size),
        K_a=noise.adversary_steps,
        J=noise.eot.samples,
        transform=noise.eot.transform,
        inner="uniform" if noise.method == "sem" else "pgd",
    )


class MinMaxNoise:
    """A noise generator: a source model trained by Algorithm 1, and the noise that minimises its loss.

    Args:
        recipe: noise and training settings.
        classes: number of classes.
        seed: of initial weights, order of images and draws.
        accelerator: device and processes.
    """

    def __init__(self, recipe: Recipe, classes: int, seed: int, accelerator: Accelerator) -> None:
        self.noise = solver_settings(recipe.noise)
        self.seed = seed
        self.accelerator = accelerator
        settings = recipe.generator
        self.schedule = Schedule(
            steps=settings.steps,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            decay_every=settings.decay_every,
            decay=settings.decay,
        )
        model = build_model(settings.model, classes, recipe.data.resolution, seed)
        self.model = model.to(memory_format=torch.channels_last).to(accelerator.device)

    @property
    def training_gradients(self) -> int:
        """Sample gradient evaluations of a training step, for each image of its batch."""
        return self.noise.gradients_per_step

    @property
    def noise_gradients(self) -> int:
        """Sample gradient evaluations of the noise of one image."""
        return self.noise.gradients_per_image

    def train(self, pictures: Pictures, checkpoint: Checkpoint | None, progress: Progress | None) -> None:
        """Algorithm 1 over all steps of the recipe."""

        def loss_of(model: nn.Module, wrapped: nn.Module, indices: Tensor, step: int) -> Tensor:
            batch = pictures.batch(indices)
            draws = Draws(self.seed, batch.keys, step)
            return generator_loss(model, wrapped, batch.images, batch.labels, self.noise, draws, batch.route)

        train(self.accelerator, self.model, self.schedule, len(pictures), self.seed, loss_of, checkpoint, progress)

    def make_noise(self, batch: Batch) -> Tensor:
        """δ_u of Eq. 5 under the trained generator: int8 [N, 3, R, R]."""
        draws = Draws.final(self.seed, batch.keys)
        return min_max_noise(self.model, batch.images, batch.labels, self.noise, draws, batch.route)

    def save(self, path: Path) -> None:
        """Write the generator's weights."""
        save_weights(path, self.model)

    def load(self, path: Path) -> None:
        """Read the generator's weights.

        Raises:
            InputError: missing, damaged, or of another network.
        """
        load_weights(path, self.model)
