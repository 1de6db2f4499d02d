"""Which precision and execution a run is computed in: what is worth a measurement, and what wins."""

import torch
from torch import nn

from rem_release.models import build_model
from rem_release.training.probe import Choice, choose, count_operations, list_choices, sort_measured

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def ways(*given: object) -> list[tuple[str, str]]:
    return [(choice.precision, choice.execution) for choice in list_choices(*given)]  # type: ignore[arg-type]


def test_a_short_run_is_not_measured() -> None:
    """A function of the recipe alone, so that a seed gives the same bytes again."""
    assert ways("auto", "auto", CPU, 1e12) == [("fp32", "folded")]
    assert ways("auto", "auto", GPU, 1e12) == [("tf32", "folded")]


def test_what_is_worth_a_measurement() -> None:
    assert ways("auto", "auto", CPU, 1e14) == [("fp32", "folded"), ("bf16", "folded")]
    assert ways("auto", "auto", CPU, 1e19) == [("fp32", "folded"), ("bf16", "folded")], "compiling does not pay there"
    assert ways("auto", "auto", GPU, 1e18) == [
        ("tf32", "folded"),
        ("tf32", "compiled"),
        ("bf16", "folded"),
        ("bf16", "compiled"),
    ]


def test_what_the_recipe_says_stays() -> None:
    assert ways("bf16", "auto", CPU, 1e18) == [("bf16", "folded")]
    assert ways("auto", "eager", CPU, 1e18) == [("fp32", "eager"), ("bf16", "eager")]
    assert ways("fp32", "eager", GPU, 1e18) == [("fp32", "eager")]


def test_operations_are_those_of_the_papers() -> None:
    """ResNet-18 at 32 × 32: 0.56 G multiply-adds forward, and the input gradient takes as many again."""
    assert abs(count_operations(build_model("resnet18", 10, 32, 0), 32) / (4 * 0.56e9) - 1) < 0.02


class Slow(nn.Module):
    """A network that computes the same in more passes when it is in bf16, as processors without it do."""

    def __init__(self, passes: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 16, 3, padding=1)
        self.passes = passes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(self.passes):
            out = self.layer(x)
        return out.mean((2, 3))


def test_the_fastest_wins_and_a_hopeless_one_is_not_measured_to_the_end() -> None:
    built = []

    def build() -> nn.Module:
        built.append(Slow(1 if len(built) == 1 else 60))
        return built[-1]

    choices = [Choice("fp32", "eager"), Choice("fp32", "folded"), Choice("fp32", "folded")]
    best, *others = choose(choices, build, 32, 64, CPU)
    assert len(built) == 3
    assert best.rate is not None
    assert all(other.rate is not None and other.rate < best.rate / 2 for other in others)


def test_more_bits_stay_where_fewer_gain_little() -> None:
    def names(*rates: float) -> list[str]:
        measured = [Choice("fp32", "folded", rates[0]), Choice("bf16", "folded", rates[1])]
        return [choice.precision for choice in sort_measured(measured)]

    assert names(100, 119) == ["fp32", "bf16"]
    assert names(100, 121) == ["bf16", "fp32"]


def test_a_single_choice_is_not_measured() -> None:
    def build() -> nn.Module:
        raise AssertionError("built")

    assert choose([Choice("fp32", "folded")], build, 32, 64, CPU) == [Choice("fp32", "folded")]
    assert list_choices("auto", "auto", CPU, 0) == [Choice("fp32", "folded")]
