"""What a repository holds already: a push goes only on top of nothing, or of what this tool itself has published."""

import copy
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rem_release.gate.amend import amend_release
from rem_release.gate.published import DELETE
from rem_release.hub.upload import describe_of, title_of
from rem_release.release.documents import read_facts
from rem_release.release.run_folder import RunFolder
from tests.command_line import Result, draw_classes, succeed
from tests.loopback_hub import LoopbackHub, Repo
from tests.push_worker import PushWorker
from tests.pushes import certify

DATA = "data/train-00000-of-00001.parquet"
MAIN, CONVERTED = "refs/heads/main", "refs/convert/parquet"
IF_OURS = f"if that shows images of this release, clean or with other noise, {DELETE}"
CLOSE = "close the pull request and have its ref removed, or push to a new name"
UNAUDITED = ("--allow-uncertified", "--yes")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    with LoopbackHub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture(autouse=True)
def _no_faults_of_other_tests(hub: LoopbackHub) -> None:
    hub.faults.clear()


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory, hub: LoopbackHub) -> Iterator[PushWorker]:
    with PushWorker(hub, tmp_path_factory.mktemp("worker")) as worker:
        yield worker


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory, finished_run: Path) -> Path:
    """A run to be pushed; not audited, which is quicker."""
    return Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("ready") / "run"))


@pytest.fixture
def new_card(tmp_path: Path, ready: Path) -> Path:
    """`ready` with another card: a new version of the same data."""
    run = Path(shutil.copytree(ready, tmp_path / "new_card"))
    amend_release(RunFolder(run), run / "release", ("license=cc-by-4.0",), None, None, None)
    return run


@pytest.fixture(scope="module")
def published(worker: PushWorker, hub: LoopbackHub, ready: Path) -> Repo:
    """The repository after a first push of `ready`."""
    result = worker.push(ready, "owner/published", *UNAUDITED)
    assert result.code == 0, result.err
    return hub.repos["owner/published"]


@pytest.fixture
def repo(published: Repo, hub: LoopbackHub, request: pytest.FixtureRequest) -> Repo:
    """The same under a name of the test's own, to be changed."""
    return copy_repo(hub, published, f"owner/test{len(hub.repos)}")


def copy_repo(hub: LoopbackHub, repo: Repo, name: str) -> Repo:
    hub.repos[name] = copy.deepcopy(repo)
    hub.repos[name].id = name
    return hub.repos[name]


def publish(hub: LoopbackHub, run: Path) -> Repo:
    """A repository that holds the release of a run as a push leaves it."""
    release = run / "release"
    digest = read_facts(release).digest
    files = {path.relative_to(release).as_posix(): path.read_bytes() for path in release.rglob("*") if path.is_file()}
    repo = hub.create_repo(f"owner/test{len(hub.repos)}")
    repo.plant(files, title=title_of(digest), message=describe_of(digest))
    return repo


def clean_image() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 30)).save(file, "PNG")
    return file.getvalue()


def refuse(hub: LoopbackHub, worker: PushWorker, run: Path, repo: Repo, *options: object) -> str:
    """A push that the gate refuses, after which the repository is as it was; what it says."""
    refs, objects, first = dict(repo.refs), set(repo.objects), len(hub.requests)
    result = worker.push(run, repo.id, *UNAUDITED, *options)
    assert result.code == 3, result.err
    assert "Traceback" not in result.err
    asked = {(request.method, request.route) for request in hub.requests[first:]} - {("POST", "/api/validate-yaml")}
    assert {method for method, _ in asked} <= {"GET", "HEAD"}, "the Hub was only asked"
    assert (repo.refs, set(repo.objects)) == (refs, objects)
    return result.err[result.err.index("error: nothing was sent to") :]


