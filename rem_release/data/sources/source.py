"""A SOURCE of images, opened: rows in order, their classes, and the columns that are released with them."""

import hashlib
import json
import stat
import unicodedata
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path, PurePath

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rem_release.data.images.decoding import BadImage
from rem_release.data.sources.flat_folders import is_table_or_archive
from rem_release.data.sources.parquet_column import ParquetColumn
from rem_release.data.sources.reading import is_address
from rem_release.data.sources.recognised import Fault, Layout
from rem_release.data.sources.rows import LabelsFrom, PrivateCache
from rem_release.data.sources.rows import SourceOptions as SourceOptions
from rem_release.data.sources.splits import find_split
from rem_release.errors import InputError

_MAX_FILE_BYTES = 2**31
_MISSING: Fault = "missing, or unreadable on the disk"


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
    """hidden files and files of operating systems that were passed over"""
    unlisted: dict[str, int] = field(default_factory=dict)
    """images that a metadata file does not list: folder -> how many"""
    root: Path | None = None
    origins: list[str] | None = None
    album_names: dict[str, str] = field(default_factory=dict)
    """published album name -> folder; private"""
    cells: ParquetColumn | None = None
    """the images, where they are not read from `dataset`, whose image column is null then"""
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
            BadImage: the cell is null, the file is missing or unreadable, or is in no class folder.
        """
        if self.labels_from == "folders" and self.class_ids[row] < 0:
            raise BadImage(f"is in no class folder{self._advise(row)}", "in no class folder")
        cell = self.cells[row] if self.cells is not None else self._cells[row].as_py()
        if isinstance(cell, bytes):  # a column of raw files
            return cell
        if cell is None or (cell["bytes"] is None and not cell["path"]):
            raise BadImage("no image (null)", "no image in the row")
        if cell["bytes"] is not None:
            return cell["bytes"]
        if is_address(cell["path"]):
            raise BadImage(f"{cell['path']} is an address, and only files on this machine are read", _MISSING)
        try:
            return _read_file((self.root or Path()) / cell["path"])
        except BadImage as error:
            if self.origins is not None:
                raise
            raise BadImage(f"{error.reason}: {cell['path']}", error.fault) from None

    def _advise(self, row: int) -> str:
        if not is_table_or_archive(self.origin(row)):
            return ""
        layout = "splits" if self.layout == "class folders of splits" else "classes"
        return f": move it elsewhere, or add --layout {layout} to pass over tables and archives beside class folders"

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


def suggest(path: Path) -> str:
    """Say the name of a file that may be meant: in other letters, or with what follows the dot."""
    alike = _list_names(path.parent).get(_spell(path.name), [])
    return f"; {alike[0]} is there" if len(alike) == 1 else ""


@lru_cache(maxsize=16)
def _list_names(folder: Path) -> dict[str, list[str]]:
    """The names in a folder by their spelling, with and without what follows the dot."""
    found: dict[str, list[str]] = {}
    with suppress(OSError):
        for name in sorted(entry.name for entry in folder.iterdir()):
            for spelling in {_spell(name), _spell(PurePath(name).stem)}:
                found.setdefault(spelling, []).append(name)
    return found


def _spell(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold().strip()


def _read_file(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadImage("not a file", _MISSING)
        if status.st_size > _MAX_FILE_BYTES:
            raise BadImage(f"larger than {_MAX_FILE_BYTES} bytes", "too large")
        return path.read_bytes()
    except FileNotFoundError:
        raise BadImage(f"no such file{suggest(path)}", _MISSING) from None
    except OSError as error:
        raise BadImage(f"cannot be read ({error.strerror})", _MISSING) from None


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
