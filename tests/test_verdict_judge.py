"""The verdict on victims whose answers are made by hand: 100 test images of each of 4 classes, or as said.

Three victims of each kind answer alike, unless said otherwise: whoever misses names the next class.
"""

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from rem_release.release.certificate import TIERS, AttemptFacts, HoldoutSource, RowFacts, TierFacts
from rem_release.threats.threat import parse_threat
from rem_release.verdict.accuracy import balanced_accuracy
from rem_release.verdict.evidence import Answers
from rem_release.verdict.judge import Judge, RowAnswers, describe_row, rank_rows
from rem_release.verdict.plan import Row
from rem_release.verdict.recipe import AuditRecipe, load_audit_recipe, parse_architecture
from rem_release.verdict.relabelling import relabel
from rem_release.verdict.statistics import Sample, bound_difference, bound_leakage
from rem_release.verdict.summary import is_passed, summarise
from tests.audits import read_recipe
from tests.evidence import describe


def approx(expected) -> object:
    """Figures are published to six digits."""
    return pytest.approx(expected, abs=1e-6)


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


def name(accuracy: float | list[float], labels: np.ndarray = LABELS, wrong: str = "any") -> np.ndarray:
    """The class that is named: the right one, or any other, or the next: int [T]."""
    names, places = np.unique(labels, return_inverse=True)
    others = np.random.default_rng(0).integers(1, len(names), len(labels)) if wrong == "any" else 1
    return np.where(answer(accuracy, labels), labels, names[(places + others) % len(names)])


def victim(
    accuracy=0.9,
    labels=LABELS,
    *,
    before: tuple | None = None,
    gain: float | None = 0.5,
    finite=True,
    train=1.0,
    fit=1.0,
    wrong="any",
) -> Answers:
    """A victim of that accuracy in the end, and of those accuracies at the evaluations before."""
    named = np.stack([name(each, labels, wrong) for each in (*(before or ()), accuracy)])
    return Answers(
        **{"task": ("resnet18", "standard", "clean", 0), "finite": finite, "train_accuracy": train, "fit": fit},
        **{"attack_gain": gain, "steps": np.arange(1, len(named) + 1) * 10, "named": named},
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
    yardstick=None,
    labels=LABELS,
    seeds=3,
) -> RowAnswers:
    """A row; accuracies, or victims: one for all seeds, or a tuple of them."""

    def make(given) -> list[Answers]:
        each = given if isinstance(given, tuple) else (given,) * seeds
        return [one if isinstance(one, Answers) else victim(one, labels) for one in each]

    return RowAnswers(
        row=Row(tier, parse_architecture(network), parse_threat(threat), seeds, yardstick is not None),
        protected=make(protected),
        clean=make(clean),
        random=make(random),
        floor=None if floor is None else make(floor),
        reference=make(clean if reference is None else reference),
        yardstick=None if yardstick is None else make(yardstick),
    )


def judge_of(recipe: AuditRecipe, labels: np.ndarray = LABELS, classes: int = 4) -> Judge:
    return Judge(recipe, Sample(labels, np.arange(len(labels))), classes, RHO_A)


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


def judge_one(judge: Judge, found: RowAnswers) -> RowFacts:
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
    assert row.leakage == approx((0.30 - 0.25) / (0.90 - 0.25))
    assert row.random_leakage == approx((0.77 - 0.25) / (0.90 - 0.25))
    assert row.protected.per_class == approx([0.4, 0.3, 0.3, 0.2])
    assert (row.protected.final, row.clean.final, row.random.final) == approx((0.3, 0.9, 0.77))
    assert row.valid
    assert row.reason == ""
    assert row.low < row.leakage < row.high


def test_a_victim_a_bit_below_chance_leaks_less_than_nothing(judge):
    row = judge_one(judge, find(protected=0.24))
    assert row.leakage_at_end == approx(-0.01 / 0.65)
    assert row.leakage_at_end <= row.leakage < 0.1, "as it is, or after relabelling"


