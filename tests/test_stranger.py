"""`stranger.py`, which shares no code with the product, comes to the same verdict and to the same bounds."""

import contextlib
import hashlib
import io
import json
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

import tests.evidence as audits
from rem_release.release.canonical import seal
from rem_release.release.certificate import Circumstances
from rem_release.verdict.certify import certify
from rem_release.verdict.evidence import Evidence, write_evidence
from rem_release.verdict.plan import Task

CLASSES = ["cat", "dog", "hen", "owl"]
SCRIPT = Path(__file__).with_name("stranger.py")


def ask(folder: Path) -> subprocess.CompletedProcess[str]:
    """What the page says: run here, as importing numpy anew takes most of its time."""
    out, code, before = io.StringIO(), 0, sys.argv
    sys.argv = [str(SCRIPT), str(folder)]
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_path(str(SCRIPT), run_name="__main__")
    except SystemExit as stop:
        code = stop.code
    except AssertionError:
        code = 1
    finally:
        sys.argv = before
    words = code if isinstance(code, str) else ""
    return subprocess.CompletedProcess(str(SCRIPT), int(bool(code)), out.getvalue(), words)


def varied(task: Task, number: int) -> float:
    """Accuracies that differ from seed to seed, and are at their peak before the end."""
    shift = 0.04 * (task.seed % 3 - 1)
    if task.trained_on == "protected":
        return (0.33 if number == 1 else 0.28) + shift
    return {"clean": 0.92, "random": 0.88, "yardstick": 0.9}[task.trained_on] + shift


def permuted(evidence: Evidence) -> Evidence:
    """Victims of the protected images that name the next class on purpose."""
    named = (evidence.labels + 1) % len(CLASSES)
    victims = dict(evidence.victims)
    for key, victim in evidence.victims.items():
        if key[2] == "protected":
            victims[key] = replace(victim, named=np.tile(named, (len(victim.steps), 1)))
    return Evidence(evidence.labels, evidence.clusters, victims)


