"""Which shards of a release are finished, and what was measured in them: what a stopped run goes on from.

Beside each finished shard, in `private/`, stands a `.npz` file of what its rows found out. A shard counts where its
bytes are those that were written; the first that does not, and all after it, are written again.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rem_release.atomic_files import read_arrays, write_arrays
from rem_release.data.shards import partial_shard
from rem_release.release.canonical import sha256_file
from rem_release.release.deletion import JOURNAL, RELEASE, delete_own
from rem_release.release.imperceptibility import Change

_MEASURES = ("largest", "where", "mean", "psnr", "ssim", "raised", "gain", "sampled", "samples")
_NAMES = ("fingerprint", "sha256", *_MEASURES)


@dataclass(frozen=True)
class WrittenRow:
    """What writing one row found out."""

    change: Change | None
    """None for a row without noise"""
    raised: bool
    """its noise rounded to nothing and was raised to the budget"""
    sample: np.ndarray | None
    """its tile of the figure, if it is shown there"""
    gain: float = 0.0
    """dB that subtracting a tile of the noise figure gains, see `NoiseGain`"""


class ShardJournal:
    """The shards of one split that are finished. `open_journals` opens those of all splits.

    Args:
        folder: where the journal lies, in `private/`.
        staging: the folder that becomes the release.
        split: of the shards.
        fingerprint: everything that decides the released bytes; shards of anything else do not count.
    """

    def __init__(self, folder: Path, staging: Path, split: str, fingerprint: str) -> None:
        self._folder = folder
        self._split = split
        self._fingerprint = fingerprint
        self._noted: list[WrittenRow] = []
        self.finished: list[int] = []
        """rows of each finished shard"""
        while self._is_finished(partial_shard(staging, split, len(self.finished))):
            pass

    def _path(self, index: int) -> Path:
        return self._folder / f"shard-{self._split}-{index:05d}.npz"

    def _is_finished(self, shard: Path) -> bool:
        """Take the next shard, where it is whole; one that has its final name already gets back the other."""
        for named in shard.parent.glob(f"{shard.stem[1:]}-of-*.parquet"):
            named.replace(shard)
        record = read_arrays(self._path(len(self.finished)), _NAMES)
        if record is None or str(record["fingerprint"]) != self._fingerprint or not shard.is_file():
            return False
        is_whole = str(record["sha256"]) == sha256_file(shard)
        if is_whole:
            self.finished.append(len(record["largest"]))
        return is_whole

    def written_rows(self) -> Iterator[WrittenRow]:
        """What the rows of the finished shards found out, in order."""
        for index in range(len(self.finished)):
            with np.load(self._path(index)) as record:
                yield from _read_rows(dict(record))

    def note(self, written_row: WrittenRow) -> None:
        """Take the next row, before it is written."""
        self._noted.append(written_row)

    def close_shard(self, shard: Path, rows: int) -> None:
        """Keep what the rows of a shard found out, once it is written: `ShardWriter`'s `on_shard`."""
        record = {"fingerprint": np.array(self._fingerprint), "sha256": np.array(sha256_file(shard))}
        write_arrays(self._path(len(self.finished)), **record, **_describe_rows(self._noted[:rows]))
        self.finished.append(rows)
        self._noted = self._noted[rows:]


def open_journals(folder: Path, staging: Path, splits: Iterable[str], fingerprint: str) -> dict[str, ShardJournal]:
    """Open the journal of every split; where no shard at all is finished, what an earlier attempt left is deleted.

    Args:
        folder: where the journals lie, in `private/`.
        staging: the folder that becomes the release.
        splits: names, in the order of the release.
        fingerprint: everything that decides the released bytes.

    Raises:
        InputError: one of the folders holds something that this tool did not write.
    """
    journals = {split: ShardJournal(folder, staging, split, fingerprint) for split in splits}
    if not any(journal.finished for journal in journals.values()):
        delete_own(folder.parent, folder.name, JOURNAL)
        delete_own(staging.parent, staging.name, RELEASE)
    folder.mkdir(exist_ok=True)
    staging.mkdir(exist_ok=True)
    return journals


def _describe_rows(written_rows: list[WrittenRow]) -> dict[str, np.ndarray]:
    none = Change(0, (0, 0, 0), 0.0, 0.0, None)  # nothing changed, which no protected row may say
    changes = [written_row.change or none for written_row in written_rows]
    samples = [written_row.sample for written_row in written_rows if written_row.sample is not None]
    return {
        "largest": np.array([change.largest for change in changes], np.int16),
        "where": np.array([change.where for change in changes], np.int64).reshape(-1, 3),
        "mean": np.array([change.mean for change in changes], np.float64),
        "psnr": np.array([change.psnr for change in changes], np.float64),
        "ssim": np.array([np.nan if change.ssim is None else change.ssim for change in changes], np.float64),
        "raised": np.array([written_row.raised for written_row in written_rows], np.bool_),
        "gain": np.array([written_row.gain for written_row in written_rows], np.float64),
        "sampled": np.array([written_row.sample is not None for written_row in written_rows], np.bool_),
        "samples": np.array(samples, np.uint8),
    }


def _read_rows(record: dict[str, np.ndarray]) -> Iterator[WrittenRow]:
    samples = iter(record["samples"])
    for row, largest in enumerate(record["largest"].tolist()):
        change = None
        if largest:
            y, x, channel = record["where"][row].tolist()
            ssim = float(record["ssim"][row])
            ratio, mean = float(record["psnr"][row]), float(record["mean"][row])
            change = Change(largest, (y, x, channel), mean, ratio, None if np.isnan(ssim) else ssim)
        sample = next(samples) if record["sampled"][row] else None
        yield WrittenRow(change, bool(record["raised"][row]), sample, float(record["gain"][row]))
