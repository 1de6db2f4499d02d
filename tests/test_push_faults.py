"""A Hub that fails: a push ends well after retries, or in one clear line; and no token shows anywhere."""

import json
import random
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import DatasetInfo, constants

from rem_release.hub.client import Hub, HubError
from tests.command_line import Result, run
from tests.loopback_hub import LoopbackHub
from tests.push_worker import PushWorker
from tests.test_tokens import SPELLINGS, parts_of

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
def test_faults_that_pass(hub: LoopbackHub, worker: PushWorker, ready: Path, name: str, turn: int, parts: int) -> None:
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
    if (what, status) in (("looking up the repository", 404), ("creating the repository", 409)):  # it seems (not) there
        assert line == f"error: {name} should be there by now, and the Hub does not show it; look at it there"
    else:
        who = "storage behind the Hub" if what == "storing" else "Hub"
        assert re.search(f": the {who} answers {status}.*: The Hub's own words; [a-z].{{10,}}", line), line
    check_safe(hub, ready, name)


STUBBORN: list[dict[str, Any]] = [
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 429, "headers": {"Retry-After": "77"}},
    {"kind": "drop"},
]
QUICK = {("logging in", 0), ("storing", 1), ("making the commit", 2), ("the next commit", 3)}


@pytest.mark.parametrize(
    ("what", "way"),
    [
        pytest.param(what, way, id=f"{what}-{way}", marks=() if (what, way) in QUICK else pytest.mark.slow)
        for what in REQUESTS | IN_PARTS
        if what != "storing, confirmed"
        for way in range(len(STUBBORN))
    ],
)
def test_what_does_not_pass_is_tried_five_times(
    hub: LoopbackHub, worker: PushWorker, ready: Path, name: str, what: str, way: int
) -> None:
    method, path = (REQUESTS | IN_PARTS)[what]
    hub.faults.add(method, path, times=999, **STUBBORN[way])
    result = worker.push(ready, name, "--gated", "auto", *UNAUDITED, parts=100 if what in REQUESTS else 2)
    line = fail(result)
    said = "no answer from http" if STUBBORN[way]["kind"] == "drop" else f"answers {STUBBORN[way]['status']}"
    assert said in line
    assert "push again: it goes on where it stopped" in line
    assert result.err.count("trying again in") == 4
    waits = [77.0] * 4 if "headers" in STUBBORN[way] else [1.0, 2.0, 4.0, 8.0]
    assert [wait for wait in waits if wait not in worker.pauses] == []
    check_safe(hub, ready, name)


def test_what_arrived_though_nobody_confirms_it(hub: LoopbackHub, worker: PushWorker, ready: Path, name: str) -> None:
    """When the upload is tried again, the Hub says that it has the contents."""
    method, path = REQUESTS["storing, confirmed"]
    hub.faults.add(method, path, "status", times=999, status=503)
    hub.faults.add("POST", "/commit/", "status", status=403, message="that will do")
    sent = hub.uploads.copy()
    assert "that will do" in fail(worker.push(ready, name, *UNAUDITED))
    assert hub.uploads - sent == dict.fromkeys(hub.repos[name].objects, 1)


def check_safe(hub: LoopbackHub, ready: Path, name: str) -> None:
    """The default branch shows nothing or the whole, and it is private."""
    repo = hub.repo(name)
    if repo is not None:
        release = ready / "release"
        whole = {path.relative_to(release).as_posix() for path in release.rglob("*") if path.is_file()}
        assert set(repo.tree()) in ({".gitattributes"}, {".gitattributes", *whole})
        assert repo.private


