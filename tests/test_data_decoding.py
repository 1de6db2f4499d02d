"""The decoding policy, each rule against an answer that is known without it."""

import hashlib
import io
import struct
import threading
import warnings
import zlib

import cv2
import numpy as np
import pytest
import tifffile
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import ExifTags, Image, ImageCms

from rem_release.data.images.decoding import MAX_PIXELS, BadImage, decode, decode_noting
from rem_release.data.images.pixels import fit_working_grid, pixel_hash, shrink
from rem_release.data.images.png_writing import encode_png

RNG = np.random.default_rng(7)
COLOURS = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREYS = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
ALPHAS = np.linspace(0, 255, 35).round().astype(np.uint8).reshape(5, 7)


def save(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2)


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    weight = alpha[..., None] / 255
    return np.floor(colours * weight + 255 * (1 - weight) + 0.5).astype(np.uint8)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, depth: int, colour_type: int, rows: list[bytes], *extra: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + data + chunk(b"IEND", b"")


def png16(values: np.ndarray, colour_type: int, *extra: bytes) -> bytes:
    rows = [row.astype(">u2").tobytes() for row in values]
    return png(values.shape[1], values.shape[0], 16, colour_type, rows, *extra)


def reason(data: bytes) -> str:
    with pytest.raises(BadImage) as caught:
        decode(data)
    return caught.value.reason


# --- modes


def test_rgb_is_read_as_it_is() -> None:
    pixels = decode(save(Image.fromarray(COLOURS)))
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    np.testing.assert_array_equal(pixels, COLOURS)


def test_greyscale() -> None:
    np.testing.assert_array_equal(decode(save(Image.fromarray(GREYS))), grey(GREYS))


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP"])
def test_one_bit_is_black_and_white(format: str) -> None:
    bits = GREYS > 127
    np.testing.assert_array_equal(decode(save(Image.fromarray(bits), format)), grey(bits * np.uint8(255)))


@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP", "TIFF"])
def test_palette(format: str) -> None:
    palette = RNG.integers(0, 256, (35, 3), dtype=np.uint8)
    image = Image.fromarray(np.arange(35, dtype=np.uint8).reshape(5, 7)).convert("P")
    image.putpalette(palette.tobytes())
    np.testing.assert_array_equal(decode(save(image, format)), palette.reshape(5, 7, 3))


def test_rgba_is_laid_on_white() -> None:
    pixels = decode(save(Image.fromarray(np.dstack([COLOURS, ALPHAS]))))
    np.testing.assert_array_equal(pixels, on_white(COLOURS, ALPHAS))


def test_grey_with_alpha_is_laid_on_white() -> None:
    image = Image.merge("LA", [Image.fromarray(GREYS), Image.fromarray(ALPHAS)])
    np.testing.assert_array_equal(decode(save(image)), on_white(grey(GREYS), ALPHAS))


def test_palette_with_alpha_per_colour_is_laid_on_white() -> None:
    palette = RNG.integers(0, 256, (35, 3), dtype=np.uint8)
    image = Image.fromarray(np.arange(35, dtype=np.uint8).reshape(5, 7)).convert("P")
    image.putpalette(palette.tobytes())
    data = save(image, transparency=ALPHAS.tobytes())
    np.testing.assert_array_equal(decode(data), on_white(palette.reshape(5, 7, 3), ALPHAS))


def test_transparent_palette_colour_of_a_gif_is_white() -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    pixels = decode(save(image, "GIF", transparency=1))
    np.testing.assert_array_equal(pixels, [[[10, 20, 30], [255] * 3], [[70, 80, 90], [255] * 3]])


def test_transparent_colour_of_rgb_and_grey_png_is_white() -> None:
    rgb = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    data = png(2, 1, 8, 2, [rgb.tobytes()], chunk(b"tRNS", struct.pack(">3H", 4, 5, 6)))
    np.testing.assert_array_equal(decode(data), [[[1, 2, 3], [255] * 3]])
    data = png(2, 1, 8, 0, [bytes([9, 8])], chunk(b"tRNS", struct.pack(">H", 9)))
    np.testing.assert_array_equal(decode(data), [[[255] * 3, [8] * 3]])
    data = png(2, 1, 1, 0, [bytes([0b01000000])], chunk(b"tRNS", struct.pack(">H", 0)))
    np.testing.assert_array_equal(decode(data), [[[255] * 3, [255] * 3]])
    data = png16(np.array([[300, 65535 // 2]]), 0, chunk(b"tRNS", struct.pack(">H", 300)))
    np.testing.assert_array_equal(decode(data), [[[255] * 3, [127] * 3]])


def test_cmyk_without_profile_is_the_plain_ink_model() -> None:
    inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 255], [0, 0, 0, 55]]], np.uint8)
    expected = [[[255] * 3, [0, 255, 255], [255, 0, 0], [0] * 3, [200] * 3]]
    image = Image.frombytes("CMYK", (5, 1), inks.tobytes())
    np.testing.assert_array_equal(decode(save(image, "TIFF")), expected)
    wide = image.resize((40, 8), Image.Resampling.NEAREST)
    pixels = decode(save(wide, "JPEG", quality=100, subsampling=0))
    assert np.abs(pixels[::8, ::8].astype(int) - np.array(expected)).max() <= 4