def test_what_the_attacker_really_gets_is_held_against_the_best_clean_victim_of_all_rows(judge):
    rows = judge.judge_rows(
        [find(0.45, 0.65, threat=PGD, tier="adversarial", reference=0.9), find(0.3, 0.95), find(0.3, 0.85)]
    )
    assert rows[0].leakage == approx(0.20 / 0.40)
    assert rows[0].leakage_of_best == approx(0.20 / 0.70)
    assert rows[1].leakage_of_best == rows[1].leakage
    (alone,) = judge.judge_rows([find(0.45, 0.65, threat=PGD, tier="adversarial", reference=0.9)])
    assert alone.leakage_of_best == approx(0.20 / 0.65), "clean standard training is a clean victim too"


def test_seeds_are_averaged_and_spread(judge):
    train = (victim(0.3, train=0.9, fit=0.8), victim(0.5, train=0.7, fit=0.6), victim(0.4, train=0.8, fit=0.7))
    row = judge_one(judge, find(train, (0.9, 0.8, 0.85), (0.8, 0.8, 0.8)))
    assert row.seeds == 3
    assert row.leakage == approx((0.40 - 0.25) / (0.85 - 0.25))
    assert row.protected.spread == approx(0.1)
    assert row.random.spread == 0
    assert (row.protected.train, row.protected.fit) == approx((0.8, 0.7))
    assert judge_one(judge, find()).protected.spread == 0
    assert judge_one(judge, find(seeds=1)).protected.spread == 0


def test_trainings_that_differ_widen_the_bound(judge):
    alike, apart = (judge_one(judge, find(given)) for given in ((0.4, 0.4, 0.4), (0.3, 0.5, 0.4)))
    assert apart.leakage == alike.leakage
    assert apart.low < alike.low < alike.high < apart.high


def test_guessing_the_largest_class_is_chance_whatever_its_size(recipe):
    labels = np.repeat(np.arange(4), [340, 20, 30, 10])
    judge = judge_of(recipe, labels)
    largest = replace(victim(labels=labels), named=np.zeros((1, len(labels)), np.int32))
    row = judge_one(judge, find(largest, [0.9, 0.8, 0.9, 0.8], labels=labels))
    assert row.protected.final == approx(0.25)  # 85 % of the images
    assert row.leakage == approx(0)
    assert row.clean.final == approx(0.85)
    row = judge_one(judge, find([0.1, 0.9, 0.9, 0.9], 0.9, labels=labels))
    assert row.leakage == approx((0.7 - 0.25) / 0.65)  # 22 % of the images


def test_under_partial_protection_the_clean_part_is_the_floor(judge):
    found = find(0.6, 0.9, 0.8, floor=0.5, threat="mixed(protected=0.8)", tier="adaptive")
    row, other = judge.judge_rows([found, find(0.3, 1.0, tier="adaptive", threat="mean")])
    assert row.floor == approx(0.5)
    assert row.floor_is == "clean part"
    assert row.leakage == approx((0.6 - 0.5) / (0.9 - 0.5))
    assert row.leakage_of_best == approx((0.6 - 0.5) / (1.0 - 0.5))
    assert row.random_leakage == approx((0.8 - 0.5) / (0.9 - 0.5))
    assert row.low < row.leakage < row.high
    assert row.valid
    assert (other.floor, other.floor_is) == (0.25, "chance")
    chance_bound = judge_one(judge, find(0.6, 0.9, 0.8, tier="adaptive", threat="mean")).high
    assert row.high < chance_bound


def test_bounds_are_those_of_the_statistics(judge):
    protected, clean, random = ((0.3, 0.4, 0.32), (0.9, 0.85, 0.92), (0.8, 0.9, 0.7))
    hits = [np.stack([answer(each) for each in kind]) for kind in (protected, clean, random)]
    named = np.stack([victim(each).named[-1] for each in protected])
    both = [hits[0], relabel(judge.sample, named, 4)]
    for floor, row in (
        (0.25, judge_one(judge, find(protected, clean, random))),
        (np.stack([answer(0.27)] * 3), judge_one(judge, find(protected, clean, random, floor=0.27))),
    ):
        found = [bound_leakage(judge.sample, each, hits[1], floor, confidence=0.95) for each in both]
        assert row.high == approx(max(each.high for each in found))
        assert row.low == approx(max(found, key=lambda each: each.estimate).low)
        over = [bound_difference(judge.sample, each, hits[2], confidence=0.95) for each in both]
        assert row.over_random == approx(max(over))


