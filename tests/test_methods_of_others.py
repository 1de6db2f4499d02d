"""What the rest of the house does for a method that differs from those here: it asks the method, and knows no name."""

import inspect
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest
from pydantic import Field
from pydantic.dataclasses import dataclass

from rem_release import cli
from rem_release.commands.disk import DiskNeed, count_disk
from rem_release.commands.protect_options import ProtectOptions
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.rows import SourceOptions
from rem_release.errors import InputError
from rem_release.method_names import list_names
from rem_release.methods import METHODS, Method, Phase, Setting, Words
from rem_release.methods.fields import Radius, strict
from rem_release.methods.min_max import MinMax
from rem_release.methods.min_max_maker import MinMaxMaker
from rem_release.recipe import Recipe, load_recipe
from rem_release.recipe_changes import with_radii
from rem_release.release.card import render_card
from rem_release.release.facts import ProtectionFacts
from rem_release.release.stated_protection import describe_protection
from rem_release.training.kept_rows import count_bytes
from tests.command_line import run, same_release, succeed
from tests.test_release_card import says, state_facts


@dataclass(frozen=True, kw_only=True, config=strict)
class Pair(Method):
    """Trains two networks, has no adversary, and defaults for all but the radius and the steps."""

    method: Literal["pair"] = "pair"
    rho_u: Radius
    steps: Annotated[int, Field(ge=1)]
    inner: Annotated[int, Field(ge=1)] = 3
    share: float = Field(default=0.5, gt=0)

    words: ClassVar[Words] = Words(name="pair", title="Pair", tags=(), limits="Everything.\n")

    def list_phases(self, setting: Setting, images: int, padded: int) -> list[Phase]:
        return [Phase("Making noise", 0)]

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "source_model": ("small_resnet", "small_vgg"), "settings": {"inner": self.inner}}

    def build(self, setting: Setting, accelerator: object) -> Any:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, config=strict)
class PairAsEm(Pair):
    """The facts know the names of this house alone."""

    method: Literal["em"] = "em"  # type: ignore[assignment]


PAIR = Pair(rho_u=Fraction(8, 255), steps=2)


def recipe_of(noise: Method) -> Recipe:
    recipe = load_recipe("rem-cifar10")
    other = object.__new__(Recipe)
    for name, value in {**vars(recipe), "noise": noise}.items():
        object.__setattr__(other, name, value)
    return other


# --- its settings


def test_a_method_asks_a_recipe_for_no_setting_that_has_a_default() -> None:
    rem = load_recipe("rem-cifar10").noise
    adopted = Pair.adopt(rem)
    assert (adopted.rho_u, adopted.steps, adopted.inner, adopted.share) == (rem.rho_u, rem.steps, 3, 0.5)
    random = METHODS["random"](rho_u=Fraction(8, 255))
    with pytest.raises(InputError, match=r"^--method pair needs noise\.steps, which a recipe for random lacks"):
        Pair.adopt(random)


def test_an_adversarial_radius_of_a_method_without_adversary_is_refused() -> None:
    recipe, rho_a = recipe_of(PAIR), Fraction(4, 255)
    with pytest.raises(
        InputError, match=r"^--rho-a 4/255: noise\.method pair has no adversary; use --method rem or sem$"
    ):
        with_radii(recipe, None, rho_a)
    with pytest.raises(InputError, match="em has no adversary"):
        METHODS["em"](rho_u=Fraction(8, 255), steps=1, step_size=Fraction(1, 255)).with_radii(None, rho_a)
    assert PAIR.with_radii(Fraction(9, 255), Fraction(0)).rho_u == Fraction(9, 255)
    assert METHODS["random"](rho_u=Fraction(8, 255)).with_radii(None, rho_a).rho_u == Fraction(8, 255), "a control"


# --- its networks, in facts and card


def test_the_card_names_every_source_model_and_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = PairAsEm(rho_u=Fraction(8, 255), steps=2)
    protection = describe_protection(replace_precision(recipe_of(noise)), generator_reused=False)
    assert protection.source_models == ("small_resnet", "small_vgg")
    assert ProtectionFacts.model_validate_json(protection.model_dump_json()) == protection
    monkeypatch.setitem(METHODS, "em", PairAsEm)
    card = render_card(state_facts(protection=protection.model_dump()))
    assert says(card, "Source models", "small_resnet", "small_vgg", "5,000 training steps")
    assert says(card, "Precision", "bf16")
    assert "K_u" not in card


