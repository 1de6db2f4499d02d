"""How a copy of a release in `private/` is known: by its name, and by the marker that is written into it first of all.

A name alone may be anybody's.
"""

import errno
import os
import re
import stat
from pathlib import Path
from uuid import uuid4

from rem_release.atomic_files import write_atomically

MARKER = ".rem-release-copy"
_MARKED = b"A copy of a release, made by rem-release push, which may delete this folder.\n"
_PARTIAL = f".{MARKER}.partial"
COPY = r"(push|dry-run)-[0-9a-f]{32}"
"""Names of the folders that hold a copy: the marker, and `release/`."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def make_copy_folder(private: Path, *, is_dry: bool) -> Path:
    """Make a folder for a copy in `private/`, with its marker."""
    folder = private / f"{'dry-run' if is_dry else 'push'}-{uuid4().hex}"
    folder.mkdir(mode=0o700)
    try:
        write_atomically(folder / MARKER, _MARKED)
    except BaseException:
        folder.rmdir()
        raise
    return folder


def is_copy(name: str, parent: int) -> bool:
    """Whether this is a copy: a folder of such a name, with our marker and at its top nothing else but `release/`.

    So is one in which there is nothing yet or any more: a kill came before the marker, or after it went.

    Args:
        name: of what may be one; it need not be there.
        parent: descriptor of the folder that holds it.

    Raises:
        OSError: it cannot be read.
    """
    if not re.fullmatch(COPY, name):
        return False
    try:
        folder = os.open(name, _FOLDER, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False
        raise
    try:
        with os.scandir(folder) as found:
            entries = {entry.name: entry.is_dir(follow_symlinks=False) for entry in found}
        if entries.keys() <= {_PARTIAL}:
            return all(_is_begun(_read_plain(_PARTIAL, folder)) for _ in entries)
        is_plain = entries.keys() <= {MARKER, "release"} and entries.get("release", True)
        return is_plain and _read_plain(MARKER, folder) == _MARKED
    finally:
        os.close(folder)


def _is_begun(data: bytes | None) -> bool:
    return data is not None and _MARKED.startswith(data)


def _read_plain(name: str, folder: int) -> bytes | None:
    """A little more than a marker holds; None where this is no plain file, or there is none."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return None
    try:
        return os.read(file, len(_MARKED) + 1) if stat.S_ISREG(os.fstat(file).st_mode) else None
    finally:
        os.close(file)
