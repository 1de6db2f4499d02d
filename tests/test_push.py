"""`rem-release push` from end to end: real processes, the real clients, and a Hub on this machine."""

import hashlib
import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.audit_commands import LEARNING, draw_stripes, protect
from tests.audits import write_audit_recipe
from tests.command_line import Result, draw_classes, read_status, released, run, snapshot, start, succeed
from tests.loopback_hub import LoopbackHub
from tests.pushes import certify, push, push_many, read_receipt

LOAD = """
import hashlib, sys
from datasets import Image, load_dataset
for split, dataset in load_dataset(sys.argv[1]).items():
    for row in dataset.cast_column("image", Image(decode=False)):
        print(split, hashlib.sha256(row["image"]["bytes"]).hexdigest(), row["label"])
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    with LoopbackHub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory, recipe: Path) -> Path:
    """A run with a certificate that passed, of class folders `train` and `test` side by side. Not to be changed."""
    folder = tmp_path_factory.mktemp("certified")
    draw_classes(folder / "pictures/train")
    draw_classes(folder / "pictures/test", count=2, seed=1000)
    succeed("protect", folder / "pictures/train", "--out", folder / "run", "--recipe", recipe)
    return certify(folder / "run")


@pytest.fixture
def ready(tmp_path: Path, certified: Path) -> Path:
    """A copy of `certified` that a test may change."""
    return Path(shutil.copytree(certified, tmp_path / "run"))


def load(hub: LoopbackHub, home: Path, repo: str, xet: bool = False) -> list[str]:
    """What `load_dataset` gives to a new process with empty caches: a line a row, with the split."""
    env = {**os.environ, **hub.environment(home, xet=xet)}
    command = [sys.executable, "-c", LOAD, repo]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.splitlines()


def staged(run_folder: Path) -> list[str]:
    """The same lines from the release on disk."""
    rows = released(run_folder / "release")
    return [f"train {hashlib.sha256(row['image']['bytes']).hexdigest()} {row['label']}" for row in rows]


def finish(process: "subprocess.Popen[str]", code: int = 0) -> Result:
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    return Result(process.returncode, out, err)


@pytest.mark.parametrize("xet", [False, True], ids=["lfs", "xet"])
def test_from_protect_to_load_dataset(tmp_path: Path, hub: LoopbackHub, xet: bool) -> None:
    """protect → verify → audit → push → load_dataset and verify, for anyone."""
    source, test = draw_stripes(tmp_path / "clean", 50, seed=0), draw_stripes(tmp_path / "test", 20, seed=1)
    out = protect(source, tmp_path / "run", "--method", "random", "--rho-u", "127/255")
    standard = {"required": True, "limit": 0.95, "architectures": ["small_resnet"], "threats": ["standard"]}
    changes = {"tiers__standard": standard, "tiers__adversarial": {"required": False}}
    training = {"victim__steps": 50, "victim__batch_size": 32, "victim__learning_rate": 0.05}
    recipe = write_audit_recipe(tmp_path / "lenient.yaml", **{**LEARNING, **training, **changes})
    env = hub.environment(tmp_path / "home", xet=xet) | {"REM_RELEASE_CACHE": str(tmp_path / "cache")}
    finish(start("verify", out, env=env))
    finish(start("audit", out, "--holdout", test, "--recipe", recipe, env=env))
    result = finish(start("push", out, "owner/stripes", "--json", env=env))
    repo = hub.repo("owner/stripes")
    assert repo is not None
    receipt = read_receipt(out)
    assert result.json == receipt
    assert (receipt["commit"], receipt["tag"]) == (repo.refs["refs/heads/main"], "v1")
    assert repo.refs["refs/tags/v1"] == receipt["commit"]
    assert receipt["digest"] == json.loads((out / "release/protection.json").read_bytes())["digest"]
    assert repo.private
    assert receipt["private"] is True
    assert read_status(out) == {"state": "done", "exit_code": 0, "message": ""}
    assert len(staged(out)) == 100
    assert load(hub, tmp_path / "other", "owner/stripes", xet) == staged(out)
    found = finish(start("verify", "owner/stripes@v1", "--clean", source, "--json", env=env)).json
    assert found["commit"] == receipt["commit"]
    assert not [check["name"] for check in found["checks"] if check["passed"] is not True]
    assert {check["name"] for check in found["checks"]} >= {"originals", "load_dataset, split train"}


def test_verify_names_what_changed_on_the_hub(ready: Path, tmp_path: Path, hub: LoopbackHub) -> None:
    env = hub.environment(tmp_path / "home")
    assert push(ready, "owner/pets", env).code == 0
    repo = hub.repo("owner/pets")
    assert repo is not None
    data = (ready / "release/data/train-00000-of-00001.parquet").read_bytes()
    repo.plant({"data/train-00000-of-00001.parquet": data[:-1] + b"x"})
    result = finish(start("verify", "owner/pets", env=env), code=1)
    assert "data/train-00000-of-00001.parquet" in result.err
    assert finish(start("verify", "owner/pets@v1", env=env)).code == 0
    missing = finish(start("verify", "owner/none@v1", env=env), code=1)
    assert "404 for owner/none" in missing.err


def test_a_dry_run_shows_every_file_and_asks_nobody(
    ready: Path, tmp_path: Path, hub: LoopbackHub, certified: Path
) -> None:
    before = snapshot(ready)
    env = hub.environment(tmp_path / "home") | {"HF_HUB_OFFLINE": "1"}
    split = f"test={certified.parent / 'pictures/test'}"
    options = ("--dry-run", "--json", "--card-field", "license=cc-by-4.0", "--publish-clean-split", split)
    result = push(ready, "owner/pets", env, *options)
    assert result.code == 0, result.err
    plan = result.json
    assert (plan["passed"], plan["dry_run"], plan["repo"]) == (True, True, "owner/pets")
    files = {file["name"]: file for file in plan["files"]}
    unchanged = {"audit.json", *(name for name in files if name.startswith(("data/", "figures/")))}
    assert set(files) == unchanged | {"README.md", "protection.json", "clean/test-00000-of-00001.parquet"}
    for name in unchanged:
        data = (ready / "release" / name).read_bytes()
        assert (files[name]["bytes"], files[name]["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert hub.requests == []
    assert snapshot(ready) == before


def test_without_a_certificate_the_card_says_so_and_somebody_must_want_it(
    tmp_path: Path, hub: LoopbackHub, finished_run: Path
) -> None:
    ready = Path(shutil.copytree(finished_run, tmp_path / "run"))
    env = hub.environment(tmp_path / "home")
    allow = (ready, "owner/pets", "--allow-uncertified")
    plain, unsure, sure = push_many(env, [(ready, "owner/pets"), allow, (*allow, "--yes")])
    assert plain.code == 3
    assert "policy: It was not audited" in plain.err
    assert "--allow-uncertified" in plain.err
    assert unsure.code == 2
    assert "add --yes" in unsure.err
    assert sure.code == 0, sure.err
    repo = hub.repo("owner/pets")
    assert repo is not None
    assert len(repo.main_trees) == 2, "only the last push brought something"
    card = repo.tree()["README.md"].data
    assert card is not None
    body = card.decode().split("---", 2)[2]
    assert body.index("**NOT CERTIFIED**: nobody has measured") < body.index("## ")


def test_an_audit_that_fell_short_is_refused_with_its_reason(
    tmp_path: Path, hub: LoopbackHub, finished_run: Path
) -> None:
    ready = certify(Path(shutil.copytree(finished_run, tmp_path / "run")), passed=False)
    result = push(ready, "owner/pets", hub.environment(tmp_path / "home"))
    assert result.code == 3
    assert "policy: The audit fell short." in result.err
    assert hub.requests == []
    assert read_status(ready)["exit_code"] == 3


def type_in(command: list[str], env: dict[str, str], words: str) -> tuple[int, str]:
    """Run a command at a terminal and type a line."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        command, env={**os.environ, **env}, stdin=child, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    os.close(child)
    os.write(parent, f"{words}\n".encode())
    _, err = process.communicate(timeout=300)
    os.close(parent)
    return process.returncode, err


