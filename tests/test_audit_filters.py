"""Each filter against a second way to the same image, on real photographs of odd sizes."""

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image, ImageFilter, ImageOps
from torchvision.io import decode_jpeg, encode_jpeg

from rem_release.threats.kinds.bit_depth import BitDepth
from rem_release.threats.kinds.gaussian import Gaussian
from rem_release.threats.kinds.greyscale import Greyscale
from rem_release.threats.kinds.jpeg import Jpeg
from rem_release.threats.kinds.mean import Mean
from rem_release.threats.kinds.median import Median

SIZES = [(1, 1), (1, 7), (5, 1), (2, 3), (33, 47), (64, 61), (128, 97)]
PHOTOGRAPHS = [skimage.data.cat(), skimage.data.coffee(), skimage.data.astronaut()]
IMAGES = [
    np.ascontiguousarray(photograph[100 : 100 + height, 150 : 150 + width])
    for photograph in PHOTOGRAPHS
    for height, width in SIZES
]
LARGE = [image for image in IMAGES if min(image.shape[:2]) > 30]
FILTERS = {part.name: part for part in (Mean(), Median(), Gaussian(), Greyscale(), Jpeg(quality=10), BitDepth())}


def mean_filter(image: np.ndarray) -> np.ndarray:
    return Mean().filter_image(image)


def median_filter(image: np.ndarray) -> np.ndarray:
    return Median().filter_image(image)


def gaussian_filter(image: np.ndarray, sigma: float) -> np.ndarray:
    return Gaussian(sigma=sigma).filter_image(image)


def greyscale(image: np.ndarray) -> np.ndarray:
    return Greyscale().filter_image(image)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    return Jpeg(quality=quality).filter_image(image)


def bit_depth(image: np.ndarray, bits: int) -> np.ndarray:
    return BitDepth(bits=bits).filter_image(image)


def windows(image: np.ndarray, size: int) -> np.ndarray:
    """The window around each pixel, [H, W, 3, size, size]; beyond the border the edge comes twice."""
    reach = size // 2
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    return np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(0, 1))


def inner(image: np.ndarray) -> np.ndarray:
    """Without the outermost pixels, as Pillow's kernels treat the border in their own way."""
    return image[1:-1, 1:-1].astype(int)


@pytest.mark.parametrize("name", FILTERS)
def test_every_size_gives_a_new_image_of_the_same_form(name: str):
    for image in IMAGES:
        before = image.copy()
        image.flags.writeable = False  # as np.asarray gives a Pillow image
        result = FILTERS[name].filter_image(image)
        assert result.shape == image.shape
        assert result.dtype == np.uint8
        assert np.array_equal(image, before)
        assert not np.shares_memory(result, image)


def test_mean_is_the_exact_rounded_mean():
    for image in IMAGES:
        total = windows(image, 3).astype(int).sum((-2, -1))
        assert np.array_equal(mean_filter(image), (2 * total + 9) // 18)


def test_mean_is_pillows_box():
    for image in LARGE:
        box = np.asarray(Image.fromarray(image).filter(ImageFilter.BoxBlur(1)))
        # Pillow rounds rows, then columns: half a level each
        assert np.abs(inner(mean_filter(image)) - inner(box)).max() <= 1


def test_median_is_the_middle_of_the_sorted_window():
    for image in IMAGES:
        expected = np.sort(windows(image, 3).reshape(*image.shape, -1), axis=-1)[..., 4]
        assert np.array_equal(median_filter(image), expected)


def test_median_is_pillows_median():
    for image in IMAGES:
        expected = np.asarray(Image.fromarray(image).filter(ImageFilter.MedianFilter(3)))
        assert np.array_equal(median_filter(image), expected)


@pytest.mark.parametrize("sigma", [0.3, 0.5, 1.0, 10.0])
def test_gaussian_is_a_convolution_with_the_kernel_written_out(sigma: float):
    offsets = np.arange(3) - 1
    kernel = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    for image in IMAGES:
        expected = (windows(image, 3) * kernel).sum((-2, -1))
        assert np.abs(gaussian_filter(image, sigma) - expected).max() <= 0.5 + 1e-9


def test_gaussian_is_pillows_kernel():
    weights = [np.exp(-(row**2 + column**2) / 2) for row in (-1, 0, 1) for column in (-1, 0, 1)]
    for image in LARGE:
        filtered = Image.fromarray(image).filter(ImageFilter.Kernel((3, 3), weights, scale=sum(weights)))
        assert np.abs(inner(gaussian_filter(image, 1.0)) - inner(np.asarray(filtered))).max() <= 1


def test_a_gaussian_needs_a_real_width():
    for image in LARGE:
        assert not np.array_equal(gaussian_filter(image, 0.3), image)
        # so wide that all nine weights are nearly equal
        flat = gaussian_filter(image, 10.0).astype(int)
        assert np.abs(flat - mean_filter(image)).max() <= 1


def test_greyscale_is_the_luma_of_itu_r_601():
    for image in IMAGES:
        grey = greyscale(image)
        assert (grey == grey[..., :1]).all()
        luma = image @ np.array([0.299, 0.587, 0.114])
        # Pillow's weights are rounded to 1/65536
        assert np.abs(grey[..., 0] - luma).max() <= 0.5 + 0.005
        assert np.array_equal(greyscale(grey), grey)


@pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities:DeprecationWarning")
@pytest.mark.parametrize("quality", [1, 10, 30, 50, 75, 90, 95, 100])
def test_jpeg_is_what_torchvision_writes_and_reads(quality: int):
    """Another build of the codec, with its own defaults, which are also 4:2:0; a level for a decoder's arithmetic."""
    for image in IMAGES:
        encoded = encode_jpeg(torch.from_numpy(image.copy()).permute(2, 0, 1).contiguous(), quality=quality)
        expected = decode_jpeg(encoded).permute(1, 2, 0).numpy()
        assert np.abs(jpeg(image, quality).astype(int) - expected).max() <= 1


def test_jpeg_of_higher_quality_is_closer():
    for image in LARGE:
        errors = [np.square(jpeg(image, quality) - image.astype(float)).mean() for quality in (5, 10, 30, 60, 90)]
        assert errors == sorted(errors, reverse=True)
        assert errors[0] > 3 * errors[-1] > 0


def test_jpeg_halves_colour_but_not_light():
    """Columns that alternate between two colours of the same luma blur; grey columns of that contrast stay apart."""
    colour = np.zeros((16, 16, 3), np.uint8)
    colour[:, ::2], colour[:, 1::2] = (200, 78, 100), (80, 139, 100)
    grey = np.full((16, 16, 3), 60, np.uint8)
    grey[:, 1::2] = 180
    blurred, kept = jpeg(colour, 95).astype(int), jpeg(grey, 95).astype(int)
    assert np.abs(blurred[:, 1:] - blurred[:, :-1])[..., 0].max() < 30
    assert np.abs(kept[:, 1:] - kept[:, :-1])[..., 0].min() > 90


@pytest.mark.parametrize("bits", range(1, 8))
def test_bit_depth_is_pillows_posterize(bits: int):
    for image in IMAGES:
        result = bit_depth(image, bits)
        assert np.array_equal(result, np.asarray(ImageOps.posterize(Image.fromarray(image), bits)))
        assert np.array_equal(result, image // 2 ** (8 - bits) * 2 ** (8 - bits))
