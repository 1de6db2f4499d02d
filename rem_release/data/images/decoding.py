"""The decoding policy: how the bytes of an image become 8-bit RGB pixels.

Every image is read by `decode`, in `protect` and in `verify` alike, and by this policy alone:

- *Formats.* JPEG (a multi-picture MPO counts as its first image), PNG, WebP, TIFF, BMP, GIF, PPM, JPEG 2000, AVIF.
  Of a TIFF of several pages it is the one that is neither a smaller copy nor a mask; channels of TIFF beyond colours
  and alpha are left out, and counted. PNG chunks that do not decide how pixels look are passed over, damaged ancillary
  ones too.
- *Orientation.* The EXIF orientation is applied, of TIFF that of its tag; an EXIF block that cannot be read is
  ignored, and so is what XMP says, as in browsers.
- *Colour.* The embedded ICC profile (RGB, grey, CMYK, LAB) is converted to sRGB with the perceptual intent; alpha is
  not touched by it. A missing, broken or unfitting profile means sRGB (for CMYK: the plain ink model of Pillow). What
  else may state colours (gAMA, cHRM and cICP of PNG, nclx of AVIF, Adobe RGB in EXIF) is not applied, and counted.
- *Depth.* 16-bit numbers v become round(v / 257), grey, colours and alpha alike; of PPM round(255·v / maximum). That
  is done before a profile is applied, and before colours that are weighted by alpha are divided by it.
  Greyscale in 32-bit integers must lie in 0 to 65535, floats in 0 to 1, where v becomes round(255·v).
- *Mode.* Greyscale, palette, 1-bit, CMYK, YCbCr and LAB become RGB. Palettes of TIFF have 16 bits, v // 256; where
  all of their values are below 256 they have 8, as libtiff takes them.
- *Transparency.* Any alpha is laid on white, after the colours were converted: round((c·a + 255·(255 - a)) / 255).
  A BMP whose alpha is zero everywhere has none: programs leave that byte empty. Around the frame of a GIF all is clear.
- *Metadata.* EXIF, XMP, ICC, thumbnails, comments and trailing bytes are dropped: only pixels go on.
- *Refused*, with a reason: empty, truncated or damaged files (JPEG that was cut and then closed, too), anything that is
  not one of the formats above, animations and multi-page files, volumes and stacks in one page of TIFF, also where only
  its tags or its description count them, pages of TIFF with a larger image in a SubIFD or with strips or tiles that are
  not there, cameras' raw files; what Pillow misreads: TIFF of more than 8 bits in separate planes, of signed 8-bit
  numbers, and of inks other than CMYK, JPEG 2000 of more than 8 bits in colour; JPEG in CMYK without Adobe's mark
  (readers disagree whether its inks are inverted); and images above 178,956,970 pixels, from their header, before
  decoding.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from rem_release.data.images.colour import convert_to_srgb, states_other_colours
from rem_release.data.images.depth import has_16_bits, is_cut_to_8_bits, is_misread_jpeg2000, load_16_bits
from rem_release.data.images.file_kinds import name_kind
from rem_release.data.images.jpeg_pixels import read_jpeg
from rem_release.data.images.jpeg_scans import ends_early, lacks_scans
from rem_release.data.images.libtiff_errors import forget_errors, has_errors
from rem_release.data.images.pillow_warnings import without_warnings
from rem_release.data.images.png_chunks import find_chunk, is_misread, lacks_rows, strip_png
from rem_release.data.images.tiff_directories import is_cut, measure_sub_images
from rem_release.data.images.tiff_pages import choose_page, has_gaps, has_unknown_channels, read_numbers
from rem_release.data.in_order import take_room
from rem_release.data.sources.recognised import DecodingChoice, Fault

MAX_PIXELS = 178_956_970
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
_FORMAT_WORDS = "JPEG, PNG, WebP, TIFF, BMP, GIF, PPM, JPEG 2000 or AVIF"
_PHOTOMETRIC, _BITS, _PLANAR, _ORIENTATION, _PALETTE = 262, 258, 284, 274, 320  # TIFF; 0 in the first: white is zero
_COMPRESSION, _SAMPLES, _INKS = 259, 277, 332
_CHOSEN: DecodingChoice = "one image chosen of several in the file"
_BIG_ENDIAN_BIGTIFF = b"MM\0+"
_STACK: Fault = "several frames or pages"
_NO_IMAGE: Fault = "no image, but text, a film, an archive or a table"
_FAULTS: dict[str, Fault] = {
    "animated or multi-page": _STACK,
    "multi-page": _STACK,
    "a volume": _STACK,
    "grey in": _STACK,
    "the first of a stack": _STACK,
    "text, not": _NO_IMAGE,
    "a web page": _NO_IMAGE,
    "a film": _NO_IMAGE,
    "an archive": _NO_IMAGE,
    "a table": _NO_IMAGE,
    "settings": _NO_IMAGE,
    "more than": "too large",
}
"""how a reason starts -> what it comes under"""
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", _BIG_ENDIAN_BIGTIFF)


class BadImage(ValueError):  # noqa: N818 - a verdict on an image, gathered into BadImagesError
    """An image that the policy refuses; `reason` is short and starts in lower case, and may name what is private."""

    def __init__(self, reason: str, given: Fault | None = None) -> None:
        self.reason = reason
        known = [fault for start, fault in _FAULTS.items() if reason.startswith(start)]
        self.fault: Fault = given or (known[0] if known else "damaged, or of a kind that is not read")
        super().__init__(reason)


@dataclass(frozen=True)
class Decoded:
    """An image, and what of its decoding was a choice.

    Attributes:
        pixels: uint8 (H, W, 3), C-contiguous and writable.
        choices: what was one.
    """

    pixels: np.ndarray
    choices: tuple[DecodingChoice, ...]


def decode(data: bytes) -> np.ndarray:
    """Read encoded bytes as sRGB pixels by the policy above.

    Args:
        data: the whole file.

    Returns:
        uint8 (H, W, 3), C-contiguous and writable.

    Raises:
        BadImage: the policy refuses these bytes.
    """
    return decode_noting(data).pixels


def decode_noting(data: bytes) -> Decoded:
    """Read encoded bytes as `decode` does, and say what was a choice.

    Raises:
        BadImage: the policy refuses these bytes.
    """
    if not data:
        raise BadImage("empty (0 bytes)")
    choices: list[DecodingChoice] = []
    with without_warnings():
        data = strip_png(data)
        if is_misread(data):
            raise BadImage("a PNG with a transparent colour of not 8 bits: save it with an alpha channel")
        image, white_is_zero = _load(data, choices)
        if isinstance(image, np.ndarray):
            return Decoded(image, tuple(choices))
        if states_other_colours(image, data):
            choices.append("colours stated otherwise than by an ICC profile taken for those of sRGB")
        image = _turn_upright(image, choices)
        try:
            return Decoded(_flatten(image, white_is_zero, choices), tuple(choices))
        except (BadImage, MemoryError):
            raise
        except Exception as error:
            raise BadImage(f"cannot be brought to RGB ({_first_line(error)})") from None


def _load(data: bytes, choices: list[DecodingChoice]) -> tuple[Image.Image | np.ndarray, bool]:
    """Open, check and decode. Pillow raises almost anything on garbage: all of it is a verdict."""
    if data.startswith(_TIFF) and (kind := name_kind(data)):
        raise BadImage(kind)
    if data.startswith(_TIFF) and is_cut(data):
        raise BadImage("truncated or damaged (its directory is cut off)")
    if data.startswith(_TIFF) and (scale := measure_sub_images(data)) is not None:
        if scale > 1:
            raise BadImage("a TIFF whose page is smaller than an image in its SubIFD: save the larger one by itself")
        choices.append(_CHOSEN)
    if data.startswith(_BIG_ENDIAN_BIGTIFF):  # of which Pillow misreads what is shorter than an address
        return _read_numbers(data, choices), False
    forget_errors()
    try:
        file = Image.open(io.BytesIO(data), formats=FORMATS)
        if file.width * file.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        _choose_frame(file, choices)
        if file.width * file.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        take_room(file.width * file.height)
        tags = getattr(file, "tag_v2", {})
        if file.mode in ("I", "F") and data.startswith(b"MM") and tags.get(_COMPRESSION, 1) != 1:
            return _read_numbers(data, choices), False  # Pillow turns their bytes around twice
        _refuse_misread(file, tags, data)
        if tags.get(_ORIENTATION, 1) in range(2, 9):
            choices.append("turned as EXIF says")
        for key in ("xmp", "XML:com.adobe.xmp"):  # Pillow would turn by what it says
            file.info.pop(key, None)
        if is_cut_to_8_bits(file, data):
            choices.append("numbers of more than 8 bits brought to 8")
        if file.format == "TIFF" and has_unknown_channels(tags, file.mode[-1] in "Aa"):
            choices.append("channels of no stated meaning left out")
        white_is_zero = tags.get(_PHOTOMETRIC) == 0
        if file.format in ("JPEG", "MPO") and (pixels := read_jpeg(file, data)) is not None:
            _refuse_cut_jpeg(pixels[-1, -1], data)
            return pixels, False
        frame = file.tile[0].extents if file.format == "GIF" and file.tile else None
        image = load_16_bits(file, data) if has_16_bits(file) else file
        image.load()  # which turns TIFF
        if has_errors() or has_gaps(tags, data):
            raise BadImage("truncated or damaged (strips of it cannot be unpacked)")
        if image.format == "PNG" and not np.asarray(image)[-1].any() and lacks_rows(data):
            raise BadImage("truncated or damaged (rows are missing at its end)")
        if image.format in ("JPEG", "MPO"):
            _refuse_cut_jpeg(np.asarray(image.crop((image.width - 1, image.height - 1, *image.size))), data)
    except (BadImage, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise BadImage(f"more than {MAX_PIXELS:,} pixels: shrink it, or cut it into parts") from None
    except UnidentifiedImageError:
        if data.startswith(_TIFF):
            return _read_numbers(data, choices), False
        kind = name_kind(data) or ("truncated or damaged (AVIF)" if data[4:10] == b"ftypav" else None)
        raise BadImage(kind or f"not an image in {_FORMAT_WORDS}, or cut off at its start") from None
    except Exception as error:
        reason = f"truncated or damaged ({_first_line(error)})"
        if data.startswith(_TIFF) and "unknown pixel mode" in str(error):
            reason = "a TIFF with a page of a kind that is not read, as a camera's raw file has: save its image as PNG"
        raise BadImage(name_kind(data) or reason) from None
    if image.width == 0 or image.height == 0:
        raise BadImage("has no pixels")
    if image.format in ("PNG", "BMP") and _lacks_colours(image):
        raise BadImage("truncated or damaged (its palette is shorter than its numbers need)")
    if frame and frame != (0, 0, *image.size):
        return _clear_around(image, frame), white_is_zero
    if image.format == "BMP" and image.mode == "RGBA" and not np.asarray(image.getchannel("A")).any():
        choices.append("empty alpha channel of a BMP ignored")
        return image.convert("RGB"), white_is_zero
    if image.mode == "P" and _PALETTE in tags and max(tags[_PALETTE]) < 256:
        image.putpalette(np.reshape(tags[_PALETTE], (3, -1)).T.astype(np.uint8).tobytes())
    if image.format == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info:
        raise BadImage("a JPEG in CMYK without Adobe's mark, which some programs show as a negative: save it as RGB")
    return image, white_is_zero


def _refuse_misread(image: ImageFile.ImageFile, tags: Mapping[int, Any], data: bytes) -> None:
    """Refuse what Pillow would read otherwise than it is meant. The image is not loaded yet."""
    if tags.get(_PLANAR) == 2 and max(tags.get(_BITS, (8,))) > 8:
        raise BadImage("a TIFF of more than 8 bits in separate planes: save it with 8, or with the channels together")
    if tags.get(_PLANAR) == 2 and tags.get(_SAMPLES) == 2:
        raise BadImage("a TIFF of grey and alpha in separate planes: save its channels together")
    if tags.get(_BITS, (8,))[0] not in (1, 2, 4, 8, 16, 32, 64):  # Pillow takes them for 16
        raise BadImage(f"a TIFF of {tags[_BITS][0]} bits: save it with 8 or 16")
    if image.mode == "CMYK" and tags.get(_INKS, 1) != 1:
        raise BadImage("a TIFF of inks that are not those of CMYK: save it as RGB")
    if image.mode == "P" and image.format == "PNG" and find_chunk(data, b"PLTE") is None:
        raise BadImage("truncated or damaged (its palette is missing)")
    if is_misread_jpeg2000(image, data):
        raise BadImage("a JPEG 2000 of more than 8 bits in colour: save it with 8, or as PNG or TIFF")


def _refuse_cut_jpeg(last: np.ndarray, data: bytes) -> None:
    """By its last pixel, which is the middle grey of libjpeg where pixels are missing."""
    if lacks_scans(data):
        raise BadImage("truncated or damaged (scans are missing at its end)")
    if set(last.ravel().tolist()) <= {127, 128} and ends_early(data):
        raise BadImage("truncated or damaged (rows are missing at its end)")


def _lacks_colours(image: Image.Image) -> bool:
    """Whether numbers point behind the end of the palette, where Pillow has black."""
    return (
        image.mode == "P"
        and image.palette is not None
        and int(np.asarray(image).max()) >= len(image.palette.palette) // len(image.palette.mode)
    )


def _clear_around(image: Image.Image, frame: tuple[int, int, int, int]) -> Image.Image:
    """A GIF whose frame is smaller than its canvas: around it nothing is set, and Pillow sets the first colour."""
    painted, cleared = image.convert("RGBA"), Image.new("RGBA", image.size)
    cleared.paste(painted.crop(frame), frame[:2])
    return cleared


def _choose_frame(image: Image.Image, choices: list[DecodingChoice]) -> None:
    """Go to the one page or frame of the file that is the image."""
    if image.format == "TIFF":
        if reason := choose_page(image):
            raise BadImage(reason)
    elif image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
        raise BadImage(f"animated or multi-page ({frames} frames)")
    if getattr(image, "n_frames", 1) > 1 and _CHOSEN not in choices:
        choices.append(_CHOSEN)


def _read_numbers(data: bytes, choices: list[DecodingChoice]) -> np.ndarray:
    try:
        return _flatten_numbers(read_numbers(data, MAX_PIXELS), choices)
    except (BadImage, MemoryError):
        raise
    except Exception as error:
        raise BadImage(f"a TIFF that cannot be read ({_first_line(error)})") from None


def _flatten_numbers(values: np.ndarray | str, choices: list[DecodingChoice]) -> np.ndarray:
    """What Pillow does not open: floats and 16-bit numbers, grey or RGB or RGBA, and grey 32-bit integers."""
    if isinstance(values, str):
        raise BadImage(values)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if not values.size or values.ndim not in (2, 3):
        raise BadImage("has no pixels")
    is_grey = values.ndim == 2
    if values.dtype == np.int8:
        raise BadImage("a TIFF of signed 8-bit numbers: save it without a sign")
    if values.dtype == np.uint16 and not is_grey:
        choices.append("numbers of more than 8 bits brought to 8")
        return _take_colours(((values.astype(np.uint32) + 128) // 257).astype(np.uint8), choices)
    if values.dtype == np.uint8:
        return np.repeat(values[..., None], 3, axis=2) if is_grey else _take_colours(values, choices)
    if values.dtype.kind == "f":
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise BadImage("floating-point values outside 0 to 1")
        levels = np.rint(values.astype(np.float64) * 255).astype(np.uint8)
        choices.append("numbers of more than 8 bits brought to 8")
        if is_grey:
            return np.repeat(levels[..., None], 3, axis=2)
        return _take_colours(levels, choices)
    if is_grey and values.dtype.kind in "iu":
        return np.asarray(_reduce_integers(values, None, choices)[0].convert("RGB")).copy()
    raise BadImage(f"a TIFF of {values.dtype} numbers in colour: save it with 8 or 16 bits")


def _take_colours(levels: np.ndarray, choices: list[DecodingChoice]) -> np.ndarray:
    """Of uint8 [H, W, 3], or with alpha [H, W, 4]."""
    if levels.shape[2] == 3 or levels[..., 3].min() == 255:
        return np.ascontiguousarray(levels[..., :3])
    choices.append("transparency laid on white")
    return _lay_on_white(np.ascontiguousarray(levels[..., :3]), levels[..., 3])


def _turn_upright(image: Image.Image, choices: list[DecodingChoice]) -> Image.Image:
    try:
        turned = ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # a broken EXIF block says nothing about the pixels
        return image
    if image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9):
        choices.append("turned as EXIF says")
    return turned


def _flatten(image: Image.Image, white_is_zero: bool, choices: list[DecodingChoice]) -> np.ndarray:
    """Reduce any mode to RGB: depth first, then colour, then alpha on white."""
    profile = image.info.get("icc_profile")
    if image.mode in ("La", "RGBa"):  # weighted by their alpha already
        image = image.convert(image.mode.upper())
    if image.mode.startswith("I") or image.mode == "F":
        colours, alpha = _reduce_depth(image, white_is_zero, choices)
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        colours = image.getchannel("L") if image.mode == "LA" else rgba.convert("RGB")
        alpha = np.asarray(rgba.getchannel("A"))
    else:
        colours, alpha = image, None
    pixels = np.array(convert_to_srgb(colours, profile))
    if alpha is None or alpha.min() == 255:
        return pixels
    choices.append("transparency laid on white")
    return _lay_on_white(pixels, alpha)


def _reduce_depth(
    image: Image.Image, white_is_zero: bool, choices: list[DecodingChoice]
) -> tuple[Image.Image, np.ndarray | None]:
    """Greyscale of 16 or 32 bits to 8 bits, and the alpha of its transparent value if it names one."""
    values = np.asarray(image)
    if image.mode == "F":
        levels = _flatten_numbers(values, choices)
        return Image.fromarray(255 - levels if white_is_zero else levels), None
    grey, alpha = _reduce_integers(values, image.info.get("transparency"), choices)
    if white_is_zero and image.mode != "I":  # Pillow inverts such TIFF files itself up to 8 bits, not at 16
        grey = ImageOps.invert(grey)
    return grey, alpha


def _reduce_integers(
    values: np.ndarray, transparent: object, choices: list[DecodingChoice]
) -> tuple[Image.Image, np.ndarray | None]:
    if values.min() < 0 or values.max() > 65535:
        raise BadImage("whole numbers outside 0 to 65535: save it with 8 or 16 bits")
    choices.append("numbers of more than 8 bits brought to 8")
    alpha = np.where(values == transparent, 0, 255).astype(np.uint8) if isinstance(transparent, int) else None
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8)), alpha


def _lay_on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    weight = alpha[..., None].astype(np.uint16)
    return ((colours * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:120]
