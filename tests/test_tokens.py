"""No message shows an access token, however a server spells it when it repeats it."""

import base64
import json
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from huggingface_hub import constants
from hypothesis import given, settings
from hypothesis import strategies as st

from rem_release import tokens
from rem_release.ending import show_bug
from rem_release.errors import InputError
from rem_release.release.run_status import describe_failure
from rem_release.tokens import hide_tokens, hide_tokens_within, remember_token
from tests.command_line import run

TOKEN = "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"  # of the length of real ones
WORDS = st.sampled_from(["", "the token ", "Authorization: Bearer ", '{"error": "', "x=", "id: 7, "])
Spell = Callable[[str, random.Random], str]


def plain(token: str) -> str:
    return re.sub(r"[\W_]", "", token).lower()


def shuffle_case(text: str, draws: random.Random) -> str:
    return "".join(draws.choice([letter.lower(), letter.upper()]) for letter in text)


def stretch(text: str, draws: random.Random) -> str:
    """White space, punctuation and characters of no width between its letters."""
    between = ["", "", " ", "\n", "\t", "-", "--", ".", ", ", "\u200b", "\u00ad", "\x00", "_", "'", '" + "', "\u2028"]
    return "".join(letter + draws.choice(between) for letter in text)


def cut(text: str, draws: random.Random) -> str:
    first = draws.randrange(len(text) - 12)
    return text[first : draws.randrange(first + 12, len(text) + 1)]


def escape(text: str, draws: random.Random) -> str:
    """Some of it, or all, each character in a way of its own."""
    ways: list[Callable[[str], str]] = [
        lambda c: f"%{ord(c):02x}",
        lambda c: f"%{ord(c):02X}",
        lambda c: f"\\u{ord(c):04x}",
        lambda c: f"\\x{ord(c):02x}",
        lambda c: f"&#{ord(c)};",
        lambda c: f"&#x{ord(c):X};",
        lambda c: f"={ord(c):02X}",
        lambda c: f"\\{ord(c):03o}",
        lambda c: c,
    ]
    return "".join(draws.choice(ways)(letter) for letter in text)


def widen(text: str, draws: random.Random) -> str:
    """Full-width forms."""
    return "".join(chr(ord(c) + 0xFEE0) if c.isalnum() and draws.random() < 0.5 else c for c in text)


SPELLINGS: dict[str, Spell] = {
    "as it is": lambda text, draws: text,
    "in other case": shuffle_case,
    "upper": lambda text, draws: text.upper(),
    "stretched": stretch,
    "stretched in other case": lambda text, draws: stretch(shuffle_case(text, draws), draws),
    "in part": cut,
    "escaped": escape,
    "escaped twice": lambda text, draws: quote(escape(text, draws), safe=""),
    "escaped, as JSON": lambda text, draws: json.dumps(escape(text, draws)),
    "stretched, as JSON": lambda text, draws: json.dumps(stretch(text, draws)),
    "stretched, shown by Python": lambda text, draws: repr(stretch(text, draws)),
    "wide": widen,
    "backwards": lambda text, draws: text[::-1],
    "hex": lambda text, draws: shuffle_case(text.encode().hex(), draws),
    "hex with colons": lambda text, draws: text.encode().hex(":"),
    "base64": lambda text, draws: base64.b64encode(draws.randbytes(draws.randrange(6)) + text.encode()).decode(),
    "base64 of a header": lambda text, draws: base64.urlsafe_b64encode(f"user:{text}\n".encode()).decode(),
    "base64, broken": lambda text, draws: stretch(base64.b64encode(text.encode()).decode(), draws),
    "base64, escaped": lambda text, draws: quote(base64.b64encode(text.encode()).decode(), safe=""),
}


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(tokens, "_sent", set())
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return TOKEN


@pytest.mark.parametrize("way", SPELLINGS)
def test_a_token_is_hidden_however_it_is_spelled(token: str, way: str) -> None:
    @settings(max_examples=25)
    @given(before=WORDS, after=WORDS, seed=st.integers(0, 2**32))
    def check(before: str, after: str, seed: int) -> None:
        echo = SPELLINGS[way](token, random.Random(seed))
        shown = hide_tokens(f"{before}{echo}{after}")
        assert tokens.SHOWN in shown
        assert echo not in shown
        assert not parts_of(token, shown)
        assert shown.startswith(before[:-6])  # a letter or two before it may be as in the token

    check()


