"""The threats that there are: the files of `kinds`."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from rem_release.threats import kinds
from rem_release.threats.base import ThreatPart

_FIRST = ("mean", "median", "gaussian", "greyscale", "jpeg", "mixup", "cutmix", "ueraser")
"""Of a stage, those that are listed first, for certificates list them so; the others follow by name."""


@cache
def known_parts() -> dict[str, type[ThreatPart]]:
    """The class of each threat by name, those of one stage after another.

    Raises:
        TypeError: a file of `kinds` does not hold one threat, or a class of it says what nobody would ask for.
    """
    found = {file.name: _part_of(f"{kinds.__name__}.{file.name}") for file in iter_modules(kinds.__path__)}
    first = {name: place for place, name in enumerate(_FIRST)}
    return dict(sorted(found.items(), key=lambda entry: (entry[1].stage, first.get(entry[0], len(first)), entry[0])))


def _part_of(name: str) -> type[ThreatPart]:
    module = import_module(name)
    own = [each for each in vars(module).values() if isinstance(each, type) and each.__module__ == name]
    parts = [each for each in own if issubclass(each, ThreatPart) and not each.__name__.startswith("_")]
    if len(parts) != 1:
        raise TypeError(
            f"{name} has {len(parts)} threats, and one file holds one; begin the names of classes that it is made of "
            "with _"
        )
    return parts[0]
