"""The first paragraph of report and card: the verdict, what fell short, and where the policy is not the shipped one."""

from collections.abc import Sequence

from rem_release.audit.recipe import (
    SHIPPED_ARCHITECTURES,
    SHIPPED_CONFIDENCE,
    SHIPPED_HALF_WIDTH,
    SHIPPED_REQUIRED,
    AuditRecipe,
)
from rem_release.release.certificate import RowFacts, TierFacts


def summarise(
    passed: bool, tiers: Sequence[TierFacts], rows: Sequence[RowFacts], recipe: AuditRecipe, source: str
) -> list[str]:
    """Plain sentences.

    Args:
        passed: every required tier passed.
        tiers: all of them.
        rows: all of them.
        recipe: with the owner's policy.
        source: the source network, as rows name it.
    """
    sentences = [_say_verdict(passed, tiers)]
    for tier in tiers:
        if tier.outcome != "passed":
            kind = "required" if tier.required else "not required"
            verb = "was not tested" if tier.outcome == "not tested" else "fell short"
            sentences.append(f"{tier.name.capitalize()} tier ({kind}) {verb}: {tier.reason}")
    for tier in tiers:
        sentences += _list_departures(tier, rows, source)
    statistics = recipe.statistics
    if statistics.confidence < SHIPPED_CONFIDENCE:
        sentences.append(
            f"Bounds hold at {statistics.confidence:.0%} confidence; "
            f"the shipped policy asks for {SHIPPED_CONFIDENCE:.0%}."
        )
    if statistics.half_width > SHIPPED_HALF_WIDTH:
        sentences.append(
            f"Accuracy needs to be known to within {statistics.half_width:.0%} only; "
            f"the shipped policy asks for {SHIPPED_HALF_WIDTH:.0%}."
        )
    if any(len(row.seeds) == 1 for row in rows):
        sentences.append("Some rows stand on one seed: their bounds leave out how much retraining changes.")
    return sentences


def _say_verdict(passed: bool, tiers: Sequence[TierFacts]) -> str:
    if passed:
        return "Passed: every tier that the owner's policy requires stayed under its limit."
    if not any(tier.required for tier in tiers):
        return "Fell short: the owner's policy requires no tier, so there is nothing to pass."
    short = [tier.name for tier in tiers if tier.required and tier.outcome != "passed"]
    return f"Fell short of the owner's policy in the required tier{'s' * (len(short) > 1)} {' and '.join(short)}."


def _list_departures(tier: TierFacts, rows: Sequence[RowFacts], source: str) -> list[str]:
    """Where the owner's policy on a tier is not the shipped one."""
    found = []
    if tier.limit != tier.shipped_limit:
        found.append(
            f"The limit of the {tier.name} tier is {tier.limit:.0%}; the shipped one is {tier.shipped_limit:.0%}."
        )
    if tier.name not in SHIPPED_REQUIRED:
        return found
    if not tier.required:
        found.append(f"The {tier.name} tier, required by the shipped policy, is not required here.")
    judged = [row for row in rows if row.tier == tier.name and row.radius is not None and row.valid]
    networks = {row.architecture.split(",")[0] for row in judged}  # whatever its weights and its learning rate
    if networks and source not in networks:
        found.append(
            f"The {tier.name} tier was not tested on {source}, the source network; the shipped policy asks it."
        )
    if 0 < len(networks) < SHIPPED_ARCHITECTURES:
        found.append(
            f"The {tier.name} tier was tested on {len(networks)} network{'s' * (len(networks) > 1)}; "
            f"the shipped policy asks for {SHIPPED_ARCHITECTURES}."
        )
    return found