def test_every_row_is_tested_at_the_full_level_however_many_there_are(judge):
    """That all stay under their limit is an intersection-union test: it takes no correction."""
    alone = judge_one(judge, find()).high
    beside = [find(threat=f"jpeg(quality={number + 1})") for number in range(7)]
    assert {row.high for row in judge.judge_rows([find(), *beside])} == {alone}


def test_figures_are_published_to_six_digits(judge):
    row = judge_one(judge, find((0.31, 0.32, 0.34), (0.9, 0.91, 0.93), (0.7, 0.71, 0.73)))
    document = row.model_dump()
    figures = [value for value in document.values() if isinstance(value, float)]
    figures += [value for kind in ("protected", "clean", "random") for value in document[kind]["per_class"]]
    assert len(figures) > 15
    assert all(value == round(value, 6) for value in figures)


# the evaluation that is judged


def test_a_row_is_judged_at_its_worst_evaluation_whichever_that_is(judge):
    """Leakage 0.76 at its peak and 0.05 in the end: an attacker stops where it is best."""
    peak = 0.25 + 0.76 * 0.65
    for before, step in (((peak, 0.5, 0.4), 10), ((0.4, peak, 0.5), 20), ((0.4, 0.5, peak), 30)):
        row = judge_one(judge, find(victim(0.28, before=before)))
        assert row.step == step
        assert row.leakage == approx(round(peak * 100) / 100 / 0.65 - 0.25 / 0.65)
        assert row.leakage_at_end == approx(0.03 / 0.65)
        assert (row.protected.judged, row.protected.final, row.protected.peak) == approx((0.74, 0.28, 0.74))
        assert row.protected.per_class == approx([0.74] * 4)
        tier = judge.judge_tier("standard", [row])
        assert (tier.outcome, tier.worst) == ("fell short", 0)
        assert "learns 75% of what clean images teach above chance (test accuracy 74.0%" in tier.reason
    calm = judge_one(judge, find(victim(0.28, before=(0.26, 0.3, 0.27))))
    assert calm.step == 20
    assert judge.judge_tier("standard", [calm]).outcome == "passed"


def test_a_row_shows_its_highest_leakage_and_its_highest_bound_wherever_that_is(judge):
    """Trainings that differ more at an earlier evaluation leave more open there."""
    row = judge_one(judge, find(tuple(victim(0.46, before=(each,)) for each in (0.3, 0.6, 0.45))))
    assert row.step == 20
    assert row.leakage == approx(0.21 / 0.65)
    assert row.leakage_at_end == approx(0.21 / 0.65)
    assert row.high > judge_one(judge, find(0.46)).high


def test_evaluations_are_judged_each_on_its_own_and_not_the_best_of_each_seed(judge):
    victims = tuple(victim(0.26, before=before) for before in ((0.5, 0.26, 0.26), (0.26, 0.5, 0.26), (0.26, 0.26, 0.5)))
    row = judge_one(judge, find(victims))
    assert row.protected.judged == approx(0.34)
    assert row.protected.peak == approx(0.5)


def test_baselines_are_judged_after_their_last_step(judge):
    early = victim(0.9, before=(0.95, 0.95))
    row = judge_one(judge, find(victim(0.3, before=(0.3, 0.3)), early, victim(0.85, before=(0.99, 0.1))))
    assert (row.clean.judged, row.clean.final, row.clean.peak) == approx((0.9, 0.9, 0.95))
    assert (row.random.judged, row.random.final, row.random.peak) == approx((0.85, 0.85, 0.99))
    assert row.leakage == approx(0.05 / 0.65)


def test_baselines_need_no_more_evaluations_than_the_protected_victims(judge):
    """The yardstick has a budget of its own, and its own number of evaluations."""
    row = judge_one(judge, find(victim(0.3, before=(0.3,)), yardstick=victim(0.9, before=(0.5, 0.6, 0.7))))
    assert row.valid


# below chance


