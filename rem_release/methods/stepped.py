"""The fields of noise that is optimised in steps within ±ρ_u."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Annotated, Any, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from rem_release.errors import InputError
from rem_release.methods.fields import Radius, strict
from rem_release.methods.method import Method
from rem_release.radius import format_radius


@dataclass(frozen=True, kw_only=True, config=strict)
class Stepped(Method):
    """The fields of all of them."""

    rho_u: Radius
    """ρ_u."""
    steps: Annotated[int, Field(ge=0)]
    """K_u, steps of the defensive noise."""
    step_size: Radius
    """α_u."""

    def check(self) -> None:
        """See `Method.check`; noise needs steps."""
        super().check()
        if self.steps < 1 or self.step_size == 0:
            raise InputError(f"noise.method {self.method} needs noise.steps and noise.step_size above 0")

    def with_radii(self, rho_u: Fraction | None, rho_a: Fraction | None) -> Self:
        """See `Method.with_radii`."""
        noise = super().with_radii(rho_u, rho_a)
        if rho_u is None:
            return noise
        step = self.step_size * rho_u / self.rho_u if self.rho_u else self.step_size
        return replace(noise, step_size=min(step, Fraction(1)))

    def describe(self) -> dict[str, Any]:
        """See `Method.describe`."""
        return {**super().describe(), "steps": self.steps, "step_size": format_radius(self.step_size)}

    @classmethod
    def list_rows(cls, protection: Mapping[str, Any]) -> list[tuple[str, str]]:
        """See `Method.list_rows`."""
        return [("Noise steps", f"K_u = {protection['steps']} of α_u = {protection['step_size']}")]
