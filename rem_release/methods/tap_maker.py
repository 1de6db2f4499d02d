"""TAP: a source model trained on clean images, and the noise that makes it take each image for one of another class."""

from dataclasses import replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from rem_release.core.draws import FINAL_PASS, Draws, Purpose, own_purpose
from rem_release.core.resampling import augment
from rem_release.core.solver import NoiseSettings
from rem_release.methods.fields import GeneratorSettings
from rem_release.methods.maker import Batch, ImageSet, OpenStage
from rem_release.methods.method import Setting
from rem_release.methods.min_max_maker import MinMaxMaker
from rem_release.methods.tap import TRAINING
from rem_release.training.checkpoints import Checkpoint
from rem_release.training.loop import LossOf

Permutation = Literal["next", "random"]


def permute_classes(permutation: Permutation, classes: int, seed: int) -> Tensor:
    """g, the target of each class, int64 [C]: one cycle through all classes, so that none is its own target.

    Args:
        permutation: `next`, in the order of the classes; `random`, in one that the seed draws.
        classes: C, at least 2.
        seed: of the run.
    """
    order = torch.arange(classes)
    if permutation == "random":
        order = Draws(seed, order, FINAL_PASS).keys(own_purpose("tap targets")).argsort()
    targets = torch.empty_like(order)
    targets[order] = order.roll(-1)
    return targets


class TapMaker(MinMaxMaker):
    """See `methods.maker.Maker`. The solver without adversary does the attack: it descends on the loss of the labels
    that it is given, which here are g(y).

    Args:
        permutation: see `permute_classes`.
        noise: the symbols of Algorithm 1; its transformation augments the clean images, too.
        setting: what it is built for.
        training: of the source model f_0.
        accelerator: device and processes.
    """

    phase: ClassVar[str] = TRAINING

    def __init__(
        self,
        permutation: Permutation,
        noise: NoiseSettings,
        setting: Setting,
        training: GeneratorSettings,
        accelerator: Accelerator,
    ) -> None:
        super().__init__(noise, setting, training, accelerator)
        self.targets = permute_classes(permutation, setting.classes, setting.seed).to(accelerator.device)

    def train(self, image_set: ImageSet, checkpoint: Checkpoint | None, stage: OpenStage) -> None:
        """Ordinary training (paper Eq. 1) over all steps of the recipe."""
        super().train(image_set, checkpoint.of("clean_model") if checkpoint else None, stage)

    def _loss_on(self, image_set: ImageSet, noise: NoiseSettings) -> LossOf:
        """The step that the training loop is handed: the source model learns clean images, augmented."""

        def loss_of(model: nn.Module, wrapped: nn.Module, indices: Tensor, step: int | Tensor) -> Tensor:
            batch = image_set.batch(indices)
            keys = Draws(self.seed, batch.keys, step).keys(Purpose.OUTER_TRANSFORM)
            return F.cross_entropy(wrapped(augment(batch.images, keys, noise.transform)), batch.labels)

        return loss_of

    def make_unseen(self, batch: Batch) -> Tensor:
        """arg min of ℓ(f_0(t(x + δ_u)), g(y)) over δ_u (paper A.3.2), of any images: int8 [N, 3, R, R]."""
        return super().make_unseen(replace(batch, labels=self.targets[batch.labels]))
