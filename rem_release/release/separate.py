"""A run and what it reads are separate: what it deletes or replaces can be nothing that was given to it."""

from pathlib import Path

from rem_release.data.sources.source import Source
from rem_release.data.sources.source_files import find_file_within
from rem_release.errors import InputError


def check_separate(run: Path, other: Path, what: str) -> None:
    """Refuse a run inside what it reads, or what it reads inside the run.

    Args:
        run: RUN.
        other: a path that the run reads.
        what: its name, for the message.

    Raises:
        InputError: one is within the other.
    """
    run, other = run.resolve(), other.resolve()
    if run == other or other in run.parents or run in other.parents:
        raise InputError(f"--out {run} and {what} {other} overlap; choose a folder outside")


def check_files_separate(run: Path, source: Source, what: str) -> None:
    """Refuse a source with a file that lies in the run, through whatever links.

    Args:
        run: RUN.
        source: an opened source.
        what: its name, for the message.

    Raises:
        InputError: it has one; the message names it.
    """
    if file := find_file_within(source, run):
        raise InputError(f"{what}: {file} lies in {run}, or leads there; take images that lie outside of it")
