"""A copy of a release that nothing else writes to: what the gate looks at, and what is sent."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rem_release.errors import RemReleaseError
from rem_release.release.copy_marker import is_copy, make_copy_folder
from rem_release.release.deletion import COPY_OF_A_RELEASE, delete_own
from rem_release.release.run_folder import RunFolder

_FICLONE = 0x40049409
"""ioctl_ficlone(2): the copy shares the blocks of the original until either is written to"""


@contextmanager
def copied(run: RunFolder, *, is_dry: bool) -> Iterator[Path]:
    """The release of a run once more, deleted at the end: in `private/` where that can be written, else elsewhere.

    In a run, copies that were left by a kill are deleted first. For the one command that is at work there.

    Args:
        run: the run, or another folder that holds a release.
        is_dry: nothing is sent, and links will do.

    Raises:
        RemReleaseError: the disk is too small.
    """
    copy = link_release if is_dry else copy_release
    if run.private.is_symlink() or not (run.private.is_dir() and os.access(run.private, os.W_OK)):
        with tempfile.TemporaryDirectory(prefix="rem-release-") as elsewhere:
            copy(run.release, Path(elsewhere) / "release")
            yield Path(elsewhere) / "release"
        return
    if run.exists:
        for found in list(run.private.iterdir()):
            _clear(run, found.name)
    folder = make_copy_folder(run.private, is_dry=is_dry)
    try:
        copy(run.release, folder / "release")
        yield folder / "release"
    finally:
        _clear(run, folder.name)


def _clear(run: RunFolder, name: str) -> None:
    """Delete what lies in `private/` under this name, if it is a copy; anything else stays."""
    private = os.open(run.private, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        is_ours = is_copy(name, private)
    finally:
        os.close(private)
    if is_ours:
        delete_own(run.path, f"{run.private.name}/{name}", COPY_OF_A_RELEASE)


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

    _copy_tree(release, copy, take)
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
    _copy_tree(release, copy, _link)


def _copy_tree(release: Path, copy: Path, take: Callable[[str, str], None]) -> None:
    """Copy a folder; in the copy, folders that are read-only here can be written to, and so deleted."""
    try:
        shutil.copytree(release, copy, symlinks=True, copy_function=take)
    finally:
        for folder, _, _ in os.walk(copy):
            Path(folder).chmod(0o700)


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
