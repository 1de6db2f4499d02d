"""Files of images, drawn at random for hypothesis: many that Pillow reads and would never write."""

import io
import struct
import zlib

import cv2
import numpy as np
import tifffile
from hypothesis import strategies as st
from PIL import Image

Draw = st.DrawFn
SIDES = st.integers(1, 9)


def chunk(name: bytes, body: bytes, damage: int = 0) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body) ^ damage)


def exif_block(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    head = b"II*\0" if order == "<" else b"MM\0*"
    value = struct.pack(order + ("H2x" if kind == 3 else "I"), orientation)
    return head + struct.pack(order + "IHHHI", 8, 1, 274, kind, 1) + value + bytes(4)


@st.composite
def exif_blocks(draw: Draw) -> bytes:
    """None, one of each orientation, in either byte order, or damaged."""
    block = exif_block(draw(st.integers(0, 9)), draw(st.sampled_from("<>")))
    return draw(st.sampled_from([b"", block, block, block[:13], b"nonsense", block[:4] + b"\xff\xff\xff\x7f"]))


@st.composite
def numbers(draw: Draw, shape: tuple[int, ...], top: int) -> np.ndarray:
    """Whole numbers from 0 to `top`: one everywhere, few, or any."""
    few = draw(st.sampled_from([1, 2, top + 1]))
    values = np.random.default_rng(draw(st.integers(0, 99))).integers(0, min(few, top + 1), shape)
    return np.minimum(values * (top if few == 2 else 1) + (draw(st.integers(0, top)) if few == 1 else 0), top)


def pack_bits(values: np.ndarray, depth: int) -> np.ndarray:
    """Rows (H, W) of numbers as rows of bytes, high bits first."""
    bits = values[..., None] >> np.arange(depth)[::-1] & 1
    return np.packbits(bits.reshape(len(values), -1).astype(np.uint8), axis=1)


# --- PNG


def filter_rows(rows: np.ndarray, kinds: list[int], step: int) -> bytes:
    """The filters of PNG, one a row."""
    out, above = b"", np.zeros(rows.shape[1], int)
    for number, row in enumerate(rows.astype(int)):
        left, corner = (np.concatenate([np.zeros(step, int), line])[: len(row)] for line in (row, above))
        guess = left + above - corner
        gaps = np.abs(np.stack([guess - left, guess - above, guess - corner]))
        paeth = np.choose(gaps.argmin(axis=0), [left, above, corner])
        kind = kinds[number % len(kinds)]
        out += bytes([kind]) + ((row - (0, left, above, (left + above) // 2, paeth)[kind]) & 255).astype("u1").tobytes()
        above = row
    return out


PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
KINDS = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 2), (3, 4), (3, 8), (4, 8), (4, 16)]
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
FRAME = struct.pack(">5I2H2B", 0, 1, 1, 0, 0, 1, 1, 0, 0)
ANCILLARY = {
    b"tEXt": b"Comment\0none",
    b"zTXt": b"Comment\0\0" + zlib.compress(b"none"),
    b"iTXt": b"XML:com.adobe.xmp\0\0\0\0\0" + XMP,
    b"gAMA": struct.pack(">I", 100_000),
    b"sRGB": b"\0",
    b"cHRM": struct.pack(">8I", *[30_000] * 8),
    b"pHYs": struct.pack(">IIB", 1, 2, 1),
    b"sBIT": b"\1\1\1",
    b"tIME": b"\0" * 7,
    b"prVt": b"anything",
    b"acTL": struct.pack(">II", 1, 0),
    b"fcTL": FRAME,
}


@st.composite
def pngs(draw: Draw) -> bytes:
    (kind, depth), height, width = draw(st.sampled_from([*KINDS, (6, 8), (6, 16)])), draw(SIDES), draw(SIDES)
    channels, top = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind], 2**depth - 1
    palette = draw(numbers((2**depth if kind == 3 else 1, 3), 255)).astype(np.uint8)
    values, woven = draw(numbers((height, width, channels), top)), draw(st.booleans())
    if kind in (4, 6) and draw(st.booleans()):
        values[..., -1] = draw(st.sampled_from([0, top]))
    body = b""
    for left, above, across, down in PASSES if woven else [(0, 0, 1, 1)]:
        part = values[above::down, left::across]
        if part.size:
            flat = part.reshape(len(part), -1)
            rows = flat.astype(">u2").view("u1") if depth == 16 else pack_bits(flat, depth)
            kinds = draw(st.lists(st.integers(0, 4), min_size=1, max_size=3))
            body += filter_rows(rows.reshape(len(part), -1), kinds, max(1, channels * depth // 8))
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, woven))]
    names = draw(st.lists(st.sampled_from(list(ANCILLARY)), max_size=2, unique=True))
    damage = draw(st.sampled_from([0, 0, 1]))
    before = [chunk(name, ANCILLARY[name], damage) for name in names]
    parts += [chunk(b"PLTE", palette.tobytes())] if kind == 3 else []
    if draw(st.integers(0, 3)) == 0 and kind in (0, 2, 3):
        clear = values[0, 0].astype(">u2").tobytes()
        parts.append(chunk(b"tRNS", draw(st.binary(min_size=1, max_size=len(palette))) if kind == 3 else clear))
    block = draw(exif_blocks())
    parts += [chunk(b"eXIf", block)] if block else []
    packed = zlib.compress(body)
    cut = draw(st.integers(0, len(packed)))
    parts += [chunk(b"IDAT", packed[:cut]), chunk(b"IDAT", packed[cut:])]
    parts[1:1] = before
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"") + draw(st.sampled_from([b"", b"more"]))


