"""What a run remembers of its source, checked as it is read: its files may be damaged, or of another program."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from rem_release.data.sources.rows import SourceOptions
from rem_release.errors import InputError
from rem_release.plain_text import show
from rem_release.release.run_folder import RunFolder

T = TypeVar("T")


def read_source_options(run: RunFolder) -> SourceOptions:
    """The source of a run, as its options name it.

    Raises:
        InputError: the options are missing or damaged.
    """
    return _check(run.options, run.read_options().get("source"), SourceOptions)


def read_album_names(run: RunFolder) -> dict[str, str]:
    """Published album name → folder; empty where the run has no albums.

    Raises:
        InputError: the record is damaged.
    """
    return read_record(run.albums, dict[str, str]) if run.albums.is_file() else {}


def read_record(path: Path, kind: type[T]) -> T:
    """A private JSON file that holds a value of that kind.

    Raises:
        InputError: it is missing or damaged.
    """
    return _check(path, RunFolder.read_json(path), kind)


def _check(path: Path, found: Any, kind: type[T]) -> T:
    try:
        return TypeAdapter(kind).validate_python(found)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path} is damaged: {show(f'{place}: ' if place else '', 80)}{first['msg']}") from None
