"""What a release consists of, file by file: what is sent, and what the Hub must then show.

Sizes and hashes are those that the gate checked: of data and figures the facts', of the documents those of the very
bytes that are kept here and sent. No file is asked again what it holds now.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rem_release.errors import VerificationError
from rem_release.hub.repository import RemoteFile
from rem_release.release.canonical import sha256_file
from rem_release.release.documents import CARD, CERTIFICATE, FACTS, read_facts
from rem_release.release.facts import Facts

HUB_FILES = (".gitattributes",)
"""What the Hub itself puts into a repository."""
_PIECE = 1 << 20


@dataclass(frozen=True)
class LocalFile:
    """One file of the release, as the gate checked it."""

    name: str
    path: Path
    size: int
    sha256: str
    data: bytes | None = field(default=None, repr=False)
    """the bytes themselves, of a document; None for other files, which stay on disk"""

    @cached_property
    def git_sha1(self) -> str:
        """The id that git gives the contents; the Hub names files that are not in LFS by it.

        Raises:
            VerificationError: the file on disk is no longer the checked one.
        """
        digest = hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False)
        if self.data is not None:
            digest.update(self.data)
            return digest.hexdigest()
        checked = hashlib.sha256()
        with self.path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
                checked.update(piece)
        if checked.hexdigest() != self.sha256:
            raise self.changed()
        return digest.hexdigest()

    def changed(self) -> VerificationError:
        """The refusal of a file that is no longer the checked one."""
        return VerificationError(f"{self.path} changed since the gate looked at it; nothing of it was published")

    def require(self) -> None:
        """Make sure that the file on disk still is the checked one.

        Raises:
            VerificationError: it is not.
        """
        if self.data is None and sha256_file(self.path) != self.sha256:
            raise self.changed()

    def to_json(self) -> dict[str, Any]:
        """Name, size and sha256."""
        return {"name": self.name, "bytes": self.size, "sha256": self.sha256}

    def is_same(self, remote: RemoteFile | None) -> bool:
        """Whether the Hub holds these bytes.

        Raises:
            VerificationError: see `git_sha1`.
        """
        if remote is None or remote.size != self.size:
            return False
        return remote.sha256 == self.sha256 if remote.sha256 else remote.git_sha1 == self.git_sha1


class Manifest:
    """The files of a release, and the digest of its data.

    Args:
        release: the folder.
        facts: its facts, which must have been verified.

    Raises:
        VerificationError: facts or card are no longer those that were checked.
    """

    def __init__(self, release: Path, facts: Facts) -> None:
        self.digest = facts.digest
        names = [CARD, FACTS, *([CERTIFICATE] if (release / CERTIFICATE).is_file() else [])]
        self.files = {name: _read_document(release, name) for name in names}
        if read_facts(release) != facts:
            raise self.files[FACTS].changed()
        if self.files[CARD].sha256 != facts.readme_sha256:
            raise self.files[CARD].changed()
        for name, stated in sorted(facts.files.items()):
            self.files[name] = LocalFile(name, release / name, stated.bytes, stated.sha256)

    def require_in(self, release: Path) -> None:
        """Make sure that a folder holds these very files.

        Raises:
            VerificationError: one of them is another, or missing.
        """
        for file in self:
            path = release / file.name
            if not path.is_file() or sha256_file(path) != file.sha256:
                words = f"{file.name} of the release changed since the gate looked at it"
                raise VerificationError(f"{words}; nothing was sent")

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


def _read_document(release: Path, name: str) -> LocalFile:
    data = (release / name).read_bytes()
    return LocalFile(name, release / name, len(data), hashlib.sha256(data).hexdigest(), data)
