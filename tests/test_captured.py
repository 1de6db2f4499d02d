"""What is recorded of one batch is right for another: on a CPU, by a recorder that is as blind as a CUDA graph."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from rem_release.core.captured import Captured, Function, Recording, recorder_of
from rem_release.methods import METHODS, min_max_maker
from rem_release.methods.maker import ImageSet
from rem_release.methods.min_max_maker import MinMaxMaker
from rem_release.recipe import Recipe
from tests.recording import CpuGraph, CpuRecorder
from tests.test_methods import build, images_of_own_sizes, recipe_of


def a_recipe(method: str) -> Recipe:
    recipe = recipe_of("sem" if method == "em" else method)
    return replace(recipe, noise=METHODS["em"].adopt(recipe.noise)) if method == "em" else recipe


def inputs_of(image_set: ImageSet, chosen: list[int], step: int) -> tuple[Tensor, ...]:
    return min_max_maker._inputs(image_set.batch(torch.tensor(chosen)), step)


@pytest.mark.parametrize("method", ["rem", "sem", "em"])
@pytest.mark.parametrize("sizes", ["own sizes", "grid size"])
def test_what_is_recorded_of_one_batch_is_right_for_another(method: str, sizes: str) -> None:
    maker: MinMaxMaker = build(a_recipe(method))
    image_set = images_of_own_sizes()
    if sizes == "grid size":
        image_set = replace(image_set, route=type(image_set.route)(torch.full((6, 2), 8), 8))
    for function in (maker._solve, partial(maker._attack, maker.noise)):
        recorded = CpuGraph(function, inputs_of(image_set, [0, 1, 2, 3], 1))
        others = inputs_of(image_set, [5, 4, 2, 1], 7)
        found = recorded.replay(others)
        assert torch.equal(found, function(*others))
        assert not torch.equal(found, recorded.replay(inputs_of(image_set, [5, 4, 2, 1], 8))), "the step counts"


def test_what_is_recorded_follows_the_weights() -> None:
    maker, image_set = build(recipe_of("rem")), images_of_own_sizes()
    inputs = inputs_of(image_set, [0, 1, 2, 3], 1)
    recorded = CpuGraph(maker._solve, inputs)
    before = recorded.replay(inputs)
    with torch.no_grad():
        for parameter in maker.model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    after = recorded.replay(inputs)
    assert torch.equal(after, maker._solve(*inputs))
    assert not torch.equal(after, before)


def test_a_function_is_recorded_at_its_third_call() -> None:
    """And changes what lies outside once a call, also when it is recorded."""
    total, recorder = torch.zeros(()), CpuRecorder()

    def add(x: Tensor) -> Tensor:
        total.add_(x.sum())
        return 2 * x

    captured = Captured(add, recorder)
    for number in range(1, 6):
        x = torch.full((3,), float(number))
        assert torch.equal(captured(x), 2 * x)
        assert recorder.recorded == (number >= 3)
    assert total == 3 * (1 + 2 + 3 + 4 + 5)
    assert torch.equal(captured(torch.ones(2)), torch.full((2,), 2.0)), "another shape"


def test_what_reads_a_number_on_the_host_is_called_as_it_is_with_a_warning() -> None:
    recorder = CpuRecorder()
    captured = Captured(lambda x: x * int(x.sum()), recorder)
    assert torch.equal(captured(torch.full((2,), 1.0)), torch.full((2,), 2.0))
    with pytest.warns(UserWarning, match="nothing could be recorded for replay, which is slower .it waits"):
        assert torch.equal(captured(torch.full((2,), 3.0)), torch.full((2,), 18.0))
    assert torch.equal(captured(torch.full((2,), 4.0)), torch.full((2,), 32.0))
    assert captured.is_given_up
    assert recorder.recorded == 0


def test_what_fails_to_be_recorded_is_called_as_it_is_with_a_warning() -> None:
    class Failing(CpuRecorder):
        def record(self, function: Function, inputs: tuple[Tensor, ...]) -> Recording:
            raise RuntimeError("out of memory\nand more")

    captured = Captured(lambda x: 2 * x, Failing())
    captured(torch.ones(2)), captured(torch.ones(2))
    with pytest.warns(UserWarning, match=r"slower \(out of memory\)"):
        assert torch.equal(captured(torch.ones(2)), torch.full((2,), 2.0))
    assert captured.is_given_up


def test_a_function_inside_another_is_a_part_of_it() -> None:
    outside, inside = CpuRecorder(), CpuRecorder()
    inner = Captured(lambda x: 2 * x, inside)
    outer = Captured(lambda x: inner(x) + 1, outside)
    for number in range(5):
        assert outer(torch.full((1,), float(number))) == 2 * number + 1
    assert (outside.recorded, inside.recorded) == (1, 0)


def test_nothing_is_recorded_on_a_cpu() -> None:
    assert recorder_of(torch.device("cpu")) is None
