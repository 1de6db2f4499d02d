"""Tables with a column for each class, and a 1 in that of each row: they have no column of labels."""

from collections.abc import Mapping, Sequence
from typing import Any

_ZEROS, _ONES = {"0", "0.0", "False"}, {"1", "1.0", "True"}


def find_one_hot(columns: Mapping[str, Sequence[Any]]) -> list[str]:
    """The columns that hold 0 and 1 alone, if there are several, and each row has exactly one 1 in them; else none."""
    texts = {name: [str(value).strip() for value in values] for name, values in columns.items()}
    found = [name for name, values in texts.items() if values and set(values) <= _ZEROS | _ONES]
    ones = [sum(value in _ONES for value in row) for row in zip(*(texts[name] for name in found), strict=True)]
    return found if len(found) > 1 and set(ones) == {1} else []
