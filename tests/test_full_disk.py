"""Disks that are full or read-only: tmpfs file systems of some megabytes, in a mount namespace of their own."""

import functools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from tests.audit_commands import LEARNING, write_inputs
from tests.audits import write_audit_recipe
from tests.command_line import Result, draw, draw_classes, run, snapshot, succeed, write_recipe

_PATIENCE = 240.0
_FULL = "No space left on device"
_WORKER = """
import json, subprocess, sys, traceback
from tests.command_line import run

for line in sys.stdin:
    order = json.loads(line)
    if isinstance(order, str):
        done = subprocess.run(order, shell=True, capture_output=True, text=True)
        answer = [done.returncode, done.stdout, done.stderr]
    else:
        try:
            result = run(*order)
            answer = [result.code, result.out, result.err]
        except BaseException:
            answer = [1, "", traceback.format_exc()]
    print(json.dumps(answer), file=sys.__stdout__, flush=True)
"""


@functools.cache
def why_not() -> str:
    """Why no file system can be mounted here; empty where one can."""
    if not shutil.which("unshare"):
        return "there is no unshare command"
    probe = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True, check=False
    )
    return probe.stderr.strip() if probe.returncode else ""


class Disk:
    """A file system of its own size, and a process that runs commands where it is mounted; nobody else sees it.

    Args:
        folder: an empty folder, where it is mounted.
        megabytes: its size.
        env: of the process.
    """

    def __init__(self, folder: Path, megabytes: int, env: dict[str, str]) -> None:
        self.path = folder
        mount = f'mount -t tmpfs -o size={megabytes}m tmpfs "$1" && exec "$2" -c "$3"'
        self._process = subprocess.Popen(
            ["unshare", "-rm", "sh", "-c", mount, "sh", str(folder), sys.executable, _WORKER],
            env={**os.environ, **env, "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        assert self.shell("true").code == 0
        return self

    def __exit__(self, *rest: object) -> None:
        self._process.communicate(timeout=60)

    @property
    def seen(self) -> Path:
        """The same folder, as this process can read and write it."""
        return Path(f"/proc/{self._process.pid}/root{self.path}")

    def run(self, *arguments: object, stop: Callable[[], bool] | None = None, leave: int = 0) -> Result:
        """Run a command there; as soon as `stop` says so, the disk is filled until so many bytes are left."""
        self._order([str(argument) for argument in arguments])
        deadline = time.monotonic() + _PATIENCE
        while stop and not stop():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        if stop:
            self.fill(leave)
        return self._answer()

    def shell(self, command: str) -> Result:
        self._order(command)
        return self._answer()

    def _order(self, order: str | list[str]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(order)}\n")
        self._process.stdin.flush()

    def _answer(self) -> Result:
        assert self._process.stdout is not None
        return Result(*json.loads(self._process.stdout.readline()))

    def fill(self, leave: int = 0) -> None:
        """Write a file that leaves so many bytes, `leave`, or none."""
        free = shutil.disk_usage(self.seen).free
        with (self.seen / "filler").open("ab", buffering=0) as file:
            try:
                while (size := min(free - leave, 65536)) > 0:
                    file.write(bytes(size))
                    free = shutil.disk_usage(self.seen).free
            except OSError:
                assert leave == 0

    def free(self) -> None:
        """Take the file away again."""
        (self.seen / "filler").unlink()

    def remount(self, how: str) -> None:
        """`ro` or `rw`."""
        result = self.shell(f'mount -o remount,{how} "{self.path}"')
        assert result.code == 0, result.err


pytestmark = pytest.mark.skipif(bool(why_not()), reason=f"no file system can be mounted here: {why_not()}")


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory, process_env: dict[str, str]) -> Iterator[Disk]:
    """Eight megabytes."""
    folder = tmp_path_factory.mktemp("worker")
    (folder / "disk").mkdir()
    with Disk(folder / "disk", 8, {**process_env, "REM_RELEASE_CACHE": str(folder / "cache")}) as disk:
        yield disk


@pytest.fixture
def disk(worker: Disk) -> Disk:
    """The same disk, empty again."""
    worker.remount("rw")
    assert worker.shell(f'find "{worker.path}" -mindepth 1 -delete').code == 0
    return worker


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[object, ...], Path]:
    """A command that takes its time in every stage and four megabytes in all, less `--out`; and what it ends as."""
    folder = tmp_path_factory.mktemp("undisturbed")
    source = draw_classes(folder / "source", count=10)
    for index in range(30):
        draw(source / "cat" / f"large-{index}.png", index, (200, 150))
    changes = {"generator__steps": 20, "generator__batch_size": 2, "noise__steps": 6, "data__resolution": 16}
    recipe = write_recipe(folder / "slow.yaml", **changes)
    command = ("protect", source, "--recipe", recipe, "--max-shard-size", "500kB")
    succeed(*command, "--out", folder / "run")
    return command, folder / "run"


def one_line(result: Result, code: int) -> str:
    """The error of a command that ended with that code, which is one line; a traceback is none."""
    assert (result.code, result.out) == (code, ""), result.err
    assert "Traceback" not in result.err
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert result.err.splitlines()[-1] == errors[0]
    return errors[0]


def is_training(private: Path) -> bool:
    return any((private / "checkpoints").glob("step-*.json"))


def is_making_noise(private: Path) -> bool:
    return (private / "noise.json").exists()


def is_writing(private: Path) -> bool:
    return any((private / "writing").glob("shard-*.npz"))