def test_ycbcr_tiff() -> None:
    image = Image.fromarray(np.full((8, 8, 3), (200, 30, 60), np.uint8)).convert("YCbCr")
    assert np.abs(decode(save(image, "TIFF")).astype(int) - (200, 30, 60)).max() <= 2


def test_lab_white_black_and_grey() -> None:
    lab = np.array([[[255, 0, 0], [0, 0, 0], [137, 0, 0]]], np.uint8)  # L* = 100, 0, 53.7
    pixels = decode(save(Image.frombytes("LAB", (3, 1), lab.tobytes()), "TIFF")).astype(int)
    luminance = ((137 / 255 * 100 + 16) / 116) ** 3
    expected = 255 * (1.055 * luminance ** (1 / 2.4) - 0.055)
    assert np.abs(pixels - np.array([[[255] * 3, [0] * 3, [expected] * 3]])).max() <= 2


# --- depth


@settings(max_examples=30)
@given(hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_16_bit_grey_is_scaled_over_its_full_range(values: np.ndarray) -> None:
    expected = grey(np.rint(values / 257).astype(np.uint8))
    np.testing.assert_array_equal(decode(png16(values, 0)), expected)
    np.testing.assert_array_equal(decode(save(Image.fromarray(values), "TIFF")), expected)
    pgm = b"P5 %d %d 65535\n" % values.shape[::-1] + values.astype(">u2").tobytes()
    np.testing.assert_array_equal(decode(pgm), expected)


def test_big_endian_16_bit_tiff() -> None:
    values = np.array([[0, 257, 65535, 32768]], np.uint16)
    image = Image.frombytes("I;16B", (4, 1), values.astype(">u2").tobytes())
    np.testing.assert_array_equal(decode(save(image, "TIFF")), [[[0] * 3, [1] * 3, [255] * 3, [128] * 3]])


def test_16_bit_tiff_whose_white_is_zero_is_not_a_negative() -> None:
    image = Image.fromarray(np.array([[0, 65535]], np.uint16))
    np.testing.assert_array_equal(decode(save(image, "TIFF", tiffinfo={262: 0})), [[[255] * 3, [0] * 3]])


SIXTEEN = st.integers(1, 4).flatmap(lambda channels: hnp.arrays(np.uint16, (3, 4, channels)))


def level(values: np.ndarray) -> np.ndarray:
    return np.rint(values / 257).astype(np.uint8)


def by_16_bits(values: np.ndarray) -> np.ndarray:
    """What they are in 8-bit RGB: grey, grey with alpha, RGB or RGBA."""
    levels, channels = level(values), values.shape[2]
    colours = grey(levels[..., 0]) if channels < 3 else levels[..., :3]
    return on_white(colours, levels[..., -1]) if channels in (2, 4) else colours


@settings(max_examples=60)
@given(SIXTEEN)
def test_16_bit_png_is_scaled_over_its_full_range(values: np.ndarray) -> None:
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[values.shape[2]]
    np.testing.assert_array_equal(decode(png16(values, kind)), by_16_bits(values))


@settings(max_examples=60)
@given(
    hnp.arrays(np.uint16, st.sampled_from([(3, 4, 3), (3, 4, 4)])),
    st.sampled_from("<>"),
    st.sampled_from([None, "zlib"]),
    st.sampled_from([None, (16, 16)]),
    st.integers(1, 8),
)
def test_16_bit_colour_of_tiff_is_scaled_over_its_full_range(
    values: np.ndarray, order: str, compression: str | None, tile: tuple[int, int] | None, turned: int
) -> None:
    extra = ["unassalpha"] if values.shape[2] == 4 else None
    options = {"photometric": "rgb", "extrasamples": extra, "compression": compression, "tile": tile}
    data = write_tiff(values, order, False, extratags=[(274, 3, 1, turned, True)], **options)
    np.testing.assert_array_equal(decode(data), TURNS[turned](by_16_bits(values)))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_of_bigtiff(order: str, channels: int) -> None:
    values = RNG.integers(0, 65536, (5, 7, channels)).astype(np.uint16)
    extra = ["unassalpha"] if channels == 4 else None
    found = decode_noting(write_tiff(values, order, True, photometric="rgb", extrasamples=extra))
    np.testing.assert_array_equal(found.pixels, by_16_bits(values))
    assert found.choices[0] == "numbers of more than 8 bits brought to 8"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_16_bit_inks_and_colours_weighted_by_alpha(order: str, compression: str | None) -> None:
    values = RNG.integers(0, 65536, (5, 7, 4)).astype(np.uint16)
    inks = {"photometric": "separated", "planarconfig": "contig", "compression": compression}
    np.testing.assert_array_equal(
        decode(write_tiff(values, order, False, **inks)), decode(write_tiff(level(values), order, False, **inks))
    )
    weighted = {"photometric": "rgb", "extrasamples": ["assocalpha"], "compression": compression}
    values[..., :3] = values[..., :3] * (values[..., 3:] / 65535)
    np.testing.assert_array_equal(
        decode(write_tiff(values, order, False, **weighted)),
        decode(write_tiff(level(values), order, False, **weighted)),
    )


def test_a_grey_profile_fits_16_bit_grey_with_alpha() -> None:
    packed = chunk(b"iCCP", b"grey\0\0" + zlib.compress(LINEAR_GREY))
    alpha = np.full((5, 7, 1), 65535, np.uint16)
    values = np.dstack([GREYS.astype(np.uint16)[..., None] * 257, alpha])
    plain = decode(save(Image.fromarray(GREYS), icc_profile=LINEAR_GREY))
    assert np.abs(plain.astype(int) - grey(GREYS)).max() > 50
    np.testing.assert_array_equal(decode(png16(values, 4, packed)), plain)


def test_32_bit_grey_must_fit_16_bits() -> None:
    image = Image.fromarray(np.array([[0, 65535]], np.int32))
    np.testing.assert_array_equal(decode(save(image, "TIFF")), [[[0] * 3, [255] * 3]])
    assert (
        reason(save(Image.fromarray(np.array([[0, 65536]], np.int32)), "TIFF"))
        == "whole numbers outside 0 to 65535: save it with 8 or 16 bits"
    )
    assert "outside" in reason(save(Image.fromarray(np.array([[-1, 5]], np.int32)), "TIFF"))


def test_floats_must_lie_in_0_to_1() -> None:
    image = Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32))
    np.testing.assert_array_equal(decode(save(image, "TIFF")), [[[0] * 3, [128] * 3, [255] * 3]])
    for wrong in (1.5, -0.1, np.nan, np.inf):
        data = save(Image.fromarray(np.array([[0.0, wrong]], np.float32)), "TIFF")
        assert reason(data) == "floating-point values outside 0 to 1"


