"""What stands in a repository: its state, its refs, and the files and commits behind them."""

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import DatasetInfo, RepoFile

from rem_release.hub.client import REPO_TYPE, Hub, HubError


@dataclass(frozen=True)
class RemoteFile:
    """One file at one revision."""

    name: str
    size: int
    git_sha1: str
    """id of the contents, or of the pointer where the file is in LFS"""
    sha256: str | None
    """of the contents; None where the file is not in LFS"""


@dataclass(frozen=True)
class RemoteCommit:
    """One commit."""

    oid: str
    title: str
    message: str


@dataclass(frozen=True)
class StoredObject:
    """One object of the large-file storage."""

    name: str
    size: int
    ids: tuple[str, str]
    """one of them is the sha256 of the contents"""


@dataclass(frozen=True)
class State:
    """A repository as a whole."""

    head: str
    """the commit that `main` shows"""
    private: bool
    gated: str | bool


def read_state(hub: Hub) -> State | None:
    """The state of the repository; None where there is none.

    Raises:
        HubError: see `Hub.ask`.
    """
    try:
        info = hub.ask("looking up the repository", lambda: hub.api.dataset_info(hub.repo_id))
    except HubError as error:
        if error.status == 404:
            return None
        raise
    return State(read_head(hub, info), bool(info.private), info.gated or False)


def read_head(hub: Hub, info: DatasetInfo) -> str:
    """The commit that an answer is about.

    Raises:
        HubError: it names none, as a Hub always does.
    """
    if not info.sha:
        raise HubError(f"{hub.api.endpoint} does not answer as a Hub does: it names no commit; check HF_ENDPOINT")
    return info.sha


def require_state(hub: Hub) -> State:
    """The state of a repository that must be there.

    Raises:
        HubError: it is not; or see `Hub.ask`.
    """
    state = read_state(hub)
    if state is None:
        raise HubError(f"{hub.repo_id} should be there by now, and the Hub does not show it; look at it there", 404)
    return state


def read_refs(hub: Hub) -> dict[str, str]:
    """Every ref with the commit that it names: branches, tags, pull requests, converted data.

    Raises:
        HubError: see `Hub.ask`.
    """
    refs = hub.ask(
        "listing the refs",
        lambda: hub.api.list_repo_refs(hub.repo_id, repo_type=REPO_TYPE, include_pull_requests=True),
    )
    listed = [*refs.branches, *refs.tags, *(refs.pull_requests or []), *refs.converts]
    return {ref.ref: ref.target_commit for ref in listed}


def read_commits(hub: Hub, revision: str) -> list[RemoteCommit]:
    """The commits behind a revision, the newest first.

    Raises:
        HubError: see `Hub.ask`.
    """
    commits = hub.ask(
        "listing the commits",
        lambda: hub.api.list_repo_commits(hub.repo_id, repo_type=REPO_TYPE, revision=revision),
    )
    return [RemoteCommit(commit.commit_id, commit.title, commit.message) for commit in commits]


def read_author(hub: Hub, number: int) -> str | None:
    """Who opened a pull request; None where the Hub does not know.

    Raises:
        HubError: see `Hub.ask`.
    """
    try:
        details = hub.ask(
            "looking up the pull request",
            lambda: hub.api.get_discussion_details(hub.repo_id, number, repo_type=REPO_TYPE),
        )
    except HubError as error:
        if error.status == 404:
            return None
        raise
    return details.author


def read_tree(hub: Hub, revision: str) -> dict[str, RemoteFile]:
    """Every file at a revision.

    Raises:
        HubError: see `Hub.ask`.
    """
    entries = hub.ask(
        "listing the files",
        lambda: list(hub.api.list_repo_tree(hub.repo_id, recursive=True, revision=revision, repo_type=REPO_TYPE)),
    )
    files = [entry for entry in entries if isinstance(entry, RepoFile)]
    return {
        file.path: RemoteFile(file.path, file.size, file.blob_id, file.lfs.sha256 if file.lfs else None)
        for file in files
    }


def read_stored_objects(hub: Hub) -> list[StoredObject]:
    """Every object in the repository's large-file storage, whether a commit names it or not.

    Raises:
        HubError: see `Hub.ask`.
    """
    listed = hub.ask(
        "listing the stored objects", lambda: list(hub.api.list_lfs_files(hub.repo_id, repo_type=REPO_TYPE))
    )
    return [StoredObject(item.filename, item.size, (item.oid, item.file_oid)) for item in listed]


def download(hub: Hub, name: str, revision: str, folder: Path) -> Path:
    """Fetch one file into a folder.

    Raises:
        HubError: see `Hub.ask`.
    """
    return Path(
        hub.ask(
            f"downloading {name}",
            lambda: hub.api.hf_hub_download(
                hub.repo_id, name, repo_type=REPO_TYPE, revision=revision, local_dir=folder / revision
            ),
        )
    )
