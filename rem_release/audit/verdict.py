"""From victims to a verdict: leakage of each row, and judgement of each tier."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from rem_release.audit.ledger import VictimRecord
from rem_release.audit.parts import Pgd
from rem_release.audit.plan import Row
from rem_release.audit.recipe import SHIPPED_LIMITS, AuditRecipe
from rem_release.audit.statistics import (
    balanced_accuracy,
    effective_images,
    estimate_leakage,
    half_width,
    per_class_accuracy,
)
from rem_release.radius import format_radius, parse_radius
from rem_release.release.certificate import TIERS, Accuracies, RowFacts, TierFacts, TierName

_LEAST_KEPT = 0.5
"""of clean standard training's margin over chance, that the clean reference of a row must keep"""
_LEAST_LEARNT = 0.25
"""of the clean victim's margin on its own training images, that the victim of the protected images must have on its
own: a protection makes images easy to fit, and a network that fits nothing has merely collapsed"""
_LEAST_GAIN = 1e-3
"""by which PGD must raise the loss over its random start"""
_ROUNDING = 1e-9
"""Accuracies that differ by less are the same."""
_BOOTSTRAP_SEED = 0
Outcome = Literal["passed", "fell short", "not tested"]


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
        references = [records for each in found for records in (each.clean, each.reference)]
        best = max((self._mean(records) for records in references), default=self.chance)
        counts = {tier: sum(each.row.tier == tier for each in found) for tier in TIERS}
        return [self._judge_row(each, best, counts[each.row.tier]) for each in found]

    def judge_tier(self, tier: TierName, rows: list[RowFacts]) -> TierFacts:
        """A tier is judged by its worst row, and passes if every row's upper bound stays under the limit."""
        policy = self.recipe.tier(tier)
        outcome, reason, worst = self._decide(tier, rows, policy.limit)
        return TierFacts(
            name=tier,
            required=policy.required,
            limit=policy.limit,
            shipped_limit=SHIPPED_LIMITS[tier],
            outcome=outcome,
            reason=reason,
            worst=worst,
        )

    def _decide(self, tier: TierName, rows: list[RowFacts], limit: float) -> tuple[Outcome, str, int | None]:
        """Outcome, reason and deciding row; what was found to leak goes before what was left out."""
        mine = rank_rows(rows, tier)
        if not mine:
            return "not tested", "The audit recipe has no threats for this tier.", None
        worst, missing = rows[mine[0]], self._missing_threat(tier, rows)
        over = [index for index in mine if rows[index].valid and _upper(rows[index]) >= limit]
        if over:
            reason = f"{describe_row(rows[over[0]])} (limit {limit:.0%})."
            return "fell short", f"{reason} {missing}" if missing else reason, over[0]
        if missing:
            return "not tested", missing, None
        if not worst.valid:
            invalid = sum(not rows[index].valid for index in mine)
            more = f" ({invalid} such rows of {len(mine)})" if invalid > 1 else ""
            reason = f"{worst.architecture} under {worst.words} cannot be judged{more}: {worst.reason}."
            return "not tested", reason, None
        return "passed", f"At worst {describe_row(worst)} (limit {limit:.0%}).", mine[0]

    def _missing_threat(self, tier: TierName, rows: list[RowFacts]) -> str | None:
        """A tier that leaves out what it is named after was not tested, whatever else it holds."""
        radii = [parse_radius(row.radius) for row in rows if row.tier == tier and row.radius is not None]
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
        victims = [*found.protected, *found.clean, *found.random, *(found.floor or []), *found.reference]
        if not all(record.finite for record in victims):
            return "the loss of a victim became NaN or infinite"
        standard = self._mean(found.reference) - self.chance
        known = half_width(effective_images(self.labels), self.recipe.statistics.confidence, 1)
        if standard <= known:
            return f"clean standard training reaches {standard + self.chance:.1%} only, chance is {self.chance:.1%}"
        if clean - self.chance < _LEAST_KEPT * standard:
            return (
                f"the victim is weak: on clean images it reaches {clean:.1%}, less than half of standard training's "
                f"margin ({standard + self.chance:.1%}) over chance ({self.chance:.1%})"
            )
        learnt = [np.mean([record.train_accuracy for record in records]) for records in (found.protected, found.clean)]
        if learnt[0] - self.chance < _LEAST_LEARNT * (learnt[1] - self.chance):
            return (
                f"the victim of the protected images collapsed: it reaches {learnt[0]:.1%} on its own training images, "
                f"that of the clean images {learnt[1]:.1%}"
            )
        if found.floor and clean - self._mean(found.floor) <= known:
            return (
                f"the clean part alone teaches {self._mean(found.floor):.1%}, all clean images {clean:.1%}: no margin"
            )
        if found.row.threat.find(Pgd):
            for kind, records in (("protected", found.protected), ("clean", found.clean)):
                if not all((record.attack_gain or 0) >= _LEAST_GAIN for record in records):  # NaN is no gain
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
    return (victim - floor) / (reference - floor) if reference - floor > _ROUNDING else None


def _upper(row: RowFacts) -> float:
    return float("inf") if row.high is None else row.high
