"""Every word that a release publishes besides the values of its rows, in one list, and what each of them may be.

Names of columns, fields, classes and splits, languages, time zones and whatever else the features say go into card,
facts and Parquet files. No row holds them, so that they are looked through here, for images as values are, and are
bounded: each by itself, and all of them together by what rows may say (see `row_capacity`).
"""

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from rem_release.data.leaks.hidden_images import find_image, find_in_text
from rem_release.errors import InputError
from rem_release.plain_text import show

MAX_BYTES = 256
"""that words may take for each row, packed"""
LONGEST_NAME = 256
"""characters of the name of a column, a field or a class"""
LONGEST_SPLIT = 64
_LONGEST_OTHER = 64
_SHOWN = 60
_SPLIT = re.compile(r"\w+(\.\w+)*")
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}([-_][A-Za-z0-9]{1,8}){0,3}")
_OFFSET = re.compile(r"[+-](?:[01]\d|2[0-3]):?[0-5]\d")
_ZONE = re.compile(r"timestamp\[(?:s|ms|us|ns), tz=(.*)\]", re.DOTALL)
_PLAIN_TYPE = re.compile(r"[a-z0-9_]{1,20}(?:\[(?:s|ms|us|ns)\])?")
_TYPES = {"Value", "ClassLabel", "Translation", "TranslationVariableLanguages", "List", "LargeList", "Image"}


class Kind(StrEnum):
    """What a word is."""

    COLUMN = "column name"
    FIELD = "field name"
    CLASS = "class name"
    SPLIT = "split name"
    LANGUAGE = "language"
    ZONE = "time zone"
    ID = "id"
    RECIPE = "recipe name"
    OTHER = "note"


_LIMITS = {Kind.SPLIT: LONGEST_SPLIT, Kind.OTHER: _LONGEST_OTHER, Kind.RECIPE: LONGEST_NAME}
_FORMS = {
    Kind.SPLIT: "is none; use letters, digits and _",
    Kind.LANGUAGE: "is no short tag, such as de or zh-Hant",
    Kind.ZONE: "is neither one of IANA's, such as Europe/Vienna, nor an offset, such as +02:00",
    Kind.ID: "has no use in a release",
}


@dataclass(frozen=True)
class Word:
    """One word."""

    text: str
    kind: Kind
    column: str | None = None
    """to which it belongs, where it belongs to one"""


@dataclass(frozen=True)
class BadWord:
    """A word, or several of a kind, that may not be published."""

    words: str
    column: str | None


def list_words(features: Mapping[str, Any], splits: Iterable[str] = (), recipe_name: str | None = None) -> list[Word]:
    """Every word, in order.

    Args:
        features: the document of the features, as `Features.to_dict` gives it and the facts state it.
        splits: their names.
        recipe_name: of the recipe, where there is one.
    """
    words = [Word(split, Kind.SPLIT) for split in splits]
    words += [Word(recipe_name, Kind.RECIPE)] if recipe_name is not None else []
    for column, node in features.items():
        words.append(Word(column, Kind.COLUMN, column))
        words += [Word(text, kind, column) for kind, text in _read_node(node)]
    return words


def name_classes(classes: Iterable[str], column: str) -> list[Word]:
    """The words that classes are which no type names, but the values of a column."""
    return [Word(name, Kind.CLASS, column) for name in classes]


def measure_words(texts: Iterable[str]) -> int:
    """Bytes of words as deflate packs them."""
    plain = "".join(f"{text}\n" for text in texts).encode("utf-8", "surrogatepass")
    return min(len(zlib.compress(plain, 9, -15)), len(plain))


def find_bad_words(words: Sequence[Word]) -> Iterator[BadWord]:
    """Words that hold an image, by themselves or one after the other, or are not what they should be."""
    groups: dict[tuple[Kind, str | None], list[str]] = {}
    bad: set[tuple[Kind, str | None]] = set()
    for word in words:
        key = word.kind, None if word.kind is Kind.COLUMN else word.column
        groups.setdefault(key, []).append(word.text)
        if fault := _judge(word):
            bad.add(key)
            of_column = f" of column {show(repr(word.column), _SHOWN)}" if key[1] is not None else ""
            yield BadWord(f"the {word.kind} {show(repr(word.text), _SHOWN)}{of_column} {fault}", word.column)
    for (kind, column), texts in groups.items():
        if len(texts) > 1 and (kind, column) not in bad and (what := find_in_text("".join(texts))):
            of_column = f" of column {show(repr(column), _SHOWN)}" if column is not None else ""
            yield BadWord(f"the {kind}s{of_column} hold {what}, one after the other", column)


