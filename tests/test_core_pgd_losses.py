"""PGD on losses other than the adversary's: towards a label, and towards or away from features."""

import pytest
import torch
from torch import nn

from rem_release.core.pgd import cross_entropy, feature_distance, pgd

RADIUS = 0.1
X = 0.3 + 0.4 * torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))


class Linear(nn.Module):
    """Answers with two numbers that are linear in the image: every step has a known sign."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(12, 2, generator=torch.Generator().manual_seed(1)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) @ self.weights


def find(targets: torch.Tensor, **options: object) -> torch.Tensor:
    model = Linear().requires_grad_(False)
    return pgd(model, X, targets, RADIUS, 0.01, 20, torch.zeros_like(X), **options)


def test_down_the_loss_of_another_label_leads_to_its_side_of_the_ball() -> None:
    """Of two classes and a linear model the best perturbation is ±radius, by the sign of the weights' difference."""
    weights = Linear().weights.detach()
    towards = torch.ones(4, dtype=torch.int64)
    expected = RADIUS * (weights[:, 1] - weights[:, 0]).sign().reshape(3, 2, 2).expand_as(X)
    torch.testing.assert_close(find(towards, direction="down"), expected)
    torch.testing.assert_close(find(towards), -expected)
    torch.testing.assert_close(find(1 - towards), expected)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_features_come_nearer_or_go_further(direction: str) -> None:
    model = Linear()
    wanted = model(X).detach() + torch.tensor([0.4, -0.2])
    found = find(wanted, loss=feature_distance, direction=direction)
    before, after = (feature_distance(model(images), wanted).item() for images in (X, X + found))
    assert after < 0.2 * before if direction == "down" else after > 2 * before
    assert found.abs().max() <= RADIUS + 1e-6


def test_the_losses_are_sums_over_images() -> None:
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    each = [nn.functional.cross_entropy(logits[[row]], labels[[row]]).item() for row in range(2)]
    assert cross_entropy(logits, labels).item() == pytest.approx(sum(each))
    assert feature_distance(logits, torch.zeros(2, 2)).item() == 5.0
