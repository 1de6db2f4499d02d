"""The audit recipe: how victims are trained, which tiers are tested with what, and the owner's policy."""

import re
from dataclasses import fields
from fractions import Fraction
from functools import cache
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

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
from rem_release.release.canonical import sha256_file
from rem_release.threats.adversary import Adversary
from rem_release.threats.notation import build_part, nearest, parse_calls, write_call
from rem_release.threats.threat import Threat, parse_threat
from rem_release.training.precision import Precision

_HASH_OF_WEIGHTS = " sha256:"
"""what follows the name of a weights file in a certificate, see `AuditRecipe.published`"""
OLD_FP32 = "no"
"""what recipes and certificates of earlier versions call the precision fp32, which on a GPU had convolutions in TF32"""
_strict = ConfigDict(extra="forbid", validate_default=True)
SOURCE = "source"
OWN = "the owner's "
"""with which the name of a recipe begins that is not a shipped one"""
OWN_FILE = re.compile(r"[^,;:/]{1,100}\.ya?ml", re.IGNORECASE)
"""the name of its file that may follow: nothing that reads as more than a name"""
SHIPPED_LIMITS = {"standard": 0.30, "adversarial": 0.70, "adaptive": 0.70, "transfer": 0.70}
SHIPPED_REQUIRED = ("standard", "adversarial")
SHIPPED_CONFIDENCE = 0.95
SHIPPED_HALF_WIDTH = 0.06
SHIPPED_SHARE = 0.2
YARDSTICK = "audit-quick"
"""The shipped recipe with which the victims of an owner's own recipe are compared."""
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
    learning_rate: Annotated[float, Field(gt=0, le=3e38)] | None = None
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
        weights = Path(network.weights.split(_HASH_OF_WEIGHTS)[0]).name if network.weights else None
        return f"{self.name}{f', pretrained ({weights})' if weights else ''}{rate}"


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


def _read_precision(text: object) -> object:
    """`no`, unquoted or not, is how earlier versions wrote fp32."""
    return "fp32" if text == OLD_FP32 or text is False else text


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
    epochs: Annotated[float, Field(gt=0, le=100_000)]
    """How often it sees each training image, if that comes to `least_steps`."""
    least_steps: Annotated[int, Field(ge=1, le=10**9)] = 1
    """Steps that it trains for at least, however few images there are."""
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Annotated[float, Field(gt=0, le=3e38)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0, le=3e38)]
    decay_every: Annotated[float, Field(gt=0, le=1)]
    """Part of the training after which the learning rate is multiplied by `decay`, again and again."""
    decay: Annotated[float, Field(gt=0, le=1)]
    augmentation: Literal["none", "cifar", "imagenet"]
    """cifar: flip, pad, crop. imagenet: resized crop, flip."""
    precision: Annotated[Precision, BeforeValidator(_read_precision)] = "fp32"
    """Of the networks' numbers."""
    evaluations: Annotated[int, Field(ge=1, le=1000)] = 10
    """How often its answers to the test images are taken during training, the end included. Each of them is judged."""

    def count_steps(self, images: int) -> int:
        """Steps of the training on that many images."""
        return max(self.least_steps, ceil(self.epochs * ceil(images / min(self.batch_size, images))))

    def list_evaluations(self, images: int) -> list[int]:
        """The steps after which its answers are taken, ascending."""
        steps = self.count_steps(images)
        return sorted({max(1, round(steps * (number + 1) / self.evaluations)) for number in range(self.evaluations)})


@dataclass(frozen=True, kw_only=True, config=_strict)
class SeedCounts:
    """How many victims of each kind a row has. A bound takes three; without one a tier is looked at, never passed."""

    required: Annotated[int, Field(ge=1, le=100)] = 3
    """in required tiers"""
    others: Annotated[int, Field(ge=1, le=100)] = 1


@dataclass(frozen=True, kw_only=True, config=_strict)
class Statistics:
    """Intervals."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    half_width: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Accuracy must be known at least this well: decides how many test images it takes."""


