"""A SOURCE of images, opened: rows in order, their classes, and the columns that are released with them.

How a source is recognised, the first that fits; nothing is decoded here (how a file is decoded: `decoding`), and what
was recognised stands in `Source.layout`:

1. *One Parquet file*, by its first bytes: the rows of the split that is asked for. A local path wins over a Hub id.
2. *A folder of `save_to_disk`*: `dataset_dict.json` or `state.json` is there. Other splits are left out.
3. *Pictures with metadata*: `metadata.csv`, `.jsonl` or `.parquet` in the folder of the split, else in SOURCE; two of
   them side by side are refused. A table whose files all lie in folders named like splits is one of splits. Pictures
   that it does not list are left out and counted by folder.
4. *Parquet files* in SOURCE, its `data/` or SPLIT/, unless they lie beside class folders of pictures; or anywhere
   below, where README.md says where data lie or no picture is there. Laid out in splits as `datasets` reads them.
5. *Folders of pictures*. Their top folders are splits where all of them are named like splits (`split_names`), or
   SPLIT/ holds class folders; else they are the classes. Where they could be either, all holding the same folders, or
   are called `images` and `masks`, that is a question: `--layout`. A folder is a class; with `--label-from albums`
   the folder that directly holds a file is one; with `clusters` none is needed. Files at the top have no class and
   are refused. Hidden files and droppings of systems are passed over and counted. What is one step away is named by
   `flat_folders`.
6. *A dataset of the Hugging Face Hub*, NAMESPACE/NAME, where no such path and no such folder for it exists.

A label is one of a ClassLabel, a text, a whole number (floats too), or a truth value; none may be missing. Where the
options name no columns, the only column of images and the only one of labels are taken. A release needs two classes.
"""

import hashlib
import json
import os
import re
import stat
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from rem_release.data.array_file import StoredImages
from rem_release.data.clusters import cluster_images
from rem_release.data.decoding import BadImage
from rem_release.data.folders import open_folder
from rem_release.data.labels import (
    drop_columns,
    guess_columns,
    name_columns,
    read_classes,
    read_image_column,
    refuse_alike,
    refuse_pixels,
    refuse_splits_in_column,
    refuse_unwritable,
)
from rem_release.data.metadata import find_metadata, open_metadata
from rem_release.data.parquet_column import ParquetColumn
from rem_release.data.parquet_files import holds_parquet, is_parquet, open_parquet
from rem_release.data.published_words import Kind, Word, list_words, name_classes, refuse_words
from rem_release.data.reading import is_address
from rem_release.data.recognised import Layout
from rem_release.data.rows import LabelsFrom, PrivateCache, Rows
from rem_release.data.rows import SourceOptions as SourceOptions
from rem_release.data.saved import is_saved_dataset, open_hub, open_saved
from rem_release.data.splits import find_split, join_splits, read_split_names, require_splits
from rem_release.errors import InputError
from rem_release.paths import check_path