def pass_gate(hub: LoopbackHub, worker: PushWorker, run: Path, repo_id: str, *options: object) -> Result:
    """A push that the gate lets through; it ends at its first commit, which is quicker than a whole one."""
    hub.faults.add("POST", f"/{repo_id}/commit/", "status", status=403, message="that will do")
    result = worker.push(run, repo_id, *UNAUDITED, *options)
    assert not hub.faults.waiting, result.err
    assert (result.code, "that will do" in result.err) == (1, True), result.err
    return result


def plant_clean_then_delete(repo: Repo, ref: str) -> str:
    commit = repo.plant({"preview/0.png": clean_image()}, ref=ref, title="Add a preview")
    repo.plant({"preview/0.png": None}, ref=ref, title="Delete it again")
    return f"{ref}, commit {commit[:12]} ('Add a preview'): preview/0.png is not listed in its protection.json"


def plant_an_image(repo: Repo, ref: str) -> str:
    commit = repo.plant({"a.png": clean_image()}, ref=ref)
    owner = ", in a pull request by somebody" if ref.startswith("refs/pr/") else ""
    return f"{ref}, commit {commit[:12]} ('a commit'): a.png is not listed in its protection.json{owner}"


def plant_and_close(repo: Repo, ref: str) -> str:
    words = plant_an_image(repo, ref)
    repo.discussions[int(ref.removeprefix("refs/pr/"))].change_status("somebody", "closed")
    return words


def plant_a_text(repo: Repo, ref: str) -> str:
    repo.plant({"notes.txt": b"see also"}, ref=ref, title="Upload notes.txt with huggingface_hub")
    return f"{ref}, commit {repo.refs[ref][:12]} ('Upload notes.txt with huggingface_hub'): notes.txt is not listed"


def edit_the_card(repo: Repo, ref: str) -> str:
    card = repo.tree()["README.md"].data or b""
    repo.plant({"README.md": card + b"\nBy hand.\n"}, ref=ref, title="Update README.md")
    return "('Update README.md'): README.md is not the file that its protection.json lists"


def change_the_data(repo: Repo, ref: str) -> str:
    commit = repo.plant({DATA: b"PAR1"}, ref=ref, title=repo.head.title, message=repo.head.message)
    return f"{ref}, commit {commit[:12]} ({repo.head.title!r}): {DATA} is not the file that its protection.json lists"


def take_files_out(repo: Repo, ref: str) -> str:
    repo.plant({name: None for name in repo.tree() if name.startswith("figures/")}, ref=ref, title="Tidy up")
    return "('Tidy up'): it does not have the marker of a push of rem-release"


def damage_the_facts(repo: Repo, ref: str) -> str:
    facts = repo.tree()["protection.json"].data or b""
    repo.plant({"protection.json": facts.replace(b"8/255", b"9/255")}, ref=ref, title="Count again")
    return "('Count again'): protection.json is damaged or was edited"


def take_the_facts_out(repo: Repo, ref: str) -> str:
    repo.plant({"protection.json": None}, ref=ref, title="Less")
    figures = "figures/noise.png, figures/protected.png"
    return f"('Less'): it was not made by rem-release: it holds README.md, {DATA}, {figures} and no protection.json"


def empty_what_was_foreign(repo: Repo, ref: str) -> str:
    ours: dict[str, bytes | None] = {name: None for name in repo.tree() if name != ".gitattributes"}
    commit = repo.plant({**ours, "0.png": clean_image(), "1.png": clean_image()}, ref=ref, title="Dataset")
    repo.plant({"0.png": None, "1.png": None}, ref=ref, title="Empty it")
    return f"commit {commit[:12]} ('Dataset'): it was not made by rem-release: it holds 0.png, 1.png and no"


def squash(repo: Repo, ref: str) -> str:
    made = repo.add_commit("Super-squash branch 'main'", "", "owner", (), repo.head.tree)
    repo.refs = {ref: made.id}
    return f"commit {made.id[:12]} (\"Super-squash branch 'main'\"): it does not have the marker"


