"""The copies in `private/` that a push works on: known by their marker, and cleared when a kill left them."""

import errno
import os
import shutil
import signal
from pathlib import Path

import pytest

from rem_release.release import copy_marker, deletion
from rem_release.release.deletion import PRIVATE, delete_own
from tests.command_line import run, snapshot, succeed
from tests.pushes import MARKED, MARKER, leave_copy

HEX = "0123456789abcdef" * 2
DRY_RUN = ("owner/pets", "--dry-run", "--allow-uncertified")
STRANGERS = ["push-holidays", "push-images", "dry-run-images", "push-abcd1234", f"push-{HEX}", f"dry-run-{HEX}"]
"""Folders of somebody else: by these names alone nothing is deleted, whatever they are."""
REST = [f"private/{name}/images/cat.png" for name in STRANGERS]
REST += [f"private/push-{HEX}/release/README.md", f"private/push-{HEX}/{MARKER}", f"private/dry-run-{HEX}/.{MARKER}x"]


def kill_in_the_check(*arguments: object) -> None:
    """Run a push in a new process, which is killed while its copy is checked."""
    process = os.fork()
    if not process:
        import rem_release.commands.push as command

        command.check_release = lambda *rest: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
        run("push", *arguments)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("name", REST)
def test_folders_of_others_outlive_pushes_and_are_named(
    tmp_path: Path, run_copy: Path, photographs: Path, recipe: Path, name: str
) -> None:
    (run_copy / name).parent.mkdir(parents=True)
    (run_copy / name).write_bytes(b"mine")
    (run_copy / name).with_name("link").symlink_to(photographs)
    before = snapshot(tmp_path)
    run("push", run_copy, *DRY_RUN)
    run("push", run_copy, "owner/pets")  # which the gate refuses
    assert {path: data for path, data in snapshot(tmp_path).items() if not path.endswith("status.json")} == {
        path: data for path, data in before.items() if not path.endswith("status.json")
    }
    before = snapshot(tmp_path)
    result = run("protect", photographs, "--out", run_copy, "--recipe", recipe, "--overwrite")
    assert result.code == 2
    stranger = "/".join(name.split("/")[:2])
    assert f"holds {stranger}/, which rem-release did not write; move it away" in result.err
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("push", [("owner/pets",), DRY_RUN])
def test_nothing_is_cleared_in_a_folder_that_is_no_run(tmp_path: Path, run_copy: Path, push: tuple[str, ...]) -> None:
    """A release beside a folder that is called `private`: not even what looks exactly like a copy."""
    (run_copy / "private/options.json").unlink()
    left = leave_copy(run_copy)
    before = snapshot(left)
    run("push", run_copy, *push)
    assert snapshot(left) == before
    assert {path.name for path in (run_copy / "private").glob("*-*")} == {left.name}


def test_a_copy_with_something_of_others_in_it_is_left_alone(
    tmp_path: Path, run_copy: Path, photographs: Path, recipe: Path
) -> None:
    """Its marker may be true: what lies beside it was not written by us."""
    for number, other in enumerate(("thesis.txt", "images/cat.png")):
        left = leave_copy(run_copy, f"push-{number:032x}")
        (left / other).parent.mkdir(exist_ok=True)
        (left / other).write_bytes(b"mine")
    left = leave_copy(run_copy, f"push-{2:032x}")
    shutil.rmtree(left / "release")
    (left / "release").symlink_to(photographs)
    before = snapshot(run_copy / "private")
    run("push", run_copy, *DRY_RUN)
    assert snapshot(run_copy / "private") == before
    result = run("protect", photographs, "--out", run_copy, "--recipe", recipe, "--overwrite")
    assert f"holds private/push-{0:032x}/, private/push-{1:032x}/, private/push-{2:032x}/, which" in result.err
    assert snapshot(run_copy / "private") == before


