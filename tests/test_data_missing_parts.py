"""Files of which readers show less than there is, or more, without a word: parts that are missing, and stacks."""

import io
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from rem_release.data.images.decoding import BadImage, decode
from tests.test_data_decoding import chunk, png, save

RNG = np.random.default_rng(5)
GREY = RNG.integers(0, 256, (16, 24), dtype=np.uint8)
STACK = RNG.integers(0, 256, (3, 16, 24), dtype=np.uint8)
COLOURS = RNG.integers(0, 256, (16, 24, 3), dtype=np.uint8)


def refuse(data: bytes) -> BadImage:
    with pytest.raises(BadImage) as caught:
        decode(data)
    return caught.value


def tiff(values: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


# --- TIFF


@pytest.mark.parametrize(
    "options", [{"rowsperstrip": 8}, {"tile": (16, 16)}, {"rowsperstrip": 8, "bigtiff": True, "byteorder": ">"}]
)
@pytest.mark.parametrize("kind", ["u1", "f2"])
def test_strips_and_tiles_that_are_not_there(options: dict[str, object], kind: str, tmp_path: Path) -> None:
    """As GDAL leaves out empty ones: their offset is 0, where the header of the file is."""
    path = tmp_path / "sparse.tif"
    path.write_bytes(tiff((GREY / 255).astype(kind), photometric="minisblack", metadata=None, **options))
    assert decode(path.read_bytes()).shape == (16, 24, 3)
    with tifffile.TiffFile(path, mode="r+") as file:
        for name in ("StripOffsets", "StripByteCounts", "TileOffsets", "TileByteCounts"):
            if name in file.pages[0].tags:
                tag = file.pages[0].tags[name]
                tag.overwrite((0, *tag.value[1:]))
    assert refuse(path.read_bytes()).reason == (
        "a TIFF of which strips or tiles are missing, as GDAL leaves out empty ones: save it without SPARSE_OK"
    )


def ome(planes: str) -> str:
    return f'<?xml version="1.0"?><OME xmlns="x"><Image ID="Image:0"><Pixels ID="P" {planes} SizeX="24"/></Image></OME>'


ONE_PAGE = {"photometric": "minisblack", "metadata": None}
METAMORPH = [(33629, 5, 3, (1, 1) * 3, True)]
STACKS = {
    "MetaMorph": tiff(GREY, extratags=METAMORPH, **ONE_PAGE),
    "MetaMorph, floats": tiff((GREY / 255).astype("f2"), extratags=METAMORPH, **ONE_PAGE),
    "ImageJ": tiff(GREY, description="ImageJ=1.53t\nimages=3\nslices=3\nloop=false\n", **ONE_PAGE),
    "ImageJ, channels": tiff(GREY, description="ImageJ=1.53t\nchannels=3\n", **ONE_PAGE),
    "ImageJ by tifffile": tiff(STACK, truncate=True, imagej=True),
    "tifffile": tiff(STACK, truncate=True, photometric="minisblack"),
    "tifffile, BigTIFF": tiff(STACK, truncate=True, photometric="minisblack", bigtiff=True, byteorder=">"),
    "tifffile, as it was": tiff(GREY, description="shape=(3, 16, 24)", **ONE_PAGE),
    "tifffile, colours": tiff(np.stack([COLOURS] * 3), truncate=True, photometric="rgb"),
    "OME": tiff(GREY, description=ome('SizeC="1" SizeZ="3" SizeT="1"'), **ONE_PAGE),
    "OME, channels": tiff(GREY, description=ome('SizeC="3"'), **ONE_PAGE),
}


@pytest.mark.parametrize("name", list(STACKS))
def test_the_first_of_a_stack_is_refused(name: str) -> None:
    found = refuse(STACKS[name])
    assert found.reason == "the first of a stack of 3 images, by its tags: save the one that is the image by itself"
    assert found.fault == "several frames or pages"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"imagej": True},
        {"ome": True},
        {"metadata": None, "extratags": [(33629, 5, 1, (1, 1), True)]},
        {"metadata": None, "description": ome('SizeC="3" SizeZ="1" SizeT="1"')},
        {"metadata": None, "description": "shape=(3, 160, 240)"},  # of an image that was shrunk since
        {"metadata": None, "description": "ImageJ=1.53t\nimages=1\nchannels=1\nunit=3\n"},
        {"metadata": None, "description": "images=3 of my holidays"},
    ],
)
def test_an_image_is_no_stack(options: dict[str, object]) -> None:
    np.testing.assert_array_equal(decode(tiff(COLOURS, photometric="rgb", **options)), COLOURS)


BITS = Image.fromarray(np.kron(RNG.integers(0, 2, (40, 40), dtype=np.uint8), np.ones((8, 8), np.uint8)) * 255)
FAX = ["group3", "group4"]


