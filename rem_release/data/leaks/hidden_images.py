"""Images that hide in plain values: an encoded file anywhere in a text, or more numbers than a description needs.

What is looked for is what an owner's tools write: files of images, arrays and archives, data URIs, SVG images and
mail parts, in base64, hexadecimal, escapes and the like. Bare pixels have no signature: `row_capacity` bounds those.
"""

import re
from collections.abc import Iterator
from typing import Any

import datasets

from rem_release.data.leaks.file_signatures import IMAGE, find_deflated, find_file
from rem_release.data.leaks.text_codes import (
    MIN_LETTERS,
    begins_base85,
    decode_all,
    decode_letters,
    decode_runs,
    unescape,
    unfold,
)

MAX_NUMBERS = 256
"""that one row of a column may hold; more could be the pixels of a small image"""
_FEW_NUMBERS = 16
_TEXT_BESIDE = 0.1
_DEPTH = 3
"""codes inside codes"""
_BETWEEN = b"\xaa" * 16
"""no part of any signature"""
_SEPARATORS = re.compile(r"[\s,;|\[\](){}]+")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_PARAMETERS = r"(?:;[\w.+=-]{1,40}){0,4}"
_BASE64_URI = rf"data:(?:image/[\w.+-]{{1,40}}|application/octet-stream)?{_PARAMETERS};base64,"
_DATA_URI = re.compile(
    rf"{_BASE64_URI}[\w+/=%-]{{16}}|data:image/[\w.+-]{{1,40}}{_PARAMETERS},(?:%[0-9a-f]{{2}}|<svg|<\?xml)",
    re.IGNORECASE,
)
_SPACED_URI = re.compile(
    rf"(?i:{_BASE64_URI})(?=[^A-Z]{{0,39}}[A-Z])(?=[^a-z]{{0,39}}[a-z])(?=\D{{0,39}}\d)[\w+/=%-]{{40}}"
)
"""where white space was taken out: words look like base64 too, but rarely with all its kinds of digits"""
_SVG = re.compile(r"<(?:[\w.-]{1,40}:)?svg(?![\w.-])", re.IGNORECASE)
_SHAPE = re.compile(r"<[\w.:-]{1,80}\s+[\w.:-]{1,80}\s*=")
_MAIL_PART = re.compile(
    r"content-(?:type: *image/|transfer-encoding: *base64)(?:[^\n]*\n){1,20}?\s*\n?[A-Za-z0-9+/]{32}", re.IGNORECASE
)
_XPM = re.compile(r"/\* XPM \*/|#define \w+_width \d+\s+#define \w+_height \d+")
_TELLING = ("data:", "svg", "content-", "XPM", "_width ")


def find_image(value: Any) -> str | None:
    """What looks like an image in one plain value, in words; None where nothing does.

    Args:
        value: text, a number, or lists and groups of them. Text that is JSON is looked into, and text that is nothing
            but numbers counts as a list of them.
    """
    if isinstance(value, str) and len(value) < MIN_LETTERS:
        return None
    if isinstance(value, (list, dict, str)):
        if count_numbers(value) > MAX_NUMBERS:
            return f"more than {MAX_NUMBERS} numbers"
        found = (find_in_text(text) for text in _texts(value) if len(text) >= MIN_LETTERS)
        return next(filter(None, found), None) or _find_in_numbers(value)
    return None


def find_in_text(text: str, depth: int = _DEPTH) -> str | None:
    """What looks like an image anywhere in a text, in words; None where nothing does.

    White space and other marks between the digits of a code do not matter, nor what stands before and behind.
    """
    plain = unescape(text)
    for form in (text,) if plain is None else (text, plain):
        if what := _find_written(form):
            return what
        if what := find_file(_BETWEEN.join([*decode_letters(form), *decode_all(form)])):
            return what
        for data in decode_runs(form):
            if what := find_deflated(data) or (_find_inside(data, depth - 1) if depth else None):
                return what
    return IMAGE if begins_base85(text) else None


