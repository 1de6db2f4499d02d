"""What a run remembers of its pushes, and that it sees a second noise on images that it published elsewhere."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command_line import Result, draw_classes, run, succeed
from tests.loopback_hub import LoopbackHub, Repo
from tests.push_worker import PushWorker
from tests.pushes import read_receipt

UNAUDITED = ("--allow-uncertified", "--yes")


@dataclass(frozen=True)
class Place:
    """A Hub, and a process that pushes to it."""

    hub: LoopbackHub
    worker: PushWorker

    def push(self, run_folder: Path, repo: str, *options: object, code: int = 0) -> Result:
        """A push of what was not audited, which is quicker; it ends with this exit code."""
        result = self.worker.push(run_folder, repo, *UNAUDITED, *options)
        assert result.code == code, (result.code, result.err)
        return result

    def begin(self, run_folder: Path, repo: str, *options: object) -> None:
        """A push that ends at its first commit, which is quicker than a whole one."""
        self.hub.faults.add("POST", f"/{repo}/commit/", "status", status=403, message="no more")
        assert "no more" in self.push(run_folder, repo, *options, code=1).err

    def repo(self, name: str) -> Repo:
        return self.hub.repos[name]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with (
        LoopbackHub(tmp_path_factory.mktemp("hub")) as hub,
        PushWorker(hub, tmp_path_factory.mktemp("worker")) as worker,
    ):
        yield Place(hub, worker)


@pytest.fixture
def ready(tmp_path: Path, finished_run: Path) -> Path:
    """A run to be pushed, which a test may change."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def change_noise(run: Path, images: Path, recipe: Path) -> Path:
    """Replace a run by one of the same images with other noise."""
    succeed("protect", images, "--out", run, "--recipe", recipe, "--seed", "7", "--overwrite")
    return run


def gate_says(place: Place, run_folder: Path, repo: str, name: str) -> tuple[bool | None, str]:
    """What a dry run says under the name of a check; the Hub is not asked."""
    asked = len(place.hub.requests)
    plan = place.worker.push(run_folder, repo, "--dry-run", "--json", *UNAUDITED)
    assert len(place.hub.requests) == asked
    check = next(check for check in plan.json["gate"] if check["name"] == name)
    return check["passed"], check["detail"]


def test_receipts_are_kept(ready: Path, place: Place, photographs: Path, recipe: Path) -> None:
    """Of every push, the newest last; a run that takes the place of this one keeps them, and nothing else."""
    names = ["owner/kept", "owner/also", "owner/again"]
    for name in names:
        place.begin(ready, name)
    before = read_receipt(ready)["pushes"]
    assert [one["repo"] for one in before] == names
    assert {one["source"] for one in before} == {str(photographs)}
    (notes,) = (ready / "private").glob("published-*")
    noted = notes.read_bytes()
    assert notes.name == f"published-{before[0]['digest'][:12]}.parquet"
    (ready / "private/skipped.csv").write_text("from before")
    change_noise(ready, photographs, recipe)
    assert read_receipt(ready)["pushes"] == before
    assert notes.read_bytes() == noted
    assert not (ready / "private/skipped.csv").exists()


def test_a_second_noise_in_another_repository_is_refused(
    ready: Path, place: Place, photographs: Path, recipe: Path, tmp_path: Path
) -> None:
    """Before any network. The same bytes may go anywhere, and other noise once the owner says they are gone."""
    same = Path(shutil.copytree(ready, tmp_path / "same"))
    place.push(ready, "owner/first")
    assert not [name for name in place.repo("owner/first").tree() if "push" in name or "published" in name]
    shutil.copy(ready / "private/push.json", same / "private")
    shutil.copy(next((ready / "private").glob("published-*")), same / "private")
    assert gate_says(place, same, "owner/second", "earlier pushes")[0] is True
    url = read_receipt(ready)["pushes"][0]["url"]
    change_noise(ready, photographs, recipe)
    asked = len(place.hub.requests)
    refused = place.push(ready, "owner/second", code=3).err
    assert len(place.hub.requests) == asked
    assert (
        f"earlier pushes: 8 of these images are published in another form, or were being sent, at {url} (digest"
        in refused
    )
    assert "Publish the same bytes again, or first delete that repository there and then its entry in" in refused
    assert str(ready / "private/push.json") in refused
    assert "second noise: row 0 is published" in place.push(ready, "owner/first", code=3).err
    (ready / "private/push.json").write_text('{"pushes": []}')
    assert gate_says(place, ready, "owner/second", "earlier pushes")[0] is True


