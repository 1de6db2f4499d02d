"""`rem-release push` from end to end: real processes, the real clients, and a Hub on this machine."""

import hashlib
import json
import os
import pty
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rem_release.release.canonical import seal
from rem_release.release.certificate import read_certificate
from rem_release.release.documents import read_facts, write_documents
from tests.audit_commands import protect_by_patches, write_stripes
from tests.command_line import Result, draw_classes, read_status, released, run, snapshot, succeed
from tests.forks import Forks
from tests.loopback_hub import LoopbackHub, Repo
from tests.pushes import certify, read_receipt

LOAD = """
import hashlib, sys
from datasets import Image, load_dataset
for split, dataset in load_dataset(sys.argv[1]).items():
    for row in dataset.cast_column("image", Image(decode=False)):
        print(split, hashlib.sha256(row["image"]["bytes"]).hexdigest(), row["label"])
"""


@dataclass(frozen=True)
class Place:
    """A Hub, and the environment of the processes that talk to it."""

    hub: LoopbackHub
    forks: Forks
    env: dict[str, str]
    folder: Path

    def run(self, *arguments: object, code: int = 0, stdin: str = os.devnull, cwd: Path | None = None) -> Result:
        """A command, which ends with this exit code."""
        result = self.forks.run(*arguments, stdin=stdin, cwd=cwd)
        assert result.code == code, (result.code, result.err)
        return result

    def repo(self, name: str) -> Repo:
        repo = self.hub.repo(name)
        assert repo is not None
        return repo

    def load(self, repo: str) -> list[str]:
        """What `load_dataset` gives to a new process with empty caches: a line a row, with the split."""
        env = {**os.environ, **self.env, "HF_HOME": str(self.folder / "homes" / repo)}
        command = [sys.executable, "-c", LOAD, repo]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.splitlines()


def open_place(folder: Path, process_env: dict[str, str], xet: bool) -> Iterator[Place]:
    with LoopbackHub(folder / "hub") as hub:
        env = process_env | hub.environment(folder / "home", xet=xet) | {"REM_RELEASE_CACHE": str(folder / "cache")}
        with Forks(env, folder / "forks") as forks:
            yield Place(hub, forks, env, folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, process_env: dict[str, str]) -> Iterator[Place]:
    """Uploads by LFS."""
    yield from open_place(tmp_path_factory.mktemp("place"), process_env, xet=False)


@pytest.fixture(scope="module")
def xet_place(tmp_path_factory: pytest.TempPathFactory, process_env: dict[str, str]) -> Iterator[Place]:
    """Uploads by Xet."""
    yield from open_place(tmp_path_factory.mktemp("xet"), process_env, xet=True)


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory, recipe: Path) -> Path:
    """A run with a certificate that passed, of class folders `train` and `test` side by side. Not to be changed."""
    folder = tmp_path_factory.mktemp("certified")
    draw_classes(folder / "images/train")
    draw_classes(folder / "images/test", count=2, seed=1000)
    succeed("protect", folder / "images/train", "--out", folder / "run", "--recipe", recipe)
    return certify(folder / "run")


@pytest.fixture
def ready(tmp_path: Path, certified: Path) -> Path:
    """A copy of `certified` that a test may change."""
    return Path(shutil.copytree(certified, tmp_path / "run"))


def staged(run_folder: Path) -> list[str]:
    """The lines of `Place.load` from the release on disk."""
    rows = released(run_folder / "release")
    return [f"train {hashlib.sha256(row['image']['bytes']).hexdigest()} {row['label']}" for row in rows]


def failed(document: dict) -> list[str]:
    return [check["name"] for check in document["checks"] if check["passed"] is not True]


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory, place: Place) -> Path:
    """A folder with `run`, which was protected, verified and audited, and `clean`, its originals."""
    folder = tmp_path_factory.mktemp("audited")
    clean, test, lenient = write_stripes(folder)
    assert clean == folder / "clean"
    out = protect_by_patches(clean, folder / "run")
    place.run("verify", out)
    place.run("audit", out, "--holdout", test, "--recipe", lenient)
    return folder


