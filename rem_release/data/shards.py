"""Parquet shards: the released rows, images embedded as PNG bytes, written and read as streams.

A shard is `data/SPLIT-00000-of-0000N.parquet`; one without noise lies in `clean/` instead. Its `image` column is the
struct {bytes, path} of a Hugging Face image with opaque paths (`000000017.png` in row 17 of `data/`); the schema
carries the features, so that `datasets` restores images and class names from the file alone. Row groups depend on the
rows alone, not on the batches in which they were handed over, so the same rows give the same bytes.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rem_release.data.sources.source import Source
from rem_release.errors import InputError, VerificationError

SHARD_BYTES = 500_000_000
_IMAGE_TYPE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
_BATCH_ROWS = 64
_PARQUET_TYPES = {"time32[s]": "time32[ms]", "date64": "date32"}


def image_path(row: int) -> str:
    """Give the opaque name of a released row: `000000017.png` for row 17, counted from 0."""
    return f"{row:09d}.png"


def partial_shard(folder: Path, split: str, index: int, subfolder: str = "data") -> Path:
    """Where a shard stands until all of them are written and get their names."""
    return folder / subfolder / _partial_name(split, index)


def _partial_name(split: str, index: int) -> str:
    return f".{split}-{index:05d}.partial"


def released_features(source: Source) -> datasets.Features:
    """Describe the released columns: those of the source in its order, the image column as a decoded image.

    Types are those of the source, but where Parquet has none for them: seconds become milliseconds, date64 date32. The
    ids of types, which nothing reads, are left out: they could hold anything.
    """
    features = {name: _in_parquet(feature) for name, feature in source.dataset.features.items()}
    features[source.image_column] = datasets.Image()
    return datasets.Features(features)


def _in_parquet(feature: Any) -> Any:
    if isinstance(feature, dict):
        return {name: _in_parquet(inner) for name, inner in feature.items()}
    if isinstance(feature, datasets.List):
        return datasets.List(_in_parquet(feature.feature), length=feature.length)
    if isinstance(feature, datasets.LargeList):
        return datasets.LargeList(_in_parquet(feature.feature))
    if isinstance(feature, datasets.ClassLabel):
        return datasets.ClassLabel(names=feature.names)
    if isinstance(feature, datasets.Translation):
        return datasets.Translation(languages=feature.languages)
    if isinstance(feature, datasets.TranslationVariableLanguages):
        return datasets.TranslationVariableLanguages(languages=feature.languages)
    if not isinstance(feature, datasets.Value):
        return feature
    return datasets.Value(_PARQUET_TYPES.get(feature.dtype, feature.dtype.replace("timestamp[s", "timestamp[ms")))


def released_columns(source: Source, rows: np.ndarray) -> pa.Table:
    """Take every column but the image of some source rows, with the types of `released_features`.

    Args:
        source: an opened source, labelled.
        rows: int64 [n], source rows in the order of the release.

    Returns:
        Table of n rows, ready for `ShardWriter.write`.
    """
    names = [name for name in source.dataset.column_names if name != source.image_column]
    table = source.dataset.select_columns(names).with_format("arrow")[[int(row) for row in rows]]
    schema = released_features(source).arrow_schema
    return table.cast(pa.schema([schema.field(name) for name in names]))


class ShardWriter:
    """Write a split as Parquet shards; a context manager that leaves nothing behind when its body fails.

    Files get their final names in `close`, all at once, when their number is known.

    Args:
        folder: the release folder.
        split: name of the split, such as `train`.
        features: the released columns in order, see `released_features`.
        image_column: the column that holds the images.
        max_shard_bytes: a shard is closed once it holds that much.
        max_row_group_bytes: a row group is closed once it holds that much; this bounds the memory that is needed.
        subfolder: where in the release folder the shards go.
        finished: how many rows each of the shards has that an earlier writer finished and left in the folder.
        on_shard: told of each finished shard, its file and its rows; such shards stay when the body fails.
        first_row: rows of the release before this split.

    Raises:
        InputError: `split` cannot be the name of a split.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        features: datasets.Features,
        image_column: str = "image",
        max_shard_bytes: int = SHARD_BYTES,
        max_row_group_bytes: int = 32_000_000,
        subfolder: str = "data",
        finished: Sequence[int] = (),
        on_shard: Callable[[Path, int], None] | None = None,
        first_row: int = 0,
    ) -> None:
        if not re.fullmatch(r"\w+(\.\w+)*", split):
            raise InputError(f"{split!r} cannot name a split; use letters, digits and _, as in --split train")
        self._folder = folder / subfolder
        self._split = split
        self._schema = features.arrow_schema
        self._image_column = image_column
        self._others = [name for name in self._schema.names if name != image_column]
        self._limits = (max_shard_bytes, min(max_row_group_bytes, max_shard_bytes))
        self._on_shard = on_shard
        self._shards = [partial_shard(folder, split, index, subfolder) for index in range(len(finished))]
        self._writer: pq.ParquetWriter | None = None
        self._shard_bytes = 0
        self._pending: list[tuple[bytes, pa.Table]] = []
        self._pending_bytes = 0
        self._rows = self._rows_before = first_row + sum(finished)
        self.files: list[Path] = []
        self._folder.mkdir(parents=True, exist_ok=True)
        for stale in set(self._folder.glob(f".{split}-*.partial")) - set(self._shards):
            stale.unlink()

    def write(self, pngs: Sequence[bytes], columns: pa.Table) -> None:
        """Append rows.

        Args:
            pngs: encoded images, one a row.
            columns: the other columns of the same rows, see `released_columns`.

        Raises:
            ValueError: the numbers of rows, the columns or their types do not fit.
        """
        if len(pngs) != len(columns):
            raise ValueError(f"{len(pngs)} images but {len(columns)} rows of other columns")
        columns = columns.select(self._others)
        wanted = pa.schema([self._schema.field(name) for name in self._others])
        if not columns.schema.equals(wanted):
            raise ValueError(f"columns do not fit the features: {columns.schema} instead of {wanted}")
        for index, png in enumerate(pngs):
            row = columns.slice(index, 1)
            self._pending.append((png, row))
            self._pending_bytes += len(png) + row.nbytes
            if self._pending_bytes >= self._limits[1]:
                self._write_row_group()

    def _write_row_group(self) -> None:
        """Write the pending rows as one row group; begin a shard before it, or end one after it, as the limit says."""
        if self._writer is None:
            self._shards.append(self._folder / _partial_name(self._split, len(self._shards)))
            self._writer = pq.ParquetWriter(
                self._shards[-1],
                self._schema,
                compression="snappy",
                use_dictionary=self._others,
                write_statistics=self._others,  # the statistics of the image column would be whole images
            )
        table = self._assemble()
        self._writer.write_table(table, row_group_size=max(1, len(table)))
        self._rows += len(self._pending)
        self._shard_bytes += self._pending_bytes
        self._pending, self._pending_bytes = [], 0
        if self._shard_bytes >= self._limits[0]:
            self._end_shard()

    def _assemble(self) -> pa.Table:
        pngs = pa.array([png for png, _ in self._pending], pa.binary())
        paths = pa.array([image_path(self._rows + index) for index in range(len(self._pending))], pa.string())
        arrays = {self._image_column: pa.StructArray.from_arrays([pngs, paths], fields=list(_IMAGE_TYPE))}
        if self._others and self._pending:
            others = pa.concat_tables([row for _, row in self._pending]).combine_chunks()
            arrays |= {name: others.column(name) for name in self._others}
        elif self._others:
            arrays |= {name: pa.array([], self._schema.field(name).type) for name in self._others}
        return pa.Table.from_arrays([arrays[name] for name in self._schema.names], schema=self._schema)

    def _end_shard(self) -> None:
        if self._writer is not None:
            self._writer.close()
            if self._on_shard:
                self._on_shard(self._shards[-1], self._rows - self._rows_before)
        self._writer, self._shard_bytes, self._rows_before = None, 0, self._rows

    def close(self) -> list[Path]:
        """Write what is pending and give the shards their names.

        Returns:
            The files in order, `SPLIT-00000-of-0000N.parquet`; `files` keeps them. Closing twice changes nothing.
        """
        if self._pending:
            self._write_row_group()
        self._end_shard()
        count = len(self._shards)
        for index, shard in enumerate(self._shards):
            self.files.append(shard.replace(self._folder / f"{self._split}-{index:05d}-of-{count:05d}.parquet"))
        self._shards = []
        return self.files

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        unfinished = self._shards[-1:] if self._writer is not None else []
        if self._writer is not None:
            self._writer.close()
        for shard in unfinished if self._on_shard else self._shards:
            shard.unlink(missing_ok=True)
        self._writer, self._shards, self._pending = None, [], []


