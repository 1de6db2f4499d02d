"""The precision of an audit: one function prepares victims for training, for threats that change first weights, and for
the probe of --plan; the recipe decides, whatever ran before in the process; key and certificate state it."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from rem_release.audit.victim import train_victim
from rem_release.commands.audit import AuditOptions
from rem_release.commands.audit_plan import _seconds_per_pass
from rem_release.release.certificate import read_certificate
from rem_release.threats.images import TrainingImages
from rem_release.threats.threat import Threat
from rem_release.training.precision import Precision
from rem_release.verdict.plan import Task
from rem_release.verdict.recipe import parse_architecture
from tests.audit_commands import audit_run, draw_colours, protect
from tests.audits import QUICK, read_recipe, write_audit_recipe
from tests.command_line import run, snapshot, succeed
from tests.convolutions import Seen, convolutions_seen, expect

PRECISIONS: list[Precision] = ["fp32", "tf32", "bf16"]
SIDE, CLASSES = 8, 2
TASK = Task(parse_architecture("small_vgg"), Threat(), "clean", 0)


@pytest.fixture
def seen() -> Iterator[list[Seen]]:
    """Every convolution that victims compute."""
    with convolutions_seen() as notes:
        yield notes


def images() -> TrainingImages:
    levels = torch.randint(0, 256, (8, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return TrainingImages(levels, torch.arange(8) % CLASSES, CLASSES)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_victim_is_computed_in_what_its_recipe_says_whatever_ran_before(
    precision: Precision, seen: list[Seen], tmp_path: Path
) -> None:
    """As `demo` protects in fp32 and audits in the same process, and torch starts with TF32."""
    torch.backends.cudnn.allow_tf32 = precision != "tf32"
    recipe, learnt = read_recipe(tmp_path, **QUICK, victim__precision=precision), images()
    found = train_victim(Accelerator(cpu=True), TASK, recipe, learnt, 8, learnt.images, learnt.labels)
    assert found.model is not None
    assert set(seen) == expect(precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_threats_that_change_the_first_weights_see_the_victim_as_it_trains(
    precision: Precision, seen: list[Seen], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_first: list[Seen] = []

    def pretrain(threat: Threat, accelerator: Accelerator, model: nn.Module, learnt: TrainingImages, seed: int) -> None:
        assert not seen
        assert model(learnt.floats(torch.arange(4))[0]).dtype == torch.float32
        at_first.extend(seen)

    monkeypatch.setattr(Threat, "initial_weights", pretrain)
    recipe, learnt = read_recipe(tmp_path, **QUICK, victim__precision=precision), images()
    train_victim(Accelerator(cpu=True), TASK, recipe, learnt, 8, learnt.images, learnt.labels)
    assert set(at_first) == expect(precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_probe_of_a_plan_times_what_is_trained(precision: Precision, seen: list[Seen], tmp_path: Path) -> None:
    recipe = read_recipe(tmp_path, **QUICK, victim__precision=precision)
    holdout, target = SimpleNamespace(train_rows=range(8)), SimpleNamespace(classes=["one", "two"])
    setup = SimpleNamespace(recipe_of=lambda task: recipe, holdout=holdout, target=target, resolution=SIDE)
    runner = SimpleNamespace(setup=setup, accelerator=Accelerator(cpu=True))
    assert _seconds_per_pass(runner, TASK) > 0  # type: ignore[arg-type]
    assert set(seen) == expect(precision)


# the command


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`clean`, `test` and `run`."""
    folder = tmp_path_factory.mktemp("inputs")
    draw_colours(folder / "clean")
    draw_colours(folder / "test", count=10, seed=1)
    protect(folder / "clean", folder / "run")
    return folder


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REM_RELEASE_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(("asked", "launched", "stated"), [("auto", "no", "fp32"), ("auto", "bf16", "bf16")])
def test_the_certificate_states_what_auto_became(
    asked: str, launched: str, stated: str, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launched)
    certificate = audit_run(inputs / "run", "--holdout", inputs / "test", victim__precision=asked)
    assert certificate.recipe["victim"]["precision"] == stated
    assert read_certificate(inputs / "run/release/audit.json") == certificate
    succeed("verify", inputs / "run")


def test_a_shipped_recipe_whose_precision_became_its_own_keeps_its_name(
    inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[AuditOptions] = []
    monkeypatch.setattr("rem_release.commands.audit.audit", lambda options, *others: given.append(options))
    for precision in ("auto", "bf16"):
        succeed("audit", inputs / "run", "--set", f"victim.precision={precision}")
    assert [options.recipe_name for options in given] == ["audit-quick", "audit-quick, changed in victim.precision"]
    assert [options.recipe.victim.precision for options in given] == ["fp32", "bf16"]


def test_a_plan_says_in_what_it_was_timed(inputs: Path, tmp_path: Path) -> None:
    recipe = write_audit_recipe(tmp_path / "audit.yaml", **QUICK, victim__precision="bf16")
    options = ("audit", inputs / "run", "--holdout", inputs / "test", "--recipe", recipe, "--plan")
    assert succeed(*options, "--json").json["precision"] == "bf16"
    assert "passes of one image in bf16" in succeed(*options).out


@pytest.mark.parametrize(
    ("asked", "launched", "words"),
    [
        (
            "fp32",
            "bf16",
            "and the recipe victim.precision fp32; leave one of them out, or add --set victim.precision=bf16",
        ),
        ("bf16", "fp16", "--mixed_precision fp16: networks are computed in fp32, tf32 or bf16; choose bf16 or no"),
        ("tf32", "no", "victim.precision tf32 is of GPUs, and this is cpu; add --set victim.precision=fp32"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line_before_anything_is_written(
    asked: str, launched: str, words: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launched)
    recipe = write_audit_recipe(tmp_path / "audit.yaml", **QUICK, victim__precision=asked)
    before = snapshot(inputs)
    refused = run("audit", inputs / "run", "--holdout", inputs / "test", "--recipe", recipe)
    assert (refused.code, refused.out, len(refused.err.splitlines())) == (2, "", 1)
    assert words in refused.err
    assert snapshot(inputs) == before
