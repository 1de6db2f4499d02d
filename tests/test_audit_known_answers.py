"""Audits whose answer is known: nothing protects, noise protects nothing, a shortcut protects until it is removed.

Measured on one thread (test accuracy, 4 classes, chance 25 %): clean 97 %, class-wise patch 30 %, and 94 % after the
orthogonal projection.
"""

from pathlib import Path

import pytest

from rem_release.release.certificate import Certificate, RowFacts, read_certificate
from tests.audits import read_victims, write_audit_recipe, write_task
from tests.command_line import run, succeed


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> Path:
    return write_task(tmp_path_factory.mktemp("gratings"))


@pytest.fixture(autouse=True)
def shared_baselines(tmp_path_factory, monkeypatch):
    """All audits of this file share their baselines, as a user's audits do."""
    monkeypatch.setenv("REM_RELEASE_CACHE", str(tmp_path_factory.getbasetemp() / "baselines"))


def audit(task: Path, protected: str, out: Path, **changes: object) -> tuple[int, Certificate]:
    recipe = write_audit_recipe(out.parent / "recipe.yaml", **changes)
    paths = ("--clean", task / "clean", "--holdout", task / "test", "--recipe", recipe, "--out", out)
    result = run("audit", task / protected, *paths)
    return result.code, read_certificate(out / "audit.json")


def row(certificate: Certificate, threat: str) -> RowFacts:
    (found,) = (row for row in certificate.rows if row.threat == threat)
    return found


def test_unprotected_images_leak_everything_and_fall_short(task, tmp_path):
    code, certificate = audit(task, "clean", tmp_path / "out")
    found = row(certificate, "standard")
    assert code == 3
    assert not certificate.passed
    assert found.valid
    assert found.clean.final > 0.85, "a weak victim would show nothing"
    assert found.leakage == pytest.approx(1, abs=0.05)
    assert found.protected.final != found.clean.final, "another victim: its seed derives from the digest of the copy"
    assert (found.low, found.high) == (None, None), "one seed bears no bound"
    assert certificate.tiers[0].outcome == "fell short"


def test_random_noise_leaks_about_everything_and_never_certifies(task, tmp_path):
    """Not even where the policy lets everything through."""
    small = ("--method", "random", "--rho-u", "8/255", "--set", "data.resolution=16")
    succeed("protect", task / "clean", "--out", tmp_path / "run", *small)
    lenient = {"tiers__standard__limit": 1, "tiers__adversarial": {"required": False}, "seeds__required": 3}
    recipe = write_audit_recipe(tmp_path / "recipe.yaml", **lenient)
    result = run("audit", tmp_path / "run", "--holdout", task / "test", "--recipe", recipe, "--json")
    certificate = read_certificate(tmp_path / "run/release/audit.json")
    found = row(certificate, "standard")
    assert result.code == 3
    assert result.json["passed"] is False
    assert certificate.summary[0] == "Fell short: the noise is random, which is a control and is never certified."
    assert found.over_random is not None
    assert found.over_random > 0, "nor does it teach less than random noise"
    assert certificate.tiers[0].outcome == "fell short"
    assert found.leakage is not None
    assert found.leakage > 0.7
    assert found.protected.final == pytest.approx(found.random.final, abs=0.2)
    succeed("verify", tmp_path / "run", "--clean", task / "clean")


def test_a_linear_shortcut_passes_standard_training_and_falls_to_the_projection(task, tmp_path):
    tiers = {"tiers__adaptive": {"limit": 0.7, "threats": ["orthogonal"]}, "seeds__required": 3}
    code, certificate = audit(task, "patched", tmp_path / "out", **tiers)
    standard, adversarial, adaptive, transfer = certificate.tiers
    assert standard.outcome == "passed", standard.reason
    assert row(certificate, "standard").random.final > 0.8, "random signs of the same size hide nothing"
    assert adaptive.outcome == "fell short"
    assert row(certificate, "orthogonal").leakage > 0.85
    assert (adversarial.outcome, transfer.outcome) == ("not tested", "not tested")
    assert code == 3
    assert not certificate.passed


def test_a_policy_that_asks_for_standard_training_alone_passes_the_shortcut_and_says_what_it_left_out(task, tmp_path):
    tiers = {"tiers__adversarial": {"required": False}, "seeds__required": 3}
    code, certificate = audit(task, "patched", tmp_path / "out", **tiers)
    assert code == 0
    assert certificate.passed
    found = row(certificate, "standard")
    assert found.high < 0.3
    assert found.over_random < -0.5
    said = " ".join(certificate.summary)
    assert "adversarial tier, required by the shipped policy, is not required here" in said
    assert "standard tier was tested on 1 network; the shipped policy asks for 3" in said


def test_a_second_audit_pays_for_no_baseline_again(task, tmp_path):
    audit(task, "clean", tmp_path / "first")
    before = {record.key: record for record in read_victims(tmp_path / "first")}
    audit(task, "patched", tmp_path / "second")
    after = {record.key: record for record in read_victims(tmp_path / "second")}
    shared = [record for record in after.values() if record.trained_on in ("clean", "yardstick")]
    assert len(shared) == 2
    assert all(record.cached for record in shared)
    same = {"cached": False}
    assert all(before[record.key].model_copy(update=same) == record.model_copy(update=same) for record in shared), (
        "the same record, the seconds it took included"
    )
    assert not after.keys() & {key for key, record in before.items() if record.trained_on == "protected"}


def test_the_same_audit_gives_the_same_certificate(task, tmp_path, monkeypatch):
    first = audit(task, "patched", tmp_path / "a")
    monkeypatch.setenv("REM_RELEASE_CACHE", str(tmp_path / "another"))
    code, second = audit(task, "patched", tmp_path / "b")
    assert second.cached == 0
    assert (code, second) == (first[0], first[1].model_copy(update={"cached": 0}))
    answers = [(tmp_path / name / "answers.parquet").read_bytes() for name in "ab"]
    assert answers[0] == answers[1]
    monkeypatch.setenv("REM_RELEASE_CACHE", str(tmp_path / "a third"))
    audit(task, "patched", tmp_path / "c")
    assert (tmp_path / "b/audit.json").read_bytes() == (tmp_path / "c/audit.json").read_bytes()
