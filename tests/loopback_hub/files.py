"""Files and commits of a repository: values that never change."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

MAIN = "refs/heads/main"


def hash_as_git(data: bytes) -> str:
    """The id that git gives to these contents."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def write_date(moment: datetime) -> str:
    """A date as the Hub writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True)
class File:
    """One file of a tree."""

    size: int
    sha256: str
    is_lfs: bool
    data: bytes | None = field(repr=False)
    """None for bytes in Xet's store that the server cannot read"""
    xet_hash: str | None = None

    @property
    def pointer(self) -> bytes:
        """What git holds in place of a large file."""
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()

    @property
    def git_sha1(self) -> str:
        """Of the contents, or of the pointer where the file is in LFS."""
        if self.is_lfs:
            return hash_as_git(self.pointer)
        assert self.data is not None
        return hash_as_git(self.data)

    def describe(self) -> dict[str, Any]:
        """The fields that listings share."""
        described: dict[str, Any] = {"oid": self.git_sha1, "size": self.size}
        if self.is_lfs:
            described["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": len(self.pointer)}
        if self.xet_hash:
            described["xetHash"] = self.xet_hash
        return described


def make_file(data: bytes, is_lfs: bool = False) -> File:
    """A file with these contents."""
    return File(len(data), hashlib.sha256(data).hexdigest(), is_lfs, data)


Tree = Mapping[str, File]


@dataclass(frozen=True)
class Commit:
    """One commit."""

    id: str
    title: str
    message: str
    author: str
    parents: tuple[str, ...]
    tree: Tree = field(repr=False)
    date: datetime
    number: int
    """commits of a repository are counted from 1"""

    @property
    def parent(self) -> str | None:
        """The first parent."""
        return self.parents[0] if self.parents else None


def make_commit(number: int, title: str, message: str, author: str, parents: tuple[str, ...], tree: Tree) -> Commit:
    """A commit made now; its id depends on all that it says."""
    date = datetime.now(UTC)
    lines = [str(number), title, message, author, date.isoformat(), *parents]
    lines += [f"{path} {tree[path].git_sha1}" for path in sorted(tree)]
    identity = hashlib.sha1("\n".join(lines).encode()).hexdigest()
    return Commit(identity, title, message, author, parents, dict(tree), date, number)
