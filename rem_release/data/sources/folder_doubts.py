"""Folders at the top of a source that may be no classes: splits, pieces of one set, one folder around all.

Whatever could be either is a question, which `--layout` answers.
"""

import os
from collections import Counter
from itertools import chain
from pathlib import Path, PurePath

from rem_release.data.sources.companions import name_kind
from rem_release.data.sources.flat_folders import is_table_or_archive
from rem_release.data.sources.reading import is_image
from rem_release.data.sources.split_names import split_named, split_words, splits_hinted
from rem_release.data.sources.walking import PathParts, enumerate_names, is_document, list_folder, walk
from rem_release.errors import InputError

_PIECES = {"fold", "folds", "part", "parts", "batch", "shard", "chunk", "split", "subset", "section"}
"""words in the names of folders that hold pieces of one set: `fold_0`, `batch1`, `images_part_2`"""
_GATHERED = {"image", "images", "img", "imgs", "photo", "photos", "data", "dataset", "datasets", "set", "sets"}
"""words in the names of folders that hold classes: `colon_image_sets`"""


def is_wrapped(entries: list["os.DirEntry[str]"]) -> bool:
    """Whether all that is there is a folder that holds folders."""
    return len(entries) == 1 and entries[0].is_dir() and bool(_list_folders(Path(entries[0])))


def _list_folders(path: Path) -> list[str]:
    return [entry.name for entry in list_folder(path) if entry.is_dir()]


def refuse_wrapping(path: Path, entries: list["os.DirEntry[str]"]) -> None:
    """Refuse one folder around all others, whatever documents, tables and archives lie beside it.

    Raises:
        InputError: says which to give.
    """
    entries = [
        each for each in entries if each.is_dir() or not (is_document(each.name) or is_table_or_archive(each.name))
    ]
    if is_wrapped(entries):
        inner = _list_folders(Path(entries[0]))
        raise InputError(
            f"{path} holds one folder alone, {entries[0].name}, which would be the only class, and that the folders "
            f"{enumerate_names(inner)}: give {path / entries[0].name}"
        )


def refuse_doubt(path: Path, folders: list[str], within: str = "") -> None:
    """Stop where the folders at the top may be no classes.

    Args:
        path: the folder.
        folders: at its top.
        within: what to do first, where it is not SOURCE itself: `give PATH and `.

    Raises:
        InputError: names the ways to go on.
    """
    if len(folders) < 2:
        return
    ways = within + name_ways(folders)
    hinted = set().union(*map(splits_hinted, folders))
    splits = [name for name in folders if split_named(name) and any(map(os.DirEntry.is_dir, list_folder(path / name)))]
    if len(hinted) > 1 or splits:
        raise InputError(f"{path} holds {enumerate_names(folders)}, of which some are named like splits: {ways}")
    inner = [_list_inner(path / name) for name in folders]
    shared = sorted(name for name, count in Counter(chain(*inner)).items() if count > 1)
    if len(shared) > 1 or (shared and all(len(names) > 1 for names in inner)):
        alike = enumerate_names(shared)
        raise InputError(f"{path} holds {enumerate_names(folders)}, and several of them the folders {alike}: {ways}")
    _refuse_pieces(path, folders, inner, within)
    _refuse_wrappers(path, folders, within)


def name_ways(folders: list[str]) -> str:
    """What to say where folders may be splits or classes."""
    splits = list(filter(split_named, folders)) or folders
    split = next((name for name in folders if splits_hinted(name) == {"train"}), splits[0])
    return f"say --layout splits if they are splits (then --split {split} or the like), or --layout classes"


def _refuse_pieces(path: Path, folders: list[str], inner: list[list[str]], within: str) -> None:
    """Refuse folders that hold pieces of one set, others once more, or the classes of which they would be one."""
    tops = set(folders)
    for name, names in zip(folders, inner, strict=True):
        if twice := sorted(tops.intersection(names) - {name}):
            raise InputError(
                f"{path} holds {enumerate_names(folders)}, and {name} the folders {enumerate_names(twice)} once more: "
                f"remove one of the two, give the one that is right, or {within}add --layout classes if they are "
                "classes"
            )
        if names and name_kind(name) == "images":
            raise InputError(
                f"{path} holds {enumerate_names(folders)}, and {name} the folders {enumerate_names(names)}: give "
                f"{path / name} if those are the classes, or {within}add --layout classes"
            )
    if piece := _find_piece(folders):
        raise InputError(
            f"{path} holds {enumerate_names(folders)}, which look like pieces of one set ({piece}), not like classes: "
            "write metadata.csv (file_name,label) that lists them all, bring them together, or "
            f"{within}add --layout classes"
        )


