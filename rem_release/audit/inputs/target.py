"""What an audit attacks: the rows of a protected copy, each beside its clean partner."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from rem_release.audit.inputs.other_copy import pair_copy
from rem_release.audit.inputs.pairs import Pairs, Progress
from rem_release.audit.inputs.released_rows import pair_release, read_sound_facts
from rem_release.data.sources.source import Source, SourceOptions
from rem_release.data.sources.splits import read_split_names
from rem_release.errors import InputError
from rem_release.radius import format_radius, parse_radius, whole_levels
from rem_release.release.documents import FACTS
from rem_release.release.facts import Facts
from rem_release.release.run_folder import RunFolder
from rem_release.verification.originals import find_originals


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """N protected rows beside their originals. Thread-safe to read."""

    labels: np.ndarray
    """int64 [N], index into `classes`"""
    classes: list[str]
    """those that have rows, in the order of the release"""
    digest: str
    """of the release; for another method's copy a sha256 over pixel hashes and class names in order"""
    facts: Facts | None
    """None for another method's copy"""
    run: RunFolder | None
    """the run folder, where it was given"""
    rho_u: Fraction
    """defensive radius; of another method's copy as given or as measured, 0 where nothing was changed"""
    rho_a: Fraction | None
    """adversarial radius that the noise was made for; None where the release names none"""
    source_model: str | None
    """network that made the noise, the first of several, where the release names it"""
    resolution: int
    """side of the square grid that victims see, in pixels"""
    changed: np.ndarray
    """bool [N], rows that differ from their original"""
    image_column: str
    label_column: str
    pairs: Pairs
    originals: Source | None = None
    """where the clean rows are read"""
    copy: Source | None = None
    """where the protected rows are read, if that is no release"""
    measured: Fraction | None = None
    """largest change that was found in another method's copy; None for a release, which states its own"""

    def __len__(self) -> int:
        return len(self.labels)

    def protected(self, row: int) -> np.ndarray:
        """The protected image of a row at its own size: uint8 (H, W, 3).

        Raises:
            InputError: it cannot be read any more, or changed since it was opened.
        """
        return self.pairs.protected(row)

    def clean(self, row: int) -> np.ndarray:
        """The original of a row at its own size: uint8 (H, W, 3).

        Raises:
            InputError: it cannot be read any more, or changed since it was opened.
        """
        return self.pairs.clean(row)

    def clean_hash(self, row: int) -> str:
        """Pixel hash of the original of a row."""
        return self.pairs.clean_hashes[row]

    def origin(self, row: int) -> str:
        """Where the original of a row comes from, for messages."""
        return self.pairs.origins[row]


def open_target(
    location: Path,
    clean: str | None = None,
    resolution: int | None = None,
    rho_u: Fraction | None = None,
    *,
    split: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    progress: Progress | None = None,
) -> Target:
    """Open what is to be audited, and read every row of it and of its originals once.

    Args:
        location: a run folder; a release without its run; or any protected copy that can be opened as a source.
        clean: the originals. A run remembers its own. A release without its run is paired by position or by search,
            another method's copy by position. The copy itself may be given: then nothing is protected, a control.
        resolution: side of the working grid; None takes that of the release, or what fits the copy (see `pair_copy`).
        rho_u: budget of another method's copy; None takes the largest change that is found. A release states its own,
            and its split and columns; what contradicts them is refused.
        split: of another method's copy and its originals; as are the columns. None takes what `SourceOptions` does.
        image_column: its column of images.
        label_column: its column of labels.
        progress: told (done, total).

    Raises:
        InputError: nothing is there to audit, the originals are not given, missing, changed, or not the originals; a
            release states something else; the budget is less than a level.
        VerificationError: the release is not what its facts say.
    """
    columns = {"image_column": image_column, "label_column": label_column}
    chosen = {name: value for name, value in {"split": split, **columns}.items() if value is not None}
    run = find_run(location)
    if run and not run.release.is_dir():
        raise InputError(f"{location} holds no release; finish the run with --resume")
    if run or _holds_facts(location):
        release = run.release if run else location
        facts = read_sound_facts(release)
        _refuse_contradictions(release, facts, rho_u, chosen)
        return _open_release(release, facts, run, clean, resolution, progress)
    if clean is None and not location.exists():
        raise InputError(f"there is no run {location}; name a run folder, or any protected copy and add --clean SOURCE")
    if clean is None:
        raise InputError(f"{location} is no run of rem-release; add --clean SOURCE, its images without protection")
    if rho_u is not None and not whole_levels(rho_u):
        raise InputError(f"--rho-u {format_radius(rho_u)} is less than a level of 255, so no noise; leave --rho-u out")
    protected = SourceOptions(source=str(location), keep_columns=(), **chosen)  # type: ignore[arg-type]
    originals = SourceOptions(source=clean, keep_columns=(), **chosen)  # type: ignore[arg-type]
    copy = pair_copy(protected, originals, resolution, progress)
    labels, classes = _number_classes(copy.pairs.names, copy.classes)
    return Target(
        labels=labels,
        classes=classes,
        digest=copy.digest,
        facts=None,
        run=None,
        rho_u=copy.rho_u if rho_u is None else rho_u,
        rho_a=None,
        source_model=None,
        resolution=copy.resolution,
        changed=copy.pairs.changed,
        image_column=protected.image_column,
        label_column=protected.label_column,
        pairs=copy.pairs,
        copy=copy.sources[0],
        originals=copy.sources[1],
        measured=copy.rho_u,
    )


