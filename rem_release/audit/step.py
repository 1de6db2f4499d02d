"""The training step of a victim: augmentation, the threat's own, the adversary, the loss."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor, nn

from rem_release.core.draws import Draws, Purpose
from rem_release.core.frozen import frozen
from rem_release.core.resampling import augment
from rem_release.threats.images import Batch, TrainingImages
from rem_release.threats.threat import Threat
from rem_release.training.loop import LossOf
from rem_release.verdict.recipe import AuditRecipe


def make_step(
    threat: Threat,
    recipe: AuditRecipe,
    images: TrainingImages,
    seed: int,
    watch: Callable[[Tensor, Tensor], None],
) -> LossOf:
    """The step that the training loop is handed.

    Args:
        threat: what the attacker does.
        recipe: augmentation and adversary.
        images: what is learnt from.
        seed: of the draws.
        watch: told the loss and the share of hits of each step.
    """
    augmentation = "none" if threat.views else recipe.victim.augmentation

    def draw(indices: Tensor, step: int | Tensor) -> Batch:
        x, labels = images.floats(indices)
        draws, samples = Draws(seed, indices, step), threat.draws
        keys = draws.keys(Purpose.TRANSFORM, 0, samples)
        x, labels = augment(x.repeat(samples, 1, 1, 1), keys, augmentation), labels.repeat(samples)
        return Batch(x, labels, labels, images.classes, draws)

    def loss_of(model: nn.Module, wrapped: nn.Module, indices: Tensor, step: int | Tensor) -> Tensor:
        batch = threat.augment(model, draw(indices, step))
        if threat.adversary:
            with frozen(model) as network:
                batch = replace(batch, noise=threat.perturb(network, batch, recipe.adversary)[1])
        loss, logits = threat.loss(wrapped, batch)
        watch(loss, (logits.argmax(1) == batch.labels).float().mean())
        return loss

    return loss_of