def test_victims_that_name_wrong_classes_on_purpose_leak_all_that_they_know(judge):
    """Targeted noise: 6 % at a chance of 25 %, and everything to whoever knows the permutation."""
    row = judge_one(judge, find(victim(0.06, wrong="next")))
    assert row.relabelled
    assert row.protected.judged == approx(0.94)
    assert row.protected.final == approx(0.06)
    assert row.leakage == approx((0.94 - 0.25) / 0.65)
    tier = judge.judge_tier("standard", [row])
    assert tier.outcome == "fell short"
    assert "test accuracy 94.0%, after the best relabelling of classes; " in tier.reason
    assert row.over_random > 0


def test_where_relabelling_brings_less_answers_are_judged_as_they_are(judge):
    found = {percent: judge_one(judge, find(percent / 100)).relabelled for percent in (10, 15, 40, 90)}
    assert found == {percent: percent <= 15 for percent in found}


@pytest.mark.parametrize("accuracies", [(0.0, 0.9, 0.9), (0.0, 0.0, 0.9), (0.1, 0.5, 0.9), (0.1, 0.1, 0.91)])
def test_a_permuted_leak_falls_short_however_the_trainings_differ(accuracies, judge):
    """So far apart that nothing about them is significant: what is not known counts against the owner."""
    for shifts in ((1, 1, 1), (1, 2, 3)):
        rng = np.random.default_rng(0)
        victims = []
        for share, shift in zip(accuracies, shifts, strict=True):
            named = np.where(rng.random(len(LABELS)) < share, (LABELS + shift) % 4, rng.integers(4, size=len(LABELS)))
            victims.append(replace(victim(), named=named[None].astype(np.int32)))
        row = judge_one(judge, find(tuple(victims)))
        assert row.relabelled
        assert row.leakage > 0.2
        assert judge.judge_tier("standard", [row]).outcome == "fell short"


def test_classes_that_are_swapped_leak_though_the_accuracy_is_above_chance(judge):
    """One class in two is named right, the others for each other: half of all answers, and no secret."""
    swapped = np.where(LABELS < 2, LABELS, 5 - LABELS)[None].astype(np.int32)
    row = judge_one(judge, find(replace(victim(), named=swapped)))
    assert (row.relabelled, row.protected.judged, row.protected.final) == (True, 1.0, 0.5)


def test_one_evaluation_below_chance_is_enough(judge):
    row = judge_one(judge, find(victim(0.3, before=(0.06, 0.26), wrong="next")))
    assert (row.step, row.relabelled) == (10, True)
    assert judge.judge_tier("standard", [row]).outcome == "fell short"
    row = judge_one(judge, find(victim(0.3, before=(0.95, 0.18), wrong="next")))
    assert (row.step, row.relabelled) == (10, False), "another evaluation is worse"


def test_victims_that_name_one_class_for_everything_are_at_chance_not_below_it(judge):
    row = judge_one(judge, find(replace(victim(), named=np.zeros((1, len(LABELS)), np.int32))))
    assert not row.relabelled
    assert row.leakage == approx(0)


def test_guesses_below_chance_stay_harmless_after_relabelling(judge):
    """Wrong at random: no permutation helps, and the tier passes."""
    rng = np.random.default_rng(0)
    victims = []
    for _ in range(3):
        wrong = (LABELS + rng.integers(1, 4, len(LABELS))) % 4
        named = np.where(rng.random(len(LABELS)) < 0.12, LABELS, wrong)
        victims.append(replace(victim(), named=named[None]))
    row = judge_one(judge, find(tuple(victims)))
    assert row.relabelled
    assert row.protected.judged < 0.4
    assert judge.judge_tier("standard", [row]).outcome == "passed"


# random noise beside it


def test_a_row_that_leaks_no_less_than_random_noise_falls_short_whatever_its_limit(judge, tmp_path):
    lenient = rename(judge, tmp_path, tiers__standard__limit=1.0, tiers__standard__threats=["standard"])
    row = judge_one(lenient, find(0.7, 0.9, 0.7))
    assert row.high < 1
    tier = lenient.judge_tier("standard", [row])
    assert (tier.outcome, tier.worst) == ("fell short", 0)
    assert tier.reason == f"{describe_row(row)}: not significantly less than random noise."
    other = judge_one(lenient, find(0.6, 0.9, 0.7))
    assert lenient.judge_tier("standard", [other]).outcome == "passed"


