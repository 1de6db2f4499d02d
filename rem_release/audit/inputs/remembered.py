"""What an audit of a run found out about its images, for the next one: hashes, pairs, test images that overlap.

It lies in `private/`, for pixel hashes tell of originals to whoever has a candidate. It stands under a stamp of all
that it was found out from: the release by its digest, files of originals and of test images by size and time, see
`Source.stamp`. Images that are decoded all the same, to train or test on, are held against the hashes.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

import rem_release
from rem_release.atomic_files import read_arrays, write_arrays
from rem_release.recipe_files import hash_document
from rem_release.release.canonical import sha256_file
from rem_release.release.run_folder import RunFolder

What = Literal["pairs", "holdout"]
_STAMP = "stamp"
_DECODE = ("pillow", "numpy", "torch", "tifffile")
_READ = ("data/images", "data/copies", "audit/inputs", "verification/pairing.py", "verification/originals.py")
"""The code that finds out what is remembered."""


def stamp_of(*sources: Any) -> str:
    """One hash over plain values that name what something was found out from, and by which code."""
    return hash_document({"sources": list(sources), "versions": [version(name) for name in _DECODE], "code": _code()})


def stamp_files(files: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Files by name, size and time."""
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]


def recall(run: RunFolder | None, what: What, stamp: str, names: Sequence[str]) -> dict[str, np.ndarray] | None:
    """The arrays of these names; None where nothing is remembered, or it was found out from something else."""
    known = read_arrays(_place(run, what), [_STAMP, *names]) if run else None
    return known if known is not None and str(known[_STAMP]) == stamp else None


def remember(run: RunFolder | None, what: What, stamp: str, **arrays: np.ndarray) -> None:
    """Keep arrays for the next audit; where that cannot be, it finds out again."""
    if run is None or not run.private.is_dir() or recall(run, what, stamp, list(arrays)) is not None:
        return
    with suppress(OSError):
        write_arrays(_place(run, what), **{_STAMP: np.array(stamp)}, **arrays)


def pack_hashes(hashes: Sequence[str]) -> np.ndarray:
    """Hashes of 64 hexadecimal digits as uint8 [N, 32]."""
    return np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(-1, 32)


def unpack_hashes(packed: np.ndarray) -> list[str]:
    """What `pack_hashes` packed."""
    return [row.tobytes().hex() for row in packed]


def _place(run: RunFolder, what: What) -> Path:
    return run.private / f"audited-{what}.npz"


@cache
def _code() -> str:
    package = Path(rem_release.__file__).parent
    places = [package / place for place in _READ]
    files = {file for place in places for file in (place.rglob("*.py") if place.is_dir() else [place])}
    return hashlib.sha256("".join(sorted(f"{file.name} {sha256_file(file)}\n" for file in files)).encode()).hexdigest()
