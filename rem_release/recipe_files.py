"""What recipes of both kinds have in common: where they lie, YAML in, errors out, changes by dotted keys, one hash."""

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from rem_release.errors import InputError
from rem_release.paths import check_path, read_small_text
from rem_release.plain_text import show
from rem_release.plain_yaml import MAX_CHARACTERS, read_yaml
from rem_release.resources import resource_folder

T = TypeVar("T")


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(path.stem for path in resource_folder("recipes").glob("*.yaml"))


def recipe_text(name: str) -> str:
    """The YAML of a shipped recipe, or of a file.

    Raises:
        InputError: there is no such recipe, or the file cannot be read.
    """
    path = resource_folder("recipes") / f"{name}.yaml"
    if name not in recipe_names():
        path = check_path(name, "the recipe")
        if path.suffix not in (".yaml", ".yml"):
            close = difflib.get_close_matches(name, recipe_names(), 1)
            hint = f"did you mean {close[0]!r}?" if close else f"shipped: {', '.join(recipe_names())}."
            raise InputError(f"no recipe {show(repr(name), 120)}; {hint} A file of your own ends in .yaml")
    return read_small_text(path, f"the recipe {path}", MAX_CHARACTERS)


def read_document(name: str) -> dict[str, Any]:
    """Read a shipped recipe or a YAML file as plain values.

    Raises:
        InputError: unreadable, or not a mapping.
    """
    document = read_yaml(recipe_text(name), f"recipe {name}")
    if not isinstance(document, dict):
        raise InputError(f"recipe {name} is not a mapping of keys to values; see rem-release recipes list")
    return document


def is_audit_recipe(document: Mapping[str, Any]) -> bool:
    """Whether a recipe is for `audit`, not for `protect`."""
    return "tiers" in document


def validate(
    adapter: TypeAdapter[T], document: dict[str, Any], name: str, keys: list[str], tags: tuple[str, ...] = ()
) -> T:
    """Turn plain values into a recipe.

    Args:
        adapter: of the recipe's class.
        document: plain values.
        name: of the recipe, for messages.
        keys: all valid dotted keys.
        tags: by which the kinds of a part are told apart.

    Raises:
        InputError: unknown keys (the nearest is named) or invalid values, all in one message.
    """
    try:
        return adapter.validate_python(document)
    except ValidationError as error:
        raise InputError(
            f"recipe {name} is not valid:", (_describe(item, keys, tags) for item in error.errors())
        ) from None


def with_settings(document: dict[str, Any], settings: Mapping[str, str], valid: list[str]) -> dict[str, Any]:
    """The same plain values with others for single keys, such as `noise.eot.samples`. The document is changed.

    Raises:
        InputError: an unknown key (the nearest valid one is named), a section that the recipe lacks, or a value that is
            not YAML.
    """
    for key, value in settings.items():
        if key not in valid:
            close = difflib.get_close_matches(key, valid, 1, cutoff=0.3)
            raise InputError(f"--set {show(key, 80)}: no such key; the nearest is {close[0] if close else valid[0]}")
        *path, last = key.split(".")
        place: dict[str, Any] = document
        for part in path:
            if place.get(part) is None:
                raise InputError(f"--set {show(key, 80)}: the recipe has no {part}, so nothing of it can be changed")
            place = place[part]
        place[last] = read_yaml(value, f"--set {key}={show(value, 60)}: the value")
    return document


def dotted_keys(cls: Any, prefix: str = "") -> list[str]:
    """Every key of a recipe class, such as `noise.eot.samples`."""
    keys: list[str] = []
    for field in fields(cls):
        nested = field.type
        keys += dotted_keys(nested, f"{prefix}{field.name}.") if is_dataclass(nested) else [f"{prefix}{field.name}"]
    return keys


def flatten(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under their dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def hash_document(document: Mapping[str, Any]) -> str:
    """Hash of a resolved recipe."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _describe(item: Any, keys: list[str], tags: tuple[str, ...]) -> str:
    key = ".".join(str(part) for part in item["loc"] if part not in tags)
    if item["type"] == "union_tag_invalid":
        given = show(repr(item["ctx"]["tag"]), 80)
        return f"{key}.method: choose {', '.join(tags[:-1])} or {tags[-1]} (got {given})"
    if item["type"] == "union_tag_not_found":
        return f"{key}.method: missing"
    if item["type"] == "unexpected_keyword_argument":
        if tag := next((part for part in item["loc"] if part in tags), None):
            close = difflib.get_close_matches(key, keys, 1, cutoff=0.8)
            hint = f"the nearest is {close[0]}" if close else f"--method {tag} leaves out what only others have"
            return f"{key}: no such key of {tag}; {hint}"
        close = difflib.get_close_matches(key, keys, 1, cutoff=0.3)
        return f"{key}: no such key; the nearest is {close[0]}" if close else f"{key}: no such key"
    if item["type"] == "missing":
        return f"{key}: missing"
    return f"{key}: {item['msg'].removeprefix('Value error, ')} (got {show(repr(item['input']), 80)})"
