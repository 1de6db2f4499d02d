"""What a scale changes: recipes at the radii of an arm, which cells there is room for."""

from fractions import Fraction

import pytest

from rem_release.errors import InputError
from rem_release.reproduce.arms import arm_recipe
from rem_release.reproduce.paper import Arm, Figure, Table, load, names
from rem_release.reproduce.scale import SCALES, load_scale, parse_scale
from rem_release.reproduce.victims import make_task, victim_recipe
from rem_release.reproduce.wanted import kept_rows, list_arms, list_wanted

METHODS = ("em", "tap", "ntga", "rem")


def arm(method: str, rho_u: int, rho_a: int = 0) -> Arm:
    return Arm(method=method, rho_u=Fraction(rho_u, 255), rho_a=Fraction(rho_a, 255), eot=True)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", names())
def test_every_cell_that_a_scale_keeps_has_a_recipe_and_a_victim(name: str, scale: str) -> None:
    paper, chosen = load(name), load_scale(scale)
    for dataset in [paper.dataset] if isinstance(paper, Figure) else list(paper.rows):
        wanted = list_wanted(name, chosen, dataset)
        for made, _ in list_arms(wanted):
            recipe = arm_recipe(made, chosen, dataset)
            assert (recipe.noise.rho_u, recipe.noise.withstands) == (made.rho_u, made.rho_a)
        victim_recipe(chosen, dataset)
        tasks = [make_task(each.cell, chosen, 0) for each in wanted]
        assert len({task.key for task in tasks}) <= len(tasks)


def test_the_full_scale_is_table_5() -> None:
    full = load_scale("full")
    rem, em, tap = (arm_recipe(made, full, "cifar10").noise for made in (arm("rem", 8, 4), arm("em", 8), arm("tap", 8)))
    ntga = arm_recipe(arm("ntga", 8), full, "cifar10").noise
    assert (rem.steps, rem.step_size, rem.adversary_steps, rem.adversary_step_size) == (
        *(10, Fraction(8, 5 * 255)),
        *(10, Fraction(4, 5 * 255)),
    )
    assert (em.steps, em.step_size) == (10, Fraction(8, 5 * 255))
    assert (tap.steps, tap.step_size) == (250, Fraction(8, 125 * 255))
    assert (ntga.steps, ntga.step_size) == (10, Fraction(11, 100) * Fraction(8, 255))
    assert rem.eot.samples == 5


@pytest.mark.parametrize("scale", ["smoke", "quick"])
def test_a_single_step_of_the_adversary_goes_the_whole_way(scale: str) -> None:
    for rho_a in (2, 4, 8):
        noise = arm_recipe(arm("rem", 16, rho_a), load_scale(scale), "cifar10").noise
        assert noise.adversary_steps * noise.adversary_step_size >= Fraction(rho_a, 255)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("rho_u", [8, 16])
@pytest.mark.parametrize("method", METHODS)
def test_steps_reach_the_edge_of_the_budget(method: str, rho_u: int, scale: str) -> None:
    noise = arm_recipe(arm(method, rho_u, rho_u // 2 if method == "rem" else 0), load_scale(scale), "cifar10").noise
    assert noise.steps * noise.step_size >= noise.rho_u
    assert (
        noise.step_size
        == Fraction(rho_u, 8)
        * arm_recipe(arm(method, 8, 4 if method == "rem" else 0), load_scale(scale), "cifar10").noise.step_size
    )


def test_the_claim_of_table_1_is_run_with_more_seeds() -> None:
    seeds = {
        (each.cell.arm.name, each.cell.threat): each.seeds
        for each in list_wanted("table1", load_scale("quick"), "cifar10")
    }
    claim = {"clean", "em-u8", "tap-u8", "ntga-u8", "rem-u8-a4"}
    assert {key for key, count in seeds.items() if count == 3} == {
        (arm, f"pgd(radius={radius}/255)") for arm in claim for radius in (2, 4)
    }
    assert set(seeds.values()) == {1, 3}
    assert len(seeds) == 45


def test_a_figure_of_lines_runs_its_own_arms_alone() -> None:
    wanted = list_wanted("figure8", load_scale("quick"), "cifar10")
    assert {each.cell.arm.method for each in wanted} == {"rem"}


@pytest.mark.parametrize("name", ["table3", "table9"])
def test_of_rows_with_the_same_victims_the_first_is_kept(name: str) -> None:
    heads = {
        scale: [row.heads[0] for row, _ in kept_rows(load(name), load_scale(scale), "cifar10")]
        for scale in ("quick", "full")
    }
    assert heads["quick"] == ["VGG-16", "ResNet-18", "DenseNet-121"]
    assert heads["full"] == [*heads["quick"][:2], "ResNet-50", "DenseNet-121", "Wide ResNet-34-10"]
    networks = {each.cell.architecture for each in list_wanted(name, load_scale("quick"), "cifar10")}
    assert networks == {"vgg16", "resnet18", "densenet121"}


@pytest.mark.parametrize("name", names())
def test_the_full_scale_keeps_every_row(name: str) -> None:
    if isinstance(paper := load(name), Table):
        for dataset, rows in paper.rows.items():
            assert [row for row, _ in kept_rows(paper, load_scale("full"), dataset)] == list(rows)


def test_a_scale_knows_its_name() -> None:
    assert [load_scale(name).name for name in SCALES] == list(SCALES)


def test_what_is_no_scale_is_refused() -> None:
    with pytest.raises(InputError, match="choose smoke, quick, card or full"):
        load_scale("huge")
    with pytest.raises(InputError, match="scale mine is not valid"):
        parse_scale({"words": "mine", "trian_images": 3}, "mine")
