"""What is sent is what was checked: files that are written to in place while a push is under way."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rem_release.data.images.decoding import decode
from rem_release.data.images.png_writing import encode_png
from rem_release.data.shards import ShardWriter
from rem_release.errors import RemReleaseError, VerificationError
from rem_release.hub.manifest import Manifest
from rem_release.release.copying import copy_release
from rem_release.release.documents import read_facts
from rem_release.release.schema import read_features
from tests.command_line import Result, released, snapshot
from tests.loopback_hub import LoopbackHub
from tests.push_worker import PushWorker
from tests.pushes import leave_copy

SCRIPT = """
from pathlib import Path
import rem_release.commands.push as command

stages = {name: getattr(command, name) for name in ("_check", "upload")}

def prepare(words):
    stage, when, place, name, data, upload._READ_AT_ONCE = json.loads(words[0])

    def overwrite():
        (path,) = Path(words[2]).glob(f"{place}/{name}")
        with path.open("r+b") as file:
            file.write(Path(data).read_bytes())
            file.truncate()

    def staged(*arguments, **options):
        if when == "before":
            overwrite()
        result = stages[stage](*arguments, **options)
        if when == "after":
            overwrite()
        return result

    for one, function in stages.items():
        setattr(command, one, staged if one == stage else function)
    return words[1:]
"""
"""Pushes in whose middle, before or after a stage of it, somebody writes other bytes into a file, in place."""
IN_RUN, IN_COPY = "release", "private/push-*/release"
DATA = "data/train-00000-of-00001.parquet"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    with LoopbackHub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory, hub: LoopbackHub) -> Iterator[PushWorker]:
    with PushWorker(hub, tmp_path_factory.mktemp("worker"), script=SCRIPT) as worker:
        yield worker


@pytest.fixture
def ready(tmp_path: Path, finished_run: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.fixture
def originals(photographs: Path) -> list[bytes]:
    """The clean images in the order of the release, as PNG."""
    return [encode_png(decode(path.read_bytes())) for path in sorted(photographs.rglob("*.png"))]


@pytest.fixture
def clean(tmp_path: Path, ready: Path, originals: list[bytes]) -> Path:
    """A data file as the release has it, with the clean images in it."""
    facts = read_facts(ready / "release")
    with ShardWriter(tmp_path / "clean", "train", read_features(facts.data.features)) as writer:
        table = pq.read_table(ready / "release" / DATA)
        writer.write(originals, pa.table({"label": table.column("label")}, schema=writer._schema.remove(0)))
    return tmp_path / "clean" / DATA


def push(
    worker: PushWorker, run: Path, name: str, stage: tuple[str, str], place: str, written: tuple[str, Path], most: int
) -> Result:
    """Push while the file `written[0]` gets the bytes of `written[1]`; files above `most` bytes are sent from disk."""
    order = json.dumps([*stage, place, written[0], str(written[1]), most])
    return worker.run(order, "push", run, name, "--allow-uncertified", "--yes")


def received(hub: LoopbackHub, name: str) -> list[bytes]:
    """Every content that the repository has, in every commit."""
    repo = hub.repos.get(name)
    return [file.data for commit in repo.history() for file in commit.tree.values()] if repo else []


def images(contents: list[bytes]) -> set[bytes]:
    """The released images in data files."""
    tables = [pq.read_table(pa.BufferReader(content)) for content in contents if content.startswith(b"PAR1")]
    return {image["bytes"] for table in tables for image in table.column("image").to_pylist()}


@pytest.mark.parametrize("most", [1_000_000, 0])
@pytest.mark.parametrize("place", [IN_RUN, IN_COPY])
@pytest.mark.parametrize("stage", [("_check", "after"), ("upload", "before"), ("upload", "after")])
def test_clean_images_that_come_in_place_of_protected_ones_do_not_go_out(
    hub: LoopbackHub,
    worker: PushWorker,
    ready: Path,
    originals: list[bytes],
    clean: Path,
    stage: tuple[str, str],
    place: str,
    most: int,
) -> None:
    """Written over between the gate's last look and the upload, or between the upload and the proof."""
    protected = {row["image"]["bytes"] for row in released(ready / "release")}
    assert images([clean.read_bytes()]) == set(originals)
    name = f"owner/overwritten{len(hub.requests)}"
    result = push(worker, ready, name, stage, place, (DATA, clean), most)
    out = images(received(hub, name))
    assert out.isdisjoint(originals)
    if result.code == 0:
        assert place == IN_RUN
        assert out == protected
    else:
        assert result.code == 1
        assert "changed since" in result.err.splitlines()[-1]


