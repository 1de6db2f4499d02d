"""The upload: exactly the files of the manifest, so that `main` shows either all of them or none.

A small release is one commit on top of the commit that the gate saw. A large one goes to a pull request in several
commits, the documents first, so that every commit explains its own files; it is merged when it is complete. What the
Hub holds already is not sent again, in whatever run it was sent.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete

from rem_release.errors import VerificationError
from rem_release.hub.client import MAIN, REPO_TYPE, Hub, HubError
from rem_release.hub.manifest import LocalFile, Manifest
from rem_release.hub.repository import read_commits, read_head, read_refs, read_tree
from rem_release.release.documents import FACTS

ONE_COMMIT_FILES = 100
ONE_COMMIT_BYTES = 2_000_000_000
_COMMIT_FILES = 50
_COMMIT_BYTES = 1_000_000_000
_TOGETHER_FILES = 8
_TOGETHER_BYTES = 100_000_000
_READ_AT_ONCE = 1_000_000
Progress = Callable[[int, int], None]
Operations = list[CommitOperationAdd | CommitOperationDelete]


def title_of(digest: str) -> str:
    """The first line of every commit that a push makes; it names the release."""
    return f"rem-release {digest[:16]}"


def describe_of(digest: str) -> str:
    """The text of every commit that a push makes: the marker by which a later push knows it again."""
    return f"Published with rem-release.\nRem-Release-Digest: {digest}"


def upload(hub: Hub, manifest: Manifest, base: str, progress: Progress) -> str:
    """Bring `main` from the commit `base` to exactly the release.

    Args:
        hub: the repository, which exists.
        manifest: the release.
        base: the commit of `main` that the gate looked at.
        progress: told (done, total) kilobytes.

    Returns:
        The commit that `main` shows then.

    Raises:
        HubError: `main` is no longer at `base`, or see `Hub.ask`. What was uploaded stays and is not sent again.
        VerificationError: a file changed since the gate, or the Hub does not show what was sent.
    """
    tree = read_tree(hub, base)
    missing, stale = manifest.missing_in(tree), manifest.stale_in(tree)
    if not missing and not stale:
        return base
    meter = _Meter(sum(file.size for file in missing), progress)
    if len(missing) <= ONE_COMMIT_FILES and meter.total <= ONE_COMMIT_BYTES:
        commit = _commit(hub, manifest, missing, stale, _Place(MAIN, base), meter)
    else:
        commit = _push_in_commits(hub, manifest, base, meter)
    if not manifest.is_whole_in(read_tree(hub, commit)):
        raise VerificationError(f"{hub.repo_id} does not show the release at {commit}; look at it before anything else")
    return commit


def _commit(
    hub: Hub, manifest: Manifest, files: Sequence[LocalFile], stale: Sequence[str], at: "_Place", meter: "_Meter"
) -> str:
    """Upload the files' contents, then name them all in one commit on top of the branch; the new commit."""
    operations: Operations = [*_upload_contents(hub, files, at.revision, meter), *map(CommitOperationDelete, stale)]

    def already() -> str | None:
        head = _head(hub, at.revision)
        if head == at.parent:
            return None
        tree = read_tree(hub, head)
        if all(file.is_same(tree.get(file.name)) for file in files) and not set(stale) & set(tree):
            return head
        raise _moved(hub, at, head)

    def commit() -> str:
        if (head := _head(hub, at.revision)) != at.parent:
            raise _moved(hub, at, head)
        return _send(hub, manifest, operations, at).oid

    return hub.ask("making the commit", commit, already)


def _send(hub: Hub, manifest: Manifest, operations: Operations, at: "_Place", create_pr: bool = False) -> CommitInfo:
    return hub.api.create_commit(
        hub.repo_id,
        operations,
        commit_message=title_of(manifest.digest),
        commit_description=describe_of(manifest.digest),
        repo_type=REPO_TYPE,
        revision=at.revision,
        parent_commit=at.parent,
        create_pr=create_pr,
    )


def _push_in_commits(hub: Hub, manifest: Manifest, base: str, meter: "_Meter") -> str:
    """A pull request on top of `base`, a new one or the one that an earlier try left; merged when it is whole."""
    number = _find_pull_request(hub, manifest, base)
    if number is None:
        number = _open_pull_request(hub, manifest, base, meter)
    revision = f"refs/pr/{number}"
    head = _head(hub, revision)
    missing = manifest.missing_in(read_tree(hub, head))
    meter.resume_with(missing)
    for files in _split(missing, _COMMIT_FILES, _COMMIT_BYTES):
        head = _commit(hub, manifest, files, [], _Place(revision, head), meter)
    if not manifest.is_whole_in(read_tree(hub, head)):
        raise VerificationError(f"{hub.repo_id}: {revision} does not show the release; it was not merged")
    return _merge(hub, manifest, number, base)


