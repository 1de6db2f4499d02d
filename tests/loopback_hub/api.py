"""The hub's origin: which request goes where."""

import re
from collections.abc import Callable
from urllib.parse import unquote

from tests.loopback_hub import api_commits, api_discussions, api_files, api_repos, api_uploads
from tests.loopback_hub.messages import Answer, RefusalError, Request
from tests.loopback_hub.state import State

_PLACES = {
    "{D}": r"/api/datasets/(?P<repo_id>[^/]+/[^/]+)",
    "{G}": r"/datasets/(?P<repo_id>[^/]+/[^/]+)",
    "{rev}": r"(?P<revision>[^/]+)",
    "{name}": r"(?P<name>[^/]+)",
    "{num}": r"(?P<num>[1-9][0-9]*)",
    "{path}": r"(?P<path>.+)",
}
_ROUTES: list[tuple[str, str, Callable[..., Answer]]] = [
    ("GET", "/api/whoami-v2", api_repos.whoami),
    ("GET", "/api/agent-harnesses", api_repos.list_harnesses),
    ("POST", "/api/validate-yaml", api_repos.validate_yaml),
    ("POST", "/api/repos/create", api_repos.create),
    ("DELETE", "/api/repos/delete", api_repos.delete),
    ("PUT", "{D}/settings", api_repos.change_settings),
    ("GET", "{D}", api_repos.describe),
    ("GET", "{D}/revision/{rev}", api_repos.describe),
    ("GET", "{D}/auth-check", api_repos.check_access),
    ("GET", "{D}/refs", api_repos.list_refs),
    ("POST", "{D}/tag/{rev}", api_repos.create_tag),
    ("DELETE", "{D}/tag/{name}", api_repos.delete_tag),
    ("POST", "{D}/branch/{name}", api_repos.create_branch),
    ("DELETE", "{D}/branch/{name}", api_repos.delete_branch),
    ("GET", "{D}/tree/{rev}", api_files.list_tree),
    ("GET", "{D}/tree/{rev}/{path}", api_files.list_tree),
    ("POST", "{D}/paths-info/{rev}", api_files.describe_paths),
    ("GET", "{D}/commits/{rev}", api_files.list_commits),
    ("GET", "{D}/lfs-files", api_files.list_lfs_files),
    ("GET", "{G}/resolve/{rev}/{path}", api_files.resolve),
    ("GET", "{D}/xet-read-token/{rev}", api_uploads.give_read_token),
    ("GET", "{D}/xet-write-token/{rev}", api_uploads.give_write_token),
    ("POST", "{D}/preupload/{rev}", api_uploads.choose_modes),
    ("POST", r"{G}\.git/info/lfs/objects/batch", api_uploads.answer_batch),
    ("POST", r"{G}\.git/info/lfs/verify", api_uploads.verify_object),
    ("POST", "/api/complete-multipart/{name}", api_uploads.complete_parts),
    ("POST", "{D}/commit/{rev}", api_commits.commit),
    ("POST", "{D}/super-squash/{rev}", api_commits.squash),
    ("GET", "{D}/discussions", api_discussions.list_all),
    ("POST", "{D}/discussions", api_discussions.create),
    ("GET", "{D}/discussions/{num}", api_discussions.describe),
    ("POST", "{D}/discussions/{num}/comment", api_discussions.comment),
    ("POST", "{D}/discussions/{num}/status", api_discussions.change_status),
    ("POST", "{D}/discussions/{num}/title", api_discussions.change_title),
    ("POST", "{D}/discussions/{num}/merge", api_discussions.merge),
]


def _compile(template: str) -> re.Pattern[str]:
    for place, pattern in _PLACES.items():
        template = template.replace(place, pattern)
    return re.compile(template)


_COMPILED = [(method, _compile(template), handler) for method, template, handler in _ROUTES]


def answer(hub: State, request: Request, body: bytes) -> Answer:
    """Do what a request to the hub asks for.

    Raises:
        RefusalError: the hub says no, or knows no such route.
    """
    for method, pattern, handler in _COMPILED:
        place = pattern.fullmatch(request.route)
        if place and (method == request.method or (method, request.method) == ("GET", "HEAD")):
            with hub.lock:
                return handler(hub, request, **{name: unquote(text) for name, text in place.groupdict().items()})
    raise RefusalError(404, f"Sorry, we can't find the page you are looking for: {request.method} {request.route}")