@pytest.mark.parametrize("document", ["README.md", "protection.json"])
def test_documents_that_are_written_over_do_not_go_out(
    hub: LoopbackHub, worker: PushWorker, ready: Path, tmp_path: Path, document: str
) -> None:
    """The card of the run is edited while the push goes on: what goes out is the card that was checked."""
    before = (ready / "release" / document).read_bytes()
    (tmp_path / "other").write_bytes(before.replace(b"rem-release", b"rem-rel3ase"))
    name = f"owner/documents{len(hub.requests)}"
    result = push(worker, ready, name, ("upload", "before"), IN_RUN, (document, tmp_path / "other"), 1_000_000)
    assert result.code == 0, result.err
    assert before in received(hub, name)
    assert (tmp_path / "other").read_bytes() not in received(hub, name)


def test_the_copy_has_bytes_of_its_own(ready: Path, tmp_path: Path) -> None:
    before = snapshot(ready / "release")
    copy_release(ready / "release", tmp_path / "copy")
    assert snapshot(tmp_path / "copy") == before
    for name in before:
        if (path := ready / "release" / name).is_file():
            with path.open("r+b") as file:
                file.write(b"something else")
    assert snapshot(tmp_path / "copy") == before


def test_links_stay_links_and_pipes_are_no_files(ready: Path, tmp_path: Path) -> None:
    (ready / "release/data/link.parquet").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(ready / "release/data/pipe.parquet")
    copy_release(ready / "release", tmp_path / "copy")
    assert (tmp_path / "copy/data/link.parquet").is_symlink()
    assert (tmp_path / "copy/data/pipe.parquet").is_fifo()


def test_a_disk_without_room_for_the_copy_is_one_line(ready: Path, tmp_path: Path) -> None:
    """A file that claims more than any disk has, and takes no room itself."""
    with (ready / "release/data/huge.parquet").open("wb") as file:
        file.truncate(2**43)
    with pytest.raises(RemReleaseError, match=r"needs 8,796,\d{3},\d{3},\d{3} bytes, and .* are free .*; make room"):
        copy_release(ready / "release", tmp_path / "copy")
    assert sum(path.stat().st_size for path in (tmp_path / "copy").rglob("*") if path.is_file()) < 2**43


def test_a_manifest_says_what_was_checked(ready: Path) -> None:
    """Sizes and hashes of data come from the facts, whatever the file on disk has become."""
    facts = read_facts(ready / "release")
    (ready / "release" / DATA).write_bytes(b"something else")
    manifest = Manifest(ready / "release", facts)
    assert (manifest.files[DATA].size, manifest.files[DATA].sha256) == (
        facts.files[DATA].bytes,
        facts.files[DATA].sha256,
    )
    with pytest.raises(VerificationError, match="changed since"):
        manifest.files[DATA].require()
    with pytest.raises(VerificationError, match="changed since"):
        _ = manifest.files[DATA].git_sha1
    with pytest.raises(VerificationError, match="changed since"):
        manifest.require_in(ready / "release")
    (ready / "release/README.md").write_bytes(b"another card")
    with pytest.raises(VerificationError, match="changed since"):
        Manifest(ready / "release", facts)


def test_a_push_that_was_killed_leaves_no_copy_for_good(
    hub: LoopbackHub, worker: PushWorker, ready: Path, tmp_path: Path
) -> None:
    """The next push deletes it, whatever lies in the release, and nothing that a link in it points to."""
    left = leave_copy(ready)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").write_text("kept")
    (left / "release/link").symlink_to(tmp_path / "outside")
    (tmp_path / "same").write_bytes((ready / "release/README.md").read_bytes())
    name = f"owner/killed{len(hub.requests)}"
    result = push(worker, ready, name, ("upload", "after"), IN_RUN, ("README.md", tmp_path / "same"), 1_000_000)
    assert result.code == 0, result.err
    assert not list((ready / "private").glob("push-*"))
    assert (tmp_path / "outside/kept").read_text() == "kept"
