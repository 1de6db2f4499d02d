"""What a file is that the decoding policy does not read, in words that say what to do with it.

Looks at the first bytes alone. Sources: the formats' specifications, and the Git LFS specification for pointers.
"""

import re
from dataclasses import dataclass

_LOOKED_AT = 1024
_MIN_TEXT = 8


@dataclass(frozen=True)
class _Kind:
    start: re.Pattern[bytes]
    words: str


def _kind(start: bytes, words: str) -> _Kind:
    return _Kind(re.compile(start, re.DOTALL), words)


_RAW = "a camera's raw file ({}): develop it to JPEG, PNG or TIFF first"
_FILM = "a film: save single frames as PNG"
_HEIC = "a HEIC image: convert it, with heif-convert IN.heic OUT.jpg or the photo program of the phone's maker"
_HTML = "a web page (HTML), as a download that failed leaves it: download the image again"
_DICOM = "a DICOM file: export its pixels as PNG or TIFF, with the window that readers should see"
_ARRAY = "an array, not an image (NumPy, HDF5, NetCDF, FITS): save it as PNG or TIFF"
_CGBI = "a PNG as Xcode writes it for iPhones (CgBI): bring it back with pngcrush -revert-iphone-optimizations IN OUT"
_MICROSCOPE = "a file of a microscope's program (CZI, ND2, LIF): export its images as PNG or TIFF"
_LAYERS = "a document of Krita or OpenRaster: export it as PNG or TIFF"
_RANGE = "an image of high dynamic range (EXR or HDR): bring it to the range of a screen as PNG or TIFF"
_KINDS = (
    _kind(rb"version https://git-lfs", "a Git LFS pointer and not the image: fetch the images with git lfs pull"),
    _kind(rb"(?:\xef\xbb\xbf)?\s*(?i:<!doctype html|<html|<head|<body)", _HTML),
    _kind(
        rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml.*?\?>\s*)?(?:<!--.*?-->\s*)*(?i:<!doctype svg.*?>\s*)?<svg",
        "an SVG graphic: export it as PNG",
    ),
    _kind(rb".{4}ftyp(?:hei[cxms]|hev[cmsx]|mif[12]|msf1)", _HEIC),
    _kind(rb".{4}ftypcrx ", _RAW.format("CR3")),
    _kind(rb".{4}ftyp(?!avi[fs])", _FILM),
    _kind(rb"\xff\x0a|\x00\x00\x00\x0cJXL ", "a JPEG XL image: convert it with djxl IN.jxl OUT.png"),
    _kind(rb"\x89PNG\r\n\x1a\n.{4}CgBI", _CGBI),
    _kind(rb"8BPS", "a Photoshop document (PSD): export it as PNG or TIFF"),
    _kind(rb"\x00\x00[\x01\x02]\x00[^\x00]\x00", "icons or cursors of several sizes (ICO): export one as PNG"),
    _kind(rb"icns", "icons of several sizes (ICNS): export one as PNG"),
    _kind(rb"II\*\x00.{4}CR\x02", _RAW.format("CR2")),
    _kind(rb"II\xbc\x01", "a JPEG XR image: export it as JPEG or PNG"),
    _kind(rb"\xff\xd8(?:\xff[\xe0-\xfe][^\xff]{0,400})*?\xff\xf7", "a JPEG-LS image: export it as PNG"),
    _kind(rb"\xff\xd8.*?\xff[\xc0-\xc2]\x00.\x0c", "a JPEG of 12 bits: save it with 8, or as PNG or TIFF of 16"),
    _kind(rb"\xff\xd8.*?\xff\xc3\x00.[\x02-\x10]", "a lossless JPEG: export it as PNG or TIFF"),
    _kind(rb"gimp xcf ", "a document of GIMP (XCF): export it as PNG or TIFF"),
    _kind(rb"ZISRAWFILE|\xda\xce\xbe\x0a|\x70\x00\x00\x00.{4}\x2a", _MICROSCOPE),
    _kind(rb"PK\x03\x04.{26}mimetype(?:application/x-krita|image/openraster)", _LAYERS),
    _kind(rb"FUJIFILMCCD-RAW", _RAW.format("RAF")),
    _kind(rb"IIU\x00", _RAW.format("RW2")),
    _kind(rb"(?:II|MM)(?:R[OS]|OR)", _RAW.format("ORF")),
    _kind(rb"FOVb", _RAW.format("X3F")),
    _kind(rb"\x00MRM", _RAW.format("MRW")),
    _kind(rb".{128}DICM", _DICOM),
    _kind(rb"%PDF-", "a PDF document: export its pages as PNG"),
    _kind(rb"%!PS", "a PostScript graphic: export it as PNG"),
    _kind(rb"\x76\x2f\x31\x01|#\?RADIANCE", _RANGE),
    _kind(rb"P7\n|PF\n", "an image of a kind of PPM that few programs read (PAM, or PFM in colour): save it as PNG"),
    _kind(rb"DDS ", "a texture (DDS): export it as PNG"),
    _kind(rb"\x93NUMPY|\x89HDF|CDF[\x01\x02]|SIMPLE  =", _ARRAY),
    _kind(rb"PK\x03\x04|\x1f\x8b\x08|7z\xbc\xaf|Rar!|\xfd7zXZ|.{257}ustar", "an archive: unpack it"),
    _kind(rb"RIFF.{4}AVI |\x1aE\xdf\xa3|.{4}(?:moov|mdat|wide|free|skip)", _FILM),
    _kind(rb"bplist0", "settings of a program (a property list): remove it"),
    _kind(rb"PAR1|ARROW1", "a table (Parquet or Arrow): give it as SOURCE itself"),
)
_TEXT = re.compile(rb"[\t\n\r -~\x80-\xff]+")


def name_kind(data: bytes) -> str | None:
    """What these bytes are and what to do with them; None where they are of no kind that is known."""
    start = data[:_LOOKED_AT]
    for kind in _KINDS:
        if kind.start.match(start):
            return kind.words
    if len(start) >= _MIN_TEXT and _TEXT.fullmatch(start) and _is_utf8(start):
        return "text, not an image: remove it, or name the labels' file metadata.csv"
    return None


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return len(text) == _LOOKED_AT and error.start > len(text) - 4  # a letter that is cut off
    return True
