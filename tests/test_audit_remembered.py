"""What an audit leaves for the next one of the run: nothing is decoded twice, and nothing stale is believed."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from accelerate import Accelerator

from rem_release.audit.inputs.holdout import choose_holdout
from rem_release.audit.inputs.target import open_target
from rem_release.audit.ledger import Ledger
from rem_release.audit.runner import VictimRunner
from rem_release.audit.setup import AuditSetup
from rem_release.threats.threat import parse_threat
from rem_release.verdict.plan import Task
from rem_release.verdict.recipe import parse_architecture
from tests.audit_commands import draw_colours, fall_short, protect
from tests.audits import QUICK, read_recipe, write_audit_recipe
from tests.command_line import Result, draw, run

PAIRS, HOLDOUT = "private/audited-pairs.npz", "private/audited-holdout.npz"


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`clean`, `test` and `run`, audited once; and the recipe."""
    folder = tmp_path_factory.mktemp("audited")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REM_RELEASE_CACHE", str(folder / "cache"))
        draw_colours(folder / "clean")
        draw_colours(folder / "test", count=10, seed=1)
        protect(folder / "clean", folder / "run")
        recipe = write_audit_recipe(folder / "audit.yaml", **QUICK)
        fall_short(folder / "run", "--holdout", folder / "test", "--recipe", recipe)
    return folder


@pytest.fixture
def scene(audited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run, whose originals and test images lie where they lay."""
    monkeypatch.setenv("REM_RELEASE_CACHE", str(audited / "cache"))
    shutil.copytree(audited / "run", tmp_path / "run")
    return tmp_path


def audit_again(scene: Path, audited: Path, *options: object) -> Result:
    test = options if "--holdout" in options else ("--holdout", audited / "test", *options)
    return run("audit", scene / "run", "--recipe", audited / "audit.yaml", "--resume", *test)


@pytest.fixture
def damaged(audited: Path) -> Callable[[str], None]:
    """Overwrites images with bytes that are none, of the same number and time; mends them at the end."""
    before: dict[Path, tuple[bytes, os.stat_result]] = {}

    def damage(folder: str, *, keep_times: bool = True) -> None:
        for path in sorted((audited / folder).rglob("*.png")):
            before[path] = path.read_bytes(), path.stat()
            path.write_bytes(b"x" * len(before[path][0]))
            if keep_times:
                os.utime(path, ns=(before[path][1].st_atime_ns, before[path][1].st_mtime_ns))

    yield damage
    for path, (data, status) in before.items():
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def read_certificate(location: Path) -> dict:
    document = json.loads((location / "release" / "audit.json").read_text())
    return {key: value for key, value in document.items() if key not in ("attempts", "cached", "sha256")}


def test_an_audit_whose_victims_are_all_known_decodes_nothing(scene: Path, audited: Path, damaged) -> None:
    damaged("clean")
    damaged("test")
    for options in (("--plan",), ()):
        again = audit_again(scene, audited, *options)
        assert again.code == (0 if options else 3), again.err
    assert read_certificate(scene / "run") == read_certificate(audited / "run")


def test_a_runner_and_its_keys_read_no_image(scene: Path, audited: Path, tmp_path: Path, damaged) -> None:
    damaged("clean")
    damaged("test")
    target = open_target(scene / "run")
    holdout = choose_holdout(target, str(audited / "test"), target.run, 0.2, "refuse")
    recipe = read_recipe(tmp_path, **QUICK)
    setup = AuditSetup(target=target, holdout=holdout, recipe=recipe, resolution=16, rho_u=target.rho_u)
    runner = VictimRunner(setup, Ledger(scene / "run" / "audit" / "victims.jsonl", None), Accelerator(cpu=True))
    network = parse_architecture("small_resnet")
    seed = runner.seeds.of("protected", 0)
    assert runner.known(Task(network, parse_threat("standard"), "protected", seed)) is not None
    assert runner.known(Task(network, parse_threat("mean(on=both)"), "protected", seed)) is None


def test_what_is_decoded_after_all_is_held_against_what_is_remembered(scene: Path, audited: Path, damaged) -> None:
    recipe = write_audit_recipe(scene / "other.yaml", **{**QUICK, "victim__learning_rate": 0.04})
    damaged("clean")
    found = run("audit", scene / "run", "--recipe", recipe, "--holdout", audited / "test", "--resume")
    assert found.code == 2
    assert "cannot be read any more" in found.err


def test_a_test_image_that_changed_is_refused(scene: Path, audited: Path) -> None:
    path = audited / "test" / "blue" / "00.png"
    before, status = path.read_bytes(), path.stat()
    recipe = write_audit_recipe(scene / "other.yaml", **{**QUICK, "victim__learning_rate": 0.04})
    try:
        draw(path, 7, (16, 16))
        path.write_bytes(path.read_bytes()[: status.st_size].ljust(status.st_size, b"\0"))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        found = run("audit", scene / "run", "--recipe", recipe, "--holdout", audited / "test", "--resume")
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert found.code == 2
    assert "blue/00.png" in found.err


@pytest.mark.parametrize("folder", ["clean", "test"])
def test_a_file_of_another_time_is_read_again(folder: str, scene: Path, audited: Path, damaged) -> None:
    damaged(folder, keep_times=False)
    found = audit_again(scene, audited)
    assert found.code == 2
    assert "cannot be read" in found.err


@pytest.mark.parametrize("name", [PAIRS, HOLDOUT])
@pytest.mark.parametrize("how", ["cut", "flipped", "of another audit"])
def test_a_memory_that_is_damaged_is_made_again(how: str, name: str, scene: Path, audited: Path) -> None:
    path = scene / "run" / name
    whole = path.read_bytes()
    if how == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "flipped":
        place = len(whole) // 3
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    else:
        with np.load(path) as file:
            np.savez(path, **{**file, "stamp": np.array("another")})
    assert audit_again(scene, audited).code == 3
    assert read_certificate(scene / "run") == read_certificate(audited / "run")
    assert path.read_bytes() == whole


def test_other_test_images_are_looked_at_and_then_remembered(scene: Path, audited: Path) -> None:
    draw_colours(scene / "more", count=12, seed=1)
    before = (scene / "run" / HOLDOUT).read_bytes()
    assert audit_again(scene, audited, "--holdout", scene / "more").code == 3
    assert json.loads((scene / "run" / "release" / "audit.json").read_text())["holdout"]["images"] == 24
    assert (scene / "run" / HOLDOUT).read_bytes() != before


def test_overlaps_that_were_dropped_are_not_remembered_as_refused(scene: Path, audited: Path) -> None:
    shutil.copytree(audited / "test", scene / "leaky")
    shutil.copy(audited / "clean" / "blue" / "00.png", scene / "leaky" / "blue" / "99.png")
    dropping = ("--holdout", scene / "leaky", "--set", "holdout.overlap=drop")
    for _ in range(2):
        assert audit_again(scene, audited, *dropping).code == 3
        holdout = json.loads((scene / "run" / "release" / "audit.json").read_text())["holdout"]
        assert (holdout["images"], holdout["dropped"]) == (20, 1)
    refused = audit_again(scene, audited, "--holdout", scene / "leaky")
    assert refused.code == 2
    assert "is within 0 levels of the original" in refused.err
