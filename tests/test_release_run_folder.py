"""The run folder: one command at a time, and what a kill leaves of it while it is made or replaced."""

import shutil
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from rem_release.data.noise_store import NoiseStore
from rem_release.release import deletion
from rem_release.release.run_folder import RunFolder
from tests.command_line import draw_classes, run, same_release, snapshot, succeed


@pytest.mark.parametrize("command", ["protect", "audit", "push"])
def test_a_second_command_on_the_same_run_is_refused(
    command: str, run_copy: Path, photographs: Path, recipe: Path
) -> None:
    commands = {
        "protect": ("protect", photographs, "--recipe", recipe, "--out", run_copy, "--overwrite"),
        "audit": ("audit", run_copy, "--clean", photographs, "--set", "statistics.half_width=0.99"),
        "push": ("push", run_copy, "name/space"),
    }
    with RunFolder(run_copy).adopted():
        before = snapshot(run_copy)
        result = run(*commands[command])
        assert result.code == 2
        assert result.err.endswith(f"error: {run_copy} is in use by another command; wait until that has ended\n")
        assert snapshot(run_copy) == before
    succeed("protect", photographs, "--recipe", recipe, "--out", run_copy, "--resume")


def test_a_new_folder_that_stays_empty_is_not_left_behind(tmp_path: Path) -> None:
    source = draw_classes(tmp_path / "source")
    (source / "cat" / "broken.png").write_bytes(b"no picture")
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
    """The run is complete then, and clean pictures at working size stay in it for nothing."""
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
