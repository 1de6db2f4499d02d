"""DenseNet-121 on torchvision's network (Huang et al., CVPR 2017)."""

from torch import nn
from torchvision.models import densenet121 as torchvision_densenet121

from rem_release.models.stems import is_small, small_stem


def densenet121(classes: int, resolution: int) -> nn.Module:
    """DenseNet-121, growth rate 32: 7.0 M parameters, 0.9 G multiply-adds at 32×32; 2.8 G at 224×224.

    For small images the stem is 3×3 with stride 1, and the first pooling is left out.
    """
    network = torchvision_densenet121(num_classes=classes)
    if is_small(resolution):
        network.features.conv0 = small_stem(64)
        network.features.pool0 = nn.Identity()
    return network
