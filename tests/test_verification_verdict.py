"""verify's verdict: made again from circumstances and answers, and never believed."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rem_release.audit.publish import AuditFolder, write_answers
from rem_release.recipe_files import hash_document
from rem_release.release.certificate import ANSWERS, Certificate, read_certificate
from rem_release.release.documents import read_facts
from rem_release.release.facts import Facts
from rem_release.verdict.certify import certify as certify_answers
from rem_release.verification.report import Check
from rem_release.verification.verdict_checks import _SAID_BEFORE, check_verdict
from tests.audits import AUDIT
from tests.evidence import answer, describe_release
from tests.pushes import certify


@pytest.fixture(scope="module")
def passing(finished_run: Path, tmp_path_factory) -> Path:
    """A release whose certificate passes. Not to be changed."""
    run = Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("passing") / "run"))
    return certify(run) / "release"


@pytest.fixture(scope="module")
def failing(finished_run: Path, tmp_path_factory) -> Path:
    """A release whose certificate fell short. Not to be changed."""
    run = Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("failing") / "run"))
    return certify(run, passed=False) / "release"


def check(release: Path, document: dict[str, Any] | None = None, facts: Facts | None = None) -> list[Check]:
    """What is said of a release, with another certificate in place of its own."""
    audit = read_certificate(release / "audit.json")
    if document is not None:
        audit = Certificate.model_validate_json(json.dumps(document))
    return check_verdict(release, facts or read_facts(release), audit)


def document_of(release: Path) -> dict[str, Any]:
    return json.loads(read_certificate(release / "audit.json").model_dump_json())


def verdict(release: Path, document: dict[str, Any] | None = None, facts: Facts | None = None) -> Check:
    found = check(release, document, facts)
    assert [each.name for each in found][:2] == ["verdict", "verdict's words"]
    return found[0]


def test_a_certificate_that_follows_from_its_answers_is_sound(passing, failing):
    for release, words in ((passing, "passed"), (failing, "fell short")):
        first, *others = check(release)
        assert [first.passed, *(each.passed for each in others)] == [True, True, True]
        assert first.detail.startswith("computed again from answers.parquet (2 rows, 400 test images): ")
        assert first.detail.endswith(words)


def test_an_outcome_that_is_flipped_is_found(failing):
    document = document_of(failing)
    document["tiers"][0]["outcome"] = "passed"
    found = verdict(failing, document)
    assert not found.passed
    assert found.detail == 'audit.json.tiers[0].outcome says "passed", and the answers give "fell short"'


def test_a_verdict_that_is_flipped_everywhere_is_found(failing, passing):
    document = document_of(failing) | {
        key: document_of(passing)[key] for key in ("passed", "summary", "tiers", "not_covered")
    }
    assert not verdict(failing, document).passed
    assert "audit.json.passed says true, and the answers give false" in verdict(failing, document).detail


def test_rows_of_another_release_are_found(failing, passing):
    """The certificate of one that passes, over the answers of one that fell short."""
    document = {**document_of(passing), "answers_sha256": document_of(failing)["answers_sha256"]}
    assert not verdict(failing, document).passed
    assert "is not the file that audit.json names" in verdict(failing, document_of(passing)).detail


def test_an_outcome_that_is_invented_is_no_certificate(failing):
    document = document_of(failing)
    document["tiers"][0]["outcome"] = "certified"
    with pytest.raises(ValueError, match="outcome"):
        verdict(failing, document)


ROW = ("leakage", "low", "high", "over_random", "leakage_of_best", "leakage_at_end", "random_leakage", "floor")


@pytest.mark.parametrize("name", ROW)
@pytest.mark.parametrize("row", [0, 1])
def test_a_figure_of_a_row_that_is_edited_is_found(name, row, failing):
    document = document_of(failing)
    document["rows"][row][name] -= 1e-6
    found = verdict(failing, document)
    assert not found.passed
    assert found.detail.startswith(f"audit.json.rows[{row}].{name} says ")


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "rows[0].valid": lambda document: document["rows"][0].update(valid=False),
    "rows[0].seeds": lambda document: document["rows"][0].update(seeds=4),
    "rows[0].step": lambda document: document["rows"][0].update(step=1),
    "rows[0].relabelled": lambda document: document["rows"][0].update(relabelled=True),
    "rows[0].high": lambda document: document["rows"][0].update(high=None),
    "rows[1].architecture": lambda document: document["rows"][1].update(architecture="vgg16"),
    "rows[1].protected.judged": lambda document: document["rows"][1]["protected"].update(judged=0.1),
    "rows[1].protected.peak": lambda document: document["rows"][1]["protected"].update(peak=0.1),
    "rows[0].clean.fit": lambda document: document["rows"][0]["clean"].update(fit=1.0),
    "rows[0].random.per_class[1]": lambda document: document["rows"][0]["random"]["per_class"].__setitem__(1, 0.0),
    "rows": lambda document: document["rows"].append(document["rows"][0]),
    "tiers[0].required": lambda document: document["tiers"][0].update(required=False),
    "tiers[1].limit": lambda document: document["tiers"][1].update(limit=1.0),
    "tiers[0].worst": lambda document: document["tiers"][0].update(worst=1),
    "chance": lambda document: document.update(chance=0.9),
    "confidence": lambda document: document.update(confidence=0.99),
    "recipe_sha256": lambda document: document.update(recipe_sha256="00" * 32),
    "holdout.images": lambda document: document["holdout"].update(images=10_000),
    "holdout.clusters": lambda document: document["holdout"].update(clusters=10_000),
    "holdout.half_width": lambda document: document["holdout"].update(half_width=0.001),
    "holdout.majority": lambda document: document["holdout"].update(majority=0.1),
    "passed": lambda document: document.update(passed=True),
}


@pytest.mark.parametrize("where", EDITS)
def test_whatever_else_is_edited_is_found(where, failing):
    document = document_of(failing)
    EDITS[where](document)
    found = verdict(failing, document)
    assert not found.passed
    assert f"audit.json.{where} says " in found.detail


BOUND = {"architecture": "small_vgg", "sigma": 0.25, "q": 0.9, "eta": 0.1, "bound": 0.05}
GIVEN: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another release": (lambda document: document.update(digest="00" * 32), "are missing or strange"),
    "other originals": (lambda document: document.update(clean_digest="00" * 32), "are missing or strange"),
    "other test images": (lambda document: document["holdout"].update(digest="00" * 32), "are missing or strange"),
    "another limit": (
        lambda document: document["recipe"]["tiers"]["standard"].update(limit=1.0),
        "audit.json.tiers[0].limit says 0.3, and the answers give 1.0",
    ),
    "nothing required": (
        lambda document: [tier.update(required=False) for tier in document["recipe"]["tiers"].values()],
        "rows instead of 3 to",
    ),
    "epochs without end": (lambda document: document["recipe"]["victim"].update(epochs=1e308), "less than or equal to"),
    "evaluations without end": (
        lambda document: document["recipe"]["victim"].update(evaluations=10**12),
        "less than or equal to 1000",
    ),
    "fewer seeds": (lambda document: document["recipe"]["seeds"].update(required=1), "rows instead of 3 to"),
    "more seeds": (lambda document: document["recipe"]["seeds"].update(required=4), "are missing or strange"),
    "more evaluations": (
        lambda document: document["recipe"]["victim"].update(evaluations=5),
        "are missing or strange",
    ),
    "more epochs": (
        lambda document: document["recipe"]["victim"].update(epochs=300),
        "are missing or strange",
    ),
    "another learning rate": (
        lambda document: document["recipe"]["victim"].update(learning_rate=0.1),
        "are missing or strange",
    ),
    "another adversary": (
        lambda document: document["recipe"]["adversary"].update(steps=10),
        "are missing or strange",
    ),
    "another origin of the test images": (
        lambda document: document["holdout"].update(origin="held out"),
        "are missing or strange",
    ),
    "steps without end": (
        lambda document: document["recipe"]["adversary"].update(steps=10**400),
        "less than or equal to",
    ),
    "a radius without end": (
        lambda document: document["recipe"]["tiers"]["adaptive"].update(threats=["pgd(radius=1e10000000,norm=l2)"]),
        "write a radius as 4/255",
    ),
    "millions of victims": (
        lambda document: document["recipe"]["tiers"]["adaptive"].update(
            threats=[f"jpeg(quality={number})" for number in range(1, 96)],
            architectures=[f"resnet18(learning_rate={number}e-6)" for number in range(1, 99)],
        ),
        "has more than 5,000 victims of each kind",
    ),
    "a recipe that calls itself a shipped one": (
        lambda document: document.update(recipe_name="audit-standard"),
        'calls its recipe "audit-standard", and it is audit-standard, changed in victim.source_model, victim.',
    ),
    "a shipped recipe that is none": (
        lambda document: document.update(recipe_name="audit-thorough"),
        'calls its recipe "audit-thorough", which is not a shipped audit recipe',
    ),
    "versions of others": (
        lambda document: document["versions"].update({"checked by": "somebody"}),
        'has versions of others than rem-release, torch, torchvision, accelerate, numpy, scipy, pillow: ["checked by"]',
    ),
    "a recipe with a praise": (
        lambda document: document.update(recipe_name="the owner's audit-standard, unchanged"),
        "which is no file of YAML",
    ),
    "a bound by samples that nobody took": (
        lambda document: document.update(
            learnability={**BOUND, "samples": 3, "accuracies": [0.1, 0.2, 0.3]},
        ),
        "a bound by 3 samples, where the recipe asks for 0",
    ),
    "a bound that was left out": (
        lambda document: document["recipe"]["learnability"].update(samples=5),
        "the bound by sampling, which its recipe asks for, is missing",
    ),
    "a part of the recipe of another kind": (
        lambda document: document["recipe"].update(learnability=[]),
        "it cannot be computed again: recipe of the certificate",
    ),
    "a threat of spaces": (
        lambda document: document["recipe"]["tiers"]["adaptive"].update(threats=["mean" + " " * 400_000 + "!"]),
        "400,005 characters, and 2,000 are allowed",
    ),
    "no recipe": (
        lambda document: document.update(recipe={}),
        "it cannot be computed again: recipe of the certificate",
    ),
    "no threats": (lambda document: document["recipe"].update(tiers={}), "has no threats in any tier"),
    "a source network": (lambda document: document.update(source="vgg16"), "are missing or strange"),
    "another radius": (lambda document: document.update(rho_a="2/255"), "rho_a 2/255, not "),
    "another method": (lambda document: document.update(method="em"), "method em, not rem"),
    "another class": (lambda document: document.update(classes=["cow", "dog"]), "other classes"),
    "images without noise": (lambda document: document.update(partial=True), "images without noise, of which there"),
    "too many images": (lambda document: document.update(images=9), "9 training images of 8"),
}


@pytest.mark.parametrize("name", GIVEN)
def test_circumstances_that_are_edited_do_not_fit_the_answers_or_the_facts(name, failing):
    change, words = GIVEN[name]
    document = document_of(failing)
    change(document)
    found = verdict(failing, document)
    assert not found.passed
    assert words in found.detail


def test_random_noise_that_calls_itself_something_else_contradicts_the_facts(passing):
    facts = read_facts(passing)
    facts = facts.model_copy(update={"protection": facts.protection.model_copy(update={"method": "random"})})
    found = verdict(passing, facts=facts)
    assert not found.passed
    assert "audit.json contradicts protection.json: method rem, not random" in found.detail


def rewrite(release: Path, to: Path, change: Callable[[list[dict[str, Any]]], None]) -> tuple[Path, dict[str, Any]]:
    """A copy whose answers are others, and a certificate that names them."""
    copy = Path(shutil.copytree(release, to / "release"))
    table = pq.read_table(copy / ANSWERS)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), copy / ANSWERS)
    return copy, document_of(release) | {"answers_sha256": hashlib.sha256((copy / ANSWERS).read_bytes()).hexdigest()}


def test_answers_that_are_edited_give_other_figures(failing, tmp_path):
    def change(rows: list[dict[str, Any]]) -> None:
        place = next(place for place, row in enumerate(rows) if row["trained_on"] == "protected")
        rows[place]["answers"] = [1 - named for named in rows[place]["answers"]]

    release, document = rewrite(failing, tmp_path, change)
    found = verdict(release, document)
    assert not found.passed
    assert "and the answers give" in found.detail


def test_a_single_answer_matters(failing, tmp_path):
    def change(rows: list[dict[str, Any]]) -> None:
        rows[-1]["answers"][0] = 1 - rows[-1]["answers"][0]

    release, document = rewrite(failing, tmp_path, change)
    assert not verdict(release, document).passed


def test_answers_that_are_damaged_or_missing_are_told(passing, tmp_path):
    release, document = rewrite(passing, tmp_path, lambda rows: rows.pop())
    found = check(release, document)
    assert [each.passed for each in found] == [False, None]
    assert found[0].detail.startswith("it cannot be computed again: the answers of ")
    (release / ANSWERS).write_bytes(b"PAR1")
    assert "is not the file that audit.json names" in verdict(release, document).detail
    (release / ANSWERS).unlink()
    assert "answers.parquet is missing or is not a plain file" in verdict(release, document).detail
    (release / ANSWERS).symlink_to(passing / ANSWERS)
    assert "answers.parquet is missing or is not a plain file" in verdict(release, document_of(passing)).detail


def test_test_images_that_are_all_copies_are_told(passing, tmp_path):
    release, document = rewrite(passing, tmp_path, lambda rows: rows[1].update(answers=[0] * len(rows[1]["answers"])))
    assert "near copies of each other" in verdict(release, document).detail


# words


@pytest.mark.parametrize("key", ["summary", "reason", "words", "not_covered", "statement"])
def test_sentences_that_do_not_follow_from_the_figures_are_found(key, failing):
    document = document_of(failing)
    if key in ("summary", "not_covered"):
        document[key][0] = "Passed: every tier that the owner's policy requires stayed under its limit."
    elif key == "statement":
        document[key] = "This certificate proves that nobody learns anything."
    else:
        document[{"reason": "tiers", "words": "rows"}[key]][0][key] = "nothing leaks"
    first, second, _ = check(failing, document)
    is_the_verdict = key in ("summary", "statement")  # which every version words alike
    assert (first.passed, second.passed) == ((False, True) if is_the_verdict else (True, False))
    assert key in (first if is_the_verdict else second).detail


def test_a_certificate_in_which_fp32_has_its_old_name_stands(passing):
    document = document_of(passing)
    assert document["recipe"]["victim"]["precision"] == "fp32"
    document["recipe"]["victim"]["precision"] = "no"
    document["recipe_sha256"] = hash_document(document["recipe"])
    assert [each.passed for each in check(passing, document)] == [True, True, True]


def test_a_sentence_in_which_fp32_has_its_old_name_stands(finished_run, tmp_path):
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    recipe = {"victim": {**AUDIT["victim"], "precision": "bf16"}}
    given = describe_release(read_facts(run / "release"), recipe=recipe)
    evidence, folder = answer(given, {"protected": 0.9}), AuditFolder.of(run, None)
    document = json.loads(certify_answers(given, evidence, write_answers(folder, evidence)).model_dump_json())
    (place,) = (number for number, text in enumerate(document["summary"]) if "victim.precision" in text)
    sentence = document["summary"][place]
    assert "victim.precision bf16 (shipped: fp32)" in sentence
    for stated, is_sound in (("(shipped: no)", True), ("(shipped: tf32)", False), ("(shipped: fp32)", True)):
        document["summary"][place] = sentence.replace("(shipped: fp32)", stated)
        audit = Certificate.model_validate_json(json.dumps(document))
        first, second, _ = check_verdict(run / "release", read_facts(run / "release"), audit)
        assert (first.passed, second.passed) == (True, is_sound), stated


def test_sentences_of_a_newer_version_are_not_compared_but_figures_are(failing):
    document = document_of(failing)
    document["summary"][1:] = ["As a later version would say it."]
    document["versions"]["rem-release"] = "99.0"
    first, second, _ = check(failing, document)
    assert (first.passed, second.passed) == (True, None)
    assert second.detail.startswith("not compared: they say that rem-release 99.0 wrote them")
    for earlier in ("0.2.9", "0.0.1", "no version"):
        document["versions"]["rem-release"] = earlier
        assert check(failing, document)[1].passed is False, "none of them wrote this format otherwise"
    document["versions"]["rem-release"] = "99.0"
    document["tiers"][0]["outcome"] = "passed"
    assert not verdict(failing, document).passed


def test_sentences_that_earlier_versions_said_otherwise_are_sound(failing):
    document = document_of(failing)
    before = {now: then for then, now in _SAID_BEFORE.items()}
    document["not_covered"] = [before.get(sentence, sentence) for sentence in document["not_covered"]]
    assert sum(sentence in _SAID_BEFORE for sentence in document["not_covered"]) == len(_SAID_BEFORE)
    assert [each.passed for each in check(failing, document)[:2]] == [True, True]
