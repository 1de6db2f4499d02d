"""VGG-16 with BatchNorm on torchvision's layers (Simonyan & Zisserman, ICLR 2015)."""

from torch import nn
from torchvision.models import vgg16_bn
from torchvision.models.vgg import cfgs, make_layers

from rem_release.models.small_vgg import HeadedFeatures
from rem_release.models.stems import initialise, is_small


def vgg16(classes: int, resolution: int) -> nn.Module:
    """VGG-16 with BatchNorm.

    For small images one linear head: 14.7 M parameters, 0.31 G multiply-adds at 32×32. For large ones torchvision's
    network with its three linear layers: 138 M parameters, 15.5 G multiply-adds at 224×224.
    """
    if is_small(resolution):
        return initialise(HeadedFeatures(make_layers(cfgs["D"], batch_norm=True), 512, classes))
    return vgg16_bn(num_classes=classes)