# --- colour profiles


def profile(space: bytes, kind: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC version 2 profile of these tags, padded to four bytes each."""
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        padded = data + b"\0" * (-len(data) % 4)
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += padded
    length = offset + len(body)
    header = struct.pack(">I4sI4s4s4s12s4s", length, b"\0" * 4, 0x02400000, kind, space, pcs, b"\0" * 12, b"acsp")
    header += b"\0" * 28 + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)


WHITE = xyz(0.9642, 1.0, 0.8249)
LINEAR = b"curv\0\0\0\0" + struct.pack(">I", 0)
LINEAR_GREY = profile(b"GRAY", b"mntr", b"XYZ ", {b"wtpt": WHITE, b"kTRC": LINEAR})


def black_only_profile() -> bytes:
    """CMYK in which the black ink alone decides: L* = 100 without it, 0 with it."""
    ramp = bytes(range(256))
    grid = b"".join(bytes([255 if number % 2 == 0 else 0, 128, 128]) for number in range(16))
    identity = b"".join(struct.pack(">i", 65536 if number % 4 == 0 else 0) for number in range(9))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + grid + ramp * 3
    return profile(b"CMYK", b"prtr", b"Lab ", {b"wtpt": WHITE, b"A2B0": table})


def swapped_profile() -> bytes:
    """sRGB with the primaries of red and blue exchanged, so that the sRGB image has its channels exchanged."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    table = 132 + 12 * struct.unpack(">I", data[128:132])[0]
    tags = data[:table].replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
    return tags + data[table:]


def test_rgb_profile_is_converted() -> None:
    for format, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})):
        data = save(Image.fromarray(COLOURS), format, icc_profile=swapped_profile(), **options)
        assert np.abs(decode(data).astype(int) - COLOURS[..., ::-1]).max() <= 1