@dataclass(frozen=True, kw_only=True, config=_strict)
class HoldoutSettings:
    """The clean test images."""

    share: Share = SHIPPED_SHARE
    """Of each class held out of the victims' training where neither --holdout nor a reserve is there."""
    overlap: Literal["refuse", "drop"] = "refuse"
    """What to do with test images that lie within ρ_u of a released one."""


@dataclass(frozen=True, kw_only=True, config=_strict)
class LearnabilitySettings:
    """The (q, η)-learnability bound of PUE; no samples, no bound."""

    samples: Annotated[int, Field(ge=0)] = 0
    sigma: Annotated[float, Field(gt=0, le=1e6)] = 0.25
    q: Share = 0.9
    eta: Annotated[float, Field(gt=0, le=1e6)] = 0.1


@dataclass(frozen=True, kw_only=True, config=_strict)
class Tier:
    """What one tier is tested with, and the policy on it. Without threats it is not tested."""

    required: bool = False
    limit: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Most leakage: every row's upper bound must stay under it."""
    architectures: Annotated[tuple[ArchitectureText, ...], Field(max_length=100)] = (SOURCE,)
    threats: Annotated[tuple[ThreatText, ...], Field(max_length=200)] = ()


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
    seeds: SeedCounts = SeedCounts()
    holdout: HoldoutSettings = HoldoutSettings()
    statistics: Statistics = Statistics()
    learnability: LearnabilitySettings = LearnabilitySettings()
    tiers: Tiers

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain values."""
        return _adapter.dump_python(self, mode="json")

    def published(self) -> dict[str, Any]:
        """As the certificate shows it: a weights file by its name and hash, not by its place on a machine."""
        document = self.to_dict()
        for tier in document["tiers"].values():
            tier["architectures"] = [_without_path(text) for text in tier["architectures"]]
        return document

    @classmethod
    def of(cls, published: dict[str, Any]) -> "AuditRecipe":
        """The recipe that a certificate shows.

        Raises:
            InputError: it is none.
        """
        recipe = validate(_adapter, published, "of the certificate", dotted_keys(AuditRecipe))
        _check_consistency(recipe, "of the certificate")
        if recipe.victim.precision == "auto":
            raise InputError(
                "recipe of the certificate: victim.precision auto does not say in what victims were computed"
            )
        return recipe

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
        file = Path(name).name
        return f"{OWN}{file if OWN_FILE.fullmatch(file) else 'recipe.yaml'}"
    given, shipped = flatten(recipe.to_dict()), flatten(load_audit_recipe(name).to_dict())
    changed = [key for key in given if given[key] != shipped[key]]
    return f"{name}, changed in {', '.join(changed)}" if changed else name


@cache
def shipped_audits() -> dict[str, AuditRecipe]:
    """The shipped audit recipes by name; not to be changed."""
    return {name: load_audit_recipe(name) for name in recipe_names() if is_audit_recipe(read_document(name))}


def _without_path(text: str) -> str:
    ((name, parameters),) = parse_calls(text)
    weights = parameters.get("weights")
    if weights is None or _HASH_OF_WEIGHTS in weights:
        return text
    path = Path(weights)
    return write_call(name, parameters | {"weights": f"{path.name}{_HASH_OF_WEIGHTS}{sha256_file(path)}"})


def _check_consistency(recipe: AuditRecipe, name: str) -> None:
    """Refuse a policy that contradicts itself."""
    reach = recipe.adversary.steps * recipe.adversary.relative_step_size
    if reach < 1:
        raise InputError(
            f"recipe {name}: adversary.steps times adversary.relative_step_size is {reach:g}, below 1: such an "
            "adversary cannot reach the radius that it is named after; raise one of them"
        )
    for field in fields(Tiers):
        tier = recipe.tier(field.name)
        idle = [part for text in tier.threats if (part := parse_threat(text).needs_augmentation)]
        if recipe.victim.augmentation == "none" and idle:
            raise InputError(
                f"recipe {name}: tiers.{field.name} has the threat {idle[0]}, whose draws are all the same with "
                "victim.augmentation none; set cifar or imagenet"
            )
        if tier.threats and not tier.architectures:
            raise InputError(f"recipe {name}: tiers.{field.name} has threats and no architecture; add source")
