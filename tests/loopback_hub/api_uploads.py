"""Routes: what must be known before a commit, and the way of large files into storage."""

import base64
import binascii
import fnmatch
import re
import secrets
import time
from typing import Any

from tests.loopback_hub.files import File
from tests.loopback_hub.messages import Answer, RefusalError, Request, answer_json
from tests.loopback_hub.state import State, Ticket
from tests.loopback_hub.store import Repo

_SHA256 = re.compile("[0-9a-f]{64}")
_MAX_PREUPLOAD = 256


def choose_modes(hub: State, request: Request, repo_id: str, revision: str) -> Answer:
    """Which files are large: by the patterns of `.gitattributes`, by size, or because they are no text."""
    repo = _open_for_commit(hub, request, repo_id)
    tree = repo.find_commit(revision).tree
    asked = request.read_json().get("files")
    if not isinstance(asked, list) or not 0 < len(asked) <= _MAX_PREUPLOAD:
        raise RefusalError(400, f"expected 1 to {_MAX_PREUPLOAD} files")
    patterns = _list_patterns(tree.get(".gitattributes"))
    modes = [_choose_mode(hub, entry, patterns, tree.get(str(entry.get("path")))) for entry in asked]
    return answer_json({"files": modes})


def _open_for_commit(hub: State, request: Request, repo_id: str) -> Repo:
    """For a commit one must be allowed to write; for a pull request it is enough to see the repository."""
    if request.query.get("create_pr") != "1":
        return hub.open_to_write(request, repo_id)[0]
    user = hub.require_user(request)
    hub.check_write(user, user.name)
    return hub.open_repo(request, repo_id)


def _list_patterns(attributes: File | None) -> list[str]:
    text = attributes.data.decode() if attributes and attributes.data else ""
    return [line.split()[0] for line in text.splitlines() if "filter=lfs" in line.split()]


def _choose_mode(hub: State, entry: dict[str, Any], patterns: list[str], known: File | None) -> dict[str, Any]:
    try:
        path, size, sample = entry["path"], entry["size"], base64.b64decode(entry["sample"], validate=True)
    except (KeyError, TypeError, binascii.Error):
        raise RefusalError(400, "each file needs path, size and sample in base64") from None
    if not isinstance(path, str) or not isinstance(size, int) or len(sample) != min(size, 512):
        raise RefusalError(400, f"malformed entry for {path}")
    names = (path, path.rsplit("/", 1)[-1])
    is_named = any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in patterns)
    is_large = is_named or size >= hub.lfs_threshold or b"\0" in sample
    oid = None if known is None else known.sha256 if known.is_lfs else known.git_sha1
    return {"path": path, "uploadMode": "lfs" if is_large else "regular", "shouldIgnore": False, "oid": oid}


def answer_batch(hub: State, request: Request, repo_id: str) -> Answer:
    """Where storage takes large objects; what it has needs no upload."""
    asked = request.read_json()
    if request.headers.get("accept") != "application/vnd.git-lfs+json" or asked.get("operation") != "upload":
        raise RefusalError(400, "expected an upload by git-lfs")
    if asked.get("hash_algo", "sha256") != "sha256" or not isinstance(asked.get("objects"), list):
        raise RefusalError(400, "expected objects with sha256")
    user = hub.require_user(request)
    hub.check_write(user, user.name)
    repo = hub.open_repo(request, repo_id)
    transfers = asked.get("transfers", ["basic"])
    objects = [_allow(hub, repo, entry, transfers) for entry in asked["objects"]]
    is_cut = any("chunk_size" in entry.get("actions", {}).get("upload", {}).get("header", {}) for entry in objects)
    return answer_json({"transfer": "multipart" if is_cut else "basic", "objects": objects})


def _allow(hub: State, repo: Repo, entry: dict[str, Any], transfers: list[str]) -> dict[str, Any]:
    oid, size = entry.get("oid"), entry.get("size")
    if not isinstance(oid, str) or not _SHA256.fullmatch(oid) or not isinstance(size, int) or size < 1:
        return {"oid": str(oid), "size": size, "error": {"code": 422, "message": "invalid object"}}
    stored = repo.objects.get(oid)
    if stored is not None:
        if stored.file.size != size:
            return {"oid": oid, "size": size, "error": {"code": 422, "message": "the stored size differs"}}
        return {"oid": oid, "size": size}
    key, ticket = secrets.token_urlsafe(16), Ticket(repo.id, oid, size)
    hub.tickets[key] = ticket
    upload: dict[str, Any] = {"href": f"{hub.storage}/uploads/{key}"}
    if size > hub.multipart_threshold and "multipart" in transfers:
        ticket.chunk_size = hub.lfs_chunk_size
        numbers = range(1, -(-size // ticket.chunk_size) + 1)
        parts = {f"{number:05}": f"{hub.storage}/uploads/{key}/{number}" for number in numbers}
        upload = {
            "href": f"{hub.endpoint}/api/complete-multipart/{key}",
            "header": {"chunk_size": str(ticket.chunk_size), **parts},
        }
    verify = {"href": f"{hub.endpoint}/datasets/{repo.id}.git/info/lfs/verify"}
    return {"oid": oid, "size": size, "authenticated": True, "actions": {"upload": upload, "verify": verify}}


def verify_object(hub: State, request: Request, repo_id: str) -> Answer:
    """Whether an upload arrived."""
    repo, asked = hub.open_repo(request, repo_id), request.read_json()
    stored = repo.objects.get(str(asked.get("oid")))
    if stored is None or stored.file.size != asked.get("size"):
        raise RefusalError(404, "Object not found, or of another size")
    return answer_json({})


def complete_parts(hub: State, request: Request, name: str) -> Answer:
    """Join the parts of an upload."""
    ticket, asked = hub.tickets.get(name), request.read_json()
    if ticket is None or ticket.chunk_size is None:
        raise RefusalError(404, "no such upload")
    given = [(part.get("partNumber"), part.get("etag")) for part in asked.get("parts", [])]
    kept = [(number, f'"{hub.make_etag(data)}"') for number, data in sorted(ticket.parts.items())]
    if asked.get("oid") != ticket.sha256 or given != kept:
        raise RefusalError(400, f"the parts do not fit together: given {given}, kept {kept}")
    hub.keep_upload(ticket, b"".join(data for _, data in sorted(ticket.parts.items())))
    del hub.tickets[name]
    return answer_json({})


def give_read_token(hub: State, request: Request, repo_id: str, revision: str) -> Answer:
    """The way to Xet's store for downloads."""
    hub.open_contents(request, repo_id).find_commit(revision)
    return _give_xet_token(hub)


def give_write_token(hub: State, request: Request, repo_id: str, revision: str) -> Answer:
    """The way to Xet's store for uploads."""
    repo = _open_for_commit(hub, request, repo_id)
    if (revision, request.query.get("create_pr")) != ("None", "1"):
        repo.find_commit(revision)
    return _give_xet_token(hub)


def _give_xet_token(hub: State) -> Answer:
    token, expires = secrets.token_urlsafe(16), int(time.time()) + 3600
    answer = answer_json({"casUrl": hub.xet.url, "accessToken": token, "exp": expires})
    answer.headers |= {
        "X-Xet-Cas-Url": hub.xet.url,
        "X-Xet-Access-Token": token,
        "X-Xet-Token-Expiration": str(expires),
    }
    return answer