def test_rgb_profile_of_a_palette_image_is_converted() -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([200, 100, 0, 9, 80, 250])
    pixels = decode(save(image, icc_profile=swapped_profile())).astype(int)
    assert np.abs(pixels - [[[0, 100, 200], [250, 80, 9]]]).max() <= 1


def test_srgb_profile_changes_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = decode(save(Image.fromarray(COLOURS), icc_profile=srgb))
    assert np.abs(pixels.astype(int) - COLOURS).max() <= 1


def test_grey_profile_is_converted() -> None:
    linear = GREYS / 255
    expected = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    pixels = decode(save(Image.fromarray(GREYS), icc_profile=LINEAR_GREY))
    assert np.abs(pixels - grey(expected)).max() <= 1.5
    sixteen = decode(save(Image.fromarray(GREYS.astype(np.uint16) * 257), "TIFF", icc_profile=LINEAR_GREY))
    np.testing.assert_array_equal(sixteen, pixels)


def test_cmyk_profile_is_converted() -> None:
    inks = np.array([[[255, 0, 0, 0], [0, 0, 0, 255], [0, 0, 0, 0]]], np.uint8)
    image = Image.frombytes("CMYK", (3, 1), inks.tobytes())
    pixels = decode(save(image, "TIFF", icc_profile=black_only_profile())).astype(int)
    assert np.abs(pixels - [[[255] * 3, [0] * 3, [255] * 3]]).max() <= 1


def test_profile_is_applied_before_alpha_is_laid_on_white() -> None:
    data = save(Image.fromarray(np.dstack([COLOURS, ALPHAS])), icc_profile=swapped_profile())
    assert np.abs(decode(data).astype(int) - on_white(COLOURS[..., ::-1], ALPHAS)).max() <= 1


@pytest.mark.parametrize("broken", [b"junk", LINEAR_GREY, LINEAR_GREY[:140], b"\0" * 200, black_only_profile()])
def test_broken_or_unfitting_profile_means_srgb(broken: bytes) -> None:
    np.testing.assert_array_equal(decode(save(Image.fromarray(COLOURS), icc_profile=broken)), COLOURS)


# --- orientation and metadata

TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    expected = TURNS[orientation](COLOURS)
    np.testing.assert_array_equal(decode(save(Image.fromarray(COLOURS), exif=exif)), expected)
    np.testing.assert_array_equal(decode(save(Image.fromarray(COLOURS), "WEBP", exif=exif, lossless=True)), expected)
    tiff = save(Image.fromarray(COLOURS), "TIFF", tiffinfo={274: orientation})
    np.testing.assert_array_equal(decode(tiff), expected)
    turned = decode(save(Image.fromarray(COLOURS), "JPEG", exif=exif))
    plain = decode(save(Image.fromarray(COLOURS), "JPEG"))
    np.testing.assert_array_equal(turned, TURNS[orientation](plain))


def test_orientation_of_16_bit_and_transparent_images() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    values = Image.fromarray(np.array([[0, 65535]], np.uint16))
    np.testing.assert_array_equal(decode(save(values, exif=exif)), [[[0] * 3], [[255] * 3]])
    image = Image.fromarray(np.dstack([COLOURS, ALPHAS]))
    np.testing.assert_array_equal(decode(save(image, exif=exif)), np.rot90(on_white(COLOURS, ALPHAS), -1))


def test_broken_exif_is_ignored() -> None:
    data = save(Image.fromarray(COLOURS), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff nonsense")
    np.testing.assert_array_equal(decode(data), COLOURS)
    np.testing.assert_array_equal(decode(save(Image.fromarray(COLOURS), exif=b"nonsense")), COLOURS)


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "TIFF"])
def test_orientation_of_xmp_is_not_applied(format: str) -> None:
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description tiff:Orientation="6" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"/></rdf:RDF></x:xmpmeta>'
    )
    where = {"tiffinfo": {700: xmp}} if format == "TIFF" else {"xmp": xmp}
    decoded = decode_noting(save(Image.fromarray(COLOURS), format, **where))
    assert (decoded.pixels.shape, decoded.choices) == (COLOURS.shape, ())


