"""Routes: who I am, repositories and their settings, refs."""

import re
from typing import Any

from tests.loopback_hub.cards import check_metadata, read_metadata
from tests.loopback_hub.files import MAIN, Commit, write_date
from tests.loopback_hub.messages import Answer, RefusalError, Request, answer_json
from tests.loopback_hub.state import State
from tests.loopback_hub.store import Repo

_REF_NAME = re.compile(r"(?!.*(\.\.|//|@\{|\.lock$))[\w][\w./+-]*(?<![./])")


def whoami(hub: State, request: Request) -> Answer:
    """The user behind the token."""
    user = hub.require_user(request)
    orgs = [{"type": "org", "name": name, "roleInOrg": "admin"} for name in user.namespaces[1:]]
    auth = {"type": "access_token", "accessToken": {"displayName": "test", "role": user.role}}
    return answer_json({"type": "user", "name": user.name, "fullname": user.name, "orgs": orgs, "auth": auth})


def list_harnesses(hub: State, request: Request) -> Answer:
    """A list that the client asks for once in a while; empty here."""
    return answer_json({"standardEnvVars": [], "harnesses": {}})


def validate_yaml(hub: State, request: Request) -> Answer:
    """What the Hub thinks of a card."""
    asked = request.read_json()
    if asked.get("repoType") != "dataset" or not isinstance(asked.get("content"), str):
        raise RefusalError(400, "expected content and repoType dataset")
    warnings = [{"message": warning} for warning in check_metadata(asked["content"])]
    return answer_json({"errors": [], "warnings": warnings})


def _read_name(hub: State, request: Request) -> tuple[dict[str, Any], str]:
    asked = request.read_json()
    user = hub.require_user(request)
    if asked.get("type") != "dataset" or not isinstance(asked.get("name"), str):
        raise RefusalError(400, "expected name and type dataset")
    namespace = asked.get("organization") or user.name
    hub.check_write(user, namespace)
    return asked, f"{namespace}/{asked['name']}"


def create(hub: State, request: Request) -> Answer:
    """A new repository, public unless asked otherwise."""
    asked, repo_id = _read_name(hub, request)
    visibility = asked.get("visibility", "public")
    if visibility not in ("private", "public") or set(asked) - {"name", "organization", "type", "visibility"}:
        raise RefusalError(400, f"unknown settings: {asked}")
    hub.create_repo(repo_id, private=visibility == "private")
    return answer_json({"url": f"{hub.endpoint}/datasets/{repo_id}", "name": repo_id, "id": repo_id})


def delete(hub: State, request: Request) -> Answer:
    """Away with a repository and all that it held."""
    _, repo_id = _read_name(hub, request)
    hub.open_to_write(request, repo_id)
    del hub.repos[repo_id]
    return answer_json({})


def change_settings(hub: State, request: Request, repo_id: str) -> Answer:
    """Visibility and gating."""
    repo, _ = hub.open_to_write(request, repo_id)
    asked = request.read_json()
    if not asked or set(asked) - {"gated", "visibility"}:
        raise RefusalError(400, f"unknown settings: {sorted(asked)}")
    gated, visibility = asked.get("gated", repo.gated), asked.get("visibility", repo.visibility)
    if gated not in ("auto", "manual", False) or visibility not in ("private", "public"):
        raise RefusalError(400, f"invalid settings: {asked}")
    repo.gated, repo.private = gated, visibility == "private"
    return answer_json({"gated": gated, "private": repo.private, "visibility": visibility})


def check_access(hub: State, request: Request, repo_id: str) -> Answer:
    """Whether the asker may download."""
    hub.open_contents(request, repo_id)
    return answer_json({})


