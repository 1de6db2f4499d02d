"""What is known of victims: whole lines only, baselines shared and no others, keys that hold all that decides."""

import base64
import json
import shutil
import tracemalloc
import zlib
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from rem_release.audit.inputs.holdout import choose_holdout
from rem_release.audit.inputs.target import open_target
from rem_release.audit.ledger import Ledger, VictimRecord, WantedVictim, baseline_folder, key_of, pack
from rem_release.audit.runner import VictimRunner
from rem_release.audit.setup import AuditSetup
from rem_release.data.images.pixels import fit_working_grid
from rem_release.models import build_model
from rem_release.threats.threat import parse_threat
from rem_release.verdict.plan import KINDS, Task
from rem_release.verdict.recipe import AuditRecipe, parse_architecture
from tests.audits import QUICK, read_recipe
from tests.command_line import draw, draw_classes

IMAGES, CLASSES = 11, 3


NAMED = np.arange(2 * IMAGES).reshape(2, IMAGES) % CLASSES
"""Answers at two evaluations."""


def make_record(number: int, trained_on: str = "clean", **changes: object) -> VictimRecord:
    values = {
        **{"key": f"{number:064x}", "architecture": "small_vgg", "threat": "standard", "trained_on": trained_on},
        **{"seed": 0, "finite": True, "answers": pack(NAMED), "train_accuracy": 0.75, "fit": 0.9},
        **{"attack_gain": None, "steps": [1, 2], "loss": [1.5, 0.1 + 0.2], "train_curve": [0.5, 0.75]},
        **{"test_curve": [0.25, 0.5], "learnability": None, "seconds": 1.2},
    }
    return VictimRecord.model_validate(values | changes)


def ask(record: VictimRecord, **changes: object) -> WantedVictim:
    """What that record is of."""
    task = Task(
        parse_architecture(record.architecture), parse_threat(record.threat), record.trained_on, seed=record.seed
    )
    return replace(WantedVictim(record.key, task, record.steps, IMAGES, CLASSES), **changes)


def ids(ledger: Ledger, numbers: range) -> list[int]:
    return [number for number in numbers if find(ledger, number)]


def find(ledger: Ledger, number: int, trained_on: str = "clean", **changes: object) -> VictimRecord | None:
    return ledger.find(ask(make_record(number, trained_on, **changes)))


# the file of one audit


def test_finished_victims_are_found_again(tmp_path):
    path = tmp_path / "victims.jsonl"
    records = [make_record(1), make_record(2, "protected", attack_gain=0.1), make_record(3, learnability=[0.1, 0.2])]
    ledger = Ledger(path, None)
    for record in records:
        ledger.add(record)
    assert [ledger.find(ask(record)) for record in records] == records
    assert len(path.read_text().splitlines()) == 3
    again = Ledger(path, None)
    assert [again.find(ask(record)) for record in records] == records
    assert find(again, 4) is None


def test_a_line_is_there_as_soon_as_a_victim_is_added(tmp_path):
    ledger = Ledger(tmp_path / "victims.jsonl", None)
    for number in range(3):
        ledger.add(make_record(number))
        assert ids(Ledger(tmp_path / "victims.jsonl", None, writes=False), range(4)) == list(range(number + 1))


LINE = len(make_record(3).model_dump_json())


