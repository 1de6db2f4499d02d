"""The working set: every distinct image of a source at the working resolution, on disk as uint8."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from datasets import ClassLabel

from rem_release.atomic_files import read_arrays, write_arrays
from rem_release.data.array_file import ArrayFile, StoredImages
from rem_release.data.images.decoding import BadImage, decode, decode_noting
from rem_release.data.images.doubts import find_doubt
from rem_release.data.images.pixels import fit_working_grid, pixel_hash, shrink
from rem_release.data.in_order import map_in_order
from rem_release.data.sources.recognised import DecodingChoice, Fault
from rem_release.data.sources.source import Source, require_two_classes
from rem_release.data.sources.walking import enumerate_names
from rem_release.errors import BadImagesError, InputError

Progress = Callable[[int, int], None]
_IMAGES = "images.npy"
_INDEX = "index.npz"
_KNOWN = ("stamp", "crc32", "hashes", "sizes", "rows", "image_of_row", "bad", "doubts", "choices", "faults")


@dataclass(frozen=True, kw_only=True, eq=False)
class WorkingSet:
    """U distinct images that K readable rows show. Rows with equal released pixels share one image."""

    images: StoredImages
    """uint8 [U, 3, R, R], in order of first appearance"""
    labels: torch.Tensor
    """int64 [U], class of the first row that shows the image; -1 while clusters are not labelled"""
    keys: torch.Tensor
    """int64 [U], 63 bits of the hash: the image id of the draws. Equal keys of different images, which a hash of
    63 bits makes next to impossible, would share their random draws and nothing else"""
    sizes: torch.Tensor
    """int64 [U, 2], (height, width) as released"""
    hashes: list[str]
    """pixel hash of each image as released"""
    rows: np.ndarray
    """int64 [K], the readable rows of the source in order"""
    image_of_row: np.ndarray
    """int64 [K], index of the image that the row shows"""
    bad: list[tuple[str, str]]
    """(origin, reason) of every row that was left out"""
    doubts: list[tuple[str, str]]
    """(origin, reason) of every other row whose image may not be what its owner sees"""
    choices: dict[DecodingChoice, int]
    """of how many readable rows the decoding was a choice, by what was one"""
    faults: dict[Fault, int]
    """how many rows were left out, by why"""
    resolution: int


@dataclass(frozen=True)
class _Reading:
    grid: torch.Tensor
    hash: str
    size: tuple[int, int]
    choices: tuple[DecodingChoice, ...]
    doubt: str | None


def read_image(source: Source, row: int, max_side: int | None = None) -> np.ndarray:
    """Read one row as it is released before any noise: decoded by the policy, shrunk to `max_side` pixels.

    Returns:
        uint8 (H, W, 3).

    Raises:
        BadImage: the row cannot be read.
    """
    return shrink(decode(source.image_bytes(row)), max_side)


def read_working_set(
    source: Source,
    resolution: int,
    folder: Path,
    max_side: int | None = None,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> WorkingSet:
    """Decode every row once; images at working size go to disk, full ones are in memory a few at a time.

    Args:
        source: an opened source.
        resolution: R, side of the working grid in pixels.
        folder: where the images go; nobody else may read there, for they are clean.
        max_side: longer side in pixels to which released images are shrunk.
        skip_bad: leave unreadable rows out instead of raising, and those that are in doubt, see `find_doubt`.
        progress: called as progress(done, total) after each row.

    Raises:
        BadImagesError: rows that cannot be read, all of them.
        InputError: no row can be read, or fewer than two classes are left.
    """
    grids = ArrayFile(folder / _IMAGES, (len(source), 3, resolution, resolution), np.uint8, new=True)
    index: dict[str, int] = {}
    sizes: list[tuple[int, int]] = []
    rows: list[int] = []
    image_of_row: list[int] = []
    bad: list[tuple[str, str]] = []
    doubts: list[tuple[str, str]] = []
    choices: Counter[DecodingChoice] = Counter()
    faults: Counter[Fault] = Counter()
    readings = map_in_order(lambda row: _read(source, row, resolution, max_side), range(len(source)))
    for row, reading in enumerate(readings):
        if isinstance(reading, BadImage):
            bad.append((source.origin(row), reading.reason))
            faults[reading.fault] += 1
        elif reading.doubt and skip_bad:
            bad.append((source.origin(row), reading.doubt))
            faults["nearly all of one level"] += 1
        else:
            choices.update(reading.choices)
            doubts += [(source.origin(row), reading.doubt)] if reading.doubt else []
            if reading.hash not in index:
                grids.write(len(index), reading.grid.numpy())
                index[reading.hash] = len(index)
                sizes.append(reading.size)
            rows.append(row)
            image_of_row.append(index[reading.hash])
        if progress is not None:
            progress(row + 1, len(source))
    _judge(source, np.array(rows, np.int64), bad, skip_bad)
    grids.flush()
    return _assemble(source, grids, list(index), sizes, rows, image_of_row, bad, doubts, dict(choices), dict(faults))


def _assemble(
    source: Source,
    grids: ArrayFile,
    hashes: list[str],
    sizes: list[tuple[int, int]],
    rows: list[int],
    image_of_row: list[int],
    bad: list[tuple[str, str]],
    doubts: list[tuple[str, str]],
    choices: dict[DecodingChoice, int],
    faults: dict[Fault, int],
) -> WorkingSet:
    shown = np.array(image_of_row, np.int64)
    firsts = np.array(rows, np.int64)[np.unique(shown, return_index=True)[1]]
    return WorkingSet(
        images=StoredImages(grids, torch.arange(len(hashes))),
        labels=torch.from_numpy(source.class_ids[firsts]),
        keys=torch.tensor([int(text[:16], 16) >> 1 for text in hashes], dtype=torch.int64),
        sizes=torch.tensor(sizes, dtype=torch.int64),
        hashes=hashes,
        rows=np.array(rows, np.int64),
        image_of_row=shown,
        bad=bad,
        doubts=doubts,
        choices=dict(sorted(choices.items())),
        faults=dict(sorted(faults.items())),
        resolution=grids.shape[-1],
    )


def save_index(working: WorkingSet, source: Source, folder: Path) -> None:
    """Write what is known of the images beside them, so that another process need not decode them again."""
    write_arrays(
        folder / _INDEX,
        stamp=np.array(source.stamp()),
        crc32=np.array(working.images.crc32()),
        hashes=np.array(working.hashes),
        sizes=working.sizes.numpy(),
        rows=working.rows,
        image_of_row=working.image_of_row,
        bad=np.array(working.bad, np.str_).reshape(-1, 2),
        doubts=np.array(working.doubts, np.str_).reshape(-1, 2),
        choices=np.array(json.dumps(working.choices)),
        faults=np.array(json.dumps(working.faults)),
    )


def open_working_set(source: Source, resolution: int, folder: Path, check: bool = False) -> WorkingSet | None:
    """The images that another process, or a run that was stopped, has decoded.

    None where there are none, where the source changed since, and where they are damaged.

    Args:
        source: the same source, opened again.
        resolution: R.
        folder: as it was given to `read_working_set`.
        check: read all images, and compare them with their checksum.
    """
    known = read_arrays(folder / _INDEX, _KNOWN)
    if known is None or str(known["stamp"]) != source.stamp():
        return None
    try:
        grids = ArrayFile(folder / _IMAGES, (len(source), 3, resolution, resolution), np.uint8, new=False)
    except InputError:
        return None
    if check and grids.crc32(len(known["hashes"])) != known["crc32"]:
        return None
    bad, doubts = ([(str(origin), str(reason)) for origin, reason in known[name]] for name in ("bad", "doubts"))
    sizes, rows, shown = (known[name].tolist() for name in ("sizes", "rows", "image_of_row"))
    choices, faults = (json.loads(str(known[name])) for name in ("choices", "faults"))
    return _assemble(source, grids, known["hashes"].tolist(), sizes, rows, shown, bad, doubts, choices, faults)


def _judge(source: Source, rows: np.ndarray, bad: list[tuple[str, str]], skip_bad: bool) -> None:
    if bad and not skip_bad:
        raise BadImagesError(bad)
    if len(rows) == 0:
        raise InputError(f"{source.options.source}: none of its {len(source)} rows can be read as a photograph")
    if source.classes:
        require_two_classes(source, source.class_ids[rows])
        _require_no_class_lost(source, source.class_ids[rows])


def _require_no_class_lost(source: Source, kept: np.ndarray) -> None:
    """Refuse to publish the name of a class of which nothing could be read: it may never have been one.

    Albums are published as numbers, and a ClassLabel of a table names what its owner wrote there.
    """
    lost = np.setdiff1d(source.class_ids[source.class_ids >= 0], kept)
    is_named = source.labels_from == "column" and isinstance(source.dataset.features[source.label_column], ClassLabel)
    if len(lost) and source.labels_from != "albums" and not is_named:
        names = enumerate_names([source.classes[number] for number in lost])
        raise InputError(
            f"{source.options.source}: --skip-bad leaves no image of these classes, whose names would be published all "
            f"the same: {names}; mend an image of each, or move them out of the source"
        )


def _read(source: Source, row: int, resolution: int, max_side: int | None) -> _Reading | BadImage:
    try:
        decoded = decode_noting(source.image_bytes(row))
    except BadImage as error:
        return error
    image = shrink(decoded.pixels, max_side)
    size = (image.shape[0], image.shape[1])
    grid, doubt = fit_working_grid(image, resolution), find_doubt(image)
    return _Reading(grid, pixel_hash(image), size, decoded.choices, doubt)
