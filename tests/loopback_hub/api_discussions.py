"""Routes: discussions, pull requests and how they are merged."""

import difflib

from tests.loopback_hub.discussions import Discussion
from tests.loopback_hub.files import MAIN, File, Tree, write_date
from tests.loopback_hub.messages import Answer, RefusalError, Request, answer_json
from tests.loopback_hub.state import State
from tests.loopback_hub.store import Repo


def _summarise(repo: Repo, discussion: Discussion) -> dict[str, object]:
    return {
        "num": discussion.num,
        "title": discussion.title,
        "author": {"name": discussion.author},
        "status": discussion.status,
        "createdAt": write_date(discussion.created),
        "isPullRequest": discussion.is_pull_request,
        "repo": {"name": repo.id, "type": "dataset"},
    }


def list_all(hub: State, request: Request, repo_id: str) -> Answer:
    """The discussions, the newest first, page by page."""
    repo, query = hub.open_repo(request, repo_id), request.query
    kinds = {"all": (True, False), "pull_request": (True,), "discussion": (False,)}[query.get("type", "all")]
    found = [
        discussion
        for _, discussion in sorted(repo.discussions.items(), reverse=True)
        if discussion.is_pull_request in kinds
        and query.get("author", discussion.author) == discussion.author
        and _has_status(discussion, query.get("status", "all"))
    ]
    start = int(query.get("p", "0")) * hub.page_size
    page = [_summarise(repo, discussion) for discussion in found[start : start + hub.page_size]]
    return answer_json({"discussions": page, "count": len(found), "start": start})


def _has_status(discussion: Discussion, status: str) -> bool:
    is_open = discussion.status in ("open", "draft")
    return {"all": True, "open": is_open, "closed": not is_open}[status]


def create(hub: State, request: Request, repo_id: str) -> Answer:
    """A discussion, or a pull request without commits yet, which is a draft."""
    user = hub.require_user(request)
    hub.check_write(user, user.name)
    repo, asked = hub.open_repo(request, repo_id), request.read_json()
    title = asked.get("title")
    if not isinstance(title, str) or len(title) < 3 or not isinstance(asked.get("description"), str):
        raise RefusalError(400, "a discussion needs a title of three letters and a description")
    number = 1 + max(repo.discussions, default=0)
    is_pull = bool(asked.get("pullRequest"))
    base = repo.head.id if is_pull else None
    discussion = Discussion(number, title, user.name, base, "draft" if is_pull else "open")
    discussion.comment(user.name, asked["description"])
    repo.discussions[number] = discussion
    if base:
        repo.set_ref(discussion.ref, base)
    return answer_json(_summarise(repo, discussion))


def _find(hub: State, request: Request, repo_id: str, num: str) -> tuple[Repo, Discussion]:
    repo = hub.open_repo(request, repo_id)
    discussion = repo.discussions.get(int(num))
    if discussion is None:
        raise RefusalError(404, f"Discussion {num} not found")
    return repo, discussion


def describe(hub: State, request: Request, repo_id: str, num: str) -> Answer:
    """A discussion with its events; a pull request also with what it changes."""
    repo, discussion = _find(hub, request, repo_id, num)
    described = {**_summarise(repo, discussion), "events": discussion.events}
    if discussion.base is not None:
        described["changes"] = {"base": MAIN, "mergeCommitId": discussion.merge_commit}
        described["filesWithConflicts"] = [] if discussion.status == "merged" else _list_conflicts(repo, discussion)
        if request.query.get("diff") == "1":
            described["diff"] = _write_diff(repo.tree(discussion.base), repo.tree(discussion.ref))
    return answer_json(described)


def _list_changes(before: Tree, after: Tree) -> list[str]:
    def identify(file: File | None) -> str | None:
        return file.git_sha1 if file else None

    names = sorted({*before, *after})
    return [name for name in names if identify(before.get(name)) != identify(after.get(name))]


def _write_diff(before: Tree, after: Tree) -> str:
    def read(file: File | None) -> list[str]:
        data = b"" if file is None else file.pointer if file.is_lfs else file.data or b""
        return data.decode(errors="replace").splitlines(keepends=True)

    lines = []
    for name in _list_changes(before, after):
        lines.append(f"diff --git a/{name} b/{name}\n")
        lines += difflib.unified_diff(read(before.get(name)), read(after.get(name)), f"a/{name}", f"b/{name}")
    return "".join(lines)


