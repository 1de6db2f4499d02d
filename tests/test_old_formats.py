"""Releases and runs of version 0.2.0: read for what they are, and never published or gone on with.

`release_0_2_0/` is the release of eight random images of 8 x 8 pixels that version 0.2.0 made.
"""

import importlib.metadata
import json
import shutil
from pathlib import Path

import pytest

from rem_release import __version__
from rem_release.audit.naming import versions
from rem_release.release.canonical import seal
from rem_release.release.documents import read_facts
from rem_release.release.facts import Facts
from tests.command_line import SECRET, draw_classes, run, snapshot, succeed

OLD = Path(__file__).with_name("release_0_2_0")


@pytest.fixture
def old_run(tmp_path: Path, finished_run: Path) -> Path:
    """A run of version 0.2.0: that release, and options that name no format."""
    folder = Path(shutil.copytree(finished_run, tmp_path / "run"))
    shutil.rmtree(folder / "release")
    shutil.copytree(OLD, folder / "release")
    options = json.loads((folder / "private/options.json").read_bytes())
    assert options.pop("format") == "rem-release-run/3"
    (folder / "private/options.json").write_text(json.dumps(options))
    return folder


def test_verify_reads_an_old_release_and_says_what_it_cannot_prove(photographs: Path) -> None:
    assert read_facts(OLD).format == "rem-release/1"
    document = succeed("verify", OLD, "--clean", photographs, "--json").json
    assert document["passed"]
    (old,) = (check for check in document["checks"] if check["name"] == "format")
    assert old["passed"] is None
    for words in ("rem-release 0.2.0", "rem-release/1", "seed was 0", "near copies", "rem-release protect SOURCE"):
        assert words in old["detail"]
    (card,) = (check for check in document["checks"] if check["name"] == "card")
    assert card["passed"] is None
    assert "was made with rem-release 0.2.0, not" in card["detail"]
    assert {check["passed"] for check in document["checks"] if check["name"] not in ("format", "card")} == {True}
    assert "unknown format: " in succeed("verify", OLD).out


def test_a_flipped_byte_of_an_old_release_is_seen(tmp_path: Path) -> None:
    release = Path(shutil.copytree(OLD, tmp_path / "release"))
    data = bytearray((release / "data/train-00000-of-00001.parquet").read_bytes())
    data[1000] ^= 1
    (release / "data/train-00000-of-00001.parquet").write_bytes(data)
    assert run("verify", release).code == 1


def test_a_new_release_says_its_format(finished_run: Path) -> None:
    facts = read_facts(finished_run / "release")
    assert (facts.format, facts.versions["rem-release"]) == ("rem-release/2", __version__)
    document = succeed("verify", finished_run, "--json").json
    assert "format" not in {check["name"] for check in document["checks"]}


def test_an_old_release_is_not_pushed(old_run: Path) -> None:
    before = snapshot(old_run)
    result = run("push", old_run, "owner/old", "--dry-run", "--allow-uncertified", "--yes")
    assert result.code == 3
    assert f"rem-release protect SOURCE --out {old_run} --overwrite" in result.err
    assert snapshot(old_run) == before


def test_an_old_run_does_not_go_on(old_run: Path, photographs: Path, recipe: Path) -> None:
    before = snapshot(old_run)
    result = run("protect", photographs, "--out", old_run, "--recipe", recipe, "--resume")
    assert result.code == 2
    assert "an earlier version of rem-release" in result.err
    assert f"rem-release protect SOURCE --out {old_run} --overwrite" in result.err
    assert snapshot(old_run) == before
    succeed("protect", photographs, "--out", old_run, "--recipe", recipe, "--overwrite")
    assert read_facts(old_run / "release").format == "rem-release/2"


