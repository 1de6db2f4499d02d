"""Victims that are trained side by side: what goes wrong with one of them, and how many there are."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from rem_release.audit import parallel
from rem_release.audit.parallel import count_parallel
from rem_release.errors import InputError, NonFiniteLossError, RemReleaseError

STEPS = 5


@dataclass
class AuditSetup:
    """In the place of a runner: victims that do as their task says, and leave a file each when they begin."""

    folder: Path
    accelerator: Accelerator = field(default_factory=Accelerator)
    kept: list[str] = field(default_factory=list)

    @property
    def ledger(self) -> SimpleNamespace:
        return SimpleNamespace(add=self.kept.append)

    @property
    def setup(self) -> SimpleNamespace:
        return SimpleNamespace(count_steps=lambda task: STEPS)

    def known(self, task: str) -> str | None:
        return task if task == "known" else None

    def make(self, task: str) -> None:
        assert task == "known"

    def read(self, task: str) -> None:
        pass

    def train(self, task: str, after_step) -> str:
        (self.folder / f"{task} {os.getpid()}").touch()
        assert torch.get_num_threads() == 1
        for step in range(STEPS):
            after_step(step + 1, STEPS)
        match task:
            case "weak":
                raise NonFiniteLossError("the loss is NaN")
            case "strange":
                raise StrangeError(1, 2)
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "endless":
                while True:
                    time.sleep(0.01)
                    after_step(STEPS, STEPS)
        return f"record of {task}"

    def process_of(self, task: str) -> int:
        (path,) = self.folder.glob(f"{task} *")
        return int(path.name.split()[1])


class StrangeError(Exception):
    """One that cannot be sent: it takes two arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one + two)


class Job(str):
    """In the place of a victim's task."""

    architecture = SimpleNamespace(name="small_resnet")


def train_victims(setup: AuditSetup, tasks: Sequence[str], report: Callable[[int, int], None]) -> None:
    parallel.train_victims(setup, [Job(task) for task in tasks], report)


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AuditSetup:
    monkeypatch.setattr(parallel, "count_parallel", lambda accelerator: 2)
    return AuditSetup(tmp_path)


def ended(process: int) -> bool:
    return not Path(f"/proc/{process}").exists()


def test_each_victim_is_kept_and_every_step_is_told(setup: AuditSetup) -> None:
    told: list[tuple[int, int]] = []
    train_victims(setup, ["a", "known", "b", "c"], lambda done, total: told.append((done, total)))
    assert sorted(setup.kept) == ["record of a", "record of b", "record of c"]
    assert told[-1] == (4 * STEPS, 4 * STEPS)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len({setup.process_of(task) for task in "abc"} | {os.getpid()}) == 4


@pytest.mark.parametrize(
    ("task", "error", "words"),
    [
        ("weak", NonFiniteLossError, "the loss is NaN"),
        ("strange", RuntimeError, "StrangeError: 3"),
        ("killed", RemReleaseError, "ended with -9, most likely because memory ran out; go on with --resume and fewer"),
    ],
)
def test_what_stops_one_stops_all(task: str, error: type[Exception], words: str, setup: AuditSetup) -> None:
    with pytest.raises(error, match=words) as raised:
        train_victims(setup, ["a", "endless", task, "b"], lambda done, total: None)
    assert type(raised.value) is error
    assert setup.kept == ["record of a"]
    assert ended(setup.process_of("endless"))
    assert not list(setup.folder.glob("b *"))


def test_a_signal_to_the_audit_ends_its_victims(setup: AuditSetup) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_victims(setup, ["endless"], stop)
    assert ended(setup.process_of("endless"))


def test_there_are_as_many_as_torch_uses_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    accelerator = Accelerator()
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            assert count_parallel(accelerator) == threads
        monkeypatch.setattr(parallel.sys, "platform", "darwin")
        assert count_parallel(accelerator) == 1
    finally:
        torch.set_num_threads(before)
    several = SimpleNamespace(device=torch.device("cpu"), num_processes=2)
    assert count_parallel(several) == count_parallel(SimpleNamespace(device=torch.device("cuda"), num_processes=1)) == 1


def test_errors_keep_their_lines_on_the_way() -> None:
    assert parallel._can_be_sent(InputError("one", ["two"]))
    assert not parallel._can_be_sent(StrangeError(1, 2))
