"""Augmentations and the projection against second ways, known answers, and the statistics of their draws."""

import itertools
from collections import Counter

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor
from torchvision.transforms import TrivialAugmentWide

from rem_release.core.draws import Draws, Purpose, chain, uniform
from rem_release.threats.kinds.cutmix import cutmix
from rem_release.threats.kinds.cutout import cutout
from rem_release.threats.kinds.mixup import mixup
from rem_release.threats.kinds.orthogonal.projection import fit_projection, project_out
from rem_release.threats.kinds.ueraser.augmentation import augment_trivially, change_colours, make_plasma, ueraser
from rem_release.threats.mixing import draw_partners, draw_weight
from rem_release.training.batches import batch_indices

IDS = torch.arange(1000) * 7919 + 13
SIDE = 32
UNLIKELY = 1e-4


def cut_photographs(count: int, side: int = SIDE, seed: int = 0) -> Tensor:
    """Squares from random places in three photographs: uint8 [count, 3, side, side]."""
    photographs = [skimage.data.cat(), skimage.data.coffee(), skimage.data.astronaut()]
    generator = np.random.default_rng(seed)
    squares = []
    for index in range(count):
        photograph = photographs[index % len(photographs)]
        top, left = (generator.integers(0, length - side) for length in photograph.shape[:2])
        squares.append(photograph[top : top + side, left : left + side])
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).contiguous()


