"""Files of which readers show less than there is, or more, without a word: parts that are missing, and stacks."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile

from rem_release.data.images.decoding import BadImage, decode
from tests.test_data_decoding import chunk, png

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