def test_a_bound_of_nothing_is_not_less_than_random_noise(judge):
    row = judge_one(judge, find())
    for over, outcome in ((-1e-6, "passed"), (0.0, "fell short"), (1e-6, "fell short"), (None, "fell short")):
        found = judge.judge_tier("standard", [row.model_copy(update={"over_random": over})])
        assert found.outcome == outcome, over


def test_test_images_on_which_everybody_fails_certify_nothing(judge):
    """A holdout that random noise gets wrong as well: the release at 30 %, noise at 31 %."""
    row = judge_one(judge, find(0.3, 0.9, 0.31))
    assert row.high < 0.3
    assert judge.judge_tier("standard", [row]).outcome == "fell short"


def test_random_noise_is_compared_at_every_evaluation(judge):
    row = judge_one(judge, find(victim(0.27, before=(0.36,)), 0.9, 0.36))
    assert row.over_random > 0
    assert judge.judge_tier("standard", [row]).outcome == "fell short"


# seeds


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_show_an_estimate_and_no_bound_and_pass_nothing(judge, seeds):
    row = judge_one(judge, find(0.26, seeds=seeds))
    assert (row.low, row.high, row.over_random, row.seeds) == (None, None, None, seeds)
    assert row.leakage == approx(0.01 / 0.65)
    assert not row.is_bounded
    tier = judge.judge_tier("standard", [row])
    assert (tier.outcome, tier.worst) == ("looked at", 0)
    stand = "Rows stand on 1 seed, and" if seeds == 1 else "Rows stand on 2 seeds, and"
    assert tier.reason == f"{stand} a bound takes 3. At worst {describe_row(row)} (limit 30%)."
    assert "upper bound" not in tier.reason


def test_one_row_of_too_few_seeds_makes_a_tier_looked_at(judge):
    rows = judge.judge_rows([find(0.26), find(0.26, network="vgg16", seeds=2), find(0.26, network="senet18")])
    tier = judge.judge_tier("standard", rows)
    assert tier.outcome == "looked at"
    assert tier.reason.startswith("Rows stand on 2 seeds")


def test_an_estimate_over_the_limit_falls_short_without_a_bound(judge):
    row = judge_one(judge, find(0.46, seeds=1))
    assert row.figure == row.leakage == approx(0.21 / 0.65)
    assert judge.judge_tier("standard", [row]).outcome == "fell short"


def test_a_bound_over_the_limit_falls_short_beside_estimates_under_it(judge):
    rows = judge.judge_rows([find(0.44, network="vgg16"), find(0.26, seeds=1)])
    tier = judge.judge_tier("standard", rows)
    assert (tier.outcome, tier.worst) == ("fell short", 0)


# near copies


def test_near_copies_count_once(recipe):
    """Twenty images, twenty times each: as wide as twenty images, and too few to tell weak victims from chance."""
    labels, copies = np.tile(np.arange(20) % 4, 20), np.tile(np.arange(20), 20)
    order = np.lexsort((copies, labels))
    labels, copies = labels[order], copies[order]
    apart = judge_of(recipe, labels)
    judge = replace(apart, sample=Sample(labels, copies))
    assert judge.sample.images == 20
    assert judge.half_width == pytest.approx(apart.half_width * 20**0.5)
    rows = [judge_one(each, find(0.4, 1.0, labels=labels)) for each in (apart, judge)]
    assert rows[0].leakage == rows[1].leakage
    assert apart.judge_tier("standard", rows[:1]).outcome == "passed"
    assert judge.judge_tier("standard", rows[1:]).outcome == "fell short"


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
        ("adversarial", "trades(radius=4/255)", "The tier holds no adversarial training at ρ_a = 4/255."),
        ("adversarial", "fat(radius=4/255,tau=10)", "The tier holds no adversarial training at ρ_a = 4/255."),
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
    judge = replace(judge_of(recipe), rho_a=Fraction(5, 510))
    rows = judge.judge_rows([find(0.25, threat="pgd(radius=2.5/255)", tier="adversarial")])
    assert judge.judge_tier("adversarial", rows).outcome == "passed"


