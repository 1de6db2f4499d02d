import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, PngImagePlugin

from rem_release.core.levels import protect_at_own_size
from rem_release.data.images.png_writing import decode_released, encode_png, read_back
from rem_release.verification.png import inspect_png, read_png

IMAGE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(width=7, height=5, depth=8, colour=2, interlace=0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def scanlines(image=IMAGE) -> bytes:
    return b"".join(b"\0" + line.tobytes() for line in image)


def save(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def assemble(*chunks: bytes) -> bytes:
    return SIGNATURE + b"".join(chunks)


def split_chunks(png: bytes, order: list[int]) -> list[bytes]:
    chunks, position = [], len(SIGNATURE)
    while position < len(png):
        end = position + 12 + int.from_bytes(png[position : position + 4], "big")
        chunks.append(png[position:end])
        position = end
    return [chunks[number] for number in order]


PIXELS = chunk(b"IDAT", zlib.compress(scanlines()))
END = chunk(b"IEND")


def test_a_bare_image_has_no_faults_and_decodes_exactly():
    pixels, reasons = read_png(encode_png(IMAGE))
    assert reasons == []
    np.testing.assert_array_equal(pixels, IMAGE)
    assert inspect_png(assemble(header(), PIXELS, END)) == []


@settings(max_examples=200, deadline=None)
@given(image=arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3))), turned=st.booleans())
def test_other_readers_see_the_pixels_that_were_written(image, turned):
    image = image.transpose(1, 0, 2) if turned else image
    png = encode_png(image)
    assert png == encode_png(image.copy())
    pixels, reasons = read_png(png)
    assert reasons == []
    np.testing.assert_array_equal(pixels, image)
    np.testing.assert_array_equal(read_back(png), image)
    np.testing.assert_array_equal(decode_released(png), image)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), image)
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR_RGB), image)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_filters_of_rows_are_read_as_pillow_reads_them(data):
    height, width = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    filters = data.draw(arrays(np.uint8, (height, 1), elements=st.sampled_from([0, 1, 2, 2, 2, 3, 4])))
    lines = np.hstack([filters, data.draw(arrays(np.uint8, (height, 3 * width)))])
    png = assemble(header(width, height), chunk(b"IDAT", zlib.compress(lines.tobytes())), END)
    pixels, reasons = read_png(png)
    assert reasons == []
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(io.BytesIO(png))))


def test_what_is_written_otherwise_is_not_read_back():
    png = encode_png(IMAGE)
    up = b"".join(b"\2" + line.tobytes() for line in IMAGE)
    others = [
        b"",
        SIGNATURE,
        save(Image.fromarray(IMAGE)),
        save(Image.fromarray(IMAGE).convert("L")),
        assemble(header(), PIXELS, END),
        assemble(header(), chunk(b"IDAT", zlib.compress(up[:-1])), END),
        assemble(header(), chunk(b"IDAT", zlib.compress(up + b"more")), END),
        assemble(header(), chunk(b"IDAT", zlib.compress(up)[:-1]), END),
        assemble(header(), chunk(b"IDAT", zlib.compress(up)[:-1] + b"x"), END),
        assemble(header(), chunk(b"IDAT", zlib.compress(up)), chunk(b"tEXt", b"a\0b"), END),
        assemble(header(0, 5), chunk(b"IDAT", zlib.compress(up)), END),
        assemble(header(2**31 - 1, 2**31 - 1), chunk(b"IDAT", zlib.compress(up)), END),
        *(png[:length] for length in range(len(png))),
    ]
    assert read_back(assemble(header(), chunk(b"IDAT", zlib.compress(up)), END)) is not None
    assert [other for other in others if read_back(other) is not None] == []
    np.testing.assert_array_equal(decode_released(assemble(header(), PIXELS, END)), IMAGE)
    np.testing.assert_array_equal(decode_released(save(Image.fromarray(IMAGE))), IMAGE)


def test_a_filter_that_there_is_not_is_refused():
    stream = zlib.compress(b"".join(b"\5" + line.tobytes() for line in IMAGE))
    assert inspect_png(assemble(header(), chunk(b"IDAT", stream), END))


def draw_noise(image: np.ndarray, seed: int) -> np.ndarray:
    """Of 32 x 32 blocks, brought to the image's size, at most eight levels."""
    levels = torch.from_numpy(np.random.default_rng(seed).integers(-8, 9, (3, 32, 32)).astype(np.int8))
    protected, _ = protect_at_own_size(torch.from_numpy(image).permute(2, 0, 1), levels, 8)
    return protected.permute(1, 2, 0).contiguous().numpy()


@pytest.mark.parametrize("side", [32, 400])
def test_photographs_with_noise_take_at_most_a_tenth_more_than_zlib_at_level_4(side):
    sources = (skimage.data.cat(), skimage.data.coffee(), skimage.data.astronaut(), skimage.data.immunohistochemistry())
    images = [np.array(Image.fromarray(source).resize((side, side))) for source in sources]
    protected = [draw_noise(image, seed) for seed, image in enumerate(images)]
    usual = sum(len(save(Image.fromarray(image), compress_level=4)) for image in protected)
    assert sum(len(encode_png(image)) for image in protected) <= 1.1 * usual


