"""Colours: what of them a file states, and the way to sRGB."""

import io

import numpy as np
from PIL import ExifTags, Image, ImageCms

from rem_release.data.images.png_chunks import find_chunk

_PROFILE_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}
_SRGB_GAMMA = 0.45455
_SRGB_PRIMARIES = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_TOLERANCE = 0.006
_SRGB_CODES = {1, 2, 5, 6, 13}
"""of primaries and transfer (ITU-T H.273) that are sRGB, or near it, or say nothing"""
_ADOBE_RGB = 2
_LOOKED_AT = 1 << 16


def convert_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """By the embedded profile with the perceptual intent; plainly where there is none, or it does not fit."""
    if not profile:
        return image.convert("RGB")
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _PROFILE_MODES.get(embedded.profile.xcolor_space)
        if mode == "RGB" and image.mode in ("1", "L", "P"):
            image = image.convert("RGB")
        if mode != image.mode:
            return image.convert("RGB")
        if mode == "L":
            return _convert_grey(image, embedded)
        converted = ImageCms.profileToProfile(image, embedded, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image.convert("RGB")
    assert converted is not None  # only in-place conversion returns None
    return converted


def _convert_grey(image: Image.Image, embedded: ImageCms.ImageCmsProfile) -> Image.Image:
    """Each of the 256 levels by itself: for whole images LittleCMS takes curves that are 10 levels off in darks."""
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    exact = ImageCms.Flags.NOOPTIMIZE
    levels = ImageCms.profileToProfile(ramp, embedded, ImageCms.createProfile("sRGB"), outputMode="RGB", flags=exact)
    return Image.fromarray(np.asarray(levels)[0][np.asarray(image)])


def states_other_colours(image: Image.Image, data: bytes) -> bool:
    """Whether a file says by something else than an ICC profile that its colours are not those of sRGB.

    Known are gAMA, cHRM and cICP of PNG (where no sRGB chunk stands beside them), nclx of AVIF, and Adobe RGB as
    cameras mark it (DCF 2.0: InteropIndex R03, or ColorSpace 2 in EXIF).
    """
    if image.info.get("icc_profile"):
        return False
    if image.format == "PNG":
        return _png_states_other(image, data)
    if image.format == "AVIF":
        start = data.find(b"colrnclx", 0, _LOOKED_AT)
        codes = data[start + 8 : start + 12]
        return start >= 0 and len(codes) == 4 and not {codes[1], codes[3]} <= _SRGB_CODES
    try:
        exif = image.getexif()
        interop = exif.get_ifd(ExifTags.IFD.Interop).get(1)
        return interop == "R03" or exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace) == _ADOBE_RGB
    except MemoryError:
        raise
    except Exception:  # a broken EXIF block says nothing
        return False


def _png_states_other(image: Image.Image, data: bytes) -> bool:
    codes = find_chunk(data, b"cICP")
    if codes is not None and len(codes) == 4:
        return not {codes[0], codes[1]} <= _SRGB_CODES
    if "srgb" in image.info:
        return False
    gamma = image.info.get("gamma", _SRGB_GAMMA)
    primaries = image.info.get("chromaticity", _SRGB_PRIMARIES)
    if len(primaries) != len(_SRGB_PRIMARIES):  # a chunk of another length says nothing
        primaries = _SRGB_PRIMARIES
    stated = np.array([gamma, *primaries], np.float64)
    return bool((np.abs(stated - [_SRGB_GAMMA, *_SRGB_PRIMARIES]) > _TOLERANCE).any())
