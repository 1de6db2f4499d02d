"""Is a PNG bare? Only pixels may leave the building: no text, profile, thumbnail, time or stowaway bytes.

Not seen: what a packer says by the choices that every packer has, among streams that unpack to the same pixels.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from rem_release.data.images.decoding import MAX_PIXELS, BadImage, decode
from rem_release.data.images.png_writing import restore_pixels
from rem_release.data.in_order import take_room

_FREE_PIXELS, _PIXELS_A_BYTE = 16_000_000, 64
"""Any image may have so many pixels, a larger one so many for each byte: zlib packs blank ones a thousand to one."""
_SLACK = 1024
"""Pixels that cannot be packed grow by at most a thousandth. A stream of many empty blocks is longer."""
_FREE_BLOCKS, _BYTES_A_BLOCK = 100, 1000
"""Any image may have so many blocks, a larger one so many bytes for each: a writer's have some thousand."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def inspect_png(data: bytes) -> list[str]:
    """Reasons why these bytes are not a bare 8-bit RGB PNG: exactly IHDR, IDAT and IEND, and nothing besides pixels.

    Returns:
        All reasons, in plain words; empty when the image is bare and decodes.
    """
    return read_png(data)[1]


def read_png(data: bytes, most_pixels: int | None = None) -> tuple[np.ndarray | None, list[str]]:
    """Decode a bare PNG, and say why if it is not one.

    Args:
        data: the file. What announces more pixels than its bytes can be an image of is not unpacked.
        most_pixels: what it may have at most; None: as many as any image.

    Returns:
        The pixels, uint8 (H, W, 3), or None where they cannot be read; and the reasons of `inspect_png`.
    """
    if not data.startswith(_SIGNATURE):
        return None, ["is not a PNG"]
    reasons: list[str] = []
    first: bytes | None = None
    stream: list[bytes] = []
    for kind, body in _read_chunks(data, reasons):
        if kind != b"IHDR" and first is None:
            reasons.append(f"has its {_name(kind)} block before IHDR")
        if kind == b"IHDR" and first is None:
            first = body
        elif kind == b"IDAT" and body:
            stream.append(body)
        elif kind == b"IDAT":
            reasons.append("carries an empty IDAT block")
        elif kind == b"IHDR":
            reasons.append("carries a second IHDR block")
        elif kind != b"IEND":
            reasons.append(f"carries a {_name(kind)} block")
    header = first or b""
    if len(header) == 13 and not _may_be_unpacked(header, len(data), most_pixels, reasons):
        return None, reasons
    if _check_header(header, reasons):
        pixels = _unpack(b"".join(stream), header, reasons)
        if pixels is not None and not reasons:
            return pixels, reasons
    try:
        pixels = decode(data)
    except BadImage as error:
        return None, [*reasons, f"does not decode: {error}"]
    return pixels, reasons


def _read_chunks(data: bytes, reasons: list[str]) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, body) up to IEND; what is wrong with the frame of a chunk goes to `reasons`."""
    position, left = len(_SIGNATURE), _FREE_BLOCKS + len(data) // _BYTES_A_BLOCK
    while position + 12 <= len(data):
        left -= 1
        if left < 0:
            reasons.append(f"has more blocks than an image of {len(data):,} bytes")
            return
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        end = position + 12 + length
        if end > len(data):
            reasons.append(f"is cut off inside its {_name(kind)} block")
            return
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(data[position + 4 : end - 4]) != checksum:
            reasons.append(f"has a damaged {_name(kind)} block (checksum)")
        yield kind, data[position + 8 : end - 4]
        position = end
        if kind == b"IEND":
            if length:
                reasons.append(f"carries {length} bytes inside its IEND block")
            if position < len(data):
                reasons.append(f"carries {len(data) - position} bytes after its end")
            return
    reasons.append("has no end (IEND block)")


def _check_header(header: bytes, reasons: list[str]) -> bool:
    """Whether IHDR announces 8-bit RGB, not interlaced, so that the size of the pixel stream is known."""
    if len(header) != 13:
        reasons.append("has no valid IHDR block")
        return False
    depth, colour, compression, filtering, interlace = header[8:]
    if (depth, colour) != (8, 2):
        reasons.append(f"is not 8-bit RGB (bit depth {depth}, colour type {colour})")
    if (compression, filtering, interlace) != (0, 0, 0):
        reasons.append("is interlaced or of an unknown compression")
    return (depth, colour, compression, filtering, interlace) == (8, 2, 0, 0, 0)


def _may_be_unpacked(header: bytes, size: int, most_pixels: int | None, reasons: list[str]) -> bool:
    """Whether an image takes no more memory than its bytes, and what is stated elsewhere, give reason for."""
    width, height = struct.unpack_from(">II", header)
    pixels, before = width * height, len(reasons)
    if not 0 < pixels <= MAX_PIXELS:
        reasons.append(f"announces {width} x {height} pixels")
    elif most_pixels is not None and pixels > most_pixels:
        reasons.append(f"announces {width} x {height} pixels, more than the largest image of the facts")
    elif pixels > max(_FREE_PIXELS, _PIXELS_A_BYTE * size):
        reasons.append(f"announces {width} x {height} pixels in {size:,} bytes")
    return len(reasons) == before


def _unpack(stream: bytes, header: bytes, reasons: list[str]) -> np.ndarray | None:
    """The pixels, where the stream holds them and nothing behind them, and was written as ours are."""
    width, height = struct.unpack_from(">II", header)
    expected = height * (1 + 3 * width)
    if len(stream) > expected + expected // _SLACK + _SLACK:
        reasons.append(f"carries {len(stream):,} compressed bytes for {expected:,}")
        return None
    take_room(width * height)
    inflater = zlib.decompressobj()
    try:
        lines = inflater.decompress(stream, expected + 1)
    except zlib.error as error:
        reasons.append(f"has a damaged pixel stream ({error})")
        return None
    if len(lines) < expected:
        reasons.append("ends before its last pixel")
    elif len(lines) > expected:
        reasons.append("carries data behind its last pixel")
    elif not inflater.eof:
        reasons.append("has a pixel stream without an end")
    elif inflater.unused_data:
        reasons.append(f"carries {len(inflater.unused_data)} bytes behind its pixel stream")
    return restore_pixels(lines, height, width)


def _name(kind: bytes) -> str:
    return kind.decode("ascii", "backslashreplace")
