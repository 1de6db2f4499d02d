"""The certificate of an audit: the schema of `audit.json`.

It is bound to the digest of the released data, and it is empirical: it says what was tried and what was found, not what
is impossible. Whatever it finds follows from its circumstances and from `answers.parquet`, see `verdict.certify`.
Nothing here names a machine, a path or a time: the file is published.
"""

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rem_release.errors import VerificationError
from rem_release.radius import parse_radius
from rem_release.release.canonical import read_sealed

CERTIFICATE_FORMAT: Literal["rem-release-audit/2"] = "rem-release-audit/2"
MIN_SEEDS = 3
"""victims of each kind that a bound takes: two say too little of how much one training differs from the next"""
MIN_IMAGES = 5
"""test images of each class, near copies counted as one: fewer can all be wrong by luck where half would be right"""
PACKAGES = ("rem-release", "torch", "torchvision", "accelerate", "numpy", "scipy", "pillow")
"""Their versions decide what a victim learns."""
Outcome = Literal["passed", "fell short", "looked at", "not tested"]
TierName = Literal["standard", "adversarial", "adaptive", "transfer"]
TIERS: tuple[TierName, ...] = ("standard", "adversarial", "adaptive", "transfer")
STATEMENT = (
    "This certificate is empirical: it reports what these victims learnt from exactly these bytes. "
    "It proves nothing about methods, networks or budgets that were not tried."
)
ANSWERS = "answers.parquet"
"""What the victims of an audit answered, see `verdict.evidence`."""
RADIUS_FIGURE = "figures/audit-radius.png"
CURVES_FIGURE = "figures/audit-curves.png"
CLASSES_FIGURE = "figures/audit-classes.png"
AUDIT_FIGURES = (RADIUS_FIGURE, CURVES_FIGURE, CLASSES_FIGURE)
"""What an audit adds to the figures of a release. They are listed and hashed in `protection.json` like the others."""
_FORMAT_OF_0_2_0 = "rem-release-audit/1"
Share = Annotated[float, Field(ge=0, le=1)]


class OldCertificateError(VerificationError):
    """A certificate whose verdict cannot be recomputed."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Accuracies(_Section):
    """Test accuracies of a row's victims on one kind of training images, each a mean over seeds, from 0 to 1."""

    judged: float = Field(
        ge=0, le=1, description="at the evaluation that is judged; the mean of the classes' accuracies"
    )
    final: float = Field(ge=0, le=1, description="after the last training step")
    peak: float = Field(ge=0, le=1, description="the best of all evaluations, as if stopped early")
    train: float = Field(ge=0, le=1, description="on its own training images, under the threat, near the end")
    fit: float = Field(ge=0, le=1, description="on its own training images as they are, at the end")
    per_class: list[Share] = Field(description="judged accuracy of each class, in the order of the classes")
    spread: Share = Field(description="standard deviation of `judged` over seeds; 0 for one seed")


class RowFacts(_Section):
    """One threat with one architecture: what was learnt from the release, beside the same on the baselines."""

    tier: TierName
    architecture: str
    threat: str = Field(description="canonical name, such as `jpeg(quality=10)+pgd(radius=4/255)`")
    words: str = Field(description="the threat in plain words")
    radius: str | None = Field(description="L∞ radius of plain adversarial training; 0 for standard; else None")
    seeds: int = Field(ge=1, description="how many victims of each kind; a bound takes three")
    step: int = Field(description="training step of the evaluation of the protected victims with the highest leakage")
    relabelled: bool = Field(
        description="leakage is highest after the best relabelling of classes, and `protected.judged` is after it"
    )
    protected: Accuracies
    clean: Accuracies = Field(description="judged after the last step")
    random: Accuracies = Field(
        description="trained on the originals with random ±ρ_u signs; judged after the last step"
    )
    floor: Share = Field(description="what costs nothing: chance, or the accuracy from the clean part alone")
    floor_is: Literal["chance", "clean part"]
    leakage: float | None = Field(description="(protected − floor) / (clean − floor); None where it is not defined")
    low: float | None = Field(description="one-sided lower bound; None where there is none")
    high: float | None = Field(description="the highest one-sided upper bound of all evaluations; None for none")
    over_random: float | None = Field(
        description="upper bound, over all evaluations, of test accuracy less that of random noise; None where there "
        "is none; below 0, the release teaches significantly less than random noise of its radius"
    )
    leakage_of_best: float | None = Field(description="(protected − floor) / (best clean reference − floor)")
    leakage_at_end: float | None = Field(description="the same as `leakage`, after the last step")
    random_leakage: float | None = Field(description="leakage of the random control under the same threat")
    valid: bool
    reason: str = Field(description="why the row is invalid; empty when it is valid")

    @property
    def is_bounded(self) -> bool:
        """Whether it stands on enough seeds for a bound."""
        return self.seeds >= MIN_SEEDS

    @property
    def figure(self) -> float:
        """What a limit is held against: the upper bound, or the estimate where there are too few seeds for one."""
        value = self.high if self.is_bounded else self.leakage
        return math.inf if value is None else value


