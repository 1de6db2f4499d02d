"""Which page of a TIFF file is the image, and the kinds of numbers that Pillow does not read.

TIFF 6.0, section 8: NewSubfileType says that a page is a smaller copy of another (bit 0) or a mask (bit 2). Camera raw
files are TIFF whose first page is a preview, and whose image is not yet developed. A page can also be a volume of
slices (ImageDepth, a tag of SGI), a stack whose images are its channels, or the first of a stack whose other images
have no directories: MetaMorph counts them in a tag, ImageJ, OME and tifffile in the description. Offsets of 0 are of
strips and tiles that are not there (GDAL, SPARSE_OK).
"""

import io
import logging
import math
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image

from rem_release.data.images.tiff_directories import COPY, MASK, MAX_PAGES, SUBFILE_TYPE
from rem_release.data.in_order import take_room

_DNG_VERSION, _SAMPLE_FORMAT, _BITS = 50706, 339, 258
_PHOTOMETRIC, _SAMPLES, _DEPTH = 262, 277, 32997
_ORIENTATION, _UNASSOCIATED = 274, 2
_WIDTH, _HEIGHT, _DESCRIPTION, _METAMORPH = 256, 257, 270, 33629
_STRIP_OFFSETS, _TILE_OFFSETS, _STRIP_SIZES, _COMPRESSION = 273, 324, 279, 259
_GROUP_4, _GAP = 4, bytes(4)
_IMAGEJ = re.compile(r"^(?:images|channels|slices|frames)=(\d{1,9})\s*$", re.MULTILINE)
_OME = re.compile(r"<(?:\w+:)?Pixels\b[^>]*>")
_OME_SIZE = re.compile(r"\bSize[CZT]=[\"'](\d{1,9})[\"']")
_TIFFFILE = re.compile(r"(?:\{\"shape\": \[|shape=\()([\d, ]+)[\])]")
_SIGNED = 2
_GREY = (0, 1)
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}
"""channels of each photometric interpretation"""
_ROOM = 2
"""pixels of 8 bits that take as much memory as one of numbers, on the way to 8 bits"""
_MAX_BYTES, _UNPACKED = 1 << 31, 1100
"""of pixels, and how many times as long as its file: Deflate packs zeros 1 to 1030"""
_COPIES = (
    "smaller copies of an image alone, as a camera's raw file does: develop it to JPEG, PNG or TIFF first, or save it "
    "anew where it is the image"
)
_SPARSE = "a TIFF of which strips or tiles are missing, as GDAL leaves out empty ones: save it without SPARSE_OK"


def choose_page(image: Image.Image) -> str | None:
    """Go to the page that is the image, of a TIFF as Pillow opens it.

    Returns:
        Why there is no such page; None where the image stands on it.
    """
    if _DNG_VERSION in image.tag_v2:  # type: ignore[attr-defined]
        return "a camera's raw file (DNG): develop it to JPEG, PNG or TIFF first"
    pages: int = getattr(image, "n_frames", 1)
    if pages > MAX_PAGES:
        return f"multi-page ({pages:,} pages)"
    own = []
    for page in range(pages):
        image.seek(page)
        if not image.tag_v2:  # type: ignore[attr-defined]
            return "truncated or damaged (its directory is missing)"
        if not int(image.tag_v2.get(SUBFILE_TYPE, 0)) & (COPY | MASK):  # type: ignore[attr-defined]
            own.append(page)
    if not own:
        return f"holds {_COPIES}"
    if len(own) > 1:
        return f"animated or multi-page ({pages} frames)"
    image.seek(own[0])
    if reason := name_stack(image.tag_v2):  # type: ignore[attr-defined]
        return reason
    if lacks_parts(image.tag_v2):  # type: ignore[attr-defined]
        return _SPARSE
    formats = image.tag_v2.get(_SAMPLE_FORMAT, (1,))  # type: ignore[attr-defined]
    if _SIGNED in formats and max(image.tag_v2.get(_BITS, (1,))) == 8:  # type: ignore[attr-defined]
        return "a TIFF of signed 8-bit numbers, which readers take for others: save it with 8 or 16 bits without a sign"
    return None


def name_stack(tags: Mapping[int, Any]) -> str | None:
    """Why a page is several images; None where it is one."""
    if (slices := tags.get(_DEPTH, 1)) != 1:
        return f"a volume of {slices} slices in one page: save the slice that is the image by itself"
    if tags.get(_PHOTOMETRIC) in _GREY and (channels := tags.get(_SAMPLES, 1)) > 2:
        return f"grey in {channels} channels, as a stack of images has it: save the one that is the image by itself"
    if (images := _count_stated(tags)) > 1:
        return f"the first of a stack of {images} images, by its tags: save the one that is the image by itself"
    return None


