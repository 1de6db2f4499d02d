"""What a repository holds already: only an empty one, or one whose whole history this tool wrote, may get a release.

A clean pixel that was ever uploaded stays in the history, in a pull request, in converted data or as an object that no
commit names. So every commit behind every ref is looked at: its files must be those that its own protection.json lists,
with the same bytes, and its message must bear the marker of a push.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from rem_release.errors import VerificationError
from rem_release.gate.converted import CONVERTED, check_converted
from rem_release.gate.published import DELETE, DataFile, HubFiles, Published
from rem_release.hub.client import Hub
from rem_release.hub.manifest import HUB_FILES, Manifest
from rem_release.hub.repository import (
    RemoteCommit,
    RemoteFile,
    download,
    read_author,
    read_commits,
    read_refs,
    read_stored_objects,
    read_tree,
)
from rem_release.hub.upload import describe_of
from rem_release.release.canonical import sha256_file
from rem_release.release.documents import CARD, CERTIFICATE, FACTS, find_certificate, read_facts
from rem_release.release.facts import Facts
from rem_release.verification.report import Check, Faults

_REQUESTS = "refs/pr/"
_SHOWN = 5
_TEXTS = (".md", ".txt", ".rst", ".py", ".yaml", ".yml", ".toml", ".gitattributes", ".gitignore")
_MAX_BYTES = 100_000
_NEW_NAME = "push to a new name: what was uploaded once stays in the history of the repository"
_CLOSE = "close the pull request and have its ref removed, or push to a new name"


def read_history(hub: Hub, manifest: Manifest, folder: Path) -> tuple[list[Check], Published]:
    """Look at all that the repository holds.

    Args:
        hub: the repository, which exists.
        manifest: what is to be published: interrupted uploads of it are no strangers.
        folder: an empty folder for documents that are fetched.

    Returns:
        The checks, and what is out already.

    Raises:
        HubError: see `Hub.ask`.
    """
    reader = _Reader(hub, folder)
    published = Published(refs=read_refs(hub))
    faults = Faults()
    for ref in sorted(published.refs):
        if not ref.startswith(CONVERTED):
            for fault in reader.read_ref(ref, published):
                faults.add(fault)
    known = {*published.data, *reader.sha256, *(file.sha256 for file in manifest)}
    commits = faults.conclude(
        "history", f"{len(reader.judged)} commits behind {len(published.refs)} refs, all of them pushes of this tool"
    )
    cure = _CLOSE if reader.strange and all(_is_request(ref) for ref in reader.strange) else _NEW_NAME
    converted = check_converted(hub, published, reader.judged, known, folder)
    checks = [
        _advise(commits, reader.may_show_images, cure),
        _advise(converted, True, _NEW_NAME),
        _advise(_check_objects(hub, known), True, _NEW_NAME),
    ]
    return checks, published


def _advise(check: Check, may_show_images: bool, cure: str) -> Check:
    """The check with what to do: what holds no images is somebody else's, and a new name will do."""
    if check.passed:
        return check
    ours = f"if that shows images of this release, clean or with other noise, {DELETE}; else "
    return replace(check, detail=f"{check.detail}; {ours if may_show_images else ''}{cure}")


def _is_request(ref: str) -> bool:
    return re.fullmatch(rf"{_REQUESTS}\d+", ref) is not None