# --- BMP, GIF, PPM


@st.composite
def bmps(draw: Draw) -> bytes:
    depth, height, width = draw(st.sampled_from([1, 4, 8, 16, 24, 32])), draw(SIDES), draw(SIDES)
    size = draw(st.sampled_from([12, 40, 40, 56, 108, 124] if depth in (24, 8, 4, 1) else [40, 56, 108, 124]))
    fields, down = depth in (16, 32) and draw(st.booleans()), size > 12 and draw(st.booleans())
    stored = draw(numbers((height, width, 4 if depth == 32 else 3 if depth == 24 else 1), min(2**depth - 1, 65535)))
    if depth == 32:
        stored = stored & 255
        stored[..., 3] *= draw(st.integers(0, 1))
    if depth <= 8:
        rows = pack_bits(stored[..., 0], depth)
    else:
        rows = (stored.astype("<u2") if depth == 16 else stored.astype("u1")).reshape(height, -1).view("u1")
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    masks = [0xFF0000, 0xFF00, 0xFF, 0xFF000000] if depth == 32 else [0x7C00, 0x3E0, 0x1F, 0]
    masks = draw(st.sampled_from([masks, [0xF800, 0x7E0, 0x1F, 0]])) if depth == 16 else masks
    if depth == 32 and draw(st.booleans()):
        masks[3] = 0
    item, used = 3 if size == 12 else 4, 2**depth if depth <= 8 else 0
    palette = draw(numbers((used, item), 255)).astype("u1").tobytes()
    if size == 12:
        head = struct.pack("<IHHHH", 12, width, height, 1, depth)
    else:
        head = struct.pack(
            "<IiiHHIIiiII", size, width, -height if down else height, 1, depth, 3 * fields, 0, 1, 1, 0, 0
        )
        tail = struct.pack("<4I", *masks)[: 16 if size > 40 else 12] if fields else b""
        head = head + tail if size == 40 else (head + tail).ljust(size, b"\0")
    start = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + rows.size, 0, 0, start) + head + palette + rows.tobytes()


