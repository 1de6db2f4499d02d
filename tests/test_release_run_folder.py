"""The run folder: one command at a time, and what a kill leaves of it while it is made or replaced."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from rem_release.data.noise_store import NoiseStore
from rem_release.release import deletion
from rem_release.release.run_folder import RunFolder
from tests.command_line import draw_classes, run, same_release, snapshot, succeed

_HOLD = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Another process works in the folder, and then ends."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.communicate()


def test_a_second_command_on_the_same_run_is_refused(run_copy: Path, photographs: Path, recipe: Path) -> None:
    protect = ("protect", photographs, "--recipe", recipe, "--out", run_copy)
    commands: list[tuple[object, ...]] = [
        (*protect, "--overwrite"),
        (*protect, "--resume"),
        ("audit", run_copy, "--clean", photographs, "--set", "statistics.half_width=0.99"),
        ("push", run_copy, "name/space"),
        ("push", run_copy, "name/space", "--dry-run"),
        ("push", run_copy, "name/space", "--publish-clean-split", f"test={photographs}"),
        ("card", run_copy),
        ("card", run_copy, "--card-field", "license=mit"),
    ]
    with held(run_copy):
        before = snapshot(run_copy)
        for command in commands:
            result = run(*command)
            assert result.code == 2, command
            assert result.err.endswith(f"error: {run_copy} is in use by another command; wait until that has ended\n")
            assert snapshot(run_copy) == before
        succeed("verify", run_copy)
        run("audit", run_copy, "--clean", photographs, "--set", "statistics.half_width=0.99", "--plan")
    succeed("card", run_copy, "--card-field", "license=mit")
    succeed(*protect, "--resume")


def test_a_release_without_its_record_is_worked_on_by_one_command_only(run_copy: Path, photographs: Path) -> None:
    """It is no run any more, and gets no status; what works on it writes to it all the same."""
    shutil.rmtree(run_copy / "private")
    with held(run_copy):
        before = snapshot(run_copy)
        for command in (
            ("card", run_copy),
            ("push", run_copy, "name/space"),
            ("audit", run_copy, "--clean", photographs, "--set", "statistics.half_width=0.99"),
        ):
            result = run(*command)
            assert (result.code, "is in use by another command" in result.err) == (2, True), command
        assert snapshot(run_copy) == before
    succeed("card", run_copy)
    assert not (run_copy / "private").exists()


def test_the_audit_of_a_copy_and_the_demo_work_alone(tmp_path: Path, photographs: Path) -> None:
    copy, test = draw_classes(tmp_path / "copy"), draw_classes(tmp_path / "test", seed=1000)
    audit = ("audit", copy, "--clean", photographs, "--holdout", test, "--set", "statistics.half_width=0.99")
    (tmp_path / "audit").mkdir()
    (tmp_path / "demo-photographs").mkdir()
    for folder, command in (
        (tmp_path / "audit", (*audit, "--out", tmp_path / "audit")),
        (tmp_path / "demo-photographs", ("demo", "--out", tmp_path / "demo", "--overwrite")),
    ):
        with held(folder):
            result = run(*command)
            assert result.code == 2
            assert f"{folder} is in use by another command" in result.err
            assert not list(folder.iterdir())


def test_a_new_folder_that_stays_empty_is_not_left_behind(tmp_path: Path) -> None:
    source = draw_classes(tmp_path / "source")
    (source / "cat" / "broken.png").write_bytes(b"no image")
    result = run("protect", source, "--out", tmp_path / "run")
    assert result.code == 2
    assert "broken.png" in result.err
    assert not (tmp_path / "run").exists()


def test_overwrite_may_be_killed_at_any_deletion(
    tmp_path: Path, photographs: Path, recipe: Path, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is left of the old run then is a run still, until nothing of it is left."""
    remove, out = deletion._remove, tmp_path / "run"

    def delete_some(number: int) -> bool:
        """Begin to replace a copy of the run, and stop before the deletion of that number, if there are so many."""
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(finished_run, out)
        numbers = count(1)

        def remove_or_stop(*what: Any, **how: Any) -> None:
            if next(numbers) == number:
                raise KeyboardInterrupt
            remove(*what, **how)

        monkeypatch.setattr(deletion, "_remove", remove_or_stop)
        try:
            RunFolder(out)._delete_run()
        except KeyboardInterrupt:
            return True
        return False

    number = 1
    while delete_some(number):
        RunFolder(out).claim({}, resume=False, overwrite=True)
        number += 1
    assert number > len(list((finished_run / "private").iterdir()))
    monkeypatch.undo()
    succeed("protect", photographs, "--recipe", recipe, "--out", out)  # nothing is left that it would replace
    assert same_release(out, finished_run)


def test_what_a_kill_in_the_last_moment_left_goes_with_the_next_resume(
    run_copy: Path, photographs: Path, recipe: Path
) -> None:
    """The run is complete then, and clean images at working size stay in it for nothing."""
    (run_copy / "private/working").mkdir()
    (run_copy / "private/working/images.npy").write_bytes(b"clean")
    succeed("protect", photographs, "--recipe", recipe, "--out", run_copy, "--resume")
    assert not (run_copy / "private/working").exists()


def test_options_that_are_no_object_are_damaged(run_copy: Path, photographs: Path, recipe: Path) -> None:
    options = run_copy / "private/options.json"
    options.write_text("[]")
    result = run("protect", photographs, "--recipe", recipe, "--out", run_copy, "--resume")
    assert (result.code, result.err) == (2, f"error: {options} is damaged: it is no JSON object\n")


def test_noise_that_was_cut_off_or_lost_is_made_again(tmp_path: Path) -> None:
    said: list[str] = []
    levels = torch.ones(4, 3, 8, 8, dtype=torch.int8)
    for damage in (lambda path: path.write_bytes(path.read_bytes()[:200]), lambda path: path.unlink()):
        path = tmp_path / str(len(list(tmp_path.iterdir()))) / "noise.npy"
        path.parent.mkdir()
        NoiseStore(path, 4, 8, "same", said.append).write(0, levels)
        assert NoiseStore(path, 4, 8, "same", said.append).done == 4
        assert not said
        damage(path)
        store = NoiseStore(path, 4, 8, "same", said.append)
        assert store.done == 0
        assert said.pop() == f"{path} is damaged (its bytes do not fit their checksum); its noise is made again"
        store.write(0, levels)
        assert torch.equal(store.read(3), levels[3])