_MAX_FILE_BYTES = 2**31


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """An opened source. Thread-safe to read."""

    options: SourceOptions
    dataset: datasets.Dataset
    """the columns that are released, rows in source order; the image column is not decoded"""
    image_column: str
    label_column: str
    """absent from `dataset` while clusters are not labelled"""
    layout: Layout
    labels_from: LabelsFrom
    classes: list[str]
    """empty while clusters are not labelled"""
    class_ids: np.ndarray
    """int64 [rows], index into `classes`; -1 for rows without a class"""
    splits: dict[str, int]
    """name of each split -> its rows, in the order of the rows, which is that of the names"""
    left_out: tuple[str, ...] = ()
    """other splits that the source has"""
    ignored: tuple[str, ...] = ()
    """hidden files and droppings of operating systems that were passed over"""
    unlisted: dict[str, int] = field(default_factory=dict)
    """pictures that a metadata file does not list: folder -> how many"""
    root: Path | None = None
    origins: list[str] | None = None
    album_names: dict[str, str] = field(default_factory=dict)
    """published album name -> folder; private"""
    cells: ParquetColumn | None = None
    """the pictures, where they are not read from `dataset`, whose image column is null then"""
    files: tuple[Path, ...] = ()
    """the files that hold the rows, where they are few"""
    also_read: tuple[Path, ...] = ()
    """see `Rows.also_read`"""
    caches: tuple[PrivateCache, ...] = ()
    """deleted with the last Source that refers to them"""

    def __len__(self) -> int:
        return len(self.dataset)

    def origin(self, row: int) -> str:
        """Say where a row comes from: its file's path relative to the source, or `row 17`, counted from 0.

        With several splits the name of the row's split and a slash stand before it, and rows count from the split's.
        """
        return self.origins[row] if self.origins is not None else f"row {row}"

    def split_of(self, row: int) -> str:
        """The name of a row's split."""
        return find_split(self.splits, row)

    def image_bytes(self, row: int) -> bytes:
        """Read the encoded bytes of one row.

        Raises:
            BadImage: the cell is null, the file is missing or unreadable, or lies in no class folder.
        """
        if self.labels_from == "folders" and self.class_ids[row] < 0:
            raise BadImage("lies in no class folder")
        cell = self.cells[row] if self.cells is not None else self._cells[row].as_py()
        if isinstance(cell, bytes):  # a column of raw files
            return cell
        if cell is None or (cell["bytes"] is None and not cell["path"]):
            raise BadImage("no image (null)")
        if cell["bytes"] is not None:
            return cell["bytes"]
        if is_address(cell["path"]):
            raise BadImage(f"{cell['path']} is an address, and only files on this machine are read")
        try:
            return _read_file((self.root or Path()) / cell["path"])
        except BadImage as error:
            raise error if self.origins is not None else BadImage(f"{error.reason}: {cell['path']}") from None

    @cached_property
    def _cells(self) -> pa.ChunkedArray:
        dataset = self.dataset
        if dataset._indices is None:
            return dataset.data.column(self.image_column)
        return dataset.select_columns([self.image_column]).with_format("arrow")[:].column(self.image_column)

    def stamp(self) -> str:
        """A hash that changes when a file of the source changes or goes, as far as its size and time tell."""
        paths = [str(path) for path in self.files] or [str(file["filename"]) for file in self.dataset.cache_files]
        paths = paths or pc.struct_field(self.dataset.data.column(self.image_column), "path").to_pylist()
        stamp = hashlib.sha256(json.dumps(asdict(self.options)).encode())
        for path in paths:
            stamp.update(f"{path} {_describe_file((self.root or Path()) / path) if path else None}\n".encode())
        return stamp.hexdigest()

    def other_columns(self) -> list[str]:
        """List the released columns beside image and label."""
        return [name for name in self.dataset.column_names if name not in (self.image_column, self.label_column)]


