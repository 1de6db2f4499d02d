"""The benchmark: what it compares with is Algorithm 1, what it computes from times is right, and it runs."""

from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from rem_release.bench.networks import measure_solver, measure_victim
from rem_release.bench.reference import crop_and_flip, plain_adversary, plain_noise_step
from rem_release.bench.timing import compare
from rem_release.core.pgd import frozen_in_eval_mode
from rem_release.recipe import load_recipe
from tests.command_line import succeed
from tests.test_core_solver import REM, draw_images, smooth_network

CPU = torch.device("cpu")


def told(*seconds: float):
    """Work that says how long it took: once before, then each time."""
    answers = iter((0.0, *seconds))
    return lambda: next(answers)


def test_ratios_are_taken_round_by_round() -> None:
    """A machine that is slow in one round is slow for both."""
    (pair,) = compare([(told(1.0, 10.0, 2.0), 6.0), (told(0.5, 4.0, 0.5), 6.0)])
    assert vars(pair.reference) == {"median": 3.0, "low": 0.6, "high": 6.0}
    assert vars(pair.rate) == {"median": 12.0, "low": 1.5, "high": 12.0}
    assert vars(pair.ratio) == {"median": 2.5, "low": 2.0, "high": 4.0}


def test_the_plain_transformation_is_a_crop_of_the_padded_image_or_its_mirror() -> None:
    image, generator = torch.arange(1, 3 * 64 + 1).reshape(3, 8, 8).float(), torch.Generator().manual_seed(0)
    padded = nn.functional.pad(image, (1, 1, 1, 1))
    cuts = [padded[:, top : top + 8, left : left + 8] for top in range(3) for left in range(3)]
    every = {cut.numpy().tobytes() for cut in (*cuts, *(cut.flip(-1) for cut in cuts))}
    found = {crop_and_flip(image, generator).contiguous().numpy().tobytes() for _ in range(400)}
    assert found == every


def test_a_plain_step_moves_the_noise_down_the_loss_within_budget_and_box() -> None:
    noise = replace(REM, K_u=1, J=3, transform="none", K_a=0, rho_a=0.0)
    model, (x, y, _) = smooth_network().eval(), draw_images()
    start, generator = torch.zeros_like(x), torch.Generator().manual_seed(0)
    with frozen_in_eval_mode(model):
        stepped = plain_noise_step(model, x, y, start, noise, generator)
        before, after = (nn.functional.cross_entropy(model(x + delta), y) for delta in (start, stepped))
    assert after < before
    assert stepped.abs().max() <= noise.rho_u
    assert (x + stepped).min() >= 0
    assert (x + stepped).max() <= 1


def test_the_plain_adversary_moves_up_the_loss_within_its_ball() -> None:
    model, (x, y, _) = smooth_network().eval(), draw_images()
    with frozen_in_eval_mode(model):
        start, found = (plain_adversary(model, x, y, 8 / 255, 2 / 255, steps) for steps in (0, 10))
        before, after = (nn.functional.cross_entropy(model(x + delta), y) for delta in (start, found))
    assert after > before
    assert found.abs().max() <= 8 / 255 + 1e-6


def test_the_solver_is_measured_in_every_precision_of_a_cpu() -> None:
    noise = replace(load_recipe("rem-cifar10").noise.solve(), K_u=1, J=1, K_a=1)
    solved = measure_solver("small_resnet", noise, 8, CPU)
    assert [(way.precision, way.execution) for way in solved.ways] == [
        ("fp32", "eager"),
        ("fp32", "folded"),
        ("bf16", "folded"),
    ]
    assert solved.ways[0].pair is not None
    assert all(way.first_look > 0 and way.peak_bytes is None for way in solved.ways)
    assert solved.best.pair is not None
    # 3.1 M multiply-adds forward; as many again for the input gradient
    assert solved.operations == pytest.approx(4 * 3.1e6, rel=0.05)


@pytest.mark.parametrize("radius", [0.0, 4 / 255])
def test_a_victim_is_measured_beside_a_plain_training(radius: float) -> None:
    pair = measure_victim("small_vgg", radius, Accelerator())
    assert 0 < pair.rate.low <= pair.rate.median <= pair.rate.high
    assert 0 < pair.ratio.low <= pair.ratio.median <= pair.ratio.high


@pytest.mark.slow
def test_the_command_prints_one_object() -> None:
    document = succeed("bench", "--json").json
    assert [each["network"] for each in document["solver"]] == ["resnet18", "small_resnet"]
    assert {each["network"] for each in document["victims"]} == {"small_resnet", "small_vgg", "small_mobilenet"}
    assert set(document["files"]["rates"]) == {"reading", "writing", "verifying"}
