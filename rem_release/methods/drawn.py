"""Noise that is drawn without any model: a function of the images' labels and keys and of the seed."""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass

from rem_release.methods.fields import Radius, strict
from rem_release.methods.method import Method, Phase, Setting
from rem_release.radius import whole_levels

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

    from rem_release.methods.maker import Batch, ImageSet, OpenStage
    from rem_release.training.checkpoints import Checkpoint


@dataclass(frozen=True, kw_only=True, config=strict)
class Drawn(Method):
    """What all of them have in common."""

    rho_u: Radius
    """ρ_u."""

    trains: ClassVar[bool] = False

    @abstractmethod
    def draw(self, batch: "Batch", seed: int) -> "Tensor":
        """The noise in units of ρ_u, before it is projected: float32 [N, 3, R, R]."""

    def list_phases(self, setting: Setting, images: int, padded: int) -> list[Phase]:
        """See `Method.list_phases`."""
        return [Phase("Making noise", 0)]

    def build(self, setting: Setting, accelerator: "Accelerator") -> "DrawnMaker":
        """See `Method.build`."""
        return DrawnMaker(whole_levels(self.rho_u), partial(self.draw, seed=setting.seed))


class DrawnMaker:
    """Draws the noise, see `methods.maker.Maker`.

    Args:
        levels: floor(255·ρ_u).
        draw: gives the noise of a batch in units of ρ_u, float32 [N, 3, R, R].
    """

    batch_size = 128

    def __init__(self, levels: int, draw: "Callable[[Batch], Tensor]") -> None:
        self.radius = levels / 255
        self.draw = draw

    def order(self, image_set: "ImageSet") -> "Tensor":
        """As they stand."""
        from rem_release.methods.maker import own_order

        return own_order(image_set)

    def train(self, image_set: "ImageSet", checkpoint: "Checkpoint | None", stage: "OpenStage") -> None:
        """There is nothing to train."""

    def make_noise(self, image_set: "ImageSet", indices: "Tensor") -> "Tensor":
        """int8 [N, 3, R, R]."""
        return self.make_unseen(image_set.batch(indices))

    def make_unseen(self, batch: "Batch") -> "Tensor":
        """int8 [N, 3, R, R]."""
        from rem_release.core.levels import round_to_levels
        from rem_release.core.norms import project

        return round_to_levels(project(self.draw(batch) * self.radius, batch.images, self.radius))

    def spend(self, image_set: "ImageSet") -> int:
        """No gradient."""
        return 0

    def rehearse(self, image_set: "ImageSet") -> None:
        """There is nothing to train."""

    def save(self, path: Path) -> None:
        """There is nothing to save."""

    def load(self, path: Path) -> None:
        """There is nothing to load."""


def draw_signs(seed: int, ids: "Tensor", shape: tuple[int, ...], purpose: int) -> "Tensor":
    """Random signs, the same where the id is the same: ±1, float32 [N, *shape].

    Args:
        seed: of the run.
        ids: int64 [N].
        shape: of the signs of one id.
        purpose: see `core.draws.Draws.keys`.
    """
    import torch

    from rem_release.core.draws import Draws

    return torch.sign(Draws.final(seed, ids).within(1.0, shape, purpose))