def numbered(count: int, side: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    """Images filled with a value of their own, those values, and a target of its own for each image."""
    values = torch.linspace(0.1, 0.9, count)
    return values[:, None, None, None].expand(count, 3, side, side).clone(), values, torch.eye(count)


# cutout


@pytest.mark.parametrize(("resolution", "share"), [(32, 0.5), (9, 0.5), (9, 1 / 3), (5, 0.9)])
def test_cutout_blanks_the_square_that_was_drawn(resolution: int, share: float):
    images = cut_photographs(60, resolution).float() / 255
    keys = Draws(0, IDS[:60], 3).keys(Purpose.CUTOUT)
    side = round(share * resolution)
    expected = images.clone()
    for image, numbers in zip(expected, uniform(keys, 2), strict=True):
        top, left = (int(float(number) * resolution) - side // 2 for number in numbers)
        image[:, max(top, 0) : top + side, max(left, 0) : left + side] = 0.5
    before = images.clone()
    assert torch.equal(cutout(images, keys, share), expected)
    assert torch.equal(images, before)


def test_cutout_covers_the_area_that_clipping_at_the_border_leaves():
    keys = Draws(0, torch.arange(20000), 0).keys(Purpose.CUTOUT)
    blank = cutout(torch.zeros(20000, 1, SIDE, SIDE), keys, 0.5)[:, 0] == 0.5
    covered = [len(range(max(centre - 8, 0), min(centre + 8, SIDE))) for centre in range(SIDE)]
    lengths = blank.any(2).sum(1)
    counts = [int((lengths == length).sum()) for length in sorted(set(covered))]
    expected = [20000 * covered.count(length) / SIDE for length in sorted(set(covered))]
    assert stats.chisquare(counts, expected).pvalue > UNLIKELY
    areas = blank.sum((1, 2)).double()
    error = areas.std() / 20000**0.5
    assert abs(areas.mean() - np.mean(covered) ** 2) < 4 * error  # rows and columns are independent
    assert areas.max() == 16**2


# mixup and cutmix


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_weights_follow_the_beta_distribution(alpha: float):
    weights = [draw_weight(Draws(0, IDS[:1], step), alpha) for step in range(3000)]
    assert stats.kstest(weights, stats.beta(alpha, alpha).cdf).pvalue > UNLIKELY
    assert abs(np.corrcoef(weights[:-1], weights[1:])[0, 1]) < 4 / 3000**0.5


@pytest.mark.parametrize("alpha", [0.01, 100.0])
def test_extreme_weights_stay_numbers(alpha: float):
    weights = [draw_weight(Draws(0, IDS[:1], step), alpha) for step in range(300)]
    assert all(0 <= weight <= 1 for weight in weights)


def test_the_weight_is_a_function_of_seed_and_step():
    weight = draw_weight(Draws(3, IDS[:5], 7), 1.0)
    assert weight == draw_weight(Draws(3, IDS[40:90], 7), 1.0)
    assert weight != draw_weight(Draws(3, IDS[:5], 8), 1.0)
    assert weight != draw_weight(Draws(4, IDS[:5], 7), 1.0)


def test_partners_are_a_fair_permutation():
    seen = Counter(tuple(draw_partners(Draws(0, IDS[:4], step)).tolist()) for step in range(4800))
    assert set(seen) == set(itertools.permutations(range(4)))
    assert stats.chisquare(list(seen.values())).pvalue > UNLIKELY


def test_images_of_one_id_still_make_a_permutation():
    assert draw_partners(Draws(0, torch.zeros(6, dtype=torch.int64), 0)).sort().values.tolist() == list(range(6))


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_labels_are_mixed_as_pixels_are(mix):
    images, values, targets = numbered(12, 31)
    kept = []
    for step in range(40):
        mixed, soft = mix(images, targets, Draws(0, IDS[:12], step))
        torch.testing.assert_close(soft.sum(1), torch.ones(12))
        torch.testing.assert_close(mixed.mean((1, 2, 3)), soft @ values)
        kept.append(round(float(soft.diagonal().min()), 4))
    assert torch.equal(images, numbered(12, 31)[0])
    assert torch.equal(targets, torch.eye(12))
    assert len(set(kept)) > 20
    assert min(kept) < 0.4
    assert max(kept) > 0.9


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_several_views_of_each_image_are_mixed_as_one_batch(mix):
    images, values, targets = numbered(12, 31)
    mixed, soft = mix(images, targets, Draws(0, IDS[:4], 1))  # three views of four images
    torch.testing.assert_close(mixed.mean((1, 2, 3)), soft @ values)
    torch.testing.assert_close(soft.sum(0), torch.ones(12))


def test_mixup_is_the_sum_that_its_paper_writes():
    images, targets = cut_photographs(20).float() / 255, torch.eye(4)[torch.arange(20) % 4]
    draws = Draws(1, IDS[:20], 5)
    mixed, soft = mixup(images, targets, draws, 0.7)
    weight, partner = draw_weight(draws, 0.7), draw_partners(draws)
    torch.testing.assert_close(mixed, weight * images + (1 - weight) * images[partner])
    torch.testing.assert_close(soft, weight * targets + (1 - weight) * targets[partner])


def test_cutmix_pastes_one_square_of_the_area_that_was_drawn():
    images, _, targets = numbered(8, SIDE)
    whole = 0
    for step in range(200):
        draws = Draws(0, IDS[:8], step)
        mixed, _ = cutmix(images, targets, draws)
        place = int((draw_partners(draws) != torch.arange(8)).nonzero()[0])
        pasted = mixed[place, 0] != images[place, 0]
        height, width = int(pasted.any(1).sum()), int(pasted.any(0).sum())
        assert int(pasted.sum()) == height * width
        side = int(SIDE * (1 - draw_weight(draws, 1.0)) ** 0.5)
        assert max(height, width) <= side
        touches = bool(pasted[0].any() | pasted[-1].any() | pasted[:, 0].any() | pasted[:, -1].any())
        assert touches or (height, width) == (side, side)
        whole += (height, width) == (side, side)
    assert 0 < whole < 200


# UEraser


def draw_plasma_slowly(key: Tensor, roughness: float, resolution: int) -> np.ndarray:
    """Diamond-square, a point at a time."""
    grid = uniform(chain(key, 0), 9)[0].double().numpy().reshape(3, 3)
    level = 0
    while len(grid) < resolution:
        level += 1
        side = 2 * len(grid) - 1
        chance = uniform(chain(key, level), side**2)[0].double().numpy().reshape(side, side)
        finer = np.full((side, side), np.nan)
        finer[::2, ::2] = grid
        diamonds = [(row, column) for row in range(1, side, 2) for column in range(1, side, 2)]
        squares = [(row, column) for row in range(side) for column in range(side) if (row + column) % 2]
        for points, steps in (
            (diamonds, ((-1, -1), (-1, 1), (1, -1), (1, 1))),
            (squares, ((-1, 0), (1, 0), (0, -1), (0, 1))),
        ):
            for row, column in points:
                around = [(row + down, column + right) for down, right in steps]
                mean = np.mean([finer[y, x] for y, x in around if 0 <= y < side and 0 <= x < side])
                finer[row, column] = (1 - roughness**level) * mean + roughness**level * chance[row, column]
        grid = finer
    return grid[:resolution, :resolution]


@pytest.mark.parametrize("resolution", [1, 3, 8, 9, 21])
def test_a_plasma_is_the_diamond_square_algorithm(resolution: int):
    keys = IDS[:3]
    plasma = make_plasma(keys, torch.tensor([0.3, 0.5, 0.7]), resolution)
    for index, roughness in enumerate((0.3, 0.5, 0.7)):
        expected = draw_plasma_slowly(keys[index : index + 1], roughness, resolution)
        np.testing.assert_allclose(plasma[index].numpy(), expected, atol=1e-6)


def test_plasmas_fill_the_range_and_roughness_roughens():
    steps = []
    for roughness in (0.0, 0.3, 0.5, 0.7, 1.0):
        plasma = make_plasma(IDS, torch.full((1000,), roughness), SIDE)
        assert plasma.min() >= 0
        assert plasma.max() <= 1
        assert abs(plasma.mean() - 0.5) < 0.02
        steps.append(float((plasma[:, 1:] - plasma[:, :-1]).abs().mean()))
    assert steps == sorted(steps)
    assert steps[-1] > 5 * steps[0]


def test_each_change_of_colour_happens_to_half_of_the_images():
    count, seed = 4000, 5
    half = 4 * (count / 4) ** 0.5  # four standard deviations
    grey = change_colours(torch.full((count, 3, 5, 5), 0.5), seed)  # contrast and order leave it as it is
    brightened = (grey != 0.5).flatten(1).any(1)
    assert abs(int(brightened.sum()) - count / 2) < half
    colours = torch.tensor([0.2, 0.5, 0.8])
    changed = change_colours(colours[None, :, None, None].expand(count, 3, 5, 5), seed)
    flat = (changed == changed[:, :, :1, :1]).flatten(1).all(1)
    assert not (flat & brightened).any()
    assert abs(int((flat & ~brightened).sum()) - int((~brightened).sum()) / 2) < half
    orders = Counter(tuple(order) for order in changed[flat][:, :, 0, 0].argsort(1).tolist())
    expected = [1 / 2 + 1 / 12 if order == (0, 1, 2) else 1 / 12 for order in itertools.permutations(range(3))]
    seen = [orders[order] for order in itertools.permutations(range(3))]
    assert stats.chisquare(seen, [share * int(flat.sum()) for share in expected]).pvalue > UNLIKELY


def test_brightness_and_contrast_vary_over_the_image_and_between_channels():
    count = 400
    shift = change_colours(torch.full((count, 3, SIDE, SIDE), 0.5), 0) - 0.5  # contrast and order leave it as it is
    brightened = shift.flatten(1).any(1)
    near_grey = torch.tensor([0.48, 0.52]).repeat(SIDE // 2).expand(count, 3, SIDE, SIDE)  # no contrast here clips it
    factor = ((change_colours(near_grey, 0) - 0.5) / (near_grey - 0.5))[~brightened]
    contrasted = (factor - 1).abs().flatten(1).amax(1) > 1e-3
    for maps, low, high, middle in ((shift[brightened], -0.5, 0.5, 0.0), (factor[contrasted], 0.0, 4.0, 2.0)):
        assert len(maps) > 50
        assert maps.min() >= low - 1e-4
        assert maps.max() <= high + 1e-4
        means = maps.mean((2, 3))
        assert abs(means.mean() - middle) < 4 * means.std() / (3 * len(maps)) ** 0.5
        assert maps.std((2, 3)).min() > 0.01
        assert abs(torch.corrcoef(means[:, :2].T)[0, 1]) < 4 / len(maps) ** 0.5


def test_changes_of_colour_are_those_of_the_numbers_drawn():
    images = cut_photographs(40, 16).float() / 255
    keys = chain(torch.full((40,), 9), int(Purpose.COLOUR), torch.arange(40))
    changed = change_colours(images, 9)
    for index, numbers in enumerate(uniform(chain(keys, 0), 7)):
        brighten, contrast, shuffle, rough, strength, rough_contrast, order = numbers.tolist()
        maps = []
        for purpose, share in ((1, rough), (2, rough_contrast)):
            of_channels = chain(keys[index], purpose, torch.arange(3))
            maps.append(make_plasma(of_channels, torch.full((3,), 0.3 + 0.4 * share), 16).double().numpy())
        expected = images[index].double().numpy()
        if brighten < 0.5:
            expected = np.clip(expected + (0.5 + strength / 2) * (2 * maps[0] - 1), 0, 1)
        if contrast < 0.5:
            expected = np.clip(0.5 + 4 * maps[1] * (expected - 0.5), 0, 1)
        if shuffle < 0.5:
            expected = expected[list(list(itertools.permutations(range(3)))[int(order * 6)])]
        np.testing.assert_allclose(changed[index].numpy(), expected, atol=1e-5)


def test_trivial_augmentation_is_torchvisions_a_draw_for_eight():
    images = cut_photographs(21)
    result = augment_trivially((images.float() - 0.3).clamp(min=0) / 255, 11)  # to the nearest level
    augment = TrivialAugmentWide()
    for index, image in enumerate(images):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(chain(torch.tensor(11), int(Purpose.COLOUR), index // 8, 3)))
            expected = augment(image)
        assert torch.equal((result[index] * 255).round().to(torch.uint8), expected)


def test_values_outside_the_range_are_clamped_not_wrapped():
    images = cut_photographs(80).float() / 255 * 1.6 - 0.3
    assert torch.equal(augment_trivially(images, 4), augment_trivially(images.clamp(0, 1), 4))


def test_trivial_augmentation_draws_anew_for_each_group():
    images = cut_photographs(1).repeat(8 * 100, 1, 1, 1).float() / 255
    groups = augment_trivially(images, 2).reshape(100, 8, -1)
    assert (groups == groups[:, :1]).all()
    assert len(groups[:, 0].unique(dim=0)) > 50


def test_ueraser_gives_8_bit_images_whatever_the_batch_and_leaves_the_generators_alone():
    images = cut_photographs(24).float() / 255
    before, state = images.clone(), torch.get_rng_state()
    result = ueraser(images, 7)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, before)
    assert result.shape == images.shape
    assert result.dtype == images.dtype
    assert torch.equal(result, (result * 255).round().clamp(0, 255) / 255)
    assert torch.equal(ueraser(images[:21], 7), result[:21])
    torch.manual_seed(12345)
    assert torch.equal(ueraser(images, 7), result)
    torch.set_rng_state(state)
    assert not torch.equal(ueraser(images, 8), result)
    assert torch.equal(ueraser(images, -7), ueraser(images, -7))


def test_no_augmentation_depends_on_the_batch_beyond_its_partner():
    images = cut_photographs(24).float() / 255
    keys = Draws(0, IDS[:24], 0).keys(Purpose.CUTOUT)
    assert torch.equal(cutout(images, keys)[[9, 2]], cutout(images[[9, 2]], keys[[9, 2]]))
    assert torch.equal(change_colours(images, 1)[:5], change_colours(images[:5], 1))


# orthogonal projection


def draw_patches(classes: int, side: int, seed: int = 0) -> Tensor:
    """A pattern of ±8 levels in blocks of four pixels for each class: int16 [classes, 3, side, side]."""
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (classes, 3, side // 4, side // 4), generator=generator, dtype=torch.int16) * 2 - 1
    return (8 * signs).repeat_interleave(4, 2).repeat_interleave(4, 3)


def probe_linearly(images: Tensor, labels: Tensor, classes: int) -> float:
    """Accuracy on the odd images of ridge regression on the even ones."""
    pixels = images.flatten(1).double()
    pixels = pixels - pixels[::2].mean(0)
    wanted = F.one_hot(labels, classes).double() - 1 / classes
    own = pixels[::2] @ pixels[::2].T
    weights = torch.linalg.solve(own + 1e-2 * own.diagonal().mean() * torch.eye(len(own)), wanted[::2])
    return float(((pixels[1::2] @ pixels[::2].T @ weights).argmax(1) == labels[1::2]).double().mean())


def test_a_patch_alone_is_removed_exactly():
    labels = torch.arange(60) % 5
    images = (128 + draw_patches(5, 16)[labels]).to(torch.uint8)
    Q = fit_projection(images, labels, 5, 0)
    left = project_out(images.float() / 255, Q)
    assert (left - left[0]).abs().max() < 1e-5  # of 8/255 = 0.03
    assert float((images.float() - images[0]).abs().max()) == 16


@pytest.mark.parametrize("seed", [0, 1])
def test_a_patch_on_photographs_no_longer_tells_the_class(seed: int):
    """Labels have nothing to do with the photographs, so all that a linear classifier finds is the patch."""
    classes, count = 5, 1500
    photographs = cut_photographs(count, 16, seed)
    labels = torch.from_numpy(np.random.default_rng(seed).integers(0, classes, count))
    images = (photographs + draw_patches(classes, 16, seed)[labels]).clamp(0, 255).to(torch.uint8)
    chance = 1 / classes + 4 * (0.2 * 0.8 / (count / 2)) ** 0.5
    assert probe_linearly(photographs, labels, classes) < chance
    assert probe_linearly(images, labels, classes) > 0.9
    Q = fit_projection(images, labels, classes, seed)
    left = project_out(images.float() / 255, Q)
    assert left.dtype == torch.float32
    assert probe_linearly(left, labels, classes) < chance
    # and most of the photograph is still there
    assert left.var(0).sum() > 0.7 * (images.float() / 255).var(0).sum()


def test_the_directions_span_the_weights_of_a_classifier_trained_with_autograd():
    images, labels = cut_photographs(1300, 8), torch.arange(1300) % 4
    network = torch.nn.Linear(192, 4, bias=False)
    torch.nn.init.zeros_(network.weight)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1 * 3072 / 192)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [10, 15])
    pixels = images.flatten(1).float() / 255
    pixels = pixels - pixels.mean(0)
    for step in range(40):
        chosen = batch_indices(3, step, 1300, 1024)
        optimizer.zero_grad()
        F.cross_entropy(network(pixels[chosen]), labels[chosen]).backward()
        optimizer.step()
        if step % 2:
            schedule.step()
    expected, _ = np.linalg.qr(network.weight.detach().double().numpy().T[:, :3])
    Q = fit_projection(images, labels, 4, 3)
    torch.testing.assert_close(Q @ Q.T, torch.from_numpy(expected @ expected.T).float(), atol=1e-3, rtol=0)


def test_projecting_takes_off_the_directions_and_nothing_else():
    images, labels = cut_photographs(300, 16), torch.arange(300) % 4
    Q = fit_projection(images, labels, 4, 0)
    assert torch.equal(Q, fit_projection(images, labels, 4, 0))
    assert Q.shape == (768, 3)  # weights sum to zero over the four classes
    torch.testing.assert_close(Q.T @ Q, torch.eye(3), atol=1e-5, rtol=0)
    pixels = images.float() / 255
    left = project_out(pixels, Q)
    assert (left.flatten(1) @ Q).abs().max() < 1e-4
    torch.testing.assert_close(project_out(left, Q), left, atol=1e-5, rtol=0)
    flat, basis = pixels.flatten(1).double().numpy(), Q.double().numpy()
    expected = (flat - flat @ basis @ basis.T).reshape(left.shape)
    np.testing.assert_allclose(left.numpy(), expected, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(project_out(pixels, Q), left)
        assert torch.equal(fit_projection(images, labels, 4, 0), Q)


def test_missing_classes_and_equal_images_leave_fewer_directions():
    images, labels = cut_photographs(90, 8), torch.arange(90) % 3
    assert fit_projection(images, labels, 7, 0).shape == (192, 3)  # three classes against the other four
    equal = images[:1].repeat(90, 1, 1, 1)
    Q = fit_projection(equal, labels, 3, 0)
    assert Q.shape == (192, 0)
    assert torch.equal(project_out(equal.float(), Q), equal.float())
