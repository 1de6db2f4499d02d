import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from rem_release.release.imperceptibility import ChangeMeter, agree, measure_change, psnr, ssim


def make_pair(height, width, levels=8, seed=0):
    rng = np.random.default_rng(seed)
    clean = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    noise = rng.integers(-levels, levels + 1, clean.shape)
    return clean, np.clip(clean + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("change", [1, 8, 200])
def test_psnr_of_a_constant_change_is_known(change):
    clean = np.full((4, 4, 3), 20, np.uint8)
    assert psnr(clean, clean + np.uint8(change)) == pytest.approx(20 * math.log10(255 / change))


def test_psnr_of_equal_images_is_infinite():
    clean, _ = make_pair(3, 3)
    assert psnr(clean, clean) == math.inf


@given(pair=arrays(np.uint8, (2, 5, 4, 3)))
def test_psnr_equals_that_of_scikit_image(pair):
    clean, protected = pair
    if not np.array_equal(clean, protected):
        assert psnr(clean, protected) == pytest.approx(peak_signal_noise_ratio(clean, protected, data_range=255))


@pytest.mark.parametrize(
    ("height", "width", "window"), [(32, 40, 7), (7, 9, 7), (6, 30, 5), (5, 5, 5), (4, 9, 3), (3, 3, 3)]
)
def test_ssim_equals_that_of_scikit_image(height, width, window):
    clean, protected = make_pair(height, width)
    expected = structural_similarity(clean, protected, win_size=window, channel_axis=2)
    assert ssim(clean, protected) == pytest.approx(expected, abs=1e-12)


SHAPES = st.tuples(st.integers(3, 90), st.integers(3, 24), st.just(3))
IMAGES = SHAPES.flatmap(lambda shape: st.tuples(draw_image(shape), draw_image(shape)))


def draw_image(shape):
    """Any values, noise, one level, black and white, a slope, or stripes."""
    rows, columns, _ = np.indices(shape)
    return st.one_of(
        arrays(np.uint8, shape),
        st.integers(0, 99).map(lambda seed: np.random.default_rng(seed).integers(0, 256, shape, np.uint8)),
        st.sampled_from([0, 1, 128, 254, 255]).map(lambda level: np.full(shape, level, np.uint8)),
        st.integers(0, 99).map(lambda seed: np.random.default_rng(seed).choice([0, 255], shape).astype(np.uint8)),
        st.integers(1, 20).map(lambda slope: ((slope * rows + columns) % 256).astype(np.uint8)),
        st.integers(1, 9).map(lambda period: np.where(columns // period % 2, 255, 0).astype(np.uint8)),
    )


@settings(max_examples=300, deadline=None)
@given(pair=IMAGES)
def test_ssim_of_any_images_equals_that_of_scikit_image(pair):
    clean, protected = pair
    window = min(7, *(side - 1 + side % 2 for side in clean.shape[:2]))
    expected = structural_similarity(clean, protected, win_size=window, channel_axis=2)
    assert ssim(clean, protected) == pytest.approx(expected, abs=1e-12)


def test_ssim_in_bands_equals_that_of_the_whole():
    clean, protected = make_pair(2100, 1000)  # 66 bands, the last of 14 rows
    assert ssim(clean, protected) == pytest.approx(structural_similarity(clean, protected, channel_axis=2), abs=1e-12)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 50), (50, 2)])
def test_ssim_needs_three_pixels_a_side(height, width):
    assert ssim(*make_pair(height, width)) is None


def test_ssim_of_equal_images_is_one():
    clean, _ = make_pair(9, 9)
    assert ssim(clean, clean) == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), height=st.integers(1, 9) | st.integers(30, 120), width=st.integers(1, 9))
@example(seed=0, height=40_000, width=1)
@example(seed=0, height=2, width=40_000)
@example(seed=0, height=90, width=900)
def test_a_measured_change_agrees_with_plain_arithmetic(seed, height, width):
    clean, protected = make_pair(height, width, seed=seed)
    change = measure_change(clean, protected)
    difference = protected.astype(int) - clean.astype(int)
    assert abs(change.largest) == np.abs(difference).max()
    assert difference[change.where] == change.largest
    first = np.unravel_index(np.abs(difference).argmax(), difference.shape)
    assert change.where == first
    assert change.mean == np.abs(difference).sum() / difference.size
    assert change.psnr == pytest.approx(peak_signal_noise_ratio(clean, protected, data_range=255))


def test_changes_across_the_whole_range_are_added_up_without_overflow():
    clean = np.zeros((40_000, 3, 3), np.uint8)
    change = measure_change(clean, clean + np.uint8(255))
    assert (change.largest, change.mean, change.psnr) == (255, 255.0, 0.0)
    assert change.ssim == pytest.approx(0.01**2 / (1 + 0.01**2))


def test_the_meter_averages_over_images_and_finds_the_worst():
    clean = np.full((3, 3, 3), 100, np.uint8)
    small, large = clean + np.uint8(2), clean.copy()
    large[2, 1, 0] -= 9
    meter = ChangeMeter()
    assert meter.facts() is None
    for row, image in ((4, small), (7, large), (9, large)):
        meter.add(clean, image, row)
    facts = meter.facts()
    assert (facts.max_change, meter.worst.row) == (9, 7)
    worst = meter.worst
    assert (worst.row, worst.y, worst.x, worst.channel, worst.change) == (7, 2, 1, 0, -9)
    assert facts.mean_change == round((2 + 9 / 27 + 9 / 27) / 3, 4)
    ratios = [20 * math.log10(255 / 2), *[10 * math.log10(255**2 * 27 / 81)] * 2]
    assert (facts.psnr_mean, facts.psnr_min) == (round(sum(ratios) / 3, 4), round(ratios[0], 4))
    similarities = [structural_similarity(clean, other, win_size=3, channel_axis=2) for other in (small, large, large)]
    assert (facts.ssim_mean, facts.ssim_min) == (round(sum(similarities) / 3, 6), round(min(similarities), 6))


def test_tiny_images_have_no_ssim_but_all_other_figures():
    meter = ChangeMeter()
    meter.add(np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 5, np.uint8), 0)
    facts = meter.facts()
    assert (facts.ssim_mean, facts.ssim_min, facts.max_change, facts.mean_change) == (None, None, 5, 5.0)


def test_the_meter_refuses_a_row_that_did_not_change():
    clean, protected = make_pair(4, 4)
    meter = ChangeMeter()
    with pytest.raises(ValueError, match="row 3 counts as protected and equals"):
        meter.add(clean, clean, 3)
    with pytest.raises(ValueError, match="different shape"):
        meter.add(clean, protected[:2], 3)


def test_figures_agree_up_to_one_unit_of_their_last_decimal():
    meter = ChangeMeter()
    meter.add(*make_pair(8, 8), 0)
    facts = meter.facts()
    assert agree(facts, facts)
    assert agree(facts, facts.model_copy(update={"ssim_mean": facts.ssim_mean + 1e-6}))
    assert not agree(facts, facts.model_copy(update={"ssim_mean": facts.ssim_mean + 2e-6}))
    assert not agree(facts, facts.model_copy(update={"psnr_min": facts.psnr_min + 2e-4}))
    assert not agree(facts, facts.model_copy(update={"max_change": 1}))
    assert not agree(facts, facts.model_copy(update={"ssim_min": None}))
    assert not agree(facts, None)
    assert agree(None, None)
