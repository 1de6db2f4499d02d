"""How `protect` reads its images: once on each host, and what becomes of each of them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from rem_release.commands.protect_options import ProtectOptions
from rem_release.console import Console
from rem_release.data.copies.near_groups import (
    MAX_TOGETHER,
    NearGroups,
    group_near_copies,
    mark_near_copies,
    near_levels,
    number_noises,
)
from rem_release.data.copies.near_images import Grids
from rem_release.data.selection import Role, choose_roles
from rem_release.data.sources.clusters import label_by_clusters
from rem_release.data.sources.recognised import DecodingChoice, LeftOut
from rem_release.data.sources.rows import PrivateCache
from rem_release.data.sources.source import Source
from rem_release.data.working_set import WorkingSet, open_working_set, read_working_set, save_index
from rem_release.errors import InputError, RemReleaseError
from rem_release.radius import whole_levels
from rem_release.release.run_folder import RunFolder
from rem_release.release.writing import Choice

_SHOWN = 10


@contextmanager
def images_read(
    options: ProtectOptions, source: Source, run: RunFolder | None, accelerator: Accelerator, console: Console
) -> Iterator[tuple[Source, Choice]]:
    """Read every image, label clusters, and decide what becomes of each image.

    One process of each host decodes and the others open what it made. What a stopped run has decoded is taken up again
    while the files of its source are the same.

    Args:
        options: what the command line said.
        source: opened; without labels where they come from clusters.
        run: keeps the decoded images once it is opened, until it is finished; None for a plan, which keeps nothing.
        accelerator: the processes.
        console: told how far it is.

    Raises:
        InputError: images that cannot be read; nothing to protect.
        RemReleaseError: the process that reads for this one failed.
    """
    keeper = run if accelerator.is_main_process else None
    with _room(options, source, keeper, accelerator) as folder:
        working = _read_once_a_host(options, source, folder, accelerator, console)
        yield _choose(options, source, working, console)


@contextmanager
def _room(
    options: ProtectOptions, source: Source, keeper: RunFolder | None, accelerator: Accelerator
) -> Iterator[Path | None]:
    """Where this process reads its images to; None where another process reads them."""
    if not accelerator.is_local_main_process:
        yield None
    elif keeper is None:
        cache = PrivateCache()
        try:
            yield Path(cache.name)
        except OSError as error:
            error.filename = error.filename or cache.name  # not --out, which lies elsewhere
            raise
    elif options.resume and open_working_set(source, options.recipe.data.resolution, keeper.working, check=True):
        yield keeper.working
    else:
        with keeper.read_into() as folder:
            yield folder


def _read_once_a_host(
    options: ProtectOptions, source: Source, folder: Path | None, accelerator: Accelerator, console: Console
) -> WorkingSet:
    resolution, failure = options.recipe.data.resolution, None
    try:
        working = open_working_set(source, resolution, folder) if folder else None
        if folder and working is None:
            with console.stage("Reading images") as report:
                working = read_working_set(source, resolution, folder, options.max_side, options.skip_bad, report)
            save_index(working, source, folder)
    except RemReleaseError as error:
        working, failure = None, error
    told = gather_object([(str(folder), str(failure) if failure else None)])
    failures = [text for _, text in told if text]
    if failures:
        raise failure or RemReleaseError.again(failures[0])
    if working is None:
        theirs = Path(told[accelerator.process_index - accelerator.local_process_index][0])
        working = open_working_set(source, resolution, theirs)
    accelerator.wait_for_everyone()  # the folder may be renamed from here on
    if working is None:
        raise RemReleaseError(f"{options.source.source} changed while it was being read; start again")
    return working


def _choose(options: ProtectOptions, source: Source, working: WorkingSet, console: Console) -> tuple[Source, Choice]:
    if source.labels_from == "clusters":
        shown = working.images.subset(torch.from_numpy(working.image_of_row))
        source = label_by_clusters(source, working.rows, shown, options.recipe.data.clusters, options.known_seed)
        firsts = np.unique(working.image_of_row, return_index=True)[1]
        working = replace(working, labels=torch.from_numpy(source.class_ids[working.rows[firsts]]))
    _warn(working, source, console)
    choice = _draw_roles(options, source, working, console)
    _require_rows(choice, source)
    return source, choice


def _draw_roles(options: ProtectOptions, source: Source, working: WorkingSet, console: Console) -> Choice:
    levels = near_levels(whole_levels(options.recipe.noise.rho_u))
    with console.stage("Looking for near copies") as report:
        grids = Grids.of_stored(working.images, working.sizes)
        near = group_near_copies(grids, levels, report)
    roles = choose_roles(
        working,
        source.classes,
        options.reserve,
        options.fraction,
        options.known_seed,
        near,
        options.release_unprotected,
    )
    index = number_noises(roles == Role.PROTECTED, near, working.sizes.numpy())
    choice = Choice(working, roles, index, options.release_unprotected, options.max_side)
    is_released = np.zeros(len(roles), bool)
    is_released[working.image_of_row[choice.released()]] = True
    has_near = mark_near_copies(grids, levels, near, is_released)
    _warn_of_near_copies(working, near, roles, has_near, levels, source, console)
    return replace(choice, near_copies=int(has_near[working.image_of_row].sum()))


def _warn_of_near_copies(
    working: WorkingSet,
    near: NearGroups,
    roles: np.ndarray,
    has_near: np.ndarray,
    levels: int,
    source: Source,
    console: Console,
) -> None:
    if has_near.any():
        copy = int(np.flatnonzero(has_near)[0])
        rows = [int(np.argmax(working.image_of_row == image)) for image in (copy, near.earlier[copy])]
        one, other = (source.origin(int(working.rows[row])) for row in rows)
        console.warn(
            f"{has_near.sum()} images are near copies of earlier ones, at most {levels} levels apart, such as {one} "
            f"of {other}. Two noises average away, so near copies of one size get one noise; of those that "
            "differ in size leave out all but one"
        )
    if chains := near.split_chains():
        drawn = sorted({Role(role).name.lower() for members in chains for role in roles[members]})
        console.warn(
            f"{sum(map(len, chains))} images are linked in chains of more than {MAX_TOGETHER} near copies, the "
            f"longest of {max(map(len, chains))}. They are split into groups with a noise each, which average away "
            "from group to group; where --reserve or --fraction would part near copies, all of the chain are protected "
            f"(now these images are {', '.join(drawn)})"
        )


def _require_rows(choice: Choice, source: Source) -> None:
    for split, count in choice.count_released(source.splits).items():
        if count == 0:
            raise InputError(
                f"--split {source.options.split}: of {split!r} nothing would be released, for its "
                f"{source.splits[split]} rows are reserved, not protected or unreadable; "
                f"leave {split} out, lower --reserve or raise --fraction"
            )


def describe_source(source: Source, working: WorkingSet) -> dict[str, object]:
    """What the source was recognised as, for `--plan`: a wrong guess shows before the noise is made."""
    return {
        "layout": source.layout,
        "splits": dict(source.splits),
        "left_out_splits": list(source.left_out),
        "classes": name_first(source.classes),
        "unlisted": source.unlisted,
        "ignored": len(source.ignored),
        "skipped": dict(Counter(reason for _, reason in working.bad)),
        "doubtful": len(working.doubts),
        "choices": dict(working.choices),
    }


def write_left_out(counts: Mapping[LeftOut, int]) -> str:
    """What is not released, by why."""
    return "; ".join(f"{reason} ({count})" for reason, count in counts.items()) or "nothing"


def write_choices(counts: Mapping[DecodingChoice, int]) -> str:
    """Of how many images the decoding was a choice, by what was one."""
    return "; ".join(f"{what} ({count})" for what, count in counts.items()) or "no image by a choice"


def name_first(names: list[str]) -> str:
    """The first ten names and how many there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)}: {', '.join(names[:_SHOWN])}{more}"