def test_public_is_asked_once_more_and_comes_last(ready: Path, tmp_path: Path, hub: LoopbackHub) -> None:
    env = hub.environment(tmp_path / "home") | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "rem_release", "push", str(ready), "owner/pets", "--public", "--gated", "manual"]
    unasked = subprocess.run(
        command, env={**os.environ, **env}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert unasked.returncode == 2
    assert "owner/pets becomes public" in unasked.stderr
    assert "--yes" in unasked.stderr
    code, err = type_in(command, env, "owner/pet")
    assert (code, hub.repo("owner/pets")) == (2, None)
    assert "not confirmed; nothing was sent" in err
    code, err = type_in(command, env, "owner/pets")
    assert code == 0, err
    repo = hub.repo("owner/pets")
    assert repo is not None
    assert (repo.private, repo.gated) == (False, "manual")
    settings = [index for index, request in enumerate(hub.requests) if request.path.endswith("/settings")]
    last = max(index for index, request in enumerate(hub.requests) if "/commit/" in request.path)
    proof = max(index for index, request in enumerate(hub.requests) if request.origin == "storage")
    assert len(settings) == 2
    assert settings[0] < last < proof < settings[1], "gated before the upload, public after the proof"


def test_versions(ready: Path, tmp_path: Path, hub: LoopbackHub, certified: Path) -> None:
    """The same again changes nothing; a new card is a new version; a clean split comes, and goes, on request only."""
    env = hub.environment(tmp_path / "home")
    first, again, card = push_many(
        env,
        [
            (ready, "owner/pets", "--gated", "auto"),
            (ready, "owner/pets"),
            (ready, "owner/pets", "--card-field", "license=cc-by-4.0", "--tag", "licensed"),
        ],
    )
    assert [first.code, again.code, card.code] == [0, 0, 0], (first.err, again.err, card.err)
    repo = hub.repo("owner/pets")
    assert repo is not None
    assert repo.gated == "auto"
    assert len(repo.main_trees) == 3
    assert set(repo.refs) == {"refs/heads/main", "refs/tags/v1", "refs/tags/licensed"}
    assert b"license: cc-by-4.0" in (repo.tree()["README.md"].data or b"")
    split, gone, taken = push_many(
        env,
        [
            (ready, "owner/pets", "--publish-clean-split", f"test={certified.parent / 'pictures/test'}"),
            (ready, "owner/pets"),
            (ready, "owner/pets", "--card-field", "license=mit", "--tag", "v1"),
        ],
    )
    assert [split.code, gone.code] == [0, 0], (split.err, gone.err)
    assert "clean/test-00000-of-00001.parquet" in repo.main_trees[3]
    assert "the split test are clean, by the owner's choice" in split.out
    assert "load_dataset, split test: 4 images" in split.out
    assert "clean/test-00000-of-00001.parquet" not in repo.main_trees[4]
    assert repo.tree("refs/tags/licensed").keys() == repo.tree().keys()
    assert set(repo.refs) >= {"refs/tags/v2", "refs/tags/v3"}
    assert taken.code == 2
    assert "--tag v1 names another version" in taken.err
    assert len(repo.main_trees) == 5
    assert max(hub.uploads.values()) == 1, "nothing was sent twice"


def test_the_same_pictures_never_go_out_with_a_second_noise(
    ready: Path, tmp_path: Path, hub: LoopbackHub, certified: Path, recipe: Path
) -> None:
    """More pictures under the noise that is out are fine; another noise for them is not."""
    pictures = certified.parent / "pictures/train"
    other = tmp_path / "other"
    succeed("protect", pictures, "--out", other, "--recipe", recipe, "--seed", "7")
    more = Path(shutil.copytree(pictures, tmp_path / "more"))
    draw_classes(tmp_path / "new", seed=500, count=3)
    for number, path in enumerate(sorted((tmp_path / "new").rglob("*.png"))):
        path.rename(more / path.parent.name / f"new{number}.png")
    wider = tmp_path / "wider"
    succeed("protect", more, "--out", wider, "--generator", ready)
    env = hub.environment(tmp_path / "home")
    pushes = [(run, "owner/pets") for run in (ready, certify(other), certify(wider))]
    first, second, third = push_many(env, pushes)
    assert first.code == 0, first.err
    assert second.code == 3
    assert "second noise: row 0 is out with other noise as row 0 of data/train" in second.err
    same = set(staged(ready)) <= set(staged(wider))
    assert third.code == (0 if same else 3), third.err
    repo = hub.repo("owner/pets")
    assert repo is not None
    assert len(repo.main_trees) == 2 + same
    assert not same or set(staged(ready)) < set(load(hub, tmp_path / "loaded", "owner/pets"))


def test_large_files_go_in_parts(ready: Path, tmp_path: Path, hub: LoopbackHub) -> None:
    hub.lfs_chunk_size = 2000
    hub.multipart_threshold = 2000
    result = push(ready, "owner/pets", hub.environment(tmp_path / "home"))
    assert result.code == 0, result.err
    assert load(hub, tmp_path / "other", "owner/pets") == staged(ready)


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
    (tmp_path / "run/private/options.json").write_text("{}")
    result = run("push", tmp_path / "run", "owner/pets")
    assert result.code == 2
    assert "finish the run with --resume" in result.err
