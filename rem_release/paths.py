"""Paths and files that people name: refused in one line where the system could not use them."""

import errno
import os
import stat
from pathlib import Path

from rem_release.errors import InputError
from rem_release.plain_text import show

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)
_SHOWN = 200
_LONGEST_NAME = 255
"""bytes of one name, on the file systems of today"""


def check_path(text: str, what: str) -> Path:
    """The path that somebody wrote, with `~` filled in. Whether anything is there is for others to say.

    Args:
        text: the path.
        what: its name in messages, such as `--out`.

    Raises:
        InputError: it is empty, or no path for the system: too long, with a NUL, in a circle of links, in a folder that
            may not be entered, or of a user who does not exist.
    """
    if not text:
        raise InputError(f"{what} is empty; name a file or folder, or . for the folder here")
    try:
        path = Path(text).expanduser()
        if any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts):  # also below what is yet to be made
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        path.stat()
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise InputError(f"{what} {show(text, _SHOWN)} cannot be used: {error.strerror}") from None
    except (ValueError, RuntimeError) as error:  # a NUL, or half a character; `~` of nobody
        raise InputError(f"{what} {show(text, _SHOWN)} cannot be used: {error}") from None
    return path


def read_small_text(path: Path, what: str, most: int) -> str:
    """The text of a file that people write by hand, in UTF-8.

    Args:
        path: the file.
        what: its name in messages.
        most: characters that it may hold.

    Raises:
        InputError: it is missing, no plain file, longer, or not UTF-8.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for ever, and a device never end
            raise InputError(f"{what} cannot be read: {path} is no file")
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(most + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{what} cannot be read: {error}") from None
    if len(text) > most:
        raise InputError(f"{what} is longer than {most:,} characters")
    return text
