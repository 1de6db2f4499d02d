"""A command in its run folder: alone, and how it failed."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rem_release.errors import InputError, RemReleaseError
from rem_release.plain_text import show
from rem_release.tokens import hide_tokens


@contextmanager
def entered(folder: Path) -> Iterator[None]:
    """A run's folder, made where it is missing, and for this command alone; deleted again if it stays empty.

    Raises:
        InputError: it cannot be made, or another command works there.
    """
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {folder} cannot be written: {error.strerror or error}") from None
    try:
        with _locked(folder):
            yield
    finally:
        if is_new and not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Refuse a second command in the same folder; the system ends the lock with the process, however that ends.

    Raises:
        InputError: another command works there.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise InputError(f"{folder} is in use by another command; wait until that has ended") from None
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(handle)


def describe_failure(error: BaseException) -> tuple[int, str]:
    """Exit code and message, which shows no access token."""
    if isinstance(error, RemReleaseError):
        return error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt):
        return 130, "interrupted"
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1, "terminated"
    return 1, f"{type(error).__name__}: {show(hide_tokens(str(error)))}"