def zero_the_middle(data: bytes) -> bytes:
    middle = slice(len(data) // 3, len(data) // 2)
    return data[: middle.start] + bytes(middle.stop - middle.start) + data[middle.stop :]


@pytest.mark.parametrize("compression", [*FAX, "tiff_deflate", "tiff_lzw", "packbits"])
def test_a_tiff_of_which_a_part_is_zeroed(compression: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Of a fax, Pillow leaves the rest black; libtiff tells it to the error stream of the process."""
    data = save(BITS.convert("1") if compression in FAX else BITS, "TIFF", compression=compression)
    np.testing.assert_array_equal(decode(data)[..., 0], BITS)
    assert refuse(zero_the_middle(data)).reason.startswith("truncated or damaged (")
    np.testing.assert_array_equal(decode(data)[..., 0], BITS)
    assert capfd.readouterr() == ("", "")


def test_errors_of_libtiff_belong_to_the_file_they_are_of() -> None:
    whole = save(BITS.convert("1"), "TIFF", compression="group4")
    damaged = zero_the_middle(whole)

    def is_refused(number: int) -> bool:
        try:
            decode(damaged if number % 2 else whole)
        except BadImage:
            return True
        return False

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(is_refused, range(64))) == [False, True] * 32


def test_pillow_logs_nothing_of_what_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    many = tiff(np.zeros((8, 8, 12), np.uint8), photometric="rgb", planarconfig="contig", metadata=None)
    with pytest.raises(BadImage):
        decode(many)
    assert capfd.readouterr() == ("", "")


# --- palettes


@pytest.mark.parametrize(("depth", "row"), [(8, b"\0\2\3"), (4, b"\x02\x30"), (2, b"\x2c")])
def test_a_number_behind_the_end_of_the_palette(depth: int, row: bytes) -> None:
    whole, short = ([chunk(b"PLTE", bytes(range(3 * colours)))] for colours in (4, 3))
    np.testing.assert_array_equal(decode(png(3, 1, depth, 3, [row], *whole))[0, 2], [9, 10, 11])
    assert refuse(png(3, 1, depth, 3, [row], *short)).reason == (
        "truncated or damaged (its palette is shorter than its numbers need)"
    )


def test_a_number_behind_the_end_of_the_palette_of_a_bmp() -> None:
    header = struct.pack("<IiiHHIIiiII", 40, 4, 1, 1, 8, 0, 0, 0, 0, 3, 0)
    for highest, is_whole in ((2, True), (3, False)):
        data = b"BM" + struct.pack("<IHHI", 70, 0, 0, 66) + header + bytes(range(12)) + bytes([0, 1, 2, highest])
        if is_whole:
            np.testing.assert_array_equal(decode(data)[0, 3], [10, 9, 8])
        else:
            assert "its palette is shorter" in refuse(data).reason


# --- JPEG

PHOTO = Image.fromarray(np.kron(RNG.integers(0, 256, (12, 15, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8)))
JPEG_KINDS = pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])


def cut_and_close(data: bytes, share: float) -> bytes:
    """A part of its scans, and the marker of the end."""
    start = data.index(b"\xff\xda") + 14
    return data[: start + int(share * (len(data) - start))].rstrip(b"\xff") + b"\xff\xd9"


@JPEG_KINDS
@pytest.mark.parametrize("options", [{}, {"quality": 10}, {"quality": 100}, {"restart_marker_blocks": 3}])
def test_a_jpeg_that_was_cut_and_closed(mode: str, options: dict[str, int]) -> None:
    """Libjpeg draws the rest in grey."""
    data = save(PHOTO.convert(mode), "JPEG", **options)
    assert decode(data).shape == (96, 120, 3)
    for share in (0.1, 0.3, 0.6, 0.9):
        cut = cut_and_close(data, share)
        assert np.isin(np.asarray(Image.open(io.BytesIO(cut)))[-1, -1], (127, 128)).all()
        assert refuse(cut).reason == "truncated or damaged (rows are missing at its end)"


@JPEG_KINDS
def test_a_progressive_jpeg_that_was_cut_and_closed(mode: str) -> None:
    data = save(PHOTO.convert(mode), "JPEG", progressive=True)
    assert decode(data).shape == (96, 120, 3)
    for share in (0.1, 0.3, 0.6, 0.8):
        assert refuse(cut_and_close(data, share)).reason.startswith("truncated or damaged (")
    last = data.rindex(b"\xff\xda")
    assert refuse(data[:last] + b"\xff\xd9").reason == "truncated or damaged (scans are missing at its end)"


@JPEG_KINDS
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 3}])
@pytest.mark.parametrize("side", [1, 8, 17, 64])
def test_middle_grey_at_the_end_of_a_jpeg_is_an_image(mode: str, options: dict[str, int], side: int) -> None:
    for levels in (128, 127, 0, 255):
        values = np.full((side, side, 3), levels, np.uint8)
        values[: side // 2] = RNG.integers(0, 256, values[: side // 2].shape)
        assert decode(save(Image.fromarray(values).convert(mode), "JPEG", **options)).shape == values.shape


def test_bytes_behind_a_jpeg_of_middle_grey_are_no_matter() -> None:
    data = save(Image.new("RGB", (40, 40), (128,) * 3), "JPEG")
    np.testing.assert_array_equal(decode(data + data + b"\xff\xff"), decode(data))


# --- files beside the images


@pytest.mark.parametrize(
    "data",
    [
        b'{"title": "IMG_1.jpg"}',
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>',
        b'<?xml version="1.0"?><plist></plist>',
        "Über dieses Bild".encode(),
        b"\0\0\0\x14ftypqt  \0\0\0\0qt  ",
        b"\0\0\0\x08wide\0\0\0\0mdat" + bytes(9),
        b"bplist00\xd1\1\2" + bytes(30),
        b"PK\3\4" + bytes(40),
        b"PAR1" + bytes(40),
    ],
)
def test_what_is_no_image_is_not_called_damaged(data: bytes) -> None:
    assert refuse(data).fault == "no image, but text, a film, an archive or a table"


def test_what_may_be_an_image_is() -> None:
    whole = save(PHOTO)
    for data in (b"", whole[:200], bytes(100), b"8BPS" + bytes(40), b"\0\0\0\x18ftypheic" + bytes(30)):
        assert refuse(data).fault == "damaged, or of a kind that is not read"
