"""From the answers of victims to a verdict: leakage of each row, and judgement of each tier."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from rem_release.radius import format_radius, parse_radius
from rem_release.release.certificate import (
    MIN_IMAGES,
    MIN_SEEDS,
    Accuracies,
    Outcome,
    RowFacts,
    TierFacts,
    TierName,
)
from rem_release.verdict.accuracy import balanced_accuracy, per_class_accuracy
from rem_release.verdict.evidence import Answers
from rem_release.verdict.plan import Row
from rem_release.verdict.recipe import SHIPPED_LIMITS, YARDSTICK, AuditRecipe
from rem_release.verdict.relabelling import relabel
from rem_release.verdict.statistics import Leakage, Sample, bound_difference, bound_leakage, half_width

_MIN_KEPT = 0.5
"""of clean standard training's margin over chance, that the clean reference of a row must keep"""
_MIN_FIT = 0.8
"""of its own training images, as they are, that clean standard training must get right: a network that does not fit
what it is taught understates what can be learnt. Small networks with augmentation do not get all of them right"""
_MIN_OF_YARDSTICK = 0.9
"""of the accuracy of the shipped recipe's victims on clean images, that the owner's victims must reach"""
_MIN_LEARNT = 0.25
"""of the clean victim's margin on its own training images, that the victim of the protected images must have on its
own: a protection makes images easy to fit, and a network that fits nothing has merely collapsed"""
_MIN_GAIN = 1e-3
"""the part by which PGD must raise the loss over its random start: networks that fit well leave little of it"""
_ROUNDING = 1e-9
"""Accuracies that differ by less are the same."""
_DIGITS = 6
"""of every figure: the same on every machine"""


@dataclass(frozen=True)
class RowAnswers:
    """The victims of one row, seed by seed; `floor` is None where chance is the floor."""

    row: Row
    protected: list[Answers]
    clean: list[Answers]
    random: list[Answers]
    floor: list[Answers] | None
    reference: list[Answers]
    """clean standard training of the same architecture"""
    yardstick: list[Answers] | None
    """the same with the shipped recipe, where the audit has a recipe of its own"""


@dataclass(frozen=True)
class _Evaluation:
    """The protected victims of a row at one evaluation, as they are or relabelled."""

    step: int
    hits: np.ndarray
    """bool [S, T]"""
    relabelled: bool
    leakage: Leakage
    over_random: float


