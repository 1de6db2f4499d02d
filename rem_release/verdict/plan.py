"""What an audit trains: rows of the tiers, and the victims that each row needs."""

import hashlib
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, get_args

from rem_release.errors import InputError
from rem_release.recipe_files import hash_document
from rem_release.release.certificate import TIERS, TierName
from rem_release.threats.threat import Threat, write_parts
from rem_release.verdict.recipe import (
    OLD_FP32,
    SOURCE,
    YARDSTICK,
    Architecture,
    AuditRecipe,
    Network,
    Victim,
    parse_architecture,
    shipped_audits,
)

TrainedOn = Literal["protected", "clean part", "clean", "random", "yardstick"]
"""The released images; those of them without noise; the originals; the originals with random signs; and the originals
once more, by a victim of the shipped recipe, where the audit has a recipe of its own."""
KINDS: tuple[TrainedOn, ...] = get_args(TrainedOn)
_ANY_NETWORK = "small_resnet"
_OF_RELEASE = ("protected", "clean part")
_MAX_VICTIMS = 5_000


@dataclass(frozen=True)
class Seeds:
    """Where the seeds of victims come from.

    Whoever makes a release, or chooses its test images, cannot know before what its victims will answer: theirs derive
    from the digests of both. Those of the baselines derive from the originals and the test images alone, so that all
    releases of these originals share them. How victims are trained decides them too, so that answers of weak ones
    cannot be shown as those of others.

    Attributes:
        release: digest of the release.
        clean: digest of the originals.
        holdout: digest of the test images.
        training: of `describe_training`.
    """

    release: str
    clean: str
    holdout: str
    training: str

    def of(self, trained_on: TrainedOn, number: int) -> int:
        """The seed of the victim with that number, 0 or more: below 2^48."""
        own = self.release if trained_on in _OF_RELEASE else self.clean
        text = f"rem-release victim {own} {self.holdout} {self.training} {number}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])


def describe_training(recipe: AuditRecipe, origin: str) -> str:
    """A hash over how victims are trained, and where their test images come from.

    It has the old word for fp32, so that seeds stay what they were, and certificates of earlier versions hold.
    """
    document = recipe.to_dict()
    victim = document["victim"]
    if victim["precision"] == "fp32":
        victim["precision"] = OLD_FP32
    return hash_document({"adversary": document["adversary"], "origin": origin, "victim": victim})


@dataclass(frozen=True)
class Task:
    """One victim to train."""

    architecture: Architecture
    threat: Threat
    trained_on: TrainedOn
    seed: int

    @property
    def key(self) -> tuple[str, str, TrainedOn, int]:
        """Two tasks of one key are the same victim: no two networks of an audit have one name, see `plan_rows`."""
        return self.architecture.text, self.threat.name, self.trained_on, self.seed


@dataclass(frozen=True)
class Row:
    """One threat with one architecture in one tier, with victims 0, 1, ... of each kind."""

    tier: TierName
    architecture: Architecture
    threat: Threat
    seeds: int
    has_yardstick: bool = False
    """whether its clean victims are compared with those of the shipped recipe"""

    def task(self, trained_on: TrainedOn, seed: int) -> Task:
        """A victim of this row. All-clean images cannot be mixed."""
        if trained_on == "yardstick":
            reference = self.reference(seed)
            network = replace(reference.architecture.network, learning_rate=None)
            return replace(
                reference, trained_on=trained_on, architecture=replace(reference.architecture, network=network)
            )
        threat = self.threat.on_clean_images() if trained_on == "clean" else self.threat
        return Task(self.architecture, threat, trained_on, seed)

    def reference(self, seed: int) -> Task:
        """Clean standard training of the same architecture, which tells a weak victim."""
        return Task(self.architecture, self.threat.of_network(), "clean", seed)