def test_a_tiff_that_is_turned_says_so() -> None:
    decoded = decode_noting(save(Image.fromarray(COLOURS), "TIFF", tiffinfo={274: 6}))
    np.testing.assert_array_equal(decoded.pixels, np.rot90(COLOURS, -1))
    assert decoded.choices == ("turned as EXIF says",)


@pytest.mark.parametrize("scale", [1, 256, 257])
def test_palette_of_a_tiff_of_8_and_of_16_bits(scale: int) -> None:
    palette = RNG.integers(1, 256, (3, 256))
    data = io.BytesIO()
    tifffile.imwrite(data, GREYS, photometric="palette", colormap=(palette * scale).astype(np.uint16))
    np.testing.assert_array_equal(decode(data.getvalue()), palette.astype(np.uint8).T[GREYS])


def test_cmyk_jpeg_without_the_mark_of_adobe_is_refused() -> None:
    data = save(Image.fromarray(RNG.integers(0, 256, (5, 7, 4), dtype=np.uint8), "CMYK"), "JPEG")
    assert decode(data).shape == (5, 7, 3)
    start = data.index(b"\xff\xee")
    bare = data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4]) :]
    with pytest.raises(BadImage, match="a JPEG in CMYK without Adobe's mark"):
        decode(bare)


def test_multi_picture_jpeg_is_its_first_image() -> None:
    first, second = (Image.fromarray(np.full((16, 16, 3), level, np.uint8)) for level in (40, 200))
    data = save(first, "MPO", save_all=True, append_images=[second])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    np.testing.assert_array_equal(decode(data), np.full((16, 16, 3), 40))


def test_trailing_bytes_after_a_jpeg_are_no_matter() -> None:
    data = save(Image.fromarray(COLOURS), "JPEG")
    np.testing.assert_array_equal(decode(data + b"trailing video" * 50), decode(data))


