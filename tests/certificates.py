"""Certificates and learning curves to test with: consistent, and as an audit of ten classes would write them."""

from itertools import product

from rem_release.audit.curves import Curve
from rem_release.release.certificate import Accuracies, AttemptFacts, Certificate, HoldoutFacts, RowFacts, TierFacts

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
DIGEST = "cd" * 32
BEST_CLEAN = 0.94
MARGIN = 0.03
LIMITS = {"standard": 0.3, "adversarial": 0.7, "adaptive": 0.7, "transfer": 0.7}
MEASURED = [
    # tier, architecture, canonical name, words, radius, clean, random, protected
    ("standard", "resnet18", "standard", "ordinary training", "0", 0.94, 0.931, 0.2712),
    ("standard", "densenet121", "standard", "ordinary training", "0", 0.935, 0.92, 0.3016),
    ("adversarial", "resnet18", "pgd(radius=2/255)", "adversarial training (L∞, 2/255)", "2/255", 0.92, 0.92, 0.307),
    ("adversarial", "resnet18", "pgd(radius=4/255)", "adversarial training (L∞, 4/255)", "4/255", 0.9, 0.89, 0.4817),
    ("adversarial", "densenet121", "pgd(radius=4/255)", "adversarial training (L∞, 4/255)", "4/255", 0.83, 0.83, 0.8),
    ("adaptive", "resnet18", "jpeg(quality=10)", "JPEG, quality 10", None, 0.85, 0.86, 0.78),
    ("adaptive", "resnet18", "pgd(radius=8/255)", "adversarial training (L∞, 8/255)", "8/255", 0.85, 0.86, 0.8399),
]


def measure(final: float, classes: int = 10, seeds: int = 3, **changes) -> Accuracies:
    """Accuracies of which the classes' mean is `final`."""
    room = min(final, 1 - final)
    shifts = [room * (2 * number / max(classes - 1, 1) - 1) / 2 for number in range(classes)]
    values = {
        **{"judged": final, "final": final, "peak": min(1.0, final + 0.021), "train": 0.9917, "fit": 0.9876},
        "spread": 0.0123 if seeds > 1 else 0.0,
        "per_class": [final + shift if classes > 1 else final for shift in shifts],
    }
    return Accuracies.model_validate(values | changes)


def make_row(
    tier: str = "standard",
    architecture: str = "resnet18",
    threat: str = "standard",
    words: str = "ordinary training",
    radius: str | None = "0",
    clean: float = 0.94,
    random: float = 0.931,
    protected: float = 0.2712,
    *,
    classes: int = 10,
    seeds: int = 3,
    **changes,
) -> RowFacts:
    """A row whose leakages follow from its accuracies; bounds are 0.03 to either side."""
    floor = 1 / classes

    def leak(found: float, reference: float = clean) -> float:
        return (found - floor) / (reference - floor)

    values = {
        **{"tier": tier, "architecture": architecture, "threat": threat, "words": words, "radius": radius},
        **{"seeds": seeds, "floor": floor, "floor_is": "chance", "valid": True, "reason": ""},
        **{"step": 1200, "relabelled": False, "over_random": protected - random + MARGIN},
        **{"protected": measure(protected, classes, seeds), "clean": measure(clean, classes, seeds)},
        **{"random": measure(random, classes, seeds), "leakage": leak(protected)},
        **{"low": leak(protected) - MARGIN, "high": leak(protected) + MARGIN},
        **{"leakage_of_best": leak(protected, BEST_CLEAN), "leakage_at_end": leak(protected)},
        "random_leakage": leak(random),
    }
    return RowFacts.model_validate(values | changes)


def judge(rows: list[RowFacts], limits: dict[str, float] = LIMITS) -> list[TierFacts]:
    """The four tiers, each by its worst row; `standard` and `adversarial` are required."""
    tiers = []
    for name, limit in limits.items():
        numbers = [number for number, row in enumerate(rows) if row.tier == name]
        highs = {number: float("inf") if rows[number].high is None else rows[number].high for number in numbers}
        worst = max(highs, key=highs.__getitem__) if highs else None
        outcome = "not tested" if worst is None else "passed" if highs[worst] < limit else "fell short"
        reason = {"not tested": "No row was measured.", "passed": "Every row stays under the limit."}
        tiers.append(
            TierFacts(
                name=name,
                required=name in ("standard", "adversarial"),
                limit=limit,
                shipped_limit=LIMITS[name],
                outcome=outcome,
                reason=reason.get(outcome, f"The worst row may leak more than {limit:g}."),
                worst=worst,
            )
        )
    return tiers


def make_certificate(rows: list[RowFacts] | None = None, **changes) -> Certificate:
    """A certificate of `rows`, by default one that passes `standard`, falls short twice and tests no `transfer`."""
    rows = [make_row(*measured) for measured in MEASURED] if rows is None else rows
    tiers = changes.pop("tiers", None) or judge(rows)
    short = [tier for tier in tiers if tier.outcome == "fell short"]
    classes = changes.get("classes", CLASSES)
    passed = all(tier.outcome == "passed" for tier in tiers if tier.required)
    values = {
        "digest": DIGEST,
        "passed": passed,
        "summary": [
            "The audit passed." if passed else "The audit fell short.",
            *(f"Tier {tier.name} fell short of its limit of {tier.limit:g}." for tier in short),
        ],
        "tiers": tiers,
        "rows": rows,
        "classes": classes,
        "chance": 1 / len(classes),
        **{"images": 5000, "rho_u": "8/255", "rho_a": "4/255", "confidence": 0.95, "answers_sha256": "12" * 32},
        **{"clean_digest": "fe" * 32, "method": "rem", "source": "resnet18", "partial": False, "cached": 4},
        "attempts": AttemptFacts(earlier=2, releases=1),
        "holdout": HoldoutFacts(
            **{"origin": "given", "digest": "ef" * 32, "images": 1234, "clusters": 1230, "dropped": 7},
            **{"majority": 0.1021, "half_width": 0.0234},
        ),
        "learnability": None,
        **{"recipe_name": "audit-quick", "recipe": {"confidence": 0.95}, "recipe_sha256": "ab" * 32},
        "versions": {"rem-release": "0.1.0", "torch": "2.15.0"},
        "device": "cpu",
        "not_covered": ["Diffusion purification was not tried.", "Radii above 8/255 were not tried."],
    }
    return Certificate.model_validate(values | changes)


def make_curves(certificate: Certificate, points: int = 12) -> list[Curve]:
    """A curve of every victim of the certificate, which ends at its final accuracy."""
    curves = []
    for row, kind in product(certificate.rows, ("protected", "clean", "random")):
        facts = getattr(row, kind)
        for seed in range(row.seeds):
            grown = [1 - 0.6**number for number in range(1, points + 1)]
            curves.append(
                Curve(
                    architecture=row.architecture,
                    threat=row.threat,
                    trained_on=kind,
                    seed=seed,
                    steps=[100 * number for number in range(1, points + 1)],
                    loss=[2.3 * (1 - share * facts.train) + 0.02 * seed for share in grown],
                    train_accuracy=[facts.train * share for share in grown],
                    test_accuracy=[facts.final * share - 0.005 * seed for share in grown],
                )
            )
    return curves
