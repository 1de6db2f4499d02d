"""How a CSV is written, and what pandas has to be told to read it as it is meant."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from rem_release.data.sources.labels import names_labels
from rem_release.errors import InputError

_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_SEPARATORS = ",;\t|"
_NO_NUMBER = re.compile(r"[-+]?(0\d+|\d{19,})")
"""a number that would not stay as it is written"""
_DOS_END = "\x1a"
_SHOWN = 60


def describe_csv(path: Path, label: str) -> dict[str, Any]:
    """Options of `pandas.read_csv` for this file.

    It is UTF-16 by its mark, else UTF-8; separated by what makes a column `file_name` of its header, or else is most
    frequent there, or as a line `sep=;` before it says; blanks behind separators, empty fields behind the last column,
    and the end mark of DOS are left out. Names of files, labels that are no plain numbers, and numbers of more than 18
    digits are read as texts: pandas would take 001, 1 and 1e0 for one number, and it guesses.

    Args:
        path: the file.
        label: name of the column of labels, whatever it is.

    Raises:
        InputError: it is UTF-16 without a mark; a column has the name of another, but for blanks; there are no rows; a
            row has more fields than there are columns, or a quote where none may be.
    """
    with path.open("rb") as file:
        start = file.read(1 << 16)
    if b"\0" in start and not start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path} has bytes of zero, as UTF-16 without a mark: save it as UTF-8")
    encoding = next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")
    lines = start.decode(encoding, "ignore").lstrip("\ufeff").splitlines()
    stated = re.fullmatch(r"sep=(.)", lines[0]) if lines else None
    header = lines[1 if stated else 0 :][:1]
    separator = stated[1] if stated else _find_separator(header[0] if header else "")
    skipped = 1 if stated else 0
    with path.open(encoding=encoding, newline="") as file:
        rows = _read_rows(path, file, skipped, separator)
        _, first = next(rows, (0, []))
        names = _read_header(path, first)
        is_stripped = names != first[: len(names)]
        texts = _find_texts(path, names, rows, label)
    return {
        **({"comment": _DOS_END} if _ends_as_dos(path) else {}),
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


def _find_separator(header: str) -> str:
    def judge(separator: str) -> tuple[bool, int]:
        names = [name.strip(' "') for name in header.split(separator)]
        return "file_name" in names, len(names)

    return max(_SEPARATORS, key=judge)


def _ends_as_dos(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4))
        return file.read().rstrip().endswith(_DOS_END.encode())


def _read_rows(path: Path, file: TextIO, skipped: int, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, and the line in which each begins."""
    rows = csv.reader(islice(file, skipped, None), delimiter=separator, skipinitialspace=True, strict=True)
    while True:
        line = rows.line_num + 1 + skipped
        try:
            row = [value.rstrip(_DOS_END) for value in next(rows)]
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise InputError(f"{path} has a quote in line {line} that is not closed; close it") from None
            if "expected after" in str(error):
                raise InputError(
                    f"{path} has something behind a closing quote in line {line}; write quotes within quotes twice"
                ) from None
            raise csv.Error(f"{error} in line {line}; close the quote there, if one is open") from None
        if any(row) or len(row) > 1:
            yield line, row


def _find_texts(
    path: Path, names: list[str], rows: Iterator[tuple[int, list[str]]], label: str
) -> dict[str, Callable[[str], str | None]]:
    texts, count = set(), 0
    for line, row in rows:
        count += 1
        if any(row[len(names) :]):
            raise InputError(
                f"{path} has {len(names)} columns, and its row {line} {len(row)} fields ({','.join(row)[:_SHOWN]}); "
                "put texts with separators into quotes"
            )
        for name, value in zip(names, row, strict=False):
            is_label = name == label or names_labels(name)
            if not _is_plain(value) if is_label else _NO_NUMBER.fullmatch(value):
                texts.add(name)
    if not count:
        raise InputError(f"{path} has no rows; write one for each image, or remove it")
    return dict.fromkeys(texts, _read_text)


def _read_text(value: str) -> str | None:
    return value if value.strip() else None


def _is_plain(value: str) -> bool:
    """Whether it is a whole number, written as such."""
    return bool(re.fullmatch(r"-?(0|[1-9]\d{0,14})", value))
