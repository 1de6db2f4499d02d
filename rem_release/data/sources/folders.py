"""Folders of images: class folders, albums, and flat folders that are still to be clustered.

Every file is a row, so that a file that is no image is reported and nothing is silently left out; only hidden files
and the files that file managers leave are ignored. Links are followed.
"""

import os
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa

from rem_release.data.sources.companions import name_kind, refuse_companions
from rem_release.data.sources.flat_folders import explain_archives, explain_flat, is_table_or_archive
from rem_release.data.sources.folder_doubts import (
    find_without_images,
    is_wrapped,
    name_ways,
    refuse_doubt,
    refuse_tables_within,
    refuse_wrapping,
)
from rem_release.data.sources.reading import is_image
from rem_release.data.sources.recognised import Layout
from rem_release.data.sources.rows import Rows, SourceOptions, point_at_files
from rem_release.data.sources.split_names import split_named
from rem_release.data.sources.walking import PathParts, enumerate_names, is_document, list_folder, walk
from rem_release.errors import InputError


def open_folder(path: Path, options: SourceOptions) -> Rows:
    """Read a plain folder of files, labelled as `options.label_from` says, or by its class folders.

    Raises:
        InputError: no such split, no files, no class folders, folders that may be no classes, or a name that is not
            UTF-8.
    """
    ignored: list[str] = []
    root = _locate_split(path, options)
    beside = [] if root == path else [entry for entry in list_folder(path) if not entry.is_dir()]
    images = sum(is_image(entry.name) for entry in beside)
    ignored += [entry.path for entry in beside if not is_image(entry.name)]
    if options.label_from is None:
        root = _unwrap(root, path, options)
    files = walk(root, ignored)
    if not files:
        raise InputError(f"{root} holds no files")
    if options.layout != "classes":
        within = f"give {root} and " if root != path else ""
        _refuse_doubts(root, files, within, options)
    if options.label_from == "clusters":
        rows = _build_rows(root, files, options, None, {})
    elif options.label_from == "albums":
        rows = _open_albums(root, files, options)
    else:
        rows = _open_class_folders(root, files, options, ignored)
    return replace(rows, ignored=tuple(ignored), unlisted={".": images} if images else {})


def _refuse_doubts(root: Path, files: list[PathParts], within: str, options: SourceOptions) -> None:
    """Refuse what may be no class or no image of one: folders without another source of labels, and companions."""
    if options.label_from is not None:
        refuse_companions(root, [], files, f"{within}add --layout classes")
        return
    folders = [entry.name for entry in list_folder(root) if entry.is_dir()]
    refuse_companions(root, folders, files, f"{within}add --layout classes")
    refuse_doubt(root, folders, within)
    refuse_tables_within(root, files, within)


def _locate_split(path: Path, options: SourceOptions) -> Path:
    """The folder of the split, or SOURCE itself, whatever is in it.

    Where `options.layout` does not say so, it is a split if all folders of SOURCE bear names of splits, whatever their
    spelling; or if SOURCE/SPLIT holds class folders. A `train` beside other classes that holds images directly is a
    class.

    Raises:
        InputError: there is no such split; `train` may be one or a class.
    """
    entries = list_folder(path)
    folders = [entry.name for entry in entries if entry.is_dir()]
    inner = path / options.split
    are_splits = bool(folders) and all(map(split_named, folders))
    if options.layout == "splits" or (are_splits and options.layout is None and _takes_splits(entries, options)):
        return path / choose_folder(path, folders, options)
    if options.layout is None and inner.is_dir() and (_holds_classes(inner, options) or options.split != "train"):
        if options.split == "train" and options.label_from is None:
            _refuse_other_classes(path, folders)
        return inner
    if options.split != "train":
        alike = [name for name in folders if split_named(name) == options.split and options.layout is None]
        or_layout = f", or add --layout splits if {alike[0]} is one" if alike else ""
        raise InputError(
            f"{path} has no split {options.split!r}: its folders are {enumerate_names(folders)}; choose with --split"
            f"{or_layout}"
        )
    return path


def _takes_splits(entries: list["os.DirEntry[str]"], options: SourceOptions) -> bool:
    """Albums and clusters take folders of any shape: a file beside the splits makes SOURCE itself the source."""
    return options.label_from is None or all(entry.is_dir() for entry in entries)