def grow_the_attributes(repo: Repo, ref: str) -> str:
    commit = repo.plant({".gitattributes": b"*.png -text\n" * 2000}, ref=ref)
    return f"{ref}, commit {commit[:12]} ('a commit'): .gitattributes is not the Hub's own"


def put_an_image_into_the_attributes(repo: Repo, ref: str) -> str:
    commit = repo.plant({".gitattributes": clean_image()}, ref=ref)
    return f"{ref}, commit {commit[:12]} ('a commit'): .gitattributes is not the Hub's own"


def put_the_attributes_into_lfs(repo: Repo, ref: str) -> str:
    tree = {**repo.tree(), ".gitattributes": repo.objects[repo.add_lfs_orphan(b"*.png -text\n")].file}
    commit = repo.add_commit("attributes", "", "somebody", (repo.head.id,), tree)
    repo.set_ref(ref, commit.id)
    return f"{ref}, commit {commit.id[:12]} ('attributes'): .gitattributes is not the Hub's own"


def add_an_orphan(repo: Repo, ref: str) -> str:
    sha256 = repo.add_lfs_orphan(b"an upload without a commit")
    return f"the storage holds an object (26 bytes, {sha256[:12]}…), which no release explains"


def convert(repo: Repo, data: bytes) -> str:
    """Let the Hub convert the data to these bytes."""
    others: dict[str, bytes | None] = {name: None for name in repo.tree() if name != ".gitattributes"}
    files = {"default/train/0000.parquet": data}
    return repo.plant(files if CONVERTED in repo.refs else others | files, ref=CONVERTED, author="parquet-converter")


def convert_foreign_images(repo: Repo, ref: str) -> str:
    commit = convert(repo, clean_image())
    return f"converted data: {ref}, commit {commit[:12]}, holds default/train/0000.parquet"


GROUPS: dict[str, list[tuple[Callable[[Repo, str], str], str]]] = {
    "refs": [
        (plant_clean_then_delete, MAIN),
        (plant_an_image, "refs/heads/old"),
        (plant_an_image, "refs/tags/v0"),
        (plant_an_image, "refs/pr/1"),
        (plant_and_close, "refs/pr/2"),
        (convert_foreign_images, CONVERTED),
        (add_an_orphan, ""),
    ],
    "edits": [
        (plant_a_text, MAIN),
        (edit_the_card, "refs/heads/a"),
        (change_the_data, "refs/heads/b"),
        (take_files_out, "refs/heads/c"),
        (damage_the_facts, "refs/heads/d"),
    ],
    "attributes": [
        (grow_the_attributes, MAIN),
        (put_an_image_into_the_attributes, "refs/heads/a"),
        (put_the_attributes_into_lfs, "refs/heads/b"),
        (take_the_facts_out, "refs/heads/c"),
    ],
    "emptied": [(empty_what_was_foreign, MAIN)],
    "squashed": [(squash, MAIN)],
    "only an orphan": [(add_an_orphan, "")],
    "only converted": [(convert_foreign_images, CONVERTED)],
}


@pytest.mark.parametrize("group", GROUPS)
def test_what_is_no_push_of_this_tool_is_refused(
    hub: LoopbackHub, worker: PushWorker, ready: Path, repo: Repo, group: str
) -> None:
    """All of it is named at once, each with its ref and commit."""
    words = [plant(repo, ref) for plant, ref in reversed(GROUPS[group])]
    said = refuse(hub, worker, ready, repo)
    assert [word for word in words if word not in said] == [], said
    for line in said.splitlines()[1:]:
        assert IF_OURS in line
        assert line.endswith("; else push to a new name: what was uploaded once stays in the history of the repository")


def test_texts_of_somebody_else_need_a_new_name_and_nothing_more(
    hub: LoopbackHub, worker: PushWorker, ready: Path, repo: Repo
) -> None:
    repo.plant({f"notes {number}.txt": b"see also" for number in range(8)}, title="Notes")
    words = [", ".join(f"notes {number}.txt" for number in range(5)), edit_the_card(repo, "refs/heads/a")]
    said = refuse(hub, worker, ready, repo)
    assert f"('Notes'): {words[0]} and 3 more files are not listed in its protection.json;" in said
    assert words[1] in said
    assert said.rstrip().endswith(
        "lists; push to a new name: what was uploaded once stays in the history of the repository"
    )
    assert "delete" not in said


