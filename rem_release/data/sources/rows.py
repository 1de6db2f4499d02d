"""What the readers of the several kinds of SOURCE hand over: rows in source order, not checked yet."""

import shutil
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Literal

import datasets
import numpy as np
import pyarrow as pa

from rem_release.data.sources.parquet_column import ParquetColumn
from rem_release.data.sources.recognised import Layout

LabelsFrom = Literal["folders", "column", "albums", "clusters"]


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How to read a SOURCE. JSON-serialisable, so that a run can keep it and open the same source again."""

    source: str
    """a folder, a Parquet file, or a Hub dataset id; `open_source` makes a local path absolute"""
    split: str = "train"
    """its name, or several joined by `+`; `open_source` puts them in order"""
    image_column: str = "image"
    label_column: str = "label"
    layout: Literal["splits", "classes"] | None = None
    """what the folders at the top of a folder of images are; None looks at them"""
    label_from: Literal["albums", "clusters"] | None = None
    """where labels come from when they are neither a column nor class folders"""
    drop_columns: tuple[str, ...] = ()
    """other columns that are not released"""
    keep_columns: tuple[str, ...] | None = None
    """columns beside image and label that are read where they exist; None reads all of them"""


class PrivateCache:
    """A temporary folder that only this user can read, deleted with the last reference to it or with the process."""

    def __init__(self) -> None:
        self.name = mkdtemp(prefix="rem-release-")
        weakref.finalize(self, shutil.rmtree, self.name, ignore_errors=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """The rows of one split, or of several one after the other."""

    dataset: datasets.Dataset
    layout: Layout
    labels_from: LabelsFrom
    root: Path | None = None
    """the folder to which relative image paths belong"""
    origins: list[str] | None = None
    """where each row comes from, see `Source.origin`; None where rows have no files and are of one split"""
    class_ids: np.ndarray | None = None
    """int64 [rows] where the folder gives the class, -1 for files outside every class folder; else None"""
    album_names: dict[str, str] = field(default_factory=dict)
    """published album name -> folder; private"""
    cells: ParquetColumn | None = None
    """the images, where they are not read from `dataset`, whose image column is null then"""
    files: tuple[Path, ...] = ()
    """the files that hold the rows, where they are few"""
    also_read: tuple[Path, ...] = ()
    """other files that were read: metadata, what describes a table, and tables of other splits"""
    caches: tuple[PrivateCache, ...] = ()
    """what lives as long as the rows do, and is deleted with them"""
    left_out: tuple[str, ...] = ()
    """other splits that the source has"""
    ignored: tuple[str, ...] = ()
    """hidden files and files of operating systems that were passed over"""
    unlisted: dict[str, int] = field(default_factory=dict)
    """images beside a table that does not list them: folder -> how many"""


def point_at_files(paths: list[str]) -> pa.StructArray:
    """Build an image column {bytes, path} that points at files."""
    missing = pa.nulls(len(paths), pa.binary())
    return pa.StructArray.from_arrays([missing, pa.array(paths, pa.string())], names=["bytes", "path"])