# --- refusals


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_animations_and_multi_page_files_are_refused(format: str) -> None:
    frames = [Image.fromarray(RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(3)]
    data = save(frames[0], format, save_all=True, append_images=frames[1:])
    assert reason(data) == "animated or multi-page (3 frames)"


def test_tiff_that_pillow_misreads_is_refused() -> None:
    tags = [(256, 2), (257, 1), (258, 16), (259, 1), (262, 2), (277, 3), (284, 2), (278, 1)]
    count, data_at = len(tags) + 2, 8 + 2 + 12 * (len(tags) + 2) + 4
    offsets_at, sizes_at, bits_at = data_at + 12, data_at + 24, data_at + 36
    entries = [(258, 3, 3, bits_at) if tag == 258 else (tag, 3, 1, value) for tag, value in tags]
    entries += [(273, 4, 3, offsets_at), (279, 4, 3, sizes_at)]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    planes = np.array([[1, 2], [300, 400], [50_000, 60_000]], "<u2").tobytes()
    tail = struct.pack("<3I3I3H", data_at, data_at + 4, data_at + 8, 4, 4, 4, 16, 16, 16)
    data = b"II*\0" + struct.pack("<IH", 8, count) + directory + b"\0\0\0\0" + planes + tail
    assert Image.open(io.BytesIO(data)).size == (2, 1)
    assert (
        reason(data) == "a TIFF of more than 8 bits in separate planes: save it with 8, or with the channels together"
    )


def test_empty_file() -> None:
    assert reason(b"") == "empty (0 bytes)"


@pytest.mark.parametrize("data", [b"hello", b"\0" * 100, b"\x89PNG", b"\xff\xd8\xff", b"BM"])
def test_not_an_image(data: bytes) -> None:
    assert reason(data).startswith("not an image in JPEG, PNG,")


@pytest.mark.parametrize(
    ("format", "words"), [("EPS", "a PostScript"), ("PDF", "a PDF"), ("PCX", "not an image in"), ("ICO", "icons")]
)
def test_other_formats_that_pillow_knows_are_refused(format: str, words: str) -> None:
    assert reason(save(Image.fromarray(COLOURS), format)).startswith(words)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF"])
def test_no_file_that_is_cut_off_gives_another_image(format: str) -> None:
    data = save(Image.fromarray(np.kron(COLOURS, np.ones((4, 4, 1), np.uint8))), format)
    whole = decode(data)
    refused = 0
    for length in range(0, len(data), 1 + len(data) // 200):
        try:
            np.testing.assert_array_equal(decode(data[:length]), whole)
        except BadImage:
            refused += 1
    assert refused > 100
    assert reason(data[: len(data) // 2])


def test_a_damaged_png_is_refused() -> None:
    data = bytearray(save(Image.fromarray(COLOURS)))
    data[data.index(b"IDAT") + 12] ^= 1
    assert reason(bytes(data)).startswith("truncated or damaged (")


@settings(max_examples=60)
@given(st.sampled_from(["JPEG", "PNG", "TIFF", "WEBP", "JPEG2000"]), st.data())
def test_garbage_is_refused_or_read_but_never_crashes(format: str, data: st.DataObject) -> None:
    encoded = bytearray(save(Image.fromarray(np.kron(COLOURS, np.ones((4, 4, 1), np.uint8))), format))
    for _ in range(4):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        pixels = decode(bytes(encoded))
    except BadImage:
        return
    assert pixels.shape[2] == 3


def test_a_bomb_is_refused_from_its_header() -> None:
    side = 13_378  # 13378² is just above the limit
    assert side * side > MAX_PIXELS > (side - 1) * (side - 1)
    assert reason(png(side, side, 1, 0, [])) == "more than 178,956,970 pixels: shrink it, or cut it into parts"
    assert reason(png(60_000, 60_000, 1, 0, [])) == "more than 178,956,970 pixels: shrink it, or cut it into parts"
    assert reason(png(side - 1, side - 1, 1, 0, [])).startswith("truncated or damaged")


def test_no_warning_of_pillow_comes_through_from_any_thread() -> None:
    large = png(10_000, 10_000, 1, 0, [])
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        Image.open(io.BytesIO(large)).close()
        assert len(heard) == 1
        before = list(warnings.filters)
        reasons: list[str] = []
        threads = [threading.Thread(target=lambda: reasons.append(reason(large))) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [text[:20] for text in reasons] == ["truncated or damaged"] * 16
        assert len(heard) == 1
        assert warnings.filters == before


# --- shrink, working grid, PNG, hash

IMAGES = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)), elements=st.integers(0, 255)
)


@settings(max_examples=60)
@given(IMAGES, st.integers(1, 50))
def test_shrink_keeps_the_aspect_and_never_enlarges(image: np.ndarray, max_side: int) -> None:
    small = shrink(image, max_side)
    assert small.dtype == np.uint8
    height, width = image.shape[:2]
    if max(height, width) <= max_side:
        np.testing.assert_array_equal(small, image)
        return
    scale = max_side / max(height, width)
    assert max(small.shape[:2]) == max_side
    assert abs(small.shape[0] - max(1, height * scale)) <= 0.5
    assert abs(small.shape[1] - max(1, width * scale)) <= 0.5


def test_shrink_is_antialiased() -> None:
    board = grey(np.uint8(255) * (np.indices((64, 64)).sum(0) % 2).astype(np.uint8))
    assert np.abs(shrink(board, 8).astype(int) - 127).max() <= 2


def test_shrink_without_a_limit_and_with_a_wrong_one() -> None:
    assert shrink(COLOURS, None) is COLOURS
    with pytest.raises(ValueError, match="at least 1 pixel, not 0"):
        shrink(COLOURS, 0)


def test_working_grid_is_the_image_itself_at_its_own_size() -> None:
    square = RNG.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    grid = fit_working_grid(square, 9)
    assert grid.dtype == torch.uint8
    np.testing.assert_array_equal(grid.numpy(), square.transpose(2, 0, 1))


@settings(max_examples=100, deadline=None)
@given(
    image=hnp.arrays(np.uint8, st.tuples(st.integers(1, 90), st.integers(1, 90), st.just(3))),
    side=st.sampled_from([2, 8, 32, 33]),
)
def test_working_grid_is_the_same_however_the_image_lies_in_memory(image: np.ndarray, side: int) -> None:
    planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
    expected = F.interpolate(planes, (side, side), mode="bilinear", antialias=True)[0]
    for view in (image, np.asfortranarray(image)):
        grid = fit_working_grid(view, side)
        assert torch.equal(grid, expected)
        assert grid.is_contiguous()


def test_the_pixel_hash_is_that_of_type_shape_and_values() -> None:
    image = RNG.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    expected = hashlib.sha256(b"uint8 4x5x3\n" + image.tobytes()).hexdigest()
    assert pixel_hash(image) == pixel_hash(np.asfortranarray(image)) == expected


def test_working_grid_covers_every_pixel() -> None:
    image = np.zeros((24, 48, 3), np.uint8)
    image[:, 24:] = 240
    grid = fit_working_grid(image, 8).numpy()
    assert grid.shape == (3, 8, 8)
    assert (grid[:, :, :3] == 0).all()
    assert (grid[:, :, 5:] == 240).all()
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::8] = 240
    assert abs(fit_working_grid(stripes, 8).float().mean() - stripes.mean()) < 2
    assert (fit_working_grid(np.full((1, 1, 3), 77, np.uint8), 32) == 77).all()


@settings(max_examples=60)
@given(IMAGES)
def test_png_is_bare_deterministic_and_exact(image: np.ndarray) -> None:
    data = encode_png(image)
    names, at = [], 8
    while at < len(data):
        length = struct.unpack(">I", data[at : at + 4])[0]
        names.append(data[at + 4 : at + 8])
        at += 12 + length
    assert at == len(data)
    assert [names[0], *set(names[1:-1]), names[-1]] == [b"IHDR", b"IDAT", b"IEND"]
    assert data[24:26] == b"\x08\x02"
    assert encode_png(image.copy()) == data
    np.testing.assert_array_equal(decode(data), image)


@pytest.mark.parametrize("wrong", [GREYS, COLOURS.astype(np.int16), np.dstack([COLOURS, ALPHAS]), COLOURS[:0]])
def test_png_refuses_other_arrays(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \(H, W, 3\)"):
        encode_png(wrong)


def test_png_of_a_view_is_that_of_its_copy() -> None:
    view = COLOURS[::-1, ::2]
    assert encode_png(view) == encode_png(view.copy())
    assert pixel_hash(view) == pixel_hash(view.copy())


def test_pixel_hash_sees_shape_and_pixels() -> None:
    other = COLOURS.copy()
    other[4, 6, 2] ^= 1
    hashes = {pixel_hash(image) for image in (COLOURS, other, COLOURS.reshape(7, 5, 3))}
    assert len(hashes) == 3
    assert all(len(text) == 64 for text in hashes)


# --- what Pillow reads without a word, and otherwise than it is meant


def write_tiff(values: np.ndarray, order: str, big: bool, **options: object) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, byteorder=order, bigtiff=big) as file:
        file.write(values, metadata=None, **options)
    return buffer.getvalue()


RAMP = np.arange(48).reshape(6, 8)
NUMBERS = {
    "floats": ((RAMP / 47).astype(np.float32), np.rint((RAMP / 47).astype(np.float32).astype(np.float64) * 255)),
    "int32": ((RAMP * 1300).astype(np.int32), (RAMP * 1300 + 128) // 257),
    "int16": ((RAMP * 600).astype(np.int16), (RAMP * 600 + 128) // 257),
    "uint16": ((RAMP * 1300).astype(np.uint16), (RAMP * 1300 + 128) // 257),
}


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_numbers_of_tiff_in_any_order_of_bytes(kind: str, order: str, big: bool, compression: str | None) -> None:
    values, levels = NUMBERS[kind]
    data = write_tiff(values, order, big, compression=compression)
    np.testing.assert_array_equal(decode(data), grey(levels.astype(np.uint8)))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_alpha_of_tiff_in_any_order_of_bytes(order: str, big: bool) -> None:
    rgba = np.dstack([COLOURS, ALPHAS])
    data = write_tiff(rgba, order, big, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(decode(data), on_white(COLOURS, ALPHAS))
    signed = write_tiff(GREYS.astype(np.int8), order, big)
    with pytest.raises(BadImage, match="signed 8-bit numbers"):
        decode(signed)
    planes = write_tiff(
        np.stack([GREYS, ALPHAS]), order, big, photometric="minisblack", planarconfig="separate", extrasamples=[2]
    )
    with pytest.raises(BadImage, match=r"separate planes|2 channels"):
        decode(planes)


def test_grey_that_is_weighted_by_its_alpha() -> None:
    half = np.full((5, 7), 128, np.uint8)
    data = write_tiff(np.dstack([half, half]), "<", False, photometric="minisblack", extrasamples=["assocalpha"])
    assert decode(data).min() >= 254


def test_jpeg_2000_of_more_than_8_bits_in_colour_is_refused() -> None:
    """Pillow wraps the highest values to black."""
    white = np.full((32, 32, 3), 65535, np.uint16)
    with pytest.raises(BadImage, match="a JPEG 2000 of more than 8 bits in colour"):
        decode(cv2.imencode(".jp2", white)[1].tobytes())
    assert decode(cv2.imencode(".jp2", white[..., 0])[1].tobytes()).min() == 255
    assert decode(cv2.imencode(".jp2", (white // 257).astype(np.uint8))[1].tobytes()).min() == 255


def test_around_the_frame_of_a_gif_nothing_is_drawn() -> None:
    data = bytearray(save(Image.new("RGB", (20, 10), (10, 200, 10)).quantize(4), "GIF"))
    data[6:10] = struct.pack("<HH", 40, 30)
    expected = np.full((30, 40, 3), 255, np.uint8)
    expected[:10, :20] = (10, 200, 10)
    np.testing.assert_array_equal(decode(bytes(data)), expected)


@pytest.mark.parametrize("frames", [None, 1])
def test_the_place_of_a_frame_is_no_matter_where_there_is_one(frames: int | None) -> None:
    place = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 3, 2, 1, 1, 1, 10, 0, 0))
    before = [chunk(b"acTL", struct.pack(">II", frames, 0))] if frames else []
    data = png(7, 5, 8, 2, [row.tobytes() for row in COLOURS], *before, place)
    np.testing.assert_array_equal(decode(data), COLOURS)


def linear_grey_profile() -> bytes:
    """ICC.1, version 2: GRAY to XYZ, white point D50, a curve of gamma 1."""
    white = b"XYZ " + bytes(4) + struct.pack(">iii", 63190, 65536, 54061)
    curve = b"curv" + bytes(4) + struct.pack(">I", 0)
    words = b"desc" + bytes(4) + struct.pack(">I", 2) + b"g\0" + bytes(80)
    words += bytes(-len(words) % 4)
    bodies = [(b"desc", words), (b"wtpt", white), (b"kTRC", curve)]
    place, table, content = 128 + 4 + 12 * len(bodies), b"", b""
    for name, body in bodies:
        table += name + struct.pack(">II", place + len(content), len(body))
        content += body
    size = place + len(content)
    head = struct.pack(
        ">I4xI4s4s4s12x4s28xiii48x", size, 0x02400000, b"mntr", b"GRAY", b"XYZ ", b"acsp", 63190, 65536, 54061
    )
    assert len(head) == 128
    return head + struct.pack(">I", len(bodies)) + table + content


def test_every_level_of_a_linear_grey_profile_is_exact() -> None:
    ramp = np.arange(256, dtype=np.uint8)[None].repeat(4, 0)
    light = ramp / 255
    srgb = np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055) * 255
    found = decode(save(Image.fromarray(ramp), "PNG", icc_profile=linear_grey_profile()))
    assert np.abs(found[..., 0] - srgb).max() <= 1


OTHER = "colours stated otherwise than by an ICC profile taken for those of sRGB"


def states(data: bytes) -> bool:
    return OTHER in decode_noting(data).choices


def test_colours_that_are_stated_without_a_profile_are_counted() -> None:
    rows = [row.tobytes() for row in COLOURS]
    gamma, usual = (chunk(b"gAMA", struct.pack(">I", value)) for value in (100_000, 45_455))
    srgb, wide = chunk(b"sRGB", b"\0"), chunk(b"cICP", bytes([12, 13, 0, 1]))
    primaries = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))
    for chunks, expected in [
        ((), False),
        ((usual,), False),
        ((srgb, gamma), False),
        ((gamma,), True),
        ((primaries,), True),
        ((wide,), True),
        ((srgb, wide), True),
        ((chunk(b"cICP", bytes([1, 13, 0, 1])), gamma), False),
    ]:
        assert states(png(7, 5, 8, 2, rows, *chunks)) == expected, chunks
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace] = 2
    assert states(save(Image.fromarray(COLOURS), "JPEG", exif=exif))
    assert not states(save(Image.fromarray(COLOURS), "JPEG"))
    avif = save(Image.fromarray(COLOURS), "AVIF")
    start = avif.find(b"colrnclx") + 8
    assert not states(avif)
    assert states(avif[:start] + struct.pack(">HH", 12, 13) + avif[start + 4 :])
    assert not states(avif.replace(b"colrnclx", b"colrxxxx") + b"colrnclx")  # cut off right after its name


def test_colours_of_more_than_8_bits_are_counted() -> None:
    words = "numbers of more than 8 bits brought to 8"
    deep = (COLOURS.astype(np.uint16) * 257)[..., ::-1]
    for kind in (".png", ".tiff", ".ppm"):
        found = decode_noting(cv2.imencode(kind, deep)[1].tobytes())
        np.testing.assert_array_equal(found.pixels, COLOURS)
        assert found.choices == (words,), kind
        assert decode_noting(cv2.imencode(kind, COLOURS)[1].tobytes()).choices == (), kind
