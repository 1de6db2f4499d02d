"""How often an owner has tried: audits of the same originals, whatever was protected again in between."""

import hashlib
import json
from pathlib import Path

import pytest

from rem_release.audit.attempts import find_untold, note_attempt, sketch
from rem_release.errors import InputError
from rem_release.recipe_files import hash_document
from rem_release.release.certificate import AttemptFacts
from rem_release.release.run_folder import RunFolder
from rem_release.verdict.certify import certify
from rem_release.verdict.plan import Seeds
from tests.evidence import answer, describe

FIRST = Seeds(release="r1", clean="c1", holdout="h1", training="t1")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    (tmp_path / "run" / "private").mkdir(parents=True)
    return RunFolder(tmp_path / "run")


def hash_numbers(first: int, last: int) -> list[str]:
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(first, last)]


def note(
    run: RunFolder | None,
    release="r1",
    clean="c1",
    holdout="h1",
    recipe="a1",
    images=(),
    device="cpu",
    writes=True,
) -> tuple[int, int]:
    seeds = Seeds(release=release, clean=clean, holdout=holdout, training="t1")
    found = note_attempt(run, seeds, recipe, list(images), {"device": device}, writes)
    assert found is not None
    return found.earlier, found.releases


def test_protecting_again_until_it_passes_is_an_attempt_each_time(run):
    assert [note(run, release=f"r{number}") for number in range(4)] == [(0, 0), (1, 1), (2, 2), (3, 3)]


def test_so_are_other_test_images_and_other_recipes(run):
    assert note(run) == (0, 0)
    assert note(run, holdout="h2") == (1, 0)
    assert note(run, recipe="a2") == (2, 0)
    assert note(run, release="r2", recipe="a2") == (3, 1)
    assert note(run) == (3, 1), "that of r2"


def test_the_same_audit_again_is_no_other_attempt(run):
    for _ in range(3):
        assert note(run) == (0, 0)
    assert len(json.loads(run.attempts.read_bytes())["audits"]) == 1


def test_audits_of_other_originals_do_not_count_and_are_not_forgotten(run):
    assert note(run, clean="c2") == (0, 0)
    assert note(run) == (0, 0)
    assert note(run, clean="c2", holdout="h2") == (1, 0)


def test_other_training_images_of_the_same_originals_are_an_attempt(run):
    """A share that is held out, or an image that is left out before they are protected again."""
    hashes, other = hash_numbers(0, 600), hash_numbers(600, 1200)
    assert note(run, clean="c1", images=sketch(hashes)) == (0, 0)
    assert note(run, clean="c2", images=sketch(hashes)) == (1, 0)
    assert note(run, clean="c3", release="r3", images=sketch(hashes[1:])) == (2, 1)
    assert note(run, clean="c4", release="r4", images=sketch(hashes[:300])) == (3, 2)
    assert note(run, clean="c5", release="r5", images=sketch(other)) == (0, 0)


def test_another_device_is_an_attempt(run):
    assert [note(run, device=device) for device in ("cpu", "cpu", "H200")] == [(0, 0), (0, 0), (1, 0)]


def test_a_sketch_is_small_and_does_not_depend_on_the_order():
    hashes = hash_numbers(0, 1000)
    assert sketch(hashes) == sketch(reversed(hashes))
    assert len(sketch(hashes)) == 256
    assert sketch([]) == []


def test_an_audit_is_remembered_as_it_begins_by_the_process_that_writes(run):
    assert note(run, writes=False) == (0, 0)
    assert not run.attempts.exists()
    note(run)
    assert note(run, release="r2", writes=False) == (1, 1)
    assert len(json.loads(run.attempts.read_bytes())["audits"]) == 1


def test_without_a_run_nothing_is_counted(run, tmp_path):
    assert note_attempt(None, FIRST, "a1", [], {}, writes=True) is None
    (tmp_path / "published").mkdir()
    assert note_attempt(RunFolder(tmp_path / "published"), FIRST, "a1", [], {}, writes=True) is None
    assert note_attempt(run, FIRST, "a1", [], {}, writes=True) == AttemptFacts(earlier=0, releases=0)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"audits": {}}', '{"audits": [1]}', '{"audits": [{"release": "r"}]}']
)
def test_a_damaged_record_is_not_taken_for_none(text, run):
    run.attempts.write_text(text)
    with pytest.raises(InputError, match=r"attempts\.json"):
        note(run)
    assert run.attempts.read_text() == text


# what a certificate tells of them


def test_a_certificate_that_tells_of_fewer_is_told_from_one_that_tells_of_all(run):
    given = describe(["a", "b"])
    recipe = hash_document(given.recipe)
    certificate = certify(given, answer(given, {"protected": 0.55}), "00" * 32)
    mine = {"release": given.digest, "clean": given.clean_digest, "holdout": given.holdout.digest, "recipe": recipe}
    assert find_untold(run, certificate) is None, "nothing is remembered"
    assert note(run, clean=given.clean_digest) == (0, 0)
    assert note(run, clean=given.clean_digest, release="r2") == (1, 1)
    untold = find_untold(run, certificate)
    assert untold is not None
    assert "tells of 0 earlier audits of these originals, of 0 other releases" in untold
    assert untold.endswith("remembers 2, of 2")
    assert note(run, **mine) == (2, 2)
    assert note(run, clean=given.clean_digest, release="r3") == (3, 3)
    for earlier, releases, is_untold in ((2, 2, False), (3, 3, False), (1, 2, True), (2, 1, True)):
        told = certificate.model_copy(update={"attempts": AttemptFacts(earlier=earlier, releases=releases)})
        assert (find_untold(run, told) is not None) == is_untold, (earlier, releases)
