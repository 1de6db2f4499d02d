"""Routes: commits, and a history that is squashed."""

import base64
import binascii
import json
import re
from typing import Any

from tests.loopback_hub.cards import check_metadata
from tests.loopback_hub.discussions import Discussion
from tests.loopback_hub.files import MAIN, Commit, File, make_file
from tests.loopback_hub.messages import Answer, RefusalError, Request, answer_json
from tests.loopback_hub.state import State, User
from tests.loopback_hub.store import Repo

_MISSING = "A file with this name doesn't exist"


def commit(hub: State, request: Request, repo_id: str, revision: str) -> Answer:
    """Put files in, or take them out, in one commit on a branch or a pull request; or open a pull request with it."""
    is_new = request.query.get("create_pr") == "1"
    repo, user = _open(hub, request, repo_id, is_new)
    header, operations = _read_lines(request)
    title, message = header.get("summary"), header.get("description", "")
    if not isinstance(title, str) or not title.strip() or not isinstance(message, str):
        raise RefusalError(400, "a commit needs a summary")
    ref, parent = _choose_place(repo, revision, header.get("parentCommit"), is_new)
    tree = dict(parent.tree)
    for kind, value in operations:
        _apply(hub, repo, tree, kind, value)
    made = repo.add_commit(title, message, user.name, (parent.id,), tree)
    number = _open_pull_request(repo, title, message, user.name, parent) if is_new else None
    _note(repo, f"refs/pr/{number}" if number else ref, made)
    answer = {
        "success": True,
        "commitOid": made.id,
        "commitUrl": f"{hub.endpoint}/datasets/{repo_id}/commit/{made.id}",
        "hookOutput": "",
    }
    if number:
        answer["pullRequestUrl"] = f"{hub.endpoint}/datasets/{repo_id}/discussions/{number}"
    return answer_json(answer)


def _open(hub: State, request: Request, repo_id: str, is_new: bool) -> tuple[Repo, User]:
    if not is_new:
        return hub.open_to_write(request, repo_id)
    user = hub.require_user(request)
    hub.check_write(user, user.name)
    return hub.open_repo(request, repo_id), user


def _read_lines(request: Request) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    """The header and the operations of the body."""
    if request.headers.get("content-type") != "application/x-ndjson":
        raise RefusalError(400, "expected application/x-ndjson")
    try:
        lines = [json.loads(line) for line in request.body.decode().splitlines() if line.strip()]
        pairs = [(line["key"], line["value"]) for line in lines]
    except (ValueError, KeyError, TypeError):
        raise RefusalError(400, "a line of the commit is malformed") from None
    if not pairs or pairs[0][0] != "header" or any(not isinstance(value, dict) for _, value in pairs):
        raise RefusalError(400, "a commit begins with its header")
    return pairs[0][1], pairs[1:]


def _choose_place(repo: Repo, revision: str, expected: str | None, is_new: bool) -> tuple[str, Commit]:
    """The ref to move and the commit to build on."""
    ref = repo.find_ref(revision)
    if ref is None:
        raise RefusalError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    if is_new:
        return ref, repo.find_commit(expected or ref)
    if not re.match("refs/(heads|pr)/", ref):
        raise RefusalError(400, f"{revision} is no branch")
    number = ref.removeprefix("refs/pr/")
    if number.isdigit() and repo.discussions[int(number)].status not in ("open", "draft"):
        raise RefusalError(403, "this pull request is closed")
    if expected is not None and repo.refs[ref] != expected:
        raise RefusalError(412, "A commit has happened since. Please refresh and try again.")
    return ref, repo.commits[repo.refs[ref]]


def _check_path(path: object) -> str:
    if not isinstance(path, str) or any(part in ("", ".", "..", ".git") for part in path.split("/")) or "\0" in path:
        raise RefusalError(400, f"invalid path: {path}")
    return path


def _apply(hub: State, repo: Repo, tree: dict[str, File], kind: str, value: dict[str, Any]) -> None:
    """One operation."""
    if kind == "deletedFolder":
        folder = f"{_check_path(str(value.get('path')).rstrip('/'))}/"
        inside = [name for name in tree if name.startswith(folder)]
        if not inside:
            raise RefusalError(404, _MISSING, "EntryNotFound")
        for name in inside:
            del tree[name]
        return
    path = _check_path(value.get("path"))
    if kind == "deletedFile":
        if tree.pop(path, None) is None:
            raise RefusalError(404, _MISSING, "EntryNotFound")
        return
    if kind not in ("file", "lfsFile"):
        raise RefusalError(400, f"unknown operation: {kind}")
    if any(name.startswith(f"{path}/") or path.startswith(f"{name}/") for name in tree):
        raise RefusalError(400, f"{path} is a file and a folder")
    tree[path] = _read_regular(hub, path, value) if kind == "file" else _find_large(hub, repo, path, value)


def _read_regular(hub: State, path: str, value: dict[str, Any]) -> File:
    try:
        data = base64.b64decode(value["content"], validate=True)
    except (KeyError, TypeError, binascii.Error):
        raise RefusalError(400, f"the contents of {path} are no base64") from None
    if value.get("encoding") != "base64" or len(data) >= hub.lfs_threshold:
        raise RefusalError(400, f"{path} must be base64, or is so large that it must go to LFS")
    if path == "README.md":
        check_metadata(data.decode(errors="replace"))
    return make_file(data)


def _find_large(hub: State, repo: Repo, path: str, value: dict[str, Any]) -> File:
    sha256, size = str(value.get("oid")), value.get("size")
    if value.get("algo") != "sha256":
        raise RefusalError(400, "expected the algorithm sha256")
    stored = repo.objects.get(sha256)
    file = stored.file if stored else hub.xet.find(sha256)
    if file is None or size not in (None, file.size):
        raise RefusalError(
            400, f"LFS pointer pointed to a file that does not exist, or of another size: {path}, {sha256}"
        )
    return repo.store(file, path)


def _open_pull_request(repo: Repo, title: str, text: str, author: str, base: Commit) -> int:
    number = 1 + max(repo.discussions, default=0)
    repo.discussions[number] = Discussion(number, title, author, base=base.id, status="open")
    repo.discussions[number].comment(author, text)
    return number


def _note(repo: Repo, ref: str, made: Commit) -> None:
    """Move the ref; a pull request remembers its commits."""
    repo.set_ref(ref, made.id)
    number = ref.removeprefix("refs/pr/")
    if number.isdigit():
        repo.discussions[int(number)].note("commit", made.author, subject=made.title, oid=made.id)


def squash(hub: State, request: Request, repo_id: str, revision: str) -> Answer:
    """Put one commit in place of a branch's history; the old commits can still be asked for by their ids."""
    repo, user = hub.open_to_write(request, repo_id)
    ref, message = repo.find_ref(revision), request.read_json().get("message")
    if ref is None:
        raise RefusalError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    if not ref.startswith("refs/heads/"):
        raise RefusalError(400, "only branches can be squashed")
    made = repo.add_commit(str(message or f"Super-squash {ref}"), "", user.name, (), repo.find_commit(ref).tree)
    repo.set_ref(ref, made.id)
    assert ref != MAIN or repo.head is made
    return answer_json({})
