"""Messages of what `reproduce` calls, without the options of other commands in them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from rem_release.errors import InputError

OWN = ("data", "dataset", "json", "out", "plan", "resume", "scale")
_FOREIGN = re.compile(rf"\s*[;:,(][^;:,(\n]*\s--(?!(?:{'|'.join(OWN)})\b)[a-z].*?(?=:?$)", re.MULTILINE)
"""the last clauses of a line, from the first on that names another option"""


@contextmanager
def own_options() -> Iterator[None]:
    """Cut off advice that only `protect` or `audit` can take.

    Raises:
        InputError: what was raised within, with the rest of its words.
    """
    try:
        yield
    except InputError as error:
        text = _FOREIGN.sub("", str(error))
        if text == str(error):
            raise
        raise InputError.again(text) from error
