"""Canonical JSON that carries a hash of itself, and the checksum of a file.

The one form: keys sorted, indented by two spaces, UTF-8, no NaN or infinity, a newline at the end. A document is read
back only if its bytes are exactly that form, so that a flipped bit is seen even where it would change no value.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from rem_release.errors import VerificationError

MAX_BYTES = 8_000_000
"""of a document: facts that list 40,000 files, 20 TB of data"""
_SEAL = "sha256"
_MAX_DIGITS = 20
"""of an integer, its sign aside: those of 64 bits"""


def canonical_bytes(document: dict[str, Any]) -> bytes:
    """The one form of a document.

    Raises:
        ValueError: a number is NaN or infinite, or a string is not Unicode text.
    """
    text = json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def seal(document: dict[str, Any]) -> bytes:
    """The canonical form of the document with its own hash added as `sha256`, the hash being taken without that key.

    Raises:
        ValueError: the document has a key `sha256` already, or cannot be written (see `canonical_bytes`).
    """
    if _SEAL in document:
        raise ValueError(f"a document to be sealed must not have a key {_SEAL!r}")
    return canonical_bytes({**document, _SEAL: hashlib.sha256(canonical_bytes(document)).hexdigest()})


def read_sealed(path: Path) -> dict[str, Any]:
    """Read what `seal` wrote; returns the document without its hash.

    Raises:
        VerificationError: the file is missing, is not JSON, is not in the canonical form, or does not fit its hash.
    """
    if path.is_symlink() or not path.is_file():
        raise VerificationError(f"{path.name} is missing or is not a plain file")
    if path.stat().st_size > MAX_BYTES:
        raise VerificationError(
            f"{path.name} has {path.stat().st_size:,} bytes, and no such document has {MAX_BYTES:,}"
        )
    try:
        found = path.read_bytes()
        document = json.loads(found.decode("utf-8"), parse_int=_read_integer)
        is_canonical = isinstance(document, dict) and canonical_bytes(document) == found
    except (OSError, ValueError, RecursionError) as error:
        raise VerificationError(f"{path.name} is damaged: it cannot be read as JSON ({error})") from None
    if not is_canonical:
        raise VerificationError(f"{path.name} is damaged: its bytes are not the canonical form of what they say")
    written = document.pop(_SEAL, None)
    if written != hashlib.sha256(canonical_bytes(document)).hexdigest():
        raise VerificationError(f"{path.name} is damaged or was edited: its contents do not fit the hash they carry")
    return document


def _read_integer(text: str) -> int:
    if (digits := len(text.lstrip("-"))) > _MAX_DIGITS:
        raise ValueError(f"an integer has {digits} digits")
    return int(text)


def sha256_file(path: Path) -> str:
    """The sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
