"""The ways to make noise: a file each, see `method` for what a method is and `maker` for who makes its noise."""

from functools import reduce
from importlib import import_module
from operator import or_
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from rem_release.method_names import FILES
from rem_release.methods.method import Method, Phase, Setting, Words

__all__ = ["METHODS", "Method", "MethodName", "Noise", "Phase", "Setting", "Words"]


def _load(place: str) -> type[Method]:
    file, name = place.split(".")
    return getattr(import_module(f"{__name__}.{file}"), name)


METHODS: dict[str, type[Method]] = {name: _load(place) for name, place in FILES.items()}
"""name -> class"""

if TYPE_CHECKING:
    MethodName = str
    Noise = Method
else:
    MethodName = Literal[tuple(METHODS)]
    Noise = Annotated[reduce(or_, METHODS.values()), Field(discriminator="method")]