def test_after_one_failure_after_another_a_push_ends_well(
    hub: LoopbackHub, worker: PushWorker, ready: Path, name: str
) -> None:
    sent = hub.uploads.copy()
    for what in ("creating the repository", "opening a pull request", "storing", "the next commit", "merging"):
        method, path = IN_PARTS[what]
        hub.faults.add(method, path, "status", times=99, status=413, skip=int(what == "the next commit"))
        result = worker.push(ready, name, *UNAUDITED, parts=2)
        assert "413" in fail(result), what
        hub.faults.clear()
    assert set(hub.repos[name].tree()) == {".gitattributes"}
    result = worker.push(ready, name, *UNAUDITED, parts=2)
    assert result.code == 0, result.err
    check_whole(hub, ready, name)
    assert hub.uploads - sent == dict.fromkeys(hub.repos[name].objects, 1), "nothing was sent twice"


READING: dict[str, tuple[str, str, dict[str, Any]]] = {
    "data cut short": ("GET", "/objects/.*parquet", {"kind": "truncate"}),
    "data refused": ("GET", "/objects/.*parquet", {"kind": "status", "status": 500}),
    "data lost": ("GET", "/objects/.*parquet", {"kind": "drop", "times": 2}),
    "data slow": ("GET", "/objects/.*parquet", {"kind": "slow"}),
    "data, looked up": ("HEAD", "/resolve/.*parquet", {"kind": "drop"}),
    "card": ("GET", "/resolve/.*README", {"kind": "status", "status": 503}),
    "card cut short": ("GET", "/resolve/.*README", {"kind": "truncate"}),
    "card, looked up": ("HEAD", "/resolve/.*README", {"kind": "status", "status": 429}),
    "state": ("GET", "/revision/[0-9a-f]{40}", {"kind": "drop"}),
    "files": ("GET", "/tree/.*recursive=false", {"kind": "status", "status": 500}),
}
"""What load_dataset asks in its own process."""


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(["data cut short", "data refused"], id="some"),
        *(pytest.param([what], id=what, marks=pytest.mark.slow) for what in READING),
        pytest.param(list(READING), id="all", marks=pytest.mark.slow),
    ],
)
def test_faults_while_it_is_read_back(
    hub: LoopbackHub, worker: PushWorker, ready: Path, name: str, faults: list[str]
) -> None:
    for method, path, fault in (READING[what] for what in faults):
        hub.faults.add(method, path, **fault)
    result = worker.push(ready, name, *UNAUDITED)
    assert result.code == 0, result.err
    assert not hub.faults.waiting, "every fault struck"
    assert "8 images and labels of a fresh process equal those of the release" in result.out
    check_whole(hub, ready, name)


@pytest.mark.slow
@pytest.mark.parametrize("status", [403, 500])
def test_what_cannot_be_read_back_is_no_success(
    hub: LoopbackHub, worker: PushWorker, ready: Path, name: str, status: int
) -> None:
    hub.faults.add("GET", "/objects/.*parquet", "status", times=999, status=status)
    line = fail(worker.push(ready, name, *UNAUDITED, "--public"))
    assert line.startswith("error: loading the split train with load_dataset: ")
    assert str(status) in line
    assert "push again" in line
    assert hub.repos[name].private, "it becomes public after the proof only"
    hub.faults.clear()
    assert worker.push(ready, name, *UNAUDITED, "--public").code == 0
    assert not hub.repos[name].private
    check_whole(hub, ready, name)


def test_a_hub_that_falls_silent_is_asked_again(hub: LoopbackHub, worker: PushWorker, ready: Path, name: str) -> None:
    """Nobody waits for ever: each of these would keep a connection open for a minute."""
    for what in ("logging in", "listing the files", "listing the refs"):
        method, path = REQUESTS[what]
        hub.faults.add(method, path, "slow", seconds=60)
    hub.faults.add("POST", "/commit/", "status", status=403)
    result = worker.push(ready, name, *UNAUDITED, patience=0.4)
    assert "making the commit: the Hub answers 403" in fail(result)
    assert result.err.count("(timed out); trying again") == 2, "the client itself asks again for a listing"
    assert not hub.faults.waiting