@pytest.mark.parametrize(("tier", "threat"), [("adaptive", "mean"), ("transfer", "standard")])
def test_the_other_tiers_are_named_after_no_threat(judge, tier, threat):
    assert judge.judge_tier(tier, judge.judge_rows([find(0.25, threat=threat, tier=tier)])).outcome == "passed"


# rows that say nothing


def test_a_loss_that_is_not_finite_invalidates_the_row_whichever_victim_it_was(judge):
    broken = victim(0.0, finite=False)
    for kind in ("protected", "clean", "random", "floor", "reference", "yardstick"):
        row = judge_one(judge, replace(find(0.4, 0.9, floor=0.3, yardstick=0.9), **{kind: [broken] * 3}))
        assert not row.valid, kind
        assert row.reason == "the loss of a victim became NaN or infinite", kind


def test_one_seed_that_is_not_finite_is_enough(judge):
    row = judge_one(judge, find((0.3, victim(0.0, finite=False), 0.3)))
    assert row.reason == "the loss of a victim became NaN or infinite"


def test_a_victim_that_does_not_fit_what_it_is_taught_is_weak(judge):
    """44.7 % on test images and 52 % on its own training images: no attacker is that weak."""
    row = judge_one(judge, find(0.26, victim(0.447, fit=0.52)))
    assert not row.valid
    assert row.reason == (
        "the victim is weak: clean standard training fits 52.0% of its own training images, and less than 80% says "
        "nothing; give it more epochs"
    )
    tier = judge.judge_tier("standard", [row])
    assert (tier.outcome, tier.worst) == ("not tested", None)
    assert not judge_one(judge, find(0.26, victim(0.9, fit=0.799))).valid
    assert judge_one(judge, find(0.26, victim(0.9, fit=0.8))).valid


def test_it_is_clean_standard_training_that_must_fit_in_the_mean_of_its_seeds(judge):
    fits = tuple(victim(0.9, fit=fit) for fit in (0.78, 0.8, 0.83))
    assert judge_one(judge, find(victim(0.3, fit=0.3), victim(0.8, fit=0.5), reference=fits)).valid
    fits = tuple(victim(0.9, fit=fit) for fit in (0.76, 0.8, 0.83))
    assert "fits 79.7%" in judge_one(judge, find(0.3, 0.9, reference=fits)).reason


def test_a_probe_cannot_fit_everything(judge):
    weak = victim(0.6, fit=0.7)
    assert judge_one(judge, find(0.3, weak, threat="linear_probe", tier="adaptive")).valid


def test_victims_of_an_own_recipe_must_reach_nine_tenths_of_the_shipped_ones(judge):
    row = judge_one(judge, find(0.3, 0.8, yardstick=0.9))
    assert (
        row.reason == "the victim is weak: on clean images it reaches 80.0%, and that of the shipped audit-quick 90.0%"
    )
    assert judge.judge_tier("standard", [row]).outcome == "not tested"
    assert judge_one(judge, find(0.3, 0.81, yardstick=0.9)).valid
    assert judge_one(judge, find(0.3, 0.99, yardstick=0.9)).valid


def test_it_is_clean_standard_training_that_is_held_against_the_yardstick(judge):
    found = {"threat": PGD, "tier": "adversarial", "yardstick": 0.9}
    assert judge_one(judge, find(0.3, 0.6, reference=0.85, **found)).valid
    assert not judge_one(judge, find(0.3, 0.6, reference=0.8, **found)).valid


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
    assert row.leakage_at_end == approx(-0.05 / 0.125)
    assert row.high is None
    tier = judge.judge_tier("standard", [row])
    assert tier.outcome == "fell short"
    assert tier.reason.endswith("upper bound unbounded (limit 30%).")


def test_where_the_clean_reference_is_at_the_floor_leakage_is_not_defined(judge):
    row = judge_one(judge, find(0.6, 0.25, reference=0.9))
    assert (row.leakage, row.low, row.high, row.random_leakage) == (None, None, None, None)
    assert row.leakage_of_best == approx(0.35 / 0.65)
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
    assert float(balanced_accuracy(answer(shares[0], labels), labels)) > 1 / 3
    row = judge_one(judge, find(0.5, shares[0], reference=0.9, labels=labels))
    assert row.leakage is None
    assert not row.valid


