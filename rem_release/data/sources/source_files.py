"""Where the files of a source really lie, through whatever links."""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rem_release.data.sources.source import Source


def find_file_within(source: Source, folder: Path) -> Path | None:
    """Find a file of a source that lies in a folder, or leads there by links of folders or files.

    Args:
        source: an opened source.
        folder: the folder; it need not exist.

    Returns:
        The file as the source names it; None where all lie apart. A folder is resolved once, and a file where it is a
        link.
    """
    places: dict[str, set[str]] = defaultdict(set)
    for path in _list_files(source):
        place, name = os.path.split(path)
        places[place].add(name)
    inside = folder.resolve()
    for place, found in places.items():
        parent = (source.root or Path()) / place
        if parent.resolve().is_relative_to(inside):
            return parent / min(found)
        for name in sorted(found.intersection(_list_links(parent))):
            if (parent / name).resolve().is_relative_to(inside):
                return parent / name
    return None


def _list_files(source: Source) -> Iterator[str]:
    """The files that hold rows or describe them, those that `datasets` reads, and those that the images' cells name.

    Those that describe them are first, for they are named as the source has them.
    """
    yield from map(str, source.also_read)
    yield from map(str, source.files)
    yield from (str(file["filename"]) for file in source.dataset.cache_files)
    if source.cells is None:
        yield from _list_named(source.dataset.data.column(source.image_column))
    else:
        for file in source.files:
            for column in _read_names(file, source.image_column):
                yield from _list_paths(column)


def _list_named(cells: pa.ChunkedArray) -> Iterator[str]:
    """The paths of the cells that hold no bytes."""
    if pa.types.is_struct(cells.type):
        is_outside = pc.is_null(pc.struct_field(cells, "bytes"))
        yield from _list_paths(pc.struct_field(cells, "path").filter(is_outside))


def _read_names(file: Path, column: str) -> list[pa.ChunkedArray]:
    """The paths in a column of images, which are not read; none in a damaged file, which whoever reads it names."""
    try:
        table = pq.ParquetFile(file).read(columns=[f"{column}.path"])
    except (pa.ArrowException, OSError):
        return []
    return [
        part for part in table.flatten().columns if pa.types.is_string(part.type) or pa.types.is_large_string(part.type)
    ]


def _list_paths(column: pa.ChunkedArray) -> Iterator[str]:
    yield from (path for path in pc.unique(column.drop_null()).to_pylist() if path)


def _list_links(folder: Path) -> set[str]:
    """The links in a folder, by name; none in one that cannot be listed, of which nothing can be read either."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_symlink()}
    except OSError:
        return set()