@pytest.mark.parametrize("kept", [1, LINE // 2, LINE - 1, LINE])
def test_a_half_line_of_a_killed_audit_is_left_out_and_does_not_spoil_the_next(kept, tmp_path):
    path = tmp_path / "victims.jsonl"
    whole = "".join(f"{make_record(number).model_dump_json()}\n" for number in (1, 2))
    path.write_text(whole + make_record(3).model_dump_json()[:kept])
    ledger = Ledger(path, None)
    known = [1, 2, 3] if kept == LINE else [1, 2]  # only its line end is missing
    assert ids(ledger, range(9)) == known
    assert path.read_bytes().endswith(b"}\n")
    ledger.add(make_record(4))
    assert ids(Ledger(path, None), range(9)) == [*known, 4]
    assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe\x00",
        b"not json",
        make_record(8).model_dump_json().replace('"seed":0', '"seed":"first"').encode(),
        make_record(8).model_dump_json().replace('"seed":0', '"seed":0,"more":1').encode(),
        make_record(8).model_dump_json().replace('"finite":true,', "").encode(),
        make_record(8).model_dump_json().replace('"fit":0.9', '"fit":1.1').encode(),
        make_record(8).model_dump_json().replace('"attack_gain":null', '"attack_gain":NaN').encode(),
    ],
)
def test_lines_that_are_no_records_are_left_out_wherever_they_stand(line, tmp_path):
    path = tmp_path / "victims.jsonl"
    first, last = (make_record(number).model_dump_json().encode() for number in (1, 2))
    path.write_bytes(b"\n".join([line, first, line, last, b""]))
    assert ids(Ledger(path, None), range(9)) == [1, 2]
    assert path.read_bytes() == b"\n".join([first, last, b""])


def test_a_process_that_does_not_write_leaves_everything_as_it_is(tmp_path):
    path, cache = tmp_path / "victims.jsonl", tmp_path / "cache"
    damaged = f"{make_record(1).model_dump_json()}\nhalf a li"
    path.write_text(damaged)
    ledger = Ledger(path, cache, writes=False)
    ledger.add(make_record(2))
    assert ids(ledger, range(4)) == [1, 2]
    assert path.read_text() == damaged
    assert not cache.exists()


def test_without_a_file_nothing_is_known_and_nothing_kept(tmp_path):
    missing = Ledger(tmp_path / "victims.jsonl", None, writes=False)
    assert ids(missing, range(3)) == []
    Ledger(None, None).add(make_record(1))
    assert list(tmp_path.iterdir()) == []


@given(arrays(np.int32, st.tuples(st.integers(1, 5), st.integers(1, 40)), elements=st.integers(0, 2**31 - 1)))
def test_answers_come_back_as_they_were_packed(named):
    record = make_record(1, answers=pack(named), steps=list(range(len(named))))
    again = VictimRecord.model_validate_json(record.model_dump_json()).named(named.shape[1])
    np.testing.assert_array_equal(again, named)
    assert again.dtype == np.int32


def test_the_curve_of_a_record():
    curve = make_record(1, "random", seed=3).curve()
    assert (curve.architecture, curve.threat, curve.trained_on, curve.seed) == ("small_vgg", "standard", "random", 3)
    assert (curve.steps, curve.loss, curve.train_accuracy) == ([1, 2], [1.5, 0.1 + 0.2], [0.5, 0.75])
    assert curve.test_accuracy == [0.25, 0.5]


# baselines that audits share


@pytest.mark.parametrize("kind", KINDS)
def test_baselines_go_to_the_cache_and_what_was_learnt_from_a_release_never(kind, tmp_path):
    cache = tmp_path / "cache"
    Ledger(tmp_path / "one.jsonl", cache).add(make_record(1, kind))
    other = Ledger(tmp_path / "other.jsonl", cache)
    found = find(other, 1, kind)
    assert len(other.cached) == (found is not None)
    if kind in ("clean", "random", "yardstick"):
        assert found == make_record(1, kind, cached=True)
        assert [path.name for path in cache.iterdir()] == [f"{1:064x}.json"]  # and nothing temporary
    else:
        assert found is None
        assert not cache.exists()


@pytest.mark.parametrize("kind", ["protected", "clean part"])
def test_what_a_release_teaches_never_comes_from_the_cache(kind, tmp_path):
    """Even where somebody laid a record there that is of just that victim."""
    cache = tmp_path / "cache"
    cache.mkdir()
    record = make_record(1, kind)
    (cache / f"{record.key}.json").write_text(record.model_dump_json())
    ledger = Ledger(tmp_path / "victims.jsonl", cache)
    assert find(ledger, 1, kind) is None
    assert not ledger.cached
    as_baseline = make_record(1, "clean")
    (cache / f"{record.key}.json").write_text(as_baseline.model_dump_json())
    assert find(ledger, 1, kind) is None
    assert not (tmp_path / "victims.jsonl").exists()


