"""EM: error-minimizing noise (Huang et al., ICLR 2021; paper Eq. 3)."""

from typing import Any, ClassVar, Literal

from pydantic import model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from rem_release.methods.fields import strict
from rem_release.methods.method import Words
from rem_release.methods.min_max import FU_2022, MinMax

_NONE = {"rho_a": 0, "adversary_steps": 0, "adversary_step_size": 0, "eot": {"transform": "none", "samples": 1}}

HUANG_2021 = """\
@inproceedings{huang2021unlearnable,
  title = {Unlearnable Examples: Making Personal Data Unexploitable},
  author = {Huang, Hanxun and Ma, Xingjun and Erfani, Sarah Monazam and Bailey, James and Wang, Yisen},
  booktitle = {International Conference on Learning Representations},
  year = {2021}
}"""

_LIMITS = """\
Error-minimizing noise is not made to withstand adversarial training, and does not. These are **other people's
published figures for CIFAR-10, not measurements of this dataset**: test accuracy in percent of models trained on data
protected by EM with ρ_u = 8/255, beside the same training on clean data. Where the two are close, the protection is
gone.

| the attacker uses | on protected data | on clean data | source |
|---|---|---|---|
| standard training | 13.2 | 94.7 | Fu et al., Table 1 |
| adversarial training at 1/255 | 22.1 | 93.7 | Fu et al., Table 1 |
| adversarial training at 2/255 | 71.4 | 92.4 | Fu et al., Table 1 |
| adversarial training at 4/255 | 88.6 | 89.5 | Fu et al., Table 1 |
| adversarial training at 8/255 | 82.5 | | APBench |
| adversarial training at 4/255 with DenseNet-121 | 82.4 | 83.3 | Fu et al., Table 3 |
| greyscale training images | 92.0 | | APBench |
| JPEG compression, quality 10 | 80.7 | | APBench |
| strong augmentation (UEraser-max) | 93.6 | | APBench |
| diffusion purification (AVATAR) | 75.6 | | APBench |
| a fine-tuned backbone that was pretrained elsewhere | 62 | | literature, second-hand |
"""


@dataclass(frozen=True, kw_only=True, config=strict)
class Em(MinMax):
    """The solver without adversary and without EOT."""

    method: Literal["em"] = "em"

    words: ClassVar[Words] = Words(
        name="error-minimizing noise (EM; Huang et al., ICLR 2021)",
        title="Images protected with error-minimizing noise",
        tags=("unlearnable-examples", "data-protection", "error-minimizing-noise"),
        limits=_LIMITS,
        citations=(HUANG_2021, FU_2022),
    )

    @model_validator(mode="before")
    @classmethod
    def _leave_nothing_out(cls, given: Any) -> Any:
        """Recipes of versions before 0.4.0 say of adversary and EOT that there are none."""
        values = dict(given.kwargs or {}) if isinstance(given, ArgsKwargs) else given
        if not isinstance(values, dict):
            return given
        return {key: value for key, value in values.items() if key not in _NONE or value != _NONE[key]}
