"""The policy of `tests/policy.py`, coded a second time without Pillow, against the product: both say the same.

What it found stands here as an example each.
"""

import io
import struct
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from rem_release.data.images.decoding import BadImage, decode
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.source import Source, SourceOptions
from rem_release.data.sources.split_names import split_named
from rem_release.errors import InputError
from tests import policy, policy_pixels
from tests.drawn_files import FORMATS, OTHERS, XMP, chunk, cut_files, exif_block, tiff
from tests.drawn_folders import DOUBTFUL, SPLITS, Drawn, folders, tables

FEW = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
MANY_FOLDERS = settings(MANY, max_examples=2000)


# --- files


def product_reads(data: bytes) -> np.ndarray | str:
    """Pixels, or the reason, which is one line."""
    try:
        return decode(data)
    except BadImage as bad:
        reason = bad.reason
    assert reason
    assert "\n" not in reason
    return reason


def policy_reads(data: bytes) -> np.ndarray | policy_pixels.Refused:
    try:
        return policy_pixels.decode(data)
    except policy_pixels.Refused as refused:
        return refused


def check_file(data: bytes) -> None:
    """Bit for bit, but for JPEG and premultiplied colours.

    OpenCV and Pillow each bring a libjpeg-turbo, which need not be of one version; where they are, only CMYK differs,
    which OpenCV multiplies with shifts: by 2 at most.
    """
    found, wanted = product_reads(data), policy_reads(data)
    if isinstance(wanted, policy_pixels.MayRefuse):
        wanted = wanted if isinstance(found, str) else wanted.pixels
    if isinstance(found, str) or isinstance(wanted, Exception):
        agree = isinstance(found, str) and isinstance(wanted, Exception)
    else:
        slack = 2 if data.startswith(b"\xff\xd8") else 1 if is_premultiplied(data) else 0
        agree = found.shape == wanted.shape and np.abs(found.astype(int) - wanted).max() <= slack
    assert agree, f"{found!r} is not {wanted!r}"


def tags_of(data: bytes) -> list[tifffile.TiffPage]:
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            return list(file.pages)
    except Exception:  # damaged
        return []


def is_premultiplied(data: bytes) -> bool:
    return data[:2] in (b"II", b"MM") and any(1 in map(int, page.extrasamples) for page in tags_of(data))


XMP_6 = b"http://ns.adobe.com/xap/1.0/\0" + XMP
SMALL = {256: (2,), 257: (1,), 258: (8,), 259: (1,), 262: (1,), 277: (1,), 278: (1,)}


def png(depth: int, kind: int, row: bytes, *before: bytes) -> bytes:
    """Of one row: as many pixels as fit into its bytes."""
    width = len(row) * 8 // (depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind])
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, depth, kind, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + body


@st.composite
def files(draw: st.DrawFn) -> bytes:
    return draw(FORMATS[draw(st.sampled_from(list(FORMATS)))]())


@FEW
@given(files())
@example(png(8, 0, b"\1\2", chunk(b"tRNS", b"\1\1")))  # the high byte of a transparent colour of 8 bits says nothing
@example(png(16, 4, b"\x80\xff\xff\xff"))
@example(png(8, 3, b"\0\1", chunk(b"PLTE", b"\1\2\3\4\5\6"), chunk(b"tRNS", b"\0", damage=1)))
@example(png(8, 0, b"\1", chunk(b"eXIf", exif_block(6, ">", kind=4))))
@example(b"P5 5 1 100\nR1O\x1e\2")  # 30 of 100 lies between two levels
@example(tiff([SMALL | {284: (2,)}], [[b"\1\2"]], ">"))
def test_a_file_is_read_as_the_policy_reads_it(data: bytes) -> None:
    check_file(data)


@pytest.mark.parametrize("data", OTHERS)
def test_what_is_no_image_is_refused_by_both(data: bytes) -> None:
    check_file(data)


@pytest.mark.slow
@pytest.mark.parametrize("format", list(FORMATS))
def test_thousands_of_files(format: str) -> None:
    MANY(given(FORMATS[format]())(check_file))()


def check_cut(drawn: tuple[bytes, int]) -> None:
    """A file that is cut off is refused, or all its pixels are there."""
    data, length = drawn
    assume(not data.startswith((b"P1", b"P2", b"P3")))  # a number that is cut is another number
    assume(not isinstance(product_reads(data), str))
    found = product_reads(data[:length])
    assert isinstance(found, str) or np.array_equal(found, product_reads(data))


@FEW
@given(cut_files())
def test_a_file_that_is_cut_off_is_refused_or_whole(drawn: tuple[bytes, int]) -> None:
    check_cut(drawn)


@pytest.mark.slow
def test_thousands_of_files_that_are_cut_off() -> None:
    MANY(given(cut_files())(check_cut))()


# --- files: what it found


def big_endian(values: object, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.array(values, kind), byteorder=">", metadata=None, **options)
    return buffer.getvalue()


def jpeg(*segments: bytes) -> bytes:
    data = cv2.imencode(".jpg", np.zeros((2, 3, 3), np.uint8))[1].tobytes()
    parts = [b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body for body in segments]
    return data[:2] + b"".join(parts) + data[2:]


