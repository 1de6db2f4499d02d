"""MobileNet's form in three blocks, for CPUs (Howard et al., 2017)."""

from torch import Tensor, nn


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
    """Three depthwise-separable blocks: 0.03 M parameters, 0.7 M multiply-adds at 32×32."""
    return SmallMobileNet(classes)