def test_a_card_that_the_hub_does_not_take(hub: LoopbackHub, worker: PushWorker, ready: Path, name: str) -> None:
    words = '"license" must be one of the known identifiers'
    hub.faults.add("POST", "/validate-yaml", "status", status=400, message=words)
    result = worker.push(ready, name, *UNAUDITED)
    assert result.code == 3
    assert f"card metadata: checking the card: the Hub answers 400 for {name}: {words}; mend what it nam" in result.err
    assert hub.repo(name) is None
    assert not [request for request in hub.requests if name in request.path and request.method == "PUT"]


@pytest.mark.parametrize(
    ("role", "repo", "words"),
    [
        (None, "owner/new", "logging in: nobody is logged in; log in with `hf auth login`, or set HF_TOKEN"),
        ("unknown", "owner/new", "the Hub answers 401 for owner/new: Invalid credentials in Authorization header; log"),
        ("read", "owner/new", "creating the repository: the Hub answers 403 for owner/new: Forbidden: this token has"),
        ("read", "owner/there", "403 for owner/there: Forbidden: this token has the role read"),
        (
            "write",
            "others/new",
            "creating the repository: the Hub answers 403 for others/new: You don't have the right",
        ),
        ("write", "other/private", "creating the repository: the Hub answers 403 for other/private: You don't have"),
    ],
)
def test_tokens_that_do_not_do(
    hub: LoopbackHub, worker: PushWorker, ready: Path, name: str, role: str | None, repo: str, words: str
) -> None:
    for there in ("owner/there", "other/private"):
        if hub.repo(there) is None:
            hub.create_repo(there)
    token = {None: "", "unknown": "hf_0123456789", "write": hub.token, "read": hub.add_token("owner")}[role]
    result = worker.push(ready, repo, *UNAUDITED, token=token)
    assert words in fail(result)
    assert worker.pauses == [], "it is not tried again"
    assert not token or token not in result.err
    assert hub.repo("owner/new") is None
    assert len(hub.repos["owner/there"].commits) == 1