@pytest.mark.parametrize(
    ("is_time", "leave"),
    [(is_training, 0), (is_training, 40_000), (is_making_noise, 0), (is_writing, 0), (is_writing, 40_000)],
)
def test_a_disk_that_fills_up_is_named_and_the_run_goes_on_when_there_is_room(
    disk: Disk, undisturbed: tuple[tuple[object, ...], Path], is_time: Callable[[Path], bool], leave: int
) -> None:
    """To the last byte, or with room for the status but not for the next large file."""
    command, whole = undisturbed
    out, seen = disk.path / "run", disk.seen / "run"
    line = one_line(disk.run(*command, "--out", out, stop=lambda: is_time(seen / "private"), leave=leave), 1)
    assert _FULL in line
    assert str(out) in line
    assert "--resume" in line
    assert is_time(seen / "private")
    assert not (seen / "release").exists()
    assert json.loads((seen / "private/status.json").read_bytes())["state"] != "done"

    again = one_line(disk.run(*command, "--out", out, "--resume"), 1)
    assert str(out) in again
    assert not (seen / "release").exists()

    disk.free()
    resumed = disk.run(*command, "--out", out, "--resume")
    assert resumed.code == 0, resumed.err
    assert snapshot(seen / "release") == snapshot(whole / "release")
    assert json.loads((seen / "private/status.json").read_bytes()) == {"state": "done", "exit_code": 0, "message": ""}
    assert disk.run("verify", out).code == 0


def test_a_disk_that_is_too_small_is_refused_before_any_work(
    disk: Disk, undisturbed: tuple[tuple[object, ...], Path]
) -> None:
    command, whole = undisturbed
    disk.fill(leave=1_000_000)
    line = one_line(disk.run(*command, "--out", disk.path / "run"), 1)
    assert line.startswith(f"error: --out {disk.path / 'run'} needs about ")
    assert "and 1.0 MB are free there; make room, or choose another --out" in line
    assert [path.name for path in disk.seen.iterdir()] == ["filler"]

    disk.free()
    assert disk.run(*command, "--out", disk.path / "run").code == 0
    assert snapshot(disk.seen / "run/release") == snapshot(whole / "release")


@pytest.mark.parametrize("name", ["run", "a/b/run", "."])
def test_a_read_only_folder_is_refused(disk: Disk, undisturbed: tuple[tuple[object, ...], Path], name: str) -> None:
    disk.remount("ro")
    line = one_line(disk.run(*undisturbed[0], "--out", disk.path / name), 2)
    assert f"--out {disk.path / name}" in line
    assert "Read-only file system" in line


@pytest.mark.parametrize("how", ["--resume", "--overwrite"])
def test_a_run_on_a_read_only_disk_is_left_as_it_is(
    disk: Disk, undisturbed: tuple[tuple[object, ...], Path], how: str
) -> None:
    """A run that was stopped: half of it is there."""
    command, whole = undisturbed
    (disk.seen / "run").mkdir()
    shutil.copytree(whole / "private", disk.seen / "run/private")
    (disk.seen / "run/private/rows.parquet").unlink()
    disk.remount("ro")
    before = snapshot(disk.seen)
    line = one_line(disk.run(*command, "--out", disk.path / "run", how), 2)
    assert str(disk.path / "run") in line
    assert "Read-only file system" in line
    assert snapshot(disk.seen) == before


def test_a_read_only_source_is_protected_and_verified(
    disk: Disk, undisturbed: tuple[tuple[object, ...], Path], tmp_path: Path
) -> None:
    """Nothing is ever written beside the source."""
    (_, source, *options), whole = undisturbed
    shutil.copytree(str(source), disk.seen / "source")
    disk.remount("ro")
    result = disk.run("protect", disk.path / "source", *options, "--out", tmp_path / "run")
    assert result.code == 0, result.err
    assert snapshot(tmp_path / "run/release") == snapshot(whole / "release")
    verified = disk.run("verify", tmp_path / "run", "--clean", disk.path / "source")
    assert verified.code == 0, verified.err


# --- audits


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[object, ...], dict[str, Any]]:
    """A run before its audit, the options of the audit, and the release that it ends with."""
    folder = write_inputs(tmp_path_factory.mktemp("audited"))
    recipe = write_audit_recipe(folder / "audit.yaml", **LEARNING)
    options = ("--holdout", folder / "test", "--recipe", recipe)
    after = Path(shutil.copytree(folder / "run", folder / "after/run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REM_RELEASE_CACHE", str(folder / "cache"))
        assert run("audit", after, *options).code in (0, 3)
    return folder / "run", options, snapshot(after / "release")


def test_an_audit_whose_disk_fills_up_is_resumed(
    disk: Disk, audited: tuple[Path, tuple[object, ...], dict[str, Any]]
) -> None:
    before, options, after = audited
    shutil.copytree(before, disk.seen / "run")
    victims = disk.seen / "run/audit/victims.jsonl"

    def has_begun() -> bool:
        return victims.exists() and victims.stat().st_size > 0

    line = one_line(disk.run("audit", disk.path / "run", *options, stop=has_begun), 1)
    assert _FULL in line
    assert str(disk.path / "run") in line
    assert "--resume" in line
    assert snapshot(disk.seen / "run/release") == snapshot(before / "release")
    assert disk.run("verify", disk.path / "run").code == 0
    whole_lines = victims.read_bytes().count(b"\n")

    disk.free()
    resumed = disk.run("audit", disk.path / "run", *options, "--resume")
    assert resumed.code in (0, 3), resumed.err
    assert f"{whole_lines} of 7 victims are known already" in resumed.err
    assert snapshot(disk.seen / "run/release") == after


def test_an_audit_on_a_read_only_disk_is_refused(
    disk: Disk, audited: tuple[Path, tuple[object, ...], dict[str, Any]]
) -> None:
    before, options, _ = audited
    shutil.copytree(before, disk.seen / "run")
    disk.remount("ro")
    line = one_line(disk.run("audit", disk.path / "run", *options), 2)
    assert str(disk.path / "run") in line
