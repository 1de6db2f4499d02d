"""Access tokens in what is said: a server may repeat the one that it was sent, in any spelling; no message shows it.

Text is compared with every token that was sent, or that lies ready, without white space, punctuation and case, with its
escapes (of URLs, JSON, Python, HTML, mail) undone, and also as base64, hexadecimal and backwards. Eight characters in a
row are enough; what merely looks like a token of the Hub, and what follows `Bearer`, is left out too.
"""

import base64
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

SHOWN = "(token)"
"""what stands in the place of a token"""
_ENOUGH = 8
"""letters and digits of a token that are a part of it; what has fewer is none, but a word such as `none`"""
_ENOUGH_IN_HEX, _ENOUGH_IN_BASE64 = 16, 10
_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_LOOKS = re.compile(
    r"hf_[a-z0-9]{20,}|hf_(?:oauth|jwt)_[\w.-]{16,}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]+)?"
    r"|(?<=bearer )[\w.~+/=-]{16,}"
    r"|(?<=basic )[\w.~+/=-]{16,}"
    r"|(?<=signature=)[\w.%~+/=-]{8,}",
    re.IGNORECASE,
)
_ESCAPES = re.compile(
    r"%(?P<percent>[0-9a-f]{2})|\\x(?P<x>[0-9a-f]{2})|\\u(?P<u>[0-9a-f]{4})|&#x(?P<html>[0-9a-f]{1,6});|"
    r"=(?P<mail>[0-9a-f]{2})|&#(?P<decimal>\d{1,7});|\\(?P<octal>[0-7]{3})|\\(?P<none>[abfnrtv])",
    re.IGNORECASE,
)
_ROUNDS = 3
"""How often escapes are undone: what is escaped once more on the way, by a proxy or as JSON, is found too."""
_sent: set[str] = set()

Pieces = dict[int, frozenset[str]]
"""The parts of the tokens, in each form, by length."""
Spelling = list[tuple[str, int, int]]
"""Characters, each with its first place and the place after its last in the text that they were read from."""


def remember_token(authorization: str) -> None:
    """Note the value of an `Authorization` header that is sent: what is like it will not be shown."""
    token = authorization.strip().rpartition(" ")[2]
    if token:
        _sent.add(token)


def hide_tokens(text: str) -> str:
    """The text, with `(token)` in the place of all that shows a token or a part of one."""
    return _hide(text, _known_tokens())


def hide_tokens_within(document: Any) -> Any:
    """A document of dicts, lists and values, with `hide_tokens` of every text in it."""
    tokens = _known_tokens()

    def hide(value: Any) -> Any:
        if isinstance(value, str):
            return _hide(value, tokens)
        if isinstance(value, dict):
            return {hide(key): hide(inner) for key, inner in value.items()}
        return [hide(inner) for inner in value] if isinstance(value, (list, tuple)) else value

    return hide(document)


def _known_tokens() -> frozenset[str]:
    """Those that were sent, and those that lie ready where the Hub's client looks; the network is not asked."""
    ready = {os.environ.get(name, "").strip() for name in _VARIABLES}
    constants = sys.modules.get("huggingface_hub.constants")  # nobody has said anything before it was imported
    if constants is not None:
        ready.add(_read_token(str(constants.HF_TOKEN_PATH)))
    return frozenset(token for token in _sent | ready if len(_fold(token)) >= _ENOUGH)


def _read_token(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _hide(text: str, tokens: frozenset[str]) -> str:
    for token in sorted(tokens, key=len, reverse=True):
        for form in (token, repr(token)[1:-1]):  # whole, with the punctuation at its ends
            text = text.replace(form, SHOWN)
    spans = [match.span() for match in _LOOKS.finditer(text)]
    pieces = _cut_up(tokens)
    if pieces and any(_holds(written, pieces) for written in _unescape(text)):
        for spelling in _spell(text):
            spans += _find(spelling, pieces)
    for first, end in reversed(_join(spans)):
        text = text[:first] + SHOWN + text[end:]
    return text


@lru_cache(maxsize=16)
def _cut_up(tokens: frozenset[str]) -> Pieces:
    pieces: dict[int, set[str]] = {}
    for token in tokens:
        for form, size in _forms_of(token):
            folded = _fold(form)
            pieces.setdefault(size, set()).update(folded[at : at + size] for at in range(len(folded) - size + 1))
    return {size: frozenset(found) for size, found in pieces.items()}


def _forms_of(token: str) -> Iterator[tuple[str, int]]:
    """A token, also backwards and in one case, and each of these in hex and in base64, at any place of a longer text.

    With each form, how much of it is a part of the token.
    """
    for text in {token, token.upper(), token.lower(), token[::-1]}:
        data = text.encode()
        yield text, _ENOUGH
        yield data.hex(), _ENOUGH_IN_HEX
        for before in range(3):
            whole = (before + len(data)) * 8 // 6
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                yield encode(bytes(before) + data).decode()[-(-before * 8 // 6) : whole], _ENOUGH_IN_BASE64


def _fold(text: str) -> str:
    """What a text counts for: its letters and digits, in one case and one form."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).casefold()
    return re.sub(r"[\W_]+", "", text.lower())


def _unescape(text: str) -> Iterator[str]:
    """The text, and what it becomes as its escapes are undone, again and again."""
    for _ in range(_ROUNDS):
        yield text
        before, text = text, _ESCAPES.sub(_undo, text)
        if text == before:
            return
    yield text


def _holds(text: str, pieces: Pieces) -> bool:
    letters = _fold(text)
    return any(
        letters[at : at + size] in wanted for size, wanted in pieces.items() for at in range(len(letters) - size + 1)
    )


def _spell(text: str) -> Iterator[Spelling]:
    """As `_unescape`, with the places in the text."""
    spelling = [(character, place, place + 1) for place, character in enumerate(text)]
    for written in _unescape(text):
        yield spelling
        undone, place = [], 0
        for match in _ESCAPES.finditer(written):
            undone += spelling[place : match.start()]
            undone.append((_undo(match), spelling[match.start()][1], spelling[match.end() - 1][2]))
            place = match.end()
        spelling = undone + spelling[place:]


def _undo(match: re.Match[str]) -> str:
    kind = match.lastgroup or ""
    if kind == "none":
        return " "
    number = int(match[kind], {"decimal": 10, "octal": 8}.get(kind, 16))
    return chr(number) if number <= sys.maxunicode else " "


def _find(spelling: Spelling, pieces: Pieces) -> Iterator[tuple[int, int]]:
    """Where the parts of a token stand in the text."""
    folded = [(letter, first, end) for character, first, end in spelling for letter in _fold(character)]
    letters = "".join(letter for letter, _, _ in folded)
    for size, wanted in pieces.items():
        for at in range(len(letters) - size + 1):
            if letters[at : at + size] in wanted:
                yield folded[at][1], folded[at + size - 1][2]


def _join(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, end in sorted(spans):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((first, end))
    return joined
