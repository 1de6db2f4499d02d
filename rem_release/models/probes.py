"""Probes on the bare pixels: what they learn needs no features, a sign of noise that is a linear shortcut."""

from torch import nn


def linear_probe(classes: int, resolution: int) -> nn.Module:
    """One linear layer on the pixels: 3 R² · classes weights (Yu et al., KDD 2022, fit one to the noise)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * resolution**2, classes))


def two_layer_probe(classes: int, resolution: int) -> nn.Module:
    """Pixels, 512 hidden units, ReLU, logits: 1.6 M parameters at 32×32."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * resolution**2, 512), nn.ReLU(), nn.Linear(512, classes))
