"""The audit recipe: how victims are trained, which tiers are tested with what, and the owner's policy."""

from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from rem_release.audit.calls import build_part, nearest, parse_calls
from rem_release.audit.parts import Eot
from rem_release.audit.threats import Threat, parse_threat
from rem_release.errors import InputError
from rem_release.radius import format_radius
from rem_release.recipe_files import (
    dotted_keys,
    flatten,
    is_audit_recipe,
    read_document,
    recipe_names,
    validate,
    with_settings,
)

_strict = ConfigDict(extra="forbid", validate_default=True)
SOURCE = "source"
SHIPPED_LIMITS = {"standard": 0.30, "adversarial": 0.70, "adaptive": 0.70, "transfer": 0.70}
SHIPPED_REQUIRED = ("standard", "adversarial")
SHIPPED_CONFIDENCE = 0.95
SHIPPED_HALF_WIDTH = 0.06
SHIPPED_ARCHITECTURES = 3
"""A required tier stands on the source architecture and two others."""
ARCHITECTURES = (
    *("vgg16", "resnet18", "resnet50", "densenet121", "wide_resnet34_10", "mobilenet_v2", "senet18", "vit_small"),
    *("small_resnet", "small_vgg", "small_mobilenet"),
)


@dataclass(frozen=True, config=_strict)
class Network:
    """Parameters of an architecture, all optional: `resnet18(weights=FILE, resize=224, learning_rate=0.01)`."""

    weights: str | None = None
    """safetensors or torchvision state dict of a pretrained backbone, which is fine-tuned"""
    resize: Annotated[int, Field(ge=8, le=1024)] = 224
    """side to which images are enlarged for a pretrained backbone"""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """instead of the recipe's"""


@dataclass(frozen=True)
class Architecture:
    """A victim's network by name."""

    name: str
    network: Network

    @property
    def text(self) -> str:
        """As the report names it; of a weights file only the name is told, not where it lies."""
        network = self.network
        rate = f", learning rate {network.learning_rate:g}" if network.learning_rate else ""
        return f"{self.name}{f', pretrained ({Path(network.weights).name})' if network.weights else ''}{rate}"


def parse_architecture(text: str) -> Architecture:
    """Read an architecture such as `resnet18` or `resnet18(weights=FILE)`.

    Raises:
        ValueError: an unknown name or parameter, or a value that is not valid.
    """
    calls = parse_calls(text)
    if len(calls) != 1:
        raise ValueError(f"{text!r}: one architecture, not several joined by +")
    name, parameters = calls[0]
    names = [SOURCE, *ARCHITECTURES]
    if name not in names:
        raise ValueError(f"no architecture {name!r}; {nearest(name, names)}")
    return Architecture(name, build_part(name, parameters, dict.fromkeys(names, Network), "architecture"))


def _check_threat(text: object) -> object:
    parse_threat(_require_text(text))
    return text


def _check_architecture(text: object) -> object:
    parse_architecture(_require_text(text))
    return text


def _require_text(text: object) -> str:
    if not isinstance(text, str):
        raise ValueError("write text, such as pgd(radius=rho_a), in quotes if it holds a comma")
    return text


ThreatText = Annotated[str, BeforeValidator(_check_threat)]
ArchitectureText = Annotated[str, BeforeValidator(_check_architecture)]
Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, kw_only=True, config=_strict)
class Victim:
    """Training of a victim (paper Appendix A.4)."""

    source_model: Literal[ARCHITECTURES] = "resnet18"  # type: ignore[valid-type]
    """Stands for `source` where the release does not name its source model."""
    resolution: Annotated[int, Field(ge=8, le=1024)] | None = None
    """Side of the square images that victims see; none: the release's working resolution."""
    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    decay_every: Annotated[int, Field(ge=1)]
    """Steps after which the learning rate is multiplied by `decay`."""
    decay: Annotated[float, Field(gt=0, le=1)]
    augmentation: Literal["none", "cifar", "imagenet"]
    """cifar: flip, pad, crop. imagenet: resized crop, flip."""
    precision: Literal["no", "bf16"] = "no"
    """Mixed precision."""
    evaluations: Annotated[int, Field(ge=1)] = 10
    """How often test accuracy is measured during training, the end included."""


@dataclass(frozen=True, kw_only=True, config=_strict)
class Adversary:
    """PGD of adversarial training (paper Appendix A.4: 10 steps of a fifth of the radius)."""

    steps: Annotated[int, Field(ge=1)] = 10
    relative_step_size: Annotated[float, Field(gt=0, le=2)] = 0.2
    """Step size as a part of the radius."""


@dataclass(frozen=True, kw_only=True, config=_strict)
class Seeds:
    """How many seeds: one or more for every row, and more for each tier's worst rows, once they are known."""

    grid: Annotated[int, Field(ge=1)] = 1
    worst: Annotated[int, Field(ge=1)] = 1
    worst_rows: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True, kw_only=True, config=_strict)
class Statistics:
    """Intervals."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    resamples: Annotated[int, Field(ge=100)] = 10_000
    half_width: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Accuracy must be known at least this well, corrected for the rows of a tier: decides how many test images it
    takes."""