@dataclass(frozen=True)
class Judge:
    """What every judgement needs.

    Attributes:
        recipe: policy and statistics.
        sample: the test images.
        classes: their number.
        rho_a: the radius that the adversarial tier must reach.
    """

    recipe: AuditRecipe
    sample: Sample
    classes: int
    rho_a: Fraction

    @property
    def chance(self) -> float:
        """What a constant guess scores in the mean of the classes' accuracies."""
        return 1 / self.classes

    @property
    def half_width(self) -> float:
        """How far a bound of accuracy can lie from it with these test images, see `statistics.half_width`."""
        return half_width(self.sample.images, self.recipe.statistics.confidence)

    def judge_rows(self, found: list[RowAnswers]) -> list[RowFacts]:
        """The facts of each row, in the same order."""
        references = [victims for each in found for victims in (each.clean, each.reference)]
        best = max((self._mean(victims) for victims in references), default=self.chance)
        return [self._judge_row(each, best) for each in found]

    def judge_tier(self, tier: TierName, rows: list[RowFacts]) -> TierFacts:
        """A tier is judged by its worst row at its worst evaluation; it passes if all stay under the limit.

        Each row is tested at the full level: that all stay under it is an intersection-union test (Berger 1982).
        """
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
        valid = [index for index in mine if rows[index].valid]
        over = [index for index in valid if rows[index].figure >= limit]
        if over:
            reason = f"{describe_row(rows[over[0]])} (limit {limit:.0%})."
            return "fell short", f"{reason} {missing}" if missing else reason, over[0]
        if alike := [index for index in valid if rows[index].is_bounded and not _is_below(rows[index].over_random)]:
            return "fell short", f"{describe_row(rows[alike[0]])}: not significantly less than random noise.", alike[0]
        if missing:
            return "not tested", missing, None
        if not worst.valid:
            invalid = sum(not rows[index].valid for index in mine)
            more = f" ({invalid} such rows of {len(mine)})" if invalid > 1 else ""
            reason = f"{worst.architecture} under {worst.words} cannot be judged{more}: {worst.reason}."
            return "not tested", reason, None
        if not all(rows[index].is_bounded for index in mine):
            few = min(rows[index].seeds for index in mine)
            stand = f"Rows stand on {few} seed{'s' * (few > 1)}, and a bound takes {MIN_SEEDS}"
            return "looked at", f"{stand}. At worst {describe_row(worst)} (limit {limit:.0%}).", mine[0]
        if self.sample.fewest < MIN_IMAGES:
            stand = f"Of one class there are test images worth {self.sample.fewest}, and a bound takes {MIN_IMAGES}"
            return "looked at", f"{stand}. At worst {describe_row(worst)} (limit {limit:.0%}).", mine[0]
        return "passed", f"At worst {describe_row(worst)} (limit {limit:.0%}).", mine[0]

    def _missing_threat(self, tier: TierName, rows: list[RowFacts]) -> str | None:
        """A tier that leaves out what it is named after was not tested, whatever else it holds."""
        radii = [parse_radius(row.radius) for row in rows if row.tier == tier and row.radius is not None]
        if tier == "standard" and 0 not in radii:
            return "The tier holds no standard training."
        if tier == "adversarial" and self.rho_a not in radii:
            return f"The tier holds no adversarial training at ρ_a = {format_radius(self.rho_a)}."
        return None

    def _judge_row(self, found: RowAnswers, best: float) -> RowFacts:
        row = found.row
        floor = self._mean(found.floor) if found.floor else self.chance
        evaluations = self._evaluate(found)
        worst = max(evaluations, key=lambda each: each.leakage.estimate)
        judged = float(balanced_accuracy(worst.hits, self.sample.labels).mean())
        clean, random = self._mean(found.clean), self._mean(found.random)
        reason = self._reason_invalid(found, clean)
        radius = row.threat.plain_radius
        is_defined = clean - floor > _ROUNDING
        return RowFacts(
            tier=row.tier,
            architecture=row.architecture.text,
            threat=row.threat.name,
            words=row.threat.words(),
            radius=None if radius is None else format_radius(radius),
            seeds=row.seeds,
            step=worst.step,
            relabelled=worst.relabelled,
            protected=self._accuracies(found.protected, worst.hits),
            clean=self._accuracies(found.clean, self._last(found.clean)),
            random=self._accuracies(found.random, self._last(found.random)),
            floor=_round(floor),
            floor_is="clean part" if found.floor else "chance",
            leakage=_ratio(judged, clean, floor),
            low=_bound(worst.leakage.low) if is_defined else None,
            high=_bound(max(each.leakage.high for each in evaluations)) if is_defined else None,
            over_random=_bound(max(each.over_random for each in evaluations)),
            leakage_of_best=_ratio(judged, best, floor),
            leakage_at_end=_ratio(self._mean(found.protected), clean, floor),
            random_leakage=_ratio(random, clean, floor),
            valid=not reason,
            reason=reason,
        )

    def _evaluate(self, found: RowAnswers) -> list[_Evaluation]:
        """The protected victims at each of their evaluations, beside the baselines after their last step.

        Each counts twice, as it is and after the best relabelling of classes: who names some classes right and others
        wrong on purpose need not be below chance, and leaks to whoever knows what the names mean.
        """
        clean, random = self._last(found.clean), self._last(found.random)
        floor: float | np.ndarray = self._last(found.floor) if found.floor else self.chance
        confidence = self.recipe.statistics.confidence
        evaluations = []
        for number, step in enumerate(found.protected[0].steps.tolist()):
            named = np.stack([victim.named[number] for victim in found.protected])
            both = ((False, named == self.sample.labels), (True, relabel(self.sample, named, self.classes)))
            evaluations += [
                _Evaluation(
                    step=step,
                    hits=hits,
                    relabelled=relabelled,
                    leakage=bound_leakage(self.sample, hits, clean, floor, confidence=confidence),
                    over_random=bound_difference(self.sample, hits, random, confidence=confidence),
                )
                for relabelled, hits in both
            ]
        return evaluations

    def _reason_invalid(self, found: RowAnswers, clean: float) -> str:
        """Why a row says nothing: a weak victim flatters the protection."""
        kinds = (found.protected, found.clean, found.random, found.floor, found.reference, found.yardstick)
        if not all(victim.finite for victims in kinds for victim in victims or ()):
            return "the loss of a victim became NaN or infinite"
        standard, known = self._mean(found.reference), self.half_width
        if standard - self.chance <= known:
            return f"clean standard training reaches {standard:.1%} only, chance is {self.chance:.1%}"
        fit = float(np.mean([victim.fit for victim in found.reference]))
        if fit < _MIN_FIT and not found.row.threat.network:
            return (
                f"the victim is weak: clean standard training fits {fit:.1%} of its own training images, and less than "
                f"{_MIN_FIT:.0%} says nothing; give it more epochs"
            )
        if found.yardstick and standard < _MIN_OF_YARDSTICK * self._mean(found.yardstick):
            return (
                f"the victim is weak: on clean images it reaches {standard:.1%}, and that of the shipped {YARDSTICK} "
                f"{self._mean(found.yardstick):.1%}"
            )
        if clean - self.chance < _MIN_KEPT * (standard - self.chance):
            return (
                f"the victim is weak: on clean images it reaches {clean:.1%}, less than half of standard training's "
                f"margin ({standard:.1%}) over chance ({self.chance:.1%})"
            )
        learnt = [np.mean([victim.train_accuracy for victim in victims]) for victims in (found.protected, found.clean)]
        if learnt[0] - self.chance < _MIN_LEARNT * (learnt[1] - self.chance):
            return (
                f"the victim of the protected images collapsed: it reaches {learnt[0]:.1%} on its own training images, "
                f"that of the clean images {learnt[1]:.1%}"
            )
        if found.floor and clean - self._mean(found.floor) <= known:
            return (
                f"the clean part alone teaches {self._mean(found.floor):.1%}, all clean images {clean:.1%}: no margin"
            )
        if found.row.threat.adversary:
            for kind, victims in (("protected", found.protected), ("clean", found.clean)):
                if not all((victim.attack_gain or 0) >= _MIN_GAIN for victim in victims):
                    return f"PGD finds nothing against the victim of the {kind} images (masked gradient)"
        return ""

    def _last(self, victims: list[Answers]) -> np.ndarray:
        """Which test images they get right in the end: bool [S, T]."""
        return np.stack([victim.named[-1] == self.sample.labels for victim in victims])

    def _mean(self, victims: list[Answers]) -> float:
        return float(balanced_accuracy(self._last(victims), self.sample.labels).mean())

    def _accuracies(self, victims: list[Answers], judged: np.ndarray) -> Accuracies:
        """What is told of victims; `judged` is bool [S, T]."""
        labels = self.sample.labels
        found = balanced_accuracy(judged, labels)
        peaks = [balanced_accuracy(victim.named == labels, labels).max() for victim in victims]
        per_class = per_class_accuracy(judged, labels, self.classes).mean(axis=0)
        return Accuracies(
            judged=_round(found.mean()),
            final=_round(self._mean(victims)),
            peak=_round(np.mean(peaks)),
            train=_round(np.mean([victim.train_accuracy for victim in victims])),
            fit=_round(np.mean([victim.fit for victim in victims])),
            per_class=[_round(share) for share in per_class],
            spread=_round(found.std(ddof=1)) if len(found) > 1 else 0.0,
        )