def _warn(working: WorkingSet, source: Source, console: Console) -> None:
    if source.left_out:
        console.warn(
            f"left out: {', '.join(source.left_out)}; protect more splits with --split NAME+NAME, or release one "
            "without noise with push --publish-clean-split NAME"
        )
    if source.ignored:
        names = sorted({Path(path).name for path in source.ignored})
        more = " and others" if len(names) > _SHOWN else ""
        console.note(
            f"{len(source.ignored)} hidden files, system files, documents, folders without images and files "
            f"beside splits are passed over: {', '.join(names[:_SHOWN])}{more}"
        )
    if source.unlisted:
        where = ", ".join(f"{count} in {folder}" for folder, count in sorted(source.unlisted.items())[:_SHOWN])
        console.warn(
            f"{sum(source.unlisted.values())} images are left out, for no metadata lists them and no folder of a split "
            f"holds them: {where}"
        )
    if working.doubts:
        origin, reason = working.doubts[0]
        console.warn(
            f"{len(working.doubts)} images are nearly of one level, such as {origin} ({reason}): look at them, and "
            "mend them or leave them out with --skip-bad"
        )
    if repeated := len(working.rows) - len(working.hashes):
        first = int(np.flatnonzero(np.diff(np.maximum.accumulate(working.image_of_row), prepend=-1) == 0)[0])
        console.warn(
            f"{repeated} rows repeat the image of an earlier row, such as {source.origin(int(working.rows[first]))}"
        )
    if working.bad:
        console.warn(f"{len(working.bad)} files are left out; protect lists them in private/skipped.csv")
    if others := source.other_columns():
        console.warn(f"published as they are: the columns {', '.join(others)}; leave one out with --drop-column NAME")
    labels = source.class_ids[working.rows]
    counts = np.bincount(labels, minlength=len(source.classes))
    empty = [name for name, count in zip(source.classes, counts, strict=True) if count == 0]
    if empty:
        console.warn(f"the card names classes without any image: {', '.join(empty[:10])}")
    clashing = int((labels != working.labels.numpy()[working.image_of_row]).sum())
    if clashing:
        console.warn(
            f"{clashing} rows show an image that also stands in another class; its noise is made for the first"
        )
