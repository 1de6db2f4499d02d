"""What an audit trains: the rows of the tiers, the victims of each row, and nothing twice."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace

import pytest

from rem_release.commands.audit_checks import require_room
from rem_release.errors import InputError
from rem_release.threats.threat import Threat, parse_threat
from rem_release.verdict.plan import KINDS, Row, Seeds, Task, plan_rows, plan_tasks, tasks_of, trained_on
from rem_release.verdict.recipe import Architecture, Network, load_audit_recipe, parse_architecture
from tests.audits import read_recipe

RHO_A = Fraction(4, 255)
SEEDS = Seeds(release="ab", clean="cd", holdout="ef", training="gh")
NUMBERS = {SEEDS.of(kind, number): number for kind in KINDS for number in range(5)} | {2: 2}


def plan(folder, source_model="resnet18", seeds=1, **tiers) -> list[Row]:
    changes = {"tiers": tiers, "seeds": {"required": seeds, "others": seeds}}
    return plan_rows(read_recipe(folder, **changes), source_model, RHO_A)


def describe(rows: list[Row]) -> list[tuple[str, str, str]]:
    return [(row.tier, row.architecture.text, row.threat.name) for row in rows]


def describe_tasks(tasks: list[Task]) -> list[tuple[str, str, str, int]]:
    """With the number of each victim in place of its seed."""
    return [(*task.key[:3], NUMBERS[task.seed]) for task in tasks]


def row(threat: str = "standard", architecture: str = "small_vgg", seeds: int = 1, tier="standard") -> Row:
    return Row(tier, parse_architecture(architecture), parse_threat(threat), seeds)


# rows


def test_rows_are_every_network_under_every_threat_tier_by_tier(tmp_path):
    adversarial = {"architectures": ["source", "vgg16"], "threats": ["pgd(radius=rho_a/2)", "pgd(radius=rho_a)"]}
    transfer = {"architectures": ["senet18"], "threats": ["standard"]}
    assert describe(plan(tmp_path, transfer=transfer, adversarial=adversarial)) == [
        ("adversarial", "resnet18", "pgd(radius=2/255)"),
        ("adversarial", "resnet18", "pgd(radius=4/255)"),
        ("adversarial", "vgg16", "pgd(radius=2/255)"),
        ("adversarial", "vgg16", "pgd(radius=4/255)"),
        ("transfer", "senet18", "standard"),
    ]


def test_source_stands_for_the_model_of_the_release_else_for_the_recipe_s(tmp_path):
    standard = {"threats": ["standard"]}
    assert describe(plan(tmp_path, "densenet121", standard=standard)) == [("standard", "densenet121", "standard")]
    assert describe(plan(tmp_path, None, standard=standard)) == [("standard", "small_vgg", "standard")]


def test_source_and_its_name_are_one_network(tmp_path):
    standard = {"architectures": ["source", "resnet18", "vgg16"], "threats": ["standard"]}
    assert describe(plan(tmp_path, standard=standard)) == [
        ("standard", "resnet18", "standard"),
        ("standard", "vgg16", "standard"),
    ]


def test_equal_threats_are_one_row_a_tier_and_count_in_every_tier(tmp_path):
    threats = ["pgd(radius=rho_a)", "pgd(radius=4/255)"]
    rows = plan(tmp_path, adversarial={"threats": threats}, transfer={"threats": threats})
    assert describe(rows) == [
        ("adversarial", "resnet18", "pgd(radius=4/255)"),
        ("transfer", "resnet18", "pgd(radius=4/255)"),
    ]


def test_a_probe_takes_the_place_of_any_network_once(tmp_path):
    adaptive = {"architectures": ["source", "vgg16"], "threats": ["linear_probe", "two_layer_probe+greyscale"]}
    rows = plan(tmp_path, adaptive=adaptive)
    assert describe(rows) == [
        ("adaptive", "linear_probe", "linear_probe"),
        ("adaptive", "two_layer_probe", "greyscale+two_layer_probe"),
    ]
    assert rows[0].architecture == Architecture("linear_probe", Network())


def test_rows_of_required_tiers_have_more_seeds(tmp_path):
    standard = {"required": True, "threats": ["standard", "mean"]}
    tiers = {"standard": standard, "transfer": {"threats": ["standard"]}}
    recipe = read_recipe(tmp_path, tiers=tiers, seeds={"required": 3, "others": 2})
    assert [found.seeds for found in plan_rows(recipe, None, RHO_A)] == [3, 3, 2]


def test_no_tier_no_row(tmp_path):
    assert plan(tmp_path, standard={"required": True}) == []


@pytest.mark.parametrize(
    "networks",
    [
        ["vgg16(learning_rate=0.01)", "vgg16(learning_rate=0.010000001)"],
        ["vgg16(weights=a/w.pt)", "vgg16(weights=b/w.pt)"],
        ["vgg16(weights=w.pt)", "vgg16(weights=w.pt,resize=64)"],
        ["source", "resnet18(resize=64)"],
    ],
)
def test_two_networks_of_one_name_are_refused_not_dropped(networks, tmp_path):
    one_tier = {"standard": {"architectures": networks, "threats": ["standard"]}}
    two_tiers = {
        "standard": {"architectures": networks[:1], "threats": ["standard"]},
        "transfer": {"architectures": networks[1:], "threats": ["mean"]},
    }
    for tiers in (one_tier, two_tiers):
        with pytest.raises(
            InputError, match=r"and another network of the recipe would both be called (vgg16|resnet18)"
        ):
            plan(tmp_path, **tiers)


def test_networks_with_parameters_of_their_own_are_kept(tmp_path):
    networks = ["vgg16(weights=a/v.pt)", "vgg16(weights=a/w.pt)", "vgg16", "vgg16(learning_rate=0.01)"]
    rows = plan(tmp_path, transfer={"architectures": networks, "threats": ["standard"]})
    assert [found.architecture.text for found in rows] == [
        *("vgg16, pretrained (v.pt)", "vgg16, pretrained (w.pt)", "vgg16", "vgg16, learning rate 0.01"),
    ]
    assert rows[3].architecture.network.learning_rate == 0.01


# victims


def test_a_row_needs_its_three_victims_and_a_reference():
    assert describe_tasks(tasks_of(row("jpeg(quality=10)"), is_partial=False, seeds=SEEDS)) == [
        ("small_vgg", "standard", "clean", 0),
        ("small_vgg", "jpeg(quality=10)", "clean", 0),
        ("small_vgg", "jpeg(quality=10)", "random", 0),
        ("small_vgg", "jpeg(quality=10)", "protected", 0),
    ]


def test_the_reference_of_standard_training_is_its_own_clean_victim():
    tasks = plan_tasks([row()], is_partial=False, seeds=SEEDS)
    assert sorted(describe_tasks(tasks)) == [
        ("small_vgg", "standard", "clean", 0),
        ("small_vgg", "standard", "protected", 0),
        ("small_vgg", "standard", "random", 0),
    ]


def test_the_reference_of_a_probe_is_that_probe(tmp_path):
    (probe,) = plan(tmp_path, adaptive={"threats": ["greyscale+linear_probe"]})
    (plain,) = plan(tmp_path, adaptive={"threats": ["linear_probe"]})
    assert describe_tasks([probe.reference(2)]) == [("linear_probe", "linear_probe", "clean", 2)]
    assert plain.reference(0).key == plain.task("clean", 0).key


def test_every_seed_has_victims_and_a_reference_of_its_own():
    found = Counter(describe_tasks(tasks_of(row("mean", seeds=3), is_partial=False, seeds=SEEDS)))
    assert len(found) == 12
    assert {seed for *_, seed in found} == {0, 1, 2}
    assert all(found["small_vgg", "standard", "clean", seed] == 1 for seed in range(3))


def test_rows_share_references_and_equal_rows_of_two_tiers_share_victims():
    rows = [row(), row("mean"), row("median"), row("mean", tier="transfer"), row("mean", "vgg16")]
    tasks = plan_tasks(rows, is_partial=False, seeds=SEEDS)
    names = [task.key for task in tasks]
    assert len(names) == len(set(names))
    small = [task for task in tasks if task.architecture.name == "small_vgg"]
    assert len(small) == 3 * 3  # standard, mean, median on clean, random, protected
    assert sum(task.architecture.name == "vgg16" for task in tasks) == 4
    assert {task.key for task in tasks} == {
        task.key for r in rows for task in tasks_of(r, is_partial=False, seeds=SEEDS)
    }


def test_more_seeds_for_a_row_only_add_victims():
    rows = [row(), row("mean"), row("median")]
    before = {task.key for task in plan_tasks(rows, is_partial=False, seeds=SEEDS)}
    after = plan_tasks([rows[0], replace(rows[1], seeds=3), rows[2]], is_partial=False, seeds=SEEDS)
    added = [task for task in after if task.key not in before]
    assert before <= {task.key for task in after}
    assert sorted(describe_tasks(added)) == sorted(
        ("small_vgg", threat, kind, seed)
        for seed in (1, 2)
        for threat, kind in [("standard", "clean"), *(("mean", kind) for kind in ("clean", "protected", "random"))]
    )


def test_a_partial_release_is_held_against_its_clean_part():
    assert trained_on(row(), is_partial=True) == ["clean", "random", "protected", "clean part"]
    assert trained_on(row(), is_partial=False) == ["clean", "random", "protected"]


def test_a_mixture_is_held_against_its_clean_part_and_all_clean_images_without_mixing():
    mixed = row("mixed(protected=0.8)+pgd(radius=2/255)")
    for is_partial in (False, True):
        assert describe_tasks(tasks_of(mixed, is_partial, SEEDS)) == [
            ("small_vgg", "standard", "clean", 0),
            ("small_vgg", "pgd(radius=2/255)", "clean", 0),
            ("small_vgg", "mixed(protected=0.8)+pgd(radius=2/255)", "random", 0),
            ("small_vgg", "mixed(protected=0.8)+pgd(radius=2/255)", "protected", 0),
            ("small_vgg", "mixed(protected=0.8)+pgd(radius=2/255)", "clean part", 0),
        ]


def test_mixtures_of_several_shares_share_their_clean_victims_and_no_others():
    tasks = plan_tasks([row("mixed(protected=0.2)"), row("mixed(protected=0.8)"), row()], is_partial=False, seeds=SEEDS)
    assert Counter(task.trained_on for task in tasks) == {"clean": 1, "random": 3, "protected": 3, "clean part": 2}


def test_victims_that_learn_the_same_images_follow_each_other():
    threats = ["pgd(radius=1/255)", "jpeg(quality=10)", "mixup", "jpeg(quality=10)+pgd(radius=1/255)", "mixed"]
    tasks = plan_tasks([row(threat, seeds=2) for threat in threats], is_partial=False, seeds=SEEDS)
    sets = [(task.trained_on, task.threat.filters(test=False), task.threat.name.startswith("mixed")) for task in tasks]
    changes = sum(one != other for one, other in pairwise(sets))
    distinct = [found for index, found in enumerate(sets) if found not in sets[:index]]
    assert changes == len(distinct) - 1


NETWORKS = ["vgg16", "vgg16(learning_rate=0.01)", "resnet18", "vgg16(weights=w.pt)"]


def test_the_name_of_a_victim_tells_all_that_makes_it_another():
    tasks = [
        Task(parse_architecture(network), threat, kind, seed)
        for network in NETWORKS
        for threat in (
            Threat(),
            parse_threat("mean"),
            parse_threat("gaussian(sigma=1.0000001)"),
            parse_threat("gaussian"),
        )
        for kind in ("clean", "random", "protected", "clean part")
        for seed in (0, 1)
    ]
    assert len({task.key for task in tasks}) == len(tasks)


# too much of it


@pytest.mark.parametrize(
    ("images", "classes", "words"),
    [
        (1000, 10, None),
        (200_000, 10, "answers, and a certificate takes 100,000,000; give fewer test images or threats"),
        (1000, 20_000, "the certificate of 20,000 classes and 15 rows would have about"),
    ],
)
def test_what_verify_would_not_read_is_refused_before_it_is_trained(images, classes, words):
    recipe = load_audit_recipe("audit-quick")
    target = SimpleNamespace(classes=[str(number) for number in range(classes)])
    setup = SimpleNamespace(recipe=recipe, is_partial=False, holdout=range(images), target=target)
    rows = plan_rows(recipe, "small_resnet", RHO_A)
    if words is None:
        require_room(rows, setup)
    else:
        with pytest.raises(InputError, match=words):
            require_room(rows, setup)


def test_more_victims_than_anybody_trains_are_refused_before_they_are_listed(tmp_path):
    threats = [f"gaussian(sigma={1 + number / 1000})" for number in range(1, 200)]
    networks = [f"resnet18(learning_rate={number}e-6)" for number in range(1, 100)]
    with pytest.raises(InputError, match="more than 5,000 victims of each kind"):
        plan(tmp_path, adaptive={"threats": threats, "architectures": networks})