@pytest.mark.parametrize(("images", "outcome"), [(4, "looked at"), (5, "passed")])
def test_a_class_of_a_handful_of_test_images_has_no_bound(images, outcome, recipe):
    labels = np.repeat(np.arange(4), [400, 400, 400, images])
    judge = judge_of(recipe, labels)
    tier = judge.judge_tier("standard", judge.judge_rows([find(0.27, labels=labels)]))
    assert tier.outcome == outcome
    assert ("Of one class there are test images worth 4, and a bound takes 5." in tier.reason) == (images == 4)


def test_rows_are_ranked_by_what_is_known_least_then_by_their_bound(judge):
    rows = judge.judge_rows(
        [find(0.3), find(0.5), find(0.25, 0.29), find(0.9, tier="transfer"), find(0.4), find(0.5, network="vgg16")]
    )
    assert rank_rows(rows, "standard") == [2, 1, 5, 4, 0]
    assert rank_rows(rows, "adaptive") == []


# the sentences


def tiers_of(judge: Judge, rows: list[RowFacts]) -> list[TierFacts]:
    return [judge.judge_tier(tier, rows) for tier in TIERS]


def say(judge: Judge, rows: list[RowFacts], passed: bool, **changes: object) -> list[str]:
    given = describe(["cat", "cow", "dog", "fox"], **{"source": "resnet18", **changes})
    tiers = tiers_of(judge, rows)
    assert is_passed(given, tiers) == passed
    return summarise(given, judge.recipe, tiers, rows)


@pytest.fixture
def shipped(judge) -> Judge:
    return replace(judge, recipe=load_audit_recipe("audit-quick"))


def full(judge: Judge, protected=0.26, adversarial=0.26) -> list[RowAnswers]:
    return [
        *(find(protected, network=network) for network in NETWORKS),
        *(find(adversarial, threat=PGD, tier="adversarial", network=network) for network in NETWORKS),
    ]


CHOSEN = "The test images were chosen by whoever ordered the audit."


def test_what_passes_says_so_and_what_was_not_tested_and_who_chose_the_test_images(shipped):
    rows = shipped.judge_rows(full(shipped))
    assert say(shipped, rows, passed=True) == [
        "Passed: every tier that the owner's policy requires stayed under its limit.",
        "Adaptive tier (not required) was not tested: The audit recipe has no threats for this tier.",
        "Transfer tier (not required) was not tested: The audit recipe has no threats for this tier.",
        CHOSEN,
    ]
    for origin, words in (
        ("reserve", "The test images were drawn and kept back when the data were protected."),
        (
            "held out",
            "The test images were drawn from the originals of the release and left out of the victims' training.",
        ),
    ):
        holdout = HoldoutSource(origin=origin, digest="ef" * 32, dropped=0)
        assert say(shipped, rows, passed=True, holdout=holdout)[3] == words


def test_random_noise_is_never_certified_whatever_its_victims_answered(shipped):
    rows = shipped.judge_rows(full(shipped))
    assert {tier.outcome for tier in tiers_of(shipped, rows) if tier.required} == {"passed"}
    first = "Fell short: the noise is random, which is a control and is never certified."
    assert say(shipped, rows, passed=False, method="random")[0] == first
    assert say(shipped, rows, passed=True, method=None)[0].startswith("Passed")


def test_too_few_seeds_are_a_look_and_no_certificate(shipped):
    few = [find(0.26, network=network, seeds=2) for network in NETWORKS]
    rows = shipped.judge_rows([*few, *full(shipped)[3:]])
    sentences = say(shipped, rows, passed=False)
    words = "too few victims, or test images of a class, for a bound"
    assert sentences[0] == f"Looked at, not certified: {words} in the required tier standard."
    assert sentences[1].startswith("Standard tier (required) was only looked at: Rows stand on 2 seeds, and a bound")
    rows = shipped.judge_rows([*few, *full(shipped, adversarial=0.9)[3:]])
    first = "Fell short of the owner's policy in the required tiers standard and adversarial."
    assert say(shipped, rows, passed=False)[0] == first


