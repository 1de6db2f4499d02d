"""Pushes of a few hundred files that are killed: `main` shows all or nothing, and the next push goes on."""

import hashlib
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command_line import Result, draw_classes, read_status, succeed
from tests.forks import Forks
from tests.loopback_hub import LoopbackHub, Repo
from tests.pushes import certify, cut_into_shards, read_receipt

IMAGES = 240
MAIN = "refs/heads/main"
STOPPED = "stopped; push again: it goes on where it stopped"
Stop = Callable[[], bool]


@dataclass(frozen=True)
class Place:
    """A Hub, and processes that push to it."""

    hub: LoopbackHub
    forks: Forks
    xet: bool

    def push(self, run: Path, name: str, stop: Stop | None = None, how: signal.Signals = signal.SIGKILL) -> Result:
        """A push to `owner/NAME`, which is sent a signal when `stop` says so."""
        return self.forks.run("push", run, f"owner/{name}", stop=stop, how=how)

    def repo(self, name: str) -> Repo:
        repo = self.hub.repo(f"owner/{name}")
        assert repo is not None
        return repo

    def count(self, name: str, part: str) -> int:
        """Requests about the repository so far whose path has this part."""
        return sum(f"owner/{name}" in request.path and part in request.path for request in list(self.hub.requests))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, recipe: Path) -> Path:
    """A run with a certificate whose every image stands in a data file of its own. Not to be changed."""
    folder = tmp_path_factory.mktemp("large")
    draw_classes(folder / "images", count=IMAGES // 2)
    succeed("protect", folder / "images", "--out", folder / "run", "--recipe", recipe)
    return certify(cut_into_shards(folder / "run", 1))


def open_place(folder: Path, process_env: dict[str, str], *, xet: bool, merge: str) -> Iterator[Place]:
    with LoopbackHub(folder / "hub") as hub:
        hub.merge = merge
        env = process_env | hub.environment(folder / "home", xet=xet)
        with Forks(env, folder / "forks") as forks:
            yield Place(hub, forks, xet)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, process_env: dict[str, str]) -> Iterator[Place]:
    """Uploads by LFS; a pull request is merged as one commit."""
    yield from open_place(tmp_path_factory.mktemp("plain"), process_env, xet=False, merge="squash")


@pytest.fixture(scope="module")
def xet(tmp_path_factory: pytest.TempPathFactory, process_env: dict[str, str]) -> Iterator[Place]:
    """Uploads by Xet; a pull request is merged with all its commits."""
    yield from open_place(tmp_path_factory.mktemp("xet"), process_env, xet=True, merge="keep")


@pytest.fixture
def run(tmp_path: Path, large: Path) -> Path:
    """A copy of `large` with a `private/` of its own."""
    return Path(shutil.copytree(large, tmp_path / "run"))


