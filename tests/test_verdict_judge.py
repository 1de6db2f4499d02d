"""The verdict on victims whose answers are made by hand: 100 test images of each of 4 classes, or as said."""

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from rem_release.audit.ledger import VictimRecord, pack
from rem_release.release.certificate import RowFacts, TierFacts
from rem_release.verdict.judge import Found, Judge, describe_row, rank_rows
from rem_release.verdict.plan import Row
from rem_release.verdict.recipe import AuditRecipe, parse_architecture
from rem_release.verdict.statistics import estimate_leakage
from rem_release.verdict.summary import summarise
from rem_release.verdict.threats import parse_threat
from tests.audits import read_recipe

RHO_A = Fraction(4, 255)
LABELS = np.repeat(np.arange(4), 100)
NETWORKS = ("resnet18", "vgg16", "senet18")
PGD = "pgd(radius=4/255)"


def answer(accuracy: float | list[float], labels: np.ndarray = LABELS) -> np.ndarray:
    """Right on the first images of each class, as many as its accuracy says: bool [T]."""
    names, places = np.unique(labels, return_inverse=True)
    wanted = accuracy if isinstance(accuracy, list) else [accuracy] * len(names)
    correct = np.zeros(len(labels), bool)
    for place, share in enumerate(wanted):
        members = np.flatnonzero(places == place)
        correct[members[: round(share * len(members))]] = True
    return correct


def victim(
    accuracy, labels=LABELS, *, gain: float | None = 0.5, peak: float = 0.95, finite=True, train=1.0
) -> VictimRecord:
    return VictimRecord(
        **{"key": "0", "architecture": "resnet18", "threat": "standard", "trained_on": "clean", "seed": 0},
        **{"finite": finite, "correct": pack(answer(accuracy, labels)), "peak": peak, "train_accuracy": train},
        **{"attack_gain": gain, "steps": [1], "loss": [1.0], "train_curve": [1.0], "test_curve": [1.0]},
        **{"learnability": None, "seconds": 1.0},
    )


def find(
    protected=0.3,
    clean=0.9,
    random=0.85,
    *,
    threat="standard",
    network="resnet18",
    tier="standard",
    floor=None,
    reference=None,
    labels=LABELS,
) -> Found:
    """A row of one seed; accuracies, or victims."""

    def make(given) -> list[VictimRecord]:
        return [given if isinstance(given, VictimRecord) else victim(given, labels)]

    return Found(
        row=Row(tier, parse_architecture(network), parse_threat(threat), 1),
        protected=make(protected),
        clean=make(clean),
        random=make(random),
        floor=None if floor is None else make(floor),
        reference=make(clean if reference is None else reference),
    )


def judge_of(recipe: AuditRecipe, labels: np.ndarray = LABELS, classes: int = 4) -> Judge:
    return Judge(recipe, labels, classes, RHO_A)


@pytest.fixture
def recipe(tmp_path) -> AuditRecipe:
    """The shipped policy: standard at most 0.30, adversarial at most 0.70, accuracy to within six points."""
    tiers = {
        "standard": {"required": True, "limit": 0.3, "threats": ["standard"]},
        "adversarial": {"required": True, "limit": 0.7, "threats": ["pgd(radius=rho_a)"]},
    }
    return read_recipe(tmp_path, tiers=tiers, statistics__half_width=0.06)


@pytest.fixture
def judge(recipe) -> Judge:
    return judge_of(recipe)


def judge_one(judge: Judge, found: Found) -> RowFacts:
    (facts,) = judge.judge_rows([found])
    return facts


def rename(judge: Judge, folder, **changes) -> Judge:
    """The same judge under another recipe."""
    return replace(judge, recipe=read_recipe(folder, **{"statistics__half_width": 0.06, **changes}))


# leakage


def test_leakage_is_the_share_of_the_margin_over_chance(judge):
    row = judge_one(judge, find(protected=[0.4, 0.3, 0.3, 0.2], clean=0.9, random=0.77))
    assert row.floor == 0.25
    assert row.floor_is == "chance"
    assert row.leakage == pytest.approx((0.30 - 0.25) / (0.90 - 0.25))
    assert row.random_leakage == pytest.approx((0.77 - 0.25) / (0.90 - 0.25))
    assert row.protected.per_class == pytest.approx([0.4, 0.3, 0.3, 0.2])
    assert (row.protected.final, row.clean.final, row.random.final) == pytest.approx((0.3, 0.9, 0.77))
    assert row.valid
    assert row.reason == ""
    assert row.low < row.leakage < row.high


