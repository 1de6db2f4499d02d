"""Draws are functions of their coordinates; transformations equal torchvision's with the same parameters."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from rem_release.core.draws import Draws, Purpose, chain, uniform
from rem_release.core.levels import protect_at_own_size
from rem_release.core.resampling import (
    DRAW,
    NoiseRoute,
    _draw_window,
    augment,
    draw_cifar,
    draw_imagenet,
    draw_photograph,
    interpolation_matrix,
    resample,
)

IDS = torch.arange(1000) * 7919 + 13


def test_numbers_are_uniform_and_independent_between_coordinates():
    draws = Draws(seed=0, ids=IDS, step=0)
    numbers = uniform(draws.keys(Purpose.NOISE_START), 50)
    assert stats.kstest(numbers.flatten().numpy(), "uniform").pvalue > 0.001
    for other in (
        Draws(1, IDS, 0).keys(Purpose.NOISE_START),
        Draws(0, IDS, 1).keys(Purpose.NOISE_START),
        Draws(0, IDS + 1, 0).keys(Purpose.NOISE_START),
        draws.keys(Purpose.ADVERSARY_START),
        draws.keys(Purpose.NOISE_START, k=1),
        draws.keys(Purpose.NOISE_START, samples=2)[len(IDS) :],
        Draws.final(0, IDS).keys(Purpose.NOISE_START),
    ):
        correlation = torch.corrcoef(torch.stack([numbers.flatten(), uniform(other, 50).flatten()]))[0, 1]
        assert abs(correlation) < 0.02  # 4.5 standard deviations of 50,000 independent pairs


def test_draws_do_not_depend_on_the_batch():
    whole = Draws(3, IDS, 5).within(0.5, (3, 4, 4), Purpose.NOISE_START)
    some = Draws(3, IDS[[9, 2]], 5).within(0.5, (3, 4, 4), Purpose.NOISE_START)
    assert torch.equal(some, whole[[9, 2]])
    assert whole.abs().max() < 0.5


def test_draws_are_those_of_earlier_versions():
    """Numbers of version 0.4: releases and checkpoints hang on them. Three draws of three images, draw by draw."""
    draws = Draws(11, torch.tensor([5, 7919, 1 << 60]), 4)
    assert draws.keys(Purpose.TRANSFORM, 2, 3).tolist() == [
        *(-6860626678053695726, -6210104328611978747, 2072628967731450953),
        *(-8892839442627782167, 8638616512354636829, -2935986174377415405),
        *(-1614428410331285370, -1896037522466917581, 6437023768123537764),
    ]
    numbers = draws.within(1.0, (1, 1, 2), Purpose.NOISE_START, 0, 2).flatten() * 65536
    assert numbers.tolist() == [
        *(10067, 43403, 62975, 39495, 62039, -55239),
        *(37449, 43203, 16017, 3357, -31503, 6921),
    ]
    windows = _draw_window(uniform(draws.keys(Purpose.TRANSFORM, 2, 2), 23), 24, 0.08)
    assert [part.tolist() for part in windows] == [
        *([3, 4, 7, 8, 0, 1], [5, 1, 2, 1, 0, 1]),
        *([20, 18, 17, 12, 23, 16], [18, 20, 18, 9, 23, 17]),
    ]


WORD = st.integers(-(1 << 63), (1 << 63) - 1)


@given(WORD, st.lists(WORD, min_size=1, max_size=4), st.integers(0, 4))
def test_numbers_and_tensors_give_the_same_keys(seed, coordinates, first):
    """From whichever coordinate on they are tensors."""
    whole = chain(torch.tensor(seed), *coordinates)
    later = [*coordinates[:first], *(torch.tensor(each) for each in coordinates[first:]), torch.tensor([1, 2])]
    assert torch.equal(chain(seed, *later), chain(whole, torch.tensor([1, 2])))


@pytest.mark.parametrize("name", DRAW)
@pytest.mark.parametrize("size", [1, 7, 32])
def test_images_are_augmented_to_the_bit_as_by_matrices(name, size):
    images = torch.rand((len(IDS), 3, size, size), generator=torch.Generator().manual_seed(0))
    keys = Draws(3, IDS, 2).keys(Purpose.TRANSFORM)
    assert torch.equal(augment(images, keys, name), resample(images, DRAW[name](keys, size)))


def test_draws_bring_nothing_from_the_host(monkeypatch):
    """A copy from the host would wait for all that a GPU still has to do."""

    def refuse(*given, **how):
        raise AssertionError("made on the host")

    draws = Draws(0, IDS[:6], 0)
    for name in ("tensor", "as_tensor", "from_numpy"):
        monkeypatch.setattr(torch, name, refuse)
    for draw in DRAW.values():
        draw(draws.keys(Purpose.TRANSFORM, 1, 2), 16)
    draws.within(0.5, (3, 4, 4), Purpose.NOISE_START)


def test_the_first_numbers_are_those_of_splitmix64():
    """Reference values of SplitMix64 seeded with 1234567, read in 16-bit parts from the lowest."""
    reference = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    parts = [(value >> shift & 0xFFFF) for value in reference for shift in (0, 16, 32, 48)]
    numbers = uniform(torch.tensor([1234567]), 12)[0]
    torch.testing.assert_close(numbers * 65536 - 0.5, torch.tensor(parts, dtype=torch.float32), atol=0.01, rtol=0)


def test_cifar_transformation_equals_torchvision():
    size, pad = 32, 4
    keys = Draws(0, IDS[:200], 0).keys(Purpose.TRANSFORM)
    images = torch.rand((200, 3, size, size), generator=torch.Generator().manual_seed(0))
    out = resample(images, draw_cifar(keys, size))
    numbers = uniform(keys, 3)
    seen = set()
    for image, result, (flip, down, right) in zip(images, out, numbers.tolist(), strict=True):
        expected = tv.horizontal_flip(image) if flip < 0.5 else image
        top, left = int(down * 9), int(right * 9)
        expected = tv.crop(tv.pad(expected, [pad] * 4), top, left, size, size)
        assert torch.equal(result, expected)
        seen |= {("flip", flip < 0.5), ("top", top), ("left", left)}
    assert len(seen) == 2 + 9 + 9  # every flip and every offset occurs


def test_imagenet_transformation_equals_torchvision():
    size, tries = 24, 10
    keys = Draws(0, IDS[:300], 0).keys(Purpose.TRANSFORM)
    images = torch.rand((300, 3, size, size), generator=torch.Generator().manual_seed(0))
    out = resample(images, draw_imagenet(keys, size))
    areas = []
    for image, result, u in zip(images, out, uniform(keys, 23).tolist(), strict=True):
        height = width = size
        for attempt in range(tries):
            area = size * size * (0.08 + 0.92 * u[attempt])
            ratio = (4 / 3) ** (2 * u[tries + attempt] - 1)
            h, w = round((area / ratio) ** 0.5), round((area * ratio) ** 0.5)
            if 0 < h <= size and 0 < w <= size:
                height, width = h, w
                break
        top, left = int(u[20] * (size - height + 1)), int(u[21] * (size - width + 1))
        expected = tv.resized_crop(image, top, left, height, width, [size, size], antialias=True)
        expected = tv.horizontal_flip(expected) if u[22] < 0.5 else expected
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)
        areas.append(height * width / size**2)
    assert min(areas) < 0.15
    assert max(areas) > 0.85


def read_photograph_draw(u: list[float], size: int) -> tuple[list[int], int, bool, bool, bool]:
    """What `draw_photograph` reads from its numbers, one image at a time: window, r', cubic, antialiased, flipped."""
    height = width = size
    for area, ratio in zip(u[:10], u[10:20], strict=True):
        pixels, aspect = size * size * (0.5 + 0.5 * area), (4 / 3) ** (2 * ratio - 1)
        h, w = round((pixels / aspect) ** 0.5), round((pixels * aspect) ** 0.5)
        if 0 < h <= size and 0 < w <= size:
            height, width = h, w
            break
    least = -(-size // 2)
    window = [int(u[20] * (size - height + 1)), int(u[21] * (size - width + 1)), height, width]
    return window, least + int(u[23] * (size - least + 1)), u[24] < 0.5, u[25] < 0.5, u[22] < 0.5


def test_photograph_transformation_equals_torchvision():
    """Bilinear and antialiased bicubic everywhere; plain bicubic inside, because at the border torch repeats pixels."""
    size = 24
    keys = Draws(0, IDS[:600], 0).keys(Purpose.TRANSFORM)
    images = torch.rand((600, 3, size, size), generator=torch.Generator().manual_seed(0))
    out = resample(images, draw_photograph(keys, size))
    seen = set()
    for image, result, u in zip(images, out, uniform(keys, 26).tolist(), strict=True):
        window, kept, is_cubic, is_smooth, is_flipped = read_photograph_draw(u, size)
        mode = InterpolationMode.BICUBIC if is_cubic else InterpolationMode.BILINEAR
        small = tv.resized_crop(image, *window, [kept, kept], mode, is_smooth)
        expected = tv.resize(small, [size, size])
        expected = tv.horizontal_flip(expected) if is_flipped else expected
        difference = (result - expected).abs()
        if is_cubic and not is_smooth:
            difference = difference[:, 8:-8, 8:-8]
        assert difference.max() < 1e-5, (window, kept, is_cubic, is_smooth)
        seen |= {("kept", kept), ("how", is_cubic, is_smooth, is_flipped)}
        seen |= {("small", window[2] * window[3] < 0.55 * size**2), ("large", window[2] * window[3] > 0.95 * size**2)}
    assert len(seen) == 13 + 8 + 4  # every r' from 12 to 24, every way, and areas from a half to the whole


@pytest.mark.parametrize("resolution", [2, 3, 7, 32, 33])
def test_photograph_matrices_keep_the_mean_and_bilinear_ones_are_convex(resolution):
    keys = Draws(1, IDS, 0).keys(Purpose.TRANSFORM)
    is_cubic = uniform(keys, 26)[:, 24] < 0.5
    for matrix in draw_photograph(keys, resolution):
        assert matrix.shape == (1000, resolution, resolution)
        torch.testing.assert_close(matrix.sum(2), torch.ones(1000, resolution), atol=1e-5, rtol=0)
        assert (matrix[~is_cubic] >= 0).all()
        assert matrix.abs().sum(2).max() < 2.5
    if resolution > 3:
        assert (matrix[is_cubic] < -0.01).any()


@pytest.mark.parametrize("name", DRAW)
def test_a_transformation_does_not_depend_on_the_batch(name):
    keys = Draws(4, IDS[:50], 2).keys(Purpose.TRANSFORM)
    whole, some = DRAW[name](keys, 16), DRAW[name](keys[[9, 2]], 16)
    for matrix, part in zip(whole or (), some or (), strict=True):
        torch.testing.assert_close(part, matrix[[9, 2]], atol=1e-7, rtol=0)


def test_gradient_through_a_transformation_is_its_adjoint():
    keys = Draws(0, IDS[:4], 0).keys(Purpose.TRANSFORM)
    for draw in (draw_cifar, draw_imagenet, draw_photograph):
        t = draw(keys, 8)
        x = torch.rand(4, 3, 8, 8).requires_grad_()
        y = torch.rand(4, 3, 8, 8)
        (resample(x, t) * y).sum().backward()
        expected = t.rows.transpose(1, 2).unsqueeze(1) @ y @ t.columns.unsqueeze(1)
        torch.testing.assert_close(x.grad, expected)


@given(st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=60)
def test_interpolation_cannot_overshoot(source, target):
    matrix = interpolation_matrix(source, target)
    assert matrix.shape == (target, source)
    assert (matrix >= 0).all()
    torch.testing.assert_close(matrix.sum(1), torch.ones(target), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(50, 21), (8, 8), (8, 33), (3, 8), (1, 1)])
