"""How a file becomes pixels, coded a second time from the page of policy alone (the docstring of `decoding.py`).

No code is shared with rem_release, and none of Pillow decides: PNG, BMP, GIF and PPM are read here, TIFF by tifffile,
JPEG and WebP by OpenCV. Colour profiles, JPEG 2000, AVIF and JPEG that was cut and closed are left out. What the page
does not say is marked SILENT.
"""

import io
import logging
import math
import re
import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np
import tifffile

logging.getLogger("tifffile").setLevel(logging.CRITICAL)
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class Refused(Exception):  # noqa: N818 - a verdict
    """What the policy says no to."""


def decode(data: bytes) -> np.ndarray:
    """Read a whole file as uint8 (H, W, 3), or raise `Refused`; whatever a reader raises on garbage is one, too."""
    if not data:
        raise Refused("empty")
    try:
        for start, read in _READERS.items():
            if re.match(start, data, re.DOTALL):
                return np.ascontiguousarray(read(data))
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"damaged: {error!r}") from None
    raise Refused("none of the formats")


# --- what all formats share


def lay_on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Round((c·a + 255·(255 - a)) / 255), halves up (255 is odd: there are none)."""
    c, a = colours.astype(int), alpha.astype(int)[..., None]
    return ((2 * (c * a + 255 * (255 - a)) + 255) // 510).astype(np.uint8)


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2)


def brought_to_8(values: np.ndarray) -> np.ndarray:
    """The rule of depth, for 16 bits."""
    return values if values.dtype == np.uint8 else np.floor(values / 257 + 0.5).astype(np.uint8)


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Orientation 1 to 8 of EXIF, as its table says where row 0 and column 0 lie; others mean nothing."""
    if orientation in (5, 6, 7, 8):  # rows are columns
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):  # bottom
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):  # right
        pixels = pixels[:, ::-1]
    return pixels


def orientation_in(exif: bytes) -> int:
    """Tag 274 of the first directory of an EXIF block; 1 where it cannot be read."""
    try:
        exif = exif.removeprefix(b"Exif\0\0")
        order = {b"II*\0": "<", b"MM\0*": ">"}[exif[:4]]
        (at,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, at)
        for number in range(count):
            tag, kind, items = struct.unpack_from(order + "HHI", exif, at + 2 + 12 * number)
            if tag == 274 and items == 1:  # SILENT: some write it as a long number
                return struct.unpack_from(order + {3: "H", 4: "I"}[kind], exif, at + 2 + 12 * number + 8)[0]
    except (KeyError, struct.error):
        pass
    return 1


def unpack_bits(rows: np.ndarray, depth: int, width: int) -> np.ndarray:
    """Numbers of 1, 2, 4 or 8 bits from rows of bytes, high bits first."""
    bits = np.unpackbits(rows, axis=1)
    bits = bits[:, : bits.shape[1] // depth * depth].reshape(len(rows), -1, depth)
    return (bits @ (1 << np.arange(depth)[::-1]))[:, :width].astype(np.uint8)


# --- PNG


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at, name = 8, b""
    while name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, at)
        body, check = data[at + 8 : at + 8 + length], data[at + 8 + length : at + 12 + length]
        if len(check) < 4:
            raise Refused("truncated")
        if zlib.crc32(name + body) == int.from_bytes(check, "big"):
            yield name, body
        elif name[0] & 0x20 == 0 or name == b"tRNS":  # that one decides how pixels look
            raise Refused(f"damaged {name!r}")
        at += 12 + length


