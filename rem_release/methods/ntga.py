"""NTGA: neural tangent generalization attacks (Yuan and Wu, ICML 2021; paper A.3.2)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from rem_release.methods.fields import strict
from rem_release.methods.method import Phase, Setting, Words
from rem_release.methods.min_max import FU_2022
from rem_release.methods.stepped import Stepped

if TYPE_CHECKING:
    from accelerate import Accelerator

    from rem_release.methods.ntga_maker import NtgaMaker

_YUAN_2021 = """\
@inproceedings{yuan2021neural,
  title = {Neural Tangent Generalization Attacks},
  author = {Yuan, Chia-Hung and Wu, Shan-Hung},
  booktitle = {International Conference on Machine Learning},
  pages = {12230--12240},
  year = {2021}
}"""

_LIMITS = """\
NTGA is not made to withstand adversarial training, and does not. These are **other people's published figures for
CIFAR-10, not measurements of this dataset**: test accuracy in percent of models trained on data protected by NTGA with
ρ_u = 8/255, beside the same training on clean data. Where the two are close, the protection is gone.

| the attacker uses | on protected data | on clean data | source |
|---|---|---|---|
| standard training | 16.3 | 94.7 | Fu et al., Table 1 |
| the same elsewhere: published figures conflict | 39.7 | 91.9 | Yuan and Wu |
| standard training of DenseNet-121 | 47.4 | 92.7 | Yuan and Wu |
| adversarial training at 1/255 | 41.5 | 93.7 | Fu et al., Table 1 |
| adversarial training at 2/255 | 85.1 | 92.4 | Fu et al., Table 1 |
| adversarial training at 3/255 | 89.4 | 90.9 | Fu et al., Table 1 |
| adversarial training at 4/255 | 89.0 | 89.5 | Fu et al., Table 1 |
| adversarial training at 8/255 | 69.7 | | APBench |
| adversarial training at 4/255 with DenseNet-121 | 80.7 | 83.3 | Fu et al., Table 3 |
| adversarial training at 2/255, only 80 % of the images protected | 91.7 | 92.4 | Fu et al., Table 2 |
| greyscale training images | 70.4 | | APBench |
| JPEG compression, quality 10 | 68.7 | | APBench |
| strong augmentation (UEraser-max) | 86.8 | | APBench |
| diffusion purification (AVATAR) | 86.2 | | APBench |
| posterised images (2 bits) | 59.3 | | APBench |

Fu et al. made this noise with the code of Yuan and Wu. As it is published, that code takes every gradient at the clean
images and goes the whole radius along it, which is one step of FGSM; here the gradient follows the noise.
"""


@dataclass(frozen=True, kw_only=True, config=strict)
class Ntga(Stepped):
    """Noise by which an infinitely wide network that learns from a block of images errs on others."""

    method: Literal["ntga"] = "ntga"
    block_size: Annotated[int, Field(ge=1)] = 1000
    """n, images whose noise is made together; time grows with its cube."""
    validation: Annotated[int, Field(ge=1)] = 1000
    """m, images outside the block, on which the network shall err."""
    time: Annotated[float, Field(ge=1e-6, le=1e12)] = 4096.0
    """t, how long the network is trained: steps of gradient descent times learning rate."""
    ridge: Annotated[float, Field(ge=0, le=1e6)] = 1.0e-4
    """What is added to the diagonal of the block's kernel, as a part of its mean."""

    words: ClassVar[Words] = Words(
        name="neural tangent generalization attack noise (NTGA; Yuan and Wu, ICML 2021)",
        title="Images protected with neural tangent generalization attack noise",
        tags=("unlearnable-examples", "data-protection", "neural-tangent-generalization-attack"),
        limits=_LIMITS,
        citations=(_YUAN_2021, FU_2022),
    )
    trains: ClassVar[bool] = False
    refuses_unseen: ClassVar[str | None] = "noise.method ntga makes the noise of a block of images together"

    def refuses_count(self, images: int) -> str | None:
        """See `Method.refuses_count`: beside a block there are half as many images to validate on."""
        most = 2 * images // 3
        if self.block_size <= most:
            return None
        cure = f"try --set noise.block_size={most}" if most else "add images"
        return (
            f"noise.block_size {self.block_size} is more than two thirds of the {images} images that get a noise of "
            f"their own, and those outside a block are what it is validated on; {cure}"
        )

    def list_phases(self, setting: Setting, images: int, padded: int) -> list[Phase]:
        """See `Method.list_phases`."""
        return [Phase("Making noise", padded * self.steps)]

    def describe(self) -> dict[str, Any]:
        """See `Method.describe`."""
        settings = {key: getattr(self, key) for key in ("block_size", "validation", "time", "ridge")}
        return {**super().describe(), "settings": settings}

    @classmethod
    def list_rows(cls, protection: Mapping[str, Any]) -> list[tuple[str, str]]:
        """See `Method.list_rows`."""
        own = protection["settings"]
        time, block, validation = (
            f"{own[key]:g}" if key in own else "not stated" for key in ("time", "block_size", "validation")
        )
        return [
            *super().list_rows(protection),
            (
                "Ensemble",
                f"infinitely wide networks of five layers with erf, computed in float64; training time {time}",
            ),
            ("Images of a block", f"{block}, validated on others: {validation} at most"),
        ]

    def build(self, setting: Setting, accelerator: "Accelerator") -> "NtgaMaker":
        """See `Method.build`."""
        from rem_release.methods.ntga_maker import NtgaMaker

        return NtgaMaker(self, setting)
