"""Source models and victims by name."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rem_release.models.densenet import densenet121
from rem_release.models.mobilenet import mobilenet_v2, small_mobilenet
from rem_release.models.probes import linear_probe, two_layer_probe
from rem_release.models.residual import resnet18, resnet50, senet18
from rem_release.models.small_resnet import SmallResNet
from rem_release.models.vgg import small_vgg, vgg16
from rem_release.models.vision_transformer import vit_small
from rem_release.models.wide_resnet import wide_resnet34_10


class Centred(nn.Module):
    """A network that takes images in [0, 1] and sees them in [-0.5, 0.5] (paper A.2)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, 3, R, R]."""
        return self.network(images - 0.5)


def small_resnet(classes: int, resolution: int) -> nn.Module:
    """A residual network of three blocks, for CPUs: 0.08 M parameters, 3.1 M multiply-adds at 32×32."""
    return SmallResNet(classes)


MODELS: dict[str, Callable[[int, int], nn.Module]] = {
    network.__name__: network
    for network in (
        *(vgg16, resnet18, resnet50, densenet121, wide_resnet34_10),
        *(mobilenet_v2, senet18, vit_small),
        *(small_resnet, small_vgg, small_mobilenet),
        *(linear_probe, two_layer_probe),
    )
}
"""By name, what makes a network of (classes, resolution): the paper's five, further ones, small ones, probes."""
ONE_SIZE = frozenset({"vit_small", "linear_probe", "two_layer_probe"})
"""Networks whose weights belong to one resolution; the others' fit all resolutions of a form."""


def build_model(name: str, classes: int, resolution: int, seed: int) -> Centred:
    """A freshly initialised network.

    Args:
        name: a key of `MODELS`.
        classes: number of logits.
        resolution: side of the images, which decides between the forms for small and for large images.
        seed: of the initial weights; the global random state is left as it was.

    Raises:
        KeyError: no such model.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Centred(MODELS[name](classes, resolution))
