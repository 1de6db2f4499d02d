"""The clean images on which victims are tested: candidates, less those that repeat each other or the release."""

from dataclasses import replace
from typing import Literal

import numpy as np

from rem_release.audit.inputs.candidates import (
    Holdout,
    hold_out,
    open_given,
    open_reserve,
    require_classes,
    reserve_files,
)
from rem_release.audit.inputs.overlap import find_overlaps
from rem_release.audit.inputs.pairs import Progress
from rem_release.audit.inputs.remembered import pack_hashes, recall, remember, stamp_files, stamp_of, unpack_hashes
from rem_release.audit.inputs.target import Target
from rem_release.data.copies.near_groups import group_near_copies, near_levels
from rem_release.data.copies.near_images import Grids
from rem_release.data.images.pixels import pixel_hash
from rem_release.data.in_order import map_in_order
from rem_release.errors import InputError
from rem_release.radius import format_radius, whole_levels
from rem_release.release.run_folder import RunFolder

_LEVELS = 8
"""ρ_u that near copies are told by where nothing carries noise"""
_CURE = "--set holdout.overlap=drop leaves them out"


def choose_holdout(
    target: Target,
    holdout: str | None,
    run: RunFolder | None,
    share: float,
    overlap: Literal["refuse", "drop"],
    seed: int = 0,
    progress: Progress | None = None,
) -> Holdout:
    """Take the images that are given, else the run's reserve, else hold a share of the rows out of training.

    Images that overlap the rows that victims train on are refused or dropped, see `overlap.find_overlaps`.

    Args:
        target: what is audited.
        holdout: a source of clean images; its split `test` if it has one, else `train`.
        run: where a reserve may lie; None without a run.
        share: fraction of each class that is held out if it comes to that, above 0 and below 1; at least one image, and
            at least one is left to train on. Equal images stay together.
        overlap: what to do with images that overlap.
        seed: of the draw of those held out.
        progress: told (done, total) of the overlap guard.

    Raises:
        InputError: the source cannot be opened or read, its classes are not those of the target, a class has no
            image, or images overlap and are to be refused.
        VerificationError: the reserve is damaged.
    """
    if holdout is not None:
        chosen = open_given(target, holdout, run)
    elif run is not None and reserve_files(run):
        chosen = open_reserve(target, run)
    else:
        chosen = hold_out(target, share, seed)
    chosen = replace(chosen, kept=np.arange(len(chosen)), stamp=_stamp(chosen, target, share, overlap, seed))
    if known := recall(run, "holdout", chosen.stamp, ("kept", "clusters", "hashes", "dropped", "digest")):
        hashes, digest = unpack_hashes(known["hashes"]), str(known["digest"])
        rest = _select(chosen, known["kept"], dropped=int(known["dropped"]))
        return replace(rest, clusters=known["clusters"], hashes=hashes, digest=digest)
    chosen = _drop_repeats(chosen)
    found = find_overlaps(chosen.image, len(chosen), target, chosen.train_rows, progress)
    if not found:
        return _number_clusters(chosen, target)
    if overlap == "refuse":
        first = found[0]
        raise InputError(
            f"test image {chosen.names[first.image]} is within {first.distance} levels of the {first.kind} of "
            f"row {first.row} ({target.origin(first.row)}), as do {len(found)} of {len(chosen)} test images in all: "
            f"victims would be tested on what they learn; choose other images with --holdout, or {_CURE}"
        )
    kept = np.setdiff1d(np.arange(len(chosen)), [entry.image for entry in found])
    rest = _select(chosen, kept, dropped=chosen.dropped + len(found))
    require_classes(target, rest, f"after {len(found)} of {len(chosen)} images that overlap the release were dropped")
    return _number_clusters(rest, target)


def keep_holdout(run: RunFolder | None, holdout: Holdout, digest: str) -> None:
    """Leave what was found out, and the digest of the images on the working grid, for the next audit of the run."""
    arrays = {"kept": holdout.kept, "clusters": holdout.clusters, "hashes": pack_hashes(holdout.hashes)}
    remember(run, "holdout", holdout.stamp, **arrays, dropped=np.array(holdout.dropped), digest=np.array(digest))


def _stamp(holdout: Holdout, target: Target, share: float, overlap: str, seed: int) -> str:
    """Of all that decides which images are tested on, and how they look on the grid."""
    files = stamp_files(reserve_files(target.run)) if target.run and holdout.origin == "reserve" else None
    source = holdout.source.stamp() if holdout.source else None
    grid = [target.resolution, format_radius(target.rho_u)]
    return stamp_of(target.pairs.stamp, source, files, holdout.labels.tolist(), share, overlap, seed, grid)


def _number_clusters(holdout: Holdout, target: Target) -> Holdout:
    """Find near copies, and near copies of those: images within twice ρ_u of each other on the working grid."""
    levels = near_levels(whole_levels(target.rho_u) or _LEVELS)
    grids = Grids(holdout.image, np.arange(len(holdout)), target.resolution)
    return replace(holdout, clusters=group_near_copies(grids, levels).chain)


def _drop_repeats(holdout: Holdout) -> Holdout:
    """Keep the first of pixel-identical test images: repeats would pass for independent evidence."""
    hashes = list(map_in_order(lambda index: pixel_hash(holdout.image(index)), range(len(holdout))))
    first: dict[tuple[str, int], int] = {}
    for index, label in enumerate(holdout.labels.tolist()):
        first.setdefault((hashes[index], label), index)
    hashed = replace(holdout, hashes=hashes)
    if len(first) == len(holdout):
        return hashed
    return _select(hashed, np.array(list(first.values())), dropped=len(holdout) - len(first))


def _select(holdout: Holdout, kept: np.ndarray, dropped: int) -> Holdout:
    read = holdout.read
    return replace(
        holdout,
        labels=holdout.labels[kept],
        clusters=holdout.clusters[kept],
        names=[holdout.names[index] for index in kept],
        hashes=[holdout.hashes[index] for index in kept] if holdout.hashes else [],
        kept=holdout.kept[kept],
        dropped=dropped,
        read=lambda index: read(int(kept[index])),
    )