def test_other_images_may_go_elsewhere_and_clean_ones_count(
    ready: Path, place: Place, photographs: Path, recipe: Path, tmp_path: Path
) -> None:
    """What went out in a clean split must not come out protected; what was never out may."""
    test = draw_classes(tmp_path / "test", count=2, seed=1000)
    place.begin(ready, "owner/split", "--publish-clean-split", f"test={test}")
    place.begin(ready, "owner/whole")
    draw_classes(tmp_path / "new", seed=7000)
    succeed("protect", tmp_path / "new", "--out", ready, "--recipe", recipe, "--overwrite")
    assert gate_says(place, ready, "owner/new", "earlier pushes")[0] is True
    succeed("protect", test, "--out", ready, "--recipe", recipe, "--overwrite")
    passed, words = gate_says(place, ready, "owner/new", "earlier pushes")
    assert passed is False
    assert words.startswith("4 of these images are published in another form")


def test_a_push_that_broke_off_counts(ready: Path, place: Place, photographs: Path, recipe: Path) -> None:
    """Nobody knows what of it is out. When it is made good, one receipt tells of it."""
    for _ in range(2):
        place.begin(ready, "owner/broken")
    (begun,) = read_receipt(ready)["pushes"]
    assert (begun["repo"], begun["commit"]) == ("owner/broken", None)
    kept = Path(shutil.copytree(ready, ready.parent / "kept"))
    change_noise(ready, photographs, recipe)
    assert "earlier pushes: 8 of these" in place.push(ready, "owner/elsewhere", code=3).err
    place.push(kept, "owner/broken")
    (whole,) = read_receipt(kept)["pushes"]
    assert whole["commit"] == place.repo("owner/broken").head.id


def test_where_nobody_noted_which_images_went_out(ready: Path, place: Place, photographs: Path, recipe: Path) -> None:
    """Then the source decides; a receipt of an earlier version, one document by itself, does not say that either."""
    place.begin(ready, "owner/noted")
    next((ready / "private").glob("published-*")).unlink()
    assert gate_says(place, ready, "owner/more", "earlier pushes")[0] is True
    (receipt,) = read_receipt(ready)["pushes"]
    change_noise(ready, photographs, recipe)
    passed, words = gate_says(place, ready, "owner/more", "earlier pushes")
    assert passed is False
    assert f"{receipt['url']} (digest {receipt['digest'][:12]}) holds another release of the same source" in words
    record = ready / "private/push.json"
    record.write_text(json.dumps({"pushes": [receipt | {"source": "elsewhere"}]}))
    assert gate_says(place, ready, "owner/more", "earlier pushes")[0] is True
    del receipt["source"]
    record.write_text(json.dumps(receipt))
    passed, words = gate_says(place, ready, "owner/more", "earlier pushes")
    assert passed is None
    assert "it is not on record which images were published" in words
    place.hub.faults.add("POST", "/owner/more/commit/", "status", status=403)
    assert "not checked: earlier pushes" in place.push(ready, "owner/more", code=1).err
    assert [one["repo"] for one in read_receipt(ready)["pushes"]] == ["owner/noted", "owner/more"]


@pytest.mark.parametrize("text", ["{", "[]", '{"pushes": 3}', '{"pushes": [{"repo": "a/b"}]}'])
def test_a_damaged_record_of_pushes_stops_a_push(ready: Path, text: str) -> None:
    (ready / "private/push.json").write_text(text)
    result = run("push", ready, "owner/pets", "--dry-run")
    assert result.code == 2
    assert "push.json is damaged" in result.err


def test_a_run_that_was_being_replaced_when_it_was_killed(ready: Path, recipe: Path, photographs: Path) -> None:
    """All is gone but the record of what was published: the folder is a run's, and may be replaced."""
    for path in ready.iterdir():
        shutil.rmtree(path)
    (ready / "private").mkdir()
    (ready / "private/push.json").write_text('{"pushes": []}')
    succeed("protect", photographs, "--out", ready, "--recipe", recipe, "--overwrite")
    assert read_receipt(ready) == {"pushes": []}
