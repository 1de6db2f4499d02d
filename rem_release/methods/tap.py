"""TAP: targeted adversarial poisoning (Fowl et al., NeurIPS 2021; paper A.3.2)."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic.dataclasses import dataclass

from rem_release.methods.fields import EotSettings, strict
from rem_release.methods.method import Phase, Setting, Words
from rem_release.methods.min_max import FU_2022, MinMax, generator_of

if TYPE_CHECKING:
    from accelerate import Accelerator

    from rem_release.methods.tap_maker import TapMaker

TRAINING = "Training the source model on clean images"
_TARGETS = {
    "next": "the next class for images of each class, the first one for those of the last",
    "random": "another class for images of each class, along a cycle through all that the seed draws",
}
_FOWL_2021 = """\
@inproceedings{fowl2021adversarial,
  title = {Adversarial Examples Make Strong Poisons},
  author = {Fowl, Liam H and Goldblum, Micah and Chiang, Ping-yeh and Geiping, Jonas and Czaja, Wojciech and Goldstein, Tom},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2021}
}"""  # noqa: E501

_LIMITS = """\
Targeted adversarial poisoning is not made to withstand adversarial training, and does not, not even at 1/255. These
are **other people's published figures for CIFAR-10, not measurements of this dataset**: test accuracy in percent of
models trained on data protected by TAP with ρ_u = 8/255, beside the same training on clean data. Where the two are
close, the protection is gone.

| the attacker uses | on protected data | on clean data | source |
|---|---|---|---|
| standard training | 22.5 (6.3 elsewhere) | 94.7 | Fu et al., Table 1 (APBench) |
| adversarial training at 1/255 | 92.2 | 93.7 | Fu et al., Table 1 |
| adversarial training at 2/255 | 90.5 | 92.4 | Fu et al., Table 1 |
| adversarial training at 4/255 | 88.0 | 89.5 | Fu et al., Table 1 |
| adversarial training at 8/255 | 79.9 | | APBench |
| adversarial training at 4/255 with DenseNet-121 | 81.7 | 83.3 | Fu et al., Table 3 |
| JPEG compression, quality 10 | 84.1 | | APBench |
| posterised images (2 bits) | 70.8 | | APBench |
| strong augmentation (UEraser-max) | 79.1 | | APBench |
| diffusion purification (AVATAR) | 87.8 | | APBench |
| greyscale training images | 11.0 | | APBench |

An accuracy below chance, such as 6.3 among ten classes, is no lack of knowledge: the noise shows each class what
belongs to another, and what learns from it tends to name wrong classes by a rule. Whoever knows the rule, or finds it
with a few clean images, renames the classes. Audits of rem-release judge answers after the best renaming, too.
"""


@dataclass(frozen=True, kw_only=True, config=strict)
class Tap(MinMax):
    """The solver without adversary, towards g(y) under a source model that was trained on clean images."""

    method: Literal["tap"] = "tap"
    eot: EotSettings
    """The differentiable augmentation of the attack, and that of the source model's training."""
    permutation: Literal["next", "random"] = "next"
    """g. next: y + 1, as published code has it. random: along a cycle through all classes that the seed draws."""

    words: ClassVar[Words] = Words(
        name="targeted adversarial poisoning (TAP; Fowl et al., NeurIPS 2021)",
        title="Images protected with targeted adversarial poisoning",
        tags=("unlearnable-examples", "data-protection", "targeted-adversarial-poisoning"),
        limits=_LIMITS,
        citations=(_FOWL_2021, FU_2022),
        undone_by="JPEG compression or adversarial training",
    )

    def list_phases(self, setting: Setting, images: int, padded: int) -> list[Phase]:
        """See `Method.list_phases`: a step of ordinary training takes one gradient an image."""
        training, (*_, noise) = generator_of(setting), super().list_phases(setting, images, padded)
        return [Phase(TRAINING, training.steps * min(training.batch_size, images)), noise]

    def describe(self) -> dict[str, Any]:
        """See `Method.describe`."""
        return {**super().describe(), "eot": asdict(self.eot), "settings": {"permutation": self.permutation}}

    @classmethod
    def list_rows(cls, protection: Mapping[str, Any]) -> list[tuple[str, str]]:
        """See `Method.list_rows`."""
        targets = _TARGETS.get(protection["settings"].get("permutation"), "not stated")
        return [*super().list_rows(protection), ("Targets of the noise", targets)]

    def build(self, setting: Setting, accelerator: "Accelerator") -> "TapMaker":
        """See `Method.build`."""
        from rem_release.methods.tap_maker import TapMaker

        return TapMaker(self.permutation, self.solve(), setting, generator_of(setting), accelerator)
