"""What the history of a repository has brought out, and the file that the Hub itself adds."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from rem_release.hub.client import Hub
from rem_release.hub.manifest import HUB_FILES
from rem_release.hub.repository import RemoteFile, download

DELETE = (
    "delete that repository (or make it private, and ask the Hub's support to purge it if others may have it) before "
    "publishing anywhere, and change nothing else"
)
"""What to do where images are out, clean or with other noise."""
_MAX_BYTES = 20_000
_ATTRIBUTE = rb"[-!]?(?:filter|diff|merge|text|eol|binary|linguist-[a-z]+)(?:=[a-z]+)?"
_LINE = re.compile(rb"\s*(?:#.{0,80}|\S{1,100}(?:[ \t]+" + _ATTRIBUTE + rb")+)?\s*")


@dataclass(frozen=True)
class DataFile:
    """A data file that is out, at one place where it stands."""

    commit: str
    name: str
    columns: tuple[str, str]
    """(image, label)"""
    levels: int
    """the most that its images differ from their originals; 0 where they are clean"""


@dataclass
class Published:
    """What the repository's history has brought out so far."""

    refs: dict[str, str] = field(default_factory=dict)
    data: dict[str, DataFile] = field(default_factory=dict)
    """by sha256"""


class HubFiles:
    """Tells the Hub's own file, a short `.gitattributes`, from others of that name. Each content is fetched once.

    Args:
        hub: the repository.
        folder: for what is fetched.
    """

    def __init__(self, hub: Hub, folder: Path) -> None:
        self._hub = hub
        self._folder = folder
        self._judged: dict[str, bool] = {}

    def include(self, file: RemoteFile, commit: str) -> bool:
        """Whether a file of a commit is the Hub's own.

        Raises:
            HubError: see `Hub.ask`.
        """
        if file.name not in HUB_FILES or file.sha256 is not None or file.size > _MAX_BYTES:
            return False
        if file.git_sha1 not in self._judged:
            lines = download(self._hub, file.name, commit, self._folder).read_bytes().splitlines()
            self._judged[file.git_sha1] = all(_LINE.fullmatch(line) for line in lines)
        return self._judged[file.git_sha1]
