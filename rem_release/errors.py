"""The error taxonomy. Each error carries the exit code that the command line promises to scripts.

A known failure is one line: what, which value, where, and the command that mends it; where several things are wrong at
once, a line of each follows. Anything else is a bug and keeps its traceback.
"""

from collections.abc import Iterable, Sequence
from typing import Self

from rem_release.plain_text import show
from rem_release.tokens import hide_tokens


class RemReleaseError(Exception):
    """A known failure: printed as one line, without a traceback. What it says shows no access token.

    Args:
        message: the line. Names in it may be anybody's: it is escaped, and no name makes another line of it.
        items: what the message counts, a line of each, indented.
    """

    exit_code = 1

    def __init__(self, message: object = "", items: Iterable[str] = ()) -> None:
        super().__init__("\n  ".join(show(line) for line in (message, *items)))

    def __str__(self) -> str:
        return hide_tokens(super().__str__())

    @classmethod
    def again(cls, text: str) -> Self:
        """The failure whose text this is, with its lines."""
        message, *items = text.split("\n  ")
        return cls(message, items)


class InputError(RemReleaseError):
    """Bad usage or bad input: the command line, a recipe, or the source images."""

    exit_code = 2


class BadImagesError(InputError):
    """Files that cannot be protected, all of them at once.

    Args:
        bad: (path or row, reason) of every file that was refused.
    """

    def __init__(self, bad: Sequence[tuple[str, str]]) -> None:
        self.bad = list(bad)
        count = f"{len(self.bad)} files" if len(self.bad) > 1 else "1 file"
        those = "them" if len(self.bad) > 1 else "it"
        lines = [f"{path}: {reason}" for path, reason in self.bad]
        super().__init__(f"{count} cannot be read as a photograph. Mend or remove {those}, or add --skip-bad:", lines)


class NonFiniteLossError(RemReleaseError):
    """A training whose loss is NaN or infinite."""


class VerificationError(RemReleaseError):
    """A release that is not what its facts say."""


class FellShortError(RemReleaseError):
    """An audit fell short of its policy, or a gate refused."""

    exit_code = 3