def _find_written(text: str) -> str | None:
    """What is no code of bytes but says itself that it is an image."""
    if not any(mark in text or mark in text.lower() for mark in _TELLING):
        return None
    if _DATA_URI.search(text) or _SPACED_URI.search("".join(text.split())):
        return "a data URI"
    if (svg := _SVG.search(text)) is not None and _SHAPE.search(text, svg.end()):
        return "an SVG image"
    if _MAIL_PART.search(text.replace("\r", "")):
        return "a part of mail"
    return IMAGE if _XPM.search(text) else None


def _find_inside(data: bytes, depth: int) -> str | None:
    """An image in bytes that are text themselves, such as base64 of base64."""
    if not data.isascii() or any(control in data for control in range(8)):
        return None
    return find_in_text(data.decode("ascii"), depth)


def _find_in_numbers(value: Any) -> str | None:
    """A file whose bytes are written as whole numbers, of one, two, four or eight bytes each."""
    numbers = [int(leaf) for leaf in _numbers(value)]
    if len(numbers) * 8 < MIN_LETTERS:
        return None
    lowest, highest = min(numbers), max(numbers)
    width = (
        max(number.bit_length() for number in (lowest, highest)) // 8 + 1
        if lowest < 0
        else (highest.bit_length() + 7) // 8
    )
    width = next((size for size in (1, 2, 4, 8) if size >= width), width)
    for order in ("little", "big"):
        data = b"".join(number.to_bytes(width, order, signed=lowest < 0) for number in numbers)
        if what := find_file(data):
            return what
    return None


def _numbers(value: Any) -> Iterator[Any]:
    """The whole numbers of a value, those written as text included."""
    for leaf in leaves(value):
        if isinstance(leaf, str):
            if _count_leaf(leaf):
                yield from re.findall(r"(?<![\d.])\d{1,40}(?![\d.])", leaf)
        elif isinstance(leaf, int) or (isinstance(leaf, float) and leaf.is_integer()):
            yield leaf


def _texts(value: Any) -> Iterator[str]:
    """The texts of a value, the keys of groups included; those in lists, groups and JSON also one after the other."""
    if isinstance(value, str):
        yield value
    pieces = list(_pieces(value))
    if pieces and pieces != [value]:
        if not isinstance(value, str):
            yield from pieces
        yield "".join(pieces)


def _pieces(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        first = unfold(waiting.pop())
        if isinstance(first, str):
            yield first
        elif isinstance(first, dict):
            waiting += [inner for pair in reversed(first.items()) for inner in reversed(pair)]
        elif isinstance(first, list):
            waiting += reversed(first)


def count_numbers(value: Any) -> int:
    """How many numbers one value holds, those written as text included."""
    return sum(_count_leaf(leaf) for leaf in leaves(value))


def leaves(value: Any) -> Iterator[Any]:
    """The plain values inside lists, groups and JSON text, one after the other."""
    waiting = [value]
    while waiting:
        first = unfold(waiting.pop())
        if isinstance(first, dict):
            first = list(first.values())
        if isinstance(first, list):
            waiting += reversed(first)
        else:
            yield first


def _count_leaf(leaf: Any) -> int:
    """1 for a number; for text that is nothing but numbers, how many there are."""
    if not isinstance(leaf, str):
        return int(isinstance(leaf, (int, float)))
    if len(leaf) < 2 * _FEW_NUMBERS - 1 or not any(map(str.isdigit, leaf[:32])):
        return 0
    words = [word for word in _SEPARATORS.split(leaf) if word]
    numbers = sum(_NUMBER.fullmatch(word) is not None for word in words)
    return numbers if numbers >= max(_FEW_NUMBERS, (1 - _TEXT_BESIDE) * len(words)) else 0


def is_plain(feature: Any) -> bool:
    """Whether a column holds only numbers, text, dates, class names, and lists and groups of them."""
    if isinstance(feature, datasets.Value):
        return "binary" not in feature.dtype
    if isinstance(feature, (datasets.List, datasets.LargeList)):
        return is_plain(feature.feature)
    if isinstance(feature, dict):
        return all(is_plain(inner) for inner in feature.values())
    return isinstance(feature, (datasets.ClassLabel, datasets.Translation, datasets.TranslationVariableLanguages))