def _unfilter(raw: bytes, height: int, stride: int, step: int) -> np.ndarray:
    rows, before = np.zeros((height, stride), np.uint8), bytearray(stride)
    for y in range(height):
        kind, line = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1 : (y + 1) * (stride + 1)])
        if kind > 4 or len(line) < stride:
            raise Refused("damaged: a filter, or too few bytes")
        for x in range(stride if kind else 0):
            a, b, c = line[x - step] if x >= step else 0, before[x], before[x - step] if x >= step else 0
            paeth = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            line[x] = (line[x] + (0, a, b, (a + b) // 2, paeth)[kind]) & 255
        rows[y], before = np.frombuffer(line, np.uint8), line
    return rows


def _png(data: bytes) -> np.ndarray:
    chunks = list(_chunks(data))
    ancillary = dict(reversed(chunks))
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", ancillary[b"IHDR"])
    names = [name for name, _ in chunks]
    if b"acTL" in ancillary and (struct.unpack_from(">I", ancillary[b"acTL"])[0] > 1 or b"fdAT" in names):
        raise Refused("animated")
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    if not width * height:
        raise Refused("no pixels")
    raw = zlib.decompressobj().decompress(b"".join(body for name, body in chunks if name == b"IDAT"))
    samples = np.zeros((height, width, channels), np.uint16 if depth == 16 else np.uint8)
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    for left, top, across, down in passes if interlaced else [(0, 0, 1, 1)]:
        part = samples[top::down, left::across]
        if part.size == 0:
            continue
        stride = (part.shape[1] * channels * depth + 7) // 8
        rows = _unfilter(raw, len(part), stride, max(1, channels * depth // 8))
        raw = raw[len(part) * (stride + 1) :]
        if depth == 16:
            part[:] = rows.reshape(-1).view(">u2").reshape(part.shape)
        else:
            part[:] = unpack_bits(rows, depth, part.shape[1] * channels).reshape(part.shape)
    colours, alpha, clear = samples, np.full((height, width), 255, np.uint8), ancillary.get(b"tRNS")
    if kind == 3:
        palette = np.frombuffer(ancillary[b"PLTE"], np.uint8).reshape(-1, 3)
        colours = palette[samples[..., 0]]
        if clear:
            alpha = np.frombuffer(clear.ljust(256, b"\xff"), np.uint8)[samples[..., 0]]
    else:
        if kind in (4, 6):
            colours, alpha = samples[..., :-1], brought_to_8(samples[..., -1])
        elif clear:
            if depth not in (1, 8) and not (kind == 0 and depth == 16):
                raise Refused("a transparent colour of not 8 bits")  # SILENT
            colour = np.frombuffer(clear, ">u2") & (2**depth - 1)
            alpha = np.where((samples == colour).all(axis=2), 0, 255)
        colours = brought_to_8(colours) if depth == 16 else colours * (255 // (2**depth - 1))
        colours = grey(colours[..., 0]) if kind in (0, 4) else colours
    return turn(lay_on_white(colours, alpha), orientation_in(ancillary.get(b"eXIf", b"")))


# --- JPEG and WebP, by OpenCV


def _jpeg(data: bytes) -> np.ndarray:
    at, exif = 2, b""
    while data[at] == 0xFF and data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            exif = exif or data[at + 4 : at + 2 + length]
        at += 2 + length
    if b"\xff\xd9" not in data[at:]:
        raise Refused("truncated")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise Refused("damaged")
    return turn(pixels[..., ::-1], orientation_in(exif))


def _webp(data: bytes) -> np.ndarray:
    end, at, exif, flags = 8 + int.from_bytes(data[4:8], "little"), 12, b"", 0
    if len(data) < end:
        raise Refused("truncated")
    while at < end:
        name, length = struct.unpack_from("<4sI", data, at)
        if name == b"ANIM":
            raise Refused("animated")
        flags = data[at + 8] if name == b"VP8X" else flags
        if name == b"EXIF" and flags & 8:
            exif = data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise Refused("damaged")
    alpha = pixels[..., 3] if pixels.shape[2] == 4 else np.full(pixels.shape[:2], 255)
    return turn(lay_on_white(pixels[..., 2::-1], alpha), orientation_in(exif))


# --- BMP


def _bmp(data: bytes) -> np.ndarray:
    start, size = struct.unpack_from("<II", data, 10)
    core = size == 12
    width, height, _, depth = struct.unpack_from("<HHHH" if core else "<iiHH", data, 18)
    compression, _, _, _, used = (0,) * 5 if core else struct.unpack_from("<5I", data, 30)
    if compression not in (0, 3):
        raise NotImplementedError("run lengths are not read a second time")
    stride, down = (width * depth + 31) // 32 * 4, height < 0
    if len(data) < start + stride * abs(height):
        raise Refused("truncated")
    rows = np.frombuffer(data, np.uint8, stride * abs(height), start).reshape(-1, stride)
    rows = rows if down else rows[::-1]
    if depth <= 8:
        item, first = (3, 26) if core else (4, 14 + size)
        palette = np.frombuffer(data, np.uint8, item * (used or 2**depth), first).reshape(-1, item)
        return palette[:, 2::-1][unpack_bits(rows, depth, width)]
    if depth == 24:
        return rows[:, : 3 * width].reshape(-1, width, 3)[..., ::-1]
    masks = [0xFF0000, 0xFF00, 0xFF, 0] if depth == 32 else [0x7C00, 0x3E0, 0x1F, 0]
    if compression == 3:
        masks = list(struct.unpack_from("<4I", data, 54)) if size >= 56 else [*struct.unpack_from("<3I", data, 54), 0]
    numbers = rows[:, : depth // 8 * width].copy().view(f"<u{depth // 8}").astype(np.int64)
    planes = []
    for mask in masks:
        low = mask & -mask or 1
        top = mask // low or 1
        planes.append(((numbers & mask) // low) * 255 // top)
    alpha = planes[3] if planes[3].any() else np.full(numbers.shape, 255)
    return lay_on_white(np.stack(planes[:3], axis=-1), alpha)


# --- GIF


def _unpack_gif(data: bytes, least: int, count: int) -> list[int]:
    bits = int.from_bytes(data, "little")
    end, table, size, at, last = (1 << least) + 1, [], least + 1, 0, None
    out: list[int] = []
    while len(out) < count:
        if at + size > 8 * len(data):
            raise Refused("truncated")
        code, at = bits >> at & ((1 << size) - 1), at + size
        if code == end:
            break
        if code == end - 1:
            table, size, last = [(number,) for number in range(end - 1)] + [(), ()], least + 1, None
            continue
        entry = table[code] if code < len(table) else (*last, last[0])
        out += entry
        if last is not None and len(table) < 4096:
            table.append((*last, entry[0]))
            size = min(12, max(size, len(table).bit_length()))
        last = entry
    return out


def _gif(data: bytes) -> np.ndarray:
    across, down, flags = struct.unpack_from("<HHB", data, 6)
    at, general, clear, frames = 13, b"", -1, []
    if flags & 128:
        general, at = data[13 : 13 + 3 * (2 << (flags & 7))], 13 + 3 * (2 << (flags & 7))
    while data[at] != 0x3B:
        if data[at] == 0x21:
            if data[at + 1] == 0xF9 and data[at + 3] & 1:
                clear = data[at + 6]
            at += 2
        elif data[at] == 0x2C:
            left, top, width, height, flags = struct.unpack_from("<4HB", data, at + 1)
            palette, at = general, at + 10
            if flags & 128:
                palette, at = data[at : at + 3 * (2 << (flags & 7))], at + 3 * (2 << (flags & 7))
            frames.append((left, top, width, height, flags & 64, palette, data[at]))
            at += 1
        else:
            raise Refused("damaged")
        body = b""
        while data[at]:
            body, at = body + data[at + 1 : at + 1 + data[at]], at + 1 + data[at]
        at += 1
        if frames:
            frames[-1] = (*frames[-1][:7], body) if len(frames[-1]) == 7 else frames[-1]
    if len(frames) > 1:
        raise Refused("animated")
    left, top, width, height, woven, palette, least, body = frames[0]
    numbers = _unpack_gif(body, least, width * height)
    if len(numbers) < width * height:
        raise Refused("truncated")
    flat = np.array(numbers[: width * height], np.uint8).reshape(height, width)
    order = [y for start, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for y in range(start, height, step)]
    rows = np.empty_like(flat)
    rows[order if woven else slice(None)] = flat
    colours, alpha = np.zeros((down, across, 3), np.uint8), np.zeros((down, across), np.uint8)
    colours[top : top + height, left : left + width] = np.frombuffer(palette, np.uint8).reshape(-1, 3)[rows]
    alpha[top : top + height, left : left + width] = np.where(rows == clear, 0, 255)
    return lay_on_white(colours, alpha)  # SILENT: where the frame does not reach, nothing is drawn: white


# --- PPM


def _ppm(data: bytes) -> np.ndarray:
    kind = int(data[1:2])
    blank = rb"(?:\s|#[^\n]*\n)+"
    head = re.match(rb"P\d" + (blank + rb"(\d+)") * (2 if kind in (1, 4) else 3) + rb"\s", data)
    if head is None:
        raise Refused("no header")
    width, height, *rest = (int(text) for text in head.groups())
    most, colour, body = rest[0] if rest else 1, kind in (3, 6), data[head.end() :]
    if not 0 < most < 65536:
        raise Refused("levels")
    shape = (height, width, 3 if colour else 1)
    count = height * width * shape[2]
    if kind == 4:
        values = unpack_bits(np.frombuffer(body, np.uint8, (width + 7) // 8 * height).reshape(height, -1), 1, width)
    elif kind in (1, 2, 3):
        text = re.sub(rb"#[^\n]*", b"", body)
        values = np.array([int(word) for word in (re.findall(rb"[01]", text) if kind == 1 else text.split())][:count])
    else:
        values = np.frombuffer(body, ">u2" if most > 255 else np.uint8, count)
    if values.size < count or values.max() > most:
        raise Refused("truncated, or above the highest level")
    values = values.reshape(shape).astype(np.int64)
    values = 1 - values if kind in (1, 4) else values
    if most > 255 and not colour:  # SILENT on levels that are neither 255 nor 65535: spread over the whole range
        values = brought_to_8(np.rint(values * 65535 / most).astype(np.uint16))
    else:
        values = np.rint(values * 255 / most).astype(np.uint8)
    return values if colour else grey(values[..., 0])


# --- TIFF, by tifffile


class MayRefuse(Refused):
    """SILENT: the page does not say that these are refused; `pixels` is what they are where they are not."""

    def __init__(self, reason: str, pixels: np.ndarray) -> None:
        super().__init__(reason)
        self.pixels = pixels


def _small_numbers(page: tifffile.TiffPage, data: bytes) -> np.ndarray:
    """Numbers of 1, 2 or 4 bits: tifffile unpacks them only with another library."""
    unpack = {
        1: bytes,
        8: zlib.decompress,
        32946: zlib.decompress,
        32773: tifffile.tifffile.imagecodecs.packbits_decode,
    }
    strips = [data[at : at + size] for at, size in zip(page.dataoffsets, page.databytecounts, strict=True)]
    rows = np.frombuffer(b"".join(bytes(unpack[int(page.compression)](strip)) for strip in strips), np.uint8)
    return unpack_bits(rows.reshape(page.imagelength, -1), page.bitspersample, page.imagewidth)


def _tiff(data: bytes) -> np.ndarray:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        pages = [page for page in file.pages if not page.subfiletype & 5]
        if len(pages) != 1:  # SILENT on a smaller copy alone
            raise Refused("multi-page, or copies alone")
        page, count = pages[0], len(file.pages)
        if page.imagedepth != 1 or any(
            sub.imagelength * sub.imagewidth > page.imagelength * page.imagewidth for sub in page.pages or ()
        ):
            raise Refused("a volume, or a larger image in a SubIFD")
        if page.photometric in (0, 1) and page.samplesperpixel > 2:
            raise Refused("a stack")
        if len(file.pages) == 1 and any(series.size > math.prod(page.shape) for series in file.series):
            raise Refused("the first of a stack")
        if 0 in page.dataoffsets:
            raise Refused("strips or tiles are missing")
        bits, channels, kind = page.bitspersample, page.samplesperpixel, int(page.photometric)
        values = _small_numbers(page, data) if bits < 8 else page.asarray().reshape(page.shape)
        orientation = int(page.tags[274].value) if 274 in page.tags else 1
        planar, extra = page.planarconfig == 2 and channels > 1, tuple(int(item) for item in page.extrasamples)
        palette = page.colormap if kind == 3 else None
    values = values.transpose(1, 2, 0) if planar else values
    values = values if values.ndim == 3 else values[..., None]
    dtype, colours = values.dtype, channels - len(extra)
    if dtype == np.int8:
        raise Refused("misread by Pillow")
    rare = bits > 16 or dtype.kind in "if" or data[3:4] == b"+" or count > 1 or (planar and bits > 8)
    if kind == 3:
        shades = palette if palette.max() < 256 else palette // 256
        pixels = turn(shades[:, values[..., 0].astype(int)].astype(np.uint8).transpose(1, 2, 0), orientation)
        if rare:
            raise MayRefuse("a rare kind", pixels)
        return pixels
    if kind not in (0, 1, 2) or colours != (3 if kind == 2 else 1):
        raise NotImplementedError
    if dtype.kind == "f":
        if not ((values >= 0) & (values <= 1)).all():
            raise Refused("outside 0 to 1")
        values = np.rint(values.astype(np.float64) * 255).astype(np.uint8)
    elif bits < 8:
        values = values * np.uint8(255 // (2**bits - 1))
    elif bits > 8:
        if values.min() < 0 or values.max() > 65535:
            raise Refused("outside 0 to 65535")
        values = values.astype(np.uint16)
    levels = brought_to_8(values)
    pixels = 255 - levels[..., :colours] if kind == 0 else levels[..., :colours]
    pixels = pixels if colours == 3 else grey(pixels[..., 0])
    if extra == (2,):
        pixels = lay_on_white(pixels, levels[..., -1])
    elif extra == (1,):  # SILENT: colours that are multiplied by alpha already
        pixels = np.minimum(255, pixels.astype(int) + 255 - levels[..., -1:]).astype(np.uint8)
    pixels = turn(pixels, orientation)
    if rare or (extra and (bits > 8 or kind == 0 or planar or extra == (1,))) or (kind == 0 and bits > 8):
        raise MayRefuse("a rare kind", pixels)
    return pixels


_READERS = {
    rb"\x89PNG\r\n\x1a\n": _png,
    rb"\xff\xd8\xff": _jpeg,
    rb"RIFF....WEBP": _webp,
    rb"II\*\0|MM\0\*|II\+\0|MM\0\+": _tiff,
    rb"BM": _bmp,
    rb"GIF8[79]a": _gif,
    rb"P[1-6]": _ppm,
}
