"""The small notation of threats and architectures in an audit recipe: `jpeg(quality=10) + pgd(radius=rho_a)`."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

_LONGEST = 2000
_CALL = re.compile(r"\s*([A-Za-z_][\w]*)\s*(?:\(([^()]*)\))?\s*")


def parse_calls(text: str) -> list[tuple[str, dict[str, str]]]:
    """Split `name(key=value, ...) + name` into names and parameters, values as text.

    Raises:
        ValueError: the text is not of that form.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"{text[:40]!r}... has {len(text):,} characters, and {_LONGEST:,} are allowed")
    calls = []
    for part in text.split("+"):
        match = _CALL.fullmatch(part)
        if not match:
            raise ValueError(f"{text!r} cannot be read; write name, name(key=value), or several joined by +")
        parameters: dict[str, str] = {}
        for item in (match[2] or "").split(","):
            if not item.strip():
                continue
            key, separator, value = (piece.strip() for piece in item.partition("="))
            if not (separator and key and value):
                raise ValueError(f"{text!r}: write parameters as key=value, not {item.strip()!r}")
            if key in parameters:
                raise ValueError(f"{text!r}: {key} is given twice")
            parameters[key] = value
        calls.append((match[1], parameters))
    return calls


def build_part(name: str, parameters: Mapping[str, str], known: Mapping[str, type], what: str) -> Any:
    """The entry of that name with its parameters.

    Args:
        name: a key of `known`.
        parameters: values as text.
        known: the pydantic dataclass of each name.
        what: "threat" or "architecture", for messages.

    Raises:
        ValueError: an unknown name, an unknown parameter, or a value that is not valid.
    """
    if name not in known:
        raise ValueError(f"no {what} {name!r}; {nearest(name, list(known))}")
    entry = known[name]
    keys = [field.name for field in fields(entry)]
    for key in parameters:
        if key not in keys:
            raise ValueError(f"{what} {name} has no parameter {key!r}; it has {', '.join(keys) or 'none'}")
    try:
        return TypeAdapter(entry).validate_python(dict(parameters))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        given = f" (got {first['input']!r})" if first["type"] != "missing" else ""
        reason = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{what} {name}: {key}: {reason}{given}" if key else f"{what} {name}: {reason}") from None


def write_call(name: str, parameters: Mapping[str, object]) -> str:
    """The canonical form: parameters in their order, no spaces."""
    inner = ",".join(f"{key}={value}" for key, value in parameters.items())
    return f"{name}({inner})" if inner else name


def nearest(name: str, names: list[str]) -> str:
    """A hint at what may have been meant."""
    close = difflib.get_close_matches(name, names, 1, cutoff=0.3)
    return f"the nearest is {close[0]!r}" if close else f"known: {', '.join(names)}"
