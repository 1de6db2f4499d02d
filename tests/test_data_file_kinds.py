"""Which page of a file is the image, what else a file can be, and images that are not what their owner sees."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from rem_release.data.images.decoding import BadImage, decode, decode_noting
from rem_release.data.images.doubts import find_doubt
from rem_release.data.images.file_kinds import name_kind
from rem_release.data.images.png_chunks import strip_png
from tests.test_data_decoding import chunk, png, save

RNG = np.random.default_rng(3)
COLOURS = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
PREVIEW = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)


def reason(data: bytes) -> str:
    with pytest.raises(BadImage) as caught:
        decode(data)
    return caught.value.reason


# --- TIFF of several pages, and cameras' raw files


def write_pages(*pages: tuple[np.ndarray, int], tags: tuple = (), subifds: int = 0) -> bytes:
    """A TIFF of pages, each with its NewSubfileType; the first may have others as its SubIFDs."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for number, (pixels, kind) in enumerate(pages):
            first = {"subifds": subifds, "extratags": tags} if number == 0 else {}
            file.write(pixels, photometric="rgb", subfiletype=kind, metadata=None, **first)
    return buffer.getvalue()


def test_a_copy_before_the_grid_of_a_sensor_is_a_raw_file() -> None:
    """Pillow opens no page of colour filters (photometric 32803): the file is whole, and not read."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        file.write(PREVIEW, photometric="rgb", subfiletype=1, metadata=None)
        file.write(np.zeros((32, 48), np.uint16), photometric=32803, subfiletype=0, metadata=None)
    assert "a TIFF with a page of a kind that is not read, as a camera's raw file has" in reason(buffer.getvalue())


def test_the_page_that_is_no_copy_is_the_image() -> None:
    smaller, image = (PREVIEW, 1), (COLOURS, 0)
    for pages in ([smaller, image], [image, smaller], [smaller, image, smaller]):
        found = decode_noting(write_pages(*pages))
        np.testing.assert_array_equal(found.pixels, COLOURS)
        assert found.choices == ("one image chosen of several in the file",)
    assert reason(write_pages((COLOURS, 0), (PREVIEW, 0))) == "animated or multi-page (2 frames)"


def test_a_pyramid_is_its_largest_image() -> None:
    """As scanners of slides write it: smaller copies as SubIFDs, which no page shows."""
    found = decode_noting(write_pages((COLOURS, 0), (PREVIEW, 1), subifds=1))
    np.testing.assert_array_equal(found.pixels, COLOURS)
    assert found.choices == ("one image chosen of several in the file",)


ORDERS = pytest.mark.parametrize("order", ["<", ">"])
BIG = pytest.mark.parametrize("big", [False, True])


def write_image(values: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, metadata=None, **options)
    return buffer.getvalue()


@ORDERS
@BIG
def test_a_page_with_a_larger_image_in_its_subifd_is_refused(order: str, big: bool) -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, byteorder=order, bigtiff=big) as file:
        file.write(PREVIEW, photometric="rgb", subifds=2, metadata=None)
        file.write(PREVIEW[:1], photometric="rgb", metadata=None)
        file.write(COLOURS, photometric="rgb", metadata=None)
    assert reason(buffer.getvalue()) == (
        "a TIFF whose page is smaller than an image in its SubIFD: save the larger one by itself"
    )


@ORDERS
@BIG
@pytest.mark.parametrize("kind", ["u1", "f4"])
@pytest.mark.parametrize("tile", [None, (16, 16, 16)])
def test_a_volume_in_one_page_is_refused(order: str, big: bool, kind: str, tile: tuple[int, ...] | None) -> None:
    volume = np.zeros((16, 16, 32), kind)
    options = {"volumetric": True, "photometric": "minisblack", "tile": tile}
    data = write_image(volume, byteorder=order, bigtiff=big, **options)
    assert reason(data) == "a volume of 16 slices in one page: save the slice that is the image by itself"


@ORDERS
@BIG
@pytest.mark.parametrize("slices", [3, 5])
def test_a_stack_whose_images_are_channels_is_refused(order: str, big: bool, slices: int) -> None:
    stack = RNG.integers(0, 256, (slices, 9, 8), dtype=np.uint8)
    data = write_image(stack, byteorder=order, bigtiff=big, photometric="minisblack", planarconfig="separate")
    assert reason(data) == (
        f"grey in {slices} channels, as a stack of images has it: save the one that is the image by itself"
    )


@ORDERS
@pytest.mark.parametrize(
    ("photometric", "extra"), [("rgb", [0]), ("rgb", [0, 0]), ("rgb", [2, 0]), ("minisblack", [0]), ("separated", [0])]
)
def test_channels_of_no_stated_meaning_are_counted(order: str, photometric: str, extra: list[int]) -> None:
    colours = {"rgb": 3, "minisblack": 1, "separated": 4}[photometric]
    values = np.full((9, 8, colours + len(extra)), 255, np.uint8)
    values[..., 0] = 7
    values[..., colours + (extra[0] == 2) :] = 0
    options = {"photometric": photometric, "planarconfig": "contig", "byteorder": order}
    found = decode_noting(write_image(values, extrasamples=extra, **options))
    assert found.choices == ("channels of no stated meaning left out",)
    plain = write_image(values[..., :colours], **options) if colours > 1 else write_image(values[..., 0])
    np.testing.assert_array_equal(found.pixels, decode(plain))
    assert decode_noting(plain).choices == ()


@pytest.mark.parametrize(
    "data",
    [
        write_pages((PREVIEW, 1), (COLOURS, 0), subifds=1),  # NEF and ARW: the sensor's numbers are a SubIFD
        write_pages((PREVIEW, 1)),
        write_pages((COLOURS, 0), tags=((50706, 1, 4, bytes([1, 4, 0, 0]), True),)),  # DNGVersion
        b"II*\0\x10\0\0\0CR\2\0" + bytes(100),
        b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(50),
        b"FUJIFILMCCD-RAW 0201" + bytes(100),
        b"IIU\0\x18\0\0\0" + bytes(100),
        b"IIRO\x08\0\0\0" + bytes(100),
    ],
    ids=["NEF", "preview alone", "DNG", "CR2", "CR3", "RAF", "RW2", "ORF"],
)
def test_raw_files_of_cameras_are_no_previews(data: bytes) -> None:
    assert "a camera's raw file" in reason(data)
    assert reason(data).count("develop it to JPEG, PNG or TIFF first") == 1


def test_inks_that_are_not_those_of_cmyk_are_refused() -> None:
    inks = RNG.integers(0, 256, (9, 8, 4), dtype=np.uint8)
    options = {"photometric": "separated", "planarconfig": "contig"}
    assert decode(write_image(inks, extratags=[(332, 3, 1, 1, True)], **options)).shape == (9, 8, 3)
    data = write_image(inks, extratags=[(332, 3, 1, 2, True)], **options)
    assert reason(data) == "a TIFF of inks that are not those of CMYK: save it as RGB"


# --- other kinds

KINDS = {
    "git lfs pull": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n",
    "a web page (HTML)": b"\n<!DOCTYPE html>\n<html><head><title>404</title>",
    "an SVG graphic": b'<?xml version="1.0"?>\n<!-- made by hand -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "heif-convert": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99),
    "djxl": b"\xff\x0a\xfa\x7f" + bytes(99),
    "Photoshop": b"8BPS\0\1" + bytes(99),
    "ICO": b"\0\0\1\0\1\0\x10\x10" + bytes(99),
    "ICNS": b"icns\0\0\1\0" + bytes(99),
    "DICOM": bytes(128) + b"DICM\2\0\0\0UL" + bytes(99),
    "a PDF document": b"%PDF-1.4\n",
    "PostScript": b"%!PS-Adobe-3.0",
    "a film": b"\0\0\0\x18ftypmp42" + bytes(99),
    "an archive": b"PK\3\4\x14\0" + bytes(99),
    "EXR": b"\x76\x2f\x31\1\2" + bytes(99),
    "JPEG XR": b"II\xbc\1" + bytes(99),
    "JPEG-LS": b"\xff\xd8\xff\xf7\0\x0b\x08\0\x10\0\x10\1\1\x11\0" + bytes(99),
    "a JPEG of 12 bits": b"\xff\xd8\xff\xc1\0\x0b\x0c\0\x10\0\x10\1\1\x11\0" + bytes(99),
    "a lossless JPEG": b"\xff\xd8\xff\xc3\0\x0b\x08\0\x10\0\x10\1\1\x11\0" + bytes(99),
    "GIMP": b"gimp xcf v011\0" + bytes(99),
    "microscope": b"ZISRAWFILE" + bytes(99),
    "Krita": b"PK\3\4" + bytes(26) + b"mimetypeapplication/x-krita" + bytes(99),
    "pngcrush": b"\x89PNG\r\n\x1a\n\0\0\0\4CgBI\x50\0\x20\2" + bytes(99),
    "PAM": b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 1\nMAXVAL 255\nTUPLTYPE GRAYSCALE\nENDHDR\n\0",
    "PFM": b"PF\n1 1\n-1.0\n" + bytes(12),
    "an array": b"\x93NUMPY\1\0" + bytes(99),
    "a table": b"PAR1\x15\0" + bytes(99),
    "text, not an image": "Die Größe der Bilder\n".encode(),
}


@pytest.mark.parametrize("words", KINDS)
def test_a_file_is_called_what_it_is(words: str) -> None:
    assert words in reason(KINDS[words])
    assert ": " in reason(KINDS[words]), "and what to do"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "JPEG2000"])
def test_images_are_of_no_other_kind(format: str) -> None:
    assert name_kind(save(Image.fromarray(COLOURS), format)) is None


def test_what_is_no_kind_has_none() -> None:
    assert name_kind(b"") is name_kind(b"\0" * 200) is name_kind(b"BM") is name_kind(bytes(range(256))) is None


# --- PNG


def test_long_texts_and_damaged_chunks_are_passed_over() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", "a cat " * 400_000)
    texts.add_itxt("workflow", "ü" * 2_000_000, zip=True)
    plain = save(Image.fromarray(COLOURS))
    ends = plain.index(b"IDAT") - 4
    broken = bytearray(chunk(b"tIME", bytes(7)))
    broken[-1] ^= 1
    for data in (save(Image.fromarray(COLOURS), pnginfo=texts), plain[:ends] + bytes(broken) + plain[ends:]):
        np.testing.assert_array_equal(decode(data), COLOURS)
        assert strip_png(data) == plain


def test_a_profile_that_unpacks_to_megabytes_is_passed_over() -> None:
    plain = save(Image.fromarray(COLOURS))
    bomb = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(50_000_000)))
    np.testing.assert_array_equal(decode(plain[:33] + bomb + plain[33:]), COLOURS)


def test_what_decides_the_pixels_stays() -> None:
    transparent = png(2, 1, 8, 2, [bytes([9, 9, 9, 200, 0, 0])], chunk(b"tRNS", struct.pack(">3H", 9, 9, 9)))
    assert strip_png(transparent) == transparent
    assert decode(transparent).tolist() == [[[255, 255, 255], [200, 0, 0]]]
    exif = Image.Exif()
    exif[274] = 6
    assert decode(save(Image.fromarray(COLOURS), exif=exif)).shape == (32, 24, 3)


def test_a_png_that_is_cut_off_is_left_as_it_is() -> None:
    data = save(Image.fromarray(COLOURS))
    for length in (0, 5, 20, 40, len(data) - 20):
        assert strip_png(data[:length]) == data[:length]
    assert strip_png(data + b"behind its end") == data
    assert strip_png(save(Image.fromarray(COLOURS), "BMP")) == save(Image.fromarray(COLOURS), "BMP")


def test_a_damaged_critical_chunk_is_refused() -> None:
    data = bytearray(save(Image.fromarray(COLOURS)))
    data[29] ^= 1  # the checksum of IHDR
    assert reason(bytes(data))


# --- numbers


def write_numbers(values: np.ndarray, order: str = "<", **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, byteorder=order, metadata=None, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
def test_floats_are_read_in_any_size_order_and_number_of_channels(kind: str, order: str) -> None:
    values = RNG.random((6, 8, 4)).astype(kind)
    levels = np.rint(values.astype(np.float64) * 255)
    grey = decode(write_numbers(values[..., 0], order, photometric="minisblack"))
    np.testing.assert_array_equal(grey, np.repeat(levels[..., :1], 3, axis=2))
    colours = decode_noting(write_numbers(values[..., :3], order, photometric="rgb"))
    np.testing.assert_array_equal(colours.pixels, levels[..., :3])
    assert colours.choices == ("numbers of more than 8 bits brought to 8",)
    opaque = np.concatenate([values[..., :3], np.ones_like(values[..., :1])], axis=2)
    found = decode(write_numbers(opaque, order, photometric="rgb", extrasamples=["unassalpha"]))
    np.testing.assert_array_equal(found, levels[..., :3])
    assert reason(write_numbers(values * 2, order, photometric="rgb", extrasamples=["unassalpha"])).startswith(
        "floating"
    )


@pytest.mark.parametrize("order", "<>")
def test_grey_integers_of_32_bits(order: str) -> None:
    values = RNG.integers(0, 65536, (6, 8)).astype(np.uint32)
    expected = np.repeat(((values + 128) // 257)[..., None], 3, axis=2)
    np.testing.assert_array_equal(decode(write_numbers(values, order, photometric="minisblack")), expected)
    assert reason(write_numbers(values * 2**10, order)) == "whole numbers outside 0 to 65535: save it with 8 or 16 bits"


def test_signed_bytes_are_refused() -> None:
    for shape, kind in (((6, 8), "minisblack"), ((6, 8, 3), "rgb")):
        assert "8" in reason(write_numbers(np.full(shape, -3, np.int8), photometric=kind))


# --- alpha


def bmp32(alpha: int, header: int = 124) -> bytes:
    """A BMP of 32 bits, one colour; with a header of version 5 the fourth byte is called alpha."""
    pixels = bytes([10, 20, 200, alpha]) * 12
    size = struct.pack("<IiiHHIIiiII", header, 4, 3, 1, 32, 3 if header == 124 else 0, len(pixels), 0, 0, 0, 0)
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(64)
    whole = size + (masks if header == 124 else b"")
    start = 14 + len(whole)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + whole + pixels


@pytest.mark.parametrize("header", [40, 124])
def test_a_bmp_whose_alpha_is_empty_has_none(header: int) -> None:
    found = decode_noting(bmp32(0, header))
    assert (found.pixels == [200, 20, 10]).all()
    assert found.choices == (("empty alpha channel of a BMP ignored",) if header == 124 else ())
    assert (decode(bmp32(255)) == [200, 20, 10]).all()
    half = decode_noting(bmp32(128))
    assert half.choices == ("transparency laid on white",)
    assert half.pixels[0, 0, 1] > 130


# --- choices and doubts


def test_choices_are_told() -> None:
    exif = Image.Exif()
    exif[274] = 3
    assert decode_noting(save(Image.fromarray(COLOURS), "JPEG", exif=exif)).choices == ("turned as EXIF says",)
    assert decode_noting(save(Image.fromarray(COLOURS))).choices == ()
    opaque = Image.fromarray(np.dstack([COLOURS, np.full(COLOURS.shape[:2], 255, np.uint8)]))
    assert decode_noting(save(opaque)).choices == ()
    sixteen = Image.fromarray(RNG.integers(0, 65536, (9, 9), dtype=np.uint16))
    assert decode_noting(save(sixteen)).choices == ("numbers of more than 8 bits brought to 8",)


@settings(max_examples=200, deadline=None)
@given(low=st.integers(0, 255), spread=st.integers(0, 60), others=st.integers(0, 12), seed=st.integers(0, 99))
def test_doubt_counts_what_lies_within_25_levels(low: int, spread: int, others: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(low, min(255, low + spread) + 1, 3000)
    values[:others] = rng.integers(0, 256, others)
    within = max(np.count_nonzero((values >= first) & (values <= first + 24)) for first in range(256))
    found = find_doubt(rng.permutation(values).astype(np.uint8).reshape(50, 20, 3))
    assert (found is not None) == (within / 3000 >= 0.998)


def test_images_of_nearly_one_level_are_in_doubt() -> None:
    twelve = Image.fromarray(RNG.integers(0, 4096, (64, 64), dtype=np.uint16))
    empty = Image.fromarray(np.zeros((64, 64, 4), np.uint8))
    assert find_doubt(decode(save(twelve))) == "nearly all of it is within 24 of 255 levels, around 8"
    assert find_doubt(decode(save(empty))) == "nearly all of it is within 24 of 255 levels, around 255"
    assert find_doubt(np.full((5, 5, 3), 130, np.uint8)) is not None
    assert find_doubt(COLOURS) is None
    grey = np.full((100, 100, 3), 40, np.uint8)
    for share, is_doubtful in ((0.001, True), (0.01, False)):
        pixels = grey.copy()
        pixels.reshape(-1)[: int(share * pixels.size)] = 200
        assert (find_doubt(pixels) is not None) == is_doubtful


@pytest.mark.parametrize(
    ("low", "high", "is_doubtful"), [(0, 24, True), (0, 25, False), (231, 255, True), (230, 255, False)]
)
def test_the_sliver_has_an_edge(low: int, high: int, is_doubtful: bool) -> None:
    pixels = np.resize(np.arange(low, high + 1, dtype=np.uint8), (50, 50, 3))
    assert (find_doubt(pixels) is not None) == is_doubtful


# --- what readers get wrong


def test_transparent_colours_of_other_depths_are_refused() -> None:
    wide = np.full((2, 2, 3), (300, 40_000, 500), np.uint16)
    rows = [row.astype(">u2").tobytes() for row in wide]
    key = chunk(b"tRNS", struct.pack(">3H", 300, 40_000, 500))
    assert "save it with an alpha channel" in reason(png(2, 2, 16, 2, rows, key))
    assert decode(png(2, 2, 16, 2, rows)).shape == (2, 2, 3)
    assert "save it with an alpha channel" in reason(png(4, 1, 2, 0, [bytes([0b00011011])], chunk(b"tRNS", b"\0\1")))


def test_a_damaged_transparency_is_not_passed_over() -> None:
    plain = save(Image.fromarray(COLOURS))
    broken = bytearray(chunk(b"tRNS", bytes(6)))
    broken[-1] ^= 1
    assert reason(plain[:33] + bytes(broken) + plain[33:])


def test_floats_whose_white_is_zero_are_inverted() -> None:
    values = np.array([[0.0, 0.25], [0.5, 1.0]], np.float32)
    found = decode(write_numbers(values, photometric="miniswhite"))
    np.testing.assert_array_equal(found[..., 0], 255 - np.rint(values * 255))


@pytest.mark.parametrize("order", "<>")
def test_numbers_that_are_to_be_turned_or_hold_more_than_alpha_are_refused(order: str) -> None:
    values = RNG.random((6, 8, 4)).astype(np.float32)
    turned = write_numbers(values[..., :3], order, photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    assert "that is to be turned: save it upright" in reason(turned)
    assert "no plain alpha" in reason(write_numbers(values, order, photometric="rgb", extrasamples=["unspecified"]))
    assert "no plain alpha" in reason(write_numbers(values, order, photometric="rgb", extrasamples=["assocalpha"]))


def test_large_files_of_bytes_are_read_as_they_are() -> None:
    np.testing.assert_array_equal(decode(write_numbers(COLOURS, ">", bigtiff=True, photometric="rgb")), COLOURS)
    grey = decode(write_numbers(COLOURS[..., 0], ">", bigtiff=True, photometric="minisblack"))
    np.testing.assert_array_equal(grey[..., 0], COLOURS[..., 0])


@pytest.mark.parametrize("woven", [0, 1])
def test_a_png_whose_stream_ends_before_its_last_row(woven: int) -> None:
    """Closed as if it were whole: Pillow leaves the rest black."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, woven))
    sizes = [(1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4)] if woven else [(8, 8)]
    rows = [b"\0" + bytes(columns) for columns, count in sizes for _ in range(count)]
    whole = [b"".join(rows), b"".join(rows[:-2])]
    images = [
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"") for data in whole
    ]
    assert decode(images[0]).shape == (8, 8, 3)
    assert reason(images[1]) == "truncated or damaged (rows are missing at its end)"


def test_black_rows_at_the_end_are_rows() -> None:
    black = np.zeros((9, 9, 3), np.uint8)
    np.testing.assert_array_equal(decode(save(Image.fromarray(black))), black)


def test_doubts_look_at_every_channel() -> None:
    """A step of three values would see red alone."""
    pixels = np.zeros((1024, 1024, 3), np.uint8)
    pixels[..., 1] = RNG.integers(0, 256, (1024, 1024), dtype=np.uint8)
    assert find_doubt(pixels) is None


def test_numbers_of_too_many_pixels_are_refused_before_they_are_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rem_release.data.images.decoding.MAX_PIXELS", 100)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((11, 10, 3), np.float16), photometric="rgb")
    assert reason(buffer.getvalue()) == "more than 100 pixels: shrink it, or cut it into parts"
