"""The run folder: one command at a time, and what a kill leaves of it while it is made or replaced."""

import shutil
from itertools import count
from pathlib import Path

import pytest

from rem_release.release import run_folder
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
    delete, out = run_folder._delete, tmp_path / "run"

    def delete_some(number: int) -> bool:
        """Begin to replace a copy of the run, and stop before the deletion of that number, if there are so many."""
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(finished_run, out)
        numbers = count(1)

        def delete_or_stop(path: Path) -> None:
            if next(numbers) == number:
                raise KeyboardInterrupt
            delete(path)

        monkeypatch.setattr(run_folder, "_delete", delete_or_stop)
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