def test_a_victim_below_chance_leaks_less_than_nothing(judge):
    assert judge_one(judge, find(protected=0.12)).leakage == pytest.approx(-0.13 / 0.65)


def test_what_the_thief_really_gets_is_held_against_the_best_clean_victim_of_all_rows(judge):
    rows = judge.judge_rows(
        [find(0.45, 0.65, threat=PGD, tier="adversarial", reference=0.9), find(0.3, 0.95), find(0.3, 0.85)]
    )
    assert rows[0].leakage == pytest.approx(0.20 / 0.40)
    assert rows[0].leakage_of_best == pytest.approx(0.20 / 0.70)
    assert rows[1].leakage_of_best == rows[1].leakage
    (alone,) = judge.judge_rows([find(0.45, 0.65, threat=PGD, tier="adversarial", reference=0.9)])
    assert alone.leakage_of_best == pytest.approx(0.20 / 0.65), "clean standard training is a clean victim too"


def test_leakage_at_the_peak_takes_the_peaks(judge):
    row = judge_one(judge, find(victim(0.3, peak=0.6), victim(0.9, peak=0.95)))
    assert row.leakage == pytest.approx(0.05 / 0.65)
    assert row.leakage_at_peak == pytest.approx(0.35 / 0.70)
    assert (row.protected.peak, row.clean.peak) == (0.6, 0.95)


def test_seeds_are_averaged_and_spread(judge):
    found = find()
    found = Found(
        row=replace(found.row, seeds=2),
        protected=[victim(0.3, train=0.9), victim(0.5, train=0.7)],
        clean=[victim(0.9), victim(0.8)],
        random=[victim(0.8), victim(0.8)],
        floor=None,
        reference=[victim(0.9), victim(0.8)],
    )
    row = judge_one(judge, found)
    assert row.seeds == [0, 1]
    assert row.leakage == pytest.approx((0.40 - 0.25) / (0.85 - 0.25))
    assert row.protected.spread == pytest.approx(0.2 / 2**0.5)
    assert row.random.spread == 0
    assert row.protected.train == pytest.approx(0.8)
    assert judge_one(judge, find()).protected.spread == 0


def test_guessing_the_largest_class_is_chance_whatever_its_size(recipe):
    labels = np.repeat(np.arange(4), [340, 20, 30, 10])
    judge = judge_of(recipe, labels)
    row = judge_one(judge, find([1.0, 0.0, 0.0, 0.0], [0.9, 0.8, 0.9, 0.8], labels=labels))
    assert row.protected.final == pytest.approx(0.25)  # 85 % of the images
    assert row.leakage == pytest.approx(0, abs=1e-12)
    assert row.clean.final == pytest.approx(0.85)
    row = judge_one(judge, find([0.1, 0.9, 0.9, 0.9], 0.9, labels=labels))
    assert row.leakage == pytest.approx((0.7 - 0.25) / 0.65)  # 22 % of the images


def test_under_partial_protection_the_clean_part_is_the_floor(judge):
    found = find(0.6, 0.9, 0.8, floor=0.5, threat="mixed(protected=0.8)", tier="adaptive")
    row, other = judge.judge_rows([found, find(0.3, 1.0, tier="adaptive", threat="mean")])
    assert row.floor == pytest.approx(0.5)
    assert row.floor_is == "clean part"
    assert row.leakage == pytest.approx((0.6 - 0.5) / (0.9 - 0.5))
    assert row.leakage_of_best == pytest.approx((0.6 - 0.5) / (1.0 - 0.5))
    assert row.random_leakage == pytest.approx((0.8 - 0.5) / (0.9 - 0.5))
    assert row.low < row.leakage < row.high
    assert row.valid
    assert (other.floor, other.floor_is) == (0.25, "chance")
    chance_bound = judge_one(judge, find(0.6, 0.9, 0.8, tier="adaptive", threat="mean")).high
    assert row.high < chance_bound


def test_bounds_are_those_of_the_statistics(judge):
    found = find()
    expected = estimate_leakage(
        *(answer(0.3)[None], answer(0.9)[None], LABELS, 0.25),
        **{"confidence": 0.95, "comparisons": 1, "resamples": 2000, "seed": 0},
    )
    row = judge_one(judge, found)
    assert (row.low, row.high) == (expected.low, expected.high)


