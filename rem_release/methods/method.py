"""What every method is: fields of a recipe that know their rules, their cost, their words, and who makes the noise.

A method is one file of this room. Its class is what stands under `noise` in a recipe whose `method` is its name;
`methods.METHODS` lists it. Nothing of a method imports torch before its noise is made: what does is imported inside
`build`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Self

from rem_release.errors import InputError
from rem_release.methods.fields import Data, GeneratorSettings
from rem_release.radius import format_radius, whole_levels

if TYPE_CHECKING:
    from accelerate import Accelerator

    from rem_release.methods.maker import Maker
    from rem_release.training.precision import Execution, Precision

_NO_EOT = {"transform": "none", "samples": 1}


@dataclass(frozen=True)
class Words:
    """What card and facts say of a method.

    Attributes:
        name: of the noise, with its source.
        title: of a card whose owner gave none.
        tags: for the Hub.
        limits: Markdown, what is published on how such noise fails.
        citations: BibTeX entries that the card asks to cite, as they are; none for noise without a source.
        undone_by: with what published tests undo it, for the first lines of the card.
    """

    name: str
    title: str
    tags: tuple[str, ...]
    limits: str
    citations: tuple[str, ...] = ()
    undone_by: str = "greyscale, JPEG compression or stronger adversarial training"


@dataclass(frozen=True)
class Phase:
    """A part of the work, and its cost in sample gradient evaluations."""

    name: str
    gradients: int


@dataclass(frozen=True)
class Setting:
    """What a method is built for."""

    data: Data
    generator: GeneratorSettings | None
    precision: "Precision"
    execution: "Execution"
    classes: int
    seed: int


class Method(ABC):
    """A way to make noise, as a recipe states it."""

    method: str
    """Its name."""
    rho_u: Fraction
    """ρ_u, the defensive radius: the most that any pixel may change. A fractional number of levels rounds down."""

    words: ClassVar[Words]
    is_control: ClassVar[bool] = False
    """It protects nothing, is compared with, and never certified."""
    has_adversary: ClassVar[bool] = False
    """The noise is made to withstand adversarial training up to ρ_a, its field `rho_a`."""
    trains: ClassVar[bool] = True
    """It trains source models, as the recipe's `generator` says."""
    refuses_unseen: ClassVar[str | None] = None
    """Why it makes no noise for images that it was not built on (`--generator`, the card's figure); None if it does."""

    @property
    def withstands(self) -> Fraction:
        """ρ_a, the adversarial radius that the noise is made to withstand; 0 without one."""
        return Fraction(0)

    def check(self) -> None:
        """Refuse settings that contradict each other.

        Raises:
            InputError: names the key, the value and what to do.
        """
        rho_u = format_radius(self.rho_u)
        if whole_levels(self.rho_u) < 1:
            raise InputError(f"noise.rho_u {rho_u} is less than one 8-bit level; give at least 1/255")
        if whole_levels(self.rho_u) > 127:
            raise InputError(f"noise.rho_u {rho_u} is above 127/255: nothing of the image would be left; try 8/255")

    def refuses_count(self, images: int) -> str | None:
        """Why these settings are none for so many images (U, those that get a noise of their own), and what to do;
        None if they are."""
        return None

    def warn(self) -> list[str]:
        """What is allowed, and probably not meant."""
        return []

    @classmethod
    def adopt(cls, other: "Method") -> Self:
        """This method with the settings of another one: those that it has, too.

        Raises:
            InputError: it needs settings that the other one lacks, and has no default for them.
        """
        shared = {field.name: getattr(other, field.name) for field in fields(cls) if hasattr(other, field.name)}  # type: ignore[arg-type]
        name = cls.name()
        required = [key for key, field in cls.__pydantic_fields__.items() if field.is_required()]  # type: ignore[attr-defined]
        lacking = [key for key in required if key not in shared]
        if lacking:
            raise InputError(
                f"--method {name} needs {', '.join(f'noise.{key}' for key in lacking)}, which a recipe for "
                f"{other.method} lacks; start from a {name}- recipe"
            )
        return cls(**{**shared, "method": name})

    @classmethod
    def name(cls) -> str:
        """As recipes and `--method` write it."""
        return str(cls.__dataclass_fields__["method"].default)  # type: ignore[attr-defined]

    def with_radii(self, rho_u: Fraction | None, rho_a: Fraction | None) -> Self:
        """The same at other radii; step sizes follow in proportion, as Table 5 states them (α = ρ/5).

        Raises:
            InputError: there is no adversary that ρ_a could be for.
        """
        if rho_a and not self.has_adversary:
            from rem_release.methods import METHODS

            others = " or ".join(name for name, method in METHODS.items() if method.has_adversary)
            raise InputError(
                f"--rho-a {format_radius(rho_a)}: noise.method {self.method} has no adversary; use --method {others}"
            )
        return self if rho_u is None else replace(self, rho_u=rho_u)  # type: ignore[type-var]

    @abstractmethod
    def list_phases(self, setting: Setting, images: int, padded: int) -> list[Phase]:
        """What will be done, in order; the last phase makes the noise.

        Args:
            setting: what it is built for.
            images: U, images that get noise.
            padded: how many the last phase computes noise for, those that fill up batches included.
        """

    def describe(self) -> dict[str, Any]:
        """The settings as the facts state them, where they are not 0: see `release.facts.ProtectionFacts`.

        A method with several source models, or with others than the recipe's `generator.model`, names them here:
        `{"source_model": ("resnet18", "vgg16")}`; the first is the one that audits call `source`.
        """
        return {"eot": _NO_EOT}

    @classmethod
    def list_rows(cls, protection: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Rows of the card's table of settings, from the facts of the protection: (setting, value). Radii, source
        models, precision and working resolution have their rows already."""
        return []

    def count_checkpoint_bytes(self, setting: Setting) -> int:
        """Bytes of one checkpoint of the longest phase: weights, and what the optimisers know of each."""
        return 0

    def count_kept_bytes(self, setting: Setting) -> int:
        """Bytes that the training keeps for each image beside its checkpoints, see `Checkpoint.keep_rows`."""
        return 0

    @abstractmethod
    def build(self, setting: Setting, accelerator: "Accelerator") -> "Maker":
        """Who trains what the method needs, and makes its noise."""