def test_noise_route_equals_resizing_there_and_back(height, width):
    delta = torch.rand((1, 3, 8, 8), generator=torch.Generator().manual_seed(0)) - 0.5
    route = NoiseRoute(torch.tensor([[height, width], [8, 8]]), 8)
    there = F.interpolate(delta, (height, width), mode="bilinear", antialias=True)
    back = F.interpolate(there, (8, 8), mode="bilinear", antialias=True)
    torch.testing.assert_close(resample(delta, route.of(torch.tensor([0]))), back, atol=1e-6, rtol=0)
    torch.testing.assert_close(resample(delta, route.of(torch.tensor([1]))), delta)


def test_images_of_the_working_size_need_no_route():
    assert NoiseRoute(torch.tensor([[8, 8], [8, 8]]), 8).of(torch.tensor([0, 1])) is None


@given(st.data())
@settings(max_examples=150)
def test_released_images_keep_the_budget_and_carry_real_noise(data):
    height, width, resolution = (data.draw(st.integers(1, 12)) for _ in range(3))
    budget = data.draw(st.sampled_from([1, 2, 8, 16, 127]))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 10_000)))
    kind = data.draw(st.sampled_from(["any", "black", "white", "extremes"]))
    image = torch.randint(0, 256, (3, height, width), generator=generator)
    image = {"any": image, "black": image * 0, "white": image * 0 + 255, "extremes": (image > 127) * 255}[kind]
    image = image.to(torch.uint8)
    levels = torch.randint(-budget, budget + 1, (3, resolution, resolution), generator=generator).to(torch.int8)
    protected, _ = protect_at_own_size(image, levels, budget)
    change = protected.int() - image.int()
    assert protected.shape == image.shape
    assert change.abs().max() <= budget
    assert change.abs().max() > 0
    assert change.abs().float().mean() >= budget / 8