def find_run(location: Path) -> RunFolder | None:
    """The run whose folder this is, finished or not; None for a release without its run, and for any other copy.

    Raises:
        InputError: no such path can be.
    """
    run = RunFolder(location)
    try:
        return run if run.exists or _holds_facts(run.release) else None
    except OSError as error:
        raise InputError(f"{location} cannot be read: {error.strerror}") from None


def _holds_facts(folder: Path) -> bool:
    path = folder / FACTS
    return path.is_file() or path.is_symlink()


def _refuse_contradictions(release: Path, facts: Facts, rho_u: Fraction | None, chosen: dict[str, str]) -> None:
    """Refuse a radius, a split or a column that is not the one that the facts state."""
    stated = {"rho_u": facts.protection.rho_u, "split": facts.data.split}
    stated |= {"image_column": facts.data.image_column, "label_column": facts.data.label_column}
    given = dict(chosen)
    if "split" in given:
        given["split"] = "+".join(read_split_names(given["split"]))
    if rho_u is not None and rho_u != parse_radius(stated["rho_u"]):
        given["rho_u"] = format_radius(rho_u)
    for name, value in given.items():
        if value != stated[name]:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{release} states its own {option} {stated[name]}, not {value}; leave {option} out")


def _open_release(
    release: Path,
    facts: Facts,
    run: RunFolder | None,
    clean: str | None,
    resolution: int | None,
    progress: Progress | None,
) -> Target:
    protection = facts.protection
    originals, row_map = find_originals(run or RunFolder(release), facts.data, clean)
    if originals is None:
        raise InputError(f"{release} does not say where its originals are; add --clean SOURCE")
    pairs = pair_release(release, facts, originals, row_map, run, progress)
    labels, classes = _number_classes(pairs.names, facts.data.classes)
    return Target(
        labels=labels,
        classes=classes,
        digest=facts.digest,
        facts=facts,
        run=run,
        rho_u=parse_radius(protection.rho_u),
        rho_a=parse_radius(protection.rho_a) or None,
        source_model=next(iter(protection.source_models), None),
        resolution=resolution or protection.resolution,
        changed=pairs.changed,
        image_column=facts.data.image_column,
        label_column=facts.data.label_column,
        pairs=pairs,
        originals=originals.source,
    )


def _number_classes(names: list[str], order: list[str]) -> tuple[np.ndarray, list[str]]:
    """int64 [N] and the classes that have rows: one without any has nothing to learn, and would lower chance."""
    found = set(names)
    classes = [name for name in order if name in found]
    if len(classes) < 2:
        raise InputError(f"only class {classes[0]!r} has rows; an audit needs at least two classes")
    index = {name: number for number, name in enumerate(classes)}
    return np.array([index[name] for name in names], np.int64), classes
