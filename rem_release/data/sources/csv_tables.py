"""How a CSV is written, and what pandas has to be told to read it as it is meant."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from rem_release.data.sources.labels import names_labels
from rem_release.errors import InputError

_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_SEPARATORS = ",;\t|"
_LEADING_ZERO = re.compile(r"[-+]?0\d+")
_SHOWN = 60


def describe_csv(path: Path, label: str) -> dict[str, Any]:
    """Options of `pandas.read_csv` for this file.

    It is UTF-16 by its mark, else UTF-8; separated by what is most frequent in its header, or as a line `sep=;` before
    it says; blanks behind separators, and empty fields behind the last column, are left out. Names of files and labels
    that are no plain numbers are read as texts: pandas would take 001, 1 and 1e0 for one number, and it guesses.

    Args:
        path: the file.
        label: name of the column of labels, whatever it is.

    Raises:
        InputError: it is UTF-16 without a mark; a column has the name of another, but for blanks; or a row has more
            fields than there are columns.
    """
    with path.open("rb") as file:
        start = file.read(1 << 16)
    if b"\0" in start and not start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path} has bytes of zero, as UTF-16 without a mark: save it as UTF-8")
    encoding = next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")
    lines = start.decode(encoding, "ignore").lstrip("\ufeff").splitlines()
    stated = re.fullmatch(r"sep=(.)", lines[0]) if lines else None
    header = lines[1 if stated else 0 :][:1]
    separator = stated[1] if stated else max(_SEPARATORS, key=lambda each: header[0].count(each) if header else 0)
    skipped = 1 if stated else 0
    with path.open(encoding=encoding, newline="") as file:
        rows = csv.reader(islice(file, skipped, None), delimiter=separator, skipinitialspace=True)
        first = next(filter(None, rows), [])
        names = _read_header(path, first)
        is_stripped = names != first[: len(names)]
        texts = _find_texts(path, names, rows, skipped, label)
    return {
        **({"names": names, "header": 0} if is_stripped else {}),
        "encoding": encoding,
        "sep": separator,
        "skiprows": skipped,
        "skipinitialspace": True,
        "index_col": False,
        "usecols": list(range(len(names))),
        "converters": {"file_name": str, **texts},
    }


def _read_header(path: Path, names: list[str]) -> list[str]:
    for name, count in Counter(name.strip() for name in names).items():
        if count > 1 and name:
            raise InputError(f"{path} has {count} columns {name!r}; rename all but one")
    names = [name.strip() for name in names]
    return names[: max((place for place, name in enumerate(names, 1) if name), default=0)]


def _find_texts(
    path: Path, names: list[str], rows: Iterator[list[str]], skipped: int, label: str
) -> dict[str, Callable[[str], str | None]]:
    texts = set()
    for number, row in enumerate(rows, 2 + skipped):
        if any(row[len(names) :]):
            raise InputError(
                f"{path} has {len(names)} columns, and its row {number} {len(row)} fields ({','.join(row)[:_SHOWN]}); "
                "put texts with separators into quotes"
            )
        for name, value in zip(names, row, strict=False):
            is_label = name == label or names_labels(name)
            if not _is_plain(value) if is_label else _LEADING_ZERO.fullmatch(value):
                texts.add(name)
    return dict.fromkeys(texts, _read_text)


def _read_text(value: str) -> str | None:
    return value if value.strip() else None


def _is_plain(value: str) -> bool:
    """Whether it is a whole number, written as such."""
    return bool(re.fullmatch(r"-?(0|[1-9]\d{0,14})", value))
