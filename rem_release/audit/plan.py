"""What an audit trains: rows of the tiers, and the victims that each row needs."""

from dataclasses import dataclass, replace
from fractions import Fraction

from rem_release.audit.curves import TrainedOn
from rem_release.audit.parts import LinearProbe, Mixed, ResizedCrop, TwoLayerProbe
from rem_release.audit.recipe import SOURCE, Architecture, AuditRecipe, Network, parse_architecture
from rem_release.audit.statistics import resamples_needed
from rem_release.audit.threats import Threat
from rem_release.errors import InputError
from rem_release.release.certificate import TIERS, TierName


@dataclass(frozen=True)
class Task:
    """One victim to train."""

    architecture: Architecture
    threat: Threat
    trained_on: TrainedOn
    seed: int

    @property
    def name(self) -> str:
        """Two tasks of one name are the same victim."""
        rate = self.architecture.network.learning_rate
        return f"{self.architecture.text} {rate} {self.threat.name} {self.trained_on} {self.seed}"


@dataclass(frozen=True)
class Row:
    """One threat with one architecture in one tier, with seeds 0, 1, ..."""

    tier: TierName
    architecture: Architecture
    threat: Threat
    seeds: int

    def task(self, trained_on: TrainedOn, seed: int) -> Task:
        """A victim of this row. All-clean images cannot be mixed."""
        threat = self.threat.without_mixing() if trained_on == "clean" else self.threat
        return Task(self.architecture, threat, trained_on, seed)

    def reference(self, seed: int) -> Task:
        """Clean standard training of the same architecture, which tells a weak victim."""
        probes = tuple(part for part in self.threat.parts if isinstance(part, (LinearProbe, TwoLayerProbe)))
        return Task(self.architecture, Threat(probes), "clean", seed)


def plan_rows(recipe: AuditRecipe, source_model: str | None, rho_a: Fraction) -> list[Row]:
    """The rows of all tiers, in order, each once a tier.

    Args:
        recipe: the audit recipe.
        source_model: what `source` stands for; None: the recipe's choice.
        rho_a: what `rho_a` stands for in radii.

    Raises:
        InputError: a radius that `rho_a` brings above 1; two networks that the report could not tell apart; too few
            resamples for the rows of a tier.
    """
    rows: dict[tuple[str, str, str], Row] = {}
    networks: dict[str, Architecture] = {}
    for tier in TIERS:
        for text in recipe.tier(tier).architectures:
            for threat in recipe.threats(tier, rho_a):
                architecture = _resolve(parse_architecture(text), source_model or recipe.victim.source_model, threat)
                row = Row(tier, architecture, threat, recipe.seeds.grid)
                rows.setdefault((tier, architecture.text, threat.name), row)
                if networks.setdefault(architecture.text, architecture) != architecture:
                    raise InputError(
                        f"tiers.{tier}: {text} and another network of the recipe would both be called "
                        f"{architecture.text}; give it the same parameters everywhere, and each weights file a name "
                        "of its own"
                    )
    _require_resamples(list(rows.values()), recipe)
    return list(rows.values())


def plan_tasks(rows: list[Row], is_partial: bool) -> list[Task]:
    """Every victim that the rows need, each once, in an order that reads each training set as few times as it can.

    Args:
        rows: of `plan_rows`.
        is_partial: the release holds images without noise: what they alone teach is the floor.
    """
    tasks: dict[str, Task] = {}
    for row in rows:
        for task in tasks_of(row, is_partial):
            tasks.setdefault(task.name, task)
    return sorted(tasks.values(), key=_material)


def tasks_of(row: Row, is_partial: bool) -> list[Task]:
    """All victims of a row."""
    kinds, seeds = trained_on(row, is_partial), range(row.seeds)
    return [task for seed in seeds for task in (row.reference(seed), *(row.task(kind, seed) for kind in kinds))]


def trained_on(row: Row, is_partial: bool) -> list[TrainedOn]:
    """What the victims of a row are trained on."""
    kinds: list[TrainedOn] = ["clean", "random", "protected"]
    return [*kinds, "clean part"] if is_partial or row.threat.find(Mixed) else kinds


def _require_resamples(rows: list[Row], recipe: AuditRecipe) -> None:
    """Refuse, before anything is trained, what `estimate_leakage` would refuse afterwards."""
    confidence, resamples = recipe.statistics.confidence, recipe.statistics.resamples
    most = max((sum(row.tier == tier for row in rows) for tier in TIERS), default=0)
    if most and resamples < (needed := resamples_needed(confidence, most)):
        raise InputError(
            f"{resamples} resamples are too few for the {most} rows of a tier at confidence {confidence}; "
            f"add --set statistics.resamples={needed}"
        )


def _resolve(architecture: Architecture, source_model: str, threat: Threat) -> Architecture:
    """The network that `source` stands for; a probe takes the place of any."""
    if threat.probe:
        return Architecture(threat.probe, Network())
    return replace(architecture, name=source_model) if architecture.name == SOURCE else architecture


def _material(task: Task) -> tuple[str, str]:
    mixed, crop = task.threat.find(Mixed), task.threat.find(ResizedCrop)
    return task.trained_on, f"{mixed} {task.threat.filters(test=False)} {crop}"
