"""The error taxonomy. Each error carries the exit code that the command line promises to scripts.

A known failure is one line: what, which value, where, and the command that mends it. Anything else is a bug
and keeps its traceback.
"""

from collections.abc import Sequence

from rem_release.tokens import hide_tokens


class RemReleaseError(Exception):
    """A known failure: printed as one line, without a traceback. What it says shows no access token."""

    exit_code = 1

    def __str__(self) -> str:
        return hide_tokens(super().__str__())


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
        lines = "".join(f"\n  {path}: {reason}" for path, reason in self.bad)
        count = f"{len(self.bad)} files" if len(self.bad) > 1 else "1 file"
        super().__init__(f"{count} cannot be read as a photograph. Mend or remove them, or add --skip-bad:{lines}")


class NonFiniteLossError(RemReleaseError):
    """A training whose loss is NaN or infinite."""


class VerificationError(RemReleaseError):
    """A release that is not what its facts say."""


class FellShortError(RemReleaseError):
    """An audit fell short of its policy, or a gate refused."""

    exit_code = 3
