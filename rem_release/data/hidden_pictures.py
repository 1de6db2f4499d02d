"""Pictures that hide in plain values: an encoded file as text, or more numbers than a description needs."""

import json
import re
from collections.abc import Iterator
from typing import Any

import datasets

MOST_NUMBERS = 256
"""that one row of a column may hold; more could be the pixels of a small picture"""
_FEW_NUMBERS = 16
_TEXT_BESIDE = 0.1
_PICTURE_TEXT = re.compile(
    r"""\s*(
    data:image/ | iVBORw0KGgo | /9j/ | R0lGOD | UklGR | SUkqA | TU0AK | Qk[0-3] | AAAA.[GWm2]Z0eX | AAAADGpQ
    | k05VTVBZ | UEsDB | H4sI | ((0x|\\x)?(89504e47|ffd8ff|89504E47|FFD8FF)) | b['"]\\x(89PNG|ff\\xd8)
    )""",
    re.VERBOSE,
)
"""A data URI; the first letters in base64 of PNG, JPEG, GIF, WebP, TIFF, BMP, HEIF and AVIF, JPEG 2000, NumPy arrays,
ZIP and gzip; PNG and JPEG in hexadecimal; and both as Python writes bytes."""
_SEPARATORS = re.compile(r"[\s,;|\[\](){}]+")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def find_picture(value: Any) -> str | None:
    """What looks like a picture in one plain value, in words; None where nothing does.

    Args:
        value: text, a number, or lists and groups of them. Text that is JSON is looked into, and text that is nothing
            but numbers counts as a list of them.
    """
    if isinstance(value, (list, dict, str)) and count_numbers(value) > MOST_NUMBERS:
        return f"more than {MOST_NUMBERS} numbers"
    if any(isinstance(leaf, str) and len(leaf) > 64 and _PICTURE_TEXT.match(leaf) for leaf in leaves(value)):
        return "an encoded picture"
    return None


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


def unfold(value: Any) -> Any:
    """A list or a group that is written as JSON text; anything else as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


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
