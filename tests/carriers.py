"""Ways to carry the originals out beside the protected copies: what tools, or an attacker, write into columns.

Each takes original images, uint8 (H, W, 3), and gives the values of columns, a value a row.
"""

import base64
import binascii
import gzip
import io
import json
import quopri
import textwrap
import urllib.parse
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

Columns = dict[str, list[Any]]
Images = Sequence[np.ndarray]


def encode(pixels: np.ndarray, form: str = "PNG") -> bytes:
    """An image as a file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Grey, 8 x 8: 64 bytes."""
    return np.asarray(Image.fromarray(pixels).convert("L").resize((8, 8)))


def of_file(write: Callable[[bytes], Any], form: str = "PNG") -> Callable[[Images], Columns]:
    """A column whose values are made of the images' files."""
    return lambda images: {"note": [write(encode(pixels, form)) for pixels in images]}


def of_pixels(write: Callable[[bytes], Any]) -> Callable[[Images], Columns]:
    """A column whose values are made of the bare pixels."""
    return lambda images: {"note": [write(pixels.tobytes()) for pixels in images]}


def write_svg(pixels: np.ndarray) -> str:
    rects = "".join(
        f'<rect x="{x}" y="{y}" width="1" height="1" fill="#{bytes(pixel).hex()}"/>'
        for y, row in enumerate(pixels)
        for x, pixel in enumerate(row)
    )
    return f'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg">{rects}</svg>'


def write_mime(data: bytes) -> str:
    body = base64.encodebytes(data).decode()
    return f"A note.\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n{body}"


def write_uu(data: bytes) -> str:
    lines = [binascii.b2a_uu(data[start : start + 45]).decode() for start in range(0, len(data), 45)]
    return "begin 644 a\n" + "".join(lines) + "`\nend"