def plan_rows(recipe: AuditRecipe, source_model: str | None, rho_a: Fraction) -> list[Row]:
    """The rows of all tiers, in order, each once a tier.

    Args:
        recipe: the audit recipe.
        source_model: what `source` stands for; None: the recipe's choice.
        rho_a: what `rho_a` stands for in radii.

    Raises:
        InputError: a radius that `rho_a` brings above 1; two networks that the report could not tell apart.
    """
    _require_few(recipe)
    has_yardstick = needs_yardstick(recipe)
    rows: dict[tuple[str, str, str], Row] = {}
    networks: dict[str, Architecture] = {}
    for tier in TIERS:
        for text in recipe.tier(tier).architectures:
            for threat in recipe.threats(tier, rho_a):
                architecture = _resolve(parse_architecture(text), source_model or recipe.victim.source_model, threat)
                required = recipe.tier(tier).required
                seeds = recipe.seeds.required if required else recipe.seeds.others
                is_own = has_yardstick or architecture.network.learning_rate is not None
                row = Row(tier, architecture, threat, seeds, required and is_own)
                rows.setdefault((tier, architecture.text, threat.name), row)
                if networks.setdefault(architecture.text, architecture) != architecture:
                    raise InputError(
                        f"tiers.{tier}: {text} and another network of the recipe would both be called "
                        f"{architecture.text}; give it the same parameters everywhere, and each weights file a name "
                        "of its own"
                    )
    return list(rows.values())


def _require_few(recipe: AuditRecipe) -> None:
    """Refuse what nobody trains, before it is spread out."""
    tiers = [recipe.tier(tier) for tier in TIERS]
    seeds = [recipe.seeds.required if tier.required else recipe.seeds.others for tier in tiers]
    if sum(len(t.architectures) * len(t.threats) * count for t, count in zip(tiers, seeds, strict=True)) > _MAX_VICTIMS:
        raise InputError(f"the recipe has more than {_MAX_VICTIMS:,} victims of each kind; take threats or seeds out")


def needs_yardstick(recipe: AuditRecipe) -> bool:
    """Whether the victims of a recipe are those of no shipped one."""
    return all(_budget(recipe.victim) != _budget(shipped.victim) for shipped in shipped_audits().values())


def yardstick(recipe: AuditRecipe) -> AuditRecipe:
    """The same recipe with victims of the shipped one; they see the same images."""
    shipped = shipped_audits()[YARDSTICK].victim
    return replace(recipe, victim=replace(shipped, resolution=recipe.victim.resolution))


def _budget(victim: Victim) -> Victim:
    """What decides how much a victim learns from its images."""
    return replace(victim, source_model=_ANY_NETWORK, resolution=None)


def plan_tasks(rows: list[Row], is_partial: bool, seeds: Seeds) -> list[Task]:
    """Every victim that the rows need, each once, in an order that reads each training set as few times as it can.

    Args:
        rows: of `plan_rows`.
        is_partial: the release holds images without noise: what they alone teach is the floor.
        seeds: those of this audit.
    """
    tasks: dict[tuple[str, str, str, int], Task] = {}
    for row in rows:
        for task in tasks_of(row, is_partial, seeds):
            tasks.setdefault(task.key, task)
    return sorted(tasks.values(), key=_trains_on)


def tasks_of(row: Row, is_partial: bool, seeds: Seeds) -> list[Task]:
    """All victims of a row."""
    found = []
    for number in range(row.seeds):
        found.append(row.reference(seeds.of("clean", number)))
        found += [row.task(kind, seeds.of(kind, number)) for kind in trained_on(row, is_partial)]
    return found


def trained_on(row: Row, is_partial: bool) -> list[TrainedOn]:
    """What the victims of a row are trained on."""
    kinds: list[TrainedOn] = ["clean", "random", "protected"]
    kinds += ["clean part"] if is_partial or row.threat.needs_originals else []
    return [*kinds, "yardstick"] if row.has_yardstick else kinds


def _resolve(architecture: Architecture, source_model: str, threat: Threat) -> Architecture:
    """The network that `source` stands for; that of a threat takes the place of any."""
    if threat.network:
        return Architecture(threat.network, Network())
    return replace(architecture, name=source_model) if architecture.name == SOURCE else architecture


def _trains_on(task: Task) -> tuple[str, str]:
    threat = task.threat
    kind = "clean" if task.trained_on == "yardstick" else task.trained_on
    decisive = [threat.mixture, *threat.filters(test=False), threat.views]
    return kind, write_parts([part for part in decisive if part])
