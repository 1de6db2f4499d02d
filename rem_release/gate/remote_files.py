"""Whether a revision on the Hub holds a release and nothing besides: what a download leaves out counts, too."""

from pathlib import Path

from rem_release.gate.published import HubFiles
from rem_release.hub.client import Hub
from rem_release.hub.manifest import HUB_FILES, Manifest
from rem_release.hub.proof import check_files
from rem_release.hub.repository import read_tree
from rem_release.release.documents import read_facts
from rem_release.verification.report import Check


def check_remote(hub: Hub, commit: str, release: Path, folder: Path) -> list[Check]:
    """Compare the list of files on the Hub with a download that was verified.

    Args:
        hub: the repository.
        commit: the revision.
        release: the download, less the files that the Hub adds.
        folder: for what is fetched.

    Raises:
        HubError: see `Hub.ask`.
    """
    own, tree = HubFiles(hub, folder), read_tree(hub, commit)
    strange = [name for name in HUB_FILES if name in tree and not own.include(tree[name], commit)]
    words = f"{', '.join(strange)} is not what the Hub writes there" if strange else "nothing but what the Hub adds"
    return [check_files(hub, commit, Manifest(release, read_facts(release))), Check("hub files", not strange, words)]