@given(st.data())
@settings(max_examples=100)
def test_released_images_are_the_rounded_sum_within_the_box_however_they_lie_in_memory(data):
    height, width, resolution = (data.draw(st.integers(1, 12)) for _ in range(3))
    budget = data.draw(st.sampled_from([1, 8, 127]))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 10_000)))
    image = torch.randint(0, 256, (height, width, 3), generator=generator).to(torch.uint8).permute(2, 0, 1)
    levels = torch.randint(-budget, budget + 1, (3, resolution, resolution), generator=generator).to(torch.int8)
    rows, columns = (interpolation_matrix(resolution, side).double() for side in (height, width))
    delta = rows @ levels.double() @ columns.T
    protected, raised = protect_at_own_size(image, levels, budget)
    assert torch.equal(protected, protect_at_own_size(image.contiguous(), levels, budget)[0])
    if not raised:  # float32 may fall on the other side of a half
        assert (protected - (image + delta).clamp(0, 255)).abs().max() <= 0.5 + 1e-4


def test_strips_of_a_large_image_give_the_whole(monkeypatch):
    image, levels = torch.randint(0, 256, (3, 60, 40)).to(torch.uint8), torch.randint(-8, 9, (3, 8, 8)).to(torch.int8)
    whole, _ = protect_at_own_size(image, levels, 8)
    monkeypatch.setattr("rem_release.core.levels._STRIP", 40 * 7)
    assert torch.equal(protect_at_own_size(image, levels, 8)[0], whole)


def test_noise_of_the_working_size_ships_as_it_trained():
    image = torch.randint(20, 236, (3, 8, 8), dtype=torch.uint8)
    levels = torch.randint(-8, 9, (3, 8, 8), dtype=torch.int8)
    protected, raised = protect_at_own_size(image, levels, 8)
    assert not raised
    assert torch.equal(protected.int() - image.int(), levels.int())