def _count_stated(tags: Mapping[int, Any]) -> int:
    """How many images there are by the tags of the one page."""
    planes, description = tags.get(_METAMORPH, ()), tags.get(_DESCRIPTION, "")
    if not isinstance(description, str):
        description = ""
    height, width, samples = tags.get(_HEIGHT, 0), tags.get(_WIDTH, 0), tags.get(_SAMPLES, 1)
    stated = [len(planes) if isinstance(planes, tuple) else 1]
    if description.startswith("ImageJ="):
        stated += map(int, _IMAGEJ.findall(description))
    stated += [math.prod(map(int, _OME_SIZE.findall(pixels))) // samples for pixels in _OME.findall(description)]
    if shape := _TIFFFILE.match(description):
        sides = [int(side) for side in re.findall(r"\d{1,9}", shape[1])]
        if (height, width) in pairwise(sides):
            stated.append(math.prod(sides) // max(1, height * width * samples))
    return max(stated)


def lacks_parts(tags: Mapping[int, Any]) -> bool:
    """Whether strips or tiles are not there: readers take the start of the file for them, or fill them with zeros."""
    return any(0 in tags.get(offsets, ()) for offsets in (_STRIP_OFFSETS, _TILE_OFFSETS))


def has_gaps(tags: Mapping[int, Any], data: bytes) -> bool:
    """Whether zeros stand amid a strip of Group 4, where no code has so many: libtiff takes them for its end."""
    strips = zip(tags.get(_STRIP_OFFSETS, ()), tags.get(_STRIP_SIZES, ()), strict=False)
    return tags.get(_COMPRESSION) == _GROUP_4 and any(
        _GAP in data[start : start + size].rstrip(b"\0") for start, size in strips
    )


def has_unknown_channels(tags: Mapping[int, Any], has_alpha: bool) -> bool:
    """Whether a page has more channels than its colours and its alpha take: readers leave them out."""
    known = _COLOURS.get(tags.get(_PHOTOMETRIC, 1))
    return known is not None and tags.get(_SAMPLES, 1) > known + has_alpha


def read_numbers(data: bytes, most_pixels: int) -> np.ndarray | str:
    """The numbers of the one page of a TIFF that Pillow does not open: [H, W] or [H, W, S]; or why there are none."""
    import tifffile  # a fifth of a second

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it tells more of a damaged file than its reason

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            if not len(file.pages):
                return "truncated or damaged (its directory is missing)"
            pages = [page for page in file.pages if not int(page.subfiletype) & (COPY | MASK)]  # type: ignore[union-attr]
            if len(pages) != 1:
                return f"multi-page ({len(pages)} pages)" if pages else f"holds {_COPIES}"
            page: Any = pages[0]
            tags = {tag.code: (0,) * tag.count if tag.code == _METAMORPH else tag.value for tag in page.tags}
            if reason := name_stack(tags):
                return reason
            if lacks_parts(tags):
                return _SPARSE
            if page.bitspersample not in (1, 8, 16, 32, 64):
                return f"a TIFF of {page.bitspersample} bits: save it with 8 or 16"
            kind = f"{page.dtype} numbers in {page.samplesperpixel} channels"
            if page.dtype is None or page.axes not in ("YX", "YXS", "SYX"):
                return f"a TIFF of {kind}, which is not an image"
            if page.photometric.name not in ("MINISBLACK", "RGB") or page.samplesperpixel not in (1, 3, 4):
                return f"a TIFF of {kind} ({page.photometric.name.lower()}): save it as 8-bit RGB"
            if int(page.tags.valueof(_ORIENTATION, 1)) != 1:
                return f"a TIFF of {kind} that is to be turned: save it upright"
            if page.samplesperpixel == 4 and tuple(map(int, page.extrasamples)) != (_UNASSOCIATED,):
                return f"a TIFF of {kind}, of which one is no plain alpha: save it as 8-bit RGB"
            if math.prod(page.shape) != page.imagelength * page.imagewidth * page.samplesperpixel:
                return f"a TIFF of {kind}, which is not an image"
            if page.nbytes > _MAX_BYTES or page.nbytes > _UNPACKED * len(data):
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
