"""ResNet-18, ResNet-50 and SENet-18 on torchvision's ResNet, with a stem for small images."""

from typing import Any

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.ops import SqueezeExcitation

from rem_release.models.stems import is_small, small_stem


class SqueezedBlock(BasicBlock):
    """A residual block that weighs its channels before the sum (Hu et al., CVPR 2018, Fig. 3), reduction 16.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        others: as in torchvision's `BasicBlock`, which takes some by place and some by name.
        named: likewise.
    """

    def __init__(self, inputs: int, outputs: int, *others: Any, **named: Any) -> None:
        super().__init__(inputs, outputs, *others, **named)
        self.squeeze = SqueezeExcitation(outputs, outputs // 16)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] → [N, outputs, H/stride, W/stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.squeeze(self.bn2(self.conv2(out))) + shortcut)


def _resnet(block: type[BasicBlock | Bottleneck], depths: list[int], classes: int, resolution: int) -> nn.Module:
    """torchvision's network; for small images with the CIFAR stem: 3×3, stride 1, no pooling (He et al., 2016)."""
    network = ResNet(block, depths, num_classes=classes)
    if is_small(resolution):
        network.conv1 = small_stem(64)
        network.maxpool = nn.Identity()
    return network


def resnet18(classes: int, resolution: int) -> nn.Module:
    """ResNet-18 (He et al., CVPR 2016): 11.2 M parameters and 0.56 G multiply-adds at 32×32; 1.8 G at 224×224."""
    return _resnet(BasicBlock, [2, 2, 2, 2], classes, resolution)


def resnet50(classes: int, resolution: int) -> nn.Module:
    """ResNet-50 (He et al., CVPR 2016; stride in the 3×3): 23.5 M parameters, 1.3 G multiply-adds at 32×32."""
    return _resnet(Bottleneck, [3, 4, 6, 3], classes, resolution)


def senet18(classes: int, resolution: int) -> nn.Module:
    """ResNet-18 with squeeze-and-excitation (Hu et al., CVPR 2018): 11.3 M parameters, 0.56 G at 32×32."""
    return _resnet(SqueezedBlock, [2, 2, 2, 2], classes, resolution)
