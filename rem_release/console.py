"""What a person sees: progress, warnings and results. Results go to stdout, everything else to stderr.

Whatever is printed may hold names that a stranger chose: each line is escaped here, and stays one line. Nothing of it
shows an access token.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rem_release.errors import InputError
from rem_release.plain_text import show, write_json
from rem_release.tokens import hide_tokens, hide_tokens_within

Report = Callable[[int, int], None]
"""(done, total)"""
_PLAIN_EVERY = 15.0


@dataclass(frozen=True)
class StageTime:
    """What a stage took."""

    seconds: float
    cpu_seconds: float
    """of all threads of this process together; divided by seconds and cores, the share of the cores that was busy"""


class Console:
    """The terminal of one command.

    Args:
        as_json: results are one JSON object on stdout, and nothing else is.
        silent: say nothing at all; for processes other than the first.
    """

    def __init__(self, as_json: bool = False, silent: bool = False) -> None:
        self.as_json = as_json
        self.silent = silent
        self.times: dict[str, StageTime] = {}
        """what the stages took that are over, by name"""
        self._err = RichConsole(stderr=True, highlight=False, markup=False, emoji=False, quiet=silent)
        self._out = RichConsole(highlight=False, markup=False, emoji=False, quiet=silent)

    def without_results(self, as_notes: bool = True) -> "Console":
        """The same terminal for a part of a longer command, whose results are not the command's: they become notes, or
        are not shown."""
        inner = Console(self.as_json, self.silent)
        inner._out = inner._err if as_notes else RichConsole(quiet=True)
        inner.as_json = False
        return inner

    def note(self, text: str) -> None:
        """Say something on the way, in one line."""
        self._err.print(show(hide_tokens(text)), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Say something that the owner should think about, in one line."""
        self._err.print(f"warning: {show(hide_tokens(text))}", style="yellow", soft_wrap=True)

    def confirm(self, text: str, word: str) -> None:
        """Ask for a word before what cannot be taken back.

        Raises:
            InputError: nobody is at a terminal, or another word is typed.
        """
        if not sys.stdin.isatty():
            raise InputError(f"{text} Nobody is at a terminal to confirm it; add --yes")
        self.warn(text)
        self._err.print(f"Type {show(word)} to go on: ", end="", soft_wrap=True)
        if sys.stdin.readline().strip() != word:
            raise InputError("not confirmed; nothing was sent")

    def result(self, document: dict[str, Any], lines: Sequence[str]) -> None:
        """The result of the command: the document as JSON, or the lines of text."""
        if self.silent:
            return
        if self.as_json:
            sys.stdout.write(write_json(hide_tokens_within(document)) + "\n")
            sys.stdout.flush()
        else:
            self._out.print("\n".join(show(hide_tokens(line)) for line in lines), soft_wrap=True)

    @contextmanager
    def stage(self, name: str) -> Iterator[Report]:
        """A stage of long work: a bar with rate and time left on a terminal, plain lines elsewhere."""
        began, cpu_began = time.perf_counter(), time.process_time()
        if self._err.is_terminal and not self.silent:
            with self._bar(name) as report:
                yield report
        else:
            yield self._lines(name)
        self.times[name] = StageTime(time.perf_counter() - began, time.process_time() - cpu_began)

    @contextmanager
    def _bar(self, name: str) -> Iterator[Report]:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._err) as progress:
            task = progress.add_task(show(name), total=None, rate="")
            began = time.monotonic()

            def report(done: int, total: int) -> None:
                seconds = time.monotonic() - began
                progress.update(task, completed=done, total=total, rate=f"{done / max(seconds, 1e-3):.1f}/s")

            yield report

    def _lines(self, name: str) -> Report:
        began = time.monotonic()
        spoke = began

        def report(done: int, total: int) -> None:
            nonlocal spoke
            now = time.monotonic()
            if done != total and now - spoke < _PLAIN_EVERY:
                return
            spoke = now
            seconds = max(now - began, 1e-3)
            left = seconds / max(done, 1) * (total - done)
            self.note(f"{name}: {done} of {total}, {done / seconds:.1f}/s, {left:.0f} s left")

        return report