def test_offline(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # as HF_HUB_OFFLINE=1 sets it when the client is imported
    line = fail(run("push", ready, "owner/pets", *UNAUDITED))
    assert line == "error: logging in: the client is offline (HF_HUB_OFFLINE); unset it to reach the Hub"


def test_a_hub_that_is_not_there(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    mine = threading.get_ident()  # other threads, such as those of the Hub of other tests, pause as they like

    def pause(seconds: float) -> None:
        if threading.get_ident() == mine:
            pauses.append(seconds)

    monkeypatch.setenv("HF_TOKEN", "hf_0123456789")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(time, "sleep", pause)
    words = "no answer from http://127.0.0.1:9 ([Errno 111] Connection refused); check the net"
    assert words in fail(run("push", ready, "owner/pets", *UNAUDITED))
    assert pauses == [1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize(
    "endpoint", ["hub.local", "http://", "ftp://x", "http://hub:port", "http://a b", "", "//x", "http://[x"]
)
def test_an_endpoint_that_is_no_address(ready: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint.rstrip("/"))  # as it is set when the client is imported
    words = f"error: HF_ENDPOINT={endpoint!r} is no address of a Hub; unset it, or write https://huggingface.co"
    for command in (("push", ready, "owner/pets", "--dry-run"), ("verify", "owner/pets@v1")):
        assert fail(run(*command), code=2) == words


@pytest.mark.parametrize(
    "endpoint", ["https://huggingface.co", "http://127.0.0.1:8000", "http://[::1]:80", "HTTP://hub/x"]
)
def test_endpoints_that_are_addresses(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    assert Hub("owner/pets").url == f"{endpoint}/datasets/owner/pets"


ODD = [
    *("looking up the repository", "listing the refs", "listing the commits", "listing the files"),
    *("listing the stored objects", "looking up the branch", "choosing the way", "asking for addresses"),
    *("creating the repository", "making the commit"),
]
QUICKLY = ("looking up the repository", "listing the refs", "making the commit")


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=() if what in QUICKLY else pytest.mark.slow) for what in ODD]
)
def test_json_that_is_not_what_a_hub_answers(
    hub: LoopbackHub, worker: PushWorker, ready: Path, name: str, what: str
) -> None:
    """As from a proxy, which answers `200` to everything."""
    method, path = REQUESTS[what]
    hub.faults.add(method, path, "status", times=99, status=200, message="log in first")
    line = fail(worker.push(ready, name, *UNAUDITED))
    assert "http://127.0.0.1:" in line
    if what not in ("choosing the way", "asking for addresses"):  # the client itself says that these are malformed
        assert " does not answer as a Hub does" in line
        assert "check HF_ENDPOINT" in line
    assert worker.pauses == []
    hub.faults.clear()
    check_safe(hub, ready, name)


def test_odd_answers_of_the_client_are_told_from_bugs(hub: LoopbackHub, name: str) -> None:
    """A line is for what an answer did inside the client. What our own code does wrong keeps its traceback."""
    own = Hub(name)
    for bug in (lambda: dict[str, str]()["branches"], lambda: len(3), lambda: own.api.none):  # type: ignore[arg-type,attr-defined]
        with pytest.raises((KeyError, TypeError, AttributeError)):
            own.ask("asking", bug)
    with pytest.raises(TypeError, match="unexpected keyword"):
        own.ask("asking", lambda: own.api.dataset_info(name, revison="main"))  # type: ignore[call-arg]
    with pytest.raises(
        HubError, match=r"asking: http.* does not answer as a Hub does \(KeyError: 'id'\); check HF_END"
    ):
        own.ask("asking", lambda: DatasetInfo(**{}))
    with pytest.raises(HubError, match=r"does not answer as a Hub does \(InvalidURL: Invalid port: 'x'\)"):
        own.ask("asking", lambda: httpx2.URL("http://hub:x"))


def test_an_answer_that_is_no_json_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the page of a proxy; other values that do not fit are not."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    tries = iter([1, 2])
    answers = iter(["<html>", "<html>", '"yes"'])
    assert Hub("owner/pets").ask("asking", lambda: json.loads(next(answers))) == "yes"
    answers = iter(["<html>"] * 9)
    with pytest.raises(
        HubError, match=r"asking: http\S+ does not answer as a Hub does \(JSONDecodeError: .* check HF_E"
    ):
        Hub("owner/pets").ask("asking", lambda: json.loads(next(answers)))
    assert len(list(answers)) == 4, "five were asked for"
    with pytest.raises(HubError, match=r"asking: invalid literal for int.*; push again"):
        Hub("owner/pets").ask("asking", lambda: int("x") if next(tries) else 0)
    assert next(tries) == 2, "the first failure was the last"


def test_no_token_is_shown_or_kept(hub: LoopbackHub, worker: PushWorker, ready: Path, name: str) -> None:
    """Not even where the Hub itself repeats it; and the storage, another origin, never sees it."""
    strange = "hf_with\x01control"
    words = f"the token {hub.token} is tired"
    for path, status in (("/validate-yaml", 503), ("/refs", 500), ("/objects/", 500)):
        hub.faults.add("*", path, "status", status=status, message=words)
    outputs = [worker.push(ready, name, *UNAUDITED)]
    assert outputs[0].code == 0, outputs[0].err
    assert "the token (token) is tired; trying again" in outputs[0].err
    hub.faults.add("GET", "/whoami-v2", "status", status=403, message=words)
    outputs += [worker.push(ready, name, *UNAUDITED), worker.push(ready, name, *UNAUDITED, token=strange)]
    assert "the token (token) is tired" in fail(outputs[1])
    assert fail(outputs[2])
    hub.faults.add("POST", "/validate-yaml", "status", status=400, message=words)
    outputs.append(worker.push(ready, name, *UNAUDITED, "--json"))
    assert outputs[3].code == 3
    tokens = [*hub.tokens, strange, repr(strange)[1:-1]]
    for output in outputs:
        assert not [token for token in tokens if token in output.out + output.err]
    kept = [path for folder in (worker.folder, ready) for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in kept} >= {"status.json", "push.json", "errors.txt"}
    assert [path for path in kept if any(token.encode() in path.read_bytes() for token in tokens)] == []
    stored = [request for request in hub.requests if request.origin == "storage"]
    assert {request.method for request in stored} == {"GET", "PUT"}
    assert not [request for request in stored if "authorization" in request.headers]
    assert not [request for request in hub.requests if any(token in request.path for token in tokens)]


@pytest.mark.slow
@pytest.mark.parametrize("way", range(2))
def test_faults_of_xet(hub: LoopbackHub, tmp_path: Path, ready: Path, name: str, way: int) -> None:
    """The way through Xet asks for other tokens; what fails there is tried again, or said in a line."""
    with PushWorker(hub, tmp_path / "worker", xet=True) as worker:
        hub.faults.add("GET", "/xet-write-token/", **PASSING[way])
        hub.faults.add("GET", "/xet-read-token/", **PASSING[1 - way])
        hub.faults.add("POST", "/commit/", **PASSING[way])
        result = worker.push(ready, name, *UNAUDITED)
        assert result.code == 0, result.err
        assert not hub.faults.waiting
        check_whole(hub, ready, name)
        hub.faults.add("GET", "/xet-write-token/", "status", times=99, status=403, message="Not you.")
        line = fail(worker.push(ready, f"{name}-more", *UNAUDITED))
        assert "403" in line
        kept = [path for path in worker.folder.rglob("*") if path.is_file()]
        assert [path for path in kept if hub.token.encode() in path.read_bytes()] == []


def test_no_token_is_shown_or_kept_in_any_spelling(
    hub: LoopbackHub, worker: PushWorker, run_copy: Path, name: str
) -> None:
    """Questions fail, each time with the token in another spelling; the last is what the push ends in."""
    ways, said = [way for way in SPELLINGS if way != "wide"], ""
    assert len(ways) % 3 == 0
    for first in range(0, len(ways), 3):
        echoes = [spell_for_a_header(hub.token, way) for way in ways[first : first + 3]]
        for echo in echoes[:2]:
            hub.faults.add("GET", "/whoami-v2", "status", status=500, message=f"again, {echo}")
        hub.faults.add("GET", "/whoami-v2", "status", status=403, message=f"not you: {echoes[2]}")
        result = worker.push(run_copy, name, *UNAUDITED)
        status = (run_copy / "private/status.json").read_text()
        shown = [*re.findall("again, (.*); trying again in ", result.err), fail(result), json.loads(status)["message"]]
        assert len(shown) == 4, result
        assert all("(token)" in line for line in shown), result
        assert not [echo for echo in echoes if echo in result.err + status]
        said += result.err + status
    assert parts_of(hub.token, said) == []
    kept = [path for folder in (worker.folder, run_copy / "private") for path in folder.rglob("*") if path.is_file()]
    assert [path for path in kept if parts_of(hub.token, path.read_text(errors="replace"))] == []


def spell_for_a_header(token: str, way: str) -> str:
    """What an answer may carry in a header: one line of plain characters."""
    return "".join(letter if " " <= letter <= "~" else " " for letter in SPELLINGS[way](token, random.Random(3)))


def test_other_commands_that_read_the_hub_show_no_token(hub: LoopbackHub, worker: PushWorker, tmp_path: Path) -> None:
    """`protect` and `verify` of a name; what the client's log passes on of a server is not said at all."""
    hub.faults.clear()
    echo = hub.token.swapcase()
    warning = {"X-HF-Warning": f"topic; {echo}"}
    hub.faults.add("*", "/owner/nothing", "status", times=99, status=403, message=f"no: {echo}", headers=warning)
    for command in (("protect", "owner/nothing", "--out", tmp_path / "run"), ("verify", "owner/nothing")):
        result = worker.run(*command)
        assert result.code in (1, 2), result
        assert result.err.splitlines()[-1].startswith("error: ")
        assert parts_of(hub.token, result.out + result.err) == [], result
    assert parts_of(hub.token, (worker.folder / "errors.txt").read_text()) == []
    hub.faults.clear()