def test_bonferroni_counts_the_rows_of_the_tier_and_of_no_other(judge):
    def high(rows_beside: int, tier: str) -> float:
        beside = [find(tier=tier, threat=f"jpeg(quality={number + 1})") for number in range(rows_beside)]
        return judge.judge_rows([find(), *beside])[0].high

    alone = high(0, "standard")
    assert high(7, "adaptive") == alone
    assert alone < high(1, "standard") < high(7, "standard")
    expected = estimate_leakage(
        *(answer(0.3)[None], answer(0.9)[None], LABELS, 0.25),
        **{"confidence": 0.95, "comparisons": 8, "resamples": 2000, "seed": 0},
    )
    assert high(7, "standard") == expected.high


# tiers


def grid(judge: Judge, protected: dict[str, float], tier="standard", threat="standard") -> list[RowFacts]:
    return judge.judge_rows(
        [find(accuracy, network=network, tier=tier, threat=threat) for network, accuracy in protected.items()]
    )


def test_a_tier_passes_where_every_bound_stays_under_the_limit(judge):
    rows = grid(judge, {"resnet18": 0.3, "vgg16": 0.35, "senet18": 0.26})
    tier = judge.judge_tier("standard", rows)
    assert (tier.outcome, tier.worst, tier.limit, tier.shipped_limit) == ("passed", 1, 0.3, 0.3)
    assert tier.required
    assert tier.reason == f"At worst {describe_row(rows[1])} (limit 30%)."


@pytest.mark.parametrize("order", list(itertools.permutations(NETWORKS)))
def test_the_worst_row_decides_wherever_it_stands_and_never_an_average(judge, order):
    accuracy = {"resnet18": 0.26, "vgg16": 0.52, "senet18": 0.25}
    rows = grid(judge, {network: accuracy[network] for network in order})
    assert np.mean([row.leakage for row in rows]) < 0.15
    tier = judge.judge_tier("standard", rows)
    assert tier.outcome == "fell short"
    assert rows[tier.worst].architecture == "vgg16"
    assert tier.reason.startswith("vgg16 under standard training learns 42% of what clean images teach above chance")


def test_the_bound_decides_not_the_estimate(judge):
    row = judge_one(judge, find(0.44))
    assert row.leakage < 0.3 < row.high
    assert judge.judge_tier("standard", [row]).outcome == "fell short"


def test_a_bound_at_the_limit_is_not_under_it(judge, tmp_path):
    row = judge_one(judge, find())
    threats = {"tiers__standard__threats": ["standard"]}
    at = rename(judge, tmp_path, tiers__standard__limit=row.high, **threats)
    above = rename(judge, tmp_path, tiers__standard__limit=row.high + 1e-9, **threats)
    assert at.judge_tier("standard", [row]).outcome == "fell short"
    assert above.judge_tier("standard", [row]).outcome == "passed"


def test_rows_of_other_tiers_do_not_matter(judge):
    rows = judge.judge_rows([find(0.9, tier="transfer"), find(0.26), find(0.9, tier="adaptive", threat="mean")])
    assert [judge.judge_tier(tier, rows).outcome for tier in ("standard", "adversarial", "adaptive", "transfer")] == [
        *("passed", "not tested", "fell short", "fell short"),
    ]
    assert [judge.judge_tier(tier, rows).worst for tier in ("standard", "adversarial", "adaptive", "transfer")] == [
        *(1, None, 2, 0),
    ]


def test_a_tier_without_rows_was_not_tested(judge):
    tier = judge.judge_tier("adversarial", [])
    assert (tier.outcome, tier.worst, tier.required) == ("not tested", None, True)
    assert tier.reason == "The audit recipe has no threats for this tier."


@pytest.mark.parametrize(
    ("tier", "threat", "reason"),
    [
        ("standard", "mean", "The tier holds no standard training."),
        ("standard", PGD, "The tier holds no standard training."),
        ("adversarial", "standard", "The tier holds no adversarial training at ρ_a = 4/255."),
        ("adversarial", "pgd(radius=2/255)", "The tier holds no adversarial training at ρ_a = 4/255."),
        ("adversarial", "pgd(radius=4/255,norm=l2)", "The tier holds no adversarial training at ρ_a = 4/255."),
        ("adversarial", "mean+pgd(radius=4/255)", "The tier holds no adversarial training at ρ_a = 4/255."),
    ],
)
def test_a_tier_without_what_it_is_named_after_was_not_tested(judge, tier, threat, reason):
    rows = judge.judge_rows([find(0.25, threat=threat, tier=tier)])
    found = judge.judge_tier(tier, rows)
    assert (found.outcome, found.reason, found.worst) == ("not tested", reason, None)