def write_wide(data: bytes) -> str:
    """15 bits a character, of letters of all scripts."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    bits = np.pad(bits, (0, -len(bits) % 15)).reshape(-1, 15)
    return "".join(chr(0x3400 + int(number)) for number in bits @ (1 << np.arange(15)))


def as_integers(data: bytes, width: int = 8) -> list[int]:
    data += bytes(-len(data) % width)
    return np.frombuffer(data, f"<i{width}").tolist()


def as_floats(data: bytes) -> list[float]:
    """Six bytes in each: all of them are ordinary numbers."""
    data += bytes(-len(data) % 6)
    return [1 + int.from_bytes(data[start : start + 6], "big") / 2**48 for start in range(0, len(data), 6)]


def spread(write: Callable[[bytes], list[Any]]) -> Callable[[Images], Columns]:
    """Single values over as many columns as it takes, whose names do not count them."""

    def carry(images: Images) -> Columns:
        rows = [write(pixels.tobytes()) for pixels in images]
        names = [f"{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(len(rows[0]))]
        return {f"q_{name}": list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}

    return carry


def as_nans(data: bytes) -> list[float]:
    """Six bytes in each, where numbers that are none have room."""
    data += bytes(-len(data) % 6)
    words = [b"\x7f\xf8" + data[start : start + 6] for start in range(0, len(data), 6)]
    return np.frombuffer(b"".join(words), ">f8").astype(float).tolist()


FILES: dict[str, Callable[[Images], Columns]] = {
    "html": of_file(lambda data: f'<p>Seen <img alt="" src="data:image/png;base64,{b64(data)}"></p>'),
    "markdown": of_file(lambda data: f"Seen here: ![x](data:image/png;base64,{b64(data)}) and there"),
    "data uri of any type": of_file(lambda data: f"a data:application/octet-stream;base64,{b64(data)}"),
    "data uri of no type": of_file(lambda data: f"url(data:;base64,{b64(data)})"),
    "data uri with percent": of_file(lambda data: f"see data:image/png,{urllib.parse.quote(data)}"),
    "svg with an image": of_file(lambda data: f'<svg><image href="data:image/png;base64,{b64(data)}"/></svg>'),
    "svg of rectangles": lambda images: {"note": [f"Drawn: {write_svg(pixels)}" for pixels in images]},
    "svg with a namespace": lambda images: {
        "note": [write_svg(pixels).replace("<svg", "<s:svg").replace("<rect", "<s:rect") for pixels in images]
    },
    "svg with percent": lambda images: {"note": [urllib.parse.quote(write_svg(pixels)) for pixels in images]},
    "svg in json": lambda images: {"note": [json.dumps({"a": write_svg(pixels)}) for pixels in images]},
    "svg in base64": lambda images: {"note": [b64(write_svg(pixels).encode()) for pixels in images]},
    "mime": of_file(write_mime, "JPEG"),
    "quoted printable": of_file(lambda data: quopri.encodestring(data).decode("latin-1")),
    "quotes": of_file(lambda data: f'"{b64(data)}"'),
    "prefix": of_file(lambda data: f"thumb={b64(data)}"),
    "prefix and suffix": of_file(lambda data: f"x{b64(data)} seen by me", "JPEG"),
    "words before": of_file(lambda data: f"the image as base64, as it was on that day in May: {b64(data)}", "BMP"),
    "lines": of_file(lambda data: "\n".join(textwrap.wrap(b64(data), 32))),
    "lines of mail": of_file(lambda data: "\r\n> ".join(textwrap.wrap(b64(data), 76)), "JPEG"),
    "lines in code": of_file(lambda data: " +\n  ".join(f'"{line}"' for line in textwrap.wrap(b64(data), 20))),
    "lines as a list": of_file(lambda data: textwrap.wrap(b64(data), 16)),
    "lines as json": of_file(lambda data: json.dumps({"a": textwrap.wrap(b64(data), 16)})),
    "spaces": of_file(lambda data: " ".join(b64(data)), "WEBP"),
    "urlsafe": of_file(lambda data: "id-" + base64.urlsafe_b64encode(data).decode(), "JPEG"),
    "slashes escaped": of_file(lambda data: "'" + b64(data).replace("/", "\\/") + "'", "JPEG"),
    "base64 one byte late": of_file(lambda data: b64(b"x" + data)),
    "base64 two bytes late": of_file(lambda data: b64(b"xy" + data), "JPEG"),
    "base64 far in": of_file(lambda data: b64(bytes(range(256)) + data), "TIFF"),
    "base64 of base64": of_file(lambda data: b64(b64(data).encode())),
    "base64 as a key": of_file(lambda data: json.dumps({b64(data): 1})),
    "base64 in a group": of_file(lambda data: {"a": {"b": [f"k:{b64(data)}"]}}, "GIF"),
    "zlib in base64": of_file(lambda data: f"z={b64(zlib.compress(data))}", "BMP"),
    "gzip in base64": of_file(lambda data: f"z={b64(gzip.compress(data))}", "BMP"),
    "pixels with zlib": of_pixels(lambda data: f"z={b64(zlib.compress(data))}"),
    "hex": of_file(lambda data: f"thumb {data.hex()}"),
    "hex of jpeg": of_file(lambda data: f"a{data.hex().upper()}", "JPEG"),
    "hex with spaces": of_file(lambda data: f"is {data.hex(' ')}"),
    "hex with colons": of_file(lambda data: data.hex(":"), "JPEG"),
    "hex of C": of_file(lambda data: "{" + ", ".join(f"0x{byte:02X}" for byte in data) + "};", "GIF"),
    "hex of shells": of_file(lambda data: "$'" + "".join(f"\\x{byte:02x}" for byte in data) + "'", "WEBP"),
    "hex of json": of_file(lambda data: "".join(f"\\u{byte:04x}" for byte in data)),
    "octal": of_file(lambda data: "".join(f"\\{byte:03o}" for byte in data)),
    "bits": of_file(lambda data: "".join(f"{byte:08b}" for byte in data)),
    "repr": of_file(lambda data: f"seen {data!r}"),
    "repr of jpeg": of_file(lambda data: str({"thumb": data}), "JPEG"),
    "percent": of_file(urllib.parse.quote),
    "entities": of_file(lambda data: "".join(f"&#{byte};" for byte in data)),
    "latin-1": of_file(lambda data: f"seen {data.decode('latin-1')}"),
    "code page 437": of_file(lambda data: data.decode("cp437"), "JPEG"),
    "utf-16": of_file(lambda data: (data + b" " * (len(data) % 2)).decode("utf-16-le", "ignore")),
    "uuencode": of_file(write_uu),
    "base32": of_file(lambda data: f"is {base64.b32encode(data).decode()}"),
    "base85": of_file(lambda data: base64.b85encode(data).decode()),
    "ascii85": of_file(lambda data: base64.a85encode(data, adobe=True, wrapcol=60).decode()),
    "numpy": lambda images: {"note": [f"a{b64(b'%cNUMPY' % 147 + bytes(pixels))}" for pixels in images]},
    "bytes as numbers": of_file(lambda data: list(data)[:200]),
    "integers of a file": of_file(lambda data: as_integers(data)[:30]),
    "svg in two columns": lambda images: {
        "a": [write_svg(pixels)[:3000] for pixels in images],
        "b": [write_svg(pixels)[3000:] for pixels in images],
    },
}
"""What is an image to anyone who looks: it never passes, whatever the owner keeps."""

PIXELS: dict[str, Callable[[Images], Columns]] = {
    "pixels in base64": of_pixels(lambda data: f"k={b64(data)}"),
    "pixels in short lines": of_pixels(lambda data: "\n".join(textwrap.wrap(b64(data), 40))),
    "pixels with spaces": of_pixels(lambda data: " ".join(b64(data))),
    "pixels as repr": of_pixels(lambda data: f"seen {data!r}"),
    "pixels in hex": of_pixels(lambda data: f"k={data.hex()}"),
    "pixels in hex with colons": of_pixels(lambda data: data.hex(":")),
    "pixels in base85": of_pixels(lambda data: base64.b85encode(data).decode()),
    "pixels in base32": of_pixels(lambda data: base64.b32encode(data).decode()),
    "pixels with percent": of_pixels(urllib.parse.quote),
    "pixels as latin-1": of_pixels(lambda data: data.decode("latin-1")),
    "pixels in wide letters": of_pixels(write_wide),
    "pixels as words": of_pixels(
        lambda data: " ".join(f"{'aeiou'[b % 5]}{'bdgkl'[b // 5 % 5]}{b // 25}" for b in data)
    ),
    "pixels as one number": of_pixels(lambda data: str(int.from_bytes(data[:700], "big"))),
    "pixels over keys": of_pixels(lambda data: json.dumps({data[n : n + 8].hex(): n for n in range(0, len(data), 8)})),
    "a short list of integers": of_pixels(lambda data: as_integers(data)[:60]),
    "a list of floats": of_pixels(lambda data: as_floats(data)[:60]),
    "a nested list": of_pixels(lambda data: [[number] for number in as_integers(data)[:60]]),
    "columns of integers": spread(as_integers),
    "columns of small integers": spread(lambda data: as_integers(data, 2)[:200]),
    "columns of floats": spread(as_floats),
    "columns of nan": spread(as_nans),
    "columns of text": spread(lambda data: [b64(data[start : start + 12]) for start in range(0, len(data), 12)]),
    "columns of words": spread(
        lambda data: [write_wide(data[start : start + 30]) for start in range(0, len(data), 30)]
    ),
    "thumbnails in hex": lambda images: {"note": [thumbnail(pixels).tobytes().hex() for pixels in images]},
    "thumbnails in base64": lambda images: {"note": [f"t:{b64(thumbnail(pixels).tobytes())}" for pixels in images]},
    "thumbnails in spaced hex": lambda images: {"note": [thumbnail(pixels).tobytes().hex(" ") for pixels in images]},
}
"""What only its size gives away: it passes where the owner keeps the column by name."""
