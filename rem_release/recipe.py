"""Recipes: frozen dataclasses; YAML in, validated object out; one hash.

A recipe holds everything that decides what the noise is, less the images and the seed. Radii and step sizes are exact
fractions of the full range and are written `8/255`, `0.0314` or `8px`.
"""

from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, TypeAdapter, WithJsonSchema
from pydantic.dataclasses import dataclass

from rem_release.errors import InputError
from rem_release.radius import format_radius, parse_radius, whole_levels
from rem_release.recipe_files import dotted_keys, hash_document, is_audit_recipe, read_document, validate

Radius = Annotated[
    Fraction,
    BeforeValidator(parse_radius),
    PlainSerializer(format_radius, return_type=str),
    WithJsonSchema({"type": "string"}),
]
Method = Literal["rem", "em", "sem", "random"]
Transform = Literal["none", "cifar", "imagenet", "photograph"]
_strict = ConfigDict(extra="forbid", validate_default=True)


@dataclass(frozen=True, kw_only=True, config=_strict)
class Data:
    """How images are brought to the network."""

    resolution: Annotated[int, Field(ge=2, le=1024)]
    """Side of the square working grid, in pixels. Images of other sizes are released at their own size."""
    clusters: Annotated[int, Field(ge=2)] = 10
    """Number of clusters that `--label-from clusters` makes."""


@dataclass(frozen=True, kw_only=True, config=_strict)
class Eot:
    """Expectation over transformation (paper 4.3, Appendix A.2)."""

    transform: Transform
    """cifar: flip, pad 4, crop. imagenet: resized crop, flip. photograph: that of half of the area or more,
    and a random loss of resolution. none: the identity."""
    samples: Annotated[int, Field(ge=1)]
    """J, draws of the transformation for each step of the defensive noise."""


@dataclass(frozen=True, kw_only=True, config=_strict)
class Noise:
    """The noise (paper Eq. 5, Table 5)."""

    method: Method
    """rem: the min-min-max of Eq. 5. sem: its inner maximum replaced by a uniform draw. em: Eq. 3. random: signs."""
    rho_u: Radius
    """ρ_u, the defensive radius: the most that any pixel may change. A fractional number of levels rounds down."""
    steps: Annotated[int, Field(ge=0)]
    """K_u, steps of the defensive noise."""
    step_size: Radius
    """α_u."""
    rho_a: Radius
    """ρ_a, the adversarial radius that the noise is made to withstand."""
    adversary_steps: Annotated[int, Field(ge=0)]
    """K_a, steps of the inner maximum."""
    adversary_step_size: Radius
    """α_a."""
    eot: Eot


@dataclass(frozen=True, kw_only=True, config=_strict)
class Generator:
    """Training of the source model f' (paper Appendix A.3.1)."""

    model: Literal["resnet18", "small_resnet"]
    """The source model."""
    steps: Annotated[int, Field(ge=0)]
    """M, training steps."""
    batch_size: Annotated[int, Field(ge=2)]
    """Images a step, over all processes; BatchNorm needs two."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    decay_every: Annotated[int, Field(ge=1)]
    """Steps after which the learning rate is multiplied by `decay`."""
    decay: Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, kw_only=True, config=_strict)
class Recipe:
    """Everything that decides what the noise is, less the images and the seed."""

    data: Data
    noise: Noise
    generator: Generator

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain values, radii written as `8/255`."""
        return _adapter.dump_python(self, mode="json")

    def sha256(self) -> str:
        """Hash of the resolved recipe."""
        return hash_document(self.to_dict())


_adapter: TypeAdapter[Recipe] = TypeAdapter(Recipe)


def load_recipe(name: str) -> Recipe:
    """Read a shipped recipe or a YAML file.

    Raises:
        InputError: unreadable, unknown keys (the nearest valid one is named), or invalid values (all at once).
    """
    return parse_recipe(read_document(name), name)


def parse_recipe(document: dict[str, Any], name: str) -> Recipe:
    """Validate plain values as a recipe.

    Raises:
        InputError: unknown keys or invalid values, all in one message.
    """
    if is_audit_recipe(document):
        raise InputError(f"recipe {name} is an audit recipe; give it to rem-release audit")
    recipe = validate(_adapter, document, name, dotted_keys(Recipe))
    check_consistency(recipe.noise)
    return recipe


def check_consistency(noise: Noise) -> None:
    """Refuse settings that contradict each other.

    Raises:
        InputError: ρ_u below one level, ρ_a ≥ ρ_u (paper 4.2), or settings that are not those of the method.
    """
    rho_u, rho_a = format_radius(noise.rho_u), format_radius(noise.rho_a)
    if whole_levels(noise.rho_u) < 1:
        raise InputError(f"noise.rho_u {rho_u} is less than one 8-bit level; give at least 1/255")
    if whole_levels(noise.rho_u) > 127:
        raise InputError(f"noise.rho_u {rho_u} is above 127/255: nothing of the picture would be left; try 8/255")
    if noise.method in ("rem", "sem") and noise.rho_a >= noise.rho_u:
        raise InputError(
            f"noise.rho_a {rho_a} is not below noise.rho_u {rho_u}: such noise cannot suppress anything "
            f"(paper 4.2); half of rho_u is the usual choice"
        )
    if noise.method == "em" and (noise.rho_a, noise.eot.transform, noise.eot.samples) != (0, "none", 1):
        raise InputError(
            "noise.method em has no adversary and no EOT: set noise.rho_a 0, noise.eot.transform none and "
            "noise.eot.samples 1, or use --method em, which sets them"
        )
    if noise.method != "random" and (noise.steps < 1 or noise.step_size == 0):
        raise InputError(f"noise.method {noise.method} needs noise.steps and noise.step_size above 0")
    if noise.method in ("rem", "sem") and noise.rho_a > 0 and not (noise.adversary_steps and noise.adversary_step_size):
        raise InputError(
            f"noise.method {noise.method} with rho_a {rho_a} needs adversary_steps and adversary_step_size above 0"
        )
