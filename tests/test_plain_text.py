"""Words of others: nothing that moves a cursor or turns a line around is printed, and JSON keeps its values."""

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rem_release.console import Console
from rem_release.errors import BadImagesError, InputError, RemReleaseError
from rem_release.plain_text import escape, find_unseen, show, write_json
from rem_release.release.markdown import write_paragraphs, write_plain

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
NASTY = st.sampled_from(
    ["\x1b[2K\r", "\x9b2J", "\n  ok     verdict: passed", "\x7f", "\ud800", "\u2028", "\ufeff", *BIDI]
)
ANY = st.text(st.characters(categories=None), max_size=40)
TEXTS = st.lists(st.one_of(ANY, NASTY), max_size=6).map("".join)
VALUES = st.recursive(
    st.one_of(TEXTS, st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)


def is_seen(text: str) -> bool:
    """Whether a line can be printed as it is, asked of Python's own tables and not of ours."""
    return all(unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") and c not in BIDI for c in text)


@given(TEXTS)
def test_what_is_shown_is_one_line_without_anything_unseen(text: str) -> None:
    assert is_seen(show(text))
    assert find_unseen(show(text)) is None
    assert show(show(text)) == show(text)
    assert all(is_seen(line) for line in escape(text).split("\n"))
    assert escape(text).count("\n") == text.count("\n")
    assert all(is_seen(line) for line in write_paragraphs(text).split("\n"))
    assert is_seen(write_plain(text))


@given(VALUES)
def test_json_reads_back_as_the_same_values(value: object) -> None:
    line = write_json(value)
    assert json.loads(line) == value
    assert is_seen(line)


def test_every_character_of_unicode() -> None:
    """All that Python calls a control, a separator of lines or half a character is written out; letters stay."""
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        category = unicodedata.category(character)
        if category in ("Cc", "Cs", "Zl", "Zp") or character in BIDI:
            assert is_seen(show(character)), hex(code)
        if category in ("Ll", "Lu", "Lt", "Nd", "So", "Sm", "Zs", "Po"):
            assert show(character) == character, hex(code)
    for words in ("Größe", "ภาษาไทย", "हिन्दी", "می‌خواهم", "👩‍👩‍👧", "日本語", "שלום", "العربية", "ρ_u ≤ 8/255"):
        assert show(words) == words


def test_long_values_keep_both_ends() -> None:
    for length in (1_999, 2_000, 2_001, 4_000, 4_001, 10**7):
        shown = show("a" + "x" * (length - 2) + "z")
        assert len(shown) == min(length, 2000) or len(shown) == 1999
        assert shown[0] + shown[-1] == "az"
    assert show("x" * 100, 20) == "xxxxxxxx … xxxxxxxx"
    assert show(10**5000) == "a number of thousands of digits"


@given(TEXTS, st.lists(TEXTS, max_size=3))
def test_no_name_makes_another_line_of_a_message(text: str, names: list[str]) -> None:
    error = InputError(f"{text} is wrong", names)
    first, *items = str(error).split("\n  ")
    assert first == show(f"{text} is wrong")
    assert items == [show(name) for name in names]
    assert str(RemReleaseError.again(str(error))) == str(error)
    bad = str(BadImagesError([(name, text) for name in names]))
    assert bad.count("\n") == len(names)
    assert all(is_seen(line) for line in bad.split("\n"))


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))
def test_the_console_prints_nothing_unseen(text: str, lines: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        out, err = Recorder(), Recorder()
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        console = Console()
        console.note(text)
        console.warn(text)
        with console.stage(text) as report:
            report(1, 1)
        console.result({}, lines)
    assert "".join(out.written).split("\n")[:-1] == [show(line) for line in lines]
    noted, warned, *_ = "".join(err.written).split("\n")
    assert (noted, warned) == (show(text), f"warning: {show(text)}")
    assert "".join(err.written).count("\n") == 3


class Recorder:
    """A stream that is no terminal."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, text: str) -> int:
        text.encode()  # as a real one does
        self.written.append(text)
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False
