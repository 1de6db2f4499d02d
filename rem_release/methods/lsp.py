"""LSP: linearly separable perturbations, Gaussian clusters of coloured patches (Yu et al., KDD 2022)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from rem_release.errors import InputError
from rem_release.methods.drawn import Drawn, DrawnMaker, draw_signs
from rem_release.methods.fields import strict
from rem_release.methods.method import Setting, Words

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

    from rem_release.methods.maker import Batch

_YU_2022 = """\
@inproceedings{yu2022availability,
  title = {Availability Attacks Create Shortcuts},
  author = {Yu, Da and Zhang, Huishuai and Chen, Wei and Yin, Jian and Liu, Tie-Yan},
  booktitle = {ACM SIGKDD Conference on Knowledge Discovery and Data Mining},
  year = {2022}
}"""

_LIMITS = """\
Such noise is a shortcut for ordinary training, and not made to withstand anything else. These are **other people's
published figures for CIFAR-10, not measurements of this dataset**: test accuracy in percent of models trained on data
protected by LSP as published, whose noise has the L2 norm of ±6/255 and no bound on single values.

| the attacker uses | on protected data | source |
|---|---|---|
| standard training | 13.1 | APBench |
| cutout, cutmix, mixup | 15.0, 17.7, 18.8 | APBench |
| posterised images (2 bits) | 53.9 | APBench |
| greyscale training images | 64.7 | APBench |
| diffusion purification (AVATAR) | 76.9 | APBench |
| JPEG compression, quality 10 | 80.1 | APBench |
| adversarial training at 8/255 | 81.4 | APBench |
| strong augmentation (UEraser-max) | 92.8 | APBench |

The noises of a class lie around one pattern of patches. One original of a class gives most of the others' noise away
(on CIFAR-10 a correlation of 0.91), and the mean of 500 images, less what is smooth in it, a part (0.45).
"""

_ROWS = {
    "patch": "Side of a patch of one colour, in pixels of the working resolution",
    "spread": "Spread of a class, as a part of its distance from zero",
}


@dataclass(frozen=True, kw_only=True, config=strict)
class Lsp(Drawn):
    """A random corner of the cube for each class, a Gaussian around it for each image; a value for each patch.

    The published code takes the corners ±10 and, for each class, a random covariance, under which a value varies by
    √(n/3) of n values: by 4 of 48. Here clusters are round, and vary by `spread` of the corner. As there, the noise of
    an image is scaled to one L2 norm, that of ρ_u everywhere. There single values exceed it; here they are cut at ρ_u.
    """

    method: Literal["lsp"] = "lsp"
    patch: Annotated[int, Field(ge=1)] = 8
    """Side of the patches, in pixels of the working grid."""
    spread: Annotated[float, Field(ge=0, le=1000)] = 0.4
    """Standard deviation of a value within a class, as a part of the distance of the class from zero."""

    words: ClassVar[Words] = Words(
        name="linearly separable perturbations (LSP; Yu et al., KDD 2022), made without any model",
        title="Images protected with linearly separable perturbations",
        tags=("unlearnable-examples", "data-protection", "linearly-separable-perturbations"),
        limits=_LIMITS,
        citations=(_YU_2022,),
    )

    def describe(self) -> dict[str, Any]:
        """See `Method.describe`."""
        return {**super().describe(), "settings": {"patch": self.patch, "spread": self.spread}}

    @classmethod
    def list_rows(cls, protection: Mapping[str, Any]) -> list[tuple[str, str]]:
        """See `Method.list_rows`."""
        own = protection["settings"]
        return [(text, str(own[key])) for key, text in _ROWS.items() if key in own]

    def build(self, setting: Setting, accelerator: "Accelerator") -> DrawnMaker:
        """See `Method.build`.

        Raises:
            InputError: so few patches that two classes might get the same pattern.
        """
        values, side = 3 * self._count_patches(setting.data.resolution) ** 2, setting.data.resolution
        if 2**values < 64 * setting.classes**2:
            raise InputError(
                f"noise.patch {self.patch} leaves {values} values on {side} x {side} pixels, too few for the patterns "
                f"of {setting.classes} classes to differ; lower it with --set noise.patch={max(1, side // 4)}"
            )
        return super().build(setting, accelerator)

    def draw(self, batch: "Batch", seed: int) -> "Tensor":
        """See `Drawn.draw`."""
        import torch

        from rem_release.core.draws import Draws, own_purpose, uniform

        side = batch.images.shape[-1]
        patches = self._count_patches(side)
        shape = (3, patches, patches)
        corners = draw_signs(seed, batch.labels, shape, own_purpose("lsp corners"))
        numbers = uniform(Draws.final(seed, batch.keys).keys(own_purpose("lsp spread")), 3 * patches**2)
        values = corners + self.spread * torch.special.ndtri(numbers).reshape(-1, *shape)
        noise = values.repeat_interleave(self.patch, 2).repeat_interleave(self.patch, 3)[..., :side, :side]
        return noise / noise.square().mean((1, 2, 3), keepdim=True).sqrt()

    def _count_patches(self, resolution: int) -> int:
        """Along a side; the last may be cut."""
        return -(-resolution // self.patch)
