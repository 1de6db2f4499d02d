"""Source models and victims by name."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from rem_release.models.small_resnet import SmallResNet

SMALL_IMAGE = 64
"""Up to this resolution, networks made for 224 pixels get a stem for small images."""


class Centred(nn.Module):
    """A network that takes images in [0, 1] and sees them in [-0.5, 0.5] (paper A.2)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, 3, R, R]."""
        return self.network(images - 0.5)


def _resnet18(classes: int, resolution: int) -> nn.Module:
    """torchvision's ResNet-18; for small images with the CIFAR stem: 3×3, stride 1, no pooling (He et al., 2016)."""
    network = resnet18(num_classes=classes)
    if resolution <= SMALL_IMAGE:
        network.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        network.maxpool = nn.Identity()
    return network


def _small_resnet(classes: int, resolution: int) -> nn.Module:
    return SmallResNet(classes)


MODELS: dict[str, Callable[[int, int], nn.Module]] = {"resnet18": _resnet18, "small_resnet": _small_resnet}


def build_model(name: str, classes: int, resolution: int, seed: int) -> nn.Module:
    """A freshly initialised network.

    Args:
        name: a key of `MODELS`.
        classes: number of logits.
        resolution: side of the images, which decides the stem.
        seed: of the initial weights; the global random state is left as it was.

    Raises:
        KeyError: no such model.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Centred(MODELS[name](classes, resolution))
