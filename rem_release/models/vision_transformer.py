"""A small vision transformer on torchvision's (Dosovitskiy et al., ICLR 2021)."""

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from rem_release.models.stems import is_small


class PaddedTransformer(VisionTransformer):
    """A transformer for images of any size: zeros at right and below fill them up to whole patches.

    Zero is mid grey for centred images. Padding, unlike resizing, leaves every pixel as it is. The head starts from a
    normal distribution; torchvision's starts at zero, which hides the input from every gradient.

    Args:
        classes: number of logits.
        resolution: side of the images.
        patch: side of a patch.
        layers: number of encoder blocks.
        heads: attention heads of each.
        width: size of a token.
        hidden: size of each block's inner layer.
    """

    def __init__(
        self, classes: int, resolution: int, *, patch: int, layers: int, heads: int, width: int, hidden: int
    ) -> None:
        padding = -resolution % patch
        super().__init__(resolution + padding, patch, layers, heads, width, hidden, num_classes=classes)
        self.padding = padding
        nn.init.trunc_normal_(self.heads.head.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, 3, R, R]."""
        return super().forward(F.pad(x, (0, self.padding, 0, self.padding)))


def vit_small(classes: int, resolution: int) -> nn.Module:
    """A small vision transformer.

    For small images ViT-Lite-6 (Hassani et al., 2021), patches of 4 pixels, above 32 of 8: 3.2 M parameters, 0.2 G
    multiply-adds at 32×32. For large ones ViT-S/16 (Touvron et al., ICML 2021): 22 M parameters, 4.6 G at 224×224.
    """
    if is_small(resolution):
        patch = 4 if resolution <= 32 else 8
        return PaddedTransformer(classes, resolution, patch=patch, layers=6, heads=4, width=256, hidden=512)
    return PaddedTransformer(classes, resolution, patch=16, layers=12, heads=6, width=384, hidden=1536)