OTHERS = {
    "threat": {"threat": "mean"},
    "network": {"architecture": "small_resnet"},
    "kind": {"trained_on": "random"},
    "seed": {"seed": 1},
    "key": {"key": "f" * 64},
    "steps": {"steps": [1, 3]},
    "an evaluation left out": {"steps": [2], "answers": pack(NAMED[1:])},
    "an evaluation without answers": {"answers": pack(NAMED[:1])},
    "no answers": {"answers": pack(NAMED[:, :0])},
    "empty answers": {"answers": ""},
    "fewer test images": {"answers": pack(NAMED[:, 1:])},
    "more test images": {"answers": pack(np.hstack([NAMED, NAMED]))},
    "a class that is none": {"answers": pack(NAMED + 1)},
    "a class below none": {"answers": pack(NAMED - 1)},
    "not base64": {"answers": "é" * 40},
    "not packed": {"answers": "AAAA" * 10},
    "cut off": {"answers": pack(NAMED)[: len(pack(NAMED)) // 8 * 4]},
    "a curve too short": {"loss": [1.5]},
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS.keys())
@pytest.mark.parametrize("place", ["cache", "own file"])
def test_a_record_of_anything_else_than_was_asked_is_not_taken(change, place, tmp_path):
    asked, record = ask(make_record(1)), make_record(1, **change)
    cache, path = tmp_path / "cache", tmp_path / "victims.jsonl"
    cache.mkdir()
    for wrong, is_known in ((record, False), (make_record(1), True)):
        if place == "cache":
            (cache / f"{asked.key}.json").write_text(wrong.model_dump_json())
        else:
            path.write_text(f"{wrong.model_dump_json()}\n")
        ledger = Ledger(path, cache)
        assert (ledger.find(asked) is not None) == is_known
        assert len(ledger.cached) == (is_known and place == "cache")


def test_a_record_of_another_test_set_or_of_more_classes_is_not_taken(tmp_path):
    path = tmp_path / "victims.jsonl"
    path.write_text(f"{make_record(1).model_dump_json()}\n")
    ledger = Ledger(path, None)
    for change in ({"images": IMAGES - 1}, {"images": 2 * IMAGES}, {"classes": CLASSES - 1}, {"steps": [1]}):
        assert ledger.find(ask(make_record(1), **change)) is None
    assert ledger.find(ask(make_record(1))) == make_record(1)


def test_answers_that_unpack_to_more_than_there_are_cost_little(tmp_path):
    """Ten thousand evaluations is the most that is unpacked: a record of 1 GB of zeros is refused."""
    bomb = base64.b64encode(zlib.compress(bytes(2**30), 9)).decode()
    tracemalloc.start()
    assert not make_record(1, answers=bomb).fits(ask(make_record(1)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**25


def test_a_victim_whose_loss_broke_has_answers_all_the_same_and_a_short_curve():
    record = make_record(1, finite=False, loss=[], train_curve=[], test_curve=[])
    assert record.fits(ask(record))
    assert not make_record(1, finite=False, answers="").fits(ask(record))
    assert record.curve().steps == []


def test_a_wrong_record_of_this_audit_does_not_hide_a_baseline_of_another(tmp_path):
    cache, path = tmp_path / "cache", tmp_path / "victims.jsonl"
    Ledger(tmp_path / "one.jsonl", cache).add(make_record(1))
    path.write_text(f"{make_record(1, seed=7).model_dump_json()}\n")
    assert find(Ledger(path, cache), 1) == make_record(1, cached=True)
    assert find(Ledger(path, None), 1) == make_record(1, cached=True)


def test_what_the_cache_knows_becomes_part_of_the_audit_once(tmp_path):
    cache, path = tmp_path / "cache", tmp_path / "other.jsonl"
    Ledger(tmp_path / "one.jsonl", cache).add(make_record(1))
    ledger = Ledger(path, cache)
    for _ in range(3):
        assert find(ledger, 1)
    assert ledger.cached == {make_record(1).key}
    assert path.read_text() == f"{make_record(1, cached=True).model_dump_json()}\n"
    shutil.rmtree(cache)
    assert ids(Ledger(path, cache), range(3)) == [1]


def damage(path: Path, how: str) -> None:
    whole = path.read_text()
    if how == "a folder":
        path.unlink()
        path.mkdir()
        return
    damaged = {
        "empty": "",
        "half": whole[: len(whole) // 2],
        "zeros": "\0" * len(whole),
        "not utf-8": None,
        "another schema": json.dumps(json.loads(whole) | {"more": 1}),
        "another victim's": make_record(2).model_dump_json(),
    }[how]
    path.write_bytes(b"\xff\xfe" if damaged is None else damaged.encode())


@pytest.mark.parametrize("how", ["empty", "half", "zeros", "not utf-8", "another schema", "another victim's"])
def test_a_damaged_baseline_is_made_again_and_mended(how, tmp_path):
    cache, key = tmp_path / "cache", make_record(1).key
    Ledger(tmp_path / "one.jsonl", cache).add(make_record(1))
    damage(cache / f"{key}.json", how)
    ledger = Ledger(tmp_path / "other.jsonl", cache)
    assert find(ledger, 1) is None
    assert find(ledger, 2) is None
    assert not ledger.cached
    assert not (tmp_path / "other.jsonl").exists()
    ledger.add(make_record(1))
    assert find(Ledger(tmp_path / "third.jsonl", cache), 1) == make_record(1, cached=True)


def test_a_folder_in_the_place_of_a_baseline_is_no_baseline(tmp_path):
    cache, key = tmp_path / "cache", make_record(1).key
    Ledger(tmp_path / "one.jsonl", cache).add(make_record(1))
    damage(cache / f"{key}.json", "a folder")
    assert find(Ledger(tmp_path / "other.jsonl", cache), 1) is None


def test_the_folder_of_baselines_is_the_user_s_choice(monkeypatch, tmp_path):
    for name in ("REM_RELEASE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert baseline_folder() == tmp_path / ".cache/rem-release/baselines"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert baseline_folder() == tmp_path / "xdg/rem-release/baselines"
    monkeypatch.setenv("REM_RELEASE_CACHE", str(tmp_path / "own"))
    assert baseline_folder() == tmp_path / "own/baselines"


def test_a_key_depends_on_every_value_and_not_on_their_order():
    assert key_of({"a": 1, "b": [1, 2]}) == key_of({"b": [1, 2], "a": 1})
    keys = [key_of(values) for values in ({"a": 1}, {"a": 2}, {"a": "1"}, {"b": 1}, {"a": 1, "b": None}, {"a": [1]})]
    assert len(set(keys)) == len(keys)


# what decides a victim


@dataclass(frozen=True)
class Scene:
    """Folders of images: clean ones of 16 × 16, a copy with ±8 levels, and test images."""

    root: Path

    @property
    def clean(self) -> Path:
        return self.root / "clean"

    @property
    def copy(self) -> Path:
        return self.root / "copy"

    @property
    def test(self) -> Path:
        return self.root / "test"


def protect(clean: Path, copy: Path, seed: int = 0, only: str = "*/*.png") -> Path:
    """Write a copy with ±8 levels on the images of a pattern."""
    rng = np.random.default_rng(seed)
    shutil.copytree(clean, copy)
    for path in sorted(clean.glob(only)):
        pixels = np.asarray(Image.open(path)).astype(int)
        noise = rng.choice([-8, 8], pixels.shape)
        Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)).save(copy / path.relative_to(clean))
    return copy


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    scene = Scene(tmp_path_factory.mktemp("scene"))
    for number, name in enumerate(("cat", "dog")):
        for index in range(4):
            draw(scene.clean / name / f"{index}.png", 10 * number + index, (16, 16))
    protect(scene.clean, scene.copy)
    draw_classes(scene.test, seed=500)
    return scene


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> AuditRecipe:
    return tiny_recipe(tmp_path_factory.mktemp("recipe"))


def tiny_recipe(folder: Path, **changes: object) -> AuditRecipe:
    small = {**QUICK, "victim__batch_size": 4, "victim__resolution": 8}
    return read_recipe(folder, **{**small, **changes})


def make_setup(
    recipe: AuditRecipe, copy: Path, clean: Path, test: Path | None, rho_u: Fraction = Fraction(8, 255)
) -> AuditSetup:
    resolution = recipe.victim.resolution
    target = open_target(copy, str(clean), resolution, rho_u)
    chosen = choose_holdout(target, str(test) if test else None, None, recipe.holdout.share, "drop")
    return AuditSetup(target=target, holdout=chosen, recipe=recipe, resolution=resolution, rho_u=rho_u)


@pytest.fixture(scope="module")
def setup(scene, recipe) -> AuditSetup:
    return make_setup(recipe, scene.copy, scene.clean, scene.test)


def make_runner(setup: AuditSetup, path: Path | None = None, cache: Path | None = None, writes=True) -> VictimRunner:
    return VictimRunner(setup, Ledger(path, cache, writes), Accelerator(cpu=True))


def make_task(trained_on="clean", threat="standard", network="small_vgg", seed=0) -> Task:
    return Task(parse_architecture(network), parse_threat(threat), trained_on, seed)


PGD, GREY, MIXED = "pgd(radius=4/255)", "greyscale(on=both)", "mixed(protected=0.5)"
BASELINES = {"clean", "random", "clean pgd", "yardstick"}
TASKS = {
    "clean": make_task(),
    "random": make_task("random"),
    "protected": make_task("protected"),
    "clean pgd": make_task("clean", PGD),
    "protected grey": make_task("protected", GREY),
    "mixed": make_task("protected", MIXED),
    "clean part": make_task("clean part", MIXED),
    "yardstick": make_task("yardstick"),
}


@pytest.fixture(scope="module")
def victims(setup, tmp_path_factory) -> Path:
    """The records of all tasks."""
    path = tmp_path_factory.mktemp("victims") / "victims.jsonl"
    runner = make_runner(setup, path)
    for task in TASKS.values():
        runner.make(task)
    return path


def known(setup: AuditSetup, victims: Path, tasks: dict[str, Task] = TASKS) -> set[str]:
    """Which victims need not be trained under another setup."""
    runner = make_runner(setup, victims, writes=False)
    return {name for name, task in tasks.items() if runner.known(task)}


def test_every_victim_has_a_record_of_its_own_and_is_known_afterwards(setup, victims):
    assert len({json.loads(line)["key"] for line in victims.read_text().splitlines()}) == len(TASKS)
    assert known(setup, victims) == set(TASKS)


@pytest.mark.parametrize(
    "task",
    [
        make_task(seed=1),
        make_task(network="small_resnet"),
        make_task(threat="jpeg(quality=10)"),
        make_task(threat="pgd(radius=4/255,norm=l2)"),
        make_task(threat="pgd(radius=5/255)"),
        make_task(network="small_vgg(learning_rate=0.01)"),
        make_task("random", PGD),
        make_task("protected", "mixed(protected=0.25)"),
    ],
    ids=lambda task: " ".join(map(str, task.key)),
)
def test_another_victim_is_not_known(task, setup, victims):
    assert known(setup, victims, {"other": task}) == set()


@pytest.mark.parametrize(
    "change",
    [
        {"least_steps": 3},
        {"epochs": 2},
        {"batch_size": 3},
        {"learning_rate": 0.06},
        {"momentum": 0.8},
        {"weight_decay": 1e-4},
        {"decay_every": 0.5},
        {"decay": 0.5},
        {"augmentation": "cifar"},
        {"precision": "bf16"},
        {"precision": "tf32"},
        {"evaluations": 2},
    ],
    ids=str,
)
def test_whatever_changes_the_training_changes_every_key_but_that_of_the_yardstick(change, setup, victims, tmp_path):
    ((key, value),) = change.items()
    changed = replace(setup, recipe=tiny_recipe(tmp_path, **{f"victim__{key}": value}))
    assert known(changed, victims) == {"yardstick"}


def test_the_grid_changes_every_key(scene, victims, tmp_path):
    recipe = tiny_recipe(tmp_path, victim__resolution=16)
    assert known(make_setup(recipe, scene.copy, scene.clean, scene.test), victims) == set()


@pytest.mark.parametrize("change", [{"steps": 3}, {"relative_step_size": 0.6}], ids=str)
def test_the_adversary_changes_the_keys_of_victims_that_have_one(change, setup, victims, tmp_path):
    ((key, value),) = change.items()
    found = known(replace(setup, recipe=tiny_recipe(tmp_path, **{f"adversary__{key}": value})), victims)
    assert found == set(TASKS) - {"clean pgd"}


@pytest.mark.parametrize(
    "change",
    [
        {"victim__source_model": "vgg16"},
        {"seeds": {"required": 5, "others": 2}},
        {"statistics__confidence": 0.99},
        {"statistics__half_width": 0.3},
        {"holdout": {"overlap": "drop"}},
        {"tiers__standard__limit": 0.9},
        {"tiers__transfer": {"threats": ["standard"], "required": True}},
        {"learnability__q": 0.8},
    ],
    ids=str,
)
def test_policy_and_statistics_change_no_key(change, setup, victims, tmp_path):
    assert known(replace(setup, recipe=tiny_recipe(tmp_path, **change)), victims) == set(TASKS)


def test_a_learnability_bound_changes_the_key_of_the_surrogate_alone(setup, victims, tmp_path):
    seeds, path = make_runner(setup).seeds, tmp_path / "victims.jsonl"
    tasks = {str(number): make_task("protected", seed=seeds.of("protected", number)) for number in range(2)}
    tasks |= {kind: make_task(kind, seed=seeds.of(kind, 0)) for kind in ("clean", "random")}
    runner = make_runner(setup, path)
    for task in tasks.values():
        runner.make(task)
    asked = replace(setup, recipe=tiny_recipe(tmp_path, learnability__samples=3))
    assert known(asked, path, tasks) == {"1", "clean", "random"}
    assert known(asked, victims) == set(TASKS)
    assert make_runner(asked).make(tasks["0"]).learnability is not None


def test_another_release_changes_the_keys_of_what_learns_from_it(setup, scene, recipe, victims, tmp_path):
    other = make_setup(recipe, protect(scene.clean, tmp_path / "copy", seed=1), scene.clean, scene.test)
    assert known(other, victims) == BASELINES


def test_seeds_go_by_what_an_owner_can_choose_and_those_of_baselines_not_by_the_release(setup, scene, recipe, tmp_path):
    """Whoever chooses test images, or one noise of many, does not know before which victims will be trained."""
    own = make_runner(setup).seeds
    copy, test = protect(scene.clean, tmp_path / "copy", seed=1), Path(shutil.copytree(scene.test, tmp_path / "test"))
    release = make_runner(make_setup(recipe, copy, scene.clean, scene.test)).seeds
    assert (release.clean, release.holdout) == (own.clean, own.holdout)
    assert release.release != own.release
    draw(test / "dog" / "3.png", 999)
    holdout = make_runner(make_setup(recipe, scene.copy, scene.clean, test)).seeds
    assert (holdout.clean, holdout.release) == (own.clean, own.release)
    assert holdout.holdout != own.holdout
    for kind in KINDS:
        found = [[seeds.of(kind, number) for number in range(3)] for seeds in (own, release, holdout)]
        assert not set(found[0]) & set(found[2]), kind
        assert (found[0] == found[1]) == (kind in ("clean", "random", "yardstick")), kind


def test_the_originals_of_a_class_are_one_set_wherever_they_lie(setup, scene, recipe, tmp_path):
    """Or another file name would be another draw of seeds."""
    for folder in ("clean", "copy"):
        shutil.copytree(scene.root / folder, tmp_path / folder)
        (tmp_path / folder / "cat" / "0.png").rename(tmp_path / folder / "cat" / "z.png")
    other = make_setup(recipe, tmp_path / "copy", tmp_path / "clean", scene.test)
    assert make_runner(other).seeds.clean == make_runner(setup).seeds.clean


def test_the_same_images_elsewhere_are_the_same(scene, recipe, victims, tmp_path):
    for path in (scene.clean, scene.copy, scene.test):
        shutil.copytree(path, tmp_path / path.name)
    moved = make_setup(recipe, tmp_path / "copy", tmp_path / "clean", tmp_path / "test")
    assert known(moved, victims) == set(TASKS)


def test_one_test_image_changes_every_key(scene, recipe, victims, tmp_path):
    other = Path(shutil.copytree(scene.test, tmp_path / "test"))
    draw(other / "dog" / "3.png", 999)
    assert known(make_setup(recipe, scene.copy, scene.clean, other), victims) == set()


def test_one_original_or_one_label_changes_every_key(scene, recipe, victims, tmp_path):
    for name in ("pixels", "label"):
        clean = Path(shutil.copytree(scene.clean, tmp_path / name / "clean"))
        if name == "pixels":
            draw(clean / "cat" / "0.png", 77, (16, 16))
        else:
            (clean / "cat" / "0.png").rename(clean / "dog" / "9.png")
        other = make_setup(recipe, protect(clean, tmp_path / name / "copy"), clean, scene.test)
        assert known(other, victims) == set(), name


def test_which_rows_are_held_out_changes_every_key(scene, recipe, victims, tmp_path):
    kept = make_setup(recipe, scene.copy, scene.clean, None)
    path = tmp_path / "victims.jsonl"
    make_runner(kept, path).make(make_task())
    assert known(kept, path, {"clean": make_task()}) == {"clean"}
    more = make_setup(tiny_recipe(tmp_path, holdout__share=0.6), scene.copy, scene.clean, None)
    assert known(more, path, {"clean": make_task()}) == set()


def shrink(folder: Path, to: Path) -> Path:
    """The same images as the grid of 8 × 8 shows them."""
    for path in folder.glob("*/*.png"):
        small = to / path.relative_to(folder)
        small.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(fit_working_grid(np.asarray(Image.open(path)), 8).permute(1, 2, 0).numpy()).save(small)
    return to


def test_originals_that_look_alike_on_the_grid_are_told_apart_for_filters_see_them_at_their_own_size(
    setup, scene, recipe, victims, tmp_path
):
    clean = shrink(scene.clean, tmp_path / "clean")
    shrunk = make_setup(recipe, protect(clean, tmp_path / "copy"), clean, scene.test)
    one, other = (make_runner(each).images.prepare(make_task())[0].images for each in (setup, shrunk))
    assert torch.equal(one, other)
    blurred = [make_runner(each).images.prepare(make_task(threat="mean"))[0].images for each in (setup, shrunk)]
    assert not torch.equal(*blurred)
    assert known(shrunk, victims) == set()


def test_so_are_releases(setup, scene, recipe, victims, tmp_path):
    shrunk = make_setup(recipe, shrink(scene.copy, tmp_path / "copy"), scene.clean, scene.test)
    one, other = (make_runner(each).images.prepare(make_task("protected"))[0].images for each in (setup, shrunk))
    assert torch.equal(one, other)
    assert known(shrunk, victims) == BASELINES


def test_so_are_test_images_for_filters_see_them_at_their_own_size_too(scene, recipe, tmp_path):
    large = tmp_path / "large"
    for number, name in enumerate(("cat", "dog")):
        draw(large / name / "0.png", 700 + number, (16, 16))
    small = shrink(large, tmp_path / "small")
    tasks = {threat: make_task(threat=threat) for threat in ("standard", "mean", "mean(on=both)")}
    path = tmp_path / "victims.jsonl"
    runner = make_runner(make_setup(recipe, scene.copy, scene.clean, large), path)
    for task in tasks.values():
        runner.make(task)
    found = known(make_setup(recipe, scene.copy, scene.clean, small), path, tasks)
    assert found == set()


def test_the_radius_changes_the_random_control_alone_and_by_whole_levels(scene, recipe, victims):
    for rho_u, expected in ((Fraction(9, 255), set(TASKS) - {"random"}), (Fraction(17, 510), set(TASKS))):
        assert known(make_setup(recipe, scene.copy, scene.clean, scene.test, rho_u), victims) == expected


def test_in_a_partial_release_the_random_control_depends_on_which_rows_are_protected(scene, recipe, tmp_path):
    tasks = {name: make_task(name) for name in KINDS}
    path = tmp_path / "victims.jsonl"
    setups = {}
    for name in ("cat", "dog"):
        copy = protect(scene.clean, tmp_path / name, only=f"{name}/[01].png")
        setups[name] = make_setup(recipe, copy, scene.clean, scene.test)
        assert make_runner(setups[name]).setup.is_partial
    runner = make_runner(setups["cat"], path)
    for task in tasks.values():
        runner.make(task)
    assert known(setups["cat"], path, tasks) == set(KINDS)
    assert known(setups["dog"], path, tasks) == {"clean", "yardstick"}


def test_a_weights_file_counts_by_its_bytes_not_by_its_place(setup, tmp_path):
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        (tmp_path / name).mkdir()
        torch.save(build_model("small_vgg", 2, 8, seed).network.state_dict(), tmp_path / name / "w.pt")
    tasks = {
        n: make_task(network=f"small_vgg(weights={tmp_path / n / 'w.pt'},resize=8)") for n in ("one", "same", "other")
    }
    path = tmp_path / "victims.jsonl"
    make_runner(setup, path).make(tasks["one"])
    assert {name for name, task in tasks.items() if known(setup, path, {name: task})} == {"one", "same"}
    larger = make_task(network=f"small_vgg(weights={tmp_path / 'one' / 'w.pt'},resize=16)")
    assert known(setup, path, {"larger": larger}) == set()


def train(setup: AuditSetup, path: Path, cache: Path, task: Task) -> tuple[VictimRecord, int]:
    """The record, and how many training steps it took."""
    steps: list[int] = []
    record = make_runner(setup, path, cache).make(task, lambda step, _: steps.append(step))
    return record, len(steps)


def test_a_second_audit_does_not_pay_for_baselines_again_but_for_its_own_release(setup, scene, recipe, tmp_path):
    cache = tmp_path / "cache"
    other = make_setup(recipe, protect(scene.clean, tmp_path / "copy", seed=1), scene.clean, scene.test)
    for kind, cost in (("clean", 0), ("random", 0), ("protected", 2)):
        first, steps = train(setup, tmp_path / "one.jsonl", cache, make_task(kind))
        assert steps == 2
        second, steps = train(other, tmp_path / "other.jsonl", cache, make_task(kind))
        assert steps == cost, kind
        assert (first.model_copy(update={"cached": True}) == second) == (cost == 0)
    assert len(list(cache.iterdir())) == 2
    assert len((tmp_path / "other.jsonl").read_text().splitlines()) == 3


def test_a_damaged_baseline_is_trained_again_to_the_same_record(setup, tmp_path):
    cache = tmp_path / "cache"
    first, _ = train(setup, tmp_path / "one.jsonl", cache, make_task())
    damage(cache / f"{first.key}.json", "half")
    second, steps = train(setup, tmp_path / "other.jsonl", cache, make_task())
    assert steps == 2
    assert second.model_copy(update={"seconds": first.seconds}) == first
    assert train(setup, tmp_path / "third.jsonl", cache, make_task())[1] == 0


def test_the_random_control_of_unprotected_images_is_noisy_and_that_of_any_release_of_that_radius(
    setup, scene, recipe, tmp_path
):
    """What an audit of unprotected images caches is what audits of protected ones find."""
    nothing = replace(make_setup(recipe, scene.clean, scene.clean, scene.test, rho_u=None), rho_u=Fraction(8, 255))
    assert not nothing.target.changed.any()
    own = [make_runner(nothing).images.prepare(make_task(kind))[0].images.int() for kind in ("random", "clean")]
    assert (own[0] - own[1]).abs().max() >= 4
    assert torch.equal(make_runner(setup).images.prepare(make_task("random"))[0].images.int(), own[0])
    path = tmp_path / "victims.jsonl"
    make_runner(nothing, path).make(make_task("random"))
    assert known(setup, path, {"random": make_task("random")}) == {"random"}
