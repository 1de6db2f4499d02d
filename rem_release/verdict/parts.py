"""The parts of threats: named entries with parameters. What they do is written in `countermeasures/` and `core/`."""

import re
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from rem_release.radius import format_radius

_strict = ConfigDict(extra="forbid")
Where = Literal["train", "both"]
"""on the training images only, or on the test images too"""
_LEAST_SIDE = 8
"""pixels, below which no network is asked to learn"""
_LONGEST = 200
"""characters of a radius"""
_NUMBER = re.compile(r"[-+]?\d*\.?\d*(?:[eE][-+]?\d{1,3})?(?:/\d*\.?\d*(?:[eE][-+]?\d{1,3})?)*")
OF_RHO_A = re.compile(r"(?:(?P<factor>\d+(?:\.\d+)?)\*)?rho_a(?:/(?P<divisor>\d+))?")


def _read_radius(value: object) -> str:
    """A radius as text: `4/255`, `0.5`, `rho_a`, `rho_a/2`, `2*rho_a`. Above 1 is fine in L1 and L2."""
    text = str(value).replace(" ", "")
    of_rho_a = OF_RHO_A.fullmatch(text)
    try:
        radius = factor_of(of_rho_a) if of_rho_a else read_fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError("write a radius as 4/255, 0.5, rho_a, rho_a/2 or 2*rho_a") from None
    if radius <= 0:
        raise ValueError("a radius is above 0")
    return text if of_rho_a else format_radius(radius)


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


def factor_of(of_rho_a: re.Match[str]) -> Fraction:
    """How many times ρ_a: 3/2 of `3*rho_a/2`."""
    return Fraction(of_rho_a["factor"] or 1) / int(of_rho_a["divisor"] or 1)


RadiusText = Annotated[str, BeforeValidator(_read_radius)]


@dataclass(frozen=True, config=_strict)
class Pgd:
    """Adversarial training (paper Eq. 2): PGD of that radius in that norm; the recipe gives steps and step size."""

    radius: RadiusText
    norm: Literal["linf", "l2", "l1"] = "linf"

    def __post_init__(self) -> None:
        if self.norm == "linf" and not OF_RHO_A.fullmatch(self.radius) and self.size > 1:
            raise ValueError(f"radius {self.radius} is above 1, the whole range of a pixel; write 4/255")

    @property
    def size(self) -> Fraction:
        """The radius as a number, once `rho_a` is known."""
        return read_fraction(self.radius)

    def words(self) -> str:
        """In plain words."""
        norm = {"linf": "L∞", "l2": "L2", "l1": "L1"}[self.norm]
        return f"adversarial training ({norm}, {self.radius})"


@dataclass(frozen=True, config=_strict)
class Mean:
    """3 × 3 mean filter (paper Appendix D)."""

    on: Where = "train"

    def words(self) -> str:
        """In plain words."""
        return f"mean filter{_where(self.on)}"


@dataclass(frozen=True, config=_strict)
class Median:
    """3 × 3 median filter (paper Appendix D)."""

    on: Where = "train"

    def words(self) -> str:
        """In plain words."""
        return f"median filter{_where(self.on)}"


@dataclass(frozen=True, config=_strict)
class Gaussian:
    """3 × 3 Gaussian filter (paper Appendix D) of a standard deviation in pixels."""

    sigma: Annotated[float, Field(ge=0.3, le=10)] = 1.0
    on: Where = "train"

    def words(self) -> str:
        """In plain words."""
        return f"Gaussian filter (σ {self.sigma:g}){_where(self.on)}"


@dataclass(frozen=True, config=_strict)
class Greyscale:
    """Grey pictures of three equal channels."""

    on: Where = "train"

    def words(self) -> str:
        """In plain words."""
        return f"greyscale{_where(self.on)}"


@dataclass(frozen=True, config=_strict)
class Jpeg:
    """Saved as JPEG and read again."""

    quality: Annotated[int, Field(ge=1, le=100)]
    on: Where = "train"

    def words(self) -> str:
        """In plain words."""
        return f"JPEG at quality {self.quality}{_where(self.on)}"


@dataclass(frozen=True, config=_strict)
class BitDepth:
    """Only the highest bits of each channel are kept."""

    bits: Annotated[int, Field(ge=1, le=7)] = 2
    on: Where = "train"

    def words(self) -> str:
        """In plain words."""
        return f"bit depth {self.bits}{_where(self.on)}"


