"""What decides between a network's two forms, and the first layers of the form for small images."""

from torch import nn

SMALL_IMAGE = 64
"""Up to this resolution, networks made for 224 pixels get their form for small images."""


def is_small(resolution: int) -> bool:
    """Whether images [3, resolution, resolution] get the form for small images."""
    return resolution <= SMALL_IMAGE


def small_stem(channels: int) -> nn.Conv2d:
    """A first layer that keeps the resolution: 3×3, stride 1 (He et al., 2016, section 4.2)."""
    stem = nn.Conv2d(3, channels, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    return stem


def initialise(network: nn.Module) -> nn.Module:
    """Draw every convolution's weights from He et al.'s normal by fan-out (2015); returns the network."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network
