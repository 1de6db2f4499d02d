"""VGG's form in four convolutions, for CPUs (Simonyan & Zisserman, ICLR 2015)."""

from torch import Tensor, nn

from rem_release.models.stems import initialise


class HeadedFeatures(nn.Module):
    """Features, global average pooling and one linear layer: VGG as usual on CIFAR.

    Args:
        features: convolutions and poolings.
        channels: that they end in.
        classes: number of logits.
    """

    def __init__(self, features: nn.Sequential, channels: int, classes: int) -> None:
        super().__init__()
        self.features = features
        for module in self.features:
            if isinstance(module, nn.MaxPool2d):
                module.ceil_mode = True  # odd sizes keep their last row and column, and 1×1 stays 1×1
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, 3, R, R]."""
        return self.classifier(self.features(x).mean(dim=(2, 3)))


def small_vgg(classes: int, resolution: int) -> nn.Module:
    """Four convolutions, the first with stride 2, and two poolings: 0.06 M parameters, 1.3 M multiply-adds at 32×32."""
    layers = [
        *(*_convolve(3, 16, stride=2), nn.MaxPool2d(2)),
        *(*_convolve(16, 32), nn.MaxPool2d(2)),
        *(*_convolve(32, 64), *_convolve(64, 64)),
    ]
    return initialise(HeadedFeatures(nn.Sequential(*layers), 64, classes))


def _convolve(inputs: int, outputs: int, stride: int = 1) -> tuple[nn.Module, nn.Module, nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
