"""PIL: perturbation-induced linearization, noise of a linear classifier (Liu, Chen and Zhang, ICLR 2026)."""

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from rem_release.methods.fields import Radius, strict
from rem_release.methods.method import Phase, Setting, Words
from rem_release.methods.stepped import Stepped

if TYPE_CHECKING:
    from accelerate import Accelerator

    from rem_release.methods.pil_maker import PilMaker

TRAINING = "Training the linear classifier"
_LIU_2026 = """\
@inproceedings{liu2026perturbation,
  title = {Perturbation-Induced Linearization: Constructing Unlearnable Data with Solely Linear Classifiers},
  author = {Liu, Jinlin and Chen, Wei and Zhang, Xiaojin},
  booktitle = {International Conference on Learning Representations},
  year = {2026}
}"""

_LIMITS = """\
Such noise is a shortcut for ordinary training, and not made to withstand adversarial training. These are **other
people's published figures, not measurements of this dataset**: test accuracy in percent of models in standard training
on data protected by PIL with ρ_u = 8/255, and on clean data (the authors' own table).

| the attacker trains | CIFAR-10 | clean | CIFAR-100 | clean |
|---|---|---|---|---|
| ResNet-18 | 12.8 | 92.1 | 2.1 | 72.7 |
| ResNet-50 | 20.3 | 89.5 | 1.2 | 65.9 |
| VGG-19 | 15.2 | 90.6 | 1.4 | 64.6 |
| DenseNet-121 | 17.7 | 93.5 | 1.2 | 75.2 |
| MobileNet-V2 | 14.1 | 91.9 | 1.0 | 70.7 |

The noises of a class are nearly one: on CIFAR-10 their mean has 98 % of their size. One original of a class gives away
the noise of the others (correlation 0.96 there), and so does the mean of 500 images, less what is smooth in it (0.72).
"""

_ROWS = {
    "balance": "Balance λ, of the classifier on the noise alone against it on the image",
    "training_steps": "Training steps of the surrogate, a linear classifier without bias on clean pixels",
}


@dataclass(frozen=True, kw_only=True, config=strict)
class Pil(Stepped):
    """A classifier f(x) = W x is trained on clean images. Then noise δ is found by signed steps down
    λ·CE(f(δ), y) + (1 - λ)·KL(uniform ‖ softmax f(x - δ)), and x - δ is released.

    The published code makes W of two factors, which is the same set of functions.
    """

    method: Literal["pil"] = "pil"
    steps: Annotated[int, Field(ge=0)] = 30
    """K_u."""
    step_size: Radius = Fraction(8, 2550)
    """α_u."""
    balance: Annotated[float, Field(ge=0, le=1)] = 0.9
    """λ."""
    training_steps: Annotated[int, Field(ge=1)] = 2940
    """Of the classifier: 30 epochs of CIFAR-10. Its learning rate falls by a cosine in thirty stairs. Few steps leave
    it as it was drawn, and on few images many overfit it; then the noise is weak."""
    batch_size: Annotated[int, Field(ge=1)] = 512
    """Images a step of the classifier, and images that noise is made for at once."""
    learning_rate: Annotated[float, Field(gt=0, le=3e38)] = 0.003
    """Of the classifier on 32 × 32 pixels, with momentum 0.9; on R × R it is (32/R)² of it, which learns as fast."""

    words: ClassVar[Words] = Words(
        name="perturbation-induced linearization (PIL; Liu et al., ICLR 2026)",
        title="Images protected with noise of a linear classifier",
        tags=("unlearnable-examples", "data-protection", "perturbation-induced-linearization"),
        limits=_LIMITS,
        citations=(_LIU_2026,),
    )
    trains: ClassVar[bool] = False
    """Not as `generator` says."""

    def list_phases(self, setting: Setting, images: int, padded: int) -> list[Phase]:
        """See `Method.list_phases`: one gradient of the classifier for each image of each step."""
        return [
            Phase(TRAINING, self.training_steps * min(self.batch_size, images)),
            Phase("Making noise", padded * self.steps),
        ]

    def describe(self) -> dict[str, Any]:
        """See `Method.describe`."""
        return {**super().describe(), "settings": {"balance": self.balance, "training_steps": self.training_steps}}

    @classmethod
    def list_rows(cls, protection: Mapping[str, Any]) -> list[tuple[str, str]]:
        """See `Method.list_rows`."""
        own = protection["settings"]
        return [*super().list_rows(protection), *((text, str(own[key])) for key, text in _ROWS.items() if key in own)]

    def count_checkpoint_bytes(self, setting: Setting) -> int:
        """See `Method.count_checkpoint_bytes`: weights and momentum."""
        return 2 * 4 * 3 * setting.data.resolution**2 * setting.classes

    def build(self, setting: Setting, accelerator: "Accelerator") -> "PilMaker":
        """See `Method.build`."""
        from rem_release.methods.pil_maker import PilMaker

        return PilMaker(self, setting, accelerator)