@dataclass(frozen=True)
class ReleasedRow:
    """One row as it stands in the shards; what is missing there is None here."""

    number: int
    """position in the release, counted from 0 over all files"""
    file: Path
    png: bytes | None
    path: str | None
    columns: dict[str, Any]
    """the other columns as plain Python values"""


def iterate_rows(
    paths: Sequence[Path], columns: Sequence[str] | None = None, image_column: str = "image"
) -> Iterator[ReleasedRow]:
    """Stream the rows of shards, a few at a time.

    Args:
        paths: the shards in order.
        columns: other columns to read; None reads all of them.
        image_column: the column of images.

    Raises:
        VerificationError: a file is damaged, or lacks a column; the message names it.
    """
    number = 0
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                names = _choose_columns(file.schema_arrow, path, columns, image_column)
                for group in range(file.num_row_groups):  # a batch of its own each, so that memory stays bounded
                    for batch in file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group], columns=names):
                        for values in batch.to_pylist():
                            image = values.pop(image_column) or {}
                            yield ReleasedRow(number, path, image.get("bytes"), image.get("path"), values)
                            number += 1
        except (pa.ArrowException, OSError, ValueError) as error:
            raise VerificationError(f"{path.name} is damaged: {str(error).splitlines()[0]}") from error


def _choose_columns(schema: pa.Schema, path: Path, columns: Sequence[str] | None, image_column: str) -> list[str]:
    wanted = [image_column, *(schema.names if columns is None else columns)]
    missing = [name for name in wanted if name not in schema.names]
    if missing:
        raise VerificationError(f"{path.name} lacks the columns {missing}; it has {schema.names}")
    if not pa.types.is_struct(schema.field(image_column).type):
        raise VerificationError(f"{path.name}: column {image_column!r} does not hold images")
    return list(dict.fromkeys(wanted))