CASES = {
    "passes": (varied, {}, False, True),
    "leaks": ({"protected": 0.8}, {}, False, False),
    "as random noise": ({"protected": 0.3, "random": 0.3}, {}, False, False),
    "near copies": (varied, {"clusters": np.arange(400, dtype=np.int32) // 4}, False, True),
    "a permutation of classes": (varied, {}, True, False),
    "weaker than the shipped recipe": ({"protected": 0.3, "clean": 0.8, "yardstick": 0.95}, {}, False, False),
    "does not fit": (varied, {"fit": 0.5}, False, False),
    "masked gradient": (varied, {"attack_gain": 0.0}, False, False),
    "not finite": (varied, {"finite": False}, False, False),
}


@pytest.mark.parametrize("case", CASES)
def test_a_stranger_finds_the_same_verdict(case: str, tmp_path: Path) -> None:
    accuracy, changes, is_permuted, passed = CASES[case]
    given = audits.describe(CLASSES)
    evidence = audits.answer(given, accuracy, **changes)
    evidence = permuted(evidence) if is_permuted else evidence
    file = BytesIO()
    write_evidence(evidence, file)
    (tmp_path / "answers.parquet").write_bytes(file.getvalue())
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    certificate = certify(given, evidence, sha256)
    assert certificate.passed == passed
    (tmp_path / "audit.json").write_bytes(seal(certificate.model_dump(mode="json")))
    found = ask(tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.endswith("passed\n" if passed else "fell short\n")
    bounds = [float(value) for value in re.findall(r"at most (\S+),", found.stdout)]
    over = [float(value) for value in re.findall(r"over random (\S+)\n", found.stdout)]
    assert bounds == pytest.approx([row.high for row in certificate.rows], abs=2e-6)
    assert over == pytest.approx([row.over_random for row in certificate.rows], abs=2e-6)


def test_the_page_runs_by_itself(tmp_path: Path) -> None:
    given = audits.describe(CLASSES)
    publish(tmp_path, given, audits.answer(given, varied))
    command = [sys.executable, "-I", SCRIPT, tmp_path]  # without this folder, and whatever is beside it
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout == ask(tmp_path).stdout
    assert found.stdout.endswith("passed\n")
    text = SCRIPT.read_text()
    assert len(text.splitlines()) < 80
    assert set(re.findall(r"^import (\S+)", text, re.MULTILINE)) == {"hashlib,", "numpy", "pyarrow.parquet"}


def test_a_stranger_sees_a_flipped_verdict(tmp_path: Path) -> None:
    given = audits.describe(CLASSES)
    evidence, file = audits.answer(given, {"protected": 0.8}), BytesIO()
    write_evidence(evidence, file)
    (tmp_path / "answers.parquet").write_bytes(file.getvalue())
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    flipped = certify(given, evidence, sha256).model_copy(update={"passed": True})
    (tmp_path / "audit.json").write_bytes(seal(flipped.model_dump(mode="json")))
    found = ask(tmp_path)
    assert found.returncode == 1, found.stdout + found.stderr


def publish(folder: Path, given: Circumstances, evidence: Evidence, passed: bool | None = None) -> Path:
    """Write a certificate and its answers; `passed` flips the verdict."""
    file = BytesIO()
    write_evidence(evidence, file)
    (folder / "answers.parquet").write_bytes(file.getvalue())
    certificate = certify(given, evidence, hashlib.sha256(file.getvalue()).hexdigest())
    flipped = certificate if passed is None else certificate.model_copy(update={"passed": passed})
    (folder / "audit.json").write_bytes(seal(flipped.model_dump(mode="json")))
    return folder


def test_a_row_that_is_left_out_or_told_twice_is_seen(tmp_path: Path) -> None:
    given = audits.describe(CLASSES)
    publish(tmp_path, given, audits.answer(given, varied))
    document = json.loads((tmp_path / "audit.json").read_bytes())
    del document["sha256"]
    for rows in (document["rows"][:1], [document["rows"][0]] * 2):
        (tmp_path / "audit.json").write_bytes(seal({**document, "rows": rows}))
        found = ask(tmp_path)
        assert found.returncode == 1
        assert "rows are missing or strange" in found.stderr


def test_an_evaluation_that_is_cut_out_is_seen(tmp_path: Path) -> None:
    given = audits.describe(CLASSES)
    evidence = audits.answer(given, varied)
    publish(tmp_path, given, evidence)
    cut = {
        key: replace(victim, steps=victim.steps[1:], named=victim.named[1:]) for key, victim in evidence.victims.items()
    }
    file = BytesIO()
    write_evidence(Evidence(evidence.labels, evidence.clusters, cut), file)
    (tmp_path / "answers.parquet").write_bytes(file.getvalue())
    document = json.loads((tmp_path / "audit.json").read_bytes())
    del document["sha256"]
    document["answers_sha256"] = hashlib.sha256(file.getvalue()).hexdigest()
    (tmp_path / "audit.json").write_bytes(seal(document))
    assert ask(tmp_path).returncode == 1


def test_networks_that_are_one_and_those_with_a_rate_of_their_own_are_no_reason_to_accuse(tmp_path: Path) -> None:
    networks = ["source", "small_vgg", "small_resnet(learning_rate=0.01)"]
    tiers = {name: {**tier, "architectures": networks} for name, tier in audits.POLICY.items()}
    given = audits.describe(CLASSES, recipe={"tiers": tiers})
    evidence = audits.answer(given, varied)
    publish(tmp_path, given, evidence)
    found = ask(tmp_path)
    assert (found.returncode, found.stdout.splitlines()[-1]) == (0, "passed"), found.stderr
    assert len(found.stdout.splitlines()) == 5


def test_a_class_of_four_test_images_has_no_verdict(tmp_path: Path) -> None:
    given = audits.describe(CLASSES)
    evidence = audits.answer(given, varied, images=1600)
    kept = np.flatnonzero((evidence.labels > 0) | (np.cumsum(evidence.labels == 0) <= 4))
    victims = {key: replace(victim, named=victim.named[:, kept]) for key, victim in evidence.victims.items()}
    fewer = Evidence(evidence.labels[kept], np.arange(len(kept), dtype=np.int32), victims)
    given = given.model_copy(
        update={"recipe": {**given.recipe, "statistics": {**given.recipe["statistics"], "half_width": 0.3}}}
    )
    found = ask(publish(tmp_path, given, fewer))
    assert (found.returncode, found.stdout.splitlines()[-1]) == (0, "fell short"), found.stderr
    assert ask(publish(tmp_path, given, fewer, passed=True)).returncode == 1
