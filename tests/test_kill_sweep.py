"""Runs that are stopped at seeded random moments, again and again: they end with the bytes of a run left in peace."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command_line import (
    Result,
    draw,
    draw_classes,
    read_status,
    run,
    same_release,
    start,
    succeed,
    write_recipe,
)
from tests.forks import Forks
from tests.test_cli_processes import TOGETHER, free_port

_PATIENCE = 240.0
_CODES = {
    signal.SIGKILL: {-signal.SIGKILL},
    signal.SIGTERM: {143, -signal.SIGTERM},
    signal.SIGINT: {130, -signal.SIGINT},
}
Runner = Callable[[tuple[object, ...], Callable[[], bool], signal.Signals], Result]
"""(arguments, asked again and again whether it is time, signal) → what the command left; it may have ended before"""


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody disturbed, the command that made it, less `--out`, and what runs such a command."""

    command: tuple[object, ...]
    out: Path
    runner: Runner
    seconds: float
    """from when it begins to read to its last file; before that it imports, for seconds, and writes nothing"""


def make_undisturbed(folder: Path, runner: Runner, size: float) -> Undisturbed:
    """Large images to read and to write, small ones to train on; each stage takes its part of the time.

    Args:
        folder: existing.
        runner: what runs the command.
        size: 1 for about three seconds of work.
    """
    source = draw_classes(folder / "source", count=int(6 * size))
    for index in range(int(16 * size)):
        draw(source / "cat" / f"large-{index}.png", index, (1024, 768))
    steps = {"generator__steps": int(12 * size), "generator__batch_size": 4, "noise__steps": 8}
    recipe = write_recipe(folder / "slow.yaml", **steps, data__resolution=16)
    sizes = ("--max-side", 200, "--max-shard-size", "1MB")
    command = ("protect", source, "--recipe", recipe, *sizes, "--resume")
    for name in ("first", "run"):  # the first compiles and imports what the others find done
        clock = Clock(folder / name, float("inf"))
        result = runner((*command, "--out", folder / name), clock.is_time, signal.SIGKILL)
        assert result.code == 0, result.err
    assert same_release(folder / "first", folder / "run")
    assert clock.began
    return Undisturbed(command, folder / "run", runner, clock.last_file() - clock.began)