PACKED = {"photometric": "minisblack", "compression": "zlib"}
RGBA = {"photometric": "rgb", "bigtiff": True, "extrasamples": ["unassalpha"]}
GREY_ALPHA = SMALL | {258: (8, 8), 259: (32773,), 277: (2,), 284: (2,), 338: (2,)}
FOUND = {
    "1: packed floats of Motorola order are swapped twice": big_endian([[0, 0.5, 1]], "f4", **PACKED),
    "1: packed 32-bit numbers, too": big_endian([[0, 65536]], "i4", **PACKED),
    "2: the alpha of a BigTIFF of Motorola order": big_endian([[[100, 50, 0, 0]]], "u1", **RGBA),
    "3: signed 8-bit numbers in one": big_endian([[100]], "i1", photometric="minisblack", bigtiff=True),
    "4: grey and alpha in separate planes": tiff([GREY_ALPHA], [[b"\1\x64\x32", b"\1\xff\0"]], "<"),
    "5: a frame of an animation that is none": png(
        8, 0, b"\1\2", chunk(b"fcTL", struct.pack(">5I2H2B", 0, 1, 1, *[0] * 6))
    ),
    "6: 16-bit colours of a PPM": b"P6 1 1 65535\n\x8c\x65\xe7\x36\x7e\x4a",
    "7: a frame of a GIF that is smaller than its screen": (
        b"GIF89a\2\0\1\0\xf0\0\0\1\2\3\4\5\6,\1\0\0\0\1\0\1\0\0\2\2\x44\1\0;"
    ),
    "9: an orientation in XMP": jpeg(XMP_6),
    "10: a palette that is not there": png(8, 3, b"\0\5"),
}


@pytest.mark.parametrize("finding", list(FOUND))
def test_findings_in_files(finding: str) -> None:
    data = FOUND[finding]
    found, wanted = product_reads(data), policy_reads(data)
    wanted = wanted.pixels if isinstance(wanted, policy_pixels.MayRefuse) else wanted
    assert isinstance(found, str) or (not isinstance(wanted, Exception) and np.array_equal(found, wanted))


def test_finding_8_a_directory_that_is_cut_off() -> None:
    tags = SMALL | {258: (8, 8, 8), 262: (2,), 277: (3,), 284: (2,)}
    data = tiff([tags], [[b"\1\2", b"\3\4", b"\5\6"]], "<")
    assert isinstance(product_reads(data[:-16]), str)


# --- folders


def product_opens(root: Path, drawn: Drawn) -> Source | str:
    options = SourceOptions(source=str(root), split=drawn.split, layout=drawn.layout, label_from=drawn.label_from)
    try:
        return open_source(options)
    except InputError as error:
        return str(error)


def check_folder(drawn: Drawn) -> None:
    with TemporaryDirectory() as temporary:
        root = Path(temporary) / "source"
        root.mkdir()
        drawn.write(root)
        source = product_opens(root, drawn)
        wanted = policy.expected(root, drawn.split, drawn.layout, drawn.label_from)
        assert isinstance(source, str) == isinstance(wanted, policy.Refusal), f"{source} is not {wanted}"
        if isinstance(source, str) or isinstance(wanted, policy.Refusal):
            return
        assert source.classes == wanted.classes
        assert list(source.splits.items()) == sorted(wanted.splits.items())
        assert set(source.left_out) == wanted.left_out
        assert [source.origin(row) for row in range(len(source))] == [row.origin for row in wanted.rows]
        labels = [source.classes[number] if number >= 0 else None for number in source.class_ids]
        assert labels == [row.label for row in wanted.rows]
        for number, row in enumerate(wanted.rows):
            pixels = row.pixels()
            try:
                np.testing.assert_array_equal(decode(source.image_bytes(number)), pixels)
            except BadImage:
                assert isinstance(pixels, policy.Refusal), row


@FEW
@given(folders())
def test_a_folder_is_read_as_the_policy_reads_it(drawn: Drawn) -> None:
    check_folder(drawn)


@FEW
@given(tables())
def test_a_table_is_read_as_the_policy_reads_it(drawn: Drawn) -> None:
    check_folder(drawn)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [folders, tables])
def test_thousands_of_folders(kind: object) -> None:
    MANY_FOLDERS(given(kind())(check_folder))()


WORDS = st.sampled_from([*SPLITS, *DOUBTFUL, "set", "a", "IMG", "é", "_", "-", " ", "7", "x", "X"])


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.lists(WORDS, max_size=4).map("".join), st.text("aTtrainRAINvalVALtest_- 19é训练集", max_size=9)))
def test_names_mean_the_same_splits(name: str) -> None:
    assert split_named(name) == policy.meaning(name)


# --- folders: what it found

TABLE = b"file_name,label\n1.png,x\n2.png,y\n"
FOLDERS = {
    "11: one folder is named like a split, and holds folders": {
        "Training/a/1.png": b"",
        "Training/b/1.png": b"",
        "cat/1.png": b"",
    },
    "12: two spellings of a path, two labels": {"1.png": b"", "metadata.csv": TABLE + b"./1.png,y\n", "2.png": b""},
    "13: the table of a split of bare images": {
        "train/1.png": b"",
        "train/2.png": b"",
        "train/metadata.csv": TABLE,
        "cat/1.png": b"",
    },
}


@pytest.mark.parametrize("finding", list(FOLDERS))
def test_findings_in_folders(finding: str, tmp_path: Path) -> None:
    drawn = Drawn(tuple(FOLDERS[finding].items()))
    drawn.write(tmp_path)
    source, wanted = product_opens(tmp_path, drawn), policy.expected(tmp_path)
    assert isinstance(source, str) == isinstance(wanted, policy.Refusal)
    assert isinstance(source, str) or source.classes == wanted.classes