def hashes(run: Path) -> dict[str, str]:
    release = run / "release"
    files = [path for path in release.rglob("*") if path.is_file()]
    return {path.relative_to(release).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def count_bytes(run: Path) -> int:
    return sum(path.stat().st_size for path in (run / "release").rglob("*") if path.is_file())


def shown(repo: Repo) -> list[dict[str, str]]:
    """All that main ever showed, less what is the Hub's own."""
    return [{name: file.sha256 for name, file in tree.items() if name != ".gitattributes"} for tree in repo.main_trees]


def after_requests(place: Place, name: str, part: str, count: int, seconds: float = 0.0) -> Stop:
    """So many seconds after so many more requests whose path has this part."""
    wanted, moment = place.count(name, part) + count, 0.0

    def stop() -> bool:
        nonlocal moment
        if not moment and place.count(name, part) >= wanted:
            moment = time.monotonic() + seconds
        return bool(moment) and time.monotonic() >= moment

    return stop


def after_commits(place: Place, name: str, count: int) -> Stop:
    """When the repository has so many commits."""
    return lambda: (repo := place.hub.repo(f"owner/{name}")) is not None and len(repo.commits) >= count


def after_merge(place: Place, name: str) -> Stop:
    return lambda: (repo := place.hub.repo(f"owner/{name}")) is not None and len(repo.main_trees) > 1


def kill(place: Place, run: Path, name: str, stop: Stop) -> None:
    result = place.push(run, name, stop)
    assert result.code == -signal.SIGKILL, (result.code, result.err)
    record = run / "private" / "push.json"  # a push that has begun is on record, without a commit
    assert not record.exists() or read_receipt(run)["pushes"][-1]["commit"] is None


def finish(place: Place, run: Path, name: str, earlier: tuple[dict[str, str], ...] = ({},)) -> Repo:
    """Push to the end: the repository is whole, and main never showed anything but that and what was `earlier`."""
    result = place.push(run, name)
    assert result.code == 0, result.err
    repo = place.repo(name)
    assert shown(repo) == [*earlier, hashes(run)], "neither a partial nor another dataset, and merged once"
    assert [discussion.status for discussion in repo.discussions.values()] == ["merged"] * len(earlier)
    assert repo.refs[f"refs/tags/v{len(earlier)}"] == repo.refs[MAIN] == read_receipt(run)["pushes"][-1]["commit"]
    assert read_status(run) == {"state": "done", "exit_code": 0, "message": ""}
    return repo


def test_killed_between_uploads_and_commits(plain: Place, run: Path) -> None:
    draws, before = random.Random(0), Counter(plain.hub.uploads)
    kill(plain, run, "pets", after_requests(plain, "pets", "/preupload/", draws.randint(2, 9), draws.random() / 50))
    kill(plain, run, "pets", after_commits(plain, "pets", draws.randint(3, 5)))
    kill(plain, run, "pets", after_merge(plain, "pets"))
    assert "refs/tags/v1" not in plain.repo("pets").refs
    repo = finish(plain, run, "pets")
    large = {file.sha256 for file in repo.tree().values() if file.is_lfs}
    assert len(large) > IMAGES
    assert plain.hub.uploads - before == dict.fromkeys(large, 1)


def test_interrupted_and_pushed_again(xet: Place, run: Path) -> None:
    """One line and the exit code of the signal; what Xet's store has is not stored again."""
    stop = after_requests(xet, "dogs", "/preupload/", 5, 0.005)
    result = xet.push(run, "dogs", stop, signal.SIGTERM)
    assert result.code == 128 + signal.SIGTERM, result.err
    assert result.err.strip().splitlines()[-1] == STOPPED
    assert read_status(run) == {"state": "failed", "exit_code": 143, "message": "terminated"}
    stop = after_requests(xet, "dogs", "/preupload/", 9, 0.005)
    result = xet.push(run, "dogs", stop, signal.SIGINT)
    assert result.code == 128 + signal.SIGINT, result.err
    assert result.err.strip().splitlines()[-1] == STOPPED
    assert read_status(run) == {"state": "failed", "exit_code": 130, "message": "interrupted"}
    finish(xet, run, "dogs")
    assert xet.hub.xet_bytes() < 1.1 * count_bytes(run)


def test_another_commit_on_main_is_never_overwritten(plain: Place, run: Path) -> None:
    """Somebody commits while the pull request grows: it is not merged, and the next push refuses the repository."""
    planted: list[str] = []

    def plant() -> bool:
        if not planted and plain.count("moved", "/commit/") > 2:
            planted.append(plain.repo("moved").plant({"notes.txt": b"mine"}))
        return False

    result = plain.push(run, "moved", plant)
    repo = plain.repo("moved")
    assert result.code == 1
    assert repo.refs[MAIN] == planted[0]
    assert len(repo.main_trees) == 2
    assert f"main moved from {repo.head.parent:.12} to {planted[0]:.12}" in result.err.splitlines()[-1]
    assert "Traceback" not in result.err
    again = plain.push(run, "moved")
    assert again.code == 3
    assert f"{planted[0]:.12}" in again.err
    assert "it was not made by rem-release: it holds notes.txt" in again.err
    assert repo.refs[MAIN] == planted[0]


def draw_stop(place: Place, name: str, draws: random.Random) -> Stop:
    """A moment somewhere in a push."""
    pause = draws.choice([0, 0.001, 0.005, 0.02, 0.1])
    return draws.choice(
        [
            lambda: after_requests(place, name, "", draws.randint(1, 150), pause),
            lambda: after_requests(place, name, "/preupload/", draws.randint(1, 20), pause),
            lambda: after_requests(place, name, "/commit/", draws.randint(1, 3), pause),
            lambda: after_requests(place, name, "/merge", 1, pause),
            lambda: after_requests(place, name, "/resolve/", draws.randint(1, 300), pause),
            lambda: after_requests(place, name, "/tag/", 1, pause),
        ]
    )()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mode", ["plain", "xet"])
def test_stopped_at_random_moments(
    mode: str, seed: int, run: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Two versions, the second with other files, each pushed again and again until it is out."""
    place: Place = request.getfixturevalue(mode)
    draws, before, name = random.Random(seed), Counter(place.hub.uploads), f"random{seed}"
    size = place.hub.xet_bytes()
    second = certify(cut_into_shards(Path(shutil.copytree(run, tmp_path / "second")), 2))
    earlier: tuple[dict[str, str], ...] = ({},)
    for version in (run, second):
        for _ in range(8):
            how = draws.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
            result = place.push(version, name, draw_stop(place, name, draws), how)
            if "Published:" in result.out:  # a signal came too late, while the process was leaving
                break
            assert result.code == (-signal.SIGKILL if how == signal.SIGKILL else 128 + how), result.err
            assert "Traceback" not in result.err, result.err
        finish(place, version, name, earlier)
        earlier = (*earlier, hashes(version))
    assert set((place.hub.uploads - before).values()) <= {1}
    assert place.hub.xet_bytes() - size < 1.1 * (count_bytes(run) + count_bytes(second))