def _list_conflicts(repo: Repo, discussion: Discussion) -> list[str]:
    """Files that main and the pull request both changed, and not alike."""
    assert discussion.base is not None
    base, ours, theirs = repo.tree(discussion.base), repo.tree(), repo.tree(discussion.ref)
    both = {*_list_changes(base, ours)} & {*_list_changes(base, theirs)}
    return sorted(both & {*_list_changes(ours, theirs)})


def comment(hub: State, request: Request, repo_id: str, num: str) -> Answer:
    """Say something."""
    _, discussion = _find(hub, request, repo_id, num)
    text = request.read_json().get("comment")
    if not isinstance(text, str) or not text.strip():
        raise RefusalError(400, "a comment needs a text")
    return answer_json({"newMessage": discussion.comment(hub.require_user(request).name, text)})


def change_status(hub: State, request: Request, repo_id: str, num: str) -> Answer:
    """Open or close it; a merged one stays merged."""
    _, user = hub.open_to_write(request, repo_id)
    _, discussion = _find(hub, request, repo_id, num)
    asked = request.read_json()
    if asked.get("status") not in ("open", "closed") or discussion.status == "merged":
        raise RefusalError(400, f"cannot go from {discussion.status} to {asked.get('status')}")
    if asked.get("comment"):
        discussion.comment(user.name, str(asked["comment"]))
    return answer_json({"newStatus": discussion.change_status(user.name, asked["status"])})


def change_title(hub: State, request: Request, repo_id: str, num: str) -> Answer:
    """Give it another title."""
    _, user = hub.open_to_write(request, repo_id)
    _, discussion = _find(hub, request, repo_id, num)
    new = str(request.read_json().get("title", ""))
    if len(new) < 3:
        raise RefusalError(400, "a title needs three letters")
    event = discussion.note("title-change", user.name, **{"from": discussion.title, "to": new})
    discussion.title = new
    return answer_json({"newTitle": event})


def merge(hub: State, request: Request, repo_id: str, num: str) -> Answer:
    """Bring a pull request into main, in the way that the repository's `merge` says."""
    repo, user = hub.open_to_write(request, repo_id)
    _, discussion = _find(hub, request, repo_id, num)
    if not discussion.is_pull_request or discussion.status != "open":
        raise RefusalError(400, f"cannot merge: it is no open pull request ({discussion.status})")
    if conflicts := _list_conflicts(repo, discussion):
        raise RefusalError(409, f"cannot merge: conflicts in {', '.join(conflicts)}")
    text = request.read_json().get("comment") if request.body.strip() not in (b"", b"null") else None
    if text:
        discussion.comment(user.name, str(text))
    merged = _merge_squashed(repo, discussion, user.name) if repo.merge == "squash" else _merge_all(repo, discussion)
    repo.set_ref(MAIN, merged)
    discussion.merge_commit = merged
    discussion.change_status(user.name, "merged")
    return answer_json({})


def _join(repo: Repo, discussion: Discussion) -> dict[str, File]:
    """Main with what the pull request changes."""
    assert discussion.base is not None
    theirs, joined = repo.tree(discussion.ref), repo.tree()
    for name in _list_changes(repo.tree(discussion.base), theirs):
        joined.pop(name, None)
        if name in theirs:
            joined[name] = theirs[name]
    return joined


def _merge_squashed(repo: Repo, discussion: Discussion, author: str) -> str:
    known = {commit.id for commit in repo.history()}
    own = [commit for commit in reversed(repo.history(discussion.ref)) if commit.id not in known]
    message = "\n\n".join(f"- {commit.title} ({commit.id})" for commit in own)
    title, tree = f"{discussion.title} (#{discussion.num})", _join(repo, discussion)
    return repo.add_commit(title, message, author, (repo.head.id,), tree).id


def _merge_all(repo: Repo, discussion: Discussion) -> str:
    if repo.head.id == discussion.base:
        return repo.find_commit(discussion.ref).id
    parents = (repo.head.id, repo.refs[discussion.ref])
    title = f"Merge pull request #{discussion.num}"
    return repo.add_commit(title, discussion.title, discussion.author, parents, _join(repo, discussion)).id
