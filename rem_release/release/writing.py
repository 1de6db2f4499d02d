"""Writing the released rows: every image read again, protected at its own size, encoded, and measured."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from rem_release.core.levels import protect_at_own_size
from rem_release.data.images.decoding import BadImage
from rem_release.data.images.pixels import pixel_hash
from rem_release.data.images.png_writing import encode_png
from rem_release.data.in_order import map_in_order
from rem_release.data.noise_store import NoiseStore
from rem_release.data.selection import Role
from rem_release.data.shards import SHARD_BYTES, ShardWriter, released_columns, released_features
from rem_release.data.sources.source import Source
from rem_release.data.working_set import WorkingSet, read_image
from rem_release.errors import InputError
from rem_release.release.figures import fit_tile
from rem_release.release.imperceptibility import ChangeMeter, measure_change
from rem_release.release.noise_gain import MAX_GAIN, NoiseGain
from rem_release.release.shard_journal import ShardJournal, WrittenRow

Progress = Callable[[int, int], None]
_FIGURE_IMAGES = 16
_BATCH_ROWS = 256
_AGAIN = "start again with --overwrite"


@dataclass(frozen=True)
class Choice:
    """What becomes of every readable row.

    Attributes:
        working: the images.
        roles: int8 [U] of `Role`.
        noise_index: int64 [U], where the noise of a protected image stands in the store; -1 for the others. Near
            copies of one size share one noise.
        release_unprotected: release the rows without noise too.
        max_side: longer side that images are shrunk to.
        near_copies: released rows whose image is a near copy of one that is released earlier.
    """

    working: WorkingSet
    roles: np.ndarray
    noise_index: np.ndarray
    release_unprotected: bool
    max_side: int | None
    near_copies: int = 0

    def with_noise(self) -> np.ndarray:
        """int64, the images that noise is made for, in the order of the store: the first of those that share one."""
        noise, firsts = np.unique(self.noise_index, return_index=True)
        return firsts[noise >= 0]

    def row_roles(self) -> np.ndarray:
        """int8 [K], the role of each readable row."""
        return self.roles[self.working.image_of_row]

    def released(self) -> np.ndarray:
        """int64, positions among the readable rows of those that are released, in order."""
        roles = self.row_roles()
        chosen = (roles == Role.PROTECTED) | ((roles == Role.UNPROTECTED) & self.release_unprotected)
        return np.flatnonzero(chosen)

    def count_released(self, splits: Mapping[str, int]) -> dict[str, int]:
        """How many rows of each split are released, given how many rows of the source it has, in order."""
        ends = np.cumsum(list(splits.values()))
        split_of_row = np.searchsorted(ends, self.working.rows[self.released()], side="right")
        return dict(zip(splits, np.bincount(split_of_row, minlength=len(ends)).tolist(), strict=True))


@dataclass
class Written:
    """What writing the rows found out."""

    meter: ChangeMeter = field(default_factory=ChangeMeter)
    raised: int = 0
    """protected rows whose noise rounded to nothing and was raised, see `protect_at_own_size`"""
    samples: list[np.ndarray] = field(default_factory=list)
    """protected images for the figure, as its tiles; none where it would tell them from clean ones"""
    gain: float = 0.0
    """dB, the most that subtracting a tile of the noise figure gains; above `MAX_GAIN` no further row is tried"""
    rows: int = 0

    def add(self, written_row: WrittenRow) -> None:
        """Take the next row."""
        if written_row.change is not None:
            self.meter.record(written_row.change, self.rows)
        if written_row.sample is not None:
            self.samples.append(written_row.sample)
        self.raised += written_row.raised
        self.gain = max(self.gain, written_row.gain)
        self.rows += 1


def write_rows(
    staging: Path,
    source: Source,
    choice: Choice,
    noise: NoiseStore,
    budget: int,
    journals: Mapping[str, ShardJournal],
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
    figure: NoiseGain | None = None,
) -> Written:
    """Write `data/` of the release, split after split, from where an earlier attempt was stopped.

    Args:
        staging: the folder that becomes the release.
        source: the images; each is read again and must be as it was.
        choice: what becomes of each row.
        noise: the noise of the protected images.
        budget: floor(255·ρ_u).
        journals: of the shards of each split that are finished.
        shard_bytes: a shard is closed once it holds that much.
        progress: told (done, total) rows.
        figure: the noise figure, which is held against every row.

    Raises:
        InputError: an image changed since it was read first.
        RuntimeError: a row left the budget, or rows are missing (a bug).
    """
    positions = choice.released()
    sampled = _choose_samples(choice, positions)
    result, first = Written(), 0

    def make_row(position: int) -> tuple[bytes, WrittenRow]:
        judged = figure if result.gain <= MAX_GAIN else None  # one row above it is enough
        return _make_row(source, choice, noise, budget, position, position in sampled, judged)

    for split, count in choice.count_released(source.splits).items():
        journal = journals[split]
        for written_row in journal.written_rows():
            result.add(written_row)
        rest = positions[result.rows : first + count]
        with ShardWriter(
            staging,
            split,
            released_features(source),
            source.image_column,
            max_shard_bytes=shard_bytes,
            finished=journal.finished,
            on_shard=journal.close_shard,
            first_row=first,
        ) as writer:
            made = map_in_order(make_row, [int(position) for position in rest])
            for (png, written_row), columns in zip(made, _columns_of(source, choice.working.rows[rest]), strict=True):
                journal.note(written_row)
                result.add(written_row)
                writer.write([png], columns)
                if progress:
                    progress(result.rows, len(positions))
        first += count
        if result.rows != first:
            raise RuntimeError(f"{result.rows} rows written instead of {first}, up to the split {split}")
    return result


def _columns_of(source: Source, rows: np.ndarray) -> Iterator[pa.Table]:
    """The other columns of each row, a table of one row each."""
    for first in range(0, len(rows), _BATCH_ROWS):
        batch = rows[first : first + _BATCH_ROWS]
        columns = released_columns(source, batch)
        for index in range(len(batch)):
            yield columns.slice(index, 1)


def _make_row(
    source: Source,
    choice: Choice,
    noise: NoiseStore,
    budget: int,
    position: int,
    is_sample: bool,
    figure: NoiseGain | None,
) -> tuple[bytes, WrittenRow]:
    working = choice.working
    row, image = int(working.rows[position]), int(working.image_of_row[position])
    clean = _read_again(source, choice, row, working.hashes[image])
    if choice.roles[image] != Role.PROTECTED:
        return encode_png(clean), WrittenRow(None, False, None)
    levels = noise.read(int(choice.noise_index[image]))
    tensor, raised = protect_at_own_size(torch.from_numpy(clean).permute(2, 0, 1), levels, budget)
    protected = np.ascontiguousarray(tensor.permute(1, 2, 0).numpy())
    change = measure_change(clean, protected)
    if not 0 < abs(change.largest) <= budget:
        raise RuntimeError(f"row {row}: the noise changes a pixel by {change.largest} levels of at most {budget}")
    _, gain = figure.find(clean, protected) if figure else (0, 0.0)
    return encode_png(protected), WrittenRow(change, raised, fit_tile(protected) if is_sample else None, gain)


def _read_again(source: Source, choice: Choice, row: int, expected: str) -> np.ndarray:
    try:
        clean = read_image(source, row, choice.max_side)
    except BadImage as error:
        raise InputError(f"{source.origin(row)} cannot be read any more ({error.reason}); {_AGAIN}") from None
    if pixel_hash(clean) != expected:
        raise InputError(f"{source.origin(row)} changed while it was being protected; {_AGAIN}")
    return clean


def write_reserve(folder: Path, source: Source, choice: Choice) -> int:
    """Keep the reserved images, clean, in `private/`; returns how many rows there are."""
    positions = np.flatnonzero(choice.row_roles() == Role.RESERVED)
    if len(positions) == 0:
        return 0
    working = choice.working
    rows = working.rows[positions]

    def make_row(position: int) -> bytes:
        expected = working.hashes[int(working.image_of_row[position])]
        return encode_png(_read_again(source, choice, int(working.rows[position]), expected))

    with ShardWriter(folder, "reserve", released_features(source), source.image_column) as writer:
        made = map_in_order(make_row, [int(position) for position in positions])
        for png, columns in zip(made, _columns_of(source, rows), strict=True):
            writer.write([png], columns)
    return len(positions)


def _choose_samples(choice: Choice, positions: np.ndarray) -> set[int]:
    """Protected rows for the figure, taken from the classes in turn.

    No row where unprotected ones are released too: the figure would tell which of them are protected.
    """
    working = choice.working
    if (choice.row_roles()[positions] == Role.UNPROTECTED).any():
        return set()
    protected = [int(p) for p in positions if choice.roles[working.image_of_row[p]] == Role.PROTECTED]
    seen: dict[int, int] = {}
    ranked = []
    for position in protected:
        label = int(working.labels[working.image_of_row[position]])
        seen[label] = seen.get(label, 0) + 1
        if seen[label] <= _FIGURE_IMAGES:
            ranked.append((seen[label], label, position))
    return {position for _, _, position in sorted(ranked)[:_FIGURE_IMAGES]}
