"""The first paragraph of report and card: the verdict, what it rests on, and what departs from the shipped policy."""

from collections.abc import Sequence
from typing import Any

from rem_release.recipe_files import flatten
from rem_release.release.certificate import Circumstances, RowFacts, TierFacts
from rem_release.verdict.recipe import (
    SHIPPED_ARCHITECTURES,
    SHIPPED_CONFIDENCE,
    SHIPPED_HALF_WIDTH,
    SHIPPED_REQUIRED,
    SHIPPED_SHARE,
    YARDSTICK,
    AuditRecipe,
    shipped_audits,
)

CONTROL = "random"
"""the method that is a control"""
_CHOSEN = {
    "given": "The test images were chosen by whoever ordered the audit.",
    "reserve": "The test images were drawn and kept back when the data were protected.",
    "held out": "The test images were drawn from the originals of the release and left out of the victims' training.",
}
_OF_THE_RELEASE = ("victim.source_model",)
"""which network stands in where the release names none"""


def summarise(
    given: Circumstances, recipe: AuditRecipe, tiers: Sequence[TierFacts], rows: Sequence[RowFacts]
) -> list[str]:
    """Plain sentences.

    Args:
        given: what was audited.
        recipe: with the owner's policy.
        tiers: all of them.
        rows: all of them.
    """
    sentences = [_say_verdict(given, tiers)]
    for tier in tiers:
        if tier.outcome != "passed":
            kind = "required" if tier.required else "not required"
            verb = {"not tested": "was not tested", "looked at": "was only looked at"}.get(tier.outcome, "fell short")
            sentences.append(f"{tier.name.capitalize()} tier ({kind}) {verb}: {tier.reason}")
    sentences += [_CHOSEN[given.holdout.origin], *_tell_attempts(given)]
    for tier in tiers:
        sentences += _list_departures(tier, rows, given.source)
    sentences += _list_other_victims(given, recipe)
    if given.holdout.origin == "held out" and recipe.holdout.share > SHIPPED_SHARE:
        sentences.append(
            f"Victims did not learn from {_percent(recipe.holdout.share)} of the images, which are the test images; "
            f"the shipped audit leaves out {_percent(SHIPPED_SHARE)}."
        )
    statistics = recipe.statistics
    if statistics.confidence < SHIPPED_CONFIDENCE:
        sentences.append(
            f"Bounds hold at {_percent(statistics.confidence)} confidence; "
            f"the shipped policy asks for {_percent(SHIPPED_CONFIDENCE)}."
        )
    if statistics.half_width > SHIPPED_HALF_WIDTH:
        sentences.append(
            f"Accuracy needs to be known to within {_percent(statistics.half_width)} only; "
            f"the shipped policy asks for {_percent(SHIPPED_HALF_WIDTH)}."
        )
    return sentences


def is_passed(given: Circumstances, tiers: Sequence[TierFacts]) -> bool:
    """Whether the policy was met: every required tier passed, there is one, and the noise is not the random control."""
    required = [tier.outcome == "passed" for tier in tiers if tier.required]
    return bool(required) and all(required) and given.method != CONTROL


def _say_verdict(given: Circumstances, tiers: Sequence[TierFacts]) -> str:
    if is_passed(given, tiers):
        return "Passed: every tier that the owner's policy requires stayed under its limit."
    if given.method == CONTROL:
        return "Fell short: the noise is random, which is a control and is never certified."
    if not any(tier.required for tier in tiers):
        return "Fell short: the owner's policy requires no tier, so there is nothing to pass."
    short = [tier for tier in tiers if tier.required and tier.outcome != "passed"]
    names = f"required tier{'s' * (len(short) > 1)} {' and '.join(tier.name for tier in short)}"
    if all(tier.outcome == "looked at" for tier in short):
        return f"Looked at, not certified: too few victims, or test images of a class, for a bound in the {names}."
    return f"Fell short of the owner's policy in the {names}."


def _tell_attempts(given: Circumstances) -> list[str]:
    attempts = given.attempts
    if attempts is None or not attempts.earlier:
        return []
    audits = f"{attempts.earlier} other audit{'s' * (attempts.earlier > 1)}"
    releases = f"{attempts.releases} other release{'s' * (attempts.releases != 1)}"
    return [f"Not the first attempt: the run remembers {audits} of these images, of {releases} of them."]


def _list_other_victims(given: Circumstances, recipe: AuditRecipe) -> list[str]:
    """Where victims and adversary are not those of the shipped audit."""
    shipped = shipped_audits()
    settings = [_settings(recipe), *(_settings(each) for each in shipped.values())]
    if settings[0] in settings[1:]:
        return []
    name = given.recipe_name.partition(",")[0]
    base = name if name in shipped else YARDSTICK
    own, theirs = settings[0], _settings(shipped[base])
    words = [f"{key} {own[key]} (shipped: {theirs[key]})" for key in own if own[key] != theirs[key]]
    return [f"Victims and adversary depart from the shipped {base}: {', '.join(words)}."]


def _settings(recipe: AuditRecipe) -> dict[str, Any]:
    """Dotted keys of what decides how well victims learn."""
    document = recipe.to_dict()
    found = flatten({name: document[name] for name in ("victim", "adversary")})
    return {key: value for key, value in found.items() if key not in _OF_THE_RELEASE}


def _percent(share: float) -> str:
    return f"{100 * share:.10g}%"


def _list_departures(tier: TierFacts, rows: Sequence[RowFacts], source: str) -> list[str]:
    """Where the owner's policy on a tier is not the shipped one."""
    found = []
    if tier.limit != tier.shipped_limit:
        found.append(
            f"The limit of the {tier.name} tier is {_percent(tier.limit)}; "
            f"the shipped one is {_percent(tier.shipped_limit)}."
        )
    if tier.name not in SHIPPED_REQUIRED:
        return found
    if not tier.required:
        found.append(f"The {tier.name} tier, required by the shipped policy, is not required here.")
    mine = [row for row in rows if row.tier == tier.name]
    if special := sorted({row.architecture for row in mine if "," in row.architecture}):
        found.append(
            f"The {tier.name} tier is judged on networks that the shipped policy does not name: {'; '.join(special)}."
        )
    judged = [row for row in mine if row.radius is not None and row.valid]
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
