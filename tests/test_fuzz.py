"""Misuse of the command line, drawn at random: no traceback, and nothing written elsewhere; see `tests/fuzzing.py`."""

from collections import Counter
from pathlib import Path

import pytest

from tests.command_line import list_parameters
from tests.fuzzing import KINDS, OPTIONS, make_fuzzer


def fuzz(folder: Path, seed: int, cases: int) -> tuple[Counter[str], Counter[tuple[str, int]]]:
    """Run so many cases; every fault is shown, with the command that repeats it.

    Returns:
        How many cases there were of each kind, and how many commands ended with each exit code.
    """
    fuzzer = make_fuzzer(seed, folder)
    faults, kinds = [], Counter[str]()
    for number in range(cases):
        if fault := fuzzer.check(number):
            faults.append(fault)
        kinds[fuzzer.kind] += 1
    assert not faults, "\n\n".join(faults)
    return kinds, fuzzer.ends


def test_every_option_is_misused() -> None:
    """But for those that every case has, so that none takes long or asks the network."""
    always = {"--plan", "--dry-run"}
    options = {"recipes": {"--json"}}
    for command, names in list_parameters().items():
        if command not in ("demo", "bench") and not command.startswith("recipes "):
            options[command] = {name for name in names if name.startswith("--")} - always
    assert {command: set(names) & options[command] for command, names in OPTIONS.items()} == options


def test_a_few_hundred_misuses(tmp_path: Path) -> None:
    kinds, ends = fuzz(tmp_path, seed=14, cases=200)
    assert set(kinds) == set(KINDS)
    for command in ("protect", "verify", "audit", "card", "push"):
        assert ends[command, 2], f"no {command} was refused"
        assert ends[command, 0], f"no {command} came to its end"


@pytest.mark.slow
def test_ten_thousand_misuses(tmp_path: Path) -> None:
    kinds, _ = fuzz(tmp_path, seed=12, cases=10_000)
    assert kinds.total() == 10_000
