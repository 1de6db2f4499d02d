"""Many pushes in one process of their own, one after the other: what the command imports, it imports once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from tests.command_line import Result
from tests.loopback_hub import LoopbackHub


class PushWorker:
    """A process that runs commands against a loopback Hub, with a home and a folder for temporary files of its own.

    Every pause in it is cut to a hundredth of a second, and noted: retries are made, but nobody waits for them.

    Args:
        hub: the Hub.
        folder: empty or absent; `home` (`HF_HOME`) and `temporary` are made in it.
        xet: whether uploads go through Xet.
        script: run first, in the process; may define `prepare(words)`, which is given the words of each command and
            returns those that are left.
    """

    def __init__(self, hub: LoopbackHub, folder: Path, *, xet: bool = False, script: str = "") -> None:
        self.folder = folder
        self.pauses: list[float] = []
        """seconds, of the last command"""
        (folder / "temporary").mkdir(parents=True)
        self._token = hub.token
        self._errors = (folder / "errors.txt").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WORKER.replace("# SCRIPT", script)],
            env={
                **os.environ,
                **hub.environment(folder / "home", xet=xet),
                "TMPDIR": str(folder / "temporary"),
                "OMP_NUM_THREADS": "1",
            },
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *rest: object) -> None:
        self._process.communicate(timeout=60)
        self._errors.close()

    def run(self, *arguments: object, token: str | None = None, parts: int = 100, patience: float = 120) -> Result:
        """One command.

        Args:
            arguments: of the command line.
            token: in place of that of the Hub's owner; `""` for none.
            parts: a release of more new files goes through a pull request, so many in each commit.
            patience: seconds that the Hub may be silent.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        words = [str(argument) for argument in arguments]
        order = [self._token if token is None else token, parts, patience, words]
        self._process.stdin.write(f"{json.dumps(order)}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, (self.folder / "errors.txt").read_text()
        code, out, err, self.pauses = json.loads(answer)
        return Result(code, out, err)

    def push(self, run: Path, repo: str, *options: object, **how: Any) -> Result:
        """`rem-release push`; `how`: see `run`."""
        return self.run("push", run, repo, *options, **how)


_WORKER = """
import json, os, sys, time

pauses, sleep = [], time.sleep

def pause(seconds):
    pauses.append(seconds)
    sleep(min(seconds, 0.01))

time.sleep = pause
from rem_release.hub import client, upload
from tests.command_line import run

prepare = list
# SCRIPT
for line in sys.stdin:
    token, parts, client.PATIENCE, arguments = json.loads(line)
    upload.ONE_COMMIT_FILES, upload._COMMIT_FILES = parts, min(parts, 50)
    os.environ["HF_TOKEN"] = token
    pauses.clear()
    result = run(*prepare(arguments))
    print(json.dumps([result.code, result.out, result.err, pauses]), flush=True)
"""