@dataclass(frozen=True, kw_only=True, config=_strict)
class Holdout:
    """The clean test images."""

    share: Share = 0.2
    """Of each class held out of the victims' training where neither --holdout nor a reserve is there."""
    overlap: Literal["refuse", "drop"] = "refuse"
    """What to do with test images that lie within ρ_u of a released one."""


@dataclass(frozen=True, kw_only=True, config=_strict)
class Learnability:
    """The (q, η)-learnability bound of PUE; no samples, no bound."""

    samples: Annotated[int, Field(ge=0)] = 0
    sigma: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.25
    q: Share = 0.9
    eta: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1


@dataclass(frozen=True, kw_only=True, config=_strict)
class Tier:
    """What one tier is tested with, and the policy on it. Without threats it is not tested."""

    required: bool = False
    limit: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Most leakage: every row's upper bound must stay under it."""
    architectures: tuple[ArchitectureText, ...] = (SOURCE,)
    threats: tuple[ThreatText, ...] = ()


@dataclass(frozen=True, kw_only=True, config=_strict)
class Tiers:
    """The four tiers. What is left out is not tested; `standard` and `adversarial` are then required all the same."""

    standard: Tier = Tier(required=True, limit=SHIPPED_LIMITS["standard"])
    adversarial: Tier = Tier(required=True, limit=SHIPPED_LIMITS["adversarial"])
    adaptive: Tier = Tier()
    transfer: Tier = Tier()


@dataclass(frozen=True, kw_only=True, config=_strict)
class AuditRecipe:
    """Everything that decides an audit, less the images."""

    victim: Victim
    adversary: Adversary = Adversary()
    seeds: Seeds = Seeds()
    holdout: Holdout = Holdout()
    statistics: Statistics = Statistics()
    learnability: Learnability = Learnability()
    tiers: Tiers

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain values."""
        return _adapter.dump_python(self, mode="json")

    def tier(self, name: str) -> Tier:
        """A tier by name."""
        return getattr(self.tiers, name)

    def threats(self, name: str, rho_a: Fraction) -> list[Threat]:
        """The threats of a tier with `rho_a` put in, each once.

        Raises:
            InputError: a multiple of `rho_a` is above 1.
        """
        found = []
        for text in self.tier(name).threats:
            try:
                found.append(parse_threat(text).at(rho_a))
            except ValueError:
                raise InputError(
                    f"tiers.{name}: {text} is above 1, the whole range of a pixel, at rho_a = {format_radius(rho_a)}; "
                    "lower its radius"
                ) from None
        return list({threat.name: threat for threat in found}.values())


_adapter: TypeAdapter[AuditRecipe] = TypeAdapter(AuditRecipe)


def load_audit_recipe(name: str, settings: dict[str, str] | None = None) -> AuditRecipe:
    """Read a shipped recipe or a YAML file, and change single keys of it.

    Raises:
        InputError: unreadable, unknown keys or names (the nearest valid one is told), or invalid values (all at once).
    """
    document = read_document(name)
    if not is_audit_recipe(document):
        raise InputError(f"recipe {name} is not an audit recipe (it has no tiers); give it to rem-release protect")
    keys = dotted_keys(AuditRecipe)
    recipe = validate(_adapter, document, name, keys)
    if settings:
        recipe = validate(_adapter, with_settings(recipe.to_dict(), settings, keys), name, keys)
    _check_consistency(recipe, name)
    return recipe


def name_recipe(name: str, recipe: AuditRecipe) -> str:
    """What the certificate calls a recipe: a shipped one by its name, and one that was changed as changed.

    Args:
        name: as the command line gave it.
        recipe: with the changes of the command line.
    """
    if name not in recipe_names():
        return f"the owner's {Path(name).name}"
    given, shipped = flatten(recipe.to_dict()), flatten(load_audit_recipe(name).to_dict())
    changed = [key for key in given if given[key] != shipped[key]]
    return f"{name}, changed in {', '.join(changed)}" if changed else name


def _check_consistency(recipe: AuditRecipe, name: str) -> None:
    """Refuse a policy that contradicts itself."""
    seeds = recipe.seeds
    if seeds.worst_rows and seeds.worst < seeds.grid:
        raise InputError(f"recipe {name}: seeds.worst ({seeds.worst}) is below seeds.grid ({seeds.grid})")
    reach = recipe.adversary.steps * recipe.adversary.relative_step_size
    if reach < 1:
        raise InputError(
            f"recipe {name}: adversary.steps times adversary.relative_step_size is {reach:g}, below 1: such an "
            "adversary cannot reach the radius that it is named after; raise one of them"
        )
    for field in fields(Tiers):
        tier = recipe.tier(field.name)
        if recipe.victim.augmentation == "none" and any(parse_threat(text).find(Eot) for text in tier.threats):
            raise InputError(
                f"recipe {name}: tiers.{field.name} has the threat eot, whose draws are all the same with "
                "victim.augmentation none; set cifar or imagenet"
            )
        if tier.threats and not tier.architectures:
            raise InputError(f"recipe {name}: tiers.{field.name} has threats and no architecture; add source")
