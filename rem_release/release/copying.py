"""A copy of a release that nothing else writes to: what the gate looks at, and what is sent."""

import fcntl
import os
import shutil
from pathlib import Path

from rem_release.errors import RemReleaseError

PUSH_COPY, DRY_RUN_COPY = "push-", "dry-run-"
"""First letters of the folders in `private/` that hold a copy of the release while it is checked and sent."""
_FICLONE = 0x40049409
"""ioctl_ficlone(2): the copy shares the blocks of the original until either is written to"""


def copy_release(release: Path, copy: Path) -> None:
    """Copy a folder with bytes of its own: clones where the file system has them, else real copies.

    Links stay links, and what is no plain file does not become one, so that the checks see them.

    Args:
        release: the folder.
        copy: where to; it must not exist yet.

    Raises:
        RemReleaseError: the disk is too small. Nothing but clones was written.
    """
    rest: list[tuple[Path, Path]] = []

    def take(source: str, target: str) -> None:
        if not Path(source).is_file():
            os.mkfifo(target)  # whatever it is: no plain file
        elif not _clone(Path(source), Path(target)):
            rest.append((Path(source), Path(target)))

    shutil.copytree(release, copy, symlinks=True, copy_function=take)
    need, free = sum(source.stat().st_size for source, _ in rest), shutil.disk_usage(copy).free
    if need > free:
        raise RemReleaseError(
            f"the copy of {release} that is checked and sent needs {need:,} bytes, and {free:,} are free on the disk "
            f"of {copy.parent}; make room there"
        )
    for source, target in rest:
        shutil.copyfile(source, target)


def link_release(release: Path, copy: Path) -> None:
    """The same by hard links, which take no room: for looking only, where nothing is sent."""
    shutil.copytree(release, copy, symlinks=True, copy_function=_link)


def clear_copies(private: Path) -> None:
    """Delete the copies that pushes left in `private/` which were killed. For the one command that is at work there."""
    for copy in private.glob(f"{PUSH_COPY}????????"):  # as `tempfile` names them
        if copy.is_dir() and not copy.is_symlink():
            shutil.rmtree(copy)


def _clone(source: Path, target: Path) -> bool:
    """Whether the file system made a copy that shares its blocks."""
    with source.open("rb") as one, target.open("xb") as other:
        try:
            fcntl.ioctl(other.fileno(), _FICLONE, one.fileno())
        except OSError:
            return False
    return True


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