def _describe_file(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _read_file(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadImage("not a file")
        if status.st_size > _MAX_FILE_BYTES:
            raise BadImage(f"larger than {_MAX_FILE_BYTES} bytes")
        return path.read_bytes()
    except FileNotFoundError:
        raise BadImage("no such file") from None
    except OSError as error:
        raise BadImage(f"cannot be read ({error.strerror})") from None


def open_source(options: SourceOptions) -> Source:
    """Open a source and check everything that can be checked without decoding.

    Raises:
        InputError: no such path, split or column; no rows; labels that are not one class a row; fewer than two classes;
            a column that could carry clean pixels into the release.
    """
    names = read_split_names(options.split)
    for option, name in (("--image-column", options.image_column), ("--label-column", options.label_column)):
        if not name.isprintable() or not name:  # what is no Unicode is not printable
            raise InputError(f"{option} {name!r} is no name of a column; use letters")
    if options.image_column == options.label_column:
        raise InputError(f"--image-column and --label-column are both {options.image_column!r}")
    if not options.source:
        raise InputError("the source is empty; give a folder, a Parquet file, or a Hub id NAMESPACE/NAME")
    path = check_path(options.source, "the source")
    if path.exists():
        _require_text(path.resolve())
        options = replace(options, source=str(path.resolve()))
    elif not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", options.source) or path.parent.is_dir():
        raise InputError(f"{options.source} does not exist; give a folder, a Parquet file, or a Hub id NAMESPACE/NAME")
    options = replace(options, split="+".join(names))
    if len(names) > 1:
        require_splits(options)
    parts = [_open_rows(replace(options, split=name)) for name in names]
    options = guess_columns(parts[0].dataset.features, options)
    tables = drop_columns([part.dataset for part in parts], options)
    parts = [replace(part, dataset=table) for part, table in zip(parts, tables, strict=True)]
    splits = {name: len(table) for name, table in zip(names, tables, strict=True)}
    for name, count in splits.items():
        if count == 0:
            raise InputError(f"{options.source} has no rows in split {name!r}")
    rows = join_splits(dict(zip(names, parts, strict=True)), options) if len(names) > 1 else parts[0]
    return _check(rows, splits, options)


def _require_text(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(f"the name of the source {os.fsencode(path)!r} is not UTF-8; rename it") from None


def _open_rows(options: SourceOptions) -> Rows:
    """One split."""
    path = Path(options.source)
    return _open_local(path, options) if path.exists() else open_hub(options)


def _open_local(path: Path, options: SourceOptions) -> Rows:
    if path.is_file():
        if not is_parquet(path):
            raise InputError(f"{path} is one file and not Parquet; give the folder of images that it lies in")
        return _open_table(open_parquet(path, options), options)
    if is_saved_dataset(path):
        return _open_table(open_saved(path, options), options)
    metadata = find_metadata(path, options)
    if metadata is not None:
        return _open_table(open_metadata(metadata, options), options)
    if holds_parquet(path, options):
        return _open_table(open_parquet(path, options), options)
    return open_folder(path, options)


def _open_table(rows: Rows, options: SourceOptions) -> Rows:
    if options.label_from == "albums":
        raise InputError(
            f"{options.source} is read as a table, and --label-from albums takes a plain folder of folders"
        )
    return replace(rows, labels_from="clusters") if options.label_from == "clusters" else rows


def _check(rows: Rows, splits: dict[str, int], options: SourceOptions) -> Source:
    dataset = read_image_column(rows.dataset, options)
    needed = {options.image_column, options.label_column}
    refuse_words(list_words(dataset.features.to_dict(), splits), needed)
    refuse_splits_in_column(dataset, options)
    refuse_pixels(dataset, needed)
    refuse_unwritable(dataset)
    if options.label_from == "clusters":
        if options.label_column in dataset.column_names:
            raise InputError(
                f"{options.source} has a column {options.label_column!r} already; "
                "give the clusters another name with --label-column, or use that column without --label-from"
            )
        refuse_words([Word(options.label_column, Kind.COLUMN)], needed)
        classes: list[str] = []
        class_ids = np.full(len(dataset), -1, np.int64)
    elif options.label_column not in dataset.column_names:
        raise InputError(name_columns(dataset, options, options.label_column, "--label-column"))
    elif rows.class_ids is not None:
        classes, class_ids = list(dataset.features[options.label_column].names), rows.class_ids
    else:
        classes, class_ids = read_classes(dataset, options.label_column)
        refuse_words(name_classes(classes, options.label_column), needed)
    refuse_alike(classes, options.source)
    source = Source(
        options=options,
        dataset=dataset,
        image_column=options.image_column,
        label_column=options.label_column,
        layout=rows.layout,
        labels_from=rows.labels_from,
        classes=classes,
        class_ids=class_ids,
        splits=splits,
        left_out=rows.left_out,
        ignored=rows.ignored,
        unlisted=rows.unlisted,
        root=rows.root,
        origins=rows.origins,
        album_names=rows.album_names,
        cells=rows.cells,
        files=rows.files,
        also_read=rows.also_read,
        caches=rows.caches,
    )
    if options.label_from != "clusters":
        require_two_classes(source, class_ids)
    return source


def require_two_classes(source: Source, class_ids: np.ndarray) -> None:
    """Refuse rows of fewer than two classes: the loss would be constant and the noise nothing.

    Args:
        source: names the classes.
        class_ids: int64 [n], classes of the rows that are to be used, -1 for none.

    Raises:
        InputError: fewer than two classes have rows.
    """
    found = np.unique(class_ids[class_ids >= 0])
    if len(found) < 2:
        which = f"only class {source.classes[found[0]]!r} has images" if len(found) else "no class has images"
        raise InputError(
            f"{source.options.source}: {which}; at least two classes are needed (or --label-from clusters)"
        )


def label_by_clusters(
    source: Source, rows: np.ndarray, images: torch.Tensor | StoredImages, count: int, seed: int
) -> Source:
    """Give a source opened with `label_from="clusters"` its label column.

    Args:
        source: the source without labels.
        rows: int64 [K], the readable rows; the others get no label.
        images: uint8 [K, 3, R, R], their pictures.
        count: clusters asked for; fewer come out where some stay empty.
        seed: of the clustering.

    Returns:
        The source with a ClassLabel column `cluster-0`, `cluster-1`, ... behind its other columns.

    Raises:
        InputError: fewer than two clusters come out.
    """
    class_ids = np.full(len(source), -1, np.int64)
    class_ids[rows] = cluster_images(images, count, seed)
    classes = [f"cluster-{number}" for number in range(int(class_ids.max()) + 1)]
    column = pa.array(class_ids, pa.int64(), mask=class_ids < 0)
    dataset = source.dataset.add_column(source.label_column, column, feature=datasets.ClassLabel(names=classes))
    return replace(source, dataset=dataset, classes=classes, class_ids=class_ids)
