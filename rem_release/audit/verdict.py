"""From victims to a verdict: leakage of each row, judgement of each tier, and the sentences that say so."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from rem_release.audit.ledger import VictimRecord
from rem_release.audit.plan import Row
from rem_release.audit.recipe import SHIPPED_ARCHITECTURES, SHIPPED_LIMITS, SHIPPED_REQUIRED, AuditRecipe
from rem_release.audit.statistics import balanced_accuracy, estimate_leakage, half_width, per_class_accuracy
from rem_release.audit.threats import Pgd
from rem_release.radius import format_radius
from rem_release.release.certificate import TIERS, Accuracies, RowFacts, TierFacts, TierName

_LEAST_KEPT = 0.5
"""of clean standard training's margin over chance, that the clean reference of a row must keep"""
_LEAST_GAIN = 1e-3
"""by which PGD must raise the loss over its random start"""
_BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Found:
    """The victims of one row, seed by seed; `floor` is None where chance is the floor."""

    row: Row
    protected: list[VictimRecord]
    clean: list[VictimRecord]
    random: list[VictimRecord]
    floor: list[VictimRecord] | None
    reference: list[VictimRecord]
    """clean standard training of the same architecture"""


@dataclass(frozen=True)
class Judge:
    """What every judgement needs.

    Attributes:
        recipe: policy and statistics.
        labels: int64 [T], of the test images.
        classes: their number.
        rho_a: the radius that the adversarial tier must reach.
    """

    recipe: AuditRecipe
    labels: np.ndarray
    classes: int
    rho_a: Fraction

    @property
    def chance(self) -> float:
        """What a constant guess scores in the mean of the classes' accuracies."""
        return 1 / self.classes

    def judge_rows(self, found: list[Found]) -> list[RowFacts]:
        """The facts of each row, in the same order; bounds are corrected for the rows of the row's tier."""
        best = max((self._mean(each.clean) for each in found), default=self.chance)
        counts = {tier: sum(each.row.tier == tier for each in found) for tier in TIERS}
        return [self._judge_row(each, best, counts[each.row.tier]) for each in found]

    def judge_tier(self, tier: TierName, rows: list[RowFacts]) -> TierFacts:
        """A tier is judged by its worst row, and passes if every row's upper bound stays under the limit."""
        policy = self.recipe.tier(tier)
        mine = rank_rows(rows, tier)
        limit = f"limit {policy.limit:.0%}"
        if not mine:
            outcome, reason, worst = "not tested", "The audit recipe has no threats for this tier.", None
        elif missing := self._missing_threat(tier, rows):
            outcome, reason, worst = "not tested", missing, mine[0]
        else:
            worst = mine[0]
            row = rows[worst]
            over = [index for index in mine if rows[index].valid and _upper(rows[index]) >= policy.limit]
            invalid = [index for index in mine if not rows[index].valid]
            if over:
                worst = over[0]
                outcome, reason = "fell short", f"{describe_row(rows[worst])} ({limit})."
            elif invalid:
                more = f" ({len(invalid)} such rows of {len(mine)})" if len(invalid) > 1 else ""
                outcome, reason = (
                    "not tested",
                    f"{row.architecture} under {row.words} cannot be judged{more}: {row.reason}.",
                )
            else:
                outcome, reason = "passed", f"At worst {describe_row(row)} ({limit})."
        return TierFacts(
            name=tier,
            required=policy.required,
            limit=policy.limit,
            shipped_limit=SHIPPED_LIMITS[tier],
            outcome=outcome,
            reason=reason,
            worst=worst,
        )

    def _missing_threat(self, tier: TierName, rows: list[RowFacts]) -> str | None:
        """A tier that leaves out what it is named after was not tested, whatever else it holds."""
        radii = [Fraction(row.radius) for row in rows if row.tier == tier and row.radius is not None]
        if tier == "standard" and 0 not in radii:
            return "The tier holds no standard training."
        if tier == "adversarial" and self.rho_a not in radii:
            return f"The tier holds no adversarial training at ρ_a = {format_radius(self.rho_a)}."
        return None

    def _judge_row(self, found: Found, best: float, comparisons: int) -> RowFacts:
        row, statistics = found.row, self.recipe.statistics
        floor = self._mean(found.floor) if found.floor else self.chance
        protected, clean, random = (self._accuracies(each) for each in (found.protected, found.clean, found.random))
        reason = self._reason_invalid(found, clean.final)
        ratio = _ratio(protected.final, clean.final, floor)
        low = high = None
        if ratio is not None:
            interval = estimate_leakage(
                self._answers(found.protected),
                self._answers(found.clean),
                self.labels,
                self._answers(found.floor) if found.floor else self.chance,
                confidence=statistics.confidence,
                comparisons=comparisons,
                resamples=statistics.resamples,
                seed=_BOOTSTRAP_SEED,
            )
            low, high = (value if np.isfinite(value) else None for value in (interval.low, interval.high))
        radius = row.threat.plain_radius
        return RowFacts(
            tier=row.tier,
            architecture=row.architecture.text,
            threat=row.threat.name,
            words=row.threat.words(),
            radius=None if radius is None else format_radius(radius),
            seeds=list(range(row.seeds)),
            protected=protected,
            clean=clean,
            random=random,
            floor=floor,
            floor_is="clean part" if found.floor else "chance",
            leakage=ratio,
            low=low,
            high=high,
            leakage_of_best=_ratio(protected.final, best, floor),
            leakage_at_peak=_ratio(protected.peak, clean.peak, floor),
            random_leakage=_ratio(random.final, clean.final, floor),
            valid=not reason,
            reason=reason,
        )

    def _reason_invalid(self, found: Found, clean: float) -> str:
        """Why a row says nothing: a weak victim flatters the protection."""
        if not all(record.finite for record in [*found.protected, *found.clean, *found.random]):
            return "the loss of a victim became NaN or infinite"
        standard = self._mean(found.reference) - self.chance
        known = half_width(len(self.labels), self.recipe.statistics.confidence, 1)
        if standard <= known:
            return f"clean standard training reaches {standard + self.chance:.1%} only, chance is {self.chance:.1%}"
        if clean - self.chance < _LEAST_KEPT * standard:
            return (
                f"the victim is weak: on clean images it reaches {clean:.1%}, less than half of standard training's "
                f"margin ({standard + self.chance:.1%}) over chance ({self.chance:.1%})"
            )
        if found.floor and clean - self._mean(found.floor) <= known:
            return (
                f"the clean part alone teaches {self._mean(found.floor):.1%}, all clean images {clean:.1%}: no margin"
            )
        if found.row.threat.find(Pgd):
            for kind, records in (("protected", found.protected), ("clean", found.clean)):
                if any((record.attack_gain or 0) < _LEAST_GAIN for record in records):
                    return f"PGD finds nothing against the victim of the {kind} images (masked gradient)"
        return ""

    def _answers(self, records: list[VictimRecord]) -> np.ndarray:
        return np.stack([record.answers(len(self.labels)) for record in records])

    def _mean(self, records: list[VictimRecord]) -> float:
        return float(balanced_accuracy(self._answers(records), self.labels).mean())

    def _accuracies(self, records: list[VictimRecord]) -> Accuracies:
        answers = self._answers(records)
        finals = balanced_accuracy(answers, self.labels)
        return Accuracies(
            final=float(finals.mean()),
            peak=float(np.mean([record.peak for record in records])),
            train=float(np.mean([record.train_accuracy for record in records])),
            per_class=per_class_accuracy(answers, self.labels, self.classes).mean(axis=0).tolist(),
            spread=float(finals.std(ddof=1)) if len(finals) > 1 else 0.0,
        )


