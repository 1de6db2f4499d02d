"""The loopback Hub that other tests stand on: the real clients go through it, and it refuses what the Hub refuses."""

import base64
import hashlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.loopback_hub import LoopbackHub, Repo

MODES = pytest.mark.parametrize("xet", [False, True], ids=["lfs", "xet"])
NAME = "owner/set"
D = f"/api/datasets/{NAME}"
PRELUDE = """
import json, os, pathlib, sys
from huggingface_hub import CommitOperationAdd as Add, CommitOperationDelete as Delete, HfApi
from huggingface_hub.errors import HfHubHTTPError
here, name = pathlib.Path(sys.argv[1]), "owner/set"
D = {"repo_type": "dataset"}
api = HfApi()
said = {}
def refused(call):
    try:
        call()
    except HfHubHTTPError as error:
        code = error.response.headers.get("X-Error-Code", "")
        return [type(error).__name__, error.response.status_code, code, error.response.headers["X-Error-Message"]]
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    with LoopbackHub(tmp_path / "hub") as hub:
        yield hub


def run(hub: LoopbackHub, folder: Path, script: str, *, xet: bool = False) -> dict[str, Any]:
    """Run a script with the real client in a process and a cache of its own; what it put into `said`."""
    home = folder / f"home{len(list(folder.glob('home*')))}"
    env = {name: text for name, text in os.environ.items() if not name.startswith("HF_")}
    env |= {**hub.environment(home, xet=xet), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    code = f"{PRELUDE}\n{script}\nprint(json.dumps(said))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def ask(
    url: str, method: str, path: str, body: bytes | Iterator[bytes] | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """One request without any client; (status, headers in lower case, body)."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        connection.request(method, path, body, named, encode_chunked=isinstance(body, Iterator))
        answer = connection.getresponse()
        return answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def ask_hub(hub: LoopbackHub, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict, bytes]:
    """One request with the owner's token; a body that is no bytes goes as JSON."""
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    return ask(hub.endpoint, method, path, data, Authorization=f"Bearer {hub.token}", **headers)


