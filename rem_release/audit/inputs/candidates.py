"""Clean images that victims may be tested on: given, kept back by the run, or held out of their training."""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Literal

import numpy as np

from rem_release.audit.inputs.pairs import Read
from rem_release.audit.inputs.target import Target
from rem_release.data.images.decoding import BadImage, decode
from rem_release.data.images.pixels import pixel_hash, shrink
from rem_release.data.ranking import rank
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.source import Source, SourceOptions
from rem_release.errors import InputError
from rem_release.release.run_folder import RunFolder
from rem_release.verification.shard_images import ShardImages

Origin = Literal["given", "reserve", "held out"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Holdout:
    """T clean test images, and the rows of the target that victims may train on. Thread-safe to read."""

    origin: Origin
    labels: np.ndarray
    """int64 [T], index into the target's classes"""
    clusters: np.ndarray
    """int64 [T], near copies among the images bear one number: they are no independent evidence"""
    names: list[str]
    """where each image comes from, for messages"""
    train_rows: np.ndarray
    """int64 [K], rows of the target"""
    dropped: int
    """images left out because they overlap the release"""
    read: Read
    source: Source | None = None
    """where they are read, if they were given"""
    hashes: list[str] = field(default_factory=list)
    """pixel hash of each image, once repeats are dropped"""
    kept: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    """int64 [T], which of the images that were there they are"""
    digest: str = ""
    """of the images on the working grid, see `TestSet`, where an earlier audit left it"""
    stamp: str = ""
    """see `remembered.stamp_of`"""

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> np.ndarray:
        """One image at its own size: uint8 (H, W, 3).

        Raises:
            InputError: it cannot be read any more, or changed.
        """
        image = self.read(index)
        if self.hashes and pixel_hash(image) != self.hashes[index]:
            raise InputError(f"test image {self.names[index]} changed since it was looked at; start again")
        return image


def require_classes(target: Target, holdout: Holdout, when: str) -> None:
    """Refuse test images that leave a class out."""
    found = np.bincount(holdout.labels, minlength=len(target.classes))
    missing = [name for name, count in zip(target.classes, found, strict=True) if count == 0]
    if missing:
        advice = {
            "given": "add some to --holdout",
            "reserve": "give images with --holdout, or protect again with a larger --reserve",
            "held out": "give images with --holdout",
        }
        raise InputError(
            f"{when}, no test image is left of {_enumerate(missing)}: every class of the release needs one; "
            f"{advice[holdout.origin]}"
        )


def _enumerate(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more


def open_given(target: Target, location: str, run: RunFolder | None) -> Holdout:
    """The images of a source, in the classes of the target."""
    data = target.facts.data if target.facts else None
    if data and data.labels_from == "clusters":
        raise InputError(
            f"--holdout {location}: the classes of this release are clusters, which other images do not have; "
            "leave --holdout out: then the run's reserve or a part of the release is tested on"
        )
    albums = run.read_json(run.albums) if data and data.labels_from == "albums" and run else None
    options = SourceOptions(
        source=location,
        image_column=target.image_column,
        label_column=target.label_column,
        label_from="albums" if albums else None,
        keep_columns=(),
    )
    source = _open_split(options)
    numbered = {folder: name for name, folder in (albums or {}).items()}
    names = [_name_class(source, row, numbered) for row in range(len(source))]
    _compare_classes(target, location, set(names), data is not None and data.labels_from == "albums")
    numbers = {name: number for number, name in enumerate(target.classes)}
    max_side = data.max_side if data else None
    return Holdout(
        origin="given",
        labels=np.array([numbers[name] for name in names], np.int64),
        clusters=np.arange(len(names)),
        names=[source.origin(row) for row in range(len(source))],
        train_rows=np.arange(len(target)),
        dropped=0,
        read=lambda row: _read(source, row, max_side),
        source=source,
    )


def _open_split(options: SourceOptions) -> Source:
    """The split `test` of a source, or `train` where there is no `test`."""
    try:
        return open_source(replace(options, split="test"))
    except InputError as error:
        if "has no split 'test'" not in str(error):
            raise
    return open_source(options)


def _name_class(source: Source, row: int, numbered: dict[str, str]) -> str:
    """The class of a row as the release publishes it: for an album its number, or its folder where it has none."""
    if source.class_ids[row] < 0:
        raise InputError(f"--holdout: {source.origin(row)} is in no class folder; move it into one, or away")
    name = source.classes[source.class_ids[row]]
    folder = source.album_names.get(name)
    return name if folder is None else numbered.get(folder, folder)


def _compare_classes(target: Target, location: str, found: set[str], are_albums: bool) -> None:
    unknown, missing = sorted(found - set(target.classes)), sorted(set(target.classes) - found)
    if not unknown and not missing:
        return
    faults = []
    if unknown:
        faults.append(f"the release has no class {_enumerate(unknown)}")
    if missing:
        faults.append(f"there is no image of {_enumerate(missing)}")
    advice = f"name the classes as the release does ({_enumerate(target.classes)}), and give images of each"
    if are_albums:
        advice = "albums are published under numbers: audit the run folder, which knows them, and name folders alike"
    raise InputError(f"--holdout {location} has other classes: {', and '.join(faults)}; {advice}")


def _read(source: Source, row: int, max_side: int | None) -> np.ndarray:
    try:
        return shrink(decode(source.image_bytes(row)), max_side)
    except BadImage as error:
        raise InputError(f"--holdout: {source.origin(row)} cannot be read ({error}); mend it or remove it") from None


def reserve_files(run: RunFolder) -> list[Path]:
    """The files in which a run kept images back."""
    return sorted(run.reserve.glob("data/*.parquet"))


def open_reserve(target: Target, run: RunFolder) -> Holdout:
    """The images that protect kept back, less those of classes that the release does not have."""
    stored = ShardImages(reserve_files(run), target.image_column, target.label_column)
    numbers = {name: number for number, name in enumerate(target.classes)}
    kept = [row for row, name in enumerate(stored.names) if name in numbers]
    chosen = Holdout(
        origin="reserve",
        labels=np.array([numbers[stored.names[row]] for row in kept], np.int64),
        clusters=np.arange(len(kept)),
        names=[f"{row} of the reserve" for row in kept],
        train_rows=np.arange(len(target)),
        dropped=0,
        read=lambda index: stored.pixels(kept[index]),
    )
    require_classes(target, chosen, "in the reserve")
    return chosen


def hold_out(target: Target, share: float, seed: int) -> Holdout:
    """Hold out a share of each class. Rows of equal originals go together, with the class of the first."""
    groups: dict[str, list[int]] = {}
    for row in range(len(target)):
        groups.setdefault(target.clean_hash(row), []).append(row)
    of_class: list[dict[str, list[int]]] = [{} for _ in target.classes]
    for key, rows_of_group in groups.items():
        of_class[target.labels[rows_of_group[0]]][key] = rows_of_group
    held: list[int] = []
    for name, members in zip(target.classes, of_class, strict=True):
        if len(members) < 2:
            raise InputError(
                f"class {name!r} has {len(members)} distinct images, and holding some out takes two; "
                "give test images with --holdout"
            )
        held += _draw(members, share, f"held out {seed}")
    rows = np.array(sorted(held), np.int64)
    chosen = Holdout(
        origin="held out",
        labels=target.labels[rows],
        clusters=np.arange(len(rows)),
        names=[target.origin(int(row)) for row in rows],
        train_rows=np.setdiff1d(np.arange(len(target)), rows),
        dropped=0,
        read=lambda index: target.clean(int(rows[index])),
    )
    require_classes(target, chosen, "held out of training")
    untaught = set(range(len(target.classes))) - set(target.labels[chosen.train_rows].tolist())
    if untaught:
        names = _enumerate([target.classes[label] for label in sorted(untaught)])
        raise InputError(f"nothing would be left to learn {names} from; give test images with --holdout")
    return chosen


def _draw(members: dict[str, list[int]], share: float, draw: str) -> list[int]:
    """Rows of whole groups, drawn until the share is reached and never above it, but at least one group."""
    wanted = floor(Fraction(str(share)) * sum(map(len, members.values())))
    keys = list(members)
    shuffled = [members[keys[place]] for place in rank(keys, draw)]
    taken: list[int] = []
    for rows in shuffled:
        if len(taken) + len(rows) <= wanted:
            taken += rows
    return taken or min(shuffled, key=len)
