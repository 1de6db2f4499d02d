"""SEM: stable error-minimizing noise (Liu et al., AAAI 2024)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic.dataclasses import dataclass

from rem_release.methods.fields import strict
from rem_release.methods.method import Words
from rem_release.methods.min_max import FU_2022, Adversarial
from rem_release.methods.rem import solve

if TYPE_CHECKING:
    from rem_release.core.solver import NoiseSettings

_LIU_2024 = """\
@inproceedings{liu2024stable,
  title = {Stable Unlearnable Example: Enhancing the Robustness of Unlearnable Examples via Stable Error-Minimizing Noise},
  author = {Liu, Yixin and Xu, Kaidi and Chen, Xun and Sun, Lichao},
  booktitle = {AAAI Conference on Artificial Intelligence},
  year = {2024}
}"""  # noqa: E501

_LIMITS = """\
These are **other people's published figures for CIFAR-10, not measurements of this dataset**: test accuracy in
percent of models trained on data protected by SEM with ρ_u = 8/255 and ρ_a = 4/255, beside the same training on clean
data. Where the two are close, the protection is gone.

| the attacker uses | on protected data | on clean data | source |
|---|---|---|---|
| standard training | 14.8 | 94.5 | MI-UE, ICLR 2026 |
| adversarial training at 2/255 | 19.4 | 92.0 | MI-UE, ICLR 2026 |
| adversarial training at 4/255 = ρ_a | 29.8 | 89.8 | MI-UE, ICLR 2026 |
| adversarial training at 6/255 | 86.8 | 87.5 | MI-UE, ICLR 2026 |
| adversarial training at 8/255 | 86.0 | 85.1 | MI-UE, ICLR 2026 |

Against the related EM and REM, greyscale training images (92), strong augmentation (UEraser-max, 92 to 94), JPEG
compression at quality 10 (81 to 85), diffusion purification (AVATAR, 76 to 82; all APBench), DenseNet-121 (Fu et al.,
Table 3), a pretrained backbone (62) and partial protection bring the accuracy back. Nothing says that SEM does better
there.
"""


@dataclass(frozen=True, kw_only=True, config=strict)
class Sem(Adversarial):
    """REM whose inner maximum is replaced by one uniform draw."""

    method: Literal["sem"] = "sem"

    words: ClassVar[Words] = Words(
        name="stable error-minimizing noise (SEM; Liu et al., AAAI 2024)",
        title="Images protected with stable error-minimizing noise",
        tags=("unlearnable-examples", "data-protection", "stable-error-minimizing-noise"),
        limits=_LIMITS,
        citations=(_LIU_2024, FU_2022),
    )

    def solve(self) -> "NoiseSettings":
        """See `MinMax.solve`."""
        return solve(self, "uniform")

    @classmethod
    def _list_adversary(cls, protection: Mapping[str, Any]) -> list[tuple[str, str]]:
        p = protection
        steps = f"K_a = {p['adversary_steps']} steps of α_a = {p['adversary_step_size']} for the source model"
        return [("Adversary", f"one uniform draw within ±ρ_a for the noise; {steps}")]
