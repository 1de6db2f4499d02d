"""The first bytes of files that hold images or arrays, each with enough behind it to be no accident.

Sources: the specifications of the formats, as the tables of `file` and of Pillow quote them: PNG 3 (5.2), ITU-T T.81
annex B with JFIF 1.02 and Exif 2.32, GIF89a (18), RFC 9649 (WebP), TIFF 6.0 (2), ISO 14496-12 (4.3), ISO 15444-1
(annex I), RFC 1950 and 1952, APPNOTE 6.3 (ZIP, 4.3.7).
"""

import re
import zlib
from dataclasses import dataclass

IMAGE = "an encoded image"
ARCHIVE = "an encoded archive"
_UNPACKED = 64


@dataclass(frozen=True)
class _Signature:
    """A kind of file: `core` is looked for first, for that is fast, and `pattern` must match from `before` it on."""

    what: str
    core: bytes
    pattern: re.Pattern[bytes]
    before: int = 0


def _sign(core: bytes, around: bytes | None = None, before: int = 0, what: str = IMAGE) -> _Signature:
    """A signature of fixed bytes, or with what must stand around them, as a regular expression."""
    pattern = re.compile(re.escape(core) if around is None else around, re.DOTALL)
    return _Signature(what, core, pattern, before)


_SIGNATURES = (
    _sign(b"PNG\r\n\x1a\n"),
    _sign(b"IHDR", rb"\0\0\0\rIHDR\0\0", before=4),
    _sign(b"NG\r\n\x1a\n", rb"[\x8a\x8b][MJ]NG\r\n\x1a\n", before=2),
    # SOI and one segment: APPn with its name, quantisation or Huffman tables, frame header, comment
    _sign(
        b"\xff\xd8\xff",
        rb"\xff\xd8\xff(?:[\xe0-\xef]..[A-Za-z]{3}|\xdb\0[\x43\x84\xc5\xa6][\0-\3\x10-\x13]|[\xc0-\xc2]\0[\x0b\x11\x14]\x08"
        rb"|\xc4[\0\1].[\0-\3\x10-\x13]|\xfe\0.[ -~]{4})",
    ),
    # width and height of less than 8,192, of which one is no text
    _sign(b"GIF8", rb"GIF8[79]a(?:.[\0-\x08\x0e-\x1f].[\0-\x1f]|.[\0-\x1f].[\0-\x08\x0e-\x1f])"),
    _sign(b"RIFF", rb"RIFF.{4}WEBPVP8"),
    _sign(b"II*\0", rb"II\*\0...[\0-\x0f]"),
    _sign(b"MM\0*", rb"MM\0\*[\0-\x0f]..."),
    _sign(b"II+\0\x08\0\0\0"),
    _sign(b"MM\0+\0\x08\0\0"),
    _sign(b"\0\0\0\0", rb"BM.{4}\0\0\0\0.{2}\0\0[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", before=6),
    _sign(b"\x28\0\0\0", rb"\x28\0\0\0.{8}\x01\0[\1\4\x08\x10\x18\x20]\0[\0-\6]\0\0\0"),
    _sign(b"ftyp", rb"\0\0\0[\x08-\x60]ftyp(?:avi|hei|hev|mif|msf|jp2|jpx|jph|jxl|crx|mp4|mp2|iso|qt)", before=4),
    _sign(b"\r\n\x87\n", rb"(?:jP  |JXL )\r\n\x87\n", before=4),
    _sign(b"\xff\x4f\xff\x51\0"),
    _sign(b"8BPS\0\1\0\0"),
    _sign(b"qoif\0\0", rb"qoif\0\0..\0\0..[\3\4][\0\1]"),
    _sign(b"\x76\x2f\x31\x01\2"),
    _sign(b"#?RADIANCE\n"),
    _sign(b"DDS |\0\0\0"),
    _sign(b"farbfeld\0\0"),
    _sign(b"SIMPLE  =    "),
    _sign(b"DICM\2\0\0\0UL"),
    _sign(b"gimp xcf ", rb"gimp xcf (?:file|v\d{3})\0"),
    *(_sign(b"P%c\n" % kind, rb"P[4-6]\n(?:\d+[ \n]){2,3}(?=.{0,15}[^ -~\s\xaa])|P7\nWIDTH \d") for kind in b"4567"),
    _sign(b"\x93NUMPY"),
    _sign(b"\x89HDF\r\n\x1a\n"),
    _sign(b"PAR1\x15"),
    _sign(b"ARROW1\0\0"),
    _sign(b"%PDF-", rb"%PDF-[12]\.\d[\r\n ]+(?:%|\d+ \d+ obj)"),
    _sign(b"%!PS-Adobe-", rb"%!PS-Adobe-\d\.\d[\r\n ]"),
    *(_sign(start, re.escape(start) + rb".{5}\0\0\0", what=ARCHIVE) for start in (b"\x80\4\x95", b"\x80\5\x95")),
    _sign(b"PK\3\4", rb"PK\x03\x04[\0-\x3f]\0..[\0\x08\x09\x0c\x0e\x5d\x5f]\0", what=ARCHIVE),
    _sign(b"\x1f\x8b\x08", rb"\x1f\x8b\x08[\0-\x1f].{4}[\0\2\4][\0-\x0d\xff]", what=ARCHIVE),
    _sign(b"\xfd7zXZ\0", what=ARCHIVE),
    _sign(
        b"\x28\xb5\x2f\xfd",
        rb"\x28\xb5\x2f\xfd[\0-\7\x20-\x27\x40-\x47\x60-\x67\x80-\x87\xa0-\xa7\xc0-\xc7\xe0-\xe7]",
        what=ARCHIVE,
    ),
    _sign(b"1AY&SY", rb"BZh[1-9]1AY&SY", before=4, what=ARCHIVE),
    _sign(b"7z\xbc\xaf\x27\x1c", what=ARCHIVE),
    _sign(b"Rar!\x1a\7", what=ARCHIVE),
)
"""PNG with its stripped forms and relatives, JPEG, GIF, WebP, TIFF, BMP with and without its file header (as in ICO),
HEIF, AVIF and films, JPEG 2000 and XL, PSD, QOI, EXR, HDR, DDS, farbfeld, FITS, DICOM, XCF, PNM; NumPy, HDF5, Parquet,
Arrow, PDF, PostScript; pickle, ZIP, gzip, xz, zstd, bzip2, 7z, RAR."""
_ANY_CORE = re.compile(b"|".join(sorted({re.escape(signature.core) for signature in _SIGNATURES})))
"""One look for all of them: nearly always it finds none."""


def find_file(data: bytes) -> str | None:
    """What kind of file begins anywhere in these bytes, in words; None where none does.

    Not known: formats without a signature (TGA, raw pixels, a bare JPEG XL code stream), and files whose first bytes
    were cut off.
    """
    if _ANY_CORE.search(data) is None:
        return None
    for signature in _SIGNATURES:
        place = data.find(signature.core)
        while place >= 0:
            if place >= signature.before and signature.pattern.match(data, place - signature.before):
                return signature.what
            place = data.find(signature.core, place + 1)
    return None


def find_deflated(data: bytes) -> str | None:
    """Whether these bytes begin with a zlib stream (RFC 1950) of at least 64 bytes: two bytes alone prove nothing."""
    if len(data) < 16 or data[0] != 0x78 or (256 * data[0] + data[1]) % 31:
        return None
    try:
        unpacked = zlib.decompressobj().decompress(data, _UNPACKED)
    except zlib.error:
        return None
    return ARCHIVE if len(unpacked) >= _UNPACKED else None
