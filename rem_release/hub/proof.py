"""The proof afterwards: what the Hub gives to anyone, compared with the files at hand, byte by byte."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import zip_longest
from pathlib import Path

from rem_release.data.shards import iterate_rows
from rem_release.errors import VerificationError
from rem_release.hub.client import REPO_TYPE, Hub
from rem_release.hub.loading import load_rows
from rem_release.hub.manifest import HUB_FILES, Manifest
from rem_release.hub.repository import RemoteFile, download, read_head, read_tree
from rem_release.release.canonical import MAX_BYTES, sha256_file
from rem_release.release.documents import CARD, CERTIFICATE, FACTS, read_facts
from rem_release.release.facts import Facts
from rem_release.verification.report import Check, Faults

_MAX_STRANGE = 1_000_000
"""bytes of a file that the facts do not state: it is downloaded to be named"""


def check_files(hub: Hub, commit: str, manifest: Manifest) -> Check:
    """Whether the files at a commit are those of the release, by size and checksum, and no others."""
    tree, faults = read_tree(hub, commit), Faults()
    for file in manifest.missing_in(tree):
        faults.add(f"{file.name} is {'other than in the release' if file.name in tree else 'missing'}")
    for name in manifest.stale_in(tree):
        faults.add(f"{name} is no part of the release")
    return faults.conclude("remote files", f"{len(manifest.files)} files with the release's sizes and checksums")


def check_loading(hub: Hub, commit: str, release: Path, facts: Facts) -> list[Check]:
    """Whether `load_dataset` of a commit, in a fresh process and cache, gives the images and labels that were checked.

    Args:
        hub: the repository.
        commit: its commit.
        release: the folder to compare with.
        facts: of that folder; a data file that is no longer the one that they state is no evidence.

    Raises:
        VerificationError: a data file of the folder is no longer the checked one.
    """
    folders = dict.fromkeys(facts.data.split_images, "data")
    if facts.clean_split:
        folders[facts.clean_split.split] = "clean"
    checks = []
    for split, folder in folders.items():
        names = sorted(name for name in facts.files if name.startswith(f"{folder}/{split}-"))
        for name in names:
            if sha256_file(release / name) != facts.files[name].sha256:
                raise VerificationError(
                    f"{release / name} changed since it was checked; what the Hub gives is not proven"
                )
        checks.append(_check_split(hub, commit, split, [release / name for name in names], facts))
    return checks


def _check_split(hub: Hub, commit: str, split: str, paths: list[Path], facts: Facts) -> Check:
    columns, name = (facts.data.image_column, facts.data.label_column), f"load_dataset, split {split}"

    def compare() -> Check:
        faults, count = Faults(), 0
        with (
            tempfile.TemporaryDirectory(prefix="rem-release-") as cache,
            closing(load_rows(hub.repo_id, commit, split, columns, Path(cache))) as loaded,
        ):
            for count, (found, staged) in enumerate(zip_longest(loaded, _hash_rows(paths, *columns)), 1):
                if found != staged:
                    faults.add(f"row {count - 1} is {_describe(found, staged)}")
        return faults.conclude(name, f"{count} images and labels of a fresh process equal those of the release")

    return hub.ask(f"loading the split {split} with load_dataset", compare)


def _describe(found: str | None, staged: str | None) -> str:
    if found is None or staged is None:
        return "missing" if found is None else "not in the release"
    return "another image" if found.split()[0] != staged.split()[0] else "labelled otherwise"


def _hash_rows(paths: list[Path], image_column: str, label_column: str) -> Iterator[str]:
    for row in iterate_rows(paths, [label_column], image_column):
        yield f"{hashlib.sha256(row.png or b'').hexdigest()} {json.dumps(row.columns[label_column])}"


def _require_stated(hub: Hub, commit: str, tree: Mapping[str, RemoteFile]) -> None:
    """Refuse what is larger than it says, before it is downloaded.

    Raises:
        HubError: see `Hub.ask`.
        VerificationError: a document or another file is too large, or a file is not of the size that the facts state.
    """
    documents = (FACTS, CARD, CERTIFICATE, *HUB_FILES)
    large = [tree[name] for name in documents if name in tree and tree[name].size > MAX_BYTES]
    if not large:
        with tempfile.TemporaryDirectory(prefix="rem-release-") as folder:
            facts = read_facts(download(hub, FACTS, commit, Path(folder)).parent)
        stated = {name: file.bytes for name, file in facts.files.items()}
        others = [file for name, file in tree.items() if name not in documents]
        large = [file for file in others if file.size > stated.get(file.name, _MAX_STRANGE)]
    if large:
        words = f"{large[0].name} has {large[0].size:,} bytes there, more than a release that says what this one says"
        raise VerificationError(f"{hub.repo_id} at {commit} is not what it says, and was not downloaded: {words}")


def fetch(hub: Hub, revision: str, folder: Path) -> str:
    """Download a whole revision into an empty folder, less what the Hub and its client add.

    Returns:
        The commit that the revision names.

    Raises:
        HubError: see `Hub.ask`.
        VerificationError: the repository holds no release.
    """
    info = hub.ask("looking up the revision", lambda: hub.api.dataset_info(hub.repo_id, revision=revision))
    commit = read_head(hub, info)
    tree = read_tree(hub, commit)
    if FACTS not in tree:
        raise VerificationError(f"{hub.repo_id} at {revision} is no release of rem-release: it has no {FACTS}")
    _require_stated(hub, commit, tree)
    hub.ask(
        "downloading",
        lambda: hub.api.snapshot_download(hub.repo_id, repo_type=REPO_TYPE, revision=commit, local_dir=folder),
    )
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    for name in HUB_FILES:
        (folder / name).unlink(missing_ok=True)
    return commit
