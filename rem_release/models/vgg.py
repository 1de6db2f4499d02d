"""VGG networks with BatchNorm on torchvision's layers (Simonyan & Zisserman, ICLR 2015)."""

from torch import Tensor, nn
from torchvision.models import vgg16_bn
from torchvision.models.vgg import cfgs, make_layers

from rem_release.models.stems import initialise, is_small


class HeadedFeatures(nn.Module):
    """Features, global average pooling and one linear layer: VGG as usual on CIFAR.

    Args:
        widths: torchvision's notation: channels of each 3×3 convolution, "M" for a 2×2 pooling.
        classes: number of logits.
    """

    def __init__(self, widths: list[str | int], classes: int) -> None:
        super().__init__()
        self.features = make_layers(widths, batch_norm=True)
        for module in self.features:
            if isinstance(module, nn.MaxPool2d):
                module.ceil_mode = True  # odd sizes keep their last row and column, and 1×1 stays 1×1
        self.classifier = nn.Linear(next(width for width in reversed(widths) if isinstance(width, int)), classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, 3, R, R]."""
        return self.classifier(self.features(x).mean(dim=(2, 3)))


def vgg16(classes: int, resolution: int) -> nn.Module:
    """VGG-16 with BatchNorm.

    For small images one linear head: 14.7 M parameters, 0.31 G multiply-adds at 32×32. For large ones torchvision's
    network with its three linear layers: 138 M parameters, 15.5 G multiply-adds at 224×224.
    """
    if is_small(resolution):
        return initialise(HeadedFeatures(cfgs["D"], classes))
    return vgg16_bn(num_classes=classes)


def small_vgg(classes: int, resolution: int) -> nn.Module:
    """VGG's form in four convolutions, the first with stride 2, for CPUs: 0.06 M parameters, 1.3 M multiply-adds."""
    network = HeadedFeatures([16, "M", 32, "M", 64, 64], classes)
    network.features[0].stride = (2, 2)
    return initialise(network)