def describe(hub: State, request: Request, repo_id: str, revision: str = "main") -> Answer:
    """A repository at a revision."""
    repo = hub.open_repo(request, repo_id)
    commit = repo.find_commit(revision)
    with_blobs = request.query.get("blobs", "").lower() in ("true", "1")
    return answer_json(
        {
            "id": repo.id,
            "author": repo.namespace,
            "sha": commit.id,
            "lastModified": write_date(commit.date),
            "createdAt": write_date(repo.created),
            "private": repo.private,
            "gated": repo.gated,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "cardData": _read_card(commit),
            "siblings": [_describe_sibling(commit, path, with_blobs) for path in sorted(commit.tree)],
        }
    )


def _read_card(commit: Commit) -> dict[str, Any]:
    readme = commit.tree.get("README.md")
    try:
        return read_metadata(readme.data.decode()) if readme and readme.data else {}
    except (RefusalError, UnicodeDecodeError):
        return {}


def _describe_sibling(commit: Commit, path: str, with_blobs: bool) -> dict[str, Any]:
    file = commit.tree[path]
    if not with_blobs:
        return {"rfilename": path}
    lfs = {"sha256": file.sha256, "size": file.size, "pointerSize": len(file.pointer)}
    sibling = {"rfilename": path, "size": file.size, "blobId": file.git_sha1}
    return {**sibling, "lfs": lfs} if file.is_lfs else sibling


def list_refs(hub: State, request: Request, repo_id: str) -> Answer:
    """Branches, tags, converted data and, where asked for, pull requests."""
    repo = hub.open_repo(request, repo_id)
    listed = {
        "branches": _list_under(repo, "refs/heads/"),
        "tags": _list_under(repo, "refs/tags/"),
        "converts": _list_under(repo, "refs/convert/"),
    }
    if request.query.get("include_prs") in ("1", "true", "True"):
        listed["pullRequests"] = _list_under(repo, "refs/pr/")
    return answer_json(listed)


def _list_under(repo: Repo, prefix: str) -> list[dict[str, str]]:
    return [
        {"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": commit}
        for ref, commit in repo.refs.items()
        if ref.startswith(prefix)
    ]


def create_tag(hub: State, request: Request, repo_id: str, revision: str) -> Answer:
    """A name for a commit."""
    repo, _ = hub.open_to_write(request, repo_id)
    asked = request.read_json()
    tag, commit = str(asked.get("tag", "")), repo.find_commit(revision)
    if set(asked) - {"tag", "message"} or not _REF_NAME.fullmatch(tag):
        raise RefusalError(400, f"invalid tag: {asked}")
    if f"refs/tags/{tag}" in repo.refs:
        raise RefusalError(409, "Tag reference exists already")
    repo.set_ref(f"refs/tags/{tag}", commit.id)
    repo.tag_messages[tag] = str(asked.get("message", ""))
    return answer_json({"tag": tag})


def delete_tag(hub: State, request: Request, repo_id: str, name: str) -> Answer:
    """Away with a tag; the commit stays."""
    return _delete_ref(hub, request, repo_id, f"refs/tags/{name}")


def create_branch(hub: State, request: Request, repo_id: str, name: str) -> Answer:
    """A new branch, from main unless asked otherwise."""
    repo, _ = hub.open_to_write(request, repo_id)
    start = repo.find_commit(str(request.read_json().get("startingPoint", "main")))
    if not _REF_NAME.fullmatch(name):
        raise RefusalError(400, f"invalid branch: {name}")
    if f"refs/heads/{name}" in repo.refs:
        raise RefusalError(409, "Branch already exists")
    repo.set_ref(f"refs/heads/{name}", start.id)
    return answer_json({})


def delete_branch(hub: State, request: Request, repo_id: str, name: str) -> Answer:
    """Away with a branch, main excepted; the commits stay."""
    return _delete_ref(hub, request, repo_id, f"refs/heads/{name}")


def _delete_ref(hub: State, request: Request, repo_id: str, ref: str) -> Answer:
    repo, _ = hub.open_to_write(request, repo_id)
    if ref == MAIN:
        raise RefusalError(403, "Cannot delete the branch main")
    if ref not in repo.refs:
        raise RefusalError(404, f"Invalid rev id: {ref}", "RevisionNotFound")
    del repo.refs[ref]
    return answer_json({})