def summarise(passed: bool, tiers: list[TierFacts], rows: list[RowFacts], recipe: AuditRecipe) -> list[str]:
    """The verdict in plain sentences: what fell short, required or not, and where the policy is not the shipped one."""
    sentences = ["Passed: every tier that the owner's policy requires stayed under its limit."]
    if not passed:
        short = [tier.name for tier in tiers if tier.required and tier.outcome != "passed"]
        sentences = [f"Fell short of the owner's policy in the required tier{'s' * (len(short) > 1)} {_join(short)}."]
    for tier in tiers:
        if tier.outcome != "passed":
            kind = "required" if tier.required else "not required"
            sentences.append(f"{tier.name.capitalize()} tier ({kind}) {_verb(tier.outcome)}: {tier.reason}")
    for tier in tiers:
        if tier.limit != tier.shipped_limit:
            sentences.append(
                f"The limit of the {tier.name} tier is {tier.limit:.0%}; the shipped one is {tier.shipped_limit:.0%}."
            )
        if not tier.required and tier.name in SHIPPED_REQUIRED:
            sentences.append(f"The {tier.name} tier, required by the shipped policy, is not required here.")
        count = len({row.architecture for row in rows if row.tier == tier.name})
        if tier.name in SHIPPED_REQUIRED and 0 < count < SHIPPED_ARCHITECTURES:
            sentences.append(
                f"The {tier.name} tier was tested on {count} network{'s' * (count > 1)}; "
                f"the shipped policy asks for {SHIPPED_ARCHITECTURES}."
            )
    if any(len(row.seeds) == 1 for row in rows):
        sentences.append("Some rows stand on one seed: their bounds leave out how much retraining changes.")
    return sentences


def describe_row(row: RowFacts) -> str:
    """What one row found, in a sentence without its full stop."""
    of = "the clean part alone" if row.floor_is == "clean part" else "chance"
    leakage = "an undefined part" if row.leakage is None else f"{row.leakage:.0%}"
    bound = "unbounded" if row.high is None else f"{row.high:.0%}"
    return (
        f"{row.architecture} under {row.words} learns {leakage} of what clean images teach above {of} "
        f"(test accuracy {row.protected.final:.1%}; {row.clean.final:.1%} from clean images), upper bound {bound}"
    )


def rank_rows(rows: Sequence[RowFacts], tier: str) -> list[int]:
    """Indices of the rows of a tier: those that cannot be judged, then those with the highest bound."""
    indices = [index for index, row in enumerate(rows) if row.tier == tier]
    return sorted(indices, key=lambda index: (not rows[index].valid, _upper(rows[index])), reverse=True)


def _ratio(victim: float, reference: float, floor: float) -> float | None:
    return (victim - floor) / (reference - floor) if reference > floor else None


def _upper(row: RowFacts) -> float:
    return float("inf") if row.high is None else row.high


def _join(names: Sequence[str]) -> str:
    return " and ".join(names)


def _verb(outcome: str) -> str:
    return "was not tested" if outcome == "not tested" else outcome
