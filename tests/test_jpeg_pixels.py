"""Ordinary JPEG is decoded straight by libjpeg-turbo: to Pillow's pixels, and refused where Pillow refuses it."""

import io
import random
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage.data import astronaut

from rem_release.data.images.decoding import BadImage, decode
from rem_release.data.images.jpeg_pixels import read_jpeg

PHOTOGRAPH = Image.fromarray(astronaut())
ENOUGH = (331, 257)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def save(image: Image.Image, **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **how)
    return file.getvalue()


def open_jpeg(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=("JPEG", "MPO"))


@pytest.mark.parametrize(
    "how",
    [
        {"quality": 75},
        {"quality": 100, "subsampling": 0},
        {"quality": 90, "subsampling": 1, "progressive": True},
        {"quality": 10, "optimize": True, "restart_marker_blocks": 3},
        {"quality": 80, "keep_rgb": True},
    ],
    ids=str,
)
def test_the_pixels_are_those_of_pillow(how: dict[str, Any]) -> None:
    data = save(PHOTOGRAPH.resize(ENOUGH), **how)
    pixels = read_jpeg(open_jpeg(data), data)
    assert pixels is not None
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    np.testing.assert_array_equal(pixels, np.asarray(open_jpeg(data)))
    np.testing.assert_array_equal(decode(data), pixels)


@pytest.mark.parametrize(
    ("image", "how"),
    [
        (PHOTOGRAPH.resize(ENOUGH).convert("L"), {}),
        (PHOTOGRAPH.resize(ENOUGH).convert("CMYK"), {}),
        (PHOTOGRAPH.resize(ENOUGH), {"icc_profile": PROFILE}),
        (
            PHOTOGRAPH.resize(ENOUGH),
            {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"},
        ),
    ],
    ids=["grey", "inks", "profile", "turned"],
)
def test_other_jpeg_is_left_to_pillow(image: Image.Image, how: dict[str, Any]) -> None:
    data = save(image, **how)
    assert read_jpeg(open_jpeg(data), data) is None
    assert decode(data).shape[:2] in {image.size, image.size[::-1]}


def test_damaged_files_have_the_verdict_and_the_pixels_that_pillow_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = [save(PHOTOGRAPH.resize(ENOUGH), quality=30, **how) for how in ({}, {"progressive": True})]
    changes = random.Random(0)
    refused = 0
    for number in range(60):
        data = bytearray(sound[number % 2])
        place = changes.randrange(len(data))
        if number % 3 == 0:
            del data[place:]
        elif number % 3 == 1:
            data[place] ^= 1 << changes.randrange(8)
        else:
            del data[place : place + 5]
        fast = outcome(bytes(data))
        with monkeypatch.context() as alone:
            alone.setattr("rem_release.data.images.decoding.read_jpeg", lambda image, data: None)
            assert fast == outcome(bytes(data))
        refused += isinstance(fast, str)
    assert 20 <= refused < 60


def outcome(data: bytes) -> bytes | str:
    try:
        return decode(data).tobytes()
    except BadImage as error:
        return error.reason
