"""Folders of images with a table that says what they are: metadata.csv, .jsonl or .parquet.

What `datasets` unpacks from a local source goes to a private temporary folder that is deleted with the rows, never to
its shared cache: it holds clean pixels.
"""

import codecs
import glob
import os
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from rem_release.data.sources.csv_tables import describe_csv
from rem_release.data.sources.folders import choose_folder, guess_split_folder, list_other_folders
from rem_release.data.sources.json_dates import read_dates_as_texts
from rem_release.data.sources.labels import guess_columns
from rem_release.data.sources.parquet_files import has_class_folders
from rem_release.data.sources.reading import count_images, explaining, is_address
from rem_release.data.sources.rows import PrivateCache, Rows, SourceOptions, point_at_files
from rem_release.data.sources.source import suggest
from rem_release.data.sources.split_names import split_named
from rem_release.data.sources.walking import list_folder
from rem_release.errors import InputError

_METADATA = {"metadata.csv": "csv", "metadata.jsonl": "json", "metadata.parquet": "parquet"}


class ForeignTableError(InputError):
    """A table beside class folders that says nothing of the images there."""


def find_metadata(path: Path, options: SourceOptions) -> Path | None:
    """Find the metadata file of a folder of images, in the folder of the split first, then in SOURCE.

    Raises:
        InputError: there are two of them, and nobody knows which is right.
    """
    inner = [path / options.split] if options.layout != "classes" else []
    folders = dict.fromkeys((guess_split_folder(path, options), *inner, path))
    found = [folder / name for folder in folders for name in _METADATA if (folder / name).is_file()]
    if len(found) > 1:
        names = " and ".join(str(file.relative_to(path)) for file in found)
        raise InputError(f"{path} holds {names}; keep the one that is right, and remove or rename the other")
    return found[0] if found else None


def open_metadata(path: Path, options: SourceOptions) -> Rows:
    """Read a metadata file; its `file_name` column becomes the image column, a path relative to the file's folder.

    Raises:
        ForeignTableError: class folders are there, and it names none of their files.
        InputError: the file cannot be read, has no usable `file_name` column, or names files outside its folder.
    """
    cache = PrivateCache()
    with explaining(path):
        if not _has_rows(path):
            raise InputError(f"{path} has no rows; write one for each image, or remove it")
        loaded = datasets.load_dataset(
            _METADATA[path.name],
            **(describe_csv(path, options.label_column) if path.suffix == ".csv" else {}),
            data_files={"train": [glob.escape(str(path))]},
            split="train",
            cache_dir=cache.name,
        )
        if path.suffix == ".jsonl":
            loaded = read_dates_as_texts(path, loaded)
    if "file_name" not in loaded.column_names:
        _refuse_columns(path, loaded.column_names, options)
    names = _read_file_names(path, loaded, options)
    _refuse_foreign(path, names, options)
    _refuse_twins(path, names, loaded, options)
    table = loaded.data.table
    unlisted = count_images(path.parent, {PurePosixPath(name).as_posix() for name in names})
    tops = _list_split_folders(path, names, options)
    if tops:
        chosen = choose_folder(path.parent, tops, options)
        rows = [row for row, name in enumerate(names) if PurePosixPath(name).parts[0] == chosen]
        table, names = table.take(rows), [names[row] for row in rows]
    elif options.split != "train" and path.parent == Path(options.source):
        raise InputError(
            f"{path.parent} has no split {options.split!r}: only {path.name} for train; choose with --split"
        )
    files = [str(path.parent / name) for name in names]
    position = loaded.column_names.index("file_name")
    features = {
        (options.image_column if name == "file_name" else name): (
            datasets.Image(decode=False) if name == "file_name" else feature
        )
        for name, feature in loaded.features.items()
    }
    table = table.set_column(position, options.image_column, point_at_files(files))
    table = pa.Table.from_arrays(table.columns, schema=datasets.Features(features).arrow_schema)
    return Rows(
        dataset=datasets.Dataset(table),
        layout="images with metadata",
        labels_from="column",
        root=path.parent,
        origins=names,
        also_read=(path,),
        caches=(cache,),
        left_out=tuple(top for top in tops if top != chosen) if tops else list_other_folders(path.parent, options),
        unlisted=unlisted,
    )


def _has_rows(path: Path) -> bool:
    """Whether there is anything for `datasets` to read; a CSV says it itself."""
    if path.suffix == ".parquet":
        return pq.read_metadata(path).num_rows > 0
    with path.open("rb") as file:
        return path.suffix == ".csv" or any(line.strip(codecs.BOM_UTF8 + b" \t\r\n") for line in file)