def parts_of(token: str, text: str) -> list[str]:
    """What a reader could put together again: parts of eight letters, of what is readable and what is not."""
    readable = plain(text)
    parts = [plain(token)[at : at + 8] for at in range(len(plain(token)) - 7)]
    encoded = [plain(base64.b64encode(bytes(n) + token.encode()).decode())[5:-3] for n in range(3)]
    parts += [form[at : at + 12] for form in encoded for at in range(len(form) - 11)]
    hexed = token.encode().hex()
    parts += [hexed[at : at + 18] for at in range(len(hexed) - 17)]
    return [part for part in parts if part in readable or part[::-1] in readable]


@settings(max_examples=100)
@given(text=st.text(max_size=300))
def test_other_text_stays_as_it_is(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", TOKEN)
        assert hide_tokens(text) == text


ORDINARY = [
    "error: the Hub answers 401 for owner/hf_animals_of_the_north-10k: Invalid credentials; log in, set HF_TOKEN",
    "HF_HUB_OFFLINE, HUGGING_FACE_HUB_TOKEN and Bearer authentication; Basic training of 12,345 victims",
    f"{'0123456789abcdef' * 4}  1,234  data/train-00000-of-00001.parquet",
    "https://huggingface.co/datasets/owner/pets/tree/refs%2Fpr%2F1?recursive=true&signature=short",
    "50%20 of 1,000 = 500; C:\\new\\table\\x41; &#169; größer ﬁn ½",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_messages_stay_as_they_are(token: str, text: str) -> None:
    assert hide_tokens(text) == text


@pytest.mark.parametrize("word", ["", "1", "none", "dummy", "-" * 40])
def test_what_is_too_short_for_a_token_hides_no_words(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("HF_TOKEN", word)
    assert hide_tokens("1 of 10 dummies is none: - ") == "1 of 10 dummies is none: - "


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"by {TOKEN[:3]}{'aB3' * 10}.", "by (token)."),
        ("hf_jwt_aaaa.bbbb-cccc_dddd.eeee: no", "(token): no"),
        ("Authorization: bearer 0123456789abcdefgh", "Authorization: bearer (token)"),
        ("Basic dXNlcjpwYXNzd29yZA==", "Basic (token)"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_d is old", "token (token) is old"),
        ("GET /x?X-Amz-Signature=0123456789abcdef&y=1", "GET /x?X-Amz-Signature=(token)&y=1"),
    ],
)
def test_what_looks_like_a_token_is_hidden_too(monkeypatch: pytest.MonkeyPatch, text: str, shown: str) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert hide_tokens(text) == shown


def test_tokens_come_from_files_and_from_what_was_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(tokens, "_sent", set())
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    assert hide_tokens("filed-secret and sent-secret") == "filed-secret and sent-secret"
    (tmp_path / "token").write_text("filed-secret\n")
    remember_token("Bearer sent-secret")
    assert hide_tokens("FILED secret and sent-secret") == "(token) and (token)"


def test_errors_status_documents_and_tracebacks_show_none(token: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert str(InputError(f"it says {token.upper()}")) == "it says (token)"
    assert describe_failure(InputError(token)) == (2, "(token)")
    assert describe_failure(KeyError(token)) == (1, "KeyError: '(token)'")
    document = {"a": [f"x\n{token[:9]}\n{token[9:]}", 3, None, True], token: {"b": 0.5}}
    assert hide_tokens_within(document) == {"a": ["x\n(token)", 3, None, True], "(token)": {"b": 0.5}}
    try:
        raise KeyError(token)
    except KeyError as error:
        show_bug(KeyError, error, error.__traceback__)
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last):")
    assert said.endswith("KeyError: '(token)'\n")
    assert sys.excepthook


def test_the_command_line_hides_what_its_own_arguments_say(token: str, tmp_path: Path) -> None:
    """A token that was pasted where a folder belongs."""
    result = run("protect", tmp_path / token, "--out", tmp_path / "run")
    assert result.code == 2
    assert token not in result.err
    assert "(token) does not exist" in result.err
