"""What a run keeps in `private/` about rows: which source row each released row is, and what was left out."""

import csv
import hashlib
import io
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rem_release.atomic_files import write_atomically, written_atomically
from rem_release.data.selection import Role
from rem_release.data.shards import released_columns, released_features
from rem_release.data.sources.source import Source
from rem_release.errors import InputError
from rem_release.recipe import Recipe
from rem_release.release.writing import Choice
from rem_release.versions import OWN, find_versions

_BATCH_ROWS = 4096


def fingerprint_of(recipe: Recipe, seed: int, choice: Choice, classes: list[str], weights_sha256: str | None) -> str:
    """One hash over everything that decides the noise: what a checkpoint is good for."""
    chosen = [choice.working.hashes[index] for index in np.flatnonzero(choice.roles == Role.PROTECTED)]
    shared = choice.noise_index.tolist()
    values = [recipe.sha256(), seed, classes, choice.working.labels.tolist(), chosen, shared, weights_sha256]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def fingerprint_of_release(fingerprint: str, source: Source, choice: Choice, shard_bytes: int) -> str:
    """One hash over everything that decides the released bytes, given the noise: what a finished shard is good for.

    Args:
        fingerprint: of the noise.
        source: for the columns beside the image.
        choice: which rows are released.
        shard_bytes: size of the shards.
    """
    rows = choice.working.rows[choice.released()]
    versions = list(find_versions((OWN, "pyarrow", "pillow", "numpy", "isal", "torch")).values())
    values = [fingerprint, versions, shard_bytes, choice.max_side, str(released_features(source)), source.splits]
    digest = hashlib.sha256(json.dumps(values).encode())
    for first in range(0, len(rows), _BATCH_ROWS):
        batch = rows[first : first + _BATCH_ROWS]
        sink = pa.BufferOutputStream()
        columns = released_columns(source, batch)
        with pa.ipc.new_stream(sink, columns.schema) as writer:
            writer.write_table(columns)
        digest.update(batch.tobytes() + sink.getvalue())
    return digest.hexdigest()


def write_row_map(path: Path, source: Source, choice: Choice) -> None:
    """Write one record for each readable row: where it came from, what became of it, and where it is released."""
    working, roles = choice.working, choice.row_roles()
    released = np.full(len(working.rows), -1, np.int64)
    positions = choice.released()
    released[positions] = np.arange(len(positions))
    table = pa.table(
        {
            "source_row": pa.array(working.rows),
            "origin": pa.array([source.origin(int(row)) for row in working.rows]),
            "role": pa.array([Role(role).name.lower() for role in roles]),
            "released_row": pa.array(released, mask=released < 0),
            "clean_sha256": pa.array([working.hashes[image] for image in working.image_of_row]),
        }
    )
    with written_atomically(path) as temporary:
        pq.write_table(table, temporary)


@dataclass(frozen=True)
class RowRecord:
    """What the run noted about one released row."""

    source_row: int
    origin: str
    """see `Source.origin`"""
    repeat: int
    """how many earlier rows have the same origin"""
    protected: bool
    clean_sha256: str
    """pixel hash of the original as it would be released"""


def read_row_map(path: Path) -> list[RowRecord]:
    """The record of each released row, in order.

    Raises:
        InputError: the record is damaged.
    """
    try:
        rows = pq.read_table(path).to_pylist()
        seen: Counter[str] = Counter()
        released: list[tuple[int, RowRecord]] = []
        for row in sorted(rows, key=lambda row: row["source_row"]):
            origin, number = row["origin"], row["released_row"]
            if number is not None:
                is_protected = row["role"] == "protected"
                record = RowRecord(row["source_row"], origin, seen[origin], is_protected, row["clean_sha256"])
                released.append((number, record))
            seen[origin] += 1
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged: {str(error).splitlines()[0]}") from None
    return [record for _, record in sorted(released, key=lambda pair: pair[0])]


def write_skipped(path: Path, bad: list[tuple[str, str]]) -> None:
    """Write the list of files that were left out, as CSV with the columns file and reason."""
    if not bad:
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("file", "reason"), *bad])
    write_atomically(path, text.getvalue().encode())