@pytest.mark.parametrize(
    ("files", "advice"),
    [
        ({"notes.txt": b"see also"}, f"; {CLOSE}"),
        ({"a.md": clean_image() * 2000, "b.txt": b"more"}, f"; {IF_OURS}; else {CLOSE}"),
    ],
)
def test_a_pull_request_of_a_stranger_names_the_stranger(
    hub: LoopbackHub, worker: PushWorker, ready: Path, repo: Repo, files: dict[str, bytes | None], advice: str
) -> None:
    """Long texts may be anything. Where the Hub has forgotten who it was, the push says so."""
    repo.plant(files, ref="refs/pr/1", author="mallory", title="A gift")
    history = next(line for line in refuse(hub, worker, ready, repo).splitlines() if line.startswith("  history: "))
    assert "not listed in its protection.json, in a pull request by mallory; " in history
    assert history.endswith(advice)
    del repo.discussions[1]
    assert ", in a pull request by somebody unknown; " in refuse(hub, worker, ready, repo)


def test_a_commit_of_another_release_under_our_marker(
    hub: LoopbackHub, worker: PushWorker, ready: Path, repo: Repo, another: Path, tmp_path: Path
) -> None:
    """The marker names one release, the documents are those of another."""
    head, certified = repo.head, certify(Path(shutil.copytree(another, tmp_path / "certified"))) / "release"
    facts = {"protection.json": (another / "release/protection.json").read_bytes()}
    repo.plant(facts, title=head.title, message=head.message)
    certificate = {"audit.json": (certified / "audit.json").read_bytes()}
    repo.refs["refs/heads/audited"] = head.id
    repo.plant(certificate, ref="refs/heads/audited", title=head.title, message=head.message)
    said = refuse(hub, worker, ready, repo)
    assert f"{MAIN}, commit {repo.head.id[:12]} ({head.title!r}): README.md, {DATA}, figures/" in said
    assert "are not the files that its protection.json lists" in said
    assert "its audit.json is of other data" in said


def rewrite(data: bytes, change: Callable[[pa.Table], pa.Table] = lambda table: table) -> bytes:
    """The same rows in other bytes, as the Hub may write them when it converts."""
    file = pa.BufferOutputStream()
    pq.write_table(change(pq.read_table(pa.BufferReader(data))), file, row_group_size=2, compression="gzip")
    return file.getvalue().to_pybytes()


def exchange_an_image(table: pa.Table) -> pa.Table:
    images = table.column("image").to_pylist()
    images[3]["bytes"] = clean_image()
    return table.set_column(0, table.schema.field("image"), pa.array(images, table.schema.field("image").type))


def add_a_column(table: pa.Table) -> pa.Table:
    return table.append_column("path", pa.array([f"cats/{row}.jpg" for row in range(len(table))]))


def add_a_thumbnail(table: pa.Table) -> pa.Table:
    images = [{**image, "thumbnail": clean_image()} for image in table.column("image").to_pylist()]
    return table.set_column(0, "image", pa.array(images))


@pytest.mark.parametrize("change", [exchange_an_image, add_a_column, add_a_thumbnail], ids=lambda way: way.__name__)
def test_converted_data_that_say_more_than_the_release(
    hub: LoopbackHub, worker: PushWorker, ready: Path, repo: Repo, change: Callable[[pa.Table], pa.Table]
) -> None:
    data = (ready / "release" / DATA).read_bytes()
    convert(repo, rewrite(data, change))
    said = refuse(hub, worker, ready, repo)
    assert f"converted data: {CONVERTED}, commit" in said
    assert "holds default/train/0000.parquet" in said