def replace_precision(recipe: Recipe) -> Recipe:
    object.__setattr__(recipe, "precision", "bf16")
    return recipe


def test_facts_of_one_source_model_or_none_are_written_as_they_always_were() -> None:
    protection = state_facts().protection
    assert protection.model_dump(mode="json")["source_model"] == "resnet18"
    assert protection.source_models == ("resnet18",)
    assert replace_model(protection, None).source_models == ()
    assert "Source model" not in render_card(state_facts(protection__method="em", protection__source_model=None))


def replace_model(protection: ProtectionFacts, model: str | None) -> ProtectionFacts:
    return protection.model_copy(update={"source_model": model})


# --- its name


def test_help_and_messages_take_the_names_of_methods_from_the_registry(photographs: Path, tmp_path: Path) -> None:
    help_text = " ".join(run("protect", "--help").out.split())
    assert "rem, em, sem, tap, ntga, lsp, pil, classwise or random." in help_text
    source = inspect.getsource(cli)
    assert not [name for name in METHODS if f'"{name}"' in source]
    assert list_names() not in source
    refused = run("protect", photographs, "--out", tmp_path / "run", "--method", "remm")
    assert refused.code == 2
    assert "--method remm: choose rem or em or sem or tap or ntga or lsp or pil or classwise or random" in refused.err


# --- what it keeps for each image


def need_of(photographs: Path, recipe: Path) -> DiskNeed:
    options = ProtectOptions(
        source=SourceOptions(source=str(photographs)),
        out=Path("run"),
        recipe=load_recipe(str(recipe)),
        recipe_name="tiny",
        seed=0,
    )
    return count_disk(options, open_source(options.source), png_bytes=0)


def test_the_disk_holds_checkpoints_three_times_and_kept_rows_once_with_their_journals(
    photographs: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = need_of(photographs, recipe)
    assert plain.kept_bytes == 0
    assert plain.checkpoint_bytes > 0
    monkeypatch.setattr(MinMax, "count_checkpoint_bytes", lambda self, setting: 1000)
    monkeypatch.setattr(MinMax, "count_kept_bytes", lambda self, setting: 12_288)
    need = need_of(photographs, recipe)
    assert need.checkpoint_bytes == 3000
    assert need.kept_bytes == count_bytes(12_288, 8, journals=2)
    assert 3 * 8 * 12_288 < need.kept_bytes < 1.01 * 3 * 8 * 12_288
    assert need.total == plain.total - plain.checkpoint_bytes + need.checkpoint_bytes + need.kept_bytes


@pytest.fixture
def keeping(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The generator's training keeps rows besides; the files that it has at its end."""
    train, seen = MinMaxMaker.train, list[Path]()

    def train_and_keep(self, images, checkpoint, stage):
        rows = checkpoint.keep_rows(self.accelerator, "noise", (len(images), 3), np.float16)
        train(self, images, checkpoint, stage)
        rows.write(np.arange(len(images)), np.ones((len(images), 3), np.float16))
        seen.extend((checkpoint.folder / "rows").iterdir())

    monkeypatch.setattr(MinMaxMaker, "train", train_and_keep)
    return seen


def test_kept_rows_are_deleted_when_the_run_is_finished(
    tmp_path: Path, photographs: Path, recipe: Path, finished_run: Path, keeping: list[Path]
) -> None:
    out = tmp_path / "run"
    succeed("protect", photographs, "--out", out, "--recipe", recipe)
    assert {path.suffix for path in keeping} == {".npy", ".undo"}
    assert not (out / "private/checkpoints/rows").exists()
    assert list((out / "private/checkpoints").glob("step-*.json"))
    assert same_release(out, finished_run)


def test_a_finished_run_that_a_kill_left_its_rows_loses_them_when_it_is_resumed(
    run_copy: Path, photographs: Path, recipe: Path
) -> None:
    rows = run_copy / "private/checkpoints/rows"
    rows.mkdir()
    for name in ("training-noise.npy", "training-noise-00000012.undo", ".training-noise.npy.partial"):
        (rows / name).write_bytes(b"x")
    succeed("protect", photographs, "--out", run_copy, "--recipe", recipe, "--resume")
    assert not rows.exists()
