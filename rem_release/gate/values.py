"""What one value of a column, or its name, tells about the original image: where it lies, or what it looks like.

Not seen: coordinates without a telling name, and whatever a person would have to read to understand.
"""

import re
from collections.abc import Iterator
from typing import Any

from rem_release.data.leaks.hidden_images import count_numbers, find_image, leaves
from rem_release.data.leaks.text_codes import unfold

IMAGE = "an image"
ADDRESS = "an address"
FILE_NAME = "a file name"
PATH = "a path"
CAMERA = "camera data (EXIF)"
NUMBERS = "a list of numbers, such as an embedding"
ENCODED = "encoded data"
CHECKSUM = "a checksum"
RELATIVE_PATH = "a path without a root"
NUMBERED_NAME = "a folder and a name"
SPACED_NAME = "a folder and a name, with spaces"
THUMBNAIL = "a small copy"
REFERENCE = "what names its original"

MIN_NUMBERS = 16
_EXCERPT = 60
_EXTENSIONS = (
    "jpe?g|jpe|jfif|png|gif|bmp|webp|tiff?|heic|heif|avif|jp2|j2k|dcm|dicom|nii|nrrd|mha|mhd|svs|ndpi|dng|cr2|cr3|nef"
    "|arw|orf|rw2|psd|xcf|svg|exr|tga|p[pgbn]m|np[yz]|h5|hdf5|pkl|tfrecord|mp4|mov|avi|mkv|csv|json|txt|xml|pdf|zip|gz"
)
_FILE = re.compile(rf"[^\s'\"]{{,60}}[\w)\]]\.(?:{_EXTENSIONS})(?!\w)", re.IGNORECASE)
_WEB = re.compile(r"\b(?:[a-z][a-z0-9+.-]{1,9}://\S|www\.\w)\S*", re.IGNORECASE)
_ROOTED = re.compile(r"(?:/[\w.-]+/|~/|\.{1,2}[/\\]|[A-Za-z]:[\\/]|\\\\)[^\s/\\]")
_PARTS = re.compile(r"[^\s/\\]+(?:[/\\][^\s/\\]+)+")
_SENTENCE = re.compile(r"[.,;:!?]\s|\s[/\\]|[/\\]\s")
_BETWEEN_WORDS = re.compile(r"(?<![\d\s])[/\\]|[/\\](?![\d\s])")
_MAX_SPACED = 80
_MAX_WORDS = 3
_DATE = re.compile(r"\d{1,4}[/\\](?:\d{1,2}|[A-Za-z]{3,9})(?:[/\\]\d{1,4})?(?:T\S+)?|[\d.]+[/\\][\d.]+")
_HEXADECIMAL = re.compile(r"(?:[a-z0-9]{2,8}:|0x)?([0-9a-f]{16}|[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})", re.IGNORECASE)
_BASE64 = re.compile(r"(?:data:)?[\w./+;=-]{0,80}\bbase64[,:;]\s*(?=[A-Za-z0-9+/=_-]{8})", re.IGNORECASE)
_OPAQUE = re.compile(r"[A-Za-z0-9+/=_-]{512,}")
_RUN = re.compile(r"[A-Za-z0-9+/_-]{64,}")
_CHANGES = re.compile(r"[a-z](?=[A-Z0-9])|[A-Z](?=[a-z0-9])|[0-9](?=[A-Za-z])")
_MIN_CHANGES = 0.45
"""Changes between small letters, capitals and digits, by the length of the run: base64 has 0.6, TitleCase 0.4."""
_HEX_PAIRS = re.compile(r"[0-9a-fA-F]{2}(?:(?:[ :;%-]|, ?|\\x)?(?:0x)?[0-9a-fA-F]{2}){39,}")
_KEY = re.compile(r"\b([A-Za-z]\w{0,40}|\d{3,5})[ '\"]{0,3}[:=]")
_CAMERAS = re.compile(
    r"\b(canon|nikon|sony|apple|samsung|olympus|fujifilm|panasonic|leica|huawei|google|xiaomi|motorola|kodak|pentax"
    r"|ricoh|gopro|dji|casio|sigma|hasselblad)\b",
    re.IGNORECASE,
)
_TAGS = {
    *("datetimeoriginal", "datetimedigitized", "subsectimeoriginal", "exif", "exifversion", "exififd", "exifoffset"),
    *("gpsinfo", "gpslatitude", "gpslongitude", "gpsaltitude", "gpsdatestamp", "gpstimestamp", "gpslatituderef"),
    *("isospeedratings", "photographicsensitivity", "exposuretime", "exposureprogram", "exposurebiasvalue", "fnumber"),
    *("focallength", "focallengthin35mmfilm", "shutterspeedvalue", "aperturevalue", "maxaperturevalue", "meteringmode"),
    *("lensmodel", "lensmake", "lensspecification", "bodyserialnumber", "makernote", "usercomment", "flashpixversion"),
    "ycbcrpositioning",
}
"""Keys that only EXIF has, in small letters without underscores."""
_TAG_NUMBERS = {"271", "272", "306", "34665", "34853", "36864", "36867", "36868", "33434", "33437", "37500"}
"""Keys as Pillow gives them."""
_COMMON_TAGS = {"make", "model", "software", "orientation", "datetime", "xresolution", "yresolution", "flash", "artist"}
_NAMES = {
    FILE_NAME: {"path", "paths", "file", "files", "filename", "filenames", "filepath", "filepaths", "fname", "folder"},
    ADDRESS: {"url", "urls", "uri", "href", "hyperlink"},
    CAMERA: {"exif", "gps", "latitude", "longitude", "lat", "lon", "lng", "geolocation", "geotag", "xmp", "iptc"},
    CHECKSUM: {
        *("md5", "sha", "sha1", "sha224", "sha256", "sha512", "phash", "dhash", "ahash", "whash", "crc32", "blake3"),
        *("hash", "hashes", "checksum", "imagehash"),
    },
    NUMBERS: {"embedding", "embeddings", "emb", "embs"},
    THUMBNAIL: {"thumbnail", "thumbnails", "thumb", "thumbs"},
}
_ORIGINAL = {"src", "source", "original", "orig"}