def describe_row(row: RowFacts) -> str:
    """What one row found, in a sentence without its full stop."""
    of = "the clean part alone" if row.floor_is == "clean part" else "chance"
    leakage = "an undefined part" if row.leakage is None else f"{row.leakage:.0%}"
    relabelled = ", after the best relabelling of classes" if row.relabelled else ""
    bound = "unbounded" if row.high is None else f"{row.high:.0%}"
    said = f", upper bound {bound}" if row.is_bounded else ""
    return (
        f"{row.architecture} under {row.words} learns {leakage} of what clean images teach above {of} "
        f"(test accuracy {row.protected.judged:.1%}{relabelled}; {row.clean.judged:.1%} from clean images, "
        f"{row.random.judged:.1%} from random noise){said}"
    )


def rank_rows(rows: Sequence[RowFacts], tier: str) -> list[int]:
    """Indices of the rows of a tier: those that cannot be judged, then those with the highest figure."""
    indices = [index for index, row in enumerate(rows) if row.tier == tier]
    return sorted(indices, key=lambda index: (not rows[index].valid, rows[index].figure), reverse=True)


def _is_below(bound: float | None) -> bool:
    """Whether a difference is significantly below 0: a bound of 0 is not, nor is none."""
    return bound is not None and bound < 0


def _ratio(victim: float, reference: float, floor: float) -> float | None:
    return _round((victim - floor) / (reference - floor)) if reference - floor > _ROUNDING else None


def _round(value: float | np.floating) -> float:
    """A figure as it is published."""
    return round(float(value), _DIGITS)


def _bound(value: float) -> float | None:
    """A bound as it is published; None where there is none."""
    return _round(value) if math.isfinite(value) else None