def test_it_must_stand_in_that_tier_itself(judge):
    rows = judge.judge_rows([find(0.25, threat="mean"), find(0.25, tier="transfer")])
    assert judge.judge_tier("standard", rows).outcome == "not tested"


def test_a_leak_is_told_even_where_something_is_missing(judge):
    rows = judge.judge_rows([find(0.9, threat="pgd(radius=2/255)", tier="adversarial")])
    tier = judge.judge_tier("adversarial", rows)
    assert (tier.outcome, tier.worst) == ("fell short", 0)
    assert "learns 100% of what clean images teach" in tier.reason
    assert tier.reason.endswith("The tier holds no adversarial training at ρ_a = 4/255.")


def test_a_radius_of_fractional_levels_is_found(recipe):
    judge = Judge(recipe, LABELS, 4, Fraction(5, 510))
    rows = judge.judge_rows([find(0.25, threat="pgd(radius=2.5/255)", tier="adversarial")])
    assert judge.judge_tier("adversarial", rows).outcome == "passed"


@pytest.mark.parametrize(("tier", "threat"), [("adaptive", "mean"), ("transfer", "standard")])
def test_the_other_tiers_are_named_after_no_threat(judge, tier, threat):
    assert judge.judge_tier(tier, judge.judge_rows([find(0.25, threat=threat, tier=tier)])).outcome == "passed"


# rows that say nothing


def test_a_loss_that_is_not_finite_invalidates_the_row_whichever_victim_it_was(judge):
    broken = victim(0.0, finite=False)
    for name in ("protected", "clean", "random", "floor", "reference"):
        found = find(0.4, 0.9, floor=0.3, **({} if name != "reference" else {"reference": 0.9}))
        row = judge_one(judge, replace(found, **{name: [broken]}))
        assert not row.valid, name
        assert row.reason == "the loss of a victim became NaN or infinite", name


def test_one_seed_that_is_not_finite_is_enough(judge):
    good, broken = victim(0.9), victim(0.0, finite=False)
    found = find()
    found = replace(
        found,
        row=replace(found.row, seeds=2),
        **{name: [good, good] for name in ("clean", "random", "reference")},
        protected=[victim(0.3), broken],
    )
    assert judge_one(judge, found).reason == "the loss of a victim became NaN or infinite"


def test_clean_standard_training_must_learn_more_than_chance_might_show(judge):
    row = judge_one(judge, find(0.25, 0.29))  # 4.1 points are within reach of 400 images
    assert row.reason == "clean standard training reaches 29.0% only, chance is 25.0%"
    assert judge_one(judge, find(0.25, 0.30)).valid


def test_a_clean_reference_must_keep_half_of_the_margin_of_clean_standard_training(judge):
    half = find(0.3, 0.5, threat=PGD, tier="adversarial", reference=0.75)
    assert judge_one(judge, half).valid
    less = judge_one(judge, find(0.3, 0.49, threat=PGD, tier="adversarial", reference=0.75))
    assert not less.valid
    assert less.reason == (
        "the victim is weak: on clean images it reaches 49.0%, less than half of standard training's margin (75.0%) "
        "over chance (25.0%)"
    )


def test_a_network_that_does_not_even_fit_the_protected_images_has_collapsed(judge):
    row = judge_one(judge, find(victim(0.25, train=0.42), victim(0.9, train=0.95)))
    assert row.reason == (
        "the victim of the protected images collapsed: it reaches 42.0% on its own training images, that of the clean "
        "images 95.0%"
    )
    assert judge_one(judge, find(victim(0.25, train=0.43), victim(0.9, train=0.95))).valid  # a quarter of the margin


def test_a_class_of_few_test_images_makes_chance_wide(recipe):
    """300 images of one class know nothing more of the other three, of which there are ten each."""
    labels = np.repeat(np.arange(4), [300, 10, 10, 10])
    shares = [0.5, 0.3, 0.3, 0.3]  # ten points above chance: known to within 14, of 330 equal ones to within 5
    row = judge_one(judge_of(recipe, labels), find(0.25, shares, labels=labels))
    assert row.reason == "clean standard training reaches 35.0% only, chance is 25.0%"


