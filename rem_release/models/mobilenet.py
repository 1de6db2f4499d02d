"""MobileNetV2 on torchvision's network."""

from torch import nn
from torchvision.models import mobilenet_v2 as torchvision_mobilenet_v2

from rem_release.models.stems import is_small

_STRIDE_KEEPERS = ("0.0", "2.conv.1.0")
"""Places in `features` of the first two convolutions with stride 2."""


def mobilenet_v2(classes: int, resolution: int) -> nn.Module:
    """MobileNetV2 (Sandler et al., CVPR 2018): 2.2 M parameters, 0.09 G multiply-adds at 32×32; 0.3 G at 224×224.

    For small images the first two convolutions with stride 2 have stride 1, so that 32×32 ends as 4×4. The two forms
    have the same weights.
    """
    network = torchvision_mobilenet_v2(num_classes=classes)
    if is_small(resolution):
        for place in _STRIDE_KEEPERS:
            network.features.get_submodule(place).stride = (1, 1)
    return network