@pytest.mark.parametrize("mode", ["place", "xet_place"])
def test_from_protect_to_load_dataset(tmp_path: Path, audited: Path, mode: str, request: pytest.FixtureRequest) -> None:
    """protect → verify → audit → push → load_dataset and verify, for anyone; the same push again sends nothing."""
    place: Place = request.getfixturevalue(mode)
    clean, out = audited / "clean", Path(shutil.copytree(audited / "run", tmp_path / "run"))
    result = place.run("push", out, "owner/stripes", "--json")
    repo, (receipt,) = place.repo("owner/stripes"), read_receipt(out)["pushes"]
    assert result.json | {"source": str(clean)} == receipt
    assert (receipt["commit"], receipt["tag"]) == (repo.refs["refs/heads/main"], "v1")
    assert repo.refs["refs/tags/v1"] == receipt["commit"]
    assert receipt["digest"] == json.loads((out / "release/protection.json").read_bytes())["digest"]
    assert (repo.private, receipt["private"], receipt["gated"]) == (True, True, False)
    assert read_status(out) == {"state": "done", "exit_code": 0, "message": ""}
    assert len(staged(out)) == 300
    assert place.load("owner/stripes") == staged(out)
    found = place.run("verify", "owner/stripes@v1", "--clean", clean, "--json").json
    assert found["commit"] == receipt["commit"]
    assert failed(found) == []
    details = {check["name"]: check["detail"] for check in found["checks"]}
    assert details.keys() >= {"originals", "load_dataset, split train", "verdict's words"}
    assert details["verdict"] == "computed again from answers.parquet (1 rows, 160 test images): passed"

    before = dict(place.hub.uploads), place.hub.xet_bytes(), dict(repo.refs)
    assert place.run("push", out, "owner/stripes", "--json").json["commit"] == receipt["commit"]
    assert (dict(place.hub.uploads), place.hub.xet_bytes(), dict(repo.refs)) == before
    assert len(repo.commits) == 2


