"""Source models and victims by name."""

from collections.abc import Iterable
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor, nn


class Centred(nn.Module):
    """A network that takes images in [0, 1] and sees them in [-0.5, 0.5] (paper A.2)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, 3, R, R]."""
        return self.network(images - 0.5)


MODELS = {
    **{"vgg16": "vgg", "resnet18": "residual", "resnet50": "residual", "densenet121": "densenet"},
    **{"wide_resnet34_10": "wide_resnet", "mobilenet_v2": "mobilenet", "senet18": "residual"},
    **{"vit_small": "vision_transformer", "small_resnet": "small_resnet", "small_vgg": "small_vgg"},
    **{"small_mobilenet": "small_mobilenet", "linear_probe": "probes", "two_layer_probe": "probes"},
}
"""The paper's five, further ones, small ones and probes: by name, the module here with a function of that name, which
makes the network from (classes, resolution). It is imported when it is built: torchvision takes seconds to import."""
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
    network = getattr(_import(name), name)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Centred(network(classes, resolution))


def import_networks(names: Iterable[str]) -> None:
    """Import what makes these networks, for processes that are forked."""
    for name in names:
        _import(name)


def _import(name: str) -> ModuleType:
    return import_module(f"rem_release.models.{MODELS[name]}")
