"""Random ±ρ_u signs: the control. It changes the pictures as much as any noise here may, and protects nothing."""

from pathlib import Path

import torch
from torch import Tensor

from rem_release.core.draws import Draws, Purpose
from rem_release.core.levels import round_to_levels
from rem_release.core.norms import project
from rem_release.methods.base import Batch, Pictures
from rem_release.training.checkpoints import Checkpoint
from rem_release.training.loop import Progress


class RandomSigns:
    """Every pixel moves by ±ρ_u, as far as the box lets it.

    Args:
        levels: floor(255·ρ_u).
        seed: of the draws.
    """

    training_gradients = 0
    noise_gradients = 0

    def __init__(self, levels: int, seed: int) -> None:
        self.radius = levels / 255
        self.seed = seed

    def train(self, pictures: Pictures, checkpoint: Checkpoint | None, progress: Progress | None) -> None:
        """There is nothing to train."""

    def make_noise(self, batch: Batch) -> Tensor:
        """int8 [N, 3, R, R]."""
        draws = Draws.final(self.seed, batch.keys)
        signs = torch.sign(draws.within(1.0, tuple(batch.images.shape[1:]), Purpose.RANDOM_SIGNS))
        return round_to_levels(project(signs * self.radius, batch.images, self.radius))

    def save(self, path: Path) -> None:
        """There is nothing to save."""

    def load(self, path: Path) -> None:
        """There is nothing to load."""