def test_a_clean_part_that_teaches_as_much_as_everything_leaves_no_margin(judge):
    row = judge_one(judge, find(0.89, 0.9, floor=0.87))
    assert row.reason == "the clean part alone teaches 87.0%, all clean images 90.0%: no margin"
    assert judge_one(judge, find(0.89, 0.9, floor=0.85)).valid


@pytest.mark.parametrize("gain", [None, 0.0, -0.1, 9e-4, float("nan")])
@pytest.mark.parametrize("kind", ["protected", "clean"])
def test_pgd_that_finds_nothing_is_a_masked_gradient(judge, kind, gain):
    accuracy = {"protected": 0.3, "clean": 0.9}
    found = find(**{**accuracy, kind: victim(accuracy[kind], gain=gain)}, threat=PGD, tier="adversarial", reference=0.9)
    row = judge_one(judge, found)
    assert row.reason == f"PGD finds nothing against the victim of the {kind} images (masked gradient)"
    assert judge_one(judge, replace(found, row=find().row)).valid, "without PGD there is nothing to find"


def test_a_thousandth_of_a_nat_is_something(judge):
    found = find(victim(0.3, gain=1e-3), victim(0.9, gain=1e-3), threat=PGD, tier="adversarial", reference=0.9)
    assert judge_one(judge, found).valid


def test_a_required_tier_that_holds_an_invalid_row_was_not_tested(judge):
    rows = judge.judge_rows([find(0.25), find(0.25, 0.29, network="vgg16"), find(0.25, 0.28, network="senet18")])
    tier = judge.judge_tier("standard", rows)
    assert (tier.outcome, tier.worst) == ("not tested", None)
    assert "cannot be judged (2 such rows of 3): clean standard training reaches" in tier.reason
    one = judge.judge_tier("standard", judge.judge_rows([find(0.25), find(0.25, 0.29, network="vgg16")]))
    assert one.reason == (
        "vgg16 under standard training cannot be judged: clean standard training reaches 29.0% only, chance is 25.0%."
    )


def test_a_leak_is_told_before_a_row_that_cannot_be_judged(judge):
    rows = judge.judge_rows([find(0.29, 0.29, network="vgg16"), find(0.6), find(0.9, network="senet18")])
    tier = judge.judge_tier("standard", rows)
    assert (tier.outcome, tier.worst) == ("fell short", 2)


def test_an_invalid_row_is_no_leak(judge):
    """Its bound is infinite, but of a reference that learnt nothing it says nothing."""
    rows = judge.judge_rows([find(0.29, 0.25)])
    assert (rows[0].leakage, rows[0].high) == (None, None)
    assert judge.judge_tier("standard", rows).outcome == "not tested"


# bounds that do not exist


def test_where_the_clean_reference_may_have_learnt_nothing_the_bound_is_infinite_and_falls_short(recipe):
    labels = np.repeat(np.arange(4), 10)
    judge = judge_of(recipe, labels)
    row = judge_one(judge, find(0.2, [0.4, 0.4, 0.4, 0.3], labels=labels, reference=0.5))
    assert row.valid
    assert row.leakage == pytest.approx(-0.05 / 0.125)
    assert row.high is None
    tier = judge.judge_tier("standard", [row])
    assert tier.outcome == "fell short"
    assert tier.reason.endswith("upper bound unbounded (limit 30%).")


def test_where_the_clean_reference_is_at_the_floor_leakage_is_not_defined(judge):
    row = judge_one(judge, find(0.6, 0.25, reference=0.9))
    assert (row.leakage, row.low, row.high, row.random_leakage) == (None, None, None, None)
    assert row.leakage_of_best == pytest.approx(0.35 / 0.65)
    assert judge_one(judge, find(0.6, 0.25)).leakage_of_best is None
    assert "an undefined part" in describe_row(row)


def test_rounding_is_no_margin(recipe):
    """Chance of three classes may come out a bit above 1/3: nothing may be divided by that."""
    labels = np.repeat(np.arange(3), 100)
    judge = judge_of(recipe, labels, classes=3)
    shares = [
        [one / 100, two / 100, (100 - one - two) / 100]
        for one, two in itertools.product(range(1, 60), range(1, 40))
        if np.mean([one / 100, two / 100, (100 - one - two) / 100]) > 1 / 3
    ]
    assert shares, "the case exists"
    row = judge_one(judge, find(0.5, shares[0], reference=0.9, labels=labels))
    assert row.clean.final > 1 / 3
    assert row.leakage is None
    assert not row.valid


