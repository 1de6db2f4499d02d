"""A PNG without the chunks that say nothing about its pixels.

Readers stop at texts of more than a megabyte, which programs that make images write, and at damaged chunks that they
could pass over (PNG 3, section 13.2: an ancillary chunk of a wrong checksum may be left out).
"""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ABOUT_PIXELS = {b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"iCCP", b"cICP", b"eXIf", b"acTL", b"fcTL", b"fdAT"}
"""ancillary chunks that decide how pixels look, and those that tell an animation"""
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}
_MAX_PROFILE = 1 << 20
_PIECE = 1 << 20
_PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
"""of Adam7: first column and row, and the steps"""


def strip_png(data: bytes) -> bytes:
    """The file less what is left out; as it is where it is no PNG. What is cut off stays, which its reader tells."""
    if not data.startswith(SIGNATURE):
        return data
    kept, position = [SIGNATURE], len(SIGNATURE)
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if end > len(data):
            break
        if _is_kept(data[position + 4 : position + 8], data[position + 4 : end - 4], data[end - 4 : end]):
            kept.append(data[position:end])
        position = end
        if kept[-1][4:8] == b"IEND":
            position = len(data)
    stills = kept if _is_animation(kept) else [each for each in kept if each[4:8] not in _ANIMATION]
    return b"".join(stills) + data[position:]


def _is_animation(chunks: list[bytes]) -> bool:
    """Whether there are several frames; else the image is the whole one, whatever a frame's place says."""
    names = [each[4:8] for each in chunks]
    frames = [int.from_bytes(each[8:12], "big") for each in chunks if each[4:8] == b"acTL"]
    return frames != [] and (frames[0] > 1 or b"fdAT" in names)


def is_misread(data: bytes) -> bool:
    """Whether Pillow compares a transparent colour of the file's depth with pixels of 8 bits: colours of 16 bits, grey
    of 2 or 4 (PNG 3, section 11.3.1.1)."""
    depth_and_type = data[24:26]
    return data.startswith(SIGNATURE) and depth_and_type in (b"\x10\2", b"\2\0", b"\4\0") and b"tRNS" in data


def _is_kept(name: bytes, checked: bytes, checksum: bytes) -> bool:
    if not name[0] & 0x20:  # critical
        return True
    if name == b"tRNS":
        return True  # a damaged one is for the reader to refuse: nobody knows what is transparent
    if name not in _ABOUT_PIXELS or zlib.crc32(checked).to_bytes(4, "big") != checksum:
        return False
    return name != b"iCCP" or _has_profile(checked[4:])


def _has_profile(body: bytes) -> bool:
    """Whether it unpacks, and to no more than readers take."""
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(body[body.index(b"\0") + 2 :], _MAX_PROFILE)
    except (zlib.error, ValueError):
        return False
    return unpacker.eof


def find_chunk(data: bytes, name: bytes) -> bytes | None:
    """The body of the first chunk of that name before the pixels; None where there is none."""
    position = len(SIGNATURE)
    while data.startswith(SIGNATURE) and position + 12 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        found = data[position + 4 : position + 8]
        if found in (name, b"IDAT"):
            return data[position + 8 : position + 8 + size] if found == name else None
        position += 12 + size
    return None


def lacks_rows(data: bytes) -> bool:
    """Whether the pixels end before the last row, with their stream closed as if they were whole: Pillow leaves the
    rest black (PNG 3, sections 7.2 and 8.1)."""
    width, height, depth, kind, _, _, woven = struct.unpack_from(">IIBBBBB", data, 16)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    passes = [
        (-(-(width - left) // across), -(-(height - above) // down))
        for left, above, across, down in (_PASSES if woven else [(0, 0, 1, 1)])
    ]
    expected = sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in passes if columns > 0 and rows > 0)
    unpacker, found, position = zlib.decompressobj(), 0, len(SIGNATURE)
    while position + 12 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] == b"IDAT":
            rest = data[position + 8 : position + 8 + size]
            while rest and found < expected:
                found += len(unpacker.decompress(rest, _PIECE))
                rest = unpacker.unconsumed_tail
        position += 12 + size
    return found < expected