class _Reader:
    """Judges every commit once, and fetches every content once."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.judged: set[str] = set()
        self.sha256: set[str] = set()
        self.strange: set[str] = set()
        """refs with something wrong behind them"""
        self.may_show_images = False
        """whether anything that is wrong could be an image"""
        self._hub = hub
        self._folder = folder
        self._own = HubFiles(hub, folder)
        self._proven: set[tuple[tuple[str, str], ...]] = set()
        self._facts: dict[tuple[str, str], Facts] = {}
        self._hashes: dict[str, str] = {}

    def read_ref(self, ref: str, published: Published) -> list[str]:
        """What is wrong with the commits behind a ref, the oldest first."""
        faults = []
        for commit in reversed(read_commits(self._hub, ref)):
            if commit.oid in self.judged:
                continue
            self.judged.add(commit.oid)
            where = f"{ref}, commit {commit.oid[:12]} ({commit.title[:60]!r})"
            faults += [f"{where}: {why}" for why in self._judge(commit, published)]
        if faults:
            self.strange.add(ref)
            faults = [f"{fault}{self._name_author(ref)}" for fault in faults]
        return faults

    def _name_author(self, ref: str) -> str:
        """Whose pull request it is; nothing for other refs."""
        if not _is_request(ref):
            return ""
        author = read_author(self._hub, int(ref.removeprefix(_REQUESTS)))
        return f", in a pull request by {author or 'somebody unknown'}"

    def _judge(self, commit: RemoteCommit, published: Published) -> list[str]:
        tree = read_tree(self._hub, commit.oid)
        named = [tree[name] for name in HUB_FILES if name in tree]
        if strange := [file for file in named if not self._own.include(file, commit.oid)]:
            self._suspect(strange)
            return [f"{_list(strange)} is not the Hub's own: it is large, or holds more than patterns"]
        if len(named) == len(tree):
            return []
        if FACTS not in tree:
            others = [file for file in tree.values() if file not in named]
            self._suspect(others)
            return [f"it was not made by rem-release: it holds {_list(others)} and no {FACTS}"]
        try:
            facts = self._read_facts(commit, tree)
        except VerificationError as error:
            self._suspect(tree.values())
            return [str(error)]
        contents = tuple(sorted((file.name, file.git_sha1) for file in tree.values()))
        faults = self._compare(commit, tree, facts)
        if not faults and not self._is_marked(commit, facts) and contents not in self._proven:
            self._suspect(tree.values())
            return ["it does not have the marker of a push of rem-release"]
        if not faults:
            self._proven.add(contents)
            self._note(commit, tree, facts, published)
        return faults

    def _read_facts(self, commit: RemoteCommit, tree: dict[str, RemoteFile]) -> Facts:
        documents = [tree[name] for name in (FACTS, CERTIFICATE) if name in tree]
        contents = (documents[0].git_sha1, documents[-1].git_sha1)
        if contents not in self._facts:
            for file in documents:
                download(self._hub, file.name, commit.oid, self._folder)
            facts, audit = read_facts(self._folder / commit.oid), find_certificate(self._folder / commit.oid)
            if audit is not None and audit.digest != facts.digest:
                raise VerificationError(f"its {CERTIFICATE} is of other data")
            self._facts[contents] = facts
        return self._facts[contents]

    def _compare(self, commit: RemoteCommit, tree: dict[str, RemoteFile], facts: Facts) -> list[str]:
        """Files of a commit that its own facts do not explain."""
        stated = {name: file.sha256 for name, file in facts.files.items()} | {CARD: facts.readme_sha256}
        judged = [file for name, file in tree.items() if name not in (*HUB_FILES, FACTS, CERTIFICATE)]
        strange = [file for file in judged if file.name not in stated]
        known = [file for file in judged if file.name in stated]
        changed = [file for file in known if stated[file.name] != (file.sha256 or self._hash(commit, file))]
        self._suspect([*strange, *changed])
        faults = (
            [f"{_list(strange)} {'are' if len(strange) > 1 else 'is'} not listed in its {FACTS}"] if strange else []
        )
        if changed:
            one = "is not the file" if len(changed) == 1 else "are not the files"
            faults.append(f"{_list(changed)} {one} that its {FACTS} lists")
        return faults

    def _suspect(self, files: Iterable[RemoteFile]) -> None:
        """Note whether one of these could show an image: all but short texts could."""
        for file in files:
            is_text = file.name.endswith(_TEXTS) and file.sha256 is None and file.size <= _MAX_BYTES
            self.may_show_images |= not is_text

    def _hash(self, commit: RemoteCommit, file: RemoteFile) -> str:
        if file.git_sha1 not in self._hashes:
            self._hashes[file.git_sha1] = sha256_file(download(self._hub, file.name, commit.oid, self._folder))
        return self._hashes[file.git_sha1]

    @staticmethod
    def _is_marked(commit: RemoteCommit, facts: Facts) -> bool:
        marker = describe_of(facts.digest).splitlines()[-1]
        return marker in commit.message or f"rem-release {facts.digest[:16]}" in commit.title

    def _note(self, commit: RemoteCommit, tree: dict[str, RemoteFile], facts: Facts, published: Published) -> None:
        self.sha256 |= {file.sha256 for file in tree.values() if file.sha256}
        columns = (facts.data.image_column, facts.data.label_column)
        for name, file in facts.files.items():
            if file.rows is not None and name in tree:
                levels = facts.protection.rho_u_levels if name.startswith("data/") else 0
                published.data.setdefault(file.sha256, DataFile(commit.oid, name, columns, levels))


def _check_objects(hub: Hub, known: set[str]) -> Check:
    """Objects of the large-file storage: also those that no commit names any more are somebody's upload."""
    faults, objects = Faults(), read_stored_objects(hub)
    for stored in objects:
        if known.isdisjoint(stored.ids):
            words = f"the storage holds {stored.name or 'an object'} ({stored.size:,} bytes"
            faults.add(f"{words}, {max(stored.ids, key=len)[:12]}…), which no release explains")
    return faults.conclude("stored objects", f"{len(objects)} objects, all of known releases")


def _list(files: Sequence[RemoteFile]) -> str:
    """The first names, and how many more there are."""
    names = sorted(file.name for file in files)
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more file{'s' if more > 1 else ''}" if more > 0 else "")
