"""What all readers of tables share: splits that are there or not, and failures of `datasets` in one line."""

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import datasets
import pyarrow as pa
from datasets.exceptions import DatasetsError
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import logging as hub_logging

from rem_release.data.sources.rows import SourceOptions
from rem_release.data.sources.walking import walk
from rem_release.errors import InputError

IMAGE_SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".jp2"),
    *(".avif", ".mpo", ".heic", ".heif", ".jxl"),
}
"""how the names of images end"""


def is_image(name: str) -> bool:
    """Whether a file's name ends like that of an image."""
    stem, _, suffix = name.rpartition(".")
    return bool(stem) and f".{suffix.lower()}" in IMAGE_SUFFIXES


def count_images(folder: Path, listed: Collection[str] = ()) -> dict[str, int]:
    """How many images each folder holds of which a table says nothing: folder, relative, -> count."""
    found = ["/".join(parts) for parts in walk(folder) if is_image(parts[-1])]
    return dict(Counter(str(PurePosixPath(name).parent) for name in found if name not in listed))


def list_others(splits: Iterable[str], options: SourceOptions) -> tuple[str, ...]:
    """The splits that are not asked for."""
    return tuple(str(name) for name in splits if str(name) != options.split)


def require_split(splits: Iterable[str], source: str, options: SourceOptions, others: Sequence[str] = ()) -> None:
    """Refuse a source without the split.

    Args:
        splits: those that it has.
        source: it.
        options: which split is asked for.
        others: files of it that belong to none.

    Raises:
        InputError: names those that there are.
    """
    if options.split not in splits:
        names = ", ".join(str(name) for name in splits)
        more = f"; {others[0]} belongs to none of them: rename it, or give it alone" if others else ""
        raise InputError(f"{source} has no split {options.split!r}; choose one of {names} with --split{more}")


def is_address(path: str) -> bool:
    """Whether a path leads to another machine: `https://...`, `s3://...`."""
    return re.match(r"[a-z][a-z0-9+.-]+://", path) is not None


@contextmanager
def explaining(source: object) -> Iterator[None]:
    """Read through `datasets` in silence, and turn what it raises into one line."""
    bars, level = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    hub_level = hub_logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    hub_logging.set_verbosity(datasets.logging.CRITICAL)  # it passes on what a server says
    try:
        yield
    except (
        csv.Error,
        DatasetsError,
        HfHubHTTPError,
        pa.ArrowException,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RuntimeError,
    ) as error:
        cause = error.__cause__ or error
        lines = (str(cause).strip() or type(cause).__name__).splitlines()
        if isinstance(cause, UnicodeDecodeError):
            lines = [f"it is not UTF-8 (byte {cause.start}); bring it there with iconv -f ENCODING -t UTF-8"]
        raise InputError(f"{source} cannot be read: {lines[0]}") from error
    finally:
        datasets.logging.set_verbosity(level)
        hub_logging.set_verbosity(hub_level)
        if not bars:
            datasets.enable_progress_bars()