def _open_pull_request(hub: Hub, manifest: Manifest, base: str, meter: "_Meter") -> int:
    """Its first commit holds the documents, and takes out every file that is not as the documents say."""
    tree, documents = read_tree(hub, base), manifest.documents
    others = {file.name for file in manifest.missing_in(tree)} - {file.name for file in documents}
    stale = sorted({*manifest.stale_in(tree), *(others & set(tree))})
    at = _Place(MAIN, base)
    operations: Operations = [*_upload_contents(hub, documents, MAIN, meter), *map(CommitOperationDelete, stale)]

    def open_it() -> int:
        if (head := _head(hub, MAIN)) != base:
            raise _moved(hub, at, head)
        number = _send(hub, manifest, operations, at, create_pr=True).pr_num
        assert number is not None
        return number

    return hub.ask("opening a pull request", open_it, lambda: _find_pull_request(hub, manifest, base))


def _find_pull_request(hub: Hub, manifest: Manifest, base: str) -> int | None:
    """The newest open pull request that brings exactly this release on top of `base`."""
    facts = manifest.files[FACTS]
    for number in sorted((int(ref[8:]) for ref in read_refs(hub) if re.fullmatch(r"refs/pr/\d+", ref)), reverse=True):
        revision = f"refs/pr/{number}"
        if not facts.is_same(read_tree(hub, revision).get(FACTS)):
            continue
        is_on_base = any(commit.oid == base for commit in read_commits(hub, revision))
        if is_on_base and _status(hub, number) in ("open", "draft"):
            return number
    return None


def _merge(hub: Hub, manifest: Manifest, number: int, base: str) -> str:
    """Merge a pull request that is whole, unless `main` moved meanwhile; the commit that `main` shows then."""
    if _status(hub, number) == "draft":
        hub.ask(
            "opening the draft",
            lambda: hub.api.change_discussion_status(hub.repo_id, number, "open", repo_type=REPO_TYPE),
        )

    def merge() -> str:
        if (head := _head(hub, MAIN)) != base:
            raise _moved(hub, _Place(MAIN, base), head)
        hub.api.merge_pull_request(hub.repo_id, number, repo_type=REPO_TYPE, comment=describe_of(manifest.digest))
        return _head(hub, MAIN)

    def already() -> str | None:
        return _head(hub, MAIN) if _status(hub, number) == "merged" else None

    return hub.ask("merging the pull request", merge, already)


def _upload_contents(
    hub: Hub, files: Sequence[LocalFile], revision: str, meter: "_Meter"
) -> Iterator[CommitOperationAdd]:
    """Send the contents that the Hub does not hold yet, a few files at a time; what is sent is what the gate saw."""
    for group in _split(files, _TOGETHER_FILES, _TOGETHER_BYTES):
        additions = [_add(file) for file in group]

        def send(additions: list[CommitOperationAdd] = additions) -> None:
            hub.api.preupload_lfs_files(hub.repo_id, additions, repo_type=REPO_TYPE, revision=revision, num_threads=4)

        hub.ask(f"uploading {group[0].name}", send)
        for file in group:
            file.require()  # it was not written to while it was being sent
        meter.add(group)
        yield from additions


def _add(file: LocalFile) -> CommitOperationAdd:
    """Small files are read once, so that nothing can change between the check and the commit."""
    if file.data is None and file.size > _READ_AT_ONCE:
        addition = CommitOperationAdd(file.name, str(file.path))
        if addition.upload_info.sha256.hex() != file.sha256:  # read once more, and before anything is sent
            raise file.changed()
        return addition
    data = file.path.read_bytes() if file.data is None else file.data
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise file.changed()
    return CommitOperationAdd(file.name, data)


def _split(files: Sequence[LocalFile], most: int, most_bytes: int) -> Iterator[list[LocalFile]]:
    """Consecutive groups of at most so many files and, a single file excepted, so many bytes."""
    group: list[LocalFile] = []
    for file in files:
        if group and (len(group) == most or sum(other.size for other in group) + file.size > most_bytes):
            yield group
            group = []
        group.append(file)
    if group:
        yield group


def _head(hub: Hub, revision: str) -> str:
    info = hub.ask("looking up the branch", lambda: hub.api.dataset_info(hub.repo_id, revision=revision))
    return read_head(hub, info)


def _status(hub: Hub, number: int) -> str:
    details = hub.ask(
        "looking up the pull request",
        lambda: hub.api.get_discussion_details(hub.repo_id, number, repo_type=REPO_TYPE),
    )
    return str(details.status)


def _moved(hub: Hub, at: "_Place", head: str) -> HubError:
    return HubError(
        f"{hub.repo_id}: {at.revision} moved from {at.parent[:12]} to {head[:12]} while this was going on; nothing was "
        "overwritten. Look at what changed there, and push again"
    )


@dataclass(frozen=True)
class _Place:
    """A branch, and the commit on top of which the next one goes."""

    revision: str
    parent: str


class _Meter:
    """Tells how many kilobytes are on the Hub."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.total = total
        self._done = 0
        self._progress = progress

    def add(self, files: Sequence[LocalFile]) -> None:
        """Count files that are on the Hub now."""
        self._done += sum(file.size for file in files)
        self._progress(self._done // 1000, self.total // 1000)

    def resume_with(self, missing: Sequence[LocalFile]) -> None:
        """What is not missing is done."""
        self._done = max(self._done, self.total - sum(file.size for file in missing))
