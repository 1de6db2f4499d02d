"""The ways to make noise: a file each, see `method` for what a method is and `maker` for who makes its noise."""

from functools import reduce
from importlib import import_module
from operator import or_
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from rem_release.methods.method import Method, Phase, Setting, Words

__all__ = ["METHODS", "PLANNED", "Method", "MethodName", "Noise", "Phase", "Setting", "Words", "list_names"]

_FILES = {
    "rem": "rem.Rem",
    "em": "em.Em",
    "sem": "sem.Sem",
    "random": "random_signs.RandomSigns",
}
"""name of each method -> its file in this room and its class"""
PLANNED = ("tap", "ntga")
"""methods that are not built yet: whoever asks for one is told so"""


def _load(place: str) -> type[Method]:
    file, name = place.split(".")
    return getattr(import_module(f"{__name__}.{file}"), name)


METHODS: dict[str, type[Method]] = {name: _load(place) for name, place in _FILES.items()}
"""name -> class"""


def list_names() -> str:
    """The names as help shows them: a, b or c."""
    *others, last = METHODS
    return f"{', '.join(others)} or {last}"


if TYPE_CHECKING:
    MethodName = str
    Noise = Method
else:
    MethodName = Literal[tuple(METHODS)]
    Noise = Annotated[reduce(or_, METHODS.values()), Field(discriminator="method")]
