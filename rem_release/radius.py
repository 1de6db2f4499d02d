"""Radii and step sizes as exact fractions of the full range [0, 1], so that 8/255 is eight levels and never 7.99."""

import math
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from rem_release.plain_text import show

_MAX_DIGITS = 30
"""before or after the point, where an exponent says so in few letters"""
_MAX_CHARACTERS, _MAX_OF_A_FRACTION = 40, 400
"""a step size that follows in proportion from radii may be a long fraction, and is read again"""
_SHOWN = 60


def parse_radius(value: object) -> Fraction:
    """Read `8/255`, `0.0314`, `8px` or a number as an exact fraction of the full range.

    Raises:
        ValueError: the value is none of these, is negative, or is above 1.
    """
    said = show(value, _SHOWN)
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Fraction)):
        raise ValueError(f"{show(repr(value), _SHOWN)} is not a radius; write 8/255, 0.0314 or 8px")
    try:
        radius = _read(str(value).strip())
    except (InvalidOperation, ValueError, ZeroDivisionError, OverflowError):
        raise ValueError(f"{said!r} is not a radius; write 8/255, 0.0314 or 8px") from None
    if not 0 <= radius <= 1:
        raise ValueError(f"{said} is outside 0 to 1; write pixels as {said}/255 or {said}px")
    return radius


def _read(text: str) -> Fraction:
    if len(text) > (_MAX_OF_A_FRACTION if "/" in text else _MAX_CHARACTERS) or not text.isascii():
        raise ValueError("longer than a radius is, or not in these digits")
    if text.endswith("px"):
        return _exact(text[:-2]) / 255
    if "/" in text:
        numerator, denominator = text.split("/")
        return _exact(numerator) / _exact(denominator)
    return _exact(text)


def _exact(text: str) -> Fraction:
    number = Decimal(text.strip())
    if not number.is_finite() or ("e" in text.lower() and abs(number.adjusted()) > _MAX_DIGITS):
        raise ValueError("not a size that a radius can have")
    return Fraction(number)


def format_radius(radius: Fraction) -> str:
    """Write a radius so that `parse_radius` reads the same number: `1.6/255` where that is exact, else `p/q`."""
    if radius.denominator == 1:
        return str(radius)
    levels = radius * 255
    tenths = levels * 10_000
    if tenths.denominator == 1:
        return f"{Decimal(tenths.numerator).scaleb(-4).normalize():f}/255"
    return str(radius)


def whole_levels(radius: Fraction) -> int:
    """floor(255·ρ): the radius in whole 8-bit levels. A fractional radius rounds down, never up."""
    return math.floor(radius * 255)
