"""A repository's settings: it is made private, and becomes public only at the end."""

import re
from collections.abc import Collection
from typing import Literal

from rem_release.errors import InputError
from rem_release.hub.client import REPO_TYPE, Hub, HubError
from rem_release.hub.manifest import Manifest
from rem_release.hub.repository import State, read_refs, read_tree, require_state

Gating = Literal["auto", "manual", "no"]


def create(hub: Hub) -> State:
    """Make the repository, private.

    Where somebody was faster it is left as it is, and nothing says that it is empty.

    Raises:
        HubError: see `Hub.ask`; or it is public nevertheless.
    """
    try:
        hub.ask(
            "creating the repository",
            lambda: hub.api.create_repo(hub.repo_id, repo_type=REPO_TYPE, visibility="private"),
        )
    except HubError as error:
        if error.status != 409:  # it is there, by an earlier try whose answer was lost, or by somebody else
            raise
    state = require_state(hub)
    if not state.private:
        raise HubError(f"{hub.repo_id} should be private and is not; nothing was uploaded")
    return state


def set_gating(hub: Hub, gating: Gating) -> None:
    """Ask visitors for consent (`auto`), grant access one by one (`manual`), or neither (`no`)."""
    wanted: Literal["auto", "manual", False] = False if gating == "no" else gating
    hub.ask(
        "setting the gating",
        lambda: hub.api.update_repo_settings(hub.repo_id, gated=wanted, repo_type=REPO_TYPE),
    )


def set_visibility(hub: Hub, private: bool) -> None:
    """Make it private or public, and read back whether it is.

    Raises:
        HubError: the Hub did not do it.
    """
    wanted: Literal["private", "public"] = "private" if private else "public"
    hub.ask(
        f"making the repository {wanted}",
        lambda: hub.api.update_repo_settings(hub.repo_id, visibility=wanted, repo_type=REPO_TYPE),
    )
    if require_state(hub).private != private:
        raise HubError(f"{hub.repo_id} should be {wanted} now and is not; look at its settings")


def check_tag_name(name: str | None) -> None:
    """Refuse what cannot name a version, or could be taken for something else.

    Raises:
        InputError: it cannot.
    """
    if name is None:
        return
    is_plain = re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", name) and ".." not in name and not name.endswith((".", ".lock"))
    if not is_plain or name in ("main", "HEAD") or re.fullmatch(r"[0-9a-f]{7,64}", name):
        raise InputError(f"--tag {name!r} cannot name a version; use letters, digits, . - and _, such as v2")


def check_tag(hub: Hub, refs: dict[str, str], manifest: Manifest, name: str | None) -> None:
    """Refuse a name that another version has already.

    Raises:
        InputError: it does.
    """
    commit = refs.get(f"refs/tags/{name}")
    stays = commit == refs.get("refs/heads/main")
    if commit is not None and not (stays and manifest.is_whole_in(read_tree(hub, commit))):
        raise InputError(f"--tag {name} names another version in {hub.repo_id} ({commit[:12]}); choose another name")


def choose_tag(refs: dict[str, str], commit: str, name: str | None) -> str:
    """The tag of a commit: the given name, else the number that it has already, else the next of v1, v2, ..."""
    tags = {ref.removeprefix("refs/tags/"): target for ref, target in refs.items() if ref.startswith("refs/tags/")}
    numbered = [tag for tag, target in sorted(tags.items()) if target == commit and _is_numbered(tag)]
    return name or (numbered[0] if numbered else _next(tags))


def _is_numbered(tag: str) -> bool:
    return tag.startswith("v") and tag[1:].isdigit()


def _next(tags: Collection[str]) -> str:
    return f"v{1 + max((int(tag[1:]) for tag in tags if _is_numbered(tag)), default=0)}"


def set_tag(hub: Hub, tag: str, commit: str, message: str) -> None:
    """Name a commit; that it has the name already is fine.

    Raises:
        HubError: the name is taken by another commit, or see `Hub.ask`.
    """

    def is_set() -> bool | None:
        return True if read_refs(hub).get(f"refs/tags/{tag}") == commit else None

    if not is_set():
        hub.ask(
            f"setting the tag {tag}",
            lambda: hub.api.create_tag(hub.repo_id, tag=tag, tag_message=message, revision=commit, repo_type=REPO_TYPE),
            is_set,
        )
