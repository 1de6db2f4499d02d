"""The overlap guard: test images that stand in the release, in whatever bytes, would test memory.

A test image overlaps a row if it is within ρ_u of the protected image or of its original (see `near_images`).
"""

from dataclasses import dataclass

import numpy as np

from rem_release.audit.inputs.pairs import Progress, Read
from rem_release.audit.inputs.target import Target
from rem_release.data.copies.near_images import Grids, find_near
from rem_release.radius import whole_levels

_WIDEST = 32


@dataclass(frozen=True)
class Overlap:
    """A test image and the first row that it overlaps."""

    image: int
    row: int
    distance: int
    """largest difference in levels, on the working grid"""
    kind: str
    """`original` or `protected image`"""


def find_overlaps(
    read: Read, count: int, target: Target, rows: np.ndarray, progress: Progress | None = None
) -> list[Overlap]:
    """Compare test images with the rows that victims train on.

    Args:
        read: test images by number, uint8 (H, W, 3).
        count: T, how many there are.
        target: what is audited.
        rows: int64 [K], the rows to compare with.
        progress: told (done, total) images read.

    Returns:
        One entry for each test image that overlaps, in order; its original counts before its protected image. The
        radius is at most 32 levels: another method may change single pixels by more, and its originals are known.
    """
    levels = min(whole_levels(target.rho_u), _WIDEST)
    changed = rows[target.changed[rows]]
    total, done = count + len(rows) + len(changed), 0

    def report() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, total)

    tests = Grids(read, np.arange(count), target.resolution, report)
    found: dict[int, Overlap] = {}
    for kind, reader, chosen in (
        ("original", target.clean, rows),
        ("protected image", target.protected, changed),
    ):
        grids = Grids(reader, chosen, target.resolution, report)
        for near in find_near(tests, grids, levels, skip=set(found), first_only=True):
            found[near.one] = Overlap(near.one, near.other, near.distance, kind)
    return [found[image] for image in sorted(found)]
