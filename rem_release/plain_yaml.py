"""YAML as people write it by hand, and no more of it: texts, numbers, lists and mappings of texts to values.

What the language has besides (YAML 1.1: tags, anchors and aliases, merge keys, dates) is refused or read as text, and
what no recipe needs is refused: deep nesting, long integers, a key twice. Aliases can make gigabytes of some lines.
"""

from pathlib import Path
from typing import Any

import yaml

from rem_release.errors import InputError
from rem_release.paths import read_small_text

MAX_CHARACTERS = 100_000
_DEEPEST = 20
_MAX_DIGITS = 18
_TEXT = "tag:yaml.org,2002:str"


class _Refused(yaml.MarkedYAMLError):
    """It is YAML, and not read here."""


class _Bounded(yaml.composer.Composer):
    """What both loaders refuse, as the text is read and before anything is built from it."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[attr-defined]
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _Refused(None, None, "anchors and aliases are not read; write the value out", event.start_mark)
        if event.tag not in (None, "!"):
            raise _Refused(None, None, f"the tag {event.tag} is not read; leave it out", event.start_mark)
        if self._depth == _DEEPEST:
            raise _Refused(None, None, f"it nests more than {_DEEPEST} levels deep", event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != _TEXT:
                raise _Refused(None, None, "a key is no text; put it in quotes", key.start_mark)
            if key.value in seen:
                raise _Refused(None, None, f"the key {key.value} appears twice", key.start_mark)
            seen.add(key.value)
        return node

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if node.tag == "tag:yaml.org,2002:int" and len(node.value) > _MAX_DIGITS:
            raise _Refused(None, None, f"an integer has more than {_MAX_DIGITS} digits", node.start_mark)
        return node


class _Texts(_Bounded, yaml.BaseLoader):
    """Every scalar as it is written."""


class _Values(_Bounded, yaml.SafeLoader):
    """Scalars as YAML 1.1 reads them, less dates, merge keys and the value key, which are texts."""


_PLAIN_TAGS = ("bool", "int", "float", "null")
_Values.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in _PLAIN_TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(text: str, what: str, *, as_texts: bool = False) -> Any:
    """Read one YAML document.

    Args:
        text: the document.
        what: its name in messages, such as `recipe mine.yaml`.
        as_texts: leave every scalar as it is written, `1.0`, `no` and dates too.

    Raises:
        InputError: it is not YAML, or more of it than is read here.
    """
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"{what} is longer than {MAX_CHARACTERS:,} characters")
    try:
        return yaml.load(text, Loader=_Texts if as_texts else _Values)
    except _Refused as error:
        mark = error.problem_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise InputError(f"{what} is not YAML that is read here: {error.problem}{place}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{what} is not YAML: {' '.join(str(error).split())}") from None


def read_yaml_file(path: Path, what: str, *, as_texts: bool = False) -> Any:
    """The same of a file, in UTF-8.

    Raises:
        InputError: it cannot be read, or see `read_yaml`.
    """
    return read_yaml(read_small_text(path, what, MAX_CHARACTERS), what, as_texts=as_texts)
