"""Whether any row says more beside its image than a description needs, whatever it is written as."""

from collections.abc import Collection, Iterator
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from rem_release.data.leaks.row_capacity import Excess, RowCapacity
from rem_release.release.facts import Facts

_BATCH_ROWS = 256
_SHOWN = 5


def read_batches(release: Path, facts: Facts, names: list[str]) -> Iterator[tuple[pa.RecordBatch, list[str]]]:
    """Some columns of all shards, a few rows at a time, and for each row where it stands: `row 7`.

    Raises:
        ArrowException, OSError, ValueError: a file is damaged.
    """
    for file_name in sorted(name for name, file in facts.files.items() if file.rows is not None) if names else ():
        of_file = "" if file_name.startswith("data/") else f" of {file_name}"
        row = 0 if of_file else _first_row(facts, file_name)
        with pq.ParquetFile(release / file_name) as file:
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=names):
                    yield batch, [f"row {row + index}{of_file}" for index in range(batch.num_rows)]
                    row += batch.num_rows


def find_excess(
    release: Path, facts: Facts, features: datasets.Features, kept: Collection[str]
) -> Iterator[tuple[Excess, str]]:
    """The first rows that say too much, each time without the columns that were named before; and what to do.

    All columns count but the images and what the owner keeps: see `data.row_capacity`.
    """
    data = facts.data
    names = [name for name in data.columns if name != data.image_column and name not in kept]
    splits = [*data.split_images, *([facts.clean_split.split] if facts.clean_split else [])]
    capacity = RowCapacity({name: features[name] for name in names}, data.images, [data.image_column, *splits])
    for batch, places in read_batches(release, facts, names):
        for excess in capacity.take(batch, places):
            yield excess, _describe(excess, data.label_column)


def _describe(excess: Excess, label: str) -> str:
    shown = [f"{name} ({size} bytes)" for name, size in list(excess.columns.items())[:_SHOWN]]
    more = f" and {len(excess.columns) - _SHOWN} more" if len(excess.columns) > _SHOWN else ""
    dropped = " ".join(f"--drop-column {name}" for name in excess.columns if name != label)
    cure = f"protect again with {dropped}" if dropped else "give the classes shorter names and protect again"
    return (
        f"{excess.where} says {excess.size} bytes beside its image, and {excess.most} are allowed: "
        f"column {', '.join(shown)}{more}; {cure}, or push with "
        + " ".join(f"--keep-column {name}" for name in excess.columns)
    )


def _first_row(facts: Facts, file_name: str) -> int:
    """Rows of the release before this shard."""
    return sum(file.rows or 0 for name, file in facts.files.items() if name.startswith("data/") and name < file_name)