def test_the_proof_reads_the_hub_even_where_a_folder_bears_the_name(ready: Path, tmp_path: Path, place: Place) -> None:
    """`load_dataset` prefers a folder; whose images that holds must not matter. A new interpreter does it all."""
    (tmp_path / "here/owner/shadow").mkdir(parents=True)
    (tmp_path / "here/owner/shadow/train.csv").write_text("image,label\n1,2\n")
    (tmp_path / "here/datasets.py").write_text("raise SystemExit('the wrong datasets')")
    command = [Path(sys.executable).parent / "rem-release", "push", ready, "owner/shadow"]
    done = subprocess.run(
        command, env={**os.environ, **place.env}, cwd=tmp_path / "here", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "load_dataset, split train: 8 images and labels of a fresh process equal" in done.stdout


def test_verify_names_what_changed_on_the_hub(ready: Path, place: Place) -> None:
    place.run("push", ready, "owner/changed")
    name = "data/train-00000-of-00001.parquet"
    data = (ready / "release" / name).read_bytes()
    place.repo("owner/changed").plant({name: data[:-1] + b"x"})
    assert name in place.run("verify", "owner/changed", code=1).err
    place.run("verify", "owner/changed@v1")
    assert "404 for owner/none" in place.run("verify", "owner/none@v1", code=1).err
    assert "404 for owner/changed" in place.run("verify", "owner/changed@v2", code=1).err
    place.repo("owner/changed").plant({"protection.json": None})
    assert "is no release of rem-release" in place.run("verify", "owner/changed", code=1).err


def test_a_verdict_that_was_flipped_on_the_hub_fails_though_all_hashes_fit(
    tmp_path: Path, place: Place, finished_run: Path
) -> None:
    """Whoever can write there gives card, facts and certificate hashes that fit; the answers stay what they were."""
    honest = certify(Path(shutil.copytree(finished_run, tmp_path / "honest")), passed=False)
    place.run("push", honest, "owner/honest", "--allow-uncertified", "--yes")
    assert "verdict: computed again from answers.parquet (2 rows, 400 test images): fell short" in " ".join(
        f"{check['name']}: {check['detail']}" for check in place.run("verify", "owner/honest", "--json").json["checks"]
    )
    release = honest / "release"
    found = read_certificate(release / "audit.json")
    tiers = [tier.model_copy(update={"outcome": "passed"}) if tier.required else tier for tier in found.tiers]
    summary = ["Passed: every tier that the owner's policy requires stayed under its limit."]
    forged = found.model_copy(update={"passed": True, "tiers": tiers, "summary": summary})
    (release / "audit.json").write_bytes(seal(forged.model_dump(mode="json")))
    write_documents(release, read_facts(release), forged)
    names = ("README.md", "protection.json", "audit.json")
    place.repo("owner/honest").plant({name: (release / name).read_bytes() for name in names})
    said = place.run("verify", "owner/honest", "--json", code=1).json
    wrong = {check["name"] for check in said["checks"] if check["passed"] is False}
    assert {"verdict", "verdict's words"} <= wrong <= {"verdict", "verdict's words", "history"}
    (verdict,) = (check["detail"] for check in said["checks"] if check["name"] == "verdict")
    assert "audit.json.passed says true, and the answers give false" in verdict
    place.run("verify", "owner/honest@v1")
    refused = place.run("push", honest, "owner/forged", code=3).err
    assert "audit.json.passed says true, and the answers give false" in refused
    assert place.hub.repo("owner/forged") is None


def test_verify_sees_what_a_download_leaves_out(ready: Path, place: Place, certified: Path) -> None:
    """Clean images under names that the client, or the Hub itself, uses."""
    original = next((certified.parent / "images").rglob("*.png")).read_bytes()
    place.run("push", ready, "owner/hidden")
    repo = place.repo("owner/hidden")
    repo.plant({".cache/huggingface/clean.png": original}, ref="refs/heads/cache")
    repo.plant({".gitattributes": original}, ref="refs/heads/attributes", lfs=False)
    found = place.run("verify", "owner/hidden@cache", code=1)
    assert ".cache/huggingface/clean.png is no part of the release" in found.err
    found = place.run("verify", "owner/hidden@attributes", code=1)
    assert ".gitattributes is not what the Hub writes there" in found.err


@pytest.mark.parametrize("name", ["main", "a b", "-x", "x..y", "x.lock", "0123456789abcdef", "a/b"])
def test_what_cannot_name_a_version_is_refused_first(finished_run: Path, name: str) -> None:
    result = run("push", finished_run, "owner/pets", "--dry-run", f"--tag={name}")
    assert result.code == 2
    assert "cannot name a version" in result.err


def test_a_card_that_is_missing_is_a_reason(ready: Path) -> None:
    (ready / "release/README.md").unlink()
    result = run("push", ready, "owner/pets", "--dry-run", "--card-field", "license=mit")
    assert result.code == 3
    assert "README.md is missing" in result.err


def test_a_push_that_is_refused_leaves_no_clean_image_behind(ready: Path, certified: Path) -> None:
    """The split holds protected images: nothing of it stays where `verify` and the owner look for the release."""
    before = snapshot(ready / "release")
    split = f"again={certified.parent / 'images/train'}"
    result = run("push", ready, "owner/pets", "--publish-clean-split", split)
    assert result.code == 3
    assert "it would be published clean" in result.err
    assert snapshot(ready / "release") == before


def test_a_dry_run_shows_every_file_and_asks_nobody(ready: Path, place: Place, certified: Path) -> None:
    before, asked = snapshot(ready), len(place.hub.requests)
    split = f"test={certified.parent / 'images/test'}"
    options = ("--dry-run", "--json", "--card-field", "license=cc-by-4.0", "--publish-clean-split", split)
    plan = place.run("push", ready, "owner/dry", *options).json
    assert (plan["passed"], plan["dry_run"], plan["repo"]) == (True, True, "owner/dry")
    files = {file["name"]: file for file in plan["files"]}
    unchanged = {"answers.parquet", "audit.json", *(name for name in files if name.startswith(("data/", "figures/")))}
    assert set(files) == unchanged | {"README.md", "protection.json", "clean/test-00000-of-00001.parquet"}
    for name in unchanged:
        data = (ready / "release" / name).read_bytes()
        assert (files[name]["bytes"], files[name]["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert len(place.hub.requests) == asked
    assert snapshot(ready) == before


def test_without_a_certificate_the_card_says_so_and_somebody_must_want_it(
    tmp_path: Path, place: Place, finished_run: Path
) -> None:
    ready = Path(shutil.copytree(finished_run, tmp_path / "run"))
    plain = place.run("push", ready, "owner/bare", code=3).err
    assert "policy: It was not audited" in plain
    assert "--allow-uncertified" in plain
    assert "add --yes" in place.run("push", ready, "owner/bare", "--allow-uncertified", code=2).err
    assert place.hub.repo("owner/bare") is None
    place.run("push", ready, "owner/bare", "--allow-uncertified", "--yes")
    card = place.repo("owner/bare").tree()["README.md"].data
    assert card is not None
    body = card.decode().split("---", 2)[2]
    assert body.index("**NOT CERTIFIED**: nobody has measured") < body.index("## ")


def test_an_audit_that_fell_short_is_refused_with_its_reason(tmp_path: Path, place: Place, finished_run: Path) -> None:
    ready, asked = certify(Path(shutil.copytree(finished_run, tmp_path / "run")), passed=False), len(place.hub.requests)
    assert (
        "policy: Fell short of the owner's policy in the required tiers standard and adversarial."
        in place.run("push", ready, "owner/short", code=3).err
    )
    assert len(place.hub.requests) == asked
    assert read_status(ready)["exit_code"] == 3


def type_in(place: Place, words: str, code: int, *arguments: object) -> str:
    """Run a command at a terminal and type a line; what it says."""
    parent, child = pty.openpty()
    try:
        os.write(parent, f"{words}\n".encode())
        return place.run(*arguments, code=code, stdin=os.ttyname(child)).err
    finally:
        os.close(child)
        os.close(parent)


def test_public_is_asked_once_more_and_comes_last(ready: Path, place: Place) -> None:
    command = ("push", ready, "owner/open", "--public", "--gated", "manual")
    unasked = place.run(*command, code=2).err
    assert "owner/open becomes public" in unasked
    assert "--yes" in unasked
    assert "not confirmed; nothing was sent" in type_in(place, "owner/ope", 2, *command)
    assert place.hub.repo("owner/open") is None
    asked = len(place.hub.requests)
    type_in(place, "owner/open", 0, *command)
    repo, requests = place.repo("owner/open"), place.hub.requests[asked:]
    assert (repo.private, repo.gated) == (False, "manual")
    (receipt,) = read_receipt(ready)["pushes"]
    assert (receipt["private"], receipt["gated"]) == (False, "manual")
    settings = [index for index, request in enumerate(requests) if request.path.endswith("/settings")]
    last = max(index for index, request in enumerate(requests) if "/commit/" in request.path)
    proof = max(index for index, request in enumerate(requests) if request.origin == "storage")
    assert len(settings) == 2
    assert settings[0] < last < proof < settings[1], "gated before the upload, public after the proof"
    place.run("push", ready, "owner/open", "--gated", "no", "--private")
    assert (repo.private, repo.gated) == (True, False)


def test_versions(ready: Path, place: Place, certified: Path) -> None:
    """A new card is a new version; a clean split comes, and goes, on request only; a name means one version."""
    before = Counter(place.hub.uploads)
    place.run("push", ready, "owner/pets", "--gated", "auto")
    place.run("push", ready, "owner/pets", "--card-field", "license=cc-by-4.0", "--tag", "licensed")
    repo = place.repo("owner/pets")
    assert repo.gated == "auto"
    assert len(repo.main_trees) == 3
    assert set(repo.refs) == {"refs/heads/main", "refs/tags/v1", "refs/tags/licensed"}
    assert b"license: cc-by-4.0" in (repo.tree()["README.md"].data or b"")
    test = f"test={certified.parent / 'images/test'}"
    split = place.run("push", ready, "owner/pets", "--publish-clean-split", test).out
    assert "the split test are clean, by the owner's choice" in split
    assert "load_dataset, split test: 4 images" in split
    assert Counter(line.split()[0] for line in place.load("owner/pets")) == {"train": 8, "test": 4}
    place.run("push", ready, "owner/pets")
    assert [("clean/test-00000-of-00001.parquet" in tree) for tree in repo.main_trees] == [0, 0, 0, 1, 0]
    assert repo.tree("refs/tags/licensed") == repo.tree()
    assert set(repo.refs) >= {"refs/tags/v2", "refs/tags/v3"}
    taken = place.run("push", ready, "owner/pets", "--card-field", "license=mit", "--tag", "v1", code=2).err
    assert "--tag v1 names another version" in taken
    assert len(repo.main_trees) == 5
    assert set((place.hub.uploads - before).values()) == {1}, "nothing was sent twice"


def test_the_same_images_never_go_out_with_a_second_noise(
    ready: Path, tmp_path: Path, place: Place, certified: Path, recipe: Path
) -> None:
    """Another noise for them is refused; the noise that is out may go out again, with more images or without."""
    images = certified.parent / "images/train"
    succeed("protect", images, "--out", tmp_path / "other", "--recipe", recipe, "--seed", "7")
    more = Path(shutil.copytree(images, tmp_path / "more"))
    draw_classes(tmp_path / "new", seed=500, count=3)
    for number, path in enumerate(sorted((tmp_path / "new").rglob("*.png"))):
        path.rename(more / path.parent.name / f"new{number}.png")
    succeed("protect", more, "--out", tmp_path / "wider", "--generator", ready)
    place.run("push", ready, "owner/noise")
    refused = place.run("push", certify(tmp_path / "other"), "owner/noise", code=3).err
    assert "second noise: row 0 is published with other noise as row 0 of data/train" in refused
    wider = certify(tmp_path / "wider")
    same = set(staged(ready)) <= set(staged(wider))
    place.run("push", wider, "owner/noise", code=0 if same else 3)
    assert len(place.repo("owner/noise").main_trees) == 2 + same
    assert same, "?"


def test_large_files_go_in_parts(ready: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place.hub, "lfs_chunk_size", 2000)
    monkeypatch.setattr(place.hub, "multipart_threshold", 2000)
    asked = len(place.hub.requests)
    place.run("push", ready, "owner/parts")
    puts = [request for request in place.hub.requests[asked:] if request.method == "PUT"]
    assert len(puts) > len(list((ready / "release").rglob("*.p*")))
    assert place.load("owner/parts") == staged(ready)


@pytest.mark.parametrize(
    ("repo", "words"),
    [
        ("pets", "write NAMESPACE/NAME"),
        ("owner/pets/more", "cannot name a repository"),
        ("owner/..", "cannot name a repository"),
        ("owner/a b", "cannot name a repository"),
    ],
)
def test_names_that_the_hub_does_not_take(finished_run: Path, repo: str, words: str) -> None:
    result = run("push", finished_run, repo, "--dry-run")
    assert result.code == 2
    assert words in result.err


def test_what_is_no_run_and_what_is_not_finished(tmp_path: Path) -> None:
    assert "give a run folder" in run("push", tmp_path / "none", "owner/pets").err
    (tmp_path / "run/private").mkdir(parents=True)
    options = tmp_path / "run/private/options.json"
    options.write_text("{}")
    assert "give a run folder" in run("push", tmp_path / "run", "owner/pets").err
    options.write_text('{"source": {"source": "pets"}, "recipe": {}}')
    result = run("push", tmp_path / "run", "owner/pets")
    assert result.code == 2
    assert "finish the run with --resume" in result.err