def test_earlier_attempts_are_told(shipped):
    rows = shipped.judge_rows(full(shipped))
    for attempts, words in (
        (AttemptFacts(earlier=1, releases=0), "1 other audit of these images, of 0 other releases of them."),
        (AttemptFacts(earlier=1, releases=1), "1 other audit of these images, of 1 other release of them."),
        (AttemptFacts(earlier=5, releases=3), "5 other audits of these images, of 3 other releases of them."),
    ):
        found = say(shipped, rows, passed=True, attempts=attempts)
        assert found[4] == f"Not the first attempt: the run remembers {words}"
    for attempts in (None, AttemptFacts(earlier=0, releases=0)):
        assert len(say(shipped, rows, passed=True, attempts=attempts)) == 4


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


WEAKER = {
    "victim.epochs": ("1", "epochs 1.0 (shipped: 15.0)"),
    "victim.least_steps": ("7", "least_steps 7 (shipped: 480)"),
    "victim.batch_size": ("512", "batch_size 512 (shipped: 64)"),
    "victim.learning_rate": ("0.2", "learning_rate 0.2 (shipped: 0.1)"),
    "victim.momentum": ("0", "momentum 0.0 (shipped: 0.9)"),
    "victim.weight_decay": ("0.1", "weight_decay 0.1 (shipped: 0.0005)"),
    "victim.decay_every": ("0.1", "decay_every 0.1 (shipped: 0.8)"),
    "victim.decay": ("1", "decay 1.0 (shipped: 0.1)"),
    "victim.augmentation": ("none", "augmentation none (shipped: cifar)"),
    "victim.precision": ("bf16", "precision bf16 (shipped: fp32)"),
    "victim.evaluations": ("1", "evaluations 1 (shipped: 8)"),
    "adversary.steps": ("7", "steps 7 (shipped: 2)"),
    "adversary.relative_step_size": ("1", "relative_step_size 1.0 (shipped: 0.75)"),
}


@pytest.mark.parametrize("key", WEAKER)
def test_every_departure_of_victims_and_adversary_is_told(shipped, key):
    value, words = WEAKER[key]
    judge = replace(shipped, recipe=load_audit_recipe("audit-quick", {key: value}))
    rows = judge.judge_rows(full(judge))
    for name, base in (
        (f"audit-quick, changed in {key}", "audit-quick"),
        ("the owner's audit.yaml", "audit-quick"),
    ):
        said = say(judge, rows, passed=True, recipe_name=name)
        told = [sentence for sentence in said if "depart" in sentence]
        assert told == [f"Victims and adversary depart from the shipped {base}: {key.split('.')[0]}.{words}."]


def test_every_key_of_victims_and_adversary_is_among_them():
    recipe = load_audit_recipe("audit-quick").to_dict()
    keys = {f"{part}.{key}" for part in ("victim", "adversary") for key in recipe[part]}
    assert keys - set(WEAKER) == {"victim.source_model", "victim.resolution"}  # what stands in for the release's own


def test_departures_are_told_from_the_recipe_that_was_changed(shipped):
    judge = replace(shipped, recipe=load_audit_recipe("audit-standard", {"victim.epochs": "3"}))
    said = say(
        judge, judge.judge_rows(full(judge)), passed=True, recipe_name="audit-standard, changed in victim.epochs"
    )
    assert "Victims and adversary depart from the shipped audit-standard: victim.epochs 3.0 (shipped: 20.0)." in said


@pytest.mark.parametrize("name", ["audit-quick", "audit-standard", "audit-paper"])
def test_victims_of_a_shipped_recipe_depart_from_nothing_whatever_the_file_is_called(shipped, name):
    judge = replace(shipped, recipe=load_audit_recipe(name, {"victim.source_model": "vgg16"}))
    said = say(judge, judge.judge_rows(full(judge)), passed=True, recipe_name="the owner's mine.yaml")
    assert not any("depart" in sentence for sentence in said)


def test_a_row_is_described_by_what_it_learns_from_where_and_how_surely(judge):
    row = judge_one(judge, find(0.6, 0.9, floor=0.5))
    assert describe_row(row) == (
        "resnet18 under standard training learns 25% of what clean images teach above the clean part alone "
        f"(test accuracy 60.0%; 90.0% from clean images, 85.0% from random noise), upper bound {row.high:.0%}"
    )
