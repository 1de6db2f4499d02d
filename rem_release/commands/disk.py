"""What a run takes on disk, and what a released row takes, from a short probe on some of its images."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rem_release.commands.protect_options import ProtectOptions
from rem_release.core.levels import protect_at_own_size
from rem_release.data.images.decoding import BadImage, decode
from rem_release.data.images.pixels import shrink
from rem_release.data.images.png_writing import encode_png
from rem_release.data.sources.source import Source
from rem_release.errors import RemReleaseError
from rem_release.radius import whole_levels
from rem_release.release.imperceptibility import measure_change
from rem_release.release.run_folder import RunFolder
from rem_release.training.checkpoints import KEPT
from rem_release.training.kept_rows import count_bytes

_SAMPLE_ROWS, _PASSES = 24, 4
_MAX_SECONDS = 5.0
_CHECKPOINTS = KEPT + 1
"""those that are kept and one that is being written, each with what the optimisers know"""


@dataclass(frozen=True)
class RowProbe:
    """One released row, on average."""

    png_bytes: float
    read_seconds: float
    write_seconds: float


@dataclass(frozen=True)
class DiskNeed:
    """Bytes that a run takes on disk at its fullest."""

    working_bytes: int
    """decoded images on the working grid; deleted at the end"""
    noise_bytes: int
    checkpoint_bytes: int
    kept_bytes: int
    """values that a training keeps for each image, once, and their journals; deleted at the end"""
    release_bytes: int
    """with the reserve, which lies in `private/`"""

    @property
    def total(self) -> int:
        """All of it together."""
        return self.working_bytes + self.noise_bytes + self.checkpoint_bytes + self.kept_bytes + self.release_bytes


def probe_rows(options: ProtectOptions, source: Source, rows: np.ndarray) -> RowProbe:
    """Read, protect with random noise, and encode some rows spread over the source, for some seconds.

    Args:
        options: radius, working resolution and largest side.
        source: an opened source.
        rows: int64 [n], those that will be released. Unreadable ones are passed over.
    """
    budget, resolution = whole_levels(options.recipe.noise.rho_u), options.recipe.data.resolution
    generator = torch.Generator().manual_seed(0)
    chosen = rows[np.linspace(0, len(rows) - 1, min(_SAMPLE_ROWS, len(rows))).astype(int)]
    size, reading, writing, done = 0, 0.0, 0.0, 0
    started = time.perf_counter()
    for row in _spread(chosen):
        began = time.perf_counter()
        if done and began - started > _MAX_SECONDS:
            break
        try:
            encoded = source.image_bytes(int(row))
            began = time.perf_counter()  # where rows lie far apart, finding one is no measure of reading all in order
            clean = shrink(decode(encoded), options.max_side)
        except BadImage:
            continue
        read = time.perf_counter()
        levels = torch.randint(-budget, budget + 1, (3, resolution, resolution), generator=generator).to(torch.int8)
        tensor, _ = protect_at_own_size(torch.from_numpy(clean).permute(2, 0, 1), levels, budget)
        protected = np.ascontiguousarray(tensor.permute(1, 2, 0).numpy())
        measure_change(clean, protected)
        size += len(encode_png(protected))
        reading, writing = reading + read - began, writing + time.perf_counter() - read
        done += 1
    return RowProbe(size / max(done, 1), reading / max(done, 1), (reading + writing) / max(done, 1))


def _spread(rows: np.ndarray) -> np.ndarray:
    """The rows in an order in which any first part is spread over all, in passes that go forward: files read so."""
    return np.concatenate([rows[first::_PASSES] for first in range(_PASSES)])


def count_disk(options: ProtectOptions, source: Source, png_bytes: float) -> DiskNeed:
    """What the run will take, with so many bytes for each row."""
    recipe, rows = options.recipe, len(source)
    grid = rows * 3 * recipe.data.resolution**2
    classes = len(source.classes) or recipe.data.clusters
    setting = recipe.set_for(classes, options.known_seed)
    checkpoints = _CHECKPOINTS * recipe.noise.count_checkpoint_bytes(setting)
    kept = count_bytes(recipe.noise.count_kept_bytes(setting), rows, journals=KEPT)
    return DiskNeed(grid, grid, checkpoints, kept, round(png_bytes * rows))


def check_disk(options: ProtectOptions, run: RunFolder, source: Source) -> None:
    """Refuse a disk that is too small, before any work.

    Raises:
        RemReleaseError: names what is needed and what is free.
    """
    probe = probe_rows(options, source, np.arange(len(source)))
    need = count_disk(options, source, probe.png_bytes).total
    free = free_bytes(run.path) + _size_of(run.path)  # what a run there holds is used again, or replaced
    if need > free:
        raise RemReleaseError(
            f"--out {run.path} needs about {write_size(need)} on its disk, and {write_size(free)} are free there; "
            "make room, or choose another --out"
        )


def free_bytes(path: Path) -> int:
    """Free bytes on the disk of a path that need not exist yet."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _size_of(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def write_size(count: int) -> str:
    """Bytes as people say them."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
