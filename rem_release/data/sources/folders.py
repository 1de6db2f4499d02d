"""Folders of images: class folders, albums, and flat folders that are still to be clustered.

Every file is a row, so that a file that is no image is reported and nothing is silently left out; only hidden files
and the droppings of file managers are ignored. Links are followed.
"""

import os
import re
from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path, PurePath
from typing import Literal

import datasets
import numpy as np
import pyarrow as pa

from rem_release.data.sources.flat_folders import explain_flat
from rem_release.data.sources.recognised import Layout
from rem_release.data.sources.rows import Rows, SourceOptions, point_at_files
from rem_release.data.sources.split_names import KNOWN, split_named, split_words, splits_hinted
from rem_release.errors import InputError

_DROPPINGS = {
    *("thumbs.db", "thumbs.db:encryptable", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin"),
    *("system volume information", "__macosx", "icon\r", "network trash folder", "temporary items", "lost+found"),
    *("nohup.out", "__pycache__", "picasa.ini", "zbthumbnail.info", "@eadir", "#recycle", "pspbrwse.jbf"),
}
"""what operating systems, file managers, viewers and network drives leave behind, as ignore templates list it"""
_DROPPED_ENDS = ("~", ".lnk", ".stackdump", ".swp")
_PICTURES_OF_PAIRS = {"image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "jpeg", "jpg", "png"}
_BESIDE_PICTURES = {
    *("mask", "masks", "label", "labels", "annotation", "annotations", "bboxes", "boxes", "keypoints", "segmentation"),
    *("segmentations", "groundtruth", "ground", "truth", "gt", "depth", "captions"),
}
_BESIDE_BOTH = {
    "tr",
    "ts",
    "va",
    "left",
    "right",
    "bit",
    "fine",
    "coarse",
    "class",
    "object",
    "raw",
    "sets",
    "set",
    "all",
}
"""words in the names of folders that hold pictures, of those that hold what belongs to each picture, and of either"""
_DOCUMENTS = (
    *(".md", ".txt", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".xml", ".toml", ".html", ".pdf"),
    *(".py", ".ipynb", ".bib", ".cff", ".log"),
)
_DOCUMENT_NAMES = {"readme", "license", "licence", "citation", "notice", "copying", "changelog", "makefile"}
"""what lies beside class folders and is no picture"""
_TWIN = re.compile(r"(?P<stem>.+?)[ _-](?:mask|gt|seg|segmentation|label|annotation)(?:[ _-]?\d+)?", re.IGNORECASE)
_SHOWN = 10

Parts = tuple[str, ...]


def open_folder(path: Path, options: SourceOptions) -> Rows:
    """Read a plain folder of files, labelled as `options.label_from` says, or by its class folders.

    Raises:
        InputError: no such split, no files, no class folders, or a name that is not UTF-8.
    """
    ignored: list[str] = []
    root = find_split_folder(path, options)
    if root != path:
        ignored += [entry.path for entry in _list(path) if not entry.is_dir()]
    files = walk(root, ignored)
    if not files:
        raise InputError(f"{root} holds no files")
    if options.label_from == "clusters":
        rows = _build_rows(root, files, options, None, {})
    elif options.label_from == "albums":
        rows = _open_albums(root, files, options)
    else:
        rows = _open_class_folders(root, files, options, ignored)
    return replace(rows, ignored=tuple(ignored))


def find_split_folder(path: Path, options: SourceOptions) -> Path:
    """Choose between SOURCE itself and a folder of it that is the split.

    Where `options.layout` does not say so: all folders of SOURCE bear names of splits, whatever their spelling; or
    SOURCE/SPLIT holds class folders. A `train` beside other classes that holds images directly is a class.

    Raises:
        InputError: there is no such split; the folders could be splits or classes; they hold pictures and what belongs
            to them.
    """
    entries = _list(path)
    folders = [entry.name for entry in entries if entry.is_dir()]
    inner = path / options.split
    are_splits = bool(folders) and all(map(split_named, folders))
    if options.layout == "splits" or (are_splits and options.layout is None and _takes_splits(entries, options)):
        return _enter(path / choose_folder(path, folders, options), options)
    if options.layout is None and inner.is_dir() and _holds_classes(inner, options):
        return _enter(inner, options)
    if options.split != "train":
        if options.layout is None and inner.is_dir():
            return inner
        raise InputError(f"{path} has no split {options.split!r}: {_name_folders(folders)}; choose with --split")
    if options.layout is None and options.label_from is None:
        _refuse_wrapping(path, entries)
        _refuse_doubt(path, folders)
    return path


def _takes_splits(entries: list["os.DirEntry[str]"], options: SourceOptions) -> bool:
    """Albums and clusters take folders of any shape: a file beside the splits makes SOURCE itself the source."""
    return options.label_from is None or all(entry.is_dir() for entry in entries)


def _holds_classes(inner: Path, options: SourceOptions) -> bool:
    return options.label_from is None and any(entry.is_dir() and walk(Path(entry)) for entry in _list(inner))


def guess_split_folder(path: Path, options: SourceOptions) -> Path:
    """The folder in which a split's own table would lie, whatever else is wrong with the source."""
    try:
        return find_split_folder(path, options)
    except InputError:
        return path / options.split


def choose_folder(path: Path, folders: list[str], options: SourceOptions) -> str:
    """The folder of the split that is asked for: of that name, or else the one that `train`, `test` ... means.

    Raises:
        InputError: there is none, or there are several.
    """
    if options.split in folders:
        return options.split
    alike = [name for name in folders if split_named(name) == options.split]
    if len(alike) == 1:
        return alike[0]
    which = f"several folders that could be {options.split!r}" if alike else f"no split {options.split!r}"
    raise InputError(f"{path} has {which}: {_name_folders(alike or folders)}; choose with --split")


def _enter(root: Path, options: SourceOptions) -> Path:
    """The folder of a split, or the only thing in it, a folder that is named like it: `seg_train/seg_train`.

    Raises:
        InputError: it holds pictures and masks, or one folder alone, in which the classes seem to lie.
    """
    if options.label_from is None:
        entries = _list(root)
        if _is_wrapped(entries) and split_named(entries[0].name) in (split_named(root.name), root.name):
            root = root / entries[0].name
            entries = _list(root)
        _refuse_wrapping(root, entries)
        if options.layout is None:
            _refuse_doubt(root, [entry.name for entry in entries if entry.is_dir()])
    return root


def _is_wrapped(entries: list["os.DirEntry[str]"]) -> bool:
    """Whether all that is there is a folder that holds folders."""
    return len(entries) == 1 and entries[0].is_dir() and any(inner.is_dir() for inner in _list(Path(entries[0])))


def _refuse_wrapping(path: Path, entries: list["os.DirEntry[str]"]) -> None:
    if _is_wrapped(entries):
        inner = [entry.name for entry in _list(Path(entries[0])) if entry.is_dir()]
        raise InputError(
            f"{path} holds one folder alone, {entries[0].name}, which would be the only class, and that the folders "
            f"{_enumerate(inner)}: give {path / entries[0].name}"
        )


def _refuse_parts(path: Path, folders: list[str]) -> None:
    named = {name: _name_part(name) for name in folders}
    if "beside" in named.values() or (folders and all(named.values())):
        boxes = any(
            parts[-1].lower().endswith((".txt", ".xml", ".json")) for name in folders for parts in walk(path / name)
        )
        what = (
            "boxes in the manner of YOLO or Pascal VOC say nothing of a whole picture" if boxes else "no class is named"
        )
        sorted_in = [path / name for name in folders if any(entry.is_dir() for entry in _list(path / name))]
        inner = f", or {sorted_in[0]}, where folders are" if sorted_in else ""
        raise InputError(
            f"{path} holds {_enumerate(folders)}, which look like pictures and what belongs to them, not like classes: "
            f"{what}. Give the folder of pictures with metadata.csv (file_name,label) in it, or with --label-from "
            f"clusters{inner}; or add --layout classes if they are classes"
        )


def _name_part(name: str) -> Literal["pictures", "beside"] | None:
    """Whether a folder's name says that it holds pictures, or what belongs to each of them: `JPEGImages`, `gtFine`."""
    words = {word for word in split_words(name) if not word.isdigit()} - _BESIDE_BOTH
    if words & _BESIDE_PICTURES and words <= _BESIDE_PICTURES | _PICTURES_OF_PAIRS | KNOWN:
        return "beside"
    return "pictures" if words & _PICTURES_OF_PAIRS and words <= _PICTURES_OF_PAIRS | KNOWN else None


def _refuse_doubt(path: Path, folders: list[str]) -> None:
    """Stop where the folders at the top may be no classes.

    Raises:
        InputError: names the ways to go on.
    """
    _refuse_parts(path, folders)
    if len(folders) < 2:
        return
    ways = f"say --layout splits if they are splits (then --split {folders[0]} or the like), or --layout classes"
    hinted = set().union(*map(splits_hinted, folders))
    splits = [name for name in folders if split_named(name) and any(map(os.DirEntry.is_dir, _list(path / name)))]
    if len(hinted) > 1 or splits:
        raise InputError(f"{path} holds {_enumerate(folders)}, of which some are named like splits: {ways}")
    inner = [_list_inner(path / name) for name in folders]
    shared = sorted(name for name, count in Counter(chain(*inner)).items() if count > 1)
    if len(shared) > 1 or (shared and all(len(names) > 1 for names in inner)):
        alike = _enumerate(shared)
        raise InputError(f"{path} holds {_enumerate(folders)}, and several of them the folders {alike}: {ways}")


def _list_inner(path: Path) -> list[str]:
    """The folders in a folder; where it holds only one that is called `images` or the like, those in there."""
    names = [entry.name for entry in _list(path) if entry.is_dir()]
    return _list_inner(path / names[0]) if len(names) == 1 and _name_part(names[0]) == "pictures" else names


def list_other_folders(root: Path, options: SourceOptions) -> tuple[str, ...]:
    """The folders beside `root`, that of a split; none where `root` is SOURCE itself."""
    path = Path(options.source)
    if root == path:
        return ()
    top = root.relative_to(path).parts[0]
    return tuple(entry.name for entry in _list(path) if entry.is_dir() and entry.name != top)


def walk(root: Path, ignored: list[str] | None = None) -> list[Parts]:
    """List every file below a folder as path parts, sorted by code points, part by part.

    Args:
        root: the folder.
        ignored: what is passed over is added to it: hidden entries and droppings.

    Raises:
        InputError: a folder cannot be read, or a name is not UTF-8.
    """
    files: list[Parts] = []

    def visit(folder: Path, parts: Parts, ancestors: frozenset[str]) -> None:
        real = os.path.realpath(folder)
        if real in ancestors:
            raise InputError(f"{folder} is a link to a folder that contains it; remove the link")
        for entry in _list(folder, ignored):
            if entry.is_dir():
                visit(folder / entry.name, (*parts, entry.name), ancestors | {real})
            else:
                files.append((*parts, entry.name))

    visit(root, (), frozenset())
    return files


def _list(folder: Path, ignored: list[str] | None = None) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}") from None
    kept = [entry for entry in found if not _is_ignored(entry)]
    if ignored is not None:
        ignored += [entry.path for entry in found if entry not in kept]
    for entry in kept:
        if any(0xDC80 <= ord(letter) <= 0xDCFF for letter in entry.name):
            raise InputError(f"the name of {os.fsencode(entry.path)!r} is not UTF-8; rename it")
    return kept


def _is_ignored(entry: "os.DirEntry[str]") -> bool:
    name = entry.name.lower()
    return name.startswith(".") or name in _DROPPINGS or (name.endswith(_DROPPED_ENDS) and not entry.is_dir())


def _open_class_folders(root: Path, files: list[Parts], options: SourceOptions, ignored: list[str]) -> Rows:
    if options.layout is None:
        _refuse_tables_within(root, files)
        _refuse_twins(root, files)
    documents = [parts for parts in files if len(parts) == 1 and _is_document(parts[0])]
    if len(documents) < sum(len(parts) == 1 for parts in files) or any(len(parts) > 1 for parts in files):
        ignored += [str(root / parts[0]) for parts in documents]
        files = [parts for parts in files if parts not in documents]
    ignored += [entry.path for entry in _list(root) if entry.is_dir() and not walk(Path(entry))]
    names = sorted({parts[0] for parts in files if len(parts) > 1})
    if not names:
        raise InputError(*explain_flat(root, files))
    index = {name: number for number, name in enumerate(names)}
    class_ids = np.array([index[parts[0]] if len(parts) > 1 else -1 for parts in files], np.int64)
    return _build_rows(root, files, options, class_ids, {name: name for name in names})


def _is_document(name: str) -> bool:
    return name.lower().endswith(_DOCUMENTS) or name.lower().split(".")[0] in _DOCUMENT_NAMES


def _refuse_tables_within(root: Path, files: list[Parts]) -> None:
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


def _refuse_twins(root: Path, files: list[Parts]) -> None:
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


def _open_albums(root: Path, files: list[Parts], options: SourceOptions) -> Rows:
    """An album is the folder that directly holds a file. Its name may be private, so a number is published."""
    folders = sorted({parts[:-1] for parts in files})
    width = max(3, len(str(len(folders) - 1)))
    index = {folder: number for number, folder in enumerate(folders)}
    names = {f"album-{number:0{width}d}": "/".join(folder) or "." for folder, number in index.items()}
    class_ids = np.array([index[parts[:-1]] for parts in files], np.int64)
    return _build_rows(root, files, options, class_ids, names)


def _build_rows(
    root: Path, files: list[Parts], options: SourceOptions, class_ids: np.ndarray | None, names: dict[str, str]
) -> Rows:
    columns = {options.image_column: point_at_files([str(root.joinpath(*parts)) for parts in files])}
    features: dict[str, object] = {options.image_column: datasets.Image(decode=False)}
    if class_ids is not None:
        columns[options.label_column] = pa.array(class_ids, pa.int64(), mask=class_ids < 0)
        features[options.label_column] = datasets.ClassLabel(names=list(names))
    schema = datasets.Features(features).arrow_schema
    table = pa.Table.from_arrays(list(columns.values()), schema=schema)
    return Rows(
        dataset=datasets.Dataset(table),
        layout=_name_layout(root, options),
        labels_from=options.label_from or "folders",
        root=root,
        origins=["/".join(parts) for parts in files],
        class_ids=class_ids,
        album_names=names if options.label_from == "albums" else {},
        left_out=list_other_folders(root, options),
    )


def _name_layout(root: Path, options: SourceOptions) -> Layout:
    if options.label_from:
        return "albums" if options.label_from == "albums" else "pictures without labels"
    return "class folders" if root == Path(options.source) else "class folders of splits"


def _name_folders(names: list[str]) -> str:
    return f"its folders are {_enumerate(names)}"


def _enumerate(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more if names else "none"
