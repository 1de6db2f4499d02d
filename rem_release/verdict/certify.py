"""Makes the certificate from the circumstances of an audit and the answers of its victims; anyone can make it again."""

from collections.abc import Sequence

import numpy as np
from packaging.version import InvalidVersion, Version

from rem_release.errors import InputError, VerificationError
from rem_release.radius import parse_radius
from rem_release.recipe_files import hash_document
from rem_release.release.certificate import TIERS, Certificate, Circumstances, HoldoutFacts, RowFacts
from rem_release.threats.base import GAPS, ThreatPart
from rem_release.threats.registry import known_parts
from rem_release.threats.threat import parse_threat
from rem_release.verdict.evidence import Answers, Evidence
from rem_release.verdict.judge import Judge, RowAnswers
from rem_release.verdict.plan import (
    Row,
    Seeds,
    Task,
    TrainedOn,
    describe_training,
    plan_rows,
    plan_tasks,
    trained_on,
    yardstick,
)
from rem_release.verdict.recipe import AuditRecipe
from rem_release.verdict.statistics import Sample
from rem_release.verdict.summary import is_passed, summarise

_NEVER_COVERED = (
    "People, and models that were trained on other images: the protected ones stay recognisable to both.",
    "Victims that see the images at other sizes than those tested, or through another resizing.",
    "Networks, training budgets and methods that are not in the tables.",
)


def list_tasks(given: Circumstances) -> list[Task]:
    """The victims whose answers a certificate of these circumstances needs.

    Raises:
        InputError: the recipe is none, or asks for something impossible.
    """
    return plan_tasks(_plan(given)[1], given.partial, _seeds(given))


def certify(given: Circumstances, evidence: Evidence, answers_sha256: str) -> Certificate:
    """The certificate.

    Args:
        given: the circumstances.
        evidence: the answers of all victims of `list_tasks`.
        answers_sha256: of the file that holds the evidence.

    Raises:
        InputError: the recipe is none, or asks for something impossible.
        VerificationError: answers are missing, were taken at other steps than the recipe says, or are too few.
    """
    recipe, rows = _plan(given)
    _check_evaluations(given, recipe, evidence)
    sample = Sample(evidence.labels, evidence.clusters)
    judge = Judge(recipe, sample, len(given.classes), parse_radius(given.rho_a))
    if judge.half_width > recipe.statistics.half_width:
        raise VerificationError(
            f"{len(evidence.labels)} test images, which count as {sample.images}, know accuracy to within "
            f"{judge.half_width:.1%} only, and the recipe asks for {recipe.statistics.half_width:.1%}"
        )
    facts = judge.judge_rows([_gather(row, given, evidence) for row in rows])
    tiers = [judge.judge_tier(tier, facts) for tier in TIERS]
    return Certificate(
        **given.model_dump(exclude={"holdout"}),
        passed=is_passed(given, tiers),
        summary=summarise(given, recipe, tiers, facts),
        tiers=tiers,
        rows=facts,
        chance=judge.chance,
        holdout=HoldoutFacts(
            **given.holdout.model_dump(),
            images=len(evidence.labels),
            clusters=len(np.unique(evidence.clusters)),
            majority=round(float(np.bincount(evidence.labels).max() / len(evidence.labels)), 6),
            half_width=round(judge.half_width, 6),
        ),
        confidence=recipe.statistics.confidence,
        recipe_sha256=hash_document(given.recipe),
        answers_sha256=answers_sha256,
        not_covered=_list_not_covered(given, facts),
    )


def count_evaluations(given: Circumstances) -> int:
    """The most evaluations of a victim of these circumstances."""
    recipe = AuditRecipe.of(given.recipe)
    return max(each.victim.evaluations for each in (recipe, yardstick(recipe)))


def _check_evaluations(given: Circumstances, recipe: AuditRecipe, evidence: Evidence) -> None:
    """Refuse answers of which some were left out.

    Raises:
        VerificationError: a victim's answers were taken at other steps than its recipe says.
    """
    for victim in evidence.victims.values():
        budget = yardstick(recipe) if victim.task[2] == "yardstick" else recipe
        planned = budget.victim.list_evaluations(given.images)
        if victim.steps.tolist() != planned:
            raise VerificationError(
                f"the answers of {' '.join(map(str, victim.task))} were taken after the steps {victim.steps.tolist()}, "
                f"and its recipe says {planned}"
            )


def _plan(given: Circumstances) -> tuple[AuditRecipe, list[Row]]:
    recipe = AuditRecipe.of(given.recipe)
    rows = plan_rows(recipe, given.source, parse_radius(given.rho_a))
    if not rows:
        raise InputError("the recipe of the certificate has no threats in any tier")
    return recipe, rows


def _seeds(given: Circumstances) -> Seeds:
    training = describe_training(AuditRecipe.of(given.recipe), given.holdout.origin)
    return Seeds(given.digest, given.clean_digest, given.holdout.digest, training)


def _gather(row: Row, given: Circumstances, evidence: Evidence) -> RowAnswers:
    seeds, kinds = _seeds(given), trained_on(row, given.partial)

    def victims(kind: TrainedOn) -> list[Answers]:
        return [evidence.of(row.task(kind, seeds.of(kind, number))) for number in range(row.seeds)]

    return RowAnswers(
        row=row,
        protected=victims("protected"),
        clean=victims("clean"),
        random=victims("random"),
        floor=victims("clean part") if "clean part" in kinds else None,
        reference=[evidence.of(row.reference(seeds.of("clean", number))) for number in range(row.seeds)],
        yardstick=victims("yardstick") if "yardstick" in kinds else None,
    )


def _list_not_covered(given: Circumstances, rows: Sequence[RowFacts]) -> list[str]:
    found = [
        f"The {tier} tier: the recipe does not test it." for tier in TIERS if not any(row.tier == tier for row in rows)
    ]
    if not any("pretrained" in row.architecture for row in rows):
        found.append("A pretrained backbone that is fine-tuned on the images.")
    threats = [parse_threat(row.threat) for row in rows if row.valid]
    tried = {part.name: part for threat in threats for part in (*threat.parts, *threat.acting)}
    maker = given.versions.get("rem-release", "")
    untried = [name for name, part in known_parts().items() if name not in tried and _is_known_to(maker, part)]
    if untried:
        found.append(f"Threats that were not tried, or gave no valid row: {', '.join(untried)}.")
    balls = [threat.ball for threat in threats if threat.ball]
    if not any(norm == "linf" and radius > parse_radius(given.rho_a) for norm, radius in balls):
        found.append("Adversarial training at radii above ρ_a, which published tests found to undo such noise.")
    if not {"l1", "l2"} <= {norm for norm, _ in balls}:
        found.append("Adversarial training in both of the norms L1 and L2.")
    if given.holdout.origin != "given":
        found.append("Test images from elsewhere: these come from the same source as the release.")
    covered = {gap for part in tried.values() for gap in part.covers}
    return [*found, *(sentence for gap, sentence in GAPS.items() if gap not in covered), *_NEVER_COVERED]


def _is_known_to(maker: str, part: type[ThreatPart]) -> bool:
    """Whether the version that made a certificate had a threat; one that cannot be read is taken for this one."""
    try:
        return Version(maker) >= Version(part.since)
    except InvalidVersion:
        return True