def pack_gif(values: np.ndarray, least: int) -> bytes:
    """LZW of GIF that never learns: a clear code before the codes would grow."""
    clear, bits, count = 1 << least, "", 0
    for value in values.ravel().tolist():
        if count % (clear - 2 if clear > 2 else 1) == 0:
            bits = format(clear, f"0{least + 1}b") + bits
        bits, count = format(value, f"0{least + 1}b") + bits, count + 1
    bits = format(clear + 1, f"0{least + 1}b") + bits
    return int(bits, 2).to_bytes((len(bits) + 7) // 8, "little")


@st.composite
def gifs(draw: Draw) -> bytes:
    least, height, width = draw(st.integers(2, 8)), draw(SIDES), draw(SIDES)
    frames, woven, own = draw(st.sampled_from([1, 1, 1, 2])), draw(st.booleans()), draw(st.booleans())
    left, top, palette = (
        *draw(st.sampled_from([(0, 0), (1, 2)])),
        draw(numbers((1 << least, 3), 255)),
    )
    flags, colours = 0x80 | least - 1, palette.astype("u1").tobytes()
    data = b"GIF89a" + struct.pack(
        "<HHBBB", width + left, height + top, 0 if own else flags, draw(st.integers(0, 3)), 0
    )
    data += b"" if own else colours
    for _ in range(frames):
        values = draw(numbers((height, width), (1 << least) - 1))
        if draw(st.booleans()):
            clear = draw(st.integers(0, (1 << least) - 1))
            data += b"\x21\xf9\4" + bytes([1 | draw(st.integers(0, 3)) << 2, 1, 0, clear]) + b"\0"
        data += b"," + struct.pack("<4HB", left, top, width, height, (flags if own else 0) | 64 * woven)
        body = pack_gif(values, least)
        data += (colours if own else b"") + bytes([least])
        data += b"".join(bytes([len(body[at : at + 255])]) + body[at : at + 255] for at in range(0, len(body), 255))
        data += b"\0"
    return data + b";"


@st.composite
def ppms(draw: Draw) -> bytes:
    kind, height, width = draw(st.integers(1, 6)), draw(SIDES), draw(SIDES)
    most = 1 if kind in (1, 4) else draw(st.sampled_from([255, 255, 1, 100, 65535, 65535, 1023, 4095]))
    values = draw(numbers((height, width, 3 if kind in (3, 6) else 1), most))
    words = [b"P%d" % kind, b"%d" % width, b"%d" % height] + ([] if kind in (1, 4) else [b"%d" % most])
    head = draw(st.sampled_from([b"\n", b" ", b"\n# a comment\n"])).join(words) + b"\n"
    if kind in (1, 2, 3):
        return head + b"\n".join(b" ".join(b"%d" % value for value in row.ravel()) for row in values) + b"\n"
    if kind == 4:
        return head + pack_bits(values[..., 0], 1).tobytes()
    return head + values.astype(">u2" if most > 255 else "u1").tobytes()


# --- JPEG and WebP


@st.composite
def jpegs(draw: Draw) -> bytes:
    shape = (draw(st.integers(1, 40)), draw(st.integers(1, 40)))
    mode = draw(st.sampled_from(["L", "RGB", "RGB", "CMYK"]))
    values = draw(numbers((*shape, {"L": 1, "RGB": 3, "CMYK": 4}[mode]), 255)).astype(np.uint8)
    quality, progressive = draw(st.sampled_from([30, 75, 95, 100])), draw(st.booleans())
    if mode == "CMYK":
        buffer = io.BytesIO()
        Image.frombytes(mode, shape[::-1], values.tobytes()).save(buffer, "JPEG", quality=quality, subsampling=0)
        data = buffer.getvalue()
    else:
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, draw(st.sampled_from([0x111111, 0x221111, 0x211111]))]
        data = cv2.imencode(".jpg", values.squeeze(2) if mode == "L" else values, options)[1].tobytes()
    block = draw(exif_blocks())
    extra = b"\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block if block else b""
    return data[:2] + extra + data[2:] + draw(st.sampled_from([b"", b"more"]))