class TierFacts(_Section):
    """The verdict of one tier."""

    name: TierName
    required: bool
    limit: float = Field(description="leakage that every row must stay under, at each of its evaluations")
    shipped_limit: float
    outcome: Outcome
    reason: str = Field(description="one sentence")
    worst: int | None = Field(description="index in `rows` of the row that decides; None when not tested")


class HoldoutSource(_Section):
    """Where the clean images come from on which victims were tested."""

    origin: Literal["given", "reserve", "held out"] = Field(
        description="given with --holdout; kept back by protect; or left out of the victims' training"
    )
    digest: str = Field(description="sha256 over the test images and labels as victims saw them")
    dropped: int = Field(ge=0, description="images left out: they overlap the release, or repeat another test image")


class HoldoutFacts(HoldoutSource):
    """The clean images on which victims were tested, counted."""

    images: int = Field(ge=1)
    clusters: int = Field(ge=1, description="near copies among them counted as one")
    majority: float = Field(description="share of the largest class: what always guessing it scores")
    half_width: float = Field(description="half width of a bound on accuracy that this many images allow")


class AttemptFacts(_Section):
    """Earlier audits of the same clean images that the run folder remembers."""

    earlier: int = Field(ge=0, description="audits of other releases, or with other test images or another recipe")
    releases: int = Field(ge=0, description="how many other releases of these images they were of")


class LearnabilityFacts(_Section):
    """The (q, η)-learnability bound of PUE (NDSS 2025) for one trained surrogate: a description, not a gate."""

    architecture: str
    samples: int
    sigma: float
    q: float
    eta: float = Field(description="L2 shift of the weights that the bound covers; retraining shifts them far more")
    bound: Share | None = Field(description="accuracy; None where the samples do not suffice")
    accuracies: list[Share] = Field(description="of the surrogate under noise on its weights, from which it follows")


class Circumstances(_Section):
    """What an audit was made of; with the answers of the victims, the rest of the certificate follows from it."""

    digest: str = Field(description="of the data that were audited; a certificate of other data is void")
    clean_digest: str = Field(description="of the originals that victims could have learnt from, and their classes")
    method: str | None = Field(description="what made the noise, as the release says; None for another method's copy")
    source: str = Field(description="the source network, as rows name it")
    partial: bool = Field(description="some of the training images carry no noise; what they teach alone is the floor")
    classes: list[str]
    images: int = Field(ge=1, le=10**9, description="training images of a victim")
    rho_u: str
    rho_a: str = Field(description="the radius that the adversarial tier covers")
    holdout: HoldoutSource
    learnability: LearnabilityFacts | None
    attempts: AttemptFacts | None = Field(description="None where no run folder remembers any")
    cached: int = Field(ge=0, description="victims of clean images and random noise that came from earlier audits")
    recipe_name: str
    recipe: dict[str, Any]
    versions: dict[str, str]
    device: str = Field(description="kind of device, such as `cpu`")


class Certificate(Circumstances):
    """The whole of `audit.json`, less the hash that it carries of itself."""

    format: Literal["rem-release-audit/2"] = CERTIFICATE_FORMAT
    statement: str = STATEMENT
    passed: bool = Field(description="every required tier passed")
    summary: list[str] = Field(min_length=1, description="the verdict in plain sentences, whatever fell short included")
    tiers: list[TierFacts] = Field(description="all four, in order")
    rows: list[RowFacts]
    chance: Share
    holdout: HoldoutFacts
    confidence: float
    recipe_sha256: str
    answers_sha256: str = Field(description="of answers.parquet, from which the rest follows")
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
        return self

    @property
    def circumstances(self) -> Circumstances:
        """What was not found, but given."""
        given = self.model_dump(include=set(Circumstances.model_fields))
        given["holdout"] = {name: given["holdout"][name] for name in HoldoutSource.model_fields}
        return Circumstances.model_validate(given)

    @property
    def deciding_row(self) -> RowFacts | None:
        """The worst row of the required tier that comes nearest to its limit, or exceeds it most.

        Where no required tier was tested, that of the others; None where nothing was tested.
        """
        tested = [(tier, self.rows[tier.worst]) for tier in self.tiers if tier.worst is not None]
        required = [(tier, row) for tier, row in tested if tier.required]
        excess = [(row.figure - tier.limit, row) for tier, row in required or tested]
        return max(excess, key=lambda pair: pair[0])[1] if excess else None


def read_certificate(path: Path) -> Certificate:
    """Read audit.json.

    Raises:
        OldCertificateError: an earlier version wrote it.
        VerificationError: it is missing, damaged, or does not follow the schema.
    """
    document = read_sealed(path)
    if document.get("format") == _FORMAT_OF_0_2_0:
        raise OldCertificateError(
            f"{path.name} was written by an earlier version (format {_FORMAT_OF_0_2_0}): nothing stands behind its "
            "verdict that could be counted again; audit these data again"
        )
    try:
        return Certificate.model_validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise VerificationError(f"{path.name} does not follow its schema: {where}: {first['msg']}") from None