@dataclass(frozen=True, config=_strict)
class Orthogonal:
    """Orthogonal projection of the linear shortcut (Sandoval-Segura et al., 2023)."""

    on: Where = "train"

    def words(self) -> str:
        """In plain words."""
        return f"orthogonal projection{_where(self.on)}"


@dataclass(frozen=True, config=_strict)
class ResizedCrop:
    """The pipeline of photographs: random resized crops of each picture at its own size, flipped or not, to train on;
    resize and centre crop to test on. In place of the recipe's augmentation."""

    size: Annotated[float, Field(ge=0.25, le=4)] = 1.0
    """side that the network sees, as a part of the working resolution"""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    antialias: bool = True
    min_area: Annotated[float, Field(gt=0, le=1)] = 0.08
    """least area of a crop, as a part of the picture"""
    views: Annotated[int, Field(ge=1, le=64)] = 8
    """crops that are made of each training picture"""

    def side(self, resolution: int) -> int:
        """Side that the network sees, in pixels, at a working resolution."""
        return max(_LEAST_SIDE, round(self.size * resolution))

    def words(self) -> str:
        """In plain words."""
        how = f"{self.interpolation}{'' if self.antialias else ', not antialiased'}"
        return f"random resized crops at {self.size:g} × the working resolution ({how})"


@dataclass(frozen=True, config=_strict)
class Cutout:
    """A square of that share of the side is blanked (DeVries and Taylor, 2017)."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.5

    def words(self) -> str:
        """In plain words."""
        return "cutout"


@dataclass(frozen=True, config=_strict)
class Mixup:
    """Pairs of images and labels are blended (Zhang et al., 2018)."""

    alpha: Annotated[float, Field(gt=0, le=100)] = 1.0

    def words(self) -> str:
        """In plain words."""
        return "mixup"


@dataclass(frozen=True, config=_strict)
class Cutmix:
    """A part of another image is pasted in, and labels are blended (Yun et al., 2019)."""

    alpha: Annotated[float, Field(gt=0, le=100)] = 1.0

    def words(self) -> str:
        """In plain words."""
        return "cutmix"


@dataclass(frozen=True, config=_strict)
class Ueraser:
    """UEraser (Qin et al., 2023): strong augmentation; `max` learns the worst of five draws, `lite` one draw."""

    mode: Literal["lite", "max"] = "lite"

    def words(self) -> str:
        """In plain words."""
        return f"UEraser-{self.mode}"


@dataclass(frozen=True, config=_strict)
class Eot:
    """A victim that knows the method: its loss is the mean over several draws of the transformation."""

    samples: Annotated[int, Field(ge=2, le=64)] = 4

    def words(self) -> str:
        """In plain words."""
        return f"mean over {self.samples} own EOT draws"


@dataclass(frozen=True, config=_strict)
class Mixed:
    """Partial protection (paper Tables 2 and 8): the thief has clean originals of the other rows."""

    protected: Annotated[float, Field(gt=0, lt=1)] = 0.8

    def words(self) -> str:
        """In plain words."""
        return f"{self.protected:.0%} protected images mixed with clean ones"


@dataclass(frozen=True, config=_strict)
class LinearProbe:
    """A linear classifier on the pixels, instead of the network."""

    def words(self) -> str:
        """In plain words."""
        return "linear probe on the pixels"


@dataclass(frozen=True, config=_strict)
class TwoLayerProbe:
    """A network of two layers on the pixels, instead of the network."""

    def words(self) -> str:
        """In plain words."""
        return "two-layer probe on the pixels"


Filter = Mean | Median | Gaussian | Greyscale | Jpeg | BitDepth
PARTS: dict[str, type] = {
    "mean": Mean,
    "median": Median,
    "gaussian": Gaussian,
    "greyscale": Greyscale,
    "jpeg": Jpeg,
    "bit_depth": BitDepth,
    "orthogonal": Orthogonal,
    "resized_crop": ResizedCrop,
    "cutout": Cutout,
    "mixup": Mixup,
    "cutmix": Cutmix,
    "ueraser": Ueraser,
    "eot": Eot,
    "mixed": Mixed,
    "linear_probe": LinearProbe,
    "two_layer_probe": TwoLayerProbe,
    "pgd": Pgd,
}


def _where(on: Where) -> str:
    return " on training and test images" if on == "both" else " on training images"
