"""Whether a JPEG holds all of its image: where it ends early, libjpeg draws the rest in grey, or coarsely.

ITU-T T.81, B.2 (segments) and G.1 (progressive: scans that bring more coefficients, and more bits of them).
"""

import io
import re
from collections.abc import Iterator

from PIL import Image

_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
"""and nothing that stands within the numbers of a scan"""
_SCAN, _END = 0xDA, 0xD9
_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
_ALL = frozenset(range(64))
_MORE = bytes(16)
"""than libjpeg reads ahead"""


def lacks_scans(data: bytes) -> bool:
    """Whether scans of a JPEG are missing: a component, a coefficient, or the last bits of one."""
    lacking: dict[int, frozenset[int]] = {}
    is_progressive = False
    for marker, body, _ in _segments(data):
        if marker in (_BASELINE, _EXTENDED, _PROGRESSIVE):
            is_progressive = marker == _PROGRESSIVE
            lacking = dict.fromkeys(body[6::3], _ALL)
        elif marker == _SCAN:
            first, last, bits = body[-3:] if is_progressive else (0, 63, 0)
            for component in body[1 : 1 + 2 * body[0] : 2]:
                if bits & 15 == 0:
                    lacking[component] = lacking.get(component, _ALL) - set(range(first, last + 1))
            if not any(lacking.values()):
                return False
    return any(lacking.values())


def ends_early(data: bytes) -> bool:
    """Whether the one scan of a JPEG is over before its pixels are.

    It is read once more with some bytes behind the scan and no end: only where pixels are missing, its reader waits for
    more of them. Of several scans, and of arithmetic coding, nothing is said.
    """
    segments = list(_segments(data))
    kinds = [marker for marker, _, _ in segments]
    if kinds.count(_SCAN) != 1 or not {_BASELINE, _EXTENDED} & set(kinds):
        return False
    behind = [place for _, _, place in segments[kinds.index(_SCAN) + 1 :]]
    end = behind[0] if behind else len(data)
    try:
        Image.open(io.BytesIO(data[:end] + _MORE), formats=("JPEG",)).load()
    except OSError as error:
        return "truncated" in str(error)
    return False


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Markers up to the end of the image, with what belongs to each, and where it starts."""
    found = _MARKER.search(data, 2)
    while found:
        size = int.from_bytes(data[found.end() : found.end() + 2], "big")
        yield found[0][1], data[found.end() + 2 : found.end() + size], found.start()
        if found[0][1] == _END:
            return
        found = _MARKER.search(data, found.end() + size)
