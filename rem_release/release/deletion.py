"""Deleting in a run: only what this tool writes there, known by its names, and through no link.

Whatever else lies there is named and refused before anything is deleted.
"""

import errno
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rem_release.errors import InputError
from rem_release.release.certificate import AUDIT_FIGURES
from rem_release.release.copy_marker import COPY, MARKER, is_copy
from rem_release.release.figures import NOISE_FIGURE, PROTECTED_FIGURE

Names = Mapping[str, str]
"""Pattern of a folder below some place, `""` for the place itself -> pattern of the files that are written in it.

A file may also have its temporary name, see `written_atomically`.
"""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NOTHING = r"(?!)"
_ANYTHING = r".*"
"""Links and special files too."""
_SHOWN = 3


def _below(folder: str, names: Names) -> dict[str, str]:
    """The same names in a folder of that pattern."""
    return {f"{folder}/{inner}" if inner else folder: files for inner, files in names.items()}


def _names_of(paths: Sequence[str]) -> str:
    return "|".join(re.escape(PurePosixPath(path).name) for path in paths)


SHARDS: Names = {"": r"[\w.]+-\d{5,}-of-\d{5,}\.parquet|\.[\w.]+-\d{5,}\.partial"}
STAGED_SPLIT: Names = {"": _NOTHING, **_below("clean", SHARDS)}
AUDIT_FIGURE_FILES: Names = {"": _names_of(AUDIT_FIGURES)}
RELEASE: Names = {
    "": r"README\.md|protection\.json|audit\.json|answers\.parquet",
    **_below("data", SHARDS),
    **_below("clean", SHARDS),
    "figures": _names_of((PROTECTED_FIGURE, NOISE_FIGURE, *AUDIT_FIGURES)),
}
AUDIT: Names = {"": r"victims\.jsonl|report\.html|curves\.json"}
AUDIT_OF_A_COPY: Names = {"": rf"{AUDIT['']}|audit\.json|answers\.parquet", **_below("figures", AUDIT_FIGURE_FILES)}
DECODED: Names = {"": r"images\.npy|index\.npz"}
JOURNAL: Names = {"": r"shard-[\w.]+-\d{5,}\.npz"}
KEPT_ROWS: Names = {"": r"[a-z0-9_]+-[a-z0-9_]+(\.npy|-\d{8,}\.undo)"}
RECEIPTS = r"push\.json|published-[0-9a-f]{12}\.parquet|attempts\.json"
"""What says which images are out, and how often audits were tried; nothing deletes it."""
COPY_OF_A_RELEASE: Names = {"": re.escape(MARKER), r"release(/(?s:.*))?": _ANYTHING}
PRIVATE: Names = {
    "": r"(options|status|times|recipe|generator|albums|noise)\.json|generator\.safetensors|noise\.npy|rows\.parquet"
    rf"|skipped\.csv|audited-(pairs|holdout)\.npz|{RECEIPTS}",
    "checkpoints": r"([a-z0-9_]+-)?step-\d{8,}\.(safetensors|json)",
    **_below("checkpoints/rows", KEPT_ROWS),
    **_below("working", DECODED),
    **_below("writing", JOURNAL),
    **_below("staging", RELEASE),
    "reserve": _NOTHING,
    **_below("reserve/data", SHARDS),
    **_below(COPY, COPY_OF_A_RELEASE),  # which a push that was killed left; the marker has to be there, see `_is_own`
}


def require_own(root: Path, place: str, names: Names) -> None:
    """Refuse a folder that holds anything but what this tool writes there; nothing is deleted. It need not exist.

    Args:
        root: an existing folder, which may be a link.
        place: the folder, relative to `root`.
        names: what is written there.

    Raises:
        InputError: it holds something else, or it or something in it is a link.
        OSError: it cannot be read.
    """
    with _opened(root, place) as folder:
        strange = [entry for entry in _walk(folder, names) if not entry.is_own] if folder is not None else []
    for entry in strange:
        if entry.is_link:
            raise _refuse_link(root / place / entry.path)
    if strange:
        raise _refuse_strangers(root, place, strange)


def delete_own(root: Path, place: str, names: Names, keep: str = _NOTHING, last: Sequence[str] = ()) -> None:
    """Delete a folder that holds nothing but what this tool writes there. It need not exist.

    Args:
        root: an existing folder, which may be a link.
        place: the folder, relative to `root`.
        names: what is written there.
        keep: pattern of files in it that stay, and the folder with them.
        last: names of files in it that are deleted after everything else, in this order.

    Raises:
        InputError: see `require_own`. Nothing was deleted, unless it came in between.
        OSError: something cannot be deleted.
    """
    require_own(root, place, names)
    with _opened(root, place) as folder:
        if folder is None:
            return
        for entry in _walk(folder, names):
            if not entry.is_own:
                raise _refuse_strangers(root, place, [entry])
            if entry.path not in last and not re.fullmatch(keep, entry.path):
                _remove(entry.name, entry.parent, entry.is_folder)
        for name in sorted({entry.path for entry in _walk(folder, names)}.intersection(last), key=last.index):
            _remove(name, folder, is_folder=False)
        is_empty = not list(_walk(folder, names))
    if is_empty:
        parent, _, name = place.rpartition("/")
        with _opened(root, parent) as above:
            if above is not None:
                _remove(name, above, is_folder=True)


