"""How many bits a value has: files of more than 8, which Pillow cuts to 8 without a word, or misreads."""

import io
import struct
import sys

import numpy as np
from PIL import Image, ImageFile

_BITS = 258
_LOOKED_AT = 1 << 16


def is_cut_to_8_bits(image: ImageFile.ImageFile, data: bytes) -> bool:
    """Whether Pillow brings colours of more than 8 bits to 8 when it opens this file. The image is not loaded yet."""
    if image.format == "PNG":
        return data[24:26] in (b"\x10\2", b"\x10\4", b"\x10\6")
    if image.format == "TIFF":
        return bool(image.mode in ("RGB", "RGBA", "RGBX", "CMYK") and max(image.tag_v2.get(_BITS, (8,))) > 8)  # type: ignore[attr-defined]
    if image.format == "PPM":
        args = image.tile[0].args if image.tile else ()
        return image.mode == "RGB" and isinstance(args, tuple) and isinstance(args[-1], int) and args[-1] > 255
    if image.format == "AVIF":
        start = data.find(b"av1C", 0, _LOOKED_AT)
        return start >= 0 and len(data) > start + 6 and bool(data[start + 6] & 0x40)  # AV1-ISOBMFF, 2.3: high_bitdepth
    return False


def has_16_bits(image: ImageFile.ImageFile) -> bool:
    """Whether Pillow would take the high byte of 16-bit colours, or of grey with alpha. The image is not loaded yet."""
    return image.format in ("PNG", "TIFF") and image.mode in ("RGB", "RGBA", "CMYK") and ";16" in _layout(image)


def load_16_bits(image: ImageFile.ImageFile, data: bytes) -> Image.Image:
    """Load an image that `has_16_bits`: each number v becomes round(v / 257).

    Pillow takes the high byte of each number; told the other order of bytes, it takes the low one.
    """
    channels, order = _layout(image).split(";16")
    if channels == "LA":  # of PNG; as four bytes a pixel they are high, low, high, low
        _set_layout(image, "RGBA")
        image.load()
        grey, alpha = (_bring_to_8(image.getchannel(at), image.getchannel(at + 1)) for at in (0, 2))
        merged = Image.merge("LA", [grey, alpha])
        merged.format, merged.info = image.format, image.info
        return merged
    low = Image.open(io.BytesIO(data), formats=("PNG", "TIFF"))
    low.seek(image.tell())
    low.info = dict(image.info)  # so that both are turned alike
    is_weighted = channels == "RGBa"  # by alpha, which Pillow would divide out of the bytes
    _set_layout(image, f"{channels.upper()};16{order}")
    _set_layout(low, f"{channels.upper()};16{_other(order)}")
    image.load()
    low.load()
    bands = [_bring_to_8(image.getchannel(at), low.getchannel(at)) for at in range(len(image.getbands()))]
    merged = Image.merge("RGBa" if is_weighted else image.mode, bands)
    image.paste(merged.convert(image.mode))
    return image


def _layout(image: ImageFile.ImageFile) -> str:
    """How Pillow will read the bytes of pixels, such as RGB;16B."""
    args = image.tile[0].args if image.tile else ""
    return str(args[0]) if isinstance(args, tuple) else str(args)


def _set_layout(image: ImageFile.ImageFile, layout: str) -> None:
    image.tile = [
        tile._replace(args=(layout, *tile.args[1:]) if isinstance(tile.args, tuple) else layout) for tile in image.tile
    ]


def _other(order: str) -> str:
    """Of little, big or native order of bytes."""
    native = "L" if sys.byteorder == "little" else "B"
    return "B" if (native if order == "N" else order) == "L" else "L"


def _bring_to_8(high: Image.Image, low: Image.Image) -> Image.Image:
    """Round((256 * high + low) / 257), which is the high byte or one level beside it."""
    h, l = np.asarray(high), np.asarray(low)  # noqa: E741
    up, down = (l > h) & (l - h > 128), (h > l) & (h - l > 128)
    return Image.fromarray(h + up - down)


def is_misread_jpeg2000(image: Image.Image, data: bytes) -> bool:
    """Whether it is JPEG 2000 of several components of more than 8 bits, whose highest values Pillow wraps to 0.

    ISO 15444-1, A.5.1: the SIZ segment states the depth of each component.
    """
    start = data.find(b"\xff\x4f\xff\x51")
    if image.format != "JPEG2000" or start < 0 or len(data) < start + 42:
        return False
    (components,) = struct.unpack_from(">H", data, start + 40)
    depths = [(byte & 0x7F) + 1 for byte in data[start + 42 : start + 42 + 3 * components : 3]]
    return components > 1 and max(depths, default=8) > 8
