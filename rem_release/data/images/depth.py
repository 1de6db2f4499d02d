"""How many bits a value has: in files of more than 8, read so by Pillow without a word, or misread."""

import struct

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