def _refuse_columns(path: Path, columns: list[str], options: SourceOptions) -> NoReturn:
    """Refuse a table that does not say where images lie.

    Raises:
        ForeignTableError: class folders are there.
        InputError: none are.
    """
    way = _name_way_on(path, options)
    raise (ForeignTableError if way else InputError)(
        f"{path} has no column 'file_name'; its columns are {', '.join(columns)}: give that name to the one that says "
        f"where each image is{way}"
    )


def _refuse_foreign(path: Path, names: list[str], options: SourceOptions) -> None:
    """Refuse a table of other images, or of these under other names, where class folders say the labels.

    Raises:
        ForeignTableError: none of its files is there.
    """
    files = [path.parent / name for name in names]
    if files and not any(map(os.path.exists, files)) and (way := _name_way_on(path, options)):
        raise ForeignTableError(
            f"{path} lists {len(names)} files of which none is there, such as {names[0]}{suggest(files[0])}: write "
            f"into 'file_name' where each image is below {path.parent}{way}"
        )


def _name_way_on(path: Path, options: SourceOptions) -> str:
    """The option that reads the class folders beside a table; empty where there are none."""
    folders = [Path(entry) for entry in list_folder(path.parent) if entry.is_dir()]
    splits = [folder for folder in folders if split_named(folder.name)]
    if options.label_from or not any(map(has_class_folders, (path.parent, *splits))):
        return ""
    is_above = path.parent == Path(options.source) and len(splits) < len(folders)
    layout = "classes" if is_above else "splits"
    return f", or add --layout {layout} to read the class folders there and pass the table over"


def _refuse_twins(path: Path, names: list[str], loaded: datasets.Dataset, options: SourceOptions) -> None:
    """Refuse an image that is listed with two labels, and files that lie in several splits without a folder for each.

    Raises:
        InputError: names the image, or the folders.
    """
    label = guess_columns(loaded.features, options).label_column
    seen: dict[str, Any] = {}
    plain = [str(PurePosixPath(name)) for name in names]  # ./1.png is 1.png
    for name, value in zip(plain, loaded[label][:] if label in loaded.column_names else names, strict=True):
        if label in loaded.column_names and seen.setdefault(name, value) != value:
            raise InputError(f"{path} lists {name} with the labels {seen[name]} and {value}; give it one")
    if options.layout is None and not _list_split_folders(path, names, options):
        parts = {part for name in names for part in PurePosixPath(name).parts[:-1] if split_named(part)}
        if len({split_named(part) for part in parts}) > 1:
            raise InputError(
                f"{path} lists images in folders of several splits ({', '.join(sorted(parts))}) beside others: write "
                "a table in the folder of each split, or say --layout classes to release them all as one"
            )


def _list_split_folders(path: Path, names: list[str], options: SourceOptions) -> list[str]:
    """The folders of splits in which all files of a table for several splits lie; empty where it is for one."""
    if path.parent != Path(options.source) or options.layout == "classes":
        return []
    tops = {parts[0] if len(parts := PurePosixPath(name).parts) > 1 else "" for name in names}
    return sorted(tops) if all(map(split_named, tops)) else []


def _read_file_names(path: Path, loaded: datasets.Dataset, options: SourceOptions) -> list[str]:
    if options.image_column in loaded.column_names and options.image_column != "file_name":
        raise InputError(f"{path} has a column {options.image_column!r} already; name the images with --image-column")
    for name in loaded.column_names:
        points = name.endswith(("_file_name", "_file_names")) or name == "file_names"
        is_read = name not in options.drop_columns and (options.keep_columns is None or name in options.keep_columns)
        if points and is_read:
            raise InputError(f"column {name!r} of {path} points at more files; leave it out with --drop-column {name}")
    names = [_make_relative(path.parent, name) for name in loaded["file_name"][:]]
    for row, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise InputError(f"{path}: 'file_name' of row {row} is {name!r}, not the path of a file")
        if is_address(name):
            raise InputError(
                f"{path}: 'file_name' of row {row} is an address ({name:.60}), and only files on this machine are "
                "read; download the images first"
            )
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise InputError(f"{path}: 'file_name' of row {row} leads out of the folder: {name}")
    return names


def _make_relative(folder: Path, name: Any) -> Any:
    """A path as Windows writes it turned around, unless a file really has such a name; below the folder, as seen from
    there."""
    if not isinstance(name, str):
        return name
    if "\\" in name and not (folder / name).exists():
        name = name.replace("\\", "/")
    path = PurePosixPath(name)
    return str(path.relative_to(folder)) if path.is_absolute() and path.is_relative_to(folder) else name