def _refuse_wrappers(path: Path, folders: list[str], within: str) -> None:
    """Refuse a folder that seems to hold splits, or all the classes, beside others that hold neither."""
    inner = {name: _list_folders(path / name) for name in folders}
    named = {name: {split_named(each) for each in inner[name]} - {None} for name in folders}
    splits = [name for name in folders if named[name] or len(set().union(*map(splits_hinted, inner[name]))) > 1]
    if splits and not _is_one_split(named):
        name, at = splits[0], path / splits[0]
        raise InputError(
            f"{path} holds {enumerate_names(folders)}, and {name} the folders {enumerate_names(inner[name])}, of which "
            f"some are named like splits: give {at} if they are the splits, lay all out as SPLIT/CLASS/IMAGE, or "
            f"{within}add --layout classes if {enumerate_names(folders)} are the classes, to take their splits together"
        )
    gathered = [name for name in folders if len(inner[name]) > 1 and _gathers(path / name)]
    around = next((name for name in gathered if not _GATHERED.isdisjoint(split_words(name))), None)
    if not around and len(gathered) == 1 and not any(inner[name] for name in folders if name != gathered[0]):
        around = gathered[0]
    if around:
        raise InputError(
            f"{path} holds {enumerate_names(folders)}, and {around} the folders {enumerate_names(inner[around])}: give "
            f"{path / around} if those are the classes, or {within}add --layout classes if {enumerate_names(folders)} "
            "are"
        )


def _is_one_split(named: dict[str, set[str | None]]) -> bool:
    """Whether every folder holds one of the same split: `cat/train`, `dog/train`."""
    return all(named.values()) and len(set().union(*named.values())) == 1


def _gathers(path: Path) -> bool:
    """Whether several folders of images lie in a folder, and no image beside them."""
    entries = list_folder(path)
    if any(not entry.is_dir() and is_image(entry.name) for entry in entries):
        return False
    holding = (any(is_image(parts[-1]) for parts in walk(Path(entry))) for entry in entries if entry.is_dir())
    return sum(holding) > 1


def _find_piece(folders: list[str]) -> str | None:
    """The word of which all folders are numbered pieces."""
    words = [split_words(name) for name in folders]
    plain = [[word for word in each if not word.isdigit()] for each in words]
    if any(each != plain[0] for each in plain) or any(each == kept for each, kept in zip(words, plain, strict=True)):
        return None
    return next((word for word in plain[0] if word in _PIECES), None)


def _list_inner(path: Path) -> list[str]:
    """The folders in a folder; where it holds only one that is called `images` or the like, those in there."""
    names = _list_folders(path)
    return _list_inner(path / names[0]) if len(names) == 1 and name_kind(names[0]) == "images" else names


def find_without_images(files: list[PathParts]) -> set[str]:
    """The top folders in which no file can be an image by its name, whose own names are nobody's class.

    None, where no file of any folder ends like an image. A file without a suffix may be one, a README is none.
    """
    named = [parts for parts in files if len(parts) > 1]
    if not any(is_image(parts[-1]) for parts in named):
        return set()
    return {parts[0] for parts in named} - {parts[0] for parts in named if _may_be_image(parts[-1])}


def _may_be_image(name: str) -> bool:
    return is_image(name) or not (PurePath(name).suffix or is_document(name))


def refuse_tables_within(root: Path, files: list[PathParts], within: str) -> None:
    """Refuse folders with tables of their own, whose rows know the labels better than the folders' names.

    Raises:
        InputError: says how to bring them together.
    """
    for parts in files:
        if len(parts) > 1 and parts[-1] in ("metadata.csv", "metadata.jsonl", "metadata.parquet"):
            raise InputError(
                f"{root} holds a table in a folder of its own, {'/'.join(parts)}; write one {parts[-1]} in {root} that "
                f"lists all images (file_name: {parts[0]}/...), or {within}add --layout classes if the folders are "
                "classes"
            )