@pytest.mark.parametrize("plan", [(), ("--plan",)])
def test_the_public_seed_of_an_old_run_is_not_inherited(
    old_run: Path, tmp_path: Path, photographs: Path, plan: tuple[str, ...]
) -> None:
    """Whoever guesses it trains the same generator from the release."""
    before = snapshot(tmp_path)
    result = run("protect", photographs, "--out", tmp_path / "new", "--generator", old_run, *plan, *SECRET)
    assert (result.code, result.out) == (2, "")
    (line,) = result.err.splitlines()
    for words in (f"--generator {old_run}", "an earlier version", "seed was 0", "without --generator", "--seed"):
        assert words in line
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("seed", [0, 5])
def test_a_seed_that_is_given_is_the_owners_word(old_run: Path, tmp_path: Path, photographs: Path, seed: int) -> None:
    new = tmp_path / "new"
    command = ("protect", photographs, "--out", new, "--generator", old_run)
    result = succeed(*command, "--seed", seed)
    assert "an earlier version" in result.err
    assert ("carries two noises" in result.err) == (seed != 0)
    assert json.loads((new / "private/options.json").read_bytes())["seed"] == seed
    (new / "private/rows.parquet").unlink()
    succeed(*command, "--resume", *SECRET)


OLD_CERTIFICATE = {"format": "rem-release-audit/1", "passed": True, "summary": ["Passed: every tier."]}


@pytest.fixture
def old_audit(run_copy: Path) -> Path:
    """A run of today with a certificate as version 0.2.0 wrote it, as far as anybody reads it."""
    digest = read_facts(run_copy / "release").digest
    (run_copy / "release/audit.json").write_bytes(seal({**OLD_CERTIFICATE, "digest": digest}))
    return run_copy


def test_an_old_certificate_is_not_checked_and_believed_by_nobody(old_audit: Path) -> None:
    document = succeed("verify", old_audit, "--json").json
    (found,) = (check for check in document["checks"] if check["name"] == "certificate")
    assert found["passed"] is None
    assert "format rem-release-audit/1" in found["detail"]
    assert "nothing stands behind its verdict that could be counted again" in found["detail"]
    assert "verdict" not in {check["name"] for check in document["checks"]}
    said = succeed("verify", old_audit).out
    assert "unknown certificate: " in said
    assert "Passed" not in said


def test_an_old_certificate_is_not_pushed(old_audit: Path) -> None:
    for options in ((), ("--allow-uncertified", "--yes")):
        before = snapshot(old_audit / "release")
        result = run("push", old_audit, "owner/old", "--dry-run", *options)
        assert result.code == 1
        assert "audit these data again" in result.err
        assert snapshot(old_audit / "release") == before


@pytest.mark.parametrize("command", ["card", "audit"])
def test_nothing_is_written_into_an_old_release(old_run: Path, photographs: Path, command: str) -> None:
    before = snapshot(old_run / "release")
    result = run(command, old_run)
    assert result.code == 2
    assert f"rem-release protect SOURCE --out {old_run} --overwrite" in result.err
    assert snapshot(old_run / "release") == before


def test_a_checkout_that_is_not_installed_knows_its_version(
    tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PYTHONPATH alone there is no metadata of the package, and a run would end with a traceback."""

    def find(name: str) -> importlib.metadata.Distribution:
        if name == "rem-release":
            raise importlib.metadata.PackageNotFoundError(name)
        return installed(name)

    installed = importlib.metadata.Distribution.from_name
    monkeypatch.setattr(importlib.metadata.Distribution, "from_name", find)
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("rem-release")
    draw_classes(tmp_path / "in")
    succeed("protect", tmp_path / "in", "--out", tmp_path / "run", "--recipe", recipe)
    succeed("verify", tmp_path / "run")
    assert read_facts(tmp_path / "run/release").versions["rem-release"] == __version__
    assert versions()["rem-release"] == __version__


@pytest.mark.parametrize(
    "layout",
    [
        "pictures with metadata",  # as versions before 0.5.0 said it
        "pictures without labels",  # as versions before 0.5.0 said it
    ],
)
def test_facts_of_earlier_versions_keep_their_words(finished_run: Path, layout: str) -> None:
    document = read_facts(finished_run / "release").model_dump()
    chosen = {"one picture chosen of several in the file": 1}  # as versions before 0.5.0 said it
    document["data"].update(layout=layout, choices=chosen)
    facts = Facts.model_validate(document)
    assert (facts.data.layout, facts.data.choices) == (layout, chosen)