def read_name(name: str) -> str | None:
    """What the name of a column, or a key inside it, announces; None for an ordinary one."""
    words = _split_words(name)
    if name.lower().replace("_", "") in _TAGS:
        return CAMERA
    return next((kind for kind, telling in _NAMES.items() if words & telling), None)


def _split_words(name: str) -> set[str]:
    """The words of a name, in small letters: `imageURL` and `image_url` have two."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|\d+", name)}


def may_refer(name: str) -> bool:
    """Whether a column of this name refers to the originals if its values tell the rows apart."""
    return bool(_ORIGINAL & _split_words(name))


def is_reference(value: Any) -> bool:
    """Whether a value is short enough for a name or a number of something: up to three words."""
    return isinstance(value, int) or (isinstance(value, str) and len(value.split()) <= _MAX_WORDS)


def read_last_name(path: str) -> str:
    """What stands behind the last slash."""
    return re.split(r"[/\\]", path)[-1]


def read_value(value: Any) -> dict[str, str]:
    """What one value holds that tells about the original.

    Returns:
        kind -> where it was seen, at most 60 characters. Of CHECKSUM, RELATIVE_PATH, NUMBERED_NAME and SPACED_NAME a
        few prove nothing: a column holds them if most of its values do.
    """
    found: dict[str, str] = {}
    if (what := find_image(value)) is not None:
        found[IMAGE] = f"{what}: {excerpt(value)}"
    if isinstance(value, (str, list, dict)) and _count_listed(value) >= MIN_NUMBERS:
        found.setdefault(NUMBERS, excerpt(value))
    for key in _keys(value):
        if kind := read_name(key):
            found.setdefault(kind, excerpt(key))
    if _is_camera_data(value):
        found[CAMERA] = excerpt(value)
    for leaf in leaves(value):
        if isinstance(leaf, str):
            for kind, seen in _read_text(leaf.strip()):
                found.setdefault(kind, excerpt(seen))
    return found


def excerpt(value: Any) -> str:
    """A value on one line, cut to 60 characters."""
    text = repr(value if not isinstance(value, str) else value[:_EXCERPT])
    return text if len(text) <= _EXCERPT else f"{text[: _EXCERPT - 1]}…"


def _read_text(text: str) -> Iterator[tuple[str, str]]:
    if (match := _HEXADECIMAL.fullmatch(text)) and not match[1].isdecimal():
        yield CHECKSUM, text
    elif (code := _find_code(text)) is not None:
        yield ENCODED, code
    elif match := _WEB.search(text):
        yield ADDRESS, match[0]
    elif match := _FILE.search(text):
        yield FILE_NAME, match[0]
    elif _ROOTED.match(text):
        yield PATH, text
    elif _PARTS.fullmatch(text) and not _DATE.fullmatch(text):
        yield RELATIVE_PATH if len(re.findall(r"[/\\]", text)) > 1 else NUMBERED_NAME, text
    elif len(text) <= _MAX_SPACED and " " in text and _BETWEEN_WORDS.search(text) and not _SENTENCE.search(text):
        yield SPACED_NAME, text  # `My Pictures/img 1`, but neither `120/80 mmHg` nor a sentence


def _find_code(text: str) -> str | None:
    """Bytes that are written as text, anywhere in it: of base64 64 digits, of hexadecimal 40 bytes, of others 512."""
    if _BASE64.match(text):
        return text
    if (match := _OPAQUE.search(text)) is not None:
        return match[0]
    for run in _RUN.findall(text):
        if len(_CHANGES.findall(run)) > _MIN_CHANGES * len(run) and not _HEXADECIMAL.fullmatch(run):
            return run
    for match in _HEX_PAIRS.finditer(text):
        if re.search(r"[a-f]", match[0], re.IGNORECASE) and re.search(r"[0-9]", match[0]):
            return match[0]
    return None


def _count_listed(value: Any) -> int:
    """How many numbers stand in lists, also as text: the fields of a group are no list."""
    value = unfold(value)
    if isinstance(value, dict):
        return sum(_count_listed(inner) for inner in value.values())
    return count_numbers(value) if isinstance(value, (list, str)) else 0


def _keys(value: Any) -> Iterator[str]:
    """The keys of groups, at any depth, also of JSON text."""
    waiting = [value]
    while waiting:
        first = unfold(waiting.pop())
        if isinstance(first, dict):
            yield from map(str, first)
            first = list(first.values())
        if isinstance(first, list):
            waiting += [inner for inner in first if isinstance(inner, (dict, list, str))]


def _is_camera_data(value: Any) -> bool:
    if isinstance(value, str) and "Exif\0" in value[:64]:
        return True
    keys = set(_keys(value))
    if isinstance(value, str):
        keys |= set(_KEY.findall(value))
    plain = {key.lower().replace("_", "") for key in keys}
    common = plain & _COMMON_TAGS
    if plain & _TAGS or len(common) > 3 or len(plain & _TAG_NUMBERS) > 1:
        return True
    return {"make", "model"} <= common and _CAMERAS.search(str(value)) is not None