def test_copies_that_the_hub_made_are_fine(
    hub: LoopbackHub, worker: PushWorker, ready: Path, repo: Repo, new_card: Path
) -> None:
    """First the file as it is, then written anew, and further refs that show our own commits."""
    data = (ready / "release" / DATA).read_bytes()
    convert(repo, data)
    convert(repo, rewrite(data))
    assert len(repo.objects) == 4, "figures, data and the data in other bytes"
    repo.refs["refs/heads/draft"] = repo.refs["refs/pr/7"] = repo.head.id
    pass_gate(hub, worker, new_card, repo.id)


def test_a_repository_that_its_owner_made_and_left_empty(hub: LoopbackHub, worker: PushWorker, ready: Path) -> None:
    made = hub.create_repo("owner/made", private=False)
    lines = b"# Image files - compressed\n*.jxl filter=lfs diff=lfs merge=lfs -text\n"
    made.plant({".gitattributes": (made.tree()[".gitattributes"].data or b"") + lines})
    pass_gate(hub, worker, ready, "owner/made")
    assert not made.private, "its visibility is as its owner chose"


@pytest.mark.parametrize("merge", [pytest.param("squash", marks=pytest.mark.slow), "keep"])
def test_interrupted_and_merged_pull_requests_are_our_own(
    hub: LoopbackHub, worker: PushWorker, ready: Path, new_card: Path, merge: str
) -> None:
    """A push in parts that broke off, the same again, and then another version on top of the merge."""
    name = f"owner/{merge}"
    hub.create_repo(name).merge = merge
    sent = hub.uploads.copy()
    hub.faults.add("POST", f"/{name}/commit/refs%2Fpr", "status", status=403, message="no more", skip=1)
    broken = worker.push(ready, name, *UNAUDITED, parts=2)
    assert broken.code == 1
    assert "no more" in broken.err
    repo = hub.repos[name]
    assert set(repo.tree()) == {".gitattributes"}
    assert len(repo.tree("refs/pr/1")) > 4
    whole = worker.push(ready, name, *UNAUDITED, parts=2)
    assert whole.code == 0, whole.err
    assert set(repo.discussions) == {1}, "the second push went on where the first one stopped"
    assert hub.uploads - sent == dict.fromkeys(repo.objects, 1), "and sent nothing twice"
    pass_gate(hub, worker, new_card, name)


def test_a_main_that_moves_while_the_push_is_on_its_way(
    hub: LoopbackHub, worker: PushWorker, new_card: Path, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's commit between the gate and ours stays, and is named."""
    strike = hub.faults.strike
    moved: list[str] = []

    def move(request: object) -> object:
        if "/preupload/" in getattr(request, "path", "") and not moved:
            moved.append(repo.plant({"theirs.txt": b"theirs"}))
        return strike(request)  # type: ignore[arg-type]

    monkeypatch.setattr(hub.faults, "strike", move)
    result = worker.push(new_card, repo.id, *UNAUDITED)
    assert result.code == 1, result.err
    assert result.err.splitlines()[-1].startswith(f"error: {repo.id}: main moved from ")
    assert moved[0][:12] in result.err
    assert "nothing was overwritten" in result.err
    assert repo.head.id == moved[0]


def test_a_repository_that_hides_at_first_is_looked_at_before_it_is_used(
    hub: LoopbackHub, worker: PushWorker, ready: Path
) -> None:
    """A 404 makes the gate believe that there is none; what then turns out to be there is not taken for new."""
    repo = hub.create_repo("owner/hidden")
    repo.plant({"0.png": clean_image()}, title="Dataset")
    hub.faults.add("GET", "/api/datasets/owner/hidden$", "status", status=404, error_code="RepoNotFound")
    result = worker.push(ready, "owner/hidden", *UNAUDITED)
    assert result.code == 3, result.err
    assert "('Dataset'): it was not made by rem-release: it holds 0.png" in result.err
    assert set(repo.tree()) == {".gitattributes", "0.png"}
    assert len(repo.objects) == 1


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory, photographs: Path, recipe: Path) -> Path:
    """The same photographs under another noise."""
    out = tmp_path_factory.mktemp("another") / "run"
    succeed("protect", photographs, "--out", out, "--recipe", recipe, "--seed", "5")
    return out