@pytest.mark.parametrize("marker", ["", "mine\n", MARKED + "mine\n", MARKED[:-9]])
def test_another_marker_is_none(tmp_path: Path, run_copy: Path, marker: str) -> None:
    left = leave_copy(run_copy)
    (left / MARKER).write_text(marker)
    run("push", run_copy, *DRY_RUN)
    assert (left / "release/README.md").is_file()
    (left / MARKER).unlink()
    (tmp_path / "marker").write_text(MARKED)
    (left / MARKER).symlink_to(tmp_path / "marker")
    run("push", run_copy, *DRY_RUN)
    assert (left / "release/README.md").is_file()


@pytest.mark.parametrize("killed", [DRY_RUN, ("owner/pets", "--allow-uncertified", "--yes")])
@pytest.mark.parametrize("after", ["dry run", "push", "protect"])
def test_what_a_kill_leaves_is_cleared(
    run_copy: Path, photographs: Path, recipe: Path, killed: tuple[str, ...], after: str
) -> None:
    kill_in_the_check(run_copy, *killed)
    (left,) = (run_copy / "private").glob("*-*")
    assert left.name.startswith("dry-run-" if killed == DRY_RUN else "push-")
    assert sorted(path.name for path in left.iterdir()) == [MARKER, "release"]
    assert (left / MARKER).read_text() == MARKED
    (left / "release/link").symlink_to(photographs)
    (left / "release/data/link.parquet").symlink_to("nowhere")
    (left / "release/two\nlines").mkdir()
    (left / "release/two\nlines/link").symlink_to(photographs)
    os.mkfifo(left / "release/data/pipe.parquet")
    if after == "protect":
        succeed("protect", photographs, "--out", run_copy, "--recipe", recipe, "--overwrite")
    else:
        run("push", run_copy, *(DRY_RUN if after == "dry run" else ("owner/pets",)))
    assert not list((run_copy / "private").glob("*-*"))
    assert (photographs / "cat/0.png").is_file()


@pytest.mark.parametrize("half", [None, "", MARKED[:10], MARKED])
def test_a_kill_before_the_marker_or_after_it_went_leaves_nothing_for_good(run_copy: Path, half: str | None) -> None:
    """An empty folder of that name, or one with the beginning of a marker."""
    left = run_copy / f"private/push-{HEX}"
    left.mkdir()
    if half is not None:
        (left / f".{MARKER}.partial").write_text(half)
    run("push", run_copy, *DRY_RUN)
    assert not left.exists()


def test_the_marker_goes_last(run_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed as it deletes, by a push or by `--overwrite`, the rest is still known."""
    removed: list[str] = []
    monkeypatch.setattr(deletion, "_remove", lambda name, *rest, **more: removed.append(name))
    leave_copy(run_copy)
    delete_own(run_copy, "private", PRIVATE)
    assert removed.index(MARKER) == removed.index("release") + 1


def test_a_marker_that_cannot_be_written_leaves_no_folder(run_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(copy_marker, "write_atomically", fail)
    assert run("push", run_copy, *DRY_RUN).code == 1
    assert not list((run_copy / "private").glob("*-*"))


def test_a_release_that_is_read_only_leaves_no_copy(run_copy: Path) -> None:
    for folder in ("release/data", "release/figures", "release"):
        (run_copy / folder).chmod(0o555)
    kept = {path: path.stat().st_mode for path in (run_copy / "release").rglob("*")}
    for push in (DRY_RUN, ("owner/pets",)):
        run("push", run_copy, *push)
        assert not list((run_copy / "private").glob("*-*"))
    assert {path: path.stat().st_mode for path in (run_copy / "release").rglob("*")} == kept


def test_copies_are_for_the_owner_alone(run_copy: Path) -> None:
    kill_in_the_check(run_copy, *DRY_RUN)
    (left,) = (run_copy / "private").glob("dry-run-*")
    assert left.stat().st_mode & 0o777 == 0o700