def test_rows_are_ranked_by_what_is_known_least_then_by_their_bound(judge):
    rows = judge.judge_rows(
        [find(0.3), find(0.5), find(0.25, 0.29), find(0.9, tier="transfer"), find(0.4), find(0.5, network="vgg16")]
    )
    assert rank_rows(rows, "standard") == [2, 1, 5, 4, 0]
    assert rank_rows(rows, "adaptive") == []


# the sentences


def tiers_of(judge: Judge, rows: list[RowFacts]) -> list[TierFacts]:
    return [judge.judge_tier(tier, rows) for tier in ("standard", "adversarial", "adaptive", "transfer")]


def say(judge: Judge, rows: list[RowFacts], passed: bool) -> list[str]:
    return summarise(passed, tiers_of(judge, rows), rows, judge.recipe, "resnet18")


def full(judge: Judge, protected=0.26, adversarial=0.26) -> list[Found]:
    return [
        *(find(protected, network=network) for network in NETWORKS),
        *(find(adversarial, threat=PGD, tier="adversarial", network=network) for network in NETWORKS),
    ]


def test_what_passes_says_so_and_what_was_not_tested(judge):
    rows = judge.judge_rows(full(judge))
    assert say(judge, rows, passed=True) == [
        "Passed: every tier that the owner's policy requires stayed under its limit.",
        "Adaptive tier (not required) was not tested: The audit recipe has no threats for this tier.",
        "Transfer tier (not required) was not tested: The audit recipe has no threats for this tier.",
        "Some rows stand on one seed: their bounds leave out how much retraining changes.",
    ]


def test_everything_that_fell_short_is_named_required_or_not(judge):
    others = [find(0.9, tier="adaptive", threat="mean"), find(0.25, 0.29, tier="transfer")]
    rows = judge.judge_rows([*full(judge, 0.6, 0.85), *others])
    first, standard, adversarial, adaptive, transfer, *_ = say(judge, rows, passed=False)
    assert first == "Fell short of the owner's policy in the required tiers standard and adversarial."
    assert standard.startswith("Standard tier (required) fell short: resnet18 under standard training learns 54%")
    assert adversarial.startswith(
        "Adversarial tier (required) fell short: resnet18 under adversarial training (L∞, 4/255)"
    )
    assert adaptive.startswith("Adaptive tier (not required) fell short: resnet18 under mean filter on training images")
    assert transfer.startswith(
        "Transfer tier (not required) was not tested: resnet18 under standard training cannot be"
    )


def test_one_required_tier_is_one_tier(judge):
    sentences = say(judge, judge.judge_rows(full(judge)[:3]), passed=False)
    assert sentences[0] == "Fell short of the owner's policy in the required tier adversarial."
    assert "Adversarial tier (required) was not tested: The audit recipe has no threats for this tier." in sentences


def test_departures_from_the_shipped_policy_are_told(judge, tmp_path):
    tiers = {
        "standard": {"required": False, "limit": 0.5, "threats": ["standard"]},
        "adversarial": {"required": True, "limit": 0.7, "threats": ["pgd(radius=rho_a)"]},
        "transfer": {"required": True, "limit": 0.25, "threats": ["standard"]},
    }
    lenient = rename(judge, tmp_path, tiers=tiers)
    rows = lenient.judge_rows([find(network="vgg16"), *full(judge)[3:5], find(tier="transfer")])
    sentences = say(lenient, rows, passed=True)
    assert "The limit of the standard tier is 50%; the shipped one is 30%." in sentences
    assert "The limit of the transfer tier is 25%; the shipped one is 70%." in sentences
    assert "The standard tier, required by the shipped policy, is not required here." in sentences
    assert "The standard tier was tested on 1 network; the shipped policy asks for 3." in sentences
    assert "The adversarial tier was tested on 2 networks; the shipped policy asks for 3." in sentences
    assert not any("limit of the adversarial" in sentence or "adaptive tier," in sentence for sentence in sentences)


