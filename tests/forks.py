"""Commands as processes of their own that are forked from one which has imported everything, and can be killed."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.command_line import Result, with_seed

_LOOK_EVERY = 0.0005
_PATIENCE = 300.0


class Forks:
    """A process that forks a new one for every command: real processes, whose start takes no seconds.

    Args:
        env: environment of all of them; what the client reads when it is imported is read once.
        folder: empty or absent; what the processes say is kept there, and temporary files.
    """

    def __init__(self, env: dict[str, str], folder: Path) -> None:
        self._folder = folder
        (folder / "temporary").mkdir(parents=True)
        self._parent = subprocess.Popen(
            [sys.executable, "-c", _PARENT],
            env={**os.environ, **env, "TMPDIR": str(folder / "temporary"), "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # so that `select` sees every answer that is not read yet
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *rest: object) -> None:
        self._parent.communicate(timeout=60)

    def run(
        self,
        *arguments: object,
        stop: Callable[[], bool] | None = None,
        how: signal.Signals = signal.SIGKILL,
        stdin: str = os.devnull,
        cwd: Path | None = None,
    ) -> Result:
        """Run a command to its end, or send it a signal as soon as `stop` says so.

        Args:
            arguments: of `rem-release`.
            stop: asked again and again.
            how: the signal.
            stdin: path of what the command reads: a file, or a terminal.
            cwd: where it runs.

        Returns:
            The exit code, negative where a signal ended it; what it said.
        """
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        out, err = self._folder / "out.txt", self._folder / "err.txt"
        order = [with_seed(arguments), str(out), str(err), stdin, str(cwd or Path.cwd())]
        self._parent.stdin.write(f"{json.dumps(order)}\n".encode())
        process = int(self._parent.stdout.readline())
        while not select.select([self._parent.stdout], [], [], _LOOK_EVERY if stop else _PATIENCE)[0]:
            assert stop, f"no end after {_PATIENCE:.0f} s: {err.read_text()}"
            if stop():
                os.kill(process, how)
                stop = None
        code = os.waitstatus_to_exitcode(int(self._parent.stdout.readline()))
        return Result(code, out.read_text(), err.read_text())


_PARENT = """
import json, os, sys
import rem_release.commands.protect, rem_release.commands.push
from rem_release.cli import main

for line in sys.stdin:
    arguments, out, err, stdin, cwd = json.loads(line)
    process = os.fork()
    if not process:
        os.dup2(os.open(stdin, os.O_RDWR), 0)
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.chdir(cwd)
        sys.argv = ["rem-release", *arguments]
        main()
        sys.exit()
    print(process, flush=True)
    print(os.waitpid(process, 0)[1], flush=True)
"""
