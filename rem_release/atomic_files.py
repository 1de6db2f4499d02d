"""Files that are there whole or not at all, also after a kill or the loss of power."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile

import numpy as np


@contextmanager
def written_atomically(path: Path) -> Iterator[Path]:
    """A path beside it to write the file to: at the end it is brought to the disk and renamed; on a failure, deleted.

    Args:
        path: where the file will stand; the folder exists, and no other process writes this file.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, data: bytes) -> None:
    """Write some bytes as a file, see `written_atomically`."""
    with written_atomically(path) as temporary:
        temporary.write_bytes(data)


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write a `.npz` file, see `written_atomically`."""
    with written_atomically(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray] | None:
    """What `write_arrays` wrote; None where one of these arrays is missing or damaged, which its checksum shows."""
    try:
        with np.load(path) as file:
            return {name: file[name] for name in names}
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, MemoryError, BadZipFile):
        return None
