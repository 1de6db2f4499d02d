"""A small protect, verify and audit on a GPU by the command line, as a user runs them."""

import shutil
from pathlib import Path

import pytest
import torch

from rem_release.release.certificate import read_certificate
from rem_release.release.documents import read_facts
from rem_release.training.precision import Precision
from tests.audit_commands import LEARNING, audit_run, draw_colours, protect
from tests.audits import read_victims, write_audit_recipe
from tests.command_line import run, snapshot, succeed, write_recipe
from tests.convolutions import convolutions_seen, expect
from tests.gpu import on_gpu
from tests.gratings import draw_gratings, write_classes
from tests.test_push_each_method import MADE

pytestmark = on_gpu


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`clean`, `test`, and `run`, protected on the GPU."""
    folder = tmp_path_factory.mktemp("inputs")
    draw_colours(folder / "clean")
    draw_colours(folder / "test", count=10, seed=1)
    protect(folder / "clean", folder / "run")
    return folder


def test_a_run_verifies_and_says_in_what_numbers_it_was_computed(inputs: Path) -> None:
    succeed("verify", inputs / "run")
    facts = read_facts(inputs / "run" / "release")
    assert facts.protection.precision == "tf32"


def test_two_runs_on_one_card_give_the_same_bytes(inputs: Path, tmp_path: Path) -> None:
    """Seen on an H200; promised for CPUs alone."""
    again = protect(inputs / "clean", tmp_path / "again")
    assert snapshot(again / "release" / "data") == snapshot(inputs / "run" / "release" / "data")


def test_a_run_in_bf16_verifies(inputs: Path, tmp_path: Path) -> None:
    out = protect(inputs / "clean", tmp_path / "half", "--set", "precision=bf16")
    succeed("verify", out)
    assert read_facts(out / "release").protection.precision == "bf16"


def test_a_generator_makes_the_noise_of_the_run_that_trained_it(inputs: Path, tmp_path: Path) -> None:
    """A figure of the release that hangs on the same card: the digest of the images."""
    succeed("protect", inputs / "clean", "--out", tmp_path / "again", "--generator", inputs / "run")
    assert read_facts(tmp_path / "again" / "release").digest == read_facts(inputs / "run" / "release").digest


def test_plans_state_the_memory_of_the_gpu(inputs: Path, tmp_path: Path) -> None:
    """At least the images and the network; at most what the card has."""
    recipe = write_recipe(tmp_path / "recipe.yaml", data__resolution=16)
    options = ("protect", inputs / "clean", "--out", tmp_path / "run", "--recipe", recipe, "--plan")
    plan = succeed(*options, "--json").json
    card = torch.cuda.get_device_properties(0).total_memory
    assert plan["device"].startswith("cuda")
    assert 24 * 3 * 16 * 16 < plan["device_memory_bytes"] < card
    assert "Device:  about " in succeed(*options).out
    recipe = write_audit_recipe(tmp_path / "audit.yaml", **LEARNING)
    options = ("audit", inputs / "run", "--holdout", inputs / "test", "--recipe", recipe, "--plan")
    plan = succeed(*options, "--json").json
    assert plan["device"].startswith("cuda")
    assert 16 * 3 * 16 * 16 * 4 < plan["device_memory_bytes"] < card
    assert "Device:  about " in succeed(*options).out


@pytest.mark.parametrize("method", MADE)
def test_a_release_of_every_method_verifies(method: str, tmp_path: Path) -> None:
    clean = write_classes(tmp_path / "clean", draw_gratings(30, seed=0))
    settings = ("--set", "data.resolution=16", "--rho-u", "16/255", *MADE[method])
    succeed("protect", clean, "--out", tmp_path / "run", *settings)
    succeed("verify", tmp_path / "run", "--clean", clean)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_an_audit_is_computed_in_what_its_recipe_says(precision: Precision, inputs: Path, tmp_path: Path) -> None:
    """Whatever protect left behind in this process, tf32. The yardsticks are of audit-quick, which says fp32."""
    location = Path(shutil.copytree(inputs / "run", tmp_path / "run"))
    with convolutions_seen() as seen:
        certificate = audit_run(location, "--holdout", inputs / "test", victim__precision=precision)
    assert set(seen) == expect(precision) | expect("fp32")
    assert certificate.recipe["victim"]["precision"] == precision
    succeed("verify", location)


def test_auto_is_tf32_on_a_gpu_and_has_victims_of_its_own(inputs: Path, tmp_path: Path) -> None:
    location = Path(shutil.copytree(inputs / "run", tmp_path / "run"))
    keys = {}
    for precision in ("auto", "tf32", "fp32"):
        certificate = audit_run(location, "--holdout", inputs / "test", victim__precision=precision)
        assert certificate.recipe["victim"]["precision"] == ("fp32" if precision == "fp32" else "tf32")
        keys[precision] = {victim.key for victim in read_victims(location / "audit")}
    assert keys["auto"] == keys["tf32"]
    assert keys["fp32"].isdisjoint(keys["tf32"])


def test_an_audit_trains_victims_that_learn_what_they_learn_on_a_cpu(inputs: Path, tmp_path: Path) -> None:
    """Blue against red, which any network learns in thirty steps: the recipe with which every row is valid on a CPU."""
    recipe = write_audit_recipe(tmp_path / "audit.yaml", **LEARNING)
    result = run("audit", inputs / "run", "--holdout", inputs / "test", "--recipe", recipe, "--json")
    assert result.code in (0, 3), result.err
    certificate = read_certificate(inputs / "run" / "release" / "audit.json")
    assert [row.valid for row in certificate.rows] == [True, True], [row.reason for row in certificate.rows]
    assert certificate.device == torch.cuda.get_device_name(0)
    victims = read_victims(inputs / "run" / "audit")
    assert all(victim.finite for victim in victims)
    clean = [victim for victim in victims if victim.trained_on == "clean"]
    assert clean
    assert all(victim.fit >= 0.9 and victim.test_curve[-1] >= 0.9 for victim in clean)
    succeed("verify", inputs / "run")
