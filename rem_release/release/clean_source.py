"""The split that is to be released without noise, opened: the owner names it, and nothing else is taken for it."""

import re
from dataclasses import replace
from pathlib import Path

from rem_release.data.sources.opening import open_source
from rem_release.data.sources.saved import is_one_split
from rem_release.data.sources.source import Source, SourceOptions
from rem_release.data.sources.splits import find_name_fault
from rem_release.errors import InputError
from rem_release.paths import check_path
from rem_release.plain_text import show
from rem_release.release.facts import DataFacts, Facts
from rem_release.release.remembered import read_album_names, read_source_options
from rem_release.release.run_folder import RunFolder

OPTION = "--publish-clean-split"
_SHOWN = 80
_OTHER_ADVICE = re.compile(r"([:;] choose( one)?)?( with --[a-z-]+| \(or --label-from clusters\))$")
"""The end of a reader's message that names an option of protect."""


def parse_clean_split(text: str) -> tuple[str, str | None]:
    """Read `NAME` or `NAME=SOURCE`.

    Returns:
        The name of the split, and where it lies; None for a split of the run's own source.

    Raises:
        InputError: no split can have that name, or SOURCE is empty.
    """
    name, equals, source = text.partition("=")
    if fault := find_name_fault(name):
        raise InputError(f"{OPTION} {show(text, _SHOWN)}: {fault}, such as test")
    if equals and not source:
        raise InputError(f"{OPTION} {text}: nothing follows the =; say where the split is, or leave the = out")
    return name, source or None


def open_clean_split(run: RunFolder, facts: Facts, split: str, clean: str | None) -> Source:
    """Open the split that is to be released without noise.

    Args:
        run: the run, which remembers its source and the names of its albums.
        facts: of its release.
        split: `NAME`, a split of the run's source; or `NAME=SOURCE`, where the split NAME of SOURCE is taken, or the
            whole of SOURCE if it is one Parquet file, one saved `Dataset`, or a folder of images without splits.
        clean: a source that takes the place of the one that the run remembers.

    Returns:
        The split, under NAME; its classes are named as in the release.

    Raises:
        InputError: it is the released split, there is no such split, it is empty or cannot be read, or nobody can say
            of which class its rows are.
    """
    name, location = parse_clean_split(split)
    if name in facts.data.split_images:
        raise InputError(f"{OPTION} {name}: that is the protected split itself; name another one, such as test")
    if facts.data.labels_from == "clusters":
        raise InputError(f"{OPTION} {name}: the classes of this release are clusters, which other images do not have")
    try:
        source = _open_given(location, name, facts) if location else _open_beside(run, name, facts, clean)
    except InputError as error:
        reason = _OTHER_ADVICE.sub("", str(error))
        is_elsewhere = location is None and _is_lacking(error, name)
        cure = f"; if it is elsewhere, add that: {OPTION} {name}=SOURCE" if is_elsewhere else ""
        raise InputError(f"{OPTION} {name}: {reason}{cure}") from None
    options, classes = replace(source.options, split=name), _name_classes(run, source)
    return replace(source, options=options, splits={name: len(source)}, classes=classes)


def _open_beside(run: RunFolder, name: str, facts: Facts, clean: str | None) -> Source:
    """Another split of the source that was protected. A source that has no splits would give the protected one."""
    if clean is None and not run.options.is_file():
        raise InputError(f"the source of this release is not on record; say where it is: {OPTION} {name}=SOURCE")
    location = clean or read_source_options(run).source
    path = check_path(location, "the source")
    if is_one_split(path):
        raise InputError(f"{location} has no split {name!r}: it is one split, {facts.data.split!r}")
    source = open_source(_choose_options(location, name, facts.data))
    if _is_whole(source, path):
        raise InputError(f"{location} has no split {name!r}: its own images are the split {facts.data.split!r}")
    return source


def _open_given(location: str, name: str, facts: Facts) -> Source:
    """The split of that name, or a folder of images as a whole; never a split of another name."""
    options = _choose_options(location, name, facts.data)
    try:
        return open_source(options)
    except InputError as error:
        path = check_path(location, "the source")
        if not (_is_lacking(error, name) and path.is_dir()):
            raise
        whole = open_source(replace(options, split="train"))
        if not _is_whole(whole, path):
            raise
        return whole


def _choose_options(location: str, name: str, data: DataFacts) -> SourceOptions:
    return SourceOptions(
        source=location,
        split=name,
        image_column=data.image_column,
        label_column=data.label_column,
        label_from="albums" if data.labels_from == "albums" else None,
        keep_columns=tuple(data.columns),
    )


def _is_lacking(error: InputError, name: str) -> bool:
    return f"has no split {name!r}" in str(error)


def _is_whole(source: Source, path: Path) -> bool:
    """Whether the rows are the files of this very folder, not of a split in it."""
    return source.origins is not None and source.root == path.resolve()


def _name_classes(run: RunFolder, source: Source) -> list[str]:
    """The classes as the release names them: an album by its number there, or by its folder where it has none."""
    albums = read_album_names(run) if source.album_names else {}
    numbered = {folder: name for name, folder in albums.items()}
    folders = [source.album_names.get(name) for name in source.classes]
    named = zip(source.classes, folders, strict=True)
    return [name if folder is None else numbered.get(folder, folder) for name, folder in named]
