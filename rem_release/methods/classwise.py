"""Class-wise random noise: one pattern of random ±ρ_u signs for each class (Huang et al., ICLR 2021).

Of the class-wise noises that are compared with, it is the one that takes no model. Class-wise error-minimizing noise is
another method and not a setting of the solver here, whose noise is of single images: it keeps one noise a class from
batch to batch, and moves it by the mean of its images' steps.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic.dataclasses import dataclass

from rem_release.methods.drawn import Drawn, draw_signs
from rem_release.methods.em import HUANG_2021
from rem_release.methods.fields import strict
from rem_release.methods.method import Words

if TYPE_CHECKING:
    from torch import Tensor

    from rem_release.methods.maker import Batch

_LIMITS = """\
This is a baseline for experiments. All images of a class carry **one noise**. One original of a class gives it away (on
CIFAR-10 a correlation of 0.99 with the noise of the others), and so does the mean of 500 images, less what is smooth in
it (0.90). Nor is it made to withstand anything: flips and crops move the pattern, and on 5,000 CIFAR-10 images a small
network that saw those for 12 epochs learnt as much as from clean images (54.4 % against 52.4 %, one seed).
"""


@dataclass(frozen=True, kw_only=True, config=strict)
class Classwise(Drawn):
    """Every value moves by ±ρ_u, all images of a class by the same signs, as far as the box lets them."""

    method: Literal["classwise"] = "classwise"

    words: ClassVar[Words] = Words(
        name="class-wise random noise (Huang et al., ICLR 2021), made without any model",
        title="Images with class-wise random noise",
        tags=("unlearnable-examples", "data-protection", "class-wise-noise"),
        limits=_LIMITS,
        citations=(HUANG_2021,),
    )

    def warn(self) -> list[str]:
        """See `Method.warn`."""
        return ["all images of a class carry one noise: one original, or a mean of many images, gives it away"]

    def draw(self, batch: "Batch", seed: int) -> "Tensor":
        """See `Drawn.draw`: signs of each class."""
        from rem_release.core.draws import own_purpose

        return draw_signs(seed, batch.labels, tuple(batch.images.shape[1:]), own_purpose("classwise signs"))
