"""What REM, SEM, EM and TAP have in common: settings of the one min-min-max solver (paper Eq. 5, Algorithm 1)."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from rem_release.errors import InputError
from rem_release.methods.fields import EotSettings, GeneratorSettings, Radius, strict
from rem_release.methods.method import Phase, Setting
from rem_release.methods.stepped import Stepped
from rem_release.radius import format_radius, whole_levels

if TYPE_CHECKING:
    from accelerate import Accelerator

    from rem_release.core.solver import NoiseSettings
    from rem_release.methods.min_max_maker import MinMaxMaker

TRAINING = "Training the noise generator"
FU_2022 = """\
@inproceedings{fu2022robust,
  title = {Robust Unlearnable Examples: Protecting Data Against Adversarial Learning},
  author = {Fu, Shaopeng and He, Fengxiang and Liu, Yang and Shen, Li and Tao, Dacheng},
  booktitle = {International Conference on Learning Representations},
  year = {2022}
}"""
"""whose solver it is"""


@dataclass(frozen=True, kw_only=True, config=strict)
class MinMax(Stepped):
    """What all of them do."""

    def solve(self) -> "NoiseSettings":
        """The fields as the paper's symbols; ρ_u in whole levels. Here without an adversary."""
        from rem_release.core.solver import NoiseSettings

        eot = self.describe()["eot"]
        return NoiseSettings(
            rho_u=whole_levels(self.rho_u) / 255,
            alpha_u=float(self.step_size),
            K_u=self.steps,
            rho_a=0.0,
            alpha_a=0.0,
            K_a=0,
            J=eot["samples"],
            transform=eot["transform"],
            inner="pgd",
        )

    def list_phases(self, setting: Setting, images: int, padded: int) -> list[Phase]:
        """See `Method.list_phases`."""
        training, solver = generator_of(setting), self.solve()
        seen = training.steps * min(training.batch_size, images)
        return [
            Phase(TRAINING, seen * solver.gradients_per_step),
            Phase("Making noise", padded * solver.gradients_per_image),
        ]

    @classmethod
    def list_rows(cls, protection: Mapping[str, Any]) -> list[tuple[str, str]]:
        """See `Method.list_rows`."""
        p, eot = protection, protection["eot"]
        augmentation = "none" if eot["transform"] == "none" else f"{eot['transform']} augmentation"
        return [
            *super().list_rows(p),
            *cls._list_adversary(p),
            ("Expectation over transformation", f"{augmentation}, J = {eot['samples']}"),
        ]

    @classmethod
    def _list_adversary(cls, protection: Mapping[str, Any]) -> list[tuple[str, str]]:
        return []

    def count_checkpoint_bytes(self, setting: Setting) -> int:
        """See `Method.count_checkpoint_bytes`: weights and momentum."""
        from rem_release.models import build_model

        model = build_model(generator_of(setting).model, setting.classes, setting.data.resolution, setting.seed)
        return 2 * sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())

    def build(self, setting: Setting, accelerator: "Accelerator") -> "MinMaxMaker":
        """See `Method.build`."""
        from rem_release.methods.min_max_maker import MinMaxMaker

        return MinMaxMaker(self.solve(), setting, generator_of(setting), accelerator)


@dataclass(frozen=True, kw_only=True, config=strict)
class Adversarial(MinMax):
    """The fields of those that have an adversary and EOT."""

    has_adversary: ClassVar[bool] = True

    rho_a: Radius
    """ρ_a, the adversarial radius that the noise is made to withstand."""
    adversary_steps: Annotated[int, Field(ge=0)]
    """K_a, steps of the inner maximum."""
    adversary_step_size: Radius
    """α_a."""
    eot: EotSettings

    @property
    def withstands(self) -> Fraction:
        """See `Method.withstands`."""
        return self.rho_a

    def check(self) -> None:
        """See `Method.check`: ρ_a below ρ_u (paper 4.2)."""
        super().check()
        rho_u, rho_a = format_radius(self.rho_u), format_radius(self.rho_a)
        if self.rho_a >= self.rho_u:
            raise InputError(
                f"noise.rho_a {rho_a} is not below noise.rho_u {rho_u}: such noise cannot suppress anything "
                f"(paper 4.2); half of rho_u is the usual choice"
            )
        if self.rho_a > 0 and not (self.adversary_steps and self.adversary_step_size):
            raise InputError(
                f"noise.method {self.method} with rho_a {rho_a} needs adversary_steps and adversary_step_size above 0"
            )

    def warn(self) -> list[str]:
        """See `Method.warn`."""
        if 2 * self.rho_a > self.rho_u:
            return ["rho_a is more than half of rho_u: protection gets weaker (paper 4.2, Fig. 8)"]
        return []

    def with_radii(self, rho_u: Fraction | None, rho_a: Fraction | None) -> Self:
        """See `Method.with_radii`."""
        noise = super().with_radii(rho_u, rho_a)
        if rho_a is None:
            return noise
        step = self.adversary_step_size * rho_a / self.rho_a if self.rho_a else self.adversary_step_size
        return replace(noise, rho_a=rho_a, adversary_step_size=min(step, Fraction(1)))

    def describe(self) -> dict[str, Any]:
        """See `Method.describe`."""
        return {
            **super().describe(),
            "adversary_steps": self.adversary_steps,
            "adversary_step_size": format_radius(self.adversary_step_size),
            "eot": {"transform": self.eot.transform, "samples": self.eot.samples},
        }


def generator_of(setting: Setting) -> GeneratorSettings:
    """The training of the source model, which recipes of these methods have."""
    assert setting.generator is not None  # `Recipe` sees to it
    return setting.generator
