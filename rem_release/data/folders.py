"""Folders of images: class folders, albums, and flat folders that are still to be clustered.

Every file is a row, so that a file that is no image is reported and nothing is silently left out; only hidden files
and the droppings of file managers are ignored. Links are followed.
"""

import os
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa

from rem_release.data.rows import Rows, SourceOptions, point_at_files
from rem_release.errors import InputError

_DROPPINGS = {"thumbs.db", "desktop.ini", "__macosx"}
_SPLIT_NAMES = {"train", "training", "test", "testing", "validation", "valid", "val", "dev", "eval", "evaluation"}

Parts = tuple[str, ...]


def open_folder(path: Path, options: SourceOptions) -> Rows:
    """Read a plain folder of files, labelled as `options.label_from` says, or by its class folders.

    Raises:
        InputError: no such split, no files, no class folders, or a name that is not UTF-8.
    """
    root = find_split_folder(path, options)
    files = walk(root)
    if not files:
        raise InputError(f"{root} holds no files")
    if options.label_from == "clusters":
        return _build_rows(root, files, options, None, {})
    if options.label_from == "albums":
        return _open_albums(root, files, options)
    return _open_class_folders(root, files, options)


def find_split_folder(path: Path, options: SourceOptions) -> Path:
    """Choose between SOURCE itself and SOURCE/SPLIT.

    SOURCE/SPLIT is the split when it holds class folders; a `train` that holds images directly is a class. Albums and
    clusters, which take folders of any shape, step into SOURCE/SPLIT only where SOURCE holds folders named like splits
    and nothing else. A split other than `train` must have a folder of its own.

    Raises:
        InputError: that folder does not exist.
    """
    inner = path / options.split
    entries = _list(path)
    if options.label_from is None:
        steps_in = inner.is_dir() and any(entry.is_dir() and walk(Path(entry)) for entry in _list(inner))
    else:
        steps_in = inner.is_dir() and all(e.is_dir() and e.name.lower() in _SPLIT_NAMES for e in entries)
    if steps_in or (options.split != "train" and inner.is_dir()):
        return inner
    if options.split != "train":
        folders = [entry.name for entry in entries if entry.is_dir()]
        raise InputError(
            f"{path} has no split {options.split!r}: its folders are {_enumerate(folders)}; choose with --split"
        )
    return path


def list_other_folders(root: Path, options: SourceOptions) -> tuple[str, ...]:
    """The folders beside `root`, that of a split, which are named like splits; none where `root` is SOURCE itself."""
    path = Path(options.source)
    if root == path:
        return ()
    return tuple(e.name for e in _list(path) if e.is_dir() and e.name.lower() in _SPLIT_NAMES and e.name != root.name)


def walk(root: Path) -> list[Parts]:
    """List every file below a folder as path parts, sorted by code points, part by part.

    Raises:
        InputError: a folder cannot be read, or a name is not UTF-8.
    """
    files: list[Parts] = []

    def visit(folder: Path, parts: Parts, ancestors: frozenset[str]) -> None:
        real = os.path.realpath(folder)
        if real in ancestors:
            raise InputError(f"{folder} is a link to a folder that contains it; remove the link")
        for entry in _list(folder):
            if entry.is_dir():
                visit(folder / entry.name, (*parts, entry.name), ancestors | {real})
            else:
                files.append((*parts, entry.name))

    visit(root, (), frozenset())
    return files


def _list(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            kept = sorted((entry for entry in entries if not _is_ignored(entry.name)), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}") from None
    for entry in kept:
        if any(0xDC80 <= ord(letter) <= 0xDCFF for letter in entry.name):
            raise InputError(f"the name of {os.fsencode(entry.path)!r} is not UTF-8; rename it")
    return kept


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in _DROPPINGS


def _open_class_folders(root: Path, files: list[Parts], options: SourceOptions) -> Rows:
    names = sorted({parts[0] for parts in files if len(parts) > 1})
    if not names:
        raise InputError(
            f"{root} has no class folders: sort the images into one folder a class, "
            "or add --label-from clusters to group them by their looks"
        )
    index = {name: number for number, name in enumerate(names)}
    class_ids = np.array([index[parts[0]] if len(parts) > 1 else -1 for parts in files], np.int64)
    return _build_rows(root, files, options, class_ids, {name: name for name in names})


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
        labels_from=options.label_from or "folders",
        root=root,
        origins=["/".join(parts) for parts in files],
        class_ids=class_ids,
        album_names=names if options.label_from == "albums" else {},
        left_out=list_other_folders(root, options),
    )


def _enumerate(names: list[str]) -> str:
    return ", ".join(names) if names else "none"
