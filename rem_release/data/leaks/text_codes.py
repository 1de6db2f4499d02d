"""Bytes that are written as text, in the ways that people and their tools know: read back wherever they stand in it."""

import base64
import binascii
import html
import json
import re
from collections.abc import Iterator

MIN_LETTERS = 40
"""characters; a shorter text holds no image"""
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_HEX = b"0123456789abcdefABCDEF"
_NOT_BASE64 = bytes(set(range(256)) - set(_BASE64))
_NOT_URLSAFE = bytes(set(_NOT_BASE64) - set(b"-_"))
_URLSAFE = bytes.maketrans(b"-_", b"+/")
_NOT_HEX = bytes(set(range(256)) - set(_HEX))
_HEX_PREFIX = re.compile(r"0x|\\u00|U\+00", re.IGNORECASE)
_RUN = re.compile(rf"[A-Za-z0-9+/_-]{{{MIN_LETTERS},}}")
_LETTERS_AND_SIX_DIGITS = re.compile(r"(?<![A-Za-z2-7])[A-Za-z2-7]{64,}")
_BASE32 = re.compile(r"[A-Z2-7]{64,}|[a-z2-7]{64,}")
_BITS = re.compile(r"[01]{256,}")
_BASE32_DIGITS = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789ABCDEFGHIJKLMNOPQRSTUV")
_BYTE = "([0-9a-fA-F]{2})"
_ESCAPE = re.compile(rf"\\x{_BYTE}|\\u00{_BYTE}|%{_BYTE}|={_BYTE}|\\([0-3][0-7]{{2}})|\\([abtnvfr0\\/'\"])|=\r?\n")
_ENTITY = re.compile(r"&#(\d{1,3});")
_LETTERS = dict(zip("abtnvfr0\\/'\"", "\a\b\t\n\v\f\r\0\\/'\"", strict=True))
_UUENCODED = re.compile(r"^begin(?:-base64)? [0-7]{3,4} .*\n", re.MULTILINE)
_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0\0\x10JF", b"\x93NUMPY\1\0", b"\0\0\0\x1cftyp")
_BASE85 = tuple(encode(data).decode() for data in _STARTS for encode in (base64.b85encode, base64.a85encode))


def unescape(text: str) -> str | None:
    r"""The text with its escapes read, `\x89`, `\u0089`, `\211`, `\n`, `%89`, `=89`, `&#137;`; None if it has none."""
    read = text
    if "&" in text:
        read = html.unescape(_ENTITY.sub(lambda match: chr(int(match[1])), text))
    if any(mark in read for mark in "\\%="):
        read = _ESCAPE.sub(_read_escape, read)
    return read if read != text else None


def _read_escape(match: re.Match[str]) -> str:
    *hexadecimal, octal, letter = match.groups()
    if letter:
        return _LETTERS[letter]
    if octal:
        return chr(int(octal, 8))
    return next((chr(int(digits, 16)) for digits in hexadecimal if digits), "")


def decode_all(text: str) -> Iterator[bytes]:
    """The bytes that a text may stand for as a whole, whatever stands between their digits.

    Base64 of both alphabets at every alignment, hexadecimal digits with any marks between them, base32, bits, and
    uuencode. Text in which there are none comes out as noise.
    """
    plain = text.encode("ascii", "ignore")
    yield from _decode_base64(plain.translate(None, _NOT_BASE64))
    if b"-" in plain or b"_" in plain:
        yield from _decode_base64(plain.translate(_URLSAFE, _NOT_URLSAFE))
    digits = _HEX_PREFIX.sub("", text).encode("ascii", "ignore").translate(None, _NOT_HEX)
    if len(digits) >= MIN_LETTERS:
        for start in (0, 1):
            yield binascii.unhexlify(digits[start : start + (len(digits) - start) // 2 * 2])
    squeezed = "".join(text.split())
    for letters in filter(_has_digits, _LETTERS_AND_SIX_DIGITS.findall(squeezed)):
        for run in _BASE32.findall(letters):
            yield from _read_number(int(run.upper().translate(_BASE32_DIGITS), 32))
    for run in _BITS.findall(squeezed):
        yield from _read_number(int(run, 2))
    if (match := _UUENCODED.search(text)) is not None:
        yield b"".join(map(_read_uu_line, text[match.end() :].splitlines()))


def decode_runs(text: str) -> Iterator[bytes]:
    """The bytes of each unbroken run of at least 40 digits of base64 or hexadecimal, from its first one on."""
    for run in _RUN.findall(text):
        digits = run.encode().translate(_URLSAFE)
        yield binascii.a2b_base64(digits[: len(digits) // 4 * 4])
        if not run.strip("0123456789abcdefABCDEF"):
            yield binascii.unhexlify(digits[: len(digits) // 2 * 2])


def decode_letters(text: str) -> Iterator[bytes]:
    """The bytes that a text may stand for letter by letter: of latin-1, of code page 437, and two a letter."""
    if text.isascii() and text.isprintable():
        return
    for code in ("latin-1", "cp437", "utf-16-le", "utf-16-be"):
        yield text.encode(code, "ignore")


def begins_base85(text: str) -> bool:
    """Whether a PNG, a JPEG (JFIF), a NumPy array or an AVIF begins in this text in base85 or ascii85."""
    squeezed = "".join(text.split())
    return any(start in squeezed for start in _BASE85)


def unfold(value: object) -> object:
    """A list or a group that is written as JSON text; anything else as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _decode_base64(digits: bytes) -> Iterator[bytes]:
    """From each of the first four digits on, so that the bytes come out whatever stood before them."""
    if len(digits) >= MIN_LETTERS:
        for start in range(4):
            yield binascii.a2b_base64(digits[start : start + (len(digits) - start) // 4 * 4])


def _has_digits(run: str) -> bool:
    """Whether a run of base32 has digits: chance gives it 6 in 32, and words without their spaces have hardly any."""
    return sum(map(run.count, "234567")) * 40 > len(run)


def _read_number(number: int) -> Iterator[bytes]:
    """The bytes of a number, wherever in it they begin."""
    size = number.bit_length() // 8 + 2
    for shift in range(8):
        yield (number << shift).to_bytes(size, "big")


def _read_uu_line(line: str) -> bytes:
    try:
        return binascii.a2b_uu(line)
    except (ValueError, binascii.Error):
        return b""
