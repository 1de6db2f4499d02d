"""Radii of threats: `4/255`, `0.5`, `rho_a`, `rho_a/2`, `2*rho_a`."""

import re
from fractions import Fraction
from typing import Annotated

from pydantic import BeforeValidator

from rem_release.radius import format_radius

_LONGEST = 200
"""characters of a radius"""
_NUMBER = re.compile(r"[-+]?\d*\.?\d*(?:[eE][-+]?\d{1,3})?(?:/\d*\.?\d*(?:[eE][-+]?\d{1,3})?)*")
OF_RHO_A = re.compile(r"(?:(?P<factor>\d+(?:\.\d+)?)\*)?rho_a(?:/(?P<divisor>\d+))?")


def _read_radius(value: object) -> str:
    """A radius as text. Above 1 is fine in L1 and L2."""
    text = str(value).replace(" ", "")
    of_rho_a = OF_RHO_A.fullmatch(text)
    try:
        radius = _factor_of(of_rho_a) if of_rho_a else read_fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError("write a radius as 4/255, 0.5, rho_a, rho_a/2 or 2*rho_a") from None
    if radius <= 0:
        raise ValueError("a radius is above 0")
    return text if of_rho_a else format_radius(radius)


RadiusText = Annotated[str, BeforeValidator(_read_radius)]


def read_fraction(text: str) -> Fraction:
    """The exact value of a radius without `rho_a`: `4/255`, `2.5/255`, `0.5`. Above 1 is fine.

    Raises:
        ValueError: it is no such number.
        ZeroDivisionError: the denominator is 0.
    """
    if len(text) > _LONGEST or not _NUMBER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no radius such as 4/255 or 0.5")
    numerator, *denominator = [Fraction(part) for part in text.split("/")]
    if len(denominator) > 1:
        raise ValueError(f"{text!r} is no fraction")
    return numerator / denominator[0] if denominator else numerator


def resolve(text: str, rho_a: Fraction) -> str:
    """The radius once `rho_a` is known."""
    of_rho_a = OF_RHO_A.fullmatch(text)
    return format_radius(_factor_of(of_rho_a) * rho_a) if of_rho_a else text


def _factor_of(of_rho_a: re.Match[str]) -> Fraction:
    """How many times ρ_a: 3/2 of `3*rho_a/2`."""
    return Fraction(of_rho_a["factor"] or 1) / int(of_rho_a["divisor"] or 1)