def test_statistics_that_are_weaker_than_the_shipped_ones_are_told(judge, tmp_path):
    tiers = {"standard": {"required": True, "limit": 0.3, "threats": ["standard"]}}
    weak = rename(judge, tmp_path, tiers=tiers, statistics__half_width=0.1, statistics__confidence=0.8)
    sentences = say(weak, weak.judge_rows(full(judge)), passed=True)
    assert "Bounds hold at 80% confidence; the shipped policy asks for 95%." in sentences
    assert "Accuracy needs to be known to within 10% only; the shipped policy asks for 6%." in sentences
    strong = rename(judge, tmp_path, tiers=tiers, statistics__half_width=0.01, statistics__confidence=0.97)
    assert not any(
        "shipped policy" in sentence for sentence in say(strong, strong.judge_rows(full(judge)), passed=True)
    )


def test_the_source_network_must_be_among_them(judge):
    others = [find(0.26, network=network) for network in ("vgg16", "senet18", "resnet50")]
    sentences = say(judge, judge.judge_rows([*others, *full(judge)[3:]]), passed=True)
    told = "tier was not tested on resnet18, the source network; the shipped policy asks it."
    assert [sentence for sentence in sentences if told in sentence] == [f"The standard {told}"]


def test_a_network_is_one_network_whatever_its_weights_and_learning_rate(judge):
    forms = ("resnet18(weights=w.pt)", "resnet18(learning_rate=0.01)", "vgg16", "vgg16(learning_rate=0.01)")
    sentences = say(
        judge, judge.judge_rows([*(find(0.26, network=form) for form in forms), *full(judge)[3:]]), passed=True
    )
    assert "The standard tier was tested on 2 networks; the shipped policy asks for 3." in sentences
    assert not any("not tested on resnet18" in sentence for sentence in sentences)


def test_a_row_that_cannot_be_judged_tests_no_network(judge):
    rows = judge.judge_rows([find(0.26), find(0.26, network="vgg16"), find(0.26, 0.28, network="senet18")])
    sentences = say(judge, rows, passed=False)
    assert "The standard tier was tested on 2 networks; the shipped policy asks for 3." in sentences


def test_the_source_network_is_missed_where_it_was_not_tested(judge):
    others = [find(0.26, network=network) for network in ("vgg16", "senet18", "resnet50")]
    sentences = say(judge, judge.judge_rows([*others, *full(judge)[3:]]), passed=True)
    assert "The standard tier was not tested on resnet18, the source network; the shipped policy asks it." in sentences


def test_looser_statistics_than_the_shipped_ones_are_told(judge):
    loose = replace(judge.recipe.statistics, confidence=0.8, half_width=0.2)
    sentences = say(replace(judge, recipe=replace(judge.recipe, statistics=loose)), [], passed=False)
    assert "Bounds hold at 80% confidence; the shipped policy asks for 95%." in sentences
    assert "Accuracy needs to be known to within 20% only; the shipped policy asks for 6%." in sentences


def test_a_probe_is_no_network_of_the_policy(judge):
    probe = find(0.26, network="senet18", threat="linear_probe")
    networks = [find(0.26), find(0.26, network="vgg16")]
    sentences = say(judge, judge.judge_rows([*networks, probe, *full(judge)[3:]]), passed=True)
    assert "The standard tier was tested on 2 networks; the shipped policy asks for 3." in sentences


def test_a_policy_that_requires_nothing_passes_nothing(judge, tmp_path):
    tiers = {"standard": {"threats": ["standard"]}, "adversarial": {"required": False}}
    nothing = rename(judge, tmp_path, tiers=tiers)
    sentences = say(nothing, nothing.judge_rows(full(judge)[:3]), passed=False)
    assert sentences[0] == "Fell short: the owner's policy requires no tier, so there is nothing to pass."


def test_several_seeds_everywhere_need_no_caveat(judge):
    found = [
        replace(
            each,
            row=replace(each.row, seeds=2),
            **{name: getattr(each, name) * 2 for name in ("protected", "clean", "random", "reference")},
        )
        for each in full(judge)
    ]
    assert not any("one seed" in sentence for sentence in say(judge, judge.judge_rows(found), passed=True))


def test_a_row_is_described_by_what_it_learns_from_where_and_how_surely(judge):
    row = judge_one(judge, find(0.6, 0.9, floor=0.5))
    assert describe_row(row) == (
        "resnet18 under standard training learns 25% of what clean images teach above the clean part alone "
        f"(test accuracy 60.0%; 90.0% from clean images), upper bound {row.high:.0%}"
    )
