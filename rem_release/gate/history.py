"""What a repository holds already: only an empty one, or one whose whole history this tool wrote, may get a release.

A clean pixel that was ever uploaded stays in the history, in a pull request, in converted data or as an object that no
commit names. So every commit behind every ref is looked at: its files must be those that its own protection.json lists,
with the same bytes, and its message must bear the marker of a push.
"""

from dataclasses import replace
from pathlib import Path

from rem_release.errors import VerificationError
from rem_release.gate.converted import CONVERTED, check_converted
from rem_release.gate.published import DataFile, HubFiles, Published
from rem_release.hub.client import Hub
from rem_release.hub.manifest import HUB_FILES, Manifest
from rem_release.hub.repository import (
    RemoteCommit,
    RemoteFile,
    download,
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

_ADVICE = "push to a new name instead, or delete the repository: what was uploaded once stays in its history"


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
    converted = check_converted(hub, published, reader.judged, known, folder)
    return [_advise(check) for check in (commits, converted, _check_objects(hub, known))], published


def _advise(check: Check) -> Check:
    return check if check.passed else replace(check, detail=f"{check.detail}; {_ADVICE}")


class _Reader:
    """Judges every commit once, and fetches every content once."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.judged: dict[str, list[str]] = {}
        self.sha256: set[str] = set()
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
            if commit.oid not in self.judged:
                self.judged[commit.oid] = self._judge(commit, published)
                where = f"{ref}, commit {commit.oid[:12]} ({commit.title[:60]!r})"
                faults += [f"{where}: {why}" for why in self.judged[commit.oid]]
        return faults

    def _judge(self, commit: RemoteCommit, published: Published) -> list[str]:
        tree = read_tree(self._hub, commit.oid)
        named = [tree[name] for name in HUB_FILES if name in tree]
        if strange := [file.name for file in named if not self._own.include(file, commit.oid)]:
            return [f"{strange[0]} is not the Hub's own: it is large, or holds more than patterns"]
        if len(named) == len(tree):
            return []
        if FACTS not in tree:
            return [f"it was not made by rem-release: it holds {_list(set(tree) - set(HUB_FILES))} and no {FACTS}"]
        try:
            facts = self._read_facts(commit, tree)
        except VerificationError as error:
            return [str(error)]
        contents = tuple(sorted((file.name, file.git_sha1) for file in tree.values()))
        faults = self._compare(commit, tree, facts)
        if not faults and not self._is_marked(commit, facts) and contents not in self._proven:
            return ["it does not bear the marker of a push of rem-release"]
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
        faults = []
        for name, file in tree.items():
            if name in (*HUB_FILES, FACTS, CERTIFICATE):
                continue
            if name not in stated:
                faults.append(f"{name} is not listed in its {FACTS}")
            elif stated[name] != (file.sha256 or self._hash(commit, file)):
                faults.append(f"{name} is not the file that its {FACTS} lists")
        return faults

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


def _list(names: set[str]) -> str:
    shown = sorted(names)[:3]
    return ", ".join(shown) + (f" and {len(names) - 3} more files" if len(names) > 3 else "")
