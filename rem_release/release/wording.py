"""The words and numbers of an audit, for card and report alike: what the certificate holds, and nothing else."""

from rem_release.release.certificate import (
    CLASSES_FIGURE,
    CURVES_FIGURE,
    MIN_IMAGES,
    MIN_SEEDS,
    RADIUS_FIGURE,
    Certificate,
    HoldoutFacts,
    RowFacts,
)

LEAKAGE = (
    "Leakage is the share of what models learn from the originals that they still learn from the protected images "
    "under the same training, beyond what costs nothing: (protected − floor) / (clean − floor). 0 is nothing, 1 is all "
    "of it. The floor is chance or, where part of the images is released without noise, the accuracy from that part."
)
VERDICT = (
    "A tier is judged by its worst row, and a row at its worst evaluation, as if the attacker had stopped there: "
    "the upper bound of leakage must stay under the limit, and the row must teach significantly less than random noise "
    "of the same radius does. Answers are judged as they are and after the best relabelling of classes, fitted for "
    "each victim on one half of the test images and scored on the other, both ways, and the worse counts. A bound "
    f"takes {MIN_SEEDS} victims of each kind, and {MIN_IMAGES} test images of each class; with fewer a tier is "
    "looked at, never passed."
)
PROOF = (
    "answers.parquet holds which class each victim named for each test image, at each evaluation. Verdict, bounds and "
    "sentences follow from it, and rem-release verify computes them again. The hash that audit.json carries of itself "
    "shows damage and careless edits. It is no signature: whoever publishes the data can make another audit, or invent "
    "answers, and nothing but training such victims again would show it."
)
RADIUS_CAPTION = (
    "Test accuracy after adversarial training, by the radius of that training (0 is ordinary training): on the "
    "protected images, on the originals, and on the originals with random noise of the same size. Bars are one "
    "standard deviation over seeds, where there are several; crosses mark invalid rows; the upright line is ρ_a."
)
CURVES_CAPTION = (
    "How the victims learnt: accuracy on clean test images (solid) and on their own training images (dashed), and "
    "training loss. Every seed is a line."
)
CLASSES_CAPTION = "Test accuracy of each class in the row that decides"
_ORIGINS = {
    "given": "given for the audit",
    "reserve": "kept back when the data were protected",
    "held out": "originals of rows that were left out of the victims' training",
}


def write_percent(share: float) -> str:
    """0.48159 as `48.2`; the unit stands in the head of the table."""
    return f"{100 * share:.1f}".replace("-", "−")


def write_leakage(value: float | None) -> str:
    """0.27049 as `0.270`; None as `not defined`."""
    return "not defined" if value is None else f"{value:.3f}".replace("-0.000", "0.000").replace("-", "−")


def write_bound(row: RowFacts) -> str:
    """The upper bound of a row's leakage, or why there is none."""
    if row.leakage is None:
        return "not defined"
    if not row.is_bounded:
        return f"no bound ({row.seeds} seed{'s' * (row.seeds > 1)})"
    return "unbounded" if row.high is None else write_leakage(row.high)


def describe_tiers(certificate: Certificate) -> dict[str, str]:
    """What the training methods of each tier have in common."""
    return {
        "standard": "ordinary training",
        "adversarial": f"adversarial training at radii up to ρ_a = {certificate.rho_a}",
        "adaptive": "countermeasures, combinations and larger radii",
        "transfer": "other and pretrained networks",
    }


def describe_figures(certificate: Certificate) -> dict[str, tuple[str, str]]:
    """(short name, caption) of each figure that an audit may have, under its path in the release."""
    row = certificate.deciding_row
    decides = f": {row.words}, {row.architecture}" if row else ""
    return {
        RADIUS_FIGURE: ("Accuracy by radius of adversarial training", RADIUS_CAPTION),
        CURVES_FIGURE: ("Learning curves", CURVES_CAPTION),
        CLASSES_FIGURE: ("Accuracy of each class", f"{CLASSES_CAPTION}{decides}."),
    }


def describe_conditions(certificate: Certificate) -> list[tuple[str, str]]:
    """(name, sentence) of everything under which the figures were measured. Names are as given: to be escaped."""
    holdout = certificate.holdout
    return [
        ("Victims", f"each trained on {certificate.images:,} images of {len(certificate.classes):,} classes"),
        ("Tested on", _describe_holdout(holdout)),
        (
            "What costs nothing",
            f"chance is {write_percent(certificate.chance)} %. Always naming the largest class is right for "
            f"{write_percent(holdout.majority)} % of the test images, but every accuracy here is a mean over classes, "
            "in which that scores chance",
        ),
        ("Radii", f"defensive ρ_u = {certificate.rho_u}; the adversarial tier covers ρ_a = {certificate.rho_a}"),
        (
            "Bounds",
            f"one-sided at {100 * certificate.confidence:g} % confidence each, over other trainings and other test "
            f"images, in closed form. This many test images allow a half width of {write_percent(holdout.half_width)} "
            "points of accuracy",
        ),
        ("Baselines", f"{certificate.cached} victims of clean images and random noise came from earlier audits"),
        ("Earlier audits", _describe_attempts(certificate)),
        ("Audit recipe", f"{certificate.recipe_name}, sha256 {certificate.recipe_sha256}"),
        ("Device", certificate.device),
        ("Made with", ", ".join(f"{package} {version}" for package, version in certificate.versions.items())),
        ("Digest of the data", certificate.digest),
    ]


def _describe_holdout(holdout: HoldoutFacts) -> str:
    dropped = (
        f"; {holdout.dropped:,} more were left out: they overlap the release or repeat another"
        if holdout.dropped
        else ""
    )
    copies = holdout.images - holdout.clusters
    repeated = f"; {copies:,} of them are near copies of others and count with these as one" if copies else ""
    return f"{holdout.images:,} clean images, {_ORIGINS[holdout.origin]}{dropped}{repeated}"


def _describe_attempts(certificate: Certificate) -> str:
    attempts = certificate.attempts
    if attempts is None:
        return "not counted: no run folder remembers any"
    return (
        f"{attempts.earlier} of the same originals that the run folder remembers, of {attempts.releases} other releases"
    )


def describe_learnability(certificate: Certificate) -> str | None:
    """The (q, η)-learnability bound in a few sentences; None where it was not computed."""
    facts = certificate.learnability
    if facts is None:
        return None
    sampled = f"{facts.samples:,} draws of Gaussian noise (σ = {facts.sigma:g}) on the weights of one trained"
    found = (
        "do not suffice for a bound"
        if facts.bound is None
        else f"bound the {facts.q:g}-quantile of accuracy under such noise by {write_percent(facts.bound)} %"
    )
    return (
        f"{sampled} {facts.architecture} {found}, for any shift of these weights by at most η = {facts.eta:g} in L2. "
        "That η is small: training again shifts the weights far more. It describes one network, and limits no attacker."
    )
