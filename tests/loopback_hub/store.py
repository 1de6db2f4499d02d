"""The repositories: refs, commits, large objects and pull requests, all in memory."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.loopback_hub.discussions import Discussion
from tests.loopback_hub.files import MAIN, Commit, File, Tree, make_commit, make_file
from tests.loopback_hub.messages import RefusalError

GIT_ATTRIBUTES = "".join(
    f"{pattern} filter=lfs diff=lfs merge=lfs -text\n"
    for pattern in ("*.parquet", "*.arrow", "*.bin", "*.zip", "*.tar", "*.png", "*.jpg", "*.jpeg", "*.npy", "*.webp")
).encode()


@dataclass(frozen=True)
class StoredObject:
    """One object of a repository's large-file storage."""

    file: File
    pushed: datetime
    name: str = ""
    """the last path that a commit gave it"""


@dataclass
class Repo:
    """One dataset repository.

    `merge` says how pull requests are merged: `squash`, one commit on main, or `keep`, with all their commits.
    """

    id: str
    private: bool
    gated: str | bool = False
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    objects: dict[str, StoredObject] = field(default_factory=dict)
    """by sha256"""
    discussions: dict[int, Discussion] = field(default_factory=dict)
    tag_messages: dict[str, str] = field(default_factory=dict)
    main_trees: list[Tree] = field(default_factory=list)
    merge: str = "squash"
    created: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def visibility(self) -> str:
        """`private` or `public`."""
        return "private" if self.private else "public"

    @property
    def namespace(self) -> str:
        """Whose it is."""
        return self.id.split("/")[0]

    @property
    def head(self) -> Commit:
        """What main shows."""
        return self.commits[self.refs[MAIN]]

    def tree(self, ref: str = MAIN) -> dict[str, File]:
        """The files at a revision."""
        return dict(self.find_commit(ref).tree)

    def history(self, ref: str = MAIN) -> list[Commit]:
        """The commits behind a revision, the newest first."""
        found: dict[str, Commit] = {}
        waiting = [self.find_commit(ref).id]
        while waiting:
            commit = self.commits[waiting.pop()]
            if commit.id not in found:
                found[commit.id] = commit
                waiting += commit.parents
        return sorted(found.values(), key=lambda commit: commit.number, reverse=True)

    def find_ref(self, revision: str) -> str | None:
        """The full name of a ref that is given by its full or its short name."""
        names = (revision, f"refs/heads/{revision}", f"refs/tags/{revision}")
        return next((name for name in names if name in self.refs), None)

    def find_commit(self, revision: str) -> Commit:
        """The commit that a branch, a tag, another ref or an id (7 digits at least) names.

        Raises:
            RefusalError: none does.
        """
        if name := self.find_ref(revision):
            return self.commits[self.refs[name]]
        if re.fullmatch("[0-9a-f]{7,40}", revision):
            found = [commit for identity, commit in self.commits.items() if identity.startswith(revision)]
            if len(found) == 1:
                return found[0]
        raise RefusalError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def add_commit(
        self, title: str, message: str, author: str, parents: tuple[str, ...], tree: Mapping[str, File]
    ) -> Commit:
        """A new commit, which no ref names yet."""
        commit = make_commit(len(self.commits) + 1, title, message, author, parents, tree)
        self.commits[commit.id] = commit
        return commit

    def set_ref(self, ref: str, commit: str) -> None:
        """Let a ref name a commit; trees that main shows are noted."""
        assert commit in self.commits
        self.refs[ref] = commit
        if ref == MAIN:
            self.main_trees.append(self.commits[commit].tree)

    def store(self, file: File, name: str = "") -> File:
        """Keep a large object."""
        known = self.objects.get(file.sha256)
        if known is None or name:
            kept = known.file if known else file
            self.objects[file.sha256] = StoredObject(kept, known.pushed if known else datetime.now(UTC), name)
        return self.objects[file.sha256].file

    def add_lfs_orphan(self, data: bytes) -> str:
        """Put an object into the storage that no commit names; its sha256."""
        return self.store(make_file(data, is_lfs=True)).sha256

    def plant(
        self,
        files: Mapping[str, bytes | None],
        *,
        ref: str = MAIN,
        title: str = "a commit",
        author: str = "somebody",
        message: str = "",
        lfs: bool = True,
    ) -> str:
        """Make a commit on a ref, as if somebody had pushed it; a new ref starts at main.

        Args:
            files: path: contents; None takes the file out.
            ref: its full name.
            title: first line of the commit.
            author: user name.
            message: the rest of it.
            lfs: whether files that are no text go to the large-file storage.

        Returns:
            The id of the commit.
        """
        assert ref.startswith("refs/"), f"{ref} is not the full name of a ref"
        start = self.find_commit(ref if ref in self.refs else MAIN)
        tree = dict(start.tree)
        for path, data in files.items():
            if data is None:
                del tree[path]
            else:
                tree[path] = self._make_planted(path, data, lfs)
        commit = self.add_commit(title, message, author, (start.id,), tree)
        self.set_ref(ref, commit.id)
        number = re.fullmatch(r"refs/pr/(\d+)", ref)
        if number and int(number[1]) not in self.discussions:
            self.discussions[int(number[1])] = Discussion(int(number[1]), title, author, base=start.id, status="open")
        return commit.id

    def _make_planted(self, path: str, data: bytes, lfs: bool) -> File:
        is_lfs = lfs and not path.endswith((".md", ".json", ".txt", ".csv", ".yaml", ".gitattributes"))
        file = make_file(data, is_lfs)
        return self.store(file, path) if is_lfs else file


def make_repo(repo_id: str, private: bool, user: str) -> Repo:
    """A new repository with the commit that the Hub itself makes."""
    repo = Repo(repo_id, private)
    first = repo.add_commit("initial commit", "", user, (), {".gitattributes": make_file(GIT_ATTRIBUTES)})
    repo.set_ref(MAIN, first.id)
    return repo


def hash_data(data: bytes) -> str:
    """sha256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
