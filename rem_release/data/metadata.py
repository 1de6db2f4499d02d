"""Folders of pictures with a table that says what they are: metadata.csv, .jsonl or .parquet.

What `datasets` unpacks from a local source goes to a private temporary folder that is deleted with the rows, never to
its shared cache: it holds clean pixels.
"""

import csv
import glob
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import datasets
import pyarrow as pa

from rem_release.data.folders import choose_folder, guess_split_folder, list_other_folders, walk
from rem_release.data.labels import LABELS, guess_columns
from rem_release.data.reading import PICTURES, explaining
from rem_release.data.rows import PrivateCache, Rows, SourceOptions, point_at_files
from rem_release.data.split_names import split_named
from rem_release.errors import InputError

_METADATA = {"metadata.csv": "csv", "metadata.jsonl": "json", "metadata.parquet": "parquet"}
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def find_metadata(path: Path, options: SourceOptions) -> Path | None:
    """Find the metadata file of a folder of images, in the folder of the split first, then in SOURCE.

    Raises:
        InputError: two of them stand side by side, and nobody knows which is right.
    """
    for folder in (guess_split_folder(path, options), path):
        found = [folder / name for name in _METADATA if (folder / name).is_file()]
        if len(found) > 1:
            raise InputError(
                f"{folder} holds {' and '.join(file.name for file in found)}; keep the one that is right, and remove "
                "or rename the other"
            )
        if found:
            return found[0]
    return None


def open_metadata(path: Path, options: SourceOptions) -> Rows:
    """Read a metadata file; its `file_name` column becomes the image column, a path relative to the file's folder.

    Raises:
        InputError: the file cannot be read, has no usable `file_name` column, or names files outside its folder.
    """
    cache = PrivateCache()
    with explaining(path):
        loaded = datasets.load_dataset(
            _METADATA[path.name],
            **(_sniff(path) if path.suffix == ".csv" else {}),
            data_files={"train": [glob.escape(str(path))]},
            split="train",
            cache_dir=cache.name,
        )
    names = _read_file_names(path, loaded, options)
    _refuse_twins(path, names, loaded, options)
    table = loaded.data.table
    unlisted = _count_unlisted(path.parent, names)
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
        layout="pictures with metadata",
        labels_from="column",
        root=path.parent,
        origins=names,
        also_read=(path,),
        caches=(cache,),
        left_out=tuple(top for top in tops if top != chosen) if tops else list_other_folders(path.parent, options),
        unlisted=unlisted,
    )


def _refuse_twins(path: Path, names: list[str], loaded: datasets.Dataset, options: SourceOptions) -> None:
    """Refuse a picture that is listed with two labels, and files that lie in several splits without a folder for each.

    Raises:
        InputError: names the picture, or the folders.
    """
    label = guess_columns(loaded.features, options).label_column
    seen: dict[str, Any] = {}
    for name, value in zip(names, loaded[label][:] if label in loaded.column_names else names, strict=True):
        if label in loaded.column_names and seen.setdefault(name, value) != value:
            raise InputError(f"{path} lists {name} with the labels {seen[name]} and {value}; give it one")
    if options.layout is None and not _list_split_folders(path, names, options):
        parts = {part for name in names for part in PurePosixPath(name).parts[:-1] if split_named(part)}
        if len({split_named(part) for part in parts}) > 1:
            raise InputError(
                f"{path} lists pictures in folders of several splits ({', '.join(sorted(parts))}) beside others: write "
                "a table in the folder of each split, or say --layout classes to release them all as one"
            )


def _list_split_folders(path: Path, names: list[str], options: SourceOptions) -> list[str]:
    """The folders of splits in which all files of a table for several splits lie; empty where it is for one."""
    if path.parent != Path(options.source) or options.layout == "classes":
        return []
    tops = {parts[0] if len(parts := PurePosixPath(name).parts) > 1 else "" for name in names}
    return sorted(tops) if all(map(split_named, tops)) else []


def _count_unlisted(folder: Path, names: list[str]) -> dict[str, int]:
    """How many pictures each folder holds of which the table says nothing: folder, relative, -> count."""
    listed = {PurePosixPath(name).as_posix() for name in names}
    others = ["/".join(parts) for parts in walk(folder) if PurePosixPath(parts[-1]).suffix.lower() in PICTURES]
    return dict(Counter(str(PurePosixPath(name).parent) for name in others if name not in listed))


def _read_file_names(path: Path, loaded: datasets.Dataset, options: SourceOptions) -> list[str]:
    if "file_name" not in loaded.column_names:
        raise InputError(f"{path} has no column 'file_name'; its columns are {', '.join(loaded.column_names)}")
    if options.image_column in loaded.column_names and options.image_column != "file_name":
        raise InputError(f"{path} has a column {options.image_column!r} already; name the pictures with --image-column")
    for name in loaded.column_names:
        points = name.endswith(("_file_name", "_file_names")) or name == "file_names"
        is_read = name not in options.drop_columns and (options.keep_columns is None or name in options.keep_columns)
        if points and is_read:
            raise InputError(f"column {name!r} of {path} points at more files; leave it out with --drop-column {name}")
    names = [_turn_slashes(path.parent, name) for name in loaded["file_name"][:]]
    for row, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise InputError(f"{path}: 'file_name' of row {row} is {name!r}, not the path of a file")
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise InputError(f"{path}: 'file_name' of row {row} leads out of the folder: {name}")
    return names


def _sniff(path: Path) -> dict[str, Any]:
    """How a CSV is written: UTF-16 by its mark, else UTF-8, and the separator of its first line."""
    with path.open("rb") as file:
        start = file.read(1 << 16)
    encoding = next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")
    header = start.decode(encoding, "ignore").lstrip("\ufeff").splitlines()[:1]
    counts = {separator: header[0].count(separator) if header else 0 for separator in ",;\t|"}
    separator = max(counts, key=lambda each: counts[each])
    converters = {"file_name": str, **_list_texts(path, encoding, separator)}
    return {"encoding": encoding, "sep": separator, "converters": converters}


def _list_texts(path: Path, encoding: str, separator: str) -> dict[str, Callable[[str], str | None]]:
    """Labels that are to be read as texts: pandas would take 001, 1 and 1e0 for one number, and it guesses."""
    with path.open(encoding=encoding, newline="") as file:
        rows = csv.DictReader(file, delimiter=separator)
        texts = set()
        for row in rows:
            texts |= {name for name, value in row.items() if name and isinstance(value, str) and not _is_plain(value)}
    return {name: _read_text for name in texts if name.lower().find("label") >= 0 or name.lower() in LABELS}


def _read_text(value: str) -> str | None:
    return value if value.strip() else None


def _is_plain(value: str) -> bool:
    """Whether it is a whole number, written as such."""
    return bool(re.fullmatch(r"-?(0|[1-9]\d{0,14})", value))


def _turn_slashes(folder: Path, name: Any) -> Any:
    """A path as Windows writes it; where a file really has such a name, it stays."""
    if isinstance(name, str) and "\\" in name and not (folder / name).exists():
        return name.replace("\\", "/")
    return name
