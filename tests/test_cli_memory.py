"""Memory follows the batch, not the dataset: the peak of a real process, on a set and on one four times as large."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rem_release.data.images.png_writing import encode_png
from tests.command_line import start, write_recipe

SMALL, LARGE = 1000, 4000
GRID = 128
"""side of the working grid: in memory, its images alone would add 140 MB from the small set to the large one"""


def write_source(folder: Path, count: int) -> Path:
    """Class folders of `count` images of 6 x 6 pixels, all of them different."""
    numbers = np.random.default_rng(0)
    for index in range(count):
        target = folder / "ab"[index % 2] / f"{index:05d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(encode_png(numbers.integers(0, 256, (6, 6, 3), np.uint8)))
    return folder


def write_table(folder: Path, count: int) -> Path:
    """One Parquet file of `count` images of 100 x 100 pixels, 30 KB each, in row groups of 3 MB."""
    numbers = np.random.default_rng(0)
    folder.mkdir()
    schema = pa.schema({"image": pa.binary(), "label": pa.string()})
    with pq.ParquetWriter(folder / "x.parquet", schema) as writer:
        for _ in range(count // 100):
            pngs = [encode_png(numbers.integers(0, 256, (100, 100, 3), np.uint8)) for _ in range(100)]
            writer.write_table(pa.table({"image": pngs, "label": ["a", "b"] * 50}, schema=schema))
    return folder / "x.parquet"


def peak_megabytes(env: dict[str, str], *arguments: object) -> float:
    process = start(*arguments, env=env | {"MALLOC_ARENA_MAX": "2"})
    assert process.stdout is not None
    assert process.stderr is not None
    said = process.stdout.read() + process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, said
    return usage.ru_maxrss / 1024


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_source, write_table])
def test_the_peak_does_not_grow_with_the_set(write, tmp_path: Path, process_env: dict[str, str]) -> None:
    recipe = write_recipe(tmp_path / "grid.yaml", data__resolution=GRID)
    peaks = []
    for count in (SMALL, LARGE):
        source = write(tmp_path / str(count), count)
        command = ("protect", source, "--out", tmp_path / f"run-{count}", "--recipe", recipe, "--method", "random")
        peaks.append(peak_megabytes(process_env, *command))
    assert peaks[1] < 1.1 * peaks[0], f"{peaks[0]:.0f} MB for {SMALL} images and {peaks[1]:.0f} MB for {LARGE}"
