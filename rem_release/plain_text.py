"""Words of others, shown: what cannot be seen, moves the cursor or turns the line around is written out as an escape.

A name that a stranger chose reaches terminals, cards and reports. Terminals obey control characters (ECMA-48: C0, DEL
and C1), and the Unicode Bidirectional Algorithm (UAX #9) reorders a line that holds its controls: either could paint
words that nobody said. Letters of every language stay as they are, joiners between them included.
"""

import json
import re
from typing import Any

LONGEST = 2000
"""characters of a line of a message; what is longer is cut in its middle, for both of its ends say something"""
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # controls; U+009B alone begins a control sequence
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u3164\uffa0"  # nothing to see
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # nothing to see, ends of lines, directions
    "\ud800-\udfff"  # halves of a character, which cannot be printed
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def escape(text: str) -> str:
    r"""A text of several lines, or a whole page: every unseen character but the end of a line as `\x1b` or `\u202e`."""
    return _UNSEEN.sub(lambda found: found[0] if found[0] == "\n" else _write(found[0]), text)


def show(value: object, most: int = LONGEST) -> str:
    r"""A value in one line of a message: unseen characters as `\x1b`, `\n` or `\u202e`, and a long one cut.

    Args:
        value: a name, a path, an error, or whatever else comes from outside.
        most: characters that are shown of it, escapes counted.
    """
    try:
        text = str(value)
    except ValueError:  # an integer of thousands of digits
        text = "a number of thousands of digits"
    ends = f"{text[:most]}{text[-most:]}" if len(text) > 2 * most else text  # the rest is not worth looking at
    line = _UNSEEN.sub(lambda found: _write(found[0]), ends)
    part = (most - 3) // 2
    return line if len(line) <= most else f"{line[:part]} … {line[-part:]}"


def find_unseen(text: str) -> str | None:
    """The first unseen character of a text of several lines, less their ends; None where there is none."""
    return next((found[0] for found in _UNSEEN.finditer(text) if found[0] != "\n"), None)


def write_json(document: Any) -> str:
    r"""A document as JSON in one line. Unseen characters are written `\u202e`: it reads back as the same values.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return _UNSEEN.sub(_write_json, json.dumps(document, ensure_ascii=False, allow_nan=False))


def _write(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _write_json(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]
