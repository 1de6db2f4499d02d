"""What a release consists of, file by file: what is sent, and what the Hub must then show."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rem_release.errors import VerificationError
from rem_release.hub.repository import RemoteFile
from rem_release.release.canonical import sha256_file
from rem_release.release.documents import CARD, CERTIFICATE, FACTS
from rem_release.release.facts import Facts

HUB_FILES = (".gitattributes",)
"""What the Hub itself puts into a repository."""


@dataclass(frozen=True)
class LocalFile:
    """One file of the release, as it was when the manifest was read."""

    name: str
    path: Path
    size: int
    sha256: str

    @cached_property
    def git_sha1(self) -> str:
        """The id that git gives the contents; the Hub names files that are not in LFS by it."""
        digest = hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False)
        with self.path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
        return digest.hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Name, size and sha256."""
        return {"name": self.name, "bytes": self.size, "sha256": self.sha256}

    def is_same(self, remote: RemoteFile | None) -> bool:
        """Whether the Hub holds these bytes."""
        if remote is None or remote.size != self.size:
            return False
        return remote.sha256 == self.sha256 if remote.sha256 else remote.git_sha1 == self.git_sha1


class Manifest:
    """The files of a release, and the digest of its data.

    Args:
        release: the folder.
        facts: its facts, which must have been verified.
    """

    def __init__(self, release: Path, facts: Facts) -> None:
        self.digest = facts.digest
        names = [CARD, FACTS, *([CERTIFICATE] if (release / CERTIFICATE).is_file() else []), *sorted(facts.files)]
        self.files = {name: _describe(release, name) for name in names}

    def require(self, checked: "Manifest") -> None:
        """Make sure that the files are those that were checked.

        Raises:
            VerificationError: a file changed meanwhile.
        """
        for name in sorted(self.files.keys() | checked.files.keys()):
            mine, other = self.files.get(name), checked.files.get(name)
            if mine is None or other is None or mine.sha256 != other.sha256:
                raise VerificationError(f"{name} of the release changed since the gate looked at it; nothing was sent")

    def __iter__(self) -> Iterator[LocalFile]:
        return iter(self.files.values())

    @property
    def documents(self) -> list[LocalFile]:
        """Card, facts and certificate: what explains every other file."""
        return [file for file in self if "/" not in file.name]

    def missing_in(self, tree: Mapping[str, RemoteFile]) -> list[LocalFile]:
        """The files that the tree does not hold, or holds with other bytes."""
        return [file for file in self if not file.is_same(tree.get(file.name))]

    def stale_in(self, tree: Mapping[str, RemoteFile]) -> list[str]:
        """The files of the tree that are no part of this release."""
        return sorted(name for name in tree if name not in self.files and name not in HUB_FILES)

    def is_whole_in(self, tree: Mapping[str, RemoteFile]) -> bool:
        """Whether the tree holds exactly this release."""
        return not self.missing_in(tree) and not self.stale_in(tree)


def _describe(release: Path, name: str) -> LocalFile:
    path = release / name
    return LocalFile(name, path, path.stat().st_size, sha256_file(path))
