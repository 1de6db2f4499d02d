"""Trains the victims of an audit: on a CPU as many at once as torch would use threads, else one after the other.

Small networks do not gain from a second thread, and a victim on one thread is the same to the bit wherever it is
trained. Each is trained in a process of its own, forked as torch's DataLoader forks its workers: it shares the images
that were read, and ends with its victim. `OMP_NUM_THREADS` says how many there are.
"""

import multiprocessing
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import cast

import torch
from accelerate import Accelerator

from rem_release.audit.runner import VictimRunner
from rem_release.errors import RemReleaseError
from rem_release.models import import_networks
from rem_release.training.loop import Progress
from rem_release.training.runtime import count_here
from rem_release.training.stopping import signals_held
from rem_release.verdict.plan import Task


def count_parallel(accelerator: Accelerator) -> int:
    """How many victims are trained at once."""
    is_alone = accelerator.device.type == "cpu" and accelerator.num_processes == 1
    return torch.get_num_threads() if is_alone and sys.platform == "linux" else 1


def count_temporary(runner: VictimRunner, tasks: Sequence[Task]) -> int:
    """Bytes that the images of victims take in the temporary folder of this host while they are trained, at most."""
    parallel = count_parallel(runner.accelerator)
    at_once = parallel + 1 if parallel > 1 else 1  # those of the next one are read while others are trained
    return runner.images.count_temporary(tasks, at_once) * count_here(runner.accelerator)


def train_victims(runner: VictimRunner, tasks: Sequence[Task], report: Progress) -> None:
    """Train every victim that is not known yet.

    Args:
        runner: keeps their records.
        tasks: the victims.
        report: told the training steps done and those of all victims, known ones included.

    Raises:
        RemReleaseError: a victim's process was killed from outside.
        Exception: whatever stopped the training of a victim; the others stop, too.
    """
    steps = [runner.setup.count_steps(task) for task in tasks]
    done = dict.fromkeys(range(len(tasks)), 0)

    def tell(number: int, step: int) -> None:
        done[number] = step
        report(sum(done.values()), sum(steps))

    size = count_parallel(runner.accelerator)
    if size == 1:
        for number, task in enumerate(tasks):
            runner.make(task, partial(_forward, tell, number))
            tell(number, steps[number])
        return
    import_networks({task.architecture.name for task in tasks})
    _import_optimizer()
    running: dict[Connection, _Victim] = {}
    try:
        for number, task in enumerate(tasks):
            if runner.known(task):
                runner.make(task)
                tell(number, steps[number])
                continue
            runner.read(task)
            while len(running) == size:
                _listen(runner, running, tell)
            victim = _start(runner, task, number)
            running[victim.connection] = victim
        while running:
            _listen(runner, running, tell)
    finally:
        for victim in running.values():
            victim.process.kill()
            victim.process.join()


def _forward(tell: Progress, number: int, step: int, steps: int) -> None:
    tell(number, step)


@dataclass(frozen=True)
class _Victim:
    """A victim that is being trained."""

    number: int
    process: BaseProcess
    connection: Connection


def _import_optimizer() -> None:
    """Take a step: torch imports for seconds at the first one, which each process would do again."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    torch.optim.SGD([parameter], lr=0.1).step()


def _start(runner: VictimRunner, task: Task, number: int) -> _Victim:
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_train, args=(runner, task, theirs, os.getpid()), daemon=True)
    try:
        with signals_held():  # for what a signal raises inside the hooks of a fork is lost
            process.start()
    except BaseException:
        if process.pid:
            process.kill()
            process.join()
        raise
    theirs.close()
    return _Victim(number, process, mine)


def _listen(runner: VictimRunner, running: dict[Connection, _Victim], tell: Progress) -> None:
    """Wait until victims say something, and keep the records of those that are done."""
    for connection in wait(list(running)):
        victim = running[cast(Connection, connection)]
        try:
            kind, content = victim.connection.recv()
        except EOFError:
            kind, content = "killed", None
        if kind == "step":
            tell(victim.number, content)
            continue
        victim.process.join()
        del running[victim.connection]
        victim.connection.close()
        if kind == "killed":
            raise RemReleaseError(
                f"the process of a victim ended with {victim.process.exitcode}, most likely because memory ran out; "
                "go on with --resume and fewer at once: OMP_NUM_THREADS=1"
            )
        if kind == "failed":
            raise content
        runner.ledger.add(content)


def _train(runner: VictimRunner, task: Task, connection: Connection, parent: int) -> None:
    """What the process of a victim does; it says "step", and in the end "done" or "failed"."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all, and the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    try:
        record = runner.train(task, partial(_tell_step, connection, parent))
    except Exception as error:
        error.add_note(traceback.format_exc())
        connection.send(("failed", error if _can_be_sent(error) else RuntimeError(f"{type(error).__name__}: {error}")))
    else:
        connection.send(("done", record))
    connection.close()


def _tell_step(connection: Connection, parent: int, step: int, steps: int) -> None:
    if os.getppid() != parent:  # it was killed, and nobody listens
        os._exit(1)
    connection.send(("step", step))


def _can_be_sent(error: Exception) -> bool:
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:
        return False