@st.composite
def webps(draw: Draw) -> bytes:
    height, width, alpha = draw(SIDES), draw(SIDES), draw(st.booleans())
    values = draw(numbers((height, width, 3 + alpha), 255)).astype(np.uint8)
    options = [cv2.IMWRITE_WEBP_QUALITY, draw(st.sampled_from([101, 80]))]
    data = cv2.imencode(".webp", values, options)[1].tobytes()
    block = draw(exif_blocks())
    if not block:
        return data
    parts = data[12:] if data[12:16] != b"VP8X" else data[30:]
    flags = 8 | 16 * (b"ALPH" in data[12:40] or alpha)
    head = b"VP8X" + struct.pack("<IIHBHB", 10, flags, width - 1, 0, height - 1, 0)
    body = b"WEBP" + head + parts + b"EXIF" + struct.pack("<I", len(block)) + block + b"\0" * (len(block) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


# --- TIFF


def pack_literally(data: bytes) -> bytes:
    """PackBits that finds no runs."""
    return b"".join(bytes([len(data[at : at + 128]) - 1]) + data[at : at + 128] for at in range(0, len(data), 128))


PACKERS = {1: bytes, 8: zlib.compress, 32946: zlib.compress, 32773: pack_literally}


def tiff(pages: list[dict[int, tuple[int, ...]]], strips: list[list[bytes]], order: str) -> bytes:
    """A TIFF of these tags and strips; those of 32-bit numbers are 256, 257, 273, 278 and 279."""
    data = (b"II*\0" if order == "<" else b"MM\0*") + bytes(4)
    link = 4
    for tags, parts in zip(pages, strips, strict=True):
        offsets = []
        for part in parts:
            offsets.append(len(data))
            data += part + bytes(len(part) % 2)
        whole = tags | {273: tuple(offsets), 279: tuple(map(len, parts))}
        entries = b""
        for tag, values in sorted(whole.items()):
            kind = "I" if tag in (254, 256, 257, 273, 278, 279) else "H"
            body = struct.pack(f"{order}{len(values)}{kind}", *values)
            if len(body) > 4:
                at, data = len(data), data + body + bytes(len(body) % 2)
                body = struct.pack(order + "I", at)
            entries += struct.pack(order + "HHI", tag, 4 if kind == "I" else 3, len(values)) + body.ljust(4, b"\0")
        data = data[:link] + struct.pack(order + "I", len(data)) + data[link + 4 :]
        data += struct.pack(order + "H", len(whole)) + entries
        link, data = len(data), data + bytes(4)
    return data


SAMPLES = ["u1", "u1", "u2", "u2", "f4", "f8", "i4", "u4", "i2", "i1", "u8", "f2", 1, 2, 4]
EXTRA = {1: (), 3: (), 2: (2, 2, 1, 0), 4: (2, 2, 1, 0)}


@st.composite
def pages(draw: Draw, order: str) -> tuple[dict[int, tuple[int, ...]], list[bytes]]:
    kind, height, width = draw(st.sampled_from(SAMPLES)), draw(SIDES), draw(SIDES)
    channels = draw(st.sampled_from([1, 1, 3, 4, 2])) if kind in ("u1", "u2", "f4") else 1
    bits = kind if isinstance(kind, int) else 8 * np.dtype(kind).itemsize
    top = {"i4": 65535, "u4": 65535, "i2": 32767, "i1": 127}.get(str(kind), 2**bits - 1 if bits <= 16 else 1000)
    values = draw(numbers((height, width, channels), 1000 if str(kind)[0] == "f" else top))
    if str(kind)[0] == "f":
        values = values / 1000 * draw(st.sampled_from([1, 1, 1, 2, -1]))
    elif kind in ("i4", "u4") and draw(st.integers(0, 4)) == 0:
        values = values * 2
    light = (
        2 if channels > 2 else draw(st.sampled_from([0, 1, 1] + [3] * (channels == 1 and bits <= 8 and kind != "i1")))
    )
    planar = channels > 1 and draw(st.integers(0, 3)) == 0
    squeeze, per = draw(st.sampled_from(list(PACKERS))), draw(st.sampled_from([height, 2, 1]))
    predict = squeeze in (8, 32946) and str(kind)[0] in "ui" and bits in (8, 16) and draw(st.booleans())
    strips = []
    for plane in values.transpose(2, 0, 1)[..., None] if planar else values[None]:
        stored = np.diff(plane, axis=1, prepend=0) % 2**bits if predict else plane
        for at in range(0, height, per):
            rows = stored[at : at + per]
            if isinstance(kind, int):
                body = pack_bits(rows[..., 0], bits).tobytes()
            else:
                body = (
                    (rows % 2**bits if predict else rows)
                    .astype(order + kind.replace("i" if predict else " ", "u"))
                    .tobytes()
                )
            strips.append(PACKERS[squeeze](body))
    tags = {256: (width,), 257: (height,), 258: (bits,) * channels, 259: (squeeze,), 262: (light,), 277: (channels,)}
    tags |= {278: (per,), 284: (1 + planar,)} | ({317: (2,)} if predict else {})
    if str(kind)[0] in "if":
        tags[339] = (2 if kind[0] == "i" else 3,) * channels
    if EXTRA[channels]:
        tags[338] = (draw(st.sampled_from(EXTRA[channels])),)
    if light == 3:
        tags[320] = tuple(draw(numbers((3 * 2**bits,), 65535)).tolist())
    if draw(st.booleans()):
        tags[274] = (draw(st.integers(1, 8)),)
    return tags, strips


@st.composite
def tiffs(draw: Draw) -> bytes:
    order, kinds = (
        draw(st.sampled_from("<>")),
        draw(st.sampled_from([[0]] * 6 + [[0, 1], [1, 0], [0, 4], [0, 0], [0, 1, 4], [2]])),
    )
    drawn = [draw(pages(order)) for _ in kinds]
    return tiff(
        [tags | ({254: (kind,)} if kind else {}) for (tags, _), kind in zip(drawn, kinds, strict=True)],
        [parts for _, parts in drawn],
        order,
    )


@st.composite
def tifffile_tiffs(draw: Draw) -> bytes:
    """Tiles, BigTIFF, and what else tifffile writes."""
    buffer, shape = io.BytesIO(), (draw(SIDES), draw(SIDES), draw(st.sampled_from([1, 3, 4])))
    values = draw(numbers(shape, 65535)).astype(draw(st.sampled_from(["u1", "u2"])))
    extra = {"extrasamples": ["unassalpha"]} if shape[2] == 4 else {}
    tifffile.imwrite(
        buffer, values if shape[2] > 1 else values[..., 0], byteorder=draw(st.sampled_from("<>")),
        bigtiff=draw(st.booleans()), tile=draw(st.sampled_from([None, (16, 16)])), metadata=None,
        photometric="rgb" if shape[2] > 1 else "minisblack", compression=draw(st.sampled_from([None, "zlib"])), **extra,
    )  # fmt: skip
    return buffer.getvalue()


# --- what is none, and what is cut off

FORMATS = {
    "png": pngs,
    "bmp": bmps,
    "gif": gifs,
    "ppm": ppms,
    "jpeg": jpegs,
    "webp": webps,
    "tiff": tiffs,
    "tifffile": tifffile_tiffs,
}
OTHERS = [
    b"",
    b"hello",
    b"\0" * 50,
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    b"BM",
    b"GIF89a",
]


@st.composite
def cut_files(draw: Draw) -> tuple[bytes, int]:
    """A file, and how many of its bytes are there."""
    data = draw(st.one_of([make() for make in FORMATS.values()]))
    return data, draw(st.integers(0, len(data) - 1))
