"""The copies that the Hub makes of the data (`refs/convert/`): they may hold rows of known releases, nothing else."""

import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rem_release.data.shards import iterate_rows
from rem_release.errors import VerificationError
from rem_release.gate.published import DataFile, HubFiles, Published
from rem_release.hub.client import Hub
from rem_release.hub.repository import RemoteFile, download, read_commits, read_tree
from rem_release.verification.report import Check, Faults

CONVERTED = "refs/convert/"


def check_converted(hub: Hub, published: Published, judged: Collection[str], known: set[str], folder: Path) -> Check:
    """Whether every file of the converted data is a file of a known release, or holds nothing but rows of known ones.

    The Hub may write the files anew. Then every row must be a row of a release, byte by byte its image and equal its
    other values; the sha256 of such a file is added to `known`.

    Args:
        hub: the repository.
        published: its refs, and the data files that its releases brought out.
        judged: commits that were looked at behind other refs.
        known: the sha256 of every file that a release explains.
        folder: for files that are fetched.

    Raises:
        HubError: see `Hub.ask`.
    """
    faults, copies, seen = Faults(), _Copies(hub, published, folder), set()
    own = HubFiles(hub, folder)
    for ref in sorted(ref for ref in published.refs if ref.startswith(CONVERTED)):
        for commit in (commit for commit in read_commits(hub, ref) if commit.oid not in judged):
            for file in read_tree(hub, commit.oid).values():
                if file in seen or own.include(file, commit.oid):
                    continue
                seen.add(file)
                if file.sha256 not in known and not copies.include(file, commit.oid):
                    where = f"{ref}, commit {commit.oid[:12]}, holds {file.name}"
                    faults.add(f"{where}, which is no file of a known release, nor do its rows come from one")
                elif file.sha256:
                    known.add(file.sha256)
    return faults.conclude("converted data", f"{len(seen)} files, copies of known releases" if seen else "none")


class _Copies:
    """Knows the rows of all releases, from the first question on."""

    def __init__(self, hub: Hub, published: Published, folder: Path) -> None:
        self._hub = hub
        self._published = published
        self._folder = folder
        self._rows: set[bytes] | None = None

    def include(self, file: RemoteFile, commit: str) -> bool:
        """Whether a file holds rows, and none but those of releases."""
        if not file.name.endswith(".parquet"):
            return False
        columns = {data.columns[0] for data in self._published.data.values()}
        path = download(self._hub, file.name, commit, self._folder)
        return any(self._holds_only_rows(path, column) for column in sorted(columns))

    def _holds_only_rows(self, path: Path, image_column: str) -> bool:
        if self._rows is None:
            self._rows = {row for data in self._published.data.values() for row in self._read_published(data)}
        try:
            if {part.name for part in pq.read_schema(path).field(image_column).type} != {"bytes", "path"}:
                return False
            return all(row in self._rows for row in _read_rows(path, image_column))
        except (VerificationError, pa.ArrowException, KeyError, TypeError):
            return False

    def _read_published(self, data: DataFile) -> Iterator[bytes]:
        return _read_rows(download(self._hub, data.name, data.commit, self._folder), data.columns[0])


def _read_rows(path: Path, image_column: str) -> Iterator[bytes]:
    """For each row a digest of all that it says.

    Raises:
        VerificationError: the file is damaged, or has no such column of images.
    """
    for row in iterate_rows([path], None, image_column):
        image = hashlib.sha256(row.png or b"").hexdigest()
        yield hashlib.sha256(repr((image, row.path, sorted(row.columns.items()))).encode()).digest()