def test_text_is_named():
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "someone")
    assert inspect_png(save(Image.fromarray(IMAGE), pnginfo=info)) == ["carries a tEXt block"]


def test_every_kind_of_block_is_named():
    exif = Image.Exif()
    exif[0x010E] = "a description"
    found = inspect_png(save(Image.fromarray(IMAGE), exif=exif, icc_profile=b"profile", dpi=(72, 72)))
    assert {"carries a eXIf block", "carries a iCCP block", "carries a pHYs block"} <= set(found)


def test_a_block_of_unknown_kind_is_named():
    assert inspect_png(assemble(header(), PIXELS, chunk(b"st\xffg", b"x"), END)) == [r"carries a st\xffg block"]


def test_bytes_after_the_end_are_counted():
    assert inspect_png(encode_png(IMAGE) + b"thumbnail") == ["carries 9 bytes after its end"]


def test_bytes_inside_the_end_are_counted():
    assert inspect_png(assemble(header(), PIXELS, chunk(b"IEND", b"abc"))) == ["carries 3 bytes inside its IEND block"]


def test_bytes_behind_the_pixel_stream_are_counted():
    stream = zlib.compress(scanlines()) + b"hidden"
    assert inspect_png(assemble(header(), chunk(b"IDAT", stream), END)) == ["carries 6 bytes behind its pixel stream"]


def test_rows_behind_the_last_pixel_are_seen():
    stream = zlib.compress(scanlines() + b"one more line")
    assert inspect_png(assemble(header(), chunk(b"IDAT", stream), END)) == ["carries data behind its last pixel"]


def test_a_pixel_stream_that_is_too_short_is_seen():
    stream = zlib.compress(scanlines(IMAGE[:-1]))
    assert "ends before its last pixel" in inspect_png(assemble(header(), chunk(b"IDAT", stream), END))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (Image.fromarray(IMAGE).convert("L"), "bit depth 8, colour type 0"),
        (Image.fromarray(IMAGE).convert("RGBA"), "bit depth 8, colour type 6"),
        (Image.fromarray(IMAGE).convert("1"), "bit depth 1, colour type 0"),
        (Image.fromarray(IMAGE).convert("P"), "colour type 3"),
        (Image.fromarray(IMAGE[..., 0].astype(np.uint16)), "bit depth 16, colour type 0"),
    ],
)
def test_other_colours_than_8_bit_rgb_are_named(image, words):
    assert any(words in reason for reason in inspect_png(save(image)))


def test_a_palette_is_named_as_a_block_too():
    assert "carries a PLTE block" in inspect_png(save(Image.fromarray(IMAGE).convert("P")))


def test_an_interlaced_image_is_named():
    assert "is interlaced or of an unknown compression" in inspect_png(assemble(header(interlace=1), PIXELS, END))


def test_a_header_behind_the_pixels_is_named():
    assert "has its IDAT block before IHDR" in inspect_png(assemble(PIXELS, header(), END))
    assert "has its IDAT block before IHDR" in inspect_png(assemble(*split_chunks(encode_png(IMAGE), [1, 0, 2])))


def test_a_second_header_is_named():
    assert inspect_png(assemble(header(), header(), PIXELS, END)) == ["carries a second IHDR block"]


@pytest.mark.parametrize(("width", "height"), [(2**31 - 1, 2**31 - 1), (20_000, 20_000), (0, 5)])
def test_impossible_sizes_are_refused_without_decoding(width, height):
    reasons = inspect_png(assemble(header(width, height), PIXELS, END))
    assert f"announces {width} x {height} pixels" in reasons


def test_other_files_are_no_png():
    buffer = io.BytesIO()
    Image.fromarray(IMAGE).save(buffer, "JPEG")
    for data in (b"", b"text", buffer.getvalue()):
        assert read_png(data) == (None, ["is not a PNG"])


def test_an_image_cut_off_anywhere_is_refused():
    data = encode_png(IMAGE)
    for length in range(len(data)):
        assert inspect_png(data[:length]), length


def test_every_flipped_bit_is_seen():
    data = encode_png(IMAGE)
    for position in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            assert inspect_png(bytes(flipped)), (position, bit)


@pytest.mark.parametrize("count", [1, 60])
def test_an_empty_first_header_is_no_header(count: int) -> None:
    """Pillow and OpenCV refuse it, and what each copy takes could say something."""
    above = np.diff(IMAGE, axis=0, prepend=np.zeros_like(IMAGE[:1]))
    lines = b"".join(b"\2" + line.tobytes() for line in above)
    png = assemble(*[chunk(b"IHDR")] * count, header(), chunk(b"IDAT", zlib.compress(lines)), END)
    with pytest.raises(ValueError, match="Truncated IHDR"):
        Image.open(io.BytesIO(png))
    assert inspect_png(png)
    assert inspect_png(assemble(header(), chunk(b"IDAT", zlib.compress(lines)), END)) == []