def allow_upload(hub: LoopbackHub, data: bytes, *transfers: str) -> str:
    """Ask for a place in storage; its path, or with `multipart` that where the parts are joined."""
    objects = [{"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}]
    asked = {"operation": "upload", "objects": objects, "transfers": ["basic", *transfers]}
    path = f"/datasets/{NAME}.git/info/lfs/objects/batch"
    status, _, body = ask_hub(hub, "POST", path, asked, Accept="application/vnd.git-lfs+json")
    assert status == 200
    return urlsplit(json.loads(body)["objects"][0]["actions"]["upload"]["href"]).path


def send_commit(hub: LoopbackHub, *lines: object, path: str = f"{D}/commit/main") -> tuple[int, dict, bytes]:
    header = {"key": "header", "value": {"summary": "a commit", "description": ""}}
    body = b"\n".join(json.dumps(line).encode() for line in [header, *lines])
    return ask_hub(hub, "POST", path, body, Content_Type="application/x-ndjson")


def repo(hub: LoopbackHub) -> Repo:
    found = hub.repo(NAME)
    assert found is not None
    return found


def tokens_at_storage(hub: LoopbackHub) -> list[str]:
    return [
        request.path for request in hub.requests if request.origin == "storage" and "authorization" in request.headers
    ]


UPLOAD = """
api.create_repo(name, visibility="private", **D)
head = api.dataset_info(name).sha
files = [p for p in (here / "files").rglob("*") if p.is_file()]
operations = [Add(str(p.relative_to(here / "files")), str(p)) for p in files]
commit = api.create_commit(name, operations, commit_message="first", commit_description="why", parent_commit=head, **D)
again = api.create_commit(name, [Add("copy.parquet", str(here / "files/data/a.parquet"))], commit_message="copy", **D)
api.create_tag(name, tag="v1", tag_message="one", revision=commit.oid, **D)
said |= {"first": commit.oid, "copy": again.oid}
"""
LOAD = """
from datasets import load_dataset
said["rows"] = load_dataset(name, revision="v1", split="train").to_dict()["x"]
said["place"] = api.snapshot_download(name, revision="v1", local_dir=here / "snapshot", **D)
"""


@MODES
def test_clients_upload_and_load(tmp_path: Path, xet: bool) -> None:
    data = tmp_path / "files" / "data"
    data.mkdir(parents=True)
    pq.write_table(pa.table({"x": list(range(500))}), data / "a.parquet")
    pq.write_table(pa.table({"x": list(range(500, 900))}), data / "b.parquet")
    card = "---\nlicense: mit\nconfigs:\n- config_name: default\n  data_files: data/*.parquet\n---\n# A set\n"
    (tmp_path / "files" / "README.md").write_text(card)
    with LoopbackHub(tmp_path / "hub") as hub:
        made = run(hub, tmp_path, UPLOAD, xet=xet)
        loaded = run(hub, tmp_path, LOAD, xet=xet)
    held = repo(hub)
    assert loaded["rows"] == list(range(900))
    first = held.tree("refs/tags/v1")
    assert set(first) == {".gitattributes", "README.md", "data/a.parquet", "data/b.parquet"}
    for path in set(first) - {".gitattributes"}:
        contents = (tmp_path / "files" / path).read_bytes()
        assert first[path].data == contents == (tmp_path / "snapshot" / path).read_bytes()
        assert first[path].is_lfs == path.endswith(".parquet")
        assert bool(first[path].xet_hash) == (xet and first[path].is_lfs)
    assert [commit.title for commit in held.history()] == ["copy", "first", "initial commit"]
    assert held.refs["refs/heads/main"] == made["copy"]
    assert held.history("v1")[0].message == "why"
    assert [len(tree) for tree in held.main_trees] == [1, 4, 5]
    large = {file.sha256 for file in first.values() if file.is_lfs}
    assert hub.uploads == ({} if xet else dict.fromkeys(large, 1))
    assert any(request.origin == "storage" for request in hub.requests) != xet
    assert not tokens_at_storage(hub)
    assert (hub.xet_bytes() > 0) == xet


def test_xet_keeps_repeated_contents_once(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.create_repo(NAME)
    (tmp_path / "a.bin").write_bytes(os.urandom(300_000))
    upload = 'api.create_commit(name, [Add(f"{sys.argv[0]}.bin", str(here / "a.bin"))], commit_message="m", **D)'
    run(hub, tmp_path, upload.replace("{sys.argv[0]}", "one"), xet=True)
    once = hub.xet_bytes()
    run(hub, tmp_path, upload.replace("{sys.argv[0]}", "two"), xet=True)
    assert once > 300_000
    assert hub.xet_bytes() == once
    assert repo(hub).tree()["two.bin"].data == (tmp_path / "a.bin").read_bytes()


def test_large_files_in_parts_and_in_chunks(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.create_repo(NAME)
    hub.multipart_threshold, hub.lfs_chunk_size = 100_000, 64_000
    data = os.urandom(200_000)
    (tmp_path / "a.bin").write_bytes(data)
    run(hub, tmp_path, 'api.create_commit(name, [Add("a.bin", str(here / "a.bin"))], commit_message="m", **D)')
    assert repo(hub).tree()["a.bin"].data == data
    parts = [request for request in hub.requests if request.method == "PUT"]
    assert [request.body_length for request in parts] == [64_000, 64_000, 64_000, 8_000]
    assert hub.uploads == {hashlib.sha256(data).hexdigest(): 1}
    # parts that are missing, or other than storage got them
    joined, other = allow_upload(hub, data[:150_000], "multipart"), hashlib.sha256(data[:150_000]).hexdigest()
    place = f"/uploads/{joined.rsplit('/', 1)[1]}"
    for number in (1, 2, 3):
        piece = data[:150_000][(number - 1) * 64_000 : number * 64_000]
        etag = ask(hub.storage, "PUT", f"{place}/{number}", piece)[1]["etag"]
        assert ask_hub(hub, "POST", joined, {"oid": other, "parts": [{"partNumber": number, "etag": etag}]})[0] == 400
    wrong = [{"partNumber": number, "etag": etag} for number in (1, 2, 3)]
    assert ask_hub(hub, "POST", joined, {"oid": other, "parts": wrong})[0] == 400
    assert other not in repo(hub).objects
    # a body in chunks, whose length no header tells
    place = allow_upload(hub, data[:5000])
    status, _, _ = ask(hub.storage, "PUT", place, iter([data[:3000], data[3000:5000]]), Transfer_Encoding="chunked")
    assert status == 200
    assert repo(hub).objects[hashlib.sha256(data[:5000]).hexdigest()].file.data == data[:5000]


PULL_REQUEST = """
files = [Add("a.txt", b"a"), Add("a.bin", b"0" * 50)]
first = api.create_commit(name, files, commit_message="a pr", create_pr=True, **D)
ref = first.pr_revision
second = api.create_commit(
    name, [Add("b.txt", b"b"), Delete("old.txt")], commit_message="more", revision=ref, parent_commit=first.oid, **D
)
said["refs"] = [r.ref for r in api.list_repo_refs(name, include_pull_requests=True, **D).pull_requests]
said["head"] = api.dataset_info(name, revision=ref).sha == second.oid
details = api.get_discussion_details(name, first.pr_num, **D)
said |= {"status": details.status, "diff": details.diff, "events": [event.type for event in details.events]}
(here / "opened").touch()
"""
MERGE = """
api.comment_discussion(name, 1, comment="hm", **D)
api.change_discussion_status(name, 1, "closed", **D)
said["closed"] = refused(lambda: api.merge_pull_request(name, 1, **D))
api.change_discussion_status(name, 1, "open", **D)
api.merge_pull_request(name, 1, comment="go", **D)
details = api.get_discussion_details(name, 1, **D)
said |= {"status": details.status, "merge": details.merge_commit_oid, "head": api.dataset_info(name).sha}
said["twice"] = refused(lambda: api.merge_pull_request(name, 1, **D))
draft = api.create_pull_request(name, title="a draft", **D)
said |= {"draft": draft.status, "early": refused(lambda: api.merge_pull_request(name, 2, **D))}
said["all"] = [(d.num, d.status) for d in api.get_repo_discussions(name, **D)]
"""


@pytest.mark.parametrize("mode", ["squash", "keep"])
@pytest.mark.parametrize("is_moved", [False, True], ids=["on the head", "main moved"])
def test_pull_requests(hub: LoopbackHub, tmp_path: Path, mode: str, is_moved: bool) -> None:
    hub.merge = mode
    held = hub.create_repo(NAME)
    held.plant({"old.txt": b"old"})
    opened = run(hub, tmp_path, PULL_REQUEST)
    assert opened["refs"] == ["refs/pr/1"]
    assert opened["head"]
    assert opened["status"] == "open"
    assert opened["events"] == ["comment", "commit", "commit"]
    assert "+++ b/a.txt\n@@ -0,0 +1 @@\n+a" in opened["diff"]
    assert set(held.tree()) == {".gitattributes", "old.txt"}
    if is_moved:
        held.plant({"other.txt": b"other"}, title="somebody else")
    merged = run(hub, tmp_path, MERGE)
    assert merged["closed"][1] == merged["twice"][1] == merged["early"][1] == 400
    assert merged["status"] == "merged"
    assert merged["merge"] == merged["head"] == held.head.id
    assert merged["all"] == [[2, "draft"], [1, "merged"]]
    assert merged["draft"] == "draft"
    assert set(held.tree()) == {".gitattributes", "a.txt", "a.bin", "b.txt"} | ({"other.txt"} if is_moved else set())
    titles = [commit.title for commit in held.history()]
    before = [*(["somebody else"] if is_moved else []), "a commit", "initial commit"]
    if mode == "squash":
        assert titles == ["a pr (#1)", *before]
    elif is_moved:
        assert titles == ["Merge pull request #1", "somebody else", "more", "a pr", "a commit", "initial commit"]
    else:
        assert titles == ["more", "a pr", *before]


def test_conflicts_are_not_merged(hub: LoopbackHub) -> None:
    held = hub.create_repo(NAME)
    held.plant({"a.txt": b"theirs"}, ref="refs/pr/1")
    held.plant({"a.txt": b"ours"})
    status, _, body = ask_hub(hub, "POST", f"{D}/discussions/1/merge")
    assert (status, b"a.txt" in body) == (409, True)
    assert held.tree()["a.txt"].data == b"ours"


LISTINGS = """
from huggingface_hub.errors import BadRequestError
said["refs"] = sorted(r.ref for r in api.list_repo_refs(name, **D).branches + api.list_repo_refs(name, **D).converts)
said["flat"] = [e.path for e in api.list_repo_tree(name, **D)]
said["deep"] = [e.path for e in api.list_repo_tree(name, recursive=True, **D)]
said["inside"] = [e.path for e in api.list_repo_tree(name, "d/e", **D)]
said["last"] = {e.path: e.last_commit.title for e in api.list_repo_tree(name, recursive=True, expand=True, **D)}
said["some"] = [type(e).__name__ for e in api.get_paths_info(name, ["d", "d/1.bin", "nowhere"], **D)]
said["commits"] = [(c.title, c.authors) for c in api.list_repo_commits(name, **D)]
said["objects"] = sorted([o.file_oid, o.filename, o.size] for o in api.list_lfs_files(name, **D))
said["old"] = refused(lambda: api.dataset_info(name, revision="nowhere"))
said["folder"] = refused(lambda: list(api.list_repo_tree(name, "nowhere", **D)))
api.create_branch(name, branch="side", revision="old", **D)
api.create_tag(name, tag="v1", **D)
said["tag"] = refused(lambda: api.create_tag(name, tag="v1", **D))
said["repo"] = refused(lambda: api.create_repo(name, **D))
stale = api.dataset_info(name, revision="old").sha
said["stale"] = refused(
    lambda: api.create_commit(name, [Add("z.txt", b"z")], commit_message="m", parent_commit=stale, **D)
)
api.super_squash_history(name, commit_message="all", **D)
said["squashed"] = [c.title for c in api.list_repo_commits(name, **D)]
said["siblings"] = {s.rfilename: s.size for s in api.dataset_info(name, files_metadata=True).siblings}
said["yaml"] = refused(lambda: api.create_commit(name, [Add("r.md", b"r")], commit_message=" ", **D))
try:
    api.create_commit(name, [Add("README.md", b"---\\nlicense: [A B]\\n---\\n")], commit_message="m", **D)
except ValueError as error:
    said["card"] = str(error)
"""


def test_listings_page_by_page(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.page_size = 2
    held = hub.create_repo(NAME)
    held.plant({"d/1.bin": b"1", "d/e/2.bin": b"22", "README.md": b"r"}, title="one", ref="refs/heads/old")
    held.set_ref("refs/heads/main", held.refs["refs/heads/old"])
    held.plant({"d/e/3.bin": b"333"}, title="two", message="text", author="me")
    held.plant({"0000.parquet": b"4444"}, ref="refs/convert/parquet")
    orphan = held.add_lfs_orphan(b"55555")
    said = run(hub, tmp_path, LISTINGS)
    assert said["refs"] == ["refs/convert/parquet", "refs/heads/main", "refs/heads/old"]
    assert said["flat"] == [".gitattributes", "README.md", "d"]
    assert said["deep"] == [".gitattributes", "README.md", "d", "d/1.bin", "d/e", "d/e/2.bin", "d/e/3.bin"]
    assert said["inside"] == ["d/e/2.bin", "d/e/3.bin"]
    assert said["last"]["d/e/3.bin"] == said["last"]["d"] == "two"
    assert said["last"]["d/1.bin"] == "one"
    assert said["some"] == ["RepoFolder", "RepoFile"]
    assert said["commits"] == [["two", ["me"]], ["one", ["somebody"]], ["initial commit", ["owner"]]]
    assert len(said["objects"]) == 5
    assert [orphan, "", 5] in said["objects"]
    assert said["old"][:3] == ["RevisionNotFoundError", 404, "RevisionNotFound"]
    assert said["folder"][:3] == ["RemoteEntryNotFoundError", 404, "EntryNotFound"]
    assert (said["tag"][1], said["repo"][1], said["stale"][1]) == (409, 409, 412)
    assert said["squashed"] == ["all"]
    assert said["siblings"]["d/e/3.bin"] == 3
    assert said["yaml"][1] == 400
    assert "license" in said["card"]
    assert held.tree("v1") == held.tree()
    assert held.refs["refs/heads/side"] == held.refs["refs/heads/old"]


ACCESS = """
reader, stranger, unknown, nobody = (HfApi(token=t) for t in [sys.argv[2], sys.argv[3], "hf_unknown", False])
add = [Add("z.txt", b"z")]
for visibility, gated in [("private", False), ("public", "manual")]:
    api.update_repo_settings(name, visibility=visibility, gated=gated, **D)
    url = f"{api.endpoint}/datasets/{name}/resolve/main/.gitattributes"
    for who, one in {"reader": reader, "stranger": stranger, "unknown": unknown, "nobody": nobody}.items():
        said[f"{visibility} {who}"] = [
            refused(lambda: one.dataset_info(name)),
            refused(lambda: one.get_hf_file_metadata(url=url)),
            refused(lambda: one.create_commit(name, add, commit_message="m", **D)),
        ]
said["elsewhere"] = refused(lambda: api.create_repo("stranger/x", **D))
said["missing"] = refused(lambda: api.dataset_info("owner/none"))
said["team"] = str(api.create_repo("team/x", **D))
"""


def test_who_may_do_what(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.create_repo(NAME)
    tokens = [hub.add_token("owner", role="read"), hub.add_token("stranger", role="write")]
    said = run(hub, tmp_path, f"sys.argv += {tokens}\n{ACCESS}")
    codes = {who: [error and error[1:3] for error in errors] for who, errors in said.items() if " " in who}
    hidden, gated = "RepoNotFound", "GatedRepo"
    assert codes == {
        "private reader": [None, None, [403, ""]],
        "private stranger": [[404, hidden]] * 3,
        "private unknown": [[401, ""]] * 3,
        "private nobody": [[401, hidden]] * 2 + [[401, ""]],
        "public reader": [None, None, [403, ""]],
        "public stranger": [None, [403, gated], [403, ""]],
        "public unknown": [[401, ""]] * 3,
        "public nobody": [None, [401, gated], [401, ""]],
    }
    assert "write" in said["private reader"][2][3]
    assert said["elsewhere"][1] == 403
    assert said["missing"][1:3] == [404, hidden]
    assert said["team"].endswith("/datasets/team/x")
    assert (repo(hub).private, repo(hub).visibility, repo(hub).gated) == (False, "public", "manual")
    assert len(repo(hub).commits) == 1


def test_malformed_requests_are_refused(hub: LoopbackHub) -> None:
    held = hub.create_repo(NAME)
    content = base64.b64encode(b"a").decode()
    sha256 = held.add_lfs_orphan(b"abc")
    bad: list[dict[str, Any]] = [
        {"key": "file", "value": {"path": "../a", "content": content, "encoding": "base64"}},
        {"key": "file", "value": {"path": "a", "content": "?", "encoding": "base64"}},
        {"key": "file", "value": {"path": ".gitattributes/a", "content": content, "encoding": "base64"}},
        {"key": "lfsFile", "value": {"path": "a", "algo": "sha256", "oid": "0" * 64, "size": 3}},
        {"key": "lfsFile", "value": {"path": "a", "algo": "sha256", "oid": sha256, "size": 4}},
        {"key": "other", "value": {"path": "a"}},
    ]
    for line in bad:
        status, headers, _ = send_commit(hub, line)
        assert (status, bool(headers["x-error-message"])) == (400, True), line
    assert send_commit(hub, {"key": "deletedFile", "value": {"path": "none"}})[0] == 404
    assert send_commit(hub, path=f"{D}/commit/nowhere")[0] == 404
    assert send_commit(hub, path=f"{D}/commit/{held.head.id}")[0] == 404
    assert ask_hub(hub, "POST", f"{D}/commit/main", b"{}", Content_Type="application/x-ndjson")[0] == 400
    assert ask_hub(hub, "PUT", f"{D}/settings", {"gated": "yes"})[0] == 400
    assert ask_hub(hub, "GET", f"{D}/nonsense")[0] == 404
    assert len(held.commits) == 1
    assert (
        send_commit(hub, {"key": "lfsFile", "value": {"path": "a", "algo": "sha256", "oid": sha256, "size": 3}})[0]
        == 200
    )


def test_storage_takes_only_what_was_announced_and_no_token(hub: LoopbackHub) -> None:
    held = hub.create_repo(NAME)
    place = allow_upload(hub, b"abc")
    assert ask(hub.storage, "PUT", place, b"abd")[0] == 400
    assert ask(hub.storage, "PUT", place, b"abcd")[0] == 400
    assert ask(hub.storage, "PUT", f"{place}x", b"abc")[0] == 403
    assert ask(hub.storage, "PUT", place, b"abc", Authorization=f"Bearer {hub.token}")[0] == 400
    assert tokens_at_storage(hub) == [place]
    assert not held.objects
    assert ask(hub.storage, "PUT", place, b"abc")[0] == 200
    assert sum(hub.uploads.values()) == 1
    held.plant({"a.bin": b"0123456789"})
    status, headers, _ = ask_hub(hub, "GET", f"/datasets/{NAME}/resolve/main/a.bin")
    assert (status, headers["x-repo-commit"], headers["x-linked-size"]) == (302, held.head.id, "10")
    assert headers["location"].startswith(hub.storage)
    place = headers["location"].removeprefix(hub.storage)
    assert ask(hub.storage, "GET", place)[2] == b"0123456789"
    status, headers, body = ask(hub.storage, "GET", place, Range="bytes=4-6")
    assert (status, headers["content-range"], body) == (206, "bytes 4-6/10", b"456")
    assert ask(hub.storage, "GET", place, Range="bytes=10-")[0] == 416
    assert ask(hub.storage, "GET", f"{place}0")[0] == 403


def test_each_kind_of_fault(hub: LoopbackHub) -> None:
    held = hub.create_repo(NAME)
    held.plant({"a.json": b"0123456789"})
    whole = f"/datasets/{NAME}/resolve/main/a.json"
    hub.faults.add("GET", "a.json", "status", status=429, headers={"Retry-After": "7"}, error_code="E", message="no")
    status, headers, _ = ask_hub(hub, "GET", whole)
    assert (status, headers["retry-after"], headers["x-error-code"], headers["x-error-message"]) == (
        429,
        "7",
        "E",
        "no",
    )
    hub.faults.add("GET", "a.json", "truncate")
    with pytest.raises(http.client.IncompleteRead) as cut:
        ask_hub(hub, "GET", whole)
    assert cut.value.partial == b"01234"
    hub.faults.add("GET", "a.json", "slow", seconds=0.2)
    assert ask_hub(hub, "GET", whole)[2] == b"0123456789"
    line = {"key": "deletedFile", "value": {"path": "a.json"}}
    hub.faults.add("POST", "/commit/", "drop")
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        send_commit(hub, line)
    assert "a.json" in held.tree()
    hub.faults.add("POST", "/commit/", "drop_after")
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        send_commit(hub, line)
    assert "a.json" not in held.tree()
    assert [kind for kind, _ in hub.faults.struck] == ["status", "truncate", "slow", "drop", "drop_after"]
    assert not hub.faults.waiting
    assert [request.status for request in hub.requests] == [429, 200, 200, 0, 0]


def test_faults_strike_where_and_when_they_are_told_to(hub: LoopbackHub) -> None:
    hub.create_repo(NAME).plant({"x.txt": b"x"}, ref="refs/pr/1")
    hub.faults.add("GET", "revision/refs/pr/1", "status", times=2, skip=1)
    hub.faults.add("*", "revision", "status", status=500, origin="storage")
    assert [ask_hub(hub, "GET", f"{D}/revision/refs%2Fpr%2F1")[0] for _ in range(4)] == [200, 503, 503, 200]
    assert ask_hub(hub, "GET", D)[0] == 200


FAULTY = """
api.create_commit(name, [Add("a.bin", b"0" * 100_000)], commit_message="m", **D)
said["size"] = os.path.getsize(api.hf_hub_download(name, "a.bin", **D))
"""


def test_clients_get_through_faults(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.create_repo(NAME)
    hub.faults.add("POST", "objects/batch", "drop")
    hub.faults.add("PUT", "/uploads/", "drop_after", origin="storage")
    hub.faults.add("GET", "/objects/", "truncate", origin="storage")
    assert run(hub, tmp_path, FAULTY)["size"] == 100_000
    assert [kind for kind, _ in hub.faults.struck] == ["drop", "drop_after", "truncate"]
    assert list(hub.uploads.values()) == [2]
    assert [request.status for request in hub.requests if request.route.startswith("/objects/")] == [200, 200]
    assert not tokens_at_storage(hub)
