"""The precision of the networks' numbers: resolved once, one wherever noise is made, never passed over in silence."""

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from rem_release.errors import InputError
from rem_release.release.documents import read_facts
from rem_release.training.precision import Precision, prepare_model, resolve, use_precision
from tests.command_line import draw_classes, run, start, succeed, write_recipe

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("asked", "launched", "device", "expected"),
    [
        ("auto", "no", CPU, "fp32"),
        ("auto", "no", GPU, "tf32"),
        ("auto", "bf16", CPU, "bf16"),
        ("bf16", "bf16", GPU, "bf16"),
        ("bf16", "no", CPU, "bf16"),
        ("fp32", "no", GPU, "fp32"),
        ("tf32", "no", GPU, "tf32"),
    ],
)
def test_what_a_precision_becomes(
    asked: Precision, launched: str, device: torch.device, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launched)
    assert resolve(asked, device) == expected


@pytest.mark.parametrize(
    ("asked", "launched", "words"),
    [
        ("fp32", "bf16", "says --mixed_precision bf16, and the recipe precision fp32"),
        ("auto", "fp16", "--mixed_precision fp16: networks are computed in fp32, tf32 or bf16; choose bf16 or no"),
        ("tf32", "no", "precision tf32 is of GPUs, and this is cpu"),
    ],
)
def test_precisions_that_cannot_be(
    asked: Precision, launched: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launched)
    with pytest.raises(InputError, match=words):
        resolve(asked, CPU)


def test_messages_name_the_key_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"victim\.precision tf32 is of GPUs, .* --set victim\.precision=fp32"):
        resolve("tf32", CPU, "victim.precision")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    with pytest.raises(InputError, match=r"the recipe victim\.precision fp32; .* --set victim\.precision=bf16"):
        resolve("fp32", CPU, "victim.precision")


@pytest.fixture
def _settings_of_torch() -> Iterator[None]:
    """Those that a precision changes are afterwards what they were."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.usefixtures("_settings_of_torch")
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_tf32_is_of_convolutions_alone(precision: Precision) -> None:
    """Images are resampled by products of matrices, which therefore stay in float32."""
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = True, precision != "tf32"
    use_precision(precision)
    assert torch.backends.cuda.matmul.allow_tf32 is False
    assert torch.backends.cudnn.allow_tf32 is (precision == "tf32")


def test_bf16_computes_in_bf16_and_answers_in_float32() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2))
    images = torch.rand(5, 3, 8, 8)
    plain = model(images)
    prepared = prepare_model(model, CPU, "bf16")
    answers = prepared(images)
    assert answers.dtype == torch.float32
    assert all(parameter.dtype == torch.float32 for parameter in prepared.parameters())
    assert 0 < (answers - plain).abs().max() < 0.05


def test_a_copy_of_a_model_in_bf16_computes_by_itself() -> None:
    model = prepare_model(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), CPU, "bf16")
    images = torch.rand(5, 3, 2, 2)
    before, copied = model(images), copy.deepcopy(model)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert torch.equal(copied(images), torch.zeros(5, 2))
    assert torch.equal(model(images), before)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Images, a recipe in bf16, and a run with it."""
    folder = tmp_path_factory.mktemp("half")
    draw_classes(folder / "images")
    recipe = write_recipe(folder / "recipe.yaml", precision="bf16")
    succeed("protect", folder / "images", "--out", folder / "run", "--recipe", recipe, "--seed", "3")
    return folder / "images", recipe, folder / "run"


def test_a_generator_makes_the_noise_of_the_run_that_trained_it(half: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """In bf16, too: before 0.4.0 it was made in float32 then, and 7 % of the values differed."""
    images, _, before = half
    succeed("protect", images, "--out", tmp_path / "run", "--generator", before, "--seed", "3")
    facts, again = read_facts(before / "release"), read_facts(tmp_path / "run/release")
    assert facts.digest == again.digest
    assert facts.protection.precision == again.protection.precision == "bf16"


def test_the_precision_decides_the_noise_and_is_stated(half: tuple[Path, Path, Path], tmp_path: Path) -> None:
    images, recipe, before = half
    options = ("--recipe", recipe, "--seed", "3", "--set", "precision=auto")
    succeed("protect", images, "--out", tmp_path / "run", *options)
    facts = read_facts(tmp_path / "run/release")
    assert (facts.protection.precision, facts.recipe["precision"]) == ("fp32", "fp32"), "resolved"
    assert facts.digest != read_facts(before / "release").digest
    again = ("--recipe", recipe, "--seed", "3", "--set", f"precision={facts.protection.precision}")
    succeed("protect", images, "--out", tmp_path / "again", *again)
    assert read_facts(tmp_path / "again/release").digest == facts.digest
    assert "fp32" in succeed("protect", images, "--out", tmp_path / "plan", *options, "--plan").out


def test_a_run_goes_on_in_its_precision(half: tuple[Path, Path, Path], tmp_path: Path) -> None:
    images, recipe, _ = half
    options = ("--out", tmp_path / "run", "--recipe", recipe, "--seed", "3")
    succeed("protect", images, *options, "--set", "precision=auto")
    succeed("protect", images, *options, "--set", "precision=auto", "--resume")
    refused = run("protect", images, *options, "--resume")
    assert refused.code == 2
    assert "precision" in refused.err


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ACCELERATE_MIXED_PRECISION", "fp16", "fp16"),
        ("ACCELERATE_MIXED_PRECISION", "bf16", "precision fp32"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "2", "gradient accumulation over 2 steps"),
    ],
)
def test_settings_of_the_launcher_that_would_be_passed_over(
    half: tuple[Path, Path, Path], tmp_path: Path, name: str, value: str, words: str, process_env: dict[str, str]
) -> None:
    images, recipe, _ = half
    command = ("protect", images, "--out", tmp_path / "run", "--recipe", recipe, "--set", "precision=fp32")
    process = start(*command, env={**process_env, name: value})
    _, said = process.communicate(timeout=120)
    assert (process.returncode, len(said.strip().splitlines())) == (2, 1), said
    assert words in said
    assert not (tmp_path / "run").exists()
