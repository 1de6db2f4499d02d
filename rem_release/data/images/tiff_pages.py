"""Which image of a TIFF file is the picture, and the kinds of numbers that Pillow does not read.

TIFF 6.0, section 8: NewSubfileType says that a page is a smaller copy of another (bit 0) or a mask (bit 2). Camera raw
files are TIFF whose first page is a preview, and whose picture is not yet developed.
"""

import io
import logging
import math
import struct
from typing import Any

import numpy as np
from PIL import Image

from rem_release.data.in_order import take_room

_SUBFILE_TYPE, _DNG_VERSION, _SAMPLE_FORMAT, _BITS = 254, 50706, 339, 258
_ORIENTATION, _UNASSOCIATED = 274, 2
_COPY, _MASK = 1, 4
_SIGNED = 2
_MOST_PAGES = 10_000
_ROOM = 2
"""pixels of 8 bits that take as much memory as one of numbers, on the way to 8 bits"""
_MOST_BYTES, _UNPACKED = 1 << 31, 1100
"""of pixels, and how many times as long as its file: Deflate packs zeros 1 to 1030"""
_COPIES = (
    "smaller copies of a picture alone, as a camera's raw file does: develop it to JPEG, PNG or TIFF first, or save it "
    "anew where it is the picture"
)


def choose_page(image: Image.Image) -> str | None:
    """Go to the page that is the picture, of a TIFF as Pillow opens it.

    Returns:
        Why there is no such page; None where the image stands on it.
    """
    if _DNG_VERSION in image.tag_v2:  # type: ignore[attr-defined]
        return "a camera's raw file (DNG): develop it to JPEG, PNG or TIFF first"
    pages: int = getattr(image, "n_frames", 1)
    if pages > _MOST_PAGES:
        return f"multi-page ({pages:,} pages)"
    own = []
    for page in range(pages):
        image.seek(page)
        if not image.tag_v2:  # type: ignore[attr-defined]
            return "truncated or damaged (its directory is missing)"
        if not int(image.tag_v2.get(_SUBFILE_TYPE, 0)) & (_COPY | _MASK):  # type: ignore[attr-defined]
            own.append(page)
    if not own:
        return f"holds {_COPIES}"
    if len(own) > 1:
        return f"animated or multi-page ({pages} frames)"
    image.seek(own[0])
    formats = image.tag_v2.get(_SAMPLE_FORMAT, (1,))  # type: ignore[attr-defined]
    if _SIGNED in formats and max(image.tag_v2.get(_BITS, (1,))) == 8:  # type: ignore[attr-defined]
        return "a TIFF of signed 8-bit numbers, which readers take for others: save it with 8 or 16 bits without a sign"
    return None


def is_cut(data: bytes) -> bool:
    """Whether a directory of a TIFF, which may stand behind its pixels, is not whole: TIFF 6.0, section 2, and BigTIFF.

    Tags that are missing have their defaults, and the pixels would be others.
    """
    order = "<" if data.startswith(b"II") else ">"
    is_big = data[2:4] in (b"+\0", b"\0+")
    count_type, entry, offset_type = ("Q", 20, "Q") if is_big else ("H", 12, "I")
    count_size, offset_size = struct.calcsize(count_type), struct.calcsize(offset_type)
    place, seen = 8 if is_big else 4, set[int]()
    while place + offset_size <= len(data):
        (start,) = struct.unpack_from(f"{order}{offset_type}", data, place)
        if start == 0 or start in seen or len(seen) > _MOST_PAGES:
            return False
        if start + count_size > len(data):
            return True
        seen.add(start)
        place = start + count_size + entry * int(struct.unpack_from(f"{order}{count_type}", data, start)[0])
    return True


def read_numbers(data: bytes, most_pixels: int) -> np.ndarray | str:
    """The numbers of the one page of a TIFF that Pillow does not open: [H, W] or [H, W, S]; or why there are none."""
    import tifffile  # a fifth of a second

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it tells more of a damaged file than its reason

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            if not len(file.pages):
                return "truncated or damaged (its directory is missing)"
            pages = [page for page in file.pages if not int(page.subfiletype) & (_COPY | _MASK)]  # type: ignore[union-attr]
            if len(pages) != 1:
                return f"multi-page ({len(pages)} pages)" if pages else f"holds {_COPIES}"
            page: Any = pages[0]
            if page.bitspersample not in (1, 8, 16, 32, 64):
                return f"a TIFF of {page.bitspersample} bits: save it with 8 or 16"
            kind = f"{page.dtype} numbers in {page.samplesperpixel} channels"
            if page.dtype is None or page.axes not in ("YX", "YXS", "SYX"):
                return f"a TIFF of {kind}, which is no picture"
            if page.photometric.name not in ("MINISBLACK", "RGB") or page.samplesperpixel not in (1, 3, 4):
                return f"a TIFF of {kind} ({page.photometric.name.lower()}): save it as 8-bit RGB"
            if int(page.tags.valueof(_ORIENTATION, 1)) != 1:
                return f"a TIFF of {kind} that is to be turned: save it upright"
            if page.samplesperpixel == 4 and tuple(map(int, page.extrasamples)) != (_UNASSOCIATED,):
                return f"a TIFF of {kind}, of which one is no plain alpha: save it as 8-bit RGB"
            if math.prod(page.shape) != page.imagelength * page.imagewidth * page.samplesperpixel:
                return f"a TIFF of {kind}, which is no picture"
            if page.nbytes > _MOST_BYTES or page.nbytes > _UNPACKED * len(data):
                return f"a TIFF that states {page.nbytes:,} bytes of pixels in a file of {len(data):,}"
            if (pixels := page.imagelength * page.imagewidth) > most_pixels:
                return f"more than {most_pixels:,} pixels: shrink it, or cut it into parts"
            take_room(_ROOM * pixels)
            values = page.asarray()
            return np.moveaxis(values, 0, -1) if page.axes == "SYX" else values
    except MemoryError:
        raise
    except Exception as error:
        text = str(error).strip().splitlines() or [type(error).__name__]
        return f"a TIFF that cannot be read ({text[0][:120]})"