def refuse_links(root: Path, place: str, names: Names) -> None:
    """Refuse a link in the place of a folder or a file of ours, through which something elsewhere could be changed.

    Args:
        root: an existing folder, which may be a link.
        place: a folder below it, `""` for itself; it need not exist.
        names: what is written there.

    Raises:
        InputError: there is one.
        OSError: a folder cannot be read.
    """
    with _opened(root, place) as folder:
        for entry in _walk(folder, names) if folder is not None else ():
            if entry.is_link and not entry.is_own and (_is_folder(names, entry.path) or _is_file(names, entry.path)):
                raise _refuse_link(root / place / entry.path)


def _is_folder(names: Names, path: str) -> bool:
    return any(re.fullmatch(pattern, path) for pattern in names)


def _is_file(names: Names, path: str) -> bool:
    name = path.rpartition("/")[2]
    temporary = re.fullmatch(r"\.(.+)\.partial", name)
    written = (name, temporary[1]) if temporary else (name,)
    return any(re.fullmatch(files, each) for files in _files_beside(names, path) for each in written)


def _files_beside(names: Names, path: str) -> list[str]:
    """The patterns of the files in the folder that holds `path`."""
    folder = path.rpartition("/")[0]
    return [files for pattern, files in names.items() if re.fullmatch(pattern, folder)]


def _is_own(names: Names, path: str, entry: os.DirEntry[str], parent: int) -> bool:
    if entry.is_dir(follow_symlinks=False):
        return _is_folder(names, path) and (not re.fullmatch(COPY, path) or is_copy(path, parent))
    is_plain = entry.is_file(follow_symlinks=False)
    return _ANYTHING in _files_beside(names, path) or (is_plain and _is_file(names, path))


@dataclass(frozen=True)
class _Entry:
    """Something below a folder; it can be removed while the walk stands at it."""

    path: str
    """relative to the folder where the walk began"""
    parent: int
    """descriptor of the folder that holds it"""
    is_folder: bool
    is_link: bool
    is_own: bool
    """whether it is written there: a folder or a plain file, or whatever lies in a copy"""

    @property
    def name(self) -> str:
        """Its name in that folder."""
        return self.path.rpartition("/")[2]


def _walk(folder: int, names: Names, above: str = "") -> Iterator[_Entry]:
    """What lies in an open folder and in our own folders below it, sorted, a folder after what it holds.

    The marker of a copy comes last: until it goes, the rest is known by it.
    """
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: (entry.name == MARKER, entry.name))
    for entry in entries:
        path, is_folder = f"{above}{entry.name}", entry.is_dir(follow_symlinks=False)
        is_own = _is_own(names, path, entry, folder)
        if is_folder and is_own:
            try:
                inner = os.open(entry.name, _FOLDER, dir_fd=folder)
            except FileNotFoundError:  # gone since
                continue
            try:
                yield from _walk(inner, names, f"{path}/")
            finally:
                os.close(inner)
        yield _Entry(path, folder, is_folder, entry.is_symlink(), is_own)


def _remove(name: str, parent: int, is_folder: bool) -> None:
    if is_folder:
        os.rmdir(name, dir_fd=parent)
    else:
        os.unlink(name, dir_fd=parent)


@contextmanager
def _opened(root: Path, place: str) -> Iterator[int | None]:
    """A folder below `root`, opened step by step and through no link; None where it is not there."""
    folder: int | None = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in PurePosixPath(place).parts:
            assert folder is not None
            inner = _open_inner(folder, part, root / place)
            os.close(folder)
            folder = inner
            if folder is None:
                break
        yield folder
    finally:
        if folder is not None:
            os.close(folder)


def _open_inner(folder: int, name: str, path: Path) -> int | None:
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise _refuse_link(path) from None
        raise


def _refuse_link(path: Path) -> InputError:
    return InputError(
        f"{path} is a link, or no folder where rem-release has one; nothing is written or deleted through links: "
        "move what it leads to there, or take it away"
    )


def _refuse_strangers(root: Path, place: str, entries: Sequence[_Entry]) -> InputError:
    shown = ", ".join(f"{place}/{entry.path}{'/' * entry.is_folder}" for entry in entries[:_SHOWN])
    more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    them = "them" if len(entries) > 1 else "it"
    return InputError(f"{root} holds {shown}{more}, which rem-release did not write; move {them} away")
