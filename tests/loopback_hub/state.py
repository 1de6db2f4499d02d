"""All that the server knows: users, repositories, uploads under way, requests so far; and who may do what."""

import hashlib
import re
import secrets
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.loopback_hub.faults import Faults
from tests.loopback_hub.files import make_file
from tests.loopback_hub.messages import RefusalError, Request
from tests.loopback_hub.store import Repo, make_repo
from tests.loopback_hub.xet import XetStore

OWNER = "owner"
_ORGANISATIONS = {OWNER: ["team"]}
_NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9_])?")


@dataclass(frozen=True)
class User:
    """Who a token stands for."""

    name: str
    role: str
    """`read` or `write`"""

    @property
    def namespaces(self) -> list[str]:
        """Where the user may make repositories."""
        return [self.name, *_ORGANISATIONS.get(self.name, [])]


@dataclass
class Ticket:
    """An upload that the hub allowed: what storage may take under an unguessable address."""

    repo: str
    sha256: str
    size: int
    parts: dict[int, bytes] = field(default_factory=dict)
    """by number; sent so far"""
    chunk_size: int | None = None


class State:
    """The Hub without its sockets.

    Attributes, all of which tests may set:
        lfs_threshold: bytes from which a file goes to the large-file storage whatever its name.
        multipart_threshold: bytes above which an upload is cut into parts.
        lfs_chunk_size: bytes of one part.
        page_size: entries on one page of a listing.
        merge: how pull requests of new repositories are merged, `squash` or `keep`.
    """

    def __init__(self, folder: Path) -> None:
        self.endpoint = ""
        self.storage = ""
        self.xet = XetStore(folder / "xet")
        self.tokens: dict[str, User] = {}
        self.token = self.add_token(OWNER, role="write")
        self.repos: dict[str, Repo] = {}
        self.signature = secrets.token_hex(16)
        self.tickets: dict[str, Ticket] = {}
        self.requests: list[Request] = []
        self.faults = Faults()
        self.uploads: Counter[str] = Counter()
        self.errors: list[BaseException] = []
        self.lock = threading.RLock()
        self.lfs_threshold = 10_000_000
        self.multipart_threshold = 5_000_000_000
        self.lfs_chunk_size = 1_000_000
        self.page_size = 1000
        self.merge = "squash"

    def add_token(self, name: str, role: str = "read") -> str:
        """A new token of a user, who need not have been known."""
        assert role in ("read", "write"), f"{role} is no role"
        token = f"hf_{secrets.token_urlsafe(24).replace('-', 'x').replace('_', 'y')}"
        self.tokens[token] = User(name, role)
        return token

    def repo(self, repo_id: str) -> Repo | None:
        """A repository, if there is one."""
        return self.repos.get(repo_id)

    def create_repo(self, repo_id: str, private: bool = True) -> Repo:
        """Make a repository as its owner would.

        Raises:
            RefusalError: the name is taken, or not allowed.
        """
        with self.lock:
            namespace, _, name = repo_id.partition("/")
            if not (_NAME.fullmatch(name) and _NAME.fullmatch(namespace)) or ".." in name or "--" in name:
                raise RefusalError(400, f"Invalid repo name: {repo_id}")
            if repo_id in self.repos:
                url = f"{self.endpoint}/datasets/{repo_id}"
                raise RefusalError(409, "You already created this dataset repo", url=url)
            author = OWNER if namespace in (OWNER, *_ORGANISATIONS[OWNER]) else namespace
            self.repos[repo_id] = make_repo(repo_id, private, author)
            self.repos[repo_id].merge = self.merge
            return self.repos[repo_id]

    def identify(self, request: Request) -> User | None:
        """Who asks; None without a token.

        Raises:
            RefusalError: the token is not known.
        """
        given = request.headers.get("authorization")
        if given is None:
            return None
        user = self.tokens.get(given.removeprefix("Bearer ")) if given.startswith("Bearer ") else None
        if user is None:
            raise RefusalError(401, "Invalid credentials in Authorization header")
        return user

    def require_user(self, request: Request) -> User:
        """Who asks.

        Raises:
            RefusalError: nobody, or an unknown one.
        """
        user = self.identify(request)
        if user is None:
            raise RefusalError(401, "Invalid username or password.")
        return user

    def open_repo(self, request: Request, repo_id: str) -> Repo:
        """A repository that the asker may see.

        Raises:
            RefusalError: there is none, or it is private.
        """
        user, repo = self.identify(request), self.repos.get(repo_id)
        hidden = repo is not None and repo.private and (user is None or repo.namespace not in user.namespaces)
        if repo is None or hidden:
            if user is None:
                raise RefusalError(401, "Invalid username or password.", "RepoNotFound")
            raise RefusalError(404, "Repository not found", "RepoNotFound")
        return repo

    def open_contents(self, request: Request, repo_id: str) -> Repo:
        """A repository whose files the asker may download.

        Raises:
            RefusalError: see `open_repo`; or it is gated, and the asker is none of its members.
        """
        repo, user = self.open_repo(request, repo_id), self.identify(request)
        if repo.gated and (user is None or repo.namespace not in user.namespaces):
            status = 401 if user is None else 403
            raise RefusalError(status, f"Access to dataset {repo_id} is restricted. Ask for access.", "GatedRepo")
        return repo

    def open_to_write(self, request: Request, repo_id: str) -> tuple[Repo, User]:
        """A repository that the asker may change, and the asker.

        Raises:
            RefusalError: see `open_repo`; or the token does not allow it.
        """
        user, repo = self.require_user(request), self.open_repo(request, repo_id)
        self.check_write(user, repo.namespace)
        return repo, user

    @staticmethod
    def check_write(user: User, namespace: str) -> None:
        """Whether a user may write in a namespace.

        Raises:
            RefusalError: no.
        """
        if user.role != "write":
            raise RefusalError(403, "Forbidden: this token has the role read; a token with the role write is needed")
        if namespace not in user.namespaces:
            raise RefusalError(403, f"You don't have the rights to write under the namespace {namespace}")

    @staticmethod
    def make_etag(data: bytes) -> str:
        """How storage names contents."""
        return hashlib.md5(data).hexdigest()

    def keep_upload(self, ticket: Ticket, data: bytes) -> None:
        """Take the whole contents of a large object.

        Raises:
            RefusalError: they are not what was announced.
        """
        file = make_file(data, is_lfs=True)
        if (file.sha256, file.size) != (ticket.sha256, ticket.size):
            raise RefusalError(400, f"announced {ticket.sha256} ({ticket.size}), got {file.sha256} ({file.size})")
        with self.lock:
            self.uploads[file.sha256] += 1
            repo = self.repos.get(ticket.repo)
            if repo is None:
                raise RefusalError(404, "Repository not found", "RepoNotFound")
            repo.store(file)
