"""Networks of depthwise-separable convolutions: MobileNetV2 on torchvision's, and a small one for CPUs."""

from torch import Tensor, nn
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


def _normalised(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU())


class SmallMobileNet(nn.Module):
    """A stem that halves the resolution, depthwise-separable blocks (Howard et al., 2017) and a linear layer.

    Args:
        classes: number of logits.
        blocks: (channels, stride) of each block.
    """

    def __init__(self, classes: int, blocks: tuple[tuple[int, int], ...] = ((64, 2), (96, 2), (192, 1))) -> None:
        super().__init__()
        channels = 24
        self.stem = _normalised(nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False))
        layers: list[nn.Module] = []
        for outputs, stride in blocks:
            depthwise = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False)
            layers += [_normalised(depthwise), _normalised(nn.Conv2d(channels, outputs, 1, bias=False))]
            channels = outputs
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, 3, R, R]."""
        features = self.blocks(self.stem(x))
        return self.head(features.mean(dim=(2, 3)))


def small_mobilenet(classes: int, resolution: int) -> nn.Module:
    """MobileNet's form in three blocks, for CPUs: 0.03 M parameters, 0.7 M multiply-adds at 32×32."""
    return SmallMobileNet(classes)
