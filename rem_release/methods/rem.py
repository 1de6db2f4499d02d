"""REM: robust error-minimizing noise (Fu et al., ICLR 2022; paper Eq. 5, Algorithm 1)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic.dataclasses import dataclass

from rem_release.methods.fields import strict
from rem_release.methods.method import Words
from rem_release.methods.min_max import FU_2022, Adversarial
from rem_release.radius import whole_levels

if TYPE_CHECKING:
    from rem_release.core.solver import NoiseSettings

_LIMITS = r"""
These are **other people's published figures for CIFAR-10, not measurements of this dataset**: test accuracy in
percent of models trained on data protected by REM with ρ_u = 8/255 and ρ_a = 4/255, beside the same training on clean
data. Where the two are close, the protection is gone.

| the attacker uses | on protected data | on clean data | source |
|---|---|---|---|
| standard training | 27.1 | 94.7 | Fu et al., Table 1 |
| adversarial training at 2/255 | 30.7 | 92.4 | Fu et al., Table 1 |
| adversarial training at 4/255 = ρ_a | 48.2 | 89.5 | Fu et al., Table 1 |
| adversarial training at 6/255 | 81.9 | 87.5 | MI-UE, ICLR 2026 |
| adversarial training at 8/255 | 86.0 | 85.1 | MI-UE, ICLR 2026 |
| adversarial training at 8/255 against ρ_a = ρ_u = 8/255 | 84.2 | 84.9 | EntF, ICLR 2023 |
| adversarial training at 4/255 with DenseNet-121 | 81.5 | 83.3 | Fu et al., Table 3 |
| adversarial training at 4/255, only 80 % of the images protected | 88.1 | 89.5 | Fu et al., Table 2 |
| greyscale training images | 92.3 (38.9 elsewhere: published figures conflict) | | APBench* |
| JPEG compression, quality 10 | 85.4 | | APBench* |
| strong augmentation (UEraser-max) | 92.4 | | APBench* |
| diffusion purification (AVATAR) | 82.4 | | APBench* |
| posterised images (2 bits) | 58.6 | | APBench* |

\* The leaderboard's REM is a simpler variant than the paper's: no expectation over transformation, no adversarial
training of the source model.

With twice the radii (ρ_u = 16/255, ρ_a = 8/255) the paper reports 24.1, 28.3 and 36.4 at adversarial training radii
of 0, 4/255 and 8/255 (Table 7), where clean data gives 94.7, 89.5 and 84.8. Fine-tuning a backbone that was
pretrained elsewhere weakens such noise too: 62 has been published for the related EM.
"""


@dataclass(frozen=True, kw_only=True, config=strict)
class Rem(Adversarial):
    """The min-min-max of Eq. 5: the inner maximum by PGD."""

    method: Literal["rem"] = "rem"

    words: ClassVar[Words] = Words(
        name="robust error-minimizing noise (REM; Fu et al., ICLR 2022)",
        title="Images protected with robust error-minimizing noise",
        tags=("unlearnable-examples", "data-protection", "robust-error-minimizing-noise"),
        limits=_LIMITS,
        citations=(FU_2022,),
    )

    def solve(self) -> "NoiseSettings":
        """See `MinMax.solve`."""
        return solve(self, "pgd")

    @classmethod
    def _list_adversary(cls, protection: Mapping[str, Any]) -> list[tuple[str, str]]:
        p = protection
        return [("Adversary steps", f"K_a = {p['adversary_steps']} of α_a = {p['adversary_step_size']}")]


def solve(noise: Adversarial, inner: Literal["pgd", "uniform"]) -> "NoiseSettings":
    """The fields as the paper's symbols."""
    from rem_release.core.solver import NoiseSettings

    return NoiseSettings(
        rho_u=whole_levels(noise.rho_u) / 255,
        alpha_u=float(noise.step_size),
        K_u=noise.steps,
        rho_a=float(noise.rho_a),
        alpha_a=float(noise.adversary_step_size),
        K_a=noise.adversary_steps,
        J=noise.eot.samples,
        transform=noise.eot.transform,
        inner=inner,
    )
