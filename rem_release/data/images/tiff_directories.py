"""The directories of a TIFF as its bytes have them: whether they are whole, and what size the images in SubIFDs are.

TIFF 6.0, section 2; BigTIFF; SubIFDs as in TIFF Technical Note 1.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAX_PAGES = 10_000
SUBFILE_TYPE = 254
COPY, MASK = 1, 4
"""bits of NewSubfileType"""
_WIDTH, _HEIGHT, _SUB_IMAGES = 256, 257, 330
_LOOKED_AT = (SUBFILE_TYPE, _WIDTH, _HEIGHT, _SUB_IMAGES)
_MAX_TAGS, _MAX_SUB_IMAGES = 1000, 1000
_NUMBERS = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
"""types of whole numbers without a sign, and addresses"""


@dataclass(frozen=True)
class _Form:
    order: str
    first: int
    count: str
    offset: str
    entry: int

    def number(self, kind: str, data: bytes, at: int) -> int:
        return int(struct.unpack_from(self.order + kind, data, at)[0])


def _form_of(data: bytes) -> _Form:
    order = "<" if data.startswith(b"II") else ">"
    is_big = data[2:4] in (b"+\0", b"\0+")
    return _Form(order, 8, "Q", "Q", 20) if is_big else _Form(order, 4, "H", "I", 12)


def is_cut(data: bytes) -> bool:
    """Whether a directory of a TIFF, which may stand behind its pixels, is not whole.

    Tags that are missing have their defaults, and the pixels would be others.
    """
    return None in _walk(data)


def measure_sub_images(data: bytes) -> float | None:
    """How many times as many pixels the largest image in a SubIFD has as its page; None where there are no SubIFDs.

    Pages that are smaller copies or masks are passed over, and so are SubIFDs that cannot be read, or are too many.
    """
    scales: list[float] = []
    for start in _walk(data):
        page = _read(data, start) if start else {}
        if page.get(SUBFILE_TYPE, (0,))[0] & (COPY | MASK):
            continue
        for place in page.get(_SUB_IMAGES, ())[: _MAX_SUB_IMAGES - len(scales)]:
            scales.append(_count_pixels(_read(data, place)) / max(1, _count_pixels(page)))
    return max(scales, default=None)


def _walk(data: bytes) -> Iterator[int | None]:
    """Where the directories of the pages start; None at last where one, or the link to the next, is cut off."""
    form = _form_of(data)
    place, seen = form.first, set[int]()
    while place + struct.calcsize(form.offset) <= len(data):
        start = form.number(form.offset, data, place)
        if start == 0 or start in seen or len(seen) > MAX_PAGES:
            return
        if start + struct.calcsize(form.count) > len(data):
            break
        yield start
        seen.add(start)
        place = start + struct.calcsize(form.count) + form.entry * form.number(form.count, data, start)
    yield None


def _read(data: bytes, start: int) -> dict[int, tuple[int, ...]]:
    """Those of the tags named above that are not cut off."""
    form, tags = _form_of(data), dict[int, tuple[int, ...]]()
    inline = struct.calcsize(form.offset)
    at = start + struct.calcsize(form.count)
    if at > len(data):
        return tags
    count = min(_MAX_TAGS, form.number(form.count, data, start), (len(data) - at) // form.entry)
    for field in range(at, at + form.entry * count, form.entry):
        tag = form.number("H", data, field)
        kind = _NUMBERS.get(form.number("H", data, field + 2))
        items = form.number(form.offset, data, field + 4)
        if tag not in _LOOKED_AT or tag in tags or kind is None or not 0 < items <= _MAX_SUB_IMAGES:
            continue
        place = field + form.entry - inline
        if items * struct.calcsize(kind) > inline:
            place = form.number(form.offset, data, place)
        if place + items * struct.calcsize(kind) <= len(data):
            tags[tag] = struct.unpack_from(f"{form.order}{items}{kind}", data, place)
    return tags


def _count_pixels(tags: dict[int, tuple[int, ...]]) -> int:
    return tags.get(_WIDTH, (0,))[0] * tags.get(_HEIGHT, (0,))[0]
