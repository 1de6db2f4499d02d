"""Random ±ρ_u signs: the control. It changes images as much as any noise here may, and protects nothing."""

from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from rem_release.methods.drawn import Drawn, draw_signs
from rem_release.methods.fields import strict
from rem_release.methods.method import Words

if TYPE_CHECKING:
    from torch import Tensor

    from rem_release.methods.maker import Batch

_LIMITS = """\
Anything. Random noise is the control that protected data is compared with: it shows how much of an effect is due to
noise as such.
"""


@dataclass(frozen=True, kw_only=True, config=strict)
class RandomSigns(Drawn):
    """Every pixel moves by ±ρ_u, as far as the box lets it."""

    method: Literal["random"] = "random"

    words: ClassVar[Words] = Words(
        name="uniformly random signs, made without any model",
        title="Images with random noise (a control, not protected)",
        tags=("random-noise", "control"),
        limits=_LIMITS,
    )
    is_control: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _leave_out_the_rest(cls, given: Any) -> Any:
        """A control takes the recipe of what it is compared with: what only that needs is passed over."""
        from rem_release.methods import METHODS

        values = dict(given.kwargs or {}) if isinstance(given, ArgsKwargs) else given
        if not isinstance(values, dict):
            return given
        of_others = {key for each in METHODS.values() for key in each.__dataclass_fields__}  # type: ignore[attr-defined]
        return {key: value for key, value in values.items() if key in ("method", "rho_u") or key not in of_others}

    def with_radii(self, rho_u: Fraction | None, rho_a: Fraction | None) -> Self:
        """See `Method.with_radii`. A control takes the options of what it is compared with: ρ_a is passed over."""
        return super().with_radii(rho_u, None)

    def draw(self, batch: "Batch", seed: int) -> "Tensor":
        """See `Drawn.draw`: signs of each image."""
        from rem_release.core.draws import Purpose

        return draw_signs(seed, batch.keys, tuple(batch.images.shape[1:]), Purpose.RANDOM_SIGNS)
