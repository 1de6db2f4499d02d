"""WRN-34-10: a wide residual network with pre-activation (Zagoruyko & Komodakis, BMVC 2016)."""

import torch.nn.functional as F
from torch import Tensor, nn

from rem_release.models.stems import initialise, is_small


class PreActivationBlock(nn.Module):
    """BatchNorm and ReLU before each of two 3×3 convolutions; a 1×1 shortcut only where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] → [N, outputs, H/stride, W/stride]."""
        activated = F.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        return self.conv2(F.relu(self.bn2(self.conv1(activated)))) + shortcut


class WideResNet(nn.Module):
    """A stem, three groups of blocks with 16, 32 and 64 times `width` channels, and a linear layer.

    Args:
        classes: number of logits.
        stem: [N, 3, R, R] → [N, 16, R', R'].
        depth: number of convolutions along the way, 6 · blocks a group + 4.
        width: the paper's widening factor.
    """

    def __init__(self, classes: int, stem: nn.Module, depth: int = 34, width: int = 10) -> None:
        super().__init__()
        self.stem = stem
        blocks: list[nn.Module] = []
        inputs = 16
        for outputs, stride in ((16 * width, 1), (32 * width, 2), (64 * width, 2)):
            for index in range((depth - 4) // 6):
                blocks.append(PreActivationBlock(inputs, outputs, stride if index == 0 else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(inputs)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, 3, R, R]."""
        features = F.relu(self.norm(self.blocks(self.stem(x))))
        return self.head(features.mean(dim=(2, 3)))


def wide_resnet34_10(classes: int, resolution: int) -> nn.Module:
    """WRN-34-10: 46.2 M parameters, 6.7 G multiply-adds at 32×32.

    The paper has no form for ImageNet with these blocks; ours puts ResNet's 7×7/2 convolution and pooling in front.
    """
    if is_small(resolution):
        stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False))
    else:
        stem = nn.Sequential(
            nn.Conv2d(3, 16, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
    return initialise(WideResNet(classes, stem))