def find_too_many(words: Sequence[Word], rows: int) -> str | None:
    """How much all words say, where that is more than so many rows may say; None where it is not."""
    size, most = measure_words(word.text for word in words), MAX_BYTES * rows
    if size <= most:
        return None
    column = _find_longest(words)
    most_of_it = f", most of them in column {show(repr(column), _SHOWN)}" if column is not None else ""
    return (
        f"the names of columns, classes and the like say {size:,} bytes in all{most_of_it}, "
        f"and {most:,} are allowed with {rows:,} rows"
    )


def refuse_words(words: Sequence[Word], needed: Iterable[str]) -> None:
    """Make sure that no word of a source carries an image, and that each is what it should be. Ids are not released.

    Args:
        words: see `list_words`.
        needed: columns that cannot be left out.

    Raises:
        InputError: names the first word that does not pass.
    """
    for bad in find_bad_words([word for word in words if word.kind is not Kind.ID]):
        can_drop = bad.column is not None and bad.column not in needed
        cure = f", or leave it out with --drop-column {show(bad.column, _SHOWN)}" if can_drop else ""
        raise InputError(f"{bad.words}, and would be published; change it{cure}")


def refuse_too_many(words: Sequence[Word], rows: int) -> None:
    """Make sure that all words together say no more than rows may.

    Raises:
        InputError: they do.
    """
    if too_many := find_too_many([word for word in words if word.kind is not Kind.ID], rows):
        raise InputError(f"{too_many}; shorten them, or leave columns out with --drop-column NAME")


def is_time_zone(text: str) -> bool:
    """Whether a time zone is one that everybody knows, or an offset."""
    return text == "UTC" or _OFFSET.fullmatch(text) is not None or text in _list_zones()


@cache
def _list_zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _read_node(node: Any) -> Iterator[tuple[Kind, str]]:
    """The words of a part of the features: of a type, a group of fields, or of anything else that stands there."""
    if isinstance(node, list):
        for inner in node:
            yield from _read_node(inner)
    elif not isinstance(node, Mapping):
        if node is not None and not isinstance(node, bool):
            yield Kind.OTHER, str(node)
    elif isinstance(node.get("_type"), str):
        for key, value in node.items():
            yield from _read_setting(key, value)
    else:
        for name, inner in node.items():
            yield Kind.FIELD, name
            yield from _read_node(inner)


def _read_setting(key: str, value: Any) -> Iterator[tuple[Kind, str]]:
    """The words of one setting of a type. What no type has counts with its key."""
    if key in ("names", "languages") and isinstance(value, list):
        kind = Kind.CLASS if key == "names" else Kind.LANGUAGE
        yield from ((kind, str(name)) for name in value)
    elif key == "id" and value is not None:
        yield Kind.ID, str(value)
    elif key == "dtype" and isinstance(value, str) and (match := _ZONE.fullmatch(value)):
        yield Kind.ZONE, match[1]
    elif not _is_usual(key, value):
        if key not in ("feature", "dtype", "length", "_type"):
            yield Kind.OTHER, key
        yield from _read_node(value)


def _is_usual(key: str, value: Any) -> bool:
    """Whether a setting says nothing but what its type has to say."""
    if key == "_type":
        return value in _TYPES
    if key == "dtype":
        return isinstance(value, str) and _PLAIN_TYPE.fullmatch(value) is not None
    if key == "length":
        return bool(value == -1)
    if key == "num_languages":  # which `datasets` counts
        return value is None or isinstance(value, int)
    return key in ("id", "decode", "mode", "languages") and (value is None or isinstance(value, bool))


def _judge(word: Word) -> str | None:
    """What is wrong with one word; None where nothing is."""
    if word.kind is Kind.ID:
        return _FORMS[word.kind]
    if what := find_image(word.text):
        return f"holds {what}"
    longest = _LIMITS.get(word.kind, LONGEST_NAME)
    if len(word.text) > longest:
        return f"has {len(word.text):,} characters, and {longest} are allowed"
    return None if _has_form(word) else _FORMS[word.kind]


def _has_form(word: Word) -> bool:
    if word.kind is Kind.SPLIT:
        return _SPLIT.fullmatch(word.text) is not None
    if word.kind is Kind.LANGUAGE:
        return _LANGUAGE.fullmatch(word.text) is not None
    return word.kind is not Kind.ZONE or is_time_zone(word.text)


def _find_longest(words: Sequence[Word]) -> str | None:
    """The column with most to its words."""
    sizes: dict[str, int] = {}
    for word in words:
        if word.column is not None:
            sizes[word.column] = sizes.get(word.column, 0) + len(word.text)
    return max(sizes, key=lambda name: sizes[name], default=None)
