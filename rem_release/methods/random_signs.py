"""Random ±ρ_u signs: the control. It changes images as much as any noise here may, and protects nothing."""

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from rem_release.methods.fields import Radius, strict
from rem_release.methods.method import Method, Phase, Setting, Words
from rem_release.radius import whole_levels

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

    from rem_release.methods.maker import Batch, ImageSet, OpenStage
    from rem_release.training.checkpoints import Checkpoint

_OF_OTHERS = {"steps", "step_size", "rho_a", "adversary_steps", "adversary_step_size", "eot", "permutation"}
_OF_OTHERS |= {"block_size", "validation", "time", "ridge"}

_LIMITS = """\
Anything. Random noise is the control that protected data is compared with: it shows how much of an effect is due to
noise as such.
"""


@dataclass(frozen=True, kw_only=True, config=strict)
class RandomSigns(Method):
    """Every pixel moves by ±ρ_u, as far as the box lets it."""

    method: Literal["random"] = "random"
    rho_u: Radius

    words: ClassVar[Words] = Words(
        name="uniformly random signs, made without any model",
        title="Images with random noise (a control, not protected)",
        tags=("random-noise", "control"),
        limits=_LIMITS,
    )
    is_control: ClassVar[bool] = True
    trains: ClassVar[bool] = False

    @model_validator(mode="before")
    @classmethod
    def _leave_out_the_rest(cls, given: Any) -> Any:
        """A control takes the recipe of what it is compared with: what only that needs is passed over."""
        values = dict(given.kwargs or {}) if isinstance(given, ArgsKwargs) else given
        return (
            {key: value for key, value in values.items() if key not in _OF_OTHERS}
            if isinstance(values, dict)
            else given
        )

    def with_radii(self, rho_u: Fraction | None, rho_a: Fraction | None) -> Self:
        """See `Method.with_radii`. A control takes the options of what it is compared with: ρ_a is passed over."""
        return super().with_radii(rho_u, None)

    def list_phases(self, setting: Setting, images: int, padded: int) -> list[Phase]:
        """See `Method.list_phases`."""
        return [Phase("Making noise", 0)]

    def build(self, setting: Setting, accelerator: "Accelerator") -> "SignMaker":
        """See `Method.build`."""
        return SignMaker(whole_levels(self.rho_u), setting.seed)


class SignMaker:
    """Draws the signs.

    Args:
        levels: floor(255·ρ_u).
        seed: of the draws.
    """

    batch_size = 128

    def __init__(self, levels: int, seed: int) -> None:
        self.radius = levels / 255
        self.seed = seed

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
        import torch

        from rem_release.core.draws import Draws, Purpose
        from rem_release.core.levels import round_to_levels
        from rem_release.core.norms import project

        draws = Draws.final(self.seed, batch.keys)
        signs = torch.sign(draws.within(1.0, tuple(batch.images.shape[1:]), Purpose.RANDOM_SIGNS))
        return round_to_levels(project(signs * self.radius, batch.images, self.radius))

    def spend(self, image_set: "ImageSet") -> int:
        """No gradient."""
        return 0

    def rehearse(self, image_set: "ImageSet") -> None:
        """There is nothing to train."""

    def save(self, path: Path) -> None:
        """There is nothing to save."""

    def load(self, path: Path) -> None:
        """There is nothing to load."""