def test_a_second_noise_on_the_same_images(hub: LoopbackHub, worker: PushWorker, repo: Repo, another: Path) -> None:
    said = refuse(hub, worker, another, repo)
    assert f"row 0 is published with other noise as row 0 of {DATA} at {repo.head.id[:12]}, at most " in said
    assert "row 4 is published with other noise as row 4" in said
    assert "(and 3 more)" in said or "and 3 more" in said
    assert "two versions of an image average the noise away" in said
    assert f"Publish these images as they are there, or leave them out; to publish this version, {DELETE}" in said


def test_fewer_and_other_images_are_fine(
    hub: LoopbackHub, worker: PushWorker, repo: Repo, tmp_path: Path, recipe: Path
) -> None:
    draw_classes(tmp_path / "new", seed=3000)
    succeed("protect", tmp_path / "new", "--out", tmp_path / "run", "--recipe", recipe)
    pass_gate(hub, worker, tmp_path / "run", repo.id)


def test_some_of_the_images_under_the_same_noise_are_fine(
    hub: LoopbackHub, worker: PushWorker, ready: Path, photographs: Path, tmp_path: Path
) -> None:
    """The larger release was published first; now some of its images, made again with the same generator."""
    some = Path(shutil.copytree(photographs, tmp_path / "some"))
    (some / "dog/3.png").unlink()
    succeed("protect", some, "--out", tmp_path / "run", "--generator", ready)
    more = publish(hub, ready)
    kept = {row["image"]["bytes"] for row in pq.read_table(ready / "release" / DATA).to_pylist()}
    mine = {row["image"]["bytes"] for row in pq.read_table(tmp_path / "run/release" / DATA).to_pylist()}
    assert (mine <= kept, len(mine)) == (True, 7)
    pass_gate(hub, worker, tmp_path / "run", more.id)


def test_images_that_are_out_clean(
    hub: LoopbackHub, worker: PushWorker, ready: Path, tmp_path: Path, recipe: Path
) -> None:
    """An earlier version had a clean split to test on; now its images are to be protected."""
    draw_classes(tmp_path / "test", seed=4000, count=2)
    earlier = Path(shutil.copytree(ready, tmp_path / "earlier"))
    split = f"test={tmp_path / 'test'}"
    amend_release(RunFolder(earlier), earlier / "release", (), None, split, None)
    repo = publish(hub, earlier)
    succeed("protect", tmp_path / "test", "--out", tmp_path / "run", "--recipe", recipe)
    said = refuse(hub, worker, tmp_path / "run", repo)
    assert "row 3 is published clean as row 3 of clean/test-00000-of-00001.parquet" in said


def test_images_that_were_released_unprotected(
    hub: LoopbackHub, worker: PushWorker, photographs: Path, another: Path, tmp_path: Path, recipe: Path
) -> None:
    options = ("--fraction", "0.5", "--release-unprotected")
    succeed("protect", photographs, "--out", tmp_path / "half", "--recipe", recipe, *options)
    repo = publish(hub, tmp_path / "half")
    assert "second noise: row 0 is published" in refuse(hub, worker, another, repo)


def test_what_stands_in_the_repository_of_somebody_else(hub: LoopbackHub, worker: PushWorker, ready: Path) -> None:
    """A name that others took: nothing of theirs is shown to us, and we may not write."""
    hub.create_repo("other/pets")
    result = worker.push(ready, "other/pets", *UNAUDITED)
    assert result.code == 1
    assert result.err.splitlines()[-1].startswith("error: creating the repository: the Hub answers 403 for other/pets")
