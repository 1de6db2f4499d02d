"""Versions of packages: that of this one is its own word, for a checkout that is not installed has no metadata."""

from collections.abc import Iterable
from importlib.metadata import version

from rem_release import __version__

OWN = "rem-release"


def find_versions(packages: Iterable[str]) -> dict[str, str]:
    """Name → version, in the order of the names; this package first where it is among them.

    Raises:
        PackageNotFoundError: one of the others is not installed.
    """
    names = list(packages)
    found = {name: version(name) for name in names if name != OWN}
    return {OWN: __version__, **found} if OWN in names else found