def _holds_classes(inner: Path, options: SourceOptions) -> bool:
    return options.label_from is None and any(entry.is_dir() and walk(Path(entry)) for entry in list_folder(inner))


def _refuse_other_classes(path: Path, folders: list[str]) -> None:
    """Refuse a `train` that holds folders and is no split by its neighbours: others hold images as classes do."""
    others = [name for name in folders if split_named(name) is None and name_kind(name) is None]
    classes = [name for name in others if any(is_image(entry.name) for entry in list_folder(path / name))]
    if classes and not any(split_named(name) in ("validation", "test") for name in folders):
        raise InputError(
            f"{path} holds {enumerate_names(folders)}; train holds folders, and {enumerate_names(classes)} hold "
            f"images: {name_ways(['train'])}"
        )


def guess_split_folder(path: Path, options: SourceOptions) -> Path:
    """The folder in which a split's own table would lie, whatever else is wrong with the source."""
    try:
        return _locate_split(path, options)
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
    if alike:
        raise InputError(
            f"{path} has several folders that could be {options.split!r}: {enumerate_names(alike)}; choose with "
            f"--split, all of them with --split {'+'.join(alike)}, or add --layout classes if they are classes"
        )
    raise InputError(
        f"{path} has no split {options.split!r}: its folders are {enumerate_names(folders)}; choose with --split"
    )


def _unwrap(root: Path, path: Path, options: SourceOptions) -> Path:
    """The folder of a split, or the only thing in it, a folder that is named like it: `seg_train/seg_train`.

    Raises:
        InputError: it holds one folder alone, in which the classes seem to lie.
    """
    entries = list_folder(root)
    if root != path and is_wrapped(entries) and split_named(entries[0].name) in (split_named(root.name), root.name):
        root = root / entries[0].name
        entries = list_folder(root)
    if root != path or options.layout is None:
        refuse_wrapping(root, entries)
    return root


def list_other_folders(root: Path, options: SourceOptions) -> tuple[str, ...]:
    """The folders beside `root`, that of a split; none where `root` is SOURCE itself."""
    path = Path(options.source)
    if root == path:
        return ()
    top = root.relative_to(path).parts[0]
    return tuple(entry.name for entry in list_folder(path) if entry.is_dir() and entry.name != top)


def _open_class_folders(root: Path, files: list[PathParts], options: SourceOptions, ignored: list[str]) -> Rows:
    if options.layout != "classes":
        passed = find_without_images(files)
        files = [parts for parts in files if parts[0] not in passed]
    names = sorted({parts[0] for parts in files if len(parts) > 1})
    if names and (archives := explain_archives(root, files)):
        raise InputError(archives)
    if not names:
        raise InputError(*explain_flat(root, files))
    tops = {parts for parts in files if len(parts) == 1}
    documents = {parts for parts in tops if is_document(parts[0]) or (options.layout and is_table_or_archive(parts[0]))}
    ignored += sorted(str(root / parts[0]) for parts in documents)
    files = [parts for parts in files if parts not in documents]
    index = {name: number for number, name in enumerate(names)}
    ignored += [entry.path for entry in list_folder(root) if entry.is_dir() and entry.name not in index]
    class_ids = np.array([index[parts[0]] if len(parts) > 1 else -1 for parts in files], np.int64)
    return _build_rows(root, files, options, class_ids, {name: name for name in names})


def _open_albums(root: Path, files: list[PathParts], options: SourceOptions) -> Rows:
    """An album is the folder that directly holds a file. Its name may be private, so a number is published."""
    folders = sorted({parts[:-1] for parts in files})
    width = max(3, len(str(len(folders) - 1)))
    index = {folder: number for number, folder in enumerate(folders)}
    names = {f"album-{number:0{width}d}": "/".join(folder) or "." for folder, number in index.items()}
    class_ids = np.array([index[parts[:-1]] for parts in files], np.int64)
    return _build_rows(root, files, options, class_ids, names)


def _build_rows(
    root: Path, files: list[PathParts], options: SourceOptions, class_ids: np.ndarray | None, names: dict[str, str]
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
        return "albums" if options.label_from == "albums" else "images without labels"
    return "class folders" if root == Path(options.source) else "class folders of splits"
