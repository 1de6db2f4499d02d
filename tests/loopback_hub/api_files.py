"""Routes: trees, commits and the contents of files."""

import hashlib
from typing import Any
from urllib.parse import parse_qs, quote

from tests.loopback_hub.files import Commit, Tree, write_date
from tests.loopback_hub.messages import Answer, RefusalError, Request, answer_bytes, answer_json, paginate
from tests.loopback_hub.state import State
from tests.loopback_hub.store import Repo


def list_tree(hub: State, request: Request, repo_id: str, revision: str, path: str = "") -> Answer:
    """The entries of a folder, with all below it where asked for."""
    repo = hub.open_repo(request, repo_id)
    commit = repo.find_commit(revision)
    prefix = f"{path.strip('/')}/" if path.strip("/") else ""
    inside = {name: file for name, file in commit.tree.items() if name.startswith(prefix)}
    if prefix and not inside:
        raise RefusalError(404, f"{path} does not exist on {revision}", "EntryNotFound")
    is_deep, expand = _is_true(request.query.get("recursive")), _is_true(request.query.get("expand"))
    entries = []
    for name in _list_names(inside, prefix, is_deep):
        entries.append(_describe_entry(repo, commit, name, expand))
    return paginate(entries, request, hub.endpoint, hub.page_size)


def _is_true(text: str | None) -> bool:
    return (text or "").lower() in ("true", "1")


def _list_names(tree: Tree, prefix: str, is_deep: bool) -> list[str]:
    """Files, and folders with a slash at the end."""
    names = set()
    for name in tree:
        parts = name.removeprefix(prefix).split("/")
        folders = [f"{prefix}{'/'.join(parts[:depth])}/" for depth in range(1, len(parts))]
        names |= {*folders, name} if is_deep else {folders[0] if folders else name}
    return sorted(names)


def _describe_entry(repo: Repo, commit: Commit, name: str, expand: bool) -> dict[str, Any]:
    if name.endswith("/"):
        inside = sorted(f"{path} {file.git_sha1}" for path, file in commit.tree.items() if path.startswith(name))
        oid = hashlib.sha1("\n".join(inside).encode()).hexdigest()
        entry: dict[str, Any] = {"type": "directory", "oid": oid, "size": 0, "path": name.rstrip("/")}
    else:
        entry = {"type": "file", "path": name, **commit.tree[name].describe()}
    if expand:
        last = _find_last_change(repo, commit, name)
        entry["lastCommit"] = {"id": last.id, "title": last.title, "date": write_date(last.date)}
        if entry["type"] == "file":
            entry["securityFileStatus"] = {"status": "safe", "avScan": None, "pickleImportScan": None}
    return entry


def _find_last_change(repo: Repo, commit: Commit, name: str) -> Commit:
    def contents(at: Commit) -> list[tuple[str, str]]:
        return sorted((path, file.sha256) for path, file in at.tree.items() if path == name or path.startswith(name))

    while commit.parent and contents(repo.commits[commit.parent]) == contents(commit):
        commit = repo.commits[commit.parent]
    return commit


def describe_paths(hub: State, request: Request, repo_id: str, revision: str) -> Answer:
    """Entries by name; those that do not exist are left out."""
    repo = hub.open_repo(request, repo_id)
    commit = repo.find_commit(revision)
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise RefusalError(400, "expected a form")
    form = parse_qs(request.body.decode())
    if len(form.get("paths", [])) > 1000:
        raise RefusalError(413, "too many parameters")
    expand, entries = _is_true(form.get("expand", ["false"])[-1]), []
    for path in form.get("paths", []):
        names = [name for name in (path, f"{path.rstrip('/')}/") if name in commit.tree or _is_folder(commit, name)]
        entries += [_describe_entry(repo, commit, name, expand) for name in names[:1]]
    return answer_json(entries)


def _is_folder(commit: Commit, name: str) -> bool:
    return name.endswith("/") and any(path.startswith(name) for path in commit.tree)


def list_commits(hub: State, request: Request, repo_id: str, revision: str) -> Answer:
    """The commits behind a revision, the newest first."""
    repo = hub.open_repo(request, repo_id)
    commits = [
        {
            "id": commit.id,
            "title": commit.title,
            "message": commit.message,
            "authors": [{"user": commit.author, "avatar": ""}],
            "date": write_date(commit.date),
        }
        for commit in repo.history(revision)
    ]
    return paginate(commits, request, hub.endpoint, hub.page_size)


def list_lfs_files(hub: State, request: Request, repo_id: str) -> Answer:
    """The large objects, whether a commit names them or not; only for those who may write."""
    repo, _ = hub.open_to_write(request, repo_id)
    items = [
        {
            "fileOid": sha256,
            "oid": hashlib.md5(sha256.encode()).hexdigest()[:24],  # the Hub's own number of the entry
            "filename": stored.name,
            "pushedAt": write_date(stored.pushed),
            "size": stored.file.size,
        }
        for sha256, stored in repo.objects.items()
    ]
    return paginate(items, request, hub.endpoint, hub.page_size)


def resolve(hub: State, request: Request, repo_id: str, revision: str, path: str) -> Answer:
    """A file: here where it is small, else where storage has it."""
    repo = hub.open_contents(request, repo_id)
    commit = repo.find_commit(revision)
    headers = {"X-Repo-Commit": commit.id}
    file = commit.tree.get(path)
    if file is None:
        refused = RefusalError(404, "Entry not found", "EntryNotFound").as_answer()
        return Answer(404, refused.body, {**refused.headers, **headers})
    if not file.is_lfs:
        assert file.data is not None
        return answer_bytes(file.data, request, {**headers, "ETag": f'"{file.git_sha1}"'})
    headers |= {"X-Linked-Size": str(file.size), "X-Linked-ETag": f'"{file.sha256}"', "ETag": f'"{file.sha256}"'}
    if file.xet_hash:
        token = f"{hub.endpoint}/api/datasets/{repo_id}/xet-read-token/{commit.id}"
        headers |= {"X-Xet-Hash": file.xet_hash, "Link": f'<{token}>; rel="xet-auth"'}
    place = f"{hub.storage}/objects/{repo_id}/{file.sha256}?name={quote(path)}&signature={hub.signature}"
    return Answer(302, b"Found. Redirecting.", {**headers, "Location": place})
