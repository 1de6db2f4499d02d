"""A Hub that fails: a push ends well after retries, or in one clear line; and no token shows anywhere."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from rem_release.hub import client, failures
from rem_release.hub.client import Hub, HubError
from tests.command_line import Result, run
from tests.loopback_hub import LoopbackHub
from tests.push_worker import PushWorker

UNAUDITED = ("--allow-uncertified", "--yes")

REQUESTS: dict[str, tuple[str, str]] = {
    "logging in": ("GET", "/whoami-v2"),
    "checking the card": ("POST", "/validate-yaml"),
    "creating the repository": ("POST", "/repos/create"),
    "looking up the repository": ("GET", "/api/datasets/owner/[^/]+$"),
    "listing the refs": ("GET", "/refs[?]"),
    "listing the commits": ("GET", "/commits/"),
    "listing the files": ("GET", "/tree/.*recursive=true"),
    "listing the stored objects": ("GET", "/lfs-files"),
    "setting the gating": ("PUT", "/settings"),
    "choosing the way": ("POST", "/preupload/"),
    "asking for addresses": ("POST", "/objects/batch"),
    "storing": ("PUT", "/uploads/"),
    "storing, confirmed": ("POST", "/lfs/verify"),
    "looking up the branch": ("GET", "/revision/(main|refs%2Fpr)"),
    "making the commit": ("POST", "/commit/"),
    "setting the tag": ("POST", "/tag/"),
}
"""What a push of a small release asks: (method, address)."""
IN_PARTS = {
    **{what: REQUESTS[what] for what in REQUESTS if what != "making the commit"},
    "opening a pull request": ("POST", "/commit/.*create_pr=1"),
    "the next commit": ("POST", "/commit/refs%2Fpr"),
    "looking up the pull request": ("GET", "/discussions/1"),
    "merging": ("POST", "/merge"),
}
"""What a push of a large one asks."""
CHANGES = {
    *("creating the repository", "setting the gating", "making the commit", "setting the tag"),
    *("opening a pull request", "the next commit", "merging"),
}
REFUSALS = (401, 403, 404, 409, 412, 413)
PASSING: list[dict[str, Any]] = [
    {"kind": "status", "status": 503},
    {"kind": "drop"},
    {"kind": "status", "status": 429, "headers": {"Retry-After": "3"}},
    {"kind": "drop_after"},
    {"kind": "status", "status": 500},
    {"kind": "truncate"},
    {"kind": "slow", "seconds": 0.2},
]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    with LoopbackHub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory, hub: LoopbackHub) -> Iterator[PushWorker]:
    with PushWorker(hub, tmp_path_factory.mktemp("worker")) as worker:
        yield worker


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory, finished_run: Path) -> Path:
    """A run to be pushed; not audited, which is quicker."""
    return Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("ready") / "run"))


@pytest.fixture
def name(hub: LoopbackHub) -> str:
    """A repository that is not there yet."""
    hub.faults.clear()
    hub.faults.struck.clear()
    return f"owner/test{len(hub.requests)}"


def fail(result: Result, code: int = 1) -> str:
    """The one line in which a push ends."""
    assert result.code == code, result.err
    assert result.out == ""
    *before, line = result.err.splitlines()
    assert line.startswith("error: "), result.err
    assert not any(other.startswith(("error: ", "Traceback")) for other in before), result.err
    return line


def check_whole(hub: LoopbackHub, ready: Path, name: str) -> None:
    """The release stands on main, under one tag, and nothing was made twice."""
    repo, release = hub.repos[name], ready / "release"
    files = {path.relative_to(release).as_posix(): path for path in release.rglob("*") if path.is_file()}
    tree = repo.tree()
    assert set(tree) == {*files, ".gitattributes"}
    assert {file: tree[file].data for file in files} == {file: path.read_bytes() for file, path in files.items()}
    assert {ref for ref in repo.refs if "/tags/" in ref} == {"refs/tags/v1"}
    assert repo.refs["refs/tags/v1"] == repo.head.id
    trees = [sorted(file.git_sha1 for file in commit.tree.values()) for commit in repo.history()]
    assert len({tuple(tree) for tree in trees}) == len(trees), "no commit repeats the one before"
    assert len(repo.main_trees) == 2, "main went from nothing to the whole"
    assert len(repo.discussions) <= 1


TURNS = [pytest.param(turn, marks=() if turn == 0 else pytest.mark.slow) for turn in range(len(PASSING))]


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("parts", [100, 2], ids=["one commit", "in parts"])
def test_faults_that_pass(
    hub: LoopbackHub, worker: PushWorker, ready: Path, name: str, turn: int, parts: int
) -> None:
    """Every kind of request fails once, each in another way, and the push ends well.

    In the first turn each change is made and its answer is lost: it is not made twice.
    """
    for number, (what, (method, path)) in enumerate((REQUESTS if parts == 100 else IN_PARTS).items()):
        fault = {"kind": "drop_after"} if turn == 0 and what in CHANGES else PASSING[(number + turn) % len(PASSING)]
        hub.faults.add(method, path, **fault)
    result = worker.push(ready, name, "--gated", "auto", *UNAUDITED, parts=parts)
    assert result.code == 0, result.err
    assert not hub.faults.waiting, "every fault struck"
    check_whole(hub, ready, name)
    assert hub.repos[name].gated == "auto"


def is_slow(what: str, status: int) -> bool:
    """In the quick run every request is refused in one way only."""
    everything = list(REQUESTS | IN_PARTS)
    return REFUSALS[everything.index(what) % len(REFUSALS)] != status


REFUSED = [
    pytest.param(what, status, id=f"{what}-{status}", marks=pytest.mark.slow if is_slow(what, status) else ())
    for what in REQUESTS | IN_PARTS
    for status in REFUSALS
]


@pytest.mark.parametrize(("what", "status"), REFUSED)
def test_a_refusal_is_one_line_that_says_what_to_do(
    hub: LoopbackHub, worker: PushWorker, ready: Path, name: str, what: str, status: int
) -> None:
    method, path = (REQUESTS | IN_PARTS)[what]
    hub.faults.add(method, path, "status", times=99, status=status, message="The Hub's own words.")
    result = worker.push(ready, name, "--gated", "auto", *UNAUDITED, parts=100 if what in REQUESTS else 2)
    line = fail(result)
    print(what, status, line)
