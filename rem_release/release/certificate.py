"""The certificate of an audit: the schema of `audit.json`.

It is bound to the digest of the released data, and it is empirical: it says what was tried and what was found, not what
is impossible. Nothing here names a machine, a path or a time: the file is published.
"""

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rem_release.errors import VerificationError
from rem_release.radius import parse_radius
from rem_release.release.canonical import read_sealed

TierName = Literal["standard", "adversarial", "adaptive", "transfer"]
TIERS: tuple[TierName, ...] = ("standard", "adversarial", "adaptive", "transfer")
STATEMENT = (
    "This certificate is empirical: it reports what these victims learnt from exactly these bytes. "
    "It proves nothing about methods, networks or budgets that were not tried."
)
RADIUS_FIGURE = "figures/audit-radius.png"
CURVES_FIGURE = "figures/audit-curves.png"
CLASSES_FIGURE = "figures/audit-classes.png"
AUDIT_FIGURES = (RADIUS_FIGURE, CURVES_FIGURE, CLASSES_FIGURE)
"""What an audit adds to the figures of a release. They are listed and hashed in `protection.json` like the others."""
Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Accuracies(_Part):
    """Test accuracies of a row's victims on one kind of training images, each a mean over seeds, from 0 to 1."""

    final: float = Field(ge=0, le=1, description="after the last training step; the mean of the classes' accuracies")
    peak: float = Field(ge=0, le=1, description="the best that was seen on the way, as if stopped early")
    train: float = Field(ge=0, le=1, description="on its own training images, under the threat, near the end")
    per_class: list[Share] = Field(description="final accuracy of each class, in the order of the classes")
    spread: Share = Field(description="standard deviation of `final` over seeds; 0 for one seed")


class RowFacts(_Part):
    """One threat with one architecture: what was learnt from the release, beside the same on the baselines."""

    tier: TierName
    architecture: str
    threat: str = Field(description="canonical name, such as `jpeg(quality=10)+pgd(radius=4/255)`")
    words: str = Field(description="the threat in plain words")
    radius: str | None = Field(description="L∞ radius of plain adversarial training; 0 for standard; else None")
    seeds: list[int]
    protected: Accuracies
    clean: Accuracies
    random: Accuracies = Field(description="trained on the originals with random ±ρ_u signs")
    floor: Share = Field(description="what costs nothing: chance, or the accuracy from the clean part alone")
    floor_is: Literal["chance", "clean part"]
    leakage: float | None = Field(description="(protected − floor) / (clean − floor); None where it is not defined")
    low: float | None = Field(description="one-sided lower bound; None where leakage is not defined")
    high: float | None = Field(description="one-sided upper bound, Bonferroni-corrected over the tier; None: unbounded")
    leakage_of_best: float | None = Field(description="(protected − floor) / (best clean reference − floor)")
    leakage_at_peak: float | None = Field(description="the same as `leakage` with peak accuracies")
    random_leakage: float | None = Field(description="leakage of the random control under the same threat")
    valid: bool
    reason: str = Field(description="why the row is invalid; empty when it is valid")


class TierFacts(_Part):
    """The verdict of one tier."""

    name: TierName
    required: bool
    limit: float = Field(description="leakage that every row's upper bound must stay under")
    shipped_limit: float
    outcome: Literal["passed", "fell short", "not tested"]
    reason: str = Field(description="one sentence")
    worst: int | None = Field(description="index in `rows` of the row that decides; None when not tested")


class HoldoutFacts(_Part):
    """The clean images on which victims were tested."""

    origin: Literal["given", "reserve", "held out"] = Field(
        description="given with --holdout; kept back by protect; or left out of the victims' training"
    )
    images: int = Field(ge=1)
    digest: str = Field(description="sha256 over the test images and labels as victims saw them")
    dropped: int = Field(ge=0, description="images left out: they overlap the release, or repeat another test image")
    majority: float = Field(description="share of the largest class: what always guessing it scores")
    half_width: float = Field(description="half width of a row's bound on accuracy that this many images allow")


class LearnabilityFacts(_Part):
    """The (q, η)-learnability bound of PUE (NDSS 2025) for one trained surrogate: a description, not a gate."""

    architecture: str
    samples: int
    sigma: float
    q: float
    eta: float = Field(description="L2 shift of the weights that the bound covers; retraining shifts them far more")
    bound: float | None = Field(description="accuracy; None where the samples do not suffice")


class Certificate(_Part):
    """The whole of `audit.json`, less the hash that it carries of itself."""

    format: Literal["rem-release-audit/1"] = "rem-release-audit/1"
    statement: str = STATEMENT
    digest: str = Field(description="of the data that were audited; a certificate of other data is void")
    passed: bool = Field(description="every required tier passed")
    summary: list[str] = Field(min_length=1, description="the verdict in plain sentences, whatever fell short included")
    tiers: list[TierFacts] = Field(description="all four, in order")
    rows: list[RowFacts]
    classes: list[str]
    chance: Share
    images: int = Field(ge=1, description="training images of a victim")
    rho_u: str
    rho_a: str = Field(description="the radius that the adversarial tier covers")
    holdout: HoldoutFacts
    learnability: LearnabilityFacts | None
    confidence: float
    resamples: int
    recipe_name: str
    recipe: dict[str, Any]
    recipe_sha256: str
    versions: dict[str, str]
    device: str = Field(description="kind of device, such as `cpu`")
    not_covered: list[str] = Field(description="sentences")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if tuple(tier.name for tier in self.tiers) != TIERS:
            raise ValueError(f"tiers are not {', '.join(TIERS)}, in this order")
        for tier in self.tiers:
            if tier.worst is not None and not 0 <= tier.worst < len(self.rows):
                raise ValueError(f"the worst row of the tier {tier.name} is {tier.worst} of {len(self.rows)} rows")
        for radius in (self.rho_u, self.rho_a, *(row.radius for row in self.rows if row.radius is not None)):
            parse_radius(radius)
        for number, row in enumerate(self.rows):
            if any(len(kind.per_class) != len(self.classes) for kind in (row.protected, row.clean, row.random)):
                raise ValueError(f"per_class of row {number} is not of {len(self.classes)} classes")
        required = [tier.outcome == "passed" for tier in self.tiers if tier.required]
        if self.passed != (bool(required) and all(required)):
            raise ValueError(f"passed is {self.passed}, which the outcomes of the required tiers do not say")
        return self

    @property
    def deciding_row(self) -> RowFacts | None:
        """The worst row of the required tier that comes nearest to its limit, or exceeds it most.

        Where no required tier was tested, that of the others; None where nothing was tested.
        """
        tested = [(tier, self.rows[tier.worst]) for tier in self.tiers if tier.worst is not None]
        required = [(tier, row) for tier, row in tested if tier.required]
        excess = [(math.inf if row.high is None else row.high - tier.limit, row) for tier, row in required or tested]
        return max(excess, key=lambda pair: pair[0])[1] if excess else None


def read_certificate(path: Path) -> Certificate:
    """Read audit.json.

    Raises:
        VerificationError: it is missing, damaged, or does not follow the schema.
    """
    try:
        return Certificate.model_validate_json(json.dumps(read_sealed(path)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise VerificationError(f"{path.name} does not follow its schema: {where}: {first['msg']}") from None
