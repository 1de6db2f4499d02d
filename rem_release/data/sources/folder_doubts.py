"""Folders at the top of a source that may be no classes: splits, pictures and their masks, one folder around all.

Whatever could be either is a question, which `--layout` answers.
"""

import os
import re
from collections import Counter
from itertools import chain
from pathlib import Path, PurePath
from typing import Literal

from rem_release.data.sources.reading import PICTURES
from rem_release.data.sources.split_names import KNOWN, split_named, split_words, splits_hinted
from rem_release.data.sources.walking import Parts, list_folder, walk
from rem_release.errors import InputError

_SHOWN = 10
_PICTURES_OF_PAIRS = {"image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "jpeg", "jpg", "png"}
_BESIDE_PICTURES = {
    *("mask", "masks", "label", "labels", "annotation", "annotations", "bboxes", "boxes", "keypoints", "segmentation"),
    *("segmentations", "groundtruth", "gt", "depth", "captions"),
}
_BESIDE_BOTH = {
    *("tr", "ts", "va", "left", "right", "bit", "fine", "coarse", "class", "object", "raw", "sets", "set", "all"),
}
"""words in the names of folders that hold pictures, of those that hold what belongs to each picture, and of either"""
_PIECES = {"fold", "folds", "part", "parts", "batch", "shard", "chunk", "split", "subset", "section"}
"""words in the names of folders that hold pieces of one set: `fold_0`, `batch1`, `images_part_2`"""
_TWIN = re.compile(r"(?P<stem>.+?)[ _-](?:mask|gt|seg|segmentation|label|annotation)(?:[ _-]?\d+)?", re.IGNORECASE)


def is_wrapped(entries: list["os.DirEntry[str]"]) -> bool:
    """Whether all that is there is a folder that holds folders."""
    return len(entries) == 1 and entries[0].is_dir() and any(inner.is_dir() for inner in list_folder(Path(entries[0])))


def refuse_wrapping(path: Path, entries: list["os.DirEntry[str]"]) -> None:
    """Refuse one folder around all others.

    Raises:
        InputError: says which to give.
    """
    if is_wrapped(entries):
        inner = [entry.name for entry in list_folder(Path(entries[0])) if entry.is_dir()]
        raise InputError(
            f"{path} holds one folder alone, {entries[0].name}, which would be the only class, and that the folders "
            f"{_enumerate(inner)}: give {path / entries[0].name}"
        )


def _refuse_parts(path: Path, folders: list[str]) -> None:
    named = {name: _name_part(name) for name in folders}
    are_parts = "pictures" in named.values() and all(named.values())
    if are_parts or any(part == "beside" and _belongs(path, name, folders) for name, part in named.items()):
        boxes = any(
            parts[-1].lower().endswith((".txt", ".xml", ".json")) for name in folders for parts in walk(path / name)
        )
        what = (
            "boxes in the manner of YOLO or Pascal VOC say nothing of a whole picture" if boxes else "no class is named"
        )
        sorted_in = [path / name for name in folders if any(entry.is_dir() for entry in list_folder(path / name))]
        inner = f", or {sorted_in[0]}, where folders are" if sorted_in else ""
        raise InputError(
            f"{path} holds {_enumerate(folders)}, which look like pictures and what belongs to them, not like classes: "
            f"{what}. Give the folder of pictures with metadata.csv (file_name,label) in it, or with --label-from "
            f"clusters{inner}; or add --layout classes if they are classes"
        )


def _belongs(path: Path, name: str, folders: list[str]) -> bool:
    """Whether what a folder holds are no pictures, or, by their names, belong to those of the other folders."""
    stems = [PurePath(parts[-1]).stem for parts in walk(path / name) if PurePath(parts[-1]).suffix.lower() in PICTURES]
    others = {PurePath(parts[-1]).stem for other in folders if other != name for parts in walk(path / other)}
    known = sum(stem in others or bool((mate := _TWIN.fullmatch(stem)) and mate["stem"] in others) for stem in stems)
    return 2 * known >= len(stems)


def _name_part(name: str) -> Literal["pictures", "beside"] | None:
    """Whether a folder's name says that it holds pictures, or what belongs to each of them: `JPEGImages`, `gtFine`."""
    words = {word for word in split_words(name) if not word.isdigit()} - _BESIDE_BOTH
    if {"ground", "truth"} <= words:
        words = words - {"ground", "truth"} | {"groundtruth"}
    if words & _BESIDE_PICTURES and words <= _BESIDE_PICTURES | _PICTURES_OF_PAIRS | KNOWN:
        return "beside"
    return "pictures" if words & _PICTURES_OF_PAIRS and words <= _PICTURES_OF_PAIRS | KNOWN else None


def refuse_doubt(path: Path, folders: list[str]) -> None:
    """Stop where the folders at the top may be no classes.

    Raises:
        InputError: names the ways to go on.
    """
    _refuse_parts(path, folders)
    if len(folders) < 2:
        return
    ways = f"say --layout splits if they are splits (then --split {folders[0]} or the like), or --layout classes"
    hinted = set().union(*map(splits_hinted, folders))
    splits = [name for name in folders if split_named(name) and any(map(os.DirEntry.is_dir, list_folder(path / name)))]
    if len(hinted) > 1 or splits:
        raise InputError(f"{path} holds {_enumerate(folders)}, of which some are named like splits: {ways}")
    inner = [_list_inner(path / name) for name in folders]
    shared = sorted(name for name, count in Counter(chain(*inner)).items() if count > 1)
    if len(shared) > 1 or (shared and all(len(names) > 1 for names in inner)):
        alike = _enumerate(shared)
        raise InputError(f"{path} holds {_enumerate(folders)}, and several of them the folders {alike}: {ways}")
    _refuse_pieces(path, folders, inner)


def _refuse_pieces(path: Path, folders: list[str], inner: list[list[str]]) -> None:
    """Refuse folders that hold pieces of one set, others once more, or the classes of which they would be one."""
    for name, names in zip(folders, inner, strict=True):
        if twice := sorted(set(names) & (set(folders) - {name})):
            raise InputError(
                f"{path} holds {_enumerate(folders)}, and {name} the folders {_enumerate(twice)} once more: remove one "
                "of the two, give the one that is right, or add --layout classes if they are classes"
            )
        if names and _name_part(name) == "pictures":
            raise InputError(
                f"{path} holds {_enumerate(folders)}, and {name} the folders {_enumerate(names)}: give {path / name} "
                "if those are the classes, or add --layout classes"
            )
    if piece := _find_piece(folders):
        raise InputError(
            f"{path} holds {_enumerate(folders)}, which look like pieces of one set ({piece}), not like classes: write "
            "metadata.csv (file_name,label) that lists them all, bring them together, or add --layout classes"
        )


def _find_piece(folders: list[str]) -> str | None:
    """The word of which all folders are numbered pieces."""
    words = [split_words(name) for name in folders]
    plain = [[word for word in each if not word.isdigit()] for each in words]
    if any(each != plain[0] for each in plain) or any(each == kept for each, kept in zip(words, plain, strict=True)):
        return None
    return next((word for word in plain[0] if word in _PIECES), None)


def _list_inner(path: Path) -> list[str]:
    """The folders in a folder; where it holds only one that is called `images` or the like, those in there."""
    names = [entry.name for entry in list_folder(path) if entry.is_dir()]
    return _list_inner(path / names[0]) if len(names) == 1 and _name_part(names[0]) == "pictures" else names


def refuse_tables_within(root: Path, files: list[Parts]) -> None:
    """Refuse folders with tables of their own, whose rows know the labels better than the folders' names.

    Raises:
        InputError: says how to bring them together.
    """
    for parts in files:
        if len(parts) > 1 and parts[-1] in ("metadata.csv", "metadata.jsonl", "metadata.parquet"):
            raise InputError(
                f"{root} holds a table in a folder of its own, {'/'.join(parts)}; write one {parts[-1]} in {root} that "
                f"lists all pictures (file_name: {parts[0]}/...), or add --layout classes if the folders are classes"
            )


def refuse_twins(root: Path, files: list[Parts]) -> None:
    """Refuse folders in which pictures and their masks lie side by side.

    Raises:
        InputError: names a pair.
    """
    stems = {(*parts[:-1], PurePath(parts[-1]).stem): parts for parts in files}
    pairs = [
        (parts, stems[mate])
        for (*folder, stem), parts in stems.items()
        if (match := _TWIN.fullmatch(stem)) and (mate := (*folder, match["stem"])) in stems
    ]
    if len(pairs) > 1:
        mask, picture = ("/".join(parts) for parts in pairs[0])
        raise InputError(
            f"{root} holds pictures and what looks like their masks side by side ({mask}, {picture}); move the masks "
            "elsewhere, or add --layout classes to release them all"
        )


def name_folders(names: list[str]) -> str:
    """The first of them, for a message."""
    return f"its folders are {_enumerate(names)}"


def _enumerate(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more if names else "none"
