"""Threats: what a thief does with the released images. Named entries with parameters, which can be joined by `+`.

Each acts where a thief would apply it: filters on the pictures at their own size, resized crops in place of the working
grid, the projection on the whole training set, augmentations and the adversary in the training step. An unknown name or
parameter is an error.
"""

from dataclasses import fields, replace
from fractions import Fraction
from typing import Any

from pydantic.dataclasses import dataclass

from rem_release.radius import format_radius
from rem_release.verdict.calls import build_part, parse_calls, write_call
from rem_release.verdict.parts import (
    OF_RHO_A,
    PARTS,
    Cutmix,
    Eot,
    Filter,
    LinearProbe,
    Mixed,
    Mixup,
    Orthogonal,
    Pgd,
    ResizedCrop,
    TwoLayerProbe,
    Ueraser,
    factor_of,
)

STANDARD = "standard"
_NAMES = {entry: name for name, entry in PARTS.items()}
_ONE_OF = (
    (Mixup, Cutmix, Ueraser, Eot),
    (LinearProbe, TwoLayerProbe),
    (ResizedCrop, Eot),  # which draws the recipe's augmentation, in whose place the crops stand
    (ResizedCrop, Orthogonal),  # which is fitted to whole pictures
)
_UNSAID = ("on", "norm", *(field.name for field in fields(ResizedCrop)))
"""parameters that a name leaves out where they have their default"""


@dataclass(frozen=True)
class Threat:
    """Parts in the order in which they were written; none is standard training."""

    parts: tuple[Any, ...] = ()

    def find(self, kind: type) -> Any:
        """The part of that kind, or None."""
        return next((part for part in self.parts if isinstance(part, kind)), None)

    def filters(self, *, test: bool) -> list[Filter]:
        """Filters of the training images, or of the test images, in order."""
        chosen = [part for part in self.parts if isinstance(part, Filter)]
        return [part for part in chosen if part.on == "both"] if test else chosen

    @property
    def probe(self) -> str | None:
        """Name of the probe that replaces the network."""
        return next((_NAMES[type(part)] for part in self.parts if isinstance(part, (LinearProbe, TwoLayerProbe))), None)

    @property
    def name(self) -> str:
        """Canonical name: two threats that do the same have the same."""
        return "+".join(_write(part) for part in self.parts) or STANDARD

    def words(self) -> str:
        """In plain words."""
        return ", ".join(part.words() for part in self.parts) or "standard training"

    def without_mixing(self) -> "Threat":
        """The same on images that are all of one kind."""
        return Threat(tuple(part for part in self.parts if not isinstance(part, Mixed)))

    def at(self, rho_a: Fraction) -> "Threat":
        """The same with `rho_a` in radii replaced by its value.

        Raises:
            ValueError: a radius comes out above 1, the whole range of a pixel.
        """
        parts = tuple(replace(p, radius=_resolve(p.radius, rho_a)) if isinstance(p, Pgd) else p for p in self.parts)
        return Threat(parts)

    @property
    def plain_radius(self) -> Fraction | None:
        """L∞ radius of adversarial training without anything else; 0 for standard training; else None."""
        if not self.parts:
            return Fraction(0)
        is_plain = len(self.parts) == 1 and isinstance(self.parts[0], Pgd) and self.parts[0].norm == "linf"
        return self.parts[0].size if is_plain else None


def parse_threat(text: str) -> Threat:
    """Read a threat such as `standard`, `jpeg(quality=10) + pgd(radius=rho_a)`.

    Raises:
        ValueError: an unknown name or parameter, a value that is not valid, or parts that do not go together.
    """
    calls = parse_calls(text)
    if [name for name, _ in calls] == [STANDARD] and not calls[0][1]:
        return Threat()
    if any(name == STANDARD for name, _ in calls):
        raise ValueError(f"{text!r}: standard stands alone and has no parameters")
    parts = tuple(build_part(name, parameters, PARTS, "threat") for name, parameters in calls)
    kinds = [type(part) for part in parts]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise ValueError(f"{text!r}: {_NAMES[kind]} stands twice")
    for group in _ONE_OF:
        found = [_NAMES[kind] for kind in kinds if kind in group]
        if len(found) > 1:
            raise ValueError(f"{text!r}: {' and '.join(found)} do not go together")
    return Threat(tuple(sorted(parts, key=_place)))


def _place(part: Any) -> int:
    """Filters keep their order, which matters; the rest has one."""
    return -1 if isinstance(part, Filter) else list(PARTS.values()).index(type(part))


def _write(part: Any) -> str:
    said = {
        field.name: value
        for field in fields(part)
        if (value := getattr(part, field.name)) != field.default or field.name not in _UNSAID
    }
    return write_call(_NAMES[type(part)], {key: _plain(value) for key, value in said.items()})


def _plain(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).removesuffix(".0") if isinstance(value, float) else value


def _resolve(text: str, rho_a: Fraction) -> str:
    of_rho_a = OF_RHO_A.fullmatch(text)
    return format_radius(factor_of(of_rho_a) * rho_a) if of_rho_a else text
