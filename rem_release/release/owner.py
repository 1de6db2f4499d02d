"""What the owner writes on the card: read from the command line and from a file, and checked before it is kept."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path

from rem_release.data.leaks.hidden_images import find_image
from rem_release.errors import InputError
from rem_release.plain_text import find_unseen, show
from rem_release.plain_yaml import read_yaml_file
from rem_release.release.facts import OwnerFacts
from rem_release.release.markdown import is_mail, is_url

CARD_FIELDS = tuple(OwnerFacts.model_fields)
_LONG = ("about", "intended_use", "gated_prompt")


def read_card_fields(fields: list[str], file: Path | None) -> dict[str, str]:
    """What the owner wants changed on the card: key → text, where an empty text removes the field.

    Args:
        fields: of --card-field, each KEY=VALUE. They win over the file, and the last word on a key holds.
        file: of --card-fields, a YAML mapping of the same keys to texts, each taken as it is written.

    Raises:
        InputError: a field that is not KEY=VALUE, an unknown key, or a file that is no flat mapping of text.
    """
    changes = {} if file is None else _read_file(file)
    for field in fields:
        key, separator, value = field.partition("=")
        if not separator:
            raise InputError(f"--card-field {show(field, 80)}: write KEY=VALUE, such as --card-field license=cc-by-4.0")
        changes[_check_key("--card-field", key.strip())] = value
    return changes


def apply_card_fields(owner: OwnerFacts, changes: Mapping[str, str]) -> OwnerFacts:
    """The owner's fields with the changes in them; those that are not named stay. All of them are checked.

    Raises:
        InputError: a text that a card cannot carry, an address that is none, or a licence that is not complete.
    """
    given = {**owner.model_dump(), **changes}
    checked = OwnerFacts(**{key: _tidy(key, value) or None for key, value in given.items() if value is not None})
    _check_licence(checked)
    if checked.contact and not (is_mail(checked.contact) or is_url(checked.contact)):
        raise _refuse("contact", checked.contact, "give an address of mail, or of a page with http:// or https://")
    return checked


def _read_file(file: Path) -> dict[str, str]:
    """Scalars are texts as written: `1.0`, `no` and dates too."""
    option = f"--card-fields {file}"
    document = read_yaml_file(file, option, as_texts=True)
    if not isinstance(document, dict):
        raise InputError(f"{option} is not a mapping; write lines of KEY: TEXT, such as license: cc-by-4.0")
    for key, value in document.items():
        _check_key(option, key)
        if not isinstance(value, str):
            raise InputError(f"{option}: the value of {key} is not a text; write one, in quotes or after | where long")
    return document


def _check_key(option: str, key: str) -> str:
    if key in CARD_FIELDS:
        return key
    nearest = difflib.get_close_matches(key, CARD_FIELDS, 1, cutoff=0)[0]
    raise InputError(
        f"{option}: no field {show(repr(key), 80)}; the nearest is {nearest}. Fields: {', '.join(CARD_FIELDS)}"
    )


def _tidy(key: str, value: str) -> str:
    """The text without space around its lines."""
    lines = [line.strip().replace("\t", " ") for line in value.replace("\r\n", "\n").split("\n")]
    text = "\n".join(lines).strip("\n")
    if "\n" in text and key not in _LONG:
        raise _refuse(key, text, f"give one line; only {', '.join(_LONG)} may have several")
    if character := find_unseen(text):
        raise _refuse(key, text, f"it holds the control character U+{ord(character):04X}; remove it")
    if what := find_image(text):
        raise _refuse(key, text, f"it holds {what}; no image may be on the card; remove it")
    return text


def _check_licence(owner: OwnerFacts) -> None:
    if owner.license is not None and not re.fullmatch(r"[a-z0-9.+-]+", owner.license):
        cure = "give an identifier of the Hub's own list, such as cc-by-4.0, or other; the Hub decides which it knows"
        raise _refuse("license", owner.license, cure)
    if owner.license == "other" and owner.license_name is None:
        raise _refuse("license", owner.license, "name the licence too: --card-field license_name=NAME")
    for key in ("license_name", "license_link"):
        value = getattr(owner, key)
        if value is not None and owner.license != "other":
            raise _refuse(key, value, f"it needs license=other; give that, or remove it with --card-field {key}=")
    if owner.license_link is not None and not is_url(owner.license_link):
        raise _refuse("license_link", owner.license_link, "give an address that starts with http:// or https://")


def _refuse(key: str, value: str, cure: str) -> InputError:
    shown = value if len(value) <= 60 else f"{value[:60]}…"
    return InputError(f"card field {key}={shown!r}: {cure}")