def modified(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


class Clock:
    """When a command began its work, and whether it is time to stop it: so many seconds later."""

    def __init__(self, out: Path, seconds: float) -> None:
        self._status, self._reading = out / "private/status.json", out / ".reading"
        self._seconds = seconds
        self._before = self._signs()
        self.began = 0.0
        self.state = ""
        """what its status was when it was time"""

    def _signs(self) -> tuple[int, int]:
        return modified(self._status), modified(self._reading)

    def is_time(self) -> bool:
        if not self.began and self._signs() != self._before:
            self.began = time.time()
        if not self.began or time.time() - self.began < self._seconds:
            return False
        self.state = json.loads(self._status.read_bytes())["state"] if self._status.exists() else "reading"
        return True

    def last_file(self) -> float:
        return modified(self._status) / 1e9  # a second or more before the process has left


def stage_of(out: Path) -> str:
    """Where a run was stopped, by what is there: what `--resume` has to go on with."""
    later = {"release": "the last files", "private/writing": "writing", "private/noise.json": "making noise"}
    later["private/working"] = "training"
    return next((stage for name, stage in later.items() if (out / name).exists()), "reading")


@dataclass
class Sweep:
    """Stops one run after another: each is resumed, and stopped again, until it ends.

    Args:
        undisturbed: what every run must end as.
        folder: where the runs lie.
        draw: decides the moments, uniform over the time that an undisturbed run works.
    """

    undisturbed: Undisturbed
    folder: Path
    draw: random.Random

    def __post_init__(self) -> None:
        self.finished = 0
        self.fell: Counter[str] = Counter()

    @property
    def out(self) -> Path:
        return self.folder / f"run-{self.finished}"

    def run(self, stops: list[signal.Signals]) -> None:
        """Every one of the signals stops a run, be it the first or a resumed one; then the last run goes to its end."""
        for how in stops:
            while not self._is_stopped(how):
                self._check_end()
        if self.out.exists():
            self._is_stopped(signal.SIGKILL, float("inf"))
            self._check_end()

    def _is_stopped(self, how: signal.Signals, seconds: float | None = None) -> bool:
        """Whether the signal found a process to stop; a command that has ended before must have ended well."""
        moment = self.draw.uniform(0, self.undisturbed.seconds) if seconds is None else seconds
        clock = Clock(self.out, moment)
        result = self.undisturbed.runner((*self.undisturbed.command, "--out", self.out), clock.is_time, how)
        if clock.state == "done":  # killed while it was leaving, which takes a second
            return False
        if result.code == 0:
            assert not clock.state, f"{how.name} was swallowed while it was {clock.state}: {result}"
            return False
        stage = stage_of(self.out)
        where = f"{how.name} after {moment:.2f} s, {stage}, after {sum(self.fell.values())} others: {result}"
        assert clock.state, f"it failed by itself: {where}"
        assert result.code in _CODES[how] or "accelerate" in result.err, where
        assert not (self.out / "release").exists() or same_release(self.out, self.undisturbed.out), where
        if how != signal.SIGKILL and (self.out / "private/status.json").exists():
            assert read_status(self.out)["state"] != "running", where
        self.fell[f"{how.name} {stage}"] += 1
        print(f"{sum(self.fell.values())}: {how.name} after {moment:.2f} s, {stage}", flush=True)
        return True

    def _check_end(self) -> None:
        assert same_release(self.out, self.undisturbed.out)
        assert read_status(self.out) == {"state": "done", "exit_code": 0, "message": ""}
        left = [path.name for path in (self.out / "private").iterdir()]
        assert sorted(left) == sorted(path.name for path in (self.undisturbed.out / "private").iterdir())
        succeed("verify", self.out)
        shutil.rmtree(self.out)
        self.finished += 1


def mix(kills: int, others: int, draw: random.Random) -> list[signal.Signals]:
    """So many kills, and so many SIGTERM and SIGINT among them."""
    stops = [signal.SIGKILL] * kills + draw.choices([signal.SIGTERM, signal.SIGINT], k=others)
    draw.shuffle(stops)
    return stops


# --- what runs the command


def in_forks(forks: Forks) -> Runner:
    """Processes that need not import everything first."""

    def run(arguments: tuple[object, ...], is_time: Callable[[], bool], how: signal.Signals) -> Result:
        return forks.run(*arguments, stop=is_time, how=how)

    return run


def in_one_process(env: dict[str, str]) -> Runner:
    """The command as a user starts it."""

    def run(arguments: tuple[object, ...], is_time: Callable[[], bool], how: signal.Signals) -> Result:
        return stop_when(start(*arguments, env=env), is_time, how)

    return run


def in_two_processes(env: dict[str, str]) -> Runner:
    """`accelerate launch` of two; SIGKILL ends the launcher and both at once, as a loss of power does."""

    def run(arguments: tuple[object, ...], is_time: Callable[[], bool], how: signal.Signals) -> Result:
        hosts = ("--num_processes", "2", "--num_machines", "1", "--main_process_port", str(free_port()))
        command = (*TOGETHER, *hosts, "-m", "rem_release", *arguments)
        launcher = subprocess.Popen(
            [sys.executable, "-m", "accelerate.commands.launch", *map(str, command)],
            env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", **env},
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return stop_when(launcher, is_time, how)

    return run


def stop_when(process: "subprocess.Popen[str]", is_time: Callable[[], bool], how: signal.Signals) -> Result:
    """Let it run until it is time, then send it the signal, unless it has ended."""
    deadline = time.monotonic() + _PATIENCE
    try:
        while (is_running := process.poll() is None) and not is_time():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        if is_running and how == signal.SIGKILL:
            kill_with_children(process.pid)
        elif is_running:
            process.send_signal(how)
        out, err = process.communicate(timeout=_PATIENCE)
    finally:
        if process.poll() is None:
            kill_with_children(process.pid)
    return Result(process.returncode, out, err)


def kill_with_children(process: int) -> None:
    """All at once: a process that is stopped starts no other one while they are looked for."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGSTOP)
    for each in (*children_of(process), process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def children_of(process: int) -> list[int]:
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return []
    return [each for child in children for each in (int(child), *children_of(int(child)))]


# --- the sweeps


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory, process_env: dict[str, str]) -> Iterator[Forks]:
    with Forks(process_env, tmp_path_factory.mktemp("forks") / "forks") as forks:
        yield forks


def check_sweep(
    folder: Path, runner: Runner, size: float, stops: tuple[int, int], seed: int, record: Callable[[str, object], None]
) -> None:
    """Sweep, and report in which stage each signal fell."""
    draw_moments = random.Random(seed)
    sweep = Sweep(make_undisturbed(folder, runner, size), folder, draw_moments)
    kills, others = stops
    sweep.run(mix(kills, others, draw_moments))
    assert sum(sweep.fell.values()) == kills + others
    record("seconds", round(sweep.undisturbed.seconds, 2))
    for where, count in sorted(sweep.fell.items()):
        record(where, count)
        print(f"{where}: {count}")
    print(f"{sweep.finished} runs ended; an undisturbed one works for {sweep.undisturbed.seconds:.1f} s")


def test_five_kills(tmp_path: Path, forks: Forks, record_property: Callable[[str, object], None]) -> None:
    check_sweep(tmp_path, in_forks(forks), 1, (5, 1), 0, record_property)


@pytest.mark.slow
def test_fifty_kills(tmp_path: Path, forks: Forks, record_property: Callable[[str, object], None]) -> None:
    check_sweep(tmp_path, in_forks(forks), 3, (50, 10), 1, record_property)


@pytest.mark.slow
def test_ten_kills_of_the_command_as_it_is_started(
    tmp_path: Path, process_env: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    check_sweep(tmp_path, in_one_process(process_env), 1.5, (10, 4), 3, record_property)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found through /proc")
@pytest.mark.slow
def test_fifty_kills_of_two_processes(
    tmp_path: Path, process_env: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    check_sweep(tmp_path, in_two_processes(process_env), 1.5, (50, 10), 2, record_property)


# --- moments too short to be met by chance, and disks that lose what a killed run had written


@pytest.mark.parametrize("left", ["private", "private/.options.json.partial", "private/checkpoints"])
@pytest.mark.parametrize("how", ["--resume", "--overwrite"])
def test_killed_while_the_folder_is_made_or_replaced(
    tmp_path: Path, finished_run: Path, photographs: Path, recipe: Path, left: str, how: str
) -> None:
    """Neither options nor status are there yet, or not any more: `left` is all there is."""
    out = tmp_path / "run"
    if left.endswith(".partial"):
        (out / left).parent.mkdir(parents=True)
        (out / left).write_text('{"source":')
    else:
        (out / left).mkdir(parents=True)
    succeed("protect", photographs, "--recipe", recipe, "--out", out, how)
    assert same_release(out, finished_run)


def stop_in(out: Path, command: tuple[object, ...], stage: str, forks: Forks) -> None:
    """A run that is killed in that stage, and is in it still."""
    files = {"training": "checkpoints/step-*.json", "making noise": "noise.json"}
    result = forks.run(*command, "--out", out, stop=lambda: any((out / "private").glob(files[stage])))
    assert result.code == -signal.SIGKILL, result.err


@pytest.mark.parametrize(
    ("stage", "name"),
    [("training", "working/images.npy"), ("making noise", "working/images.npy"), ("making noise", "noise.npy")],
)
def test_a_damaged_store_never_becomes_other_bytes(tmp_path: Path, forks: Forks, stage: str, name: str) -> None:
    """It is made again, or refused with its name; a flipped bit in it is not taken for what was written."""
    source = draw_classes(tmp_path / "source", count=30)
    slow = write_recipe(tmp_path / "slow.yaml", generator__steps=20, generator__batch_size=2, noise__steps=8)
    command = ("protect", source, "--recipe", slow)
    succeed(*command, "--out", tmp_path / "whole")
    out = tmp_path / "run"
    stop_in(out, command, stage, forks)
    path = out / "private" / name
    data = bytearray(path.read_bytes())
    for place in range(128, 128 + 60 * 192, 192):  # a byte of every image's: the header takes 128
        data[place] ^= 0x80
    path.write_bytes(data)
    result = run(*command, "--out", out, "--resume")
    if result.code == 0:
        assert same_release(out, tmp_path / "whole")
    else:
        assert result.code == 2
        assert str(path) in result.err
