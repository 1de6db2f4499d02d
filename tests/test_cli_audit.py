"""`rem-release audit` from end to end: what it can audit, what it writes where, and what it leaves alone."""

import getpass
import hashlib
import json
import random
import shutil
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from rem_release.audit.ledger import VictimRecord
from rem_release.audit.report.figures import card_figures
from rem_release.models import build_model
from rem_release.release.certificate import Certificate, read_certificate
from rem_release.release.documents import read_facts
from rem_release.verdict.accuracy import balanced_accuracy
from tests.audit_commands import (
    LEARNING,
    as_parquet,
    audit_copy,
    audit_run,
    draw_colours,
    fall_short,
    protect,
    protect_by_patches,
    write_inputs,
    write_stripes,
)
from tests.audits import QUICK, read_victims, write_audit_recipe
from tests.command_line import draw, read_status, run, snapshot, succeed

LABELS = np.repeat([0, 1], 10)
"""of the test images"""
FIGURES = ["release/figures/audit-classes.png", "release/figures/audit-curves.png", "release/figures/audit-radius.png"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`clean`, `noisy`, `test` and `run`; not to be changed."""
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The audits of this file share their baselines, with each other alone."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("REM_RELEASE_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory, inputs: Path) -> Path:
    """A folder with `both.yaml`, and `run` audited by it on the two tiers that the policy requires; for reading."""
    folder = tmp_path_factory.mktemp("audited")
    shutil.copytree(inputs / "run", folder / "run")
    recipe = write_audit_recipe(folder / "both.yaml", **LEARNING)
    fall_short(folder / "run", "--holdout", inputs / "test", "--recipe", recipe)
    return folder


@pytest.fixture
def audited_copy(tmp_path: Path, audited: Path) -> Path:
    """A copy of the audited run that a test may change."""
    return Path(shutil.copytree(audited / "run", tmp_path / "run"))


def certificate_of(run_folder: Path) -> Certificate:
    return read_certificate(run_folder / "release" / "audit.json")


def failed_checks(run_folder: Path) -> dict[str, str]:
    """Name and detail of what verify finds wrong."""
    result = run("verify", run_folder, "--json")
    failed = {check["name"]: check["detail"] for check in result.json["checks"] if check["passed"] is False}
    assert result.code == (1 if failed else 0)
    return failed


# --- a run


def test_an_audit_of_a_run_adds_these_files_and_changes_card_facts_and_status_alone(
    inputs: Path, audited: Path
) -> None:
    before, after = snapshot(inputs / "run"), snapshot(audited / "run")
    added = {"audit", "audit/curves.json", "audit/report.html", "audit/victims.jsonl", "private/attempts.json"}
    added |= {"private/audited-pairs.npz", "private/audited-holdout.npz"}
    assert after.keys() - before.keys() == {*added, "release/answers.parquet", "release/audit.json", *FIGURES}
    changed = [name for name in before if after.get(name) != before[name]]
    assert changed == ["private/status.json", "release/README.md", "release/protection.json"]


def test_the_release_of_an_audited_run_verifies_and_its_card_renders_to_the_same_bytes(
    inputs: Path, audited_copy: Path
) -> None:
    checks = succeed("verify", audited_copy, "--clean", inputs / "clean", "--json").json["checks"]
    found = {check["name"]: check["passed"] for check in checks}
    assert (found["certificate"], found["verdict"], found["verdict's words"]) == (True, True, True)
    before = snapshot(audited_copy)
    succeed("card", audited_copy)
    assert snapshot(audited_copy) == before


def test_the_verdict_stands_in_the_first_paragraph_of_the_card_and_first_in_the_report(audited: Path) -> None:
    certificate = certificate_of(audited / "run")
    card = (audited / "run/release/README.md").read_text(encoding="utf-8")
    first = card.split("\n# ", 1)[1].split("\n\n")[1]
    assert certificate.summary[0] in first
    assert "standard tier was tested on 1 network" in first
    report = (audited / "run/audit/report.html").read_text(encoding="utf-8")
    body = report[report.index("<body") :]
    verdict = body.index("Fell short of the owner")
    assert verdict < body.index("<table")
    assert verdict < body.index("<svg")


def test_status_and_exit_code_say_that_it_fell_short(audited: Path) -> None:
    status = read_status(audited / "run")
    assert (status["state"], status["exit_code"]) == ("failed", 3)
    assert status["message"].startswith("Fell short of the owner's policy in the required tiers standard and adv")


def test_an_audit_that_passes_ends_with_0_and_says_done(tmp_path: Path) -> None:
    source, test, lenient = write_stripes(tmp_path)
    location = protect_by_patches(source, tmp_path / "run")
    result = succeed("audit", location, "--holdout", test, "--recipe", lenient)
    assert read_status(location) == {"state": "done", "exit_code": 0, "message": ""}
    assert "Passed: every tier that the owner's policy requires" in result.out
    assert "The adversarial tier, required by the shipped policy, is not required here." in result.out
    assert "Victims and adversary depart from the shipped audit-quick: victim.epochs 1.0 (shipped: 15.0)" in result.out
    (row,) = certificate_of(location).rows
    assert (row.seeds, row.valid) == (3, True)
    assert row.high is not None
    assert row.over_random is not None
    assert (row.high < 0.3, row.over_random < 0) == (True, True)
    assert failed_checks(location) == {}


def test_victims_are_a_line_each_and_the_certificate_follows_from_them(audited: Path, inputs: Path) -> None:
    victims = read_victims(audited / "run/audit")
    kinds = [(victim.threat, victim.trained_on) for victim in victims]
    threats, sets = ("standard", "pgd(radius=4/255)"), ("clean", "random", "protected")
    rows = [(threat, kind) for threat in threats for kind in sets]
    assert sorted(kinds) == sorted([*rows, ("standard", "yardstick")])
    certificate = certificate_of(audited / "run")
    assert certificate.digest == read_facts(audited / "run/release").digest
    assert (certificate.images, certificate.holdout.origin, certificate.holdout.images) == (24, "given", 20)
    for row in certificate.rows:
        assert row.valid, row.reason
        (protected,) = (v for v in victims if (v.threat, v.trained_on) == (row.threat, "protected"))
        shares = (protected.named(20) == LABELS).mean(axis=1).tolist()
        assert row.protected.final == pytest.approx(shares[-1])
        assert row.leakage_at_end == pytest.approx((row.protected.final - 0.5) / (row.clean.final - 0.5), abs=1e-5)
        assert not row.relabelled
        assert (row.protected.judged, row.step) == (pytest.approx(max(shares)), protected.steps[np.argmax(shares)])
        assert row.leakage == pytest.approx((row.protected.judged - 0.5) / (row.clean.judged - 0.5), abs=1e-5)


def test_the_figures_are_drawn_from_certificate_and_curves_alone(audited: Path) -> None:
    """Neither holds an image, so no figure can show a clean pixel."""
    curves = [victim.curve() for victim in read_victims(audited / "run/audit")]
    drawn = card_figures(certificate_of(audited / "run"), curves)
    assert sorted(f"release/{name}" for name in drawn) == FIGURES
    for name, data in drawn.items():
        assert (audited / "run/release" / name).read_bytes() == data


def test_nothing_private_is_in_the_release(tmp_path: Path, inputs: Path) -> None:
    """Paths of source, test images and weights, names of files, of the user and of the machine."""
    weights = tmp_path / "confidential-folder" / "backbone.safetensors"
    weights.parent.mkdir()
    save_file(build_model("small_resnet", 2, 32, 0).network.state_dict(), weights)
    location = Path(shutil.copytree(inputs / "run", tmp_path / "run"))
    networks = {"tiers__standard__architectures": ["source", f"small_resnet(weights={weights}, resize=32)"]}
    audit_run(location, "--holdout", inputs / "test", **networks)
    release = snapshot(location / "release")
    text = b"".join(data or b"" for name, data in release.items() if not name.endswith((".png", ".parquet")))
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert f"backbone.safetensors sha256:{digest}".encode() in text
    home, host = str(Path.home()), socket.gethostname()
    private = [tmp_path, inputs, inputs.parent.name, "confidential", "00.png", "seconds", Path.cwd()]
    for word in (*map(str, private), home if home != "/" else "/root", getpass.getuser() + "@", host):
        assert word.encode() not in text, word
        assert not any(word.encode() in path.encode() for path in release)


def test_json_is_one_object_that_agrees_with_the_certificate(audited_copy: Path, audited: Path, inputs: Path) -> None:
    options = ("--holdout", inputs / "test", "--recipe", audited / "both.yaml")
    result = fall_short(audited_copy, *options, "--json")
    certificate = certificate_of(audited_copy)
    assert result.json["passed"] is certificate.passed is False
    assert result.json["summary"] == certificate.summary
    assert result.json["digest"] == certificate.digest
    assert result.json["rows"] == [row.model_dump() for row in certificate.rows]
    assert result.json["certificate"] == str(audited_copy / "release/audit.json")
    assert result.json["report"] == str(audited_copy / "audit/report.html")
    assert result.err.splitlines()[-1].startswith("error: Fell short of the owner's policy")


# --- again


def test_the_same_audit_again_ends_with_the_same_bytes_but_for_the_count_of_shared_baselines(
    audited_copy: Path, audited: Path, inputs: Path
) -> None:
    options = ("--holdout", inputs / "test", "--recipe", audited / "both.yaml")
    before, first = snapshot(audited_copy), certificate_of(audited_copy)
    fall_short(audited_copy, *options)
    after, second = snapshot(audited_copy), certificate_of(audited_copy)
    assert second.cached == 5, "clean and random of both rows, and the yardstick"
    assert second == first.model_copy(update={"cached": 5})
    victims, status = "audit/victims.jsonl", "private/status.json"
    told = {"audit/report.html", "release/README.md", "release/audit.json", "release/protection.json"}
    assert {name for name in before if before[name] != after[name]} <= {victims, status, *told}

    def found(lines: bytes | None) -> list[VictimRecord]:
        records = [VictimRecord.model_validate_json(line) for line in (lines or b"").splitlines()]
        same = {"seconds": 0.0, "cached": False}
        return sorted((record.model_copy(update=same) for record in records), key=lambda record: record.key)

    assert found(after[victims]) == found(before[victims])
    fall_short(audited_copy, *options)
    again = snapshot(audited_copy)
    assert {name for name in after if after[name] != again[name]} <= {victims, status}
    fall_short(audited_copy, *options, "--resume")
    assert certificate_of(audited_copy) == second, "what came from the cache is remembered"


def test_audits_of_the_same_originals_are_counted_and_outlive_overwrite(tmp_path: Path, inputs: Path) -> None:
    location = Path(shutil.copytree(inputs / "run", tmp_path / "run"))

    def counted(*options: object, **changes: object) -> tuple[int, int]:
        attempts = audit_run(location, "--holdout", inputs / "test", *options, **changes).attempts
        assert attempts is not None
        return attempts.earlier, attempts.releases

    assert counted() == (0, 0)
    assert counted() == (0, 0), "the same audit is no other attempt"
    assert counted(tiers__standard__limit=0.31) == (1, 0)
    protect(inputs / "clean", location, "--overwrite", "--seed", "1")
    assert counted() == (2, 1)
    (told,) = (sentence for sentence in certificate_of(location).summary if "attempt" in sentence)
    assert (
        told == "Not the first attempt: the run remembers 2 other audits of these images, of 1 other release of them."
    )
    assert failed_checks(location) == {}


def test_another_audit_replaces_figures_and_certificate_and_leaves_nothing_of_the_first(
    audited_copy: Path, audited: Path, inputs: Path
) -> None:
    (audited_copy / "release/figures/.audit-classes.png.partial").write_bytes(b"left by a killed audit")
    first = certificate_of(audited_copy)
    second = audit_run(audited_copy, "--holdout", inputs / "test")
    assert (len(first.rows), len(second.rows)) == (2, 1)
    assert [victim.threat for victim in read_victims(audited_copy / "audit")] == ["standard"] * 4
    assert failed_checks(audited_copy) == {}
    assert "adversarial training (L∞" not in (audited_copy / "release/README.md").read_text(encoding="utf-8")


def test_rows_of_required_tiers_have_more_victims_than_others(tmp_path: Path, inputs: Path) -> None:
    location = Path(shutil.copytree(inputs / "run", tmp_path / "run"))
    changes = {"seeds": {"required": 2, "others": 1}, "tiers__adaptive__threats": ["median"]}
    certificate = audit_run(location, "--holdout", inputs / "test", **changes)
    assert {row.tier: row.seeds for row in certificate.rows} == {"standard": 2, "adaptive": 1}
    found = Counter((victim.threat, victim.trained_on) for victim in read_victims(location / "audit"))
    kinds = ("clean", "random", "protected")
    expected = {("standard", "yardstick"): 2, **{("standard", kind): 2 for kind in kinds}}
    assert found == {**expected, **{("median", kind): 1 for kind in kinds}}
    seeds = {victim.trained_on: victim.seed for victim in read_victims(location / "audit") if victim.threat == "median"}
    assert seeds["clean"] == seeds["random"] != seeds["protected"], "those of the release derive from its digest"


# --- the plan


def test_a_plan_writes_nothing_and_counts_the_victims_that_the_audit_trains(
    tmp_path: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = Path(shutil.copytree(inputs / "run", tmp_path / "run"))
    monkeypatch.setenv("REM_RELEASE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    tiers = {"tiers__adversarial": LEARNING["tiers__adversarial"]}
    recipe = write_audit_recipe(tmp_path / "both.yaml", **{**QUICK, **tiers})
    options = (location, "--holdout", inputs / "test", "--recipe", recipe)
    before = snapshot(tmp_path)
    plan = succeed("audit", *options, "--plan", "--json").json
    assert snapshot(tmp_path) == before
    assert (plan["victims"], plan["known"], plan["rows"]["adversarial"]) == (7, 0, 1)
    # two steps of 24 images, two of PGD more for those trained adversarially, and the steps of the shipped recipe
    assert plan["passes"] == 2 * 24 * 3 * (1 + 3) + 480 * 24
    fall_short(*options)
    assert len(read_victims(location / "audit")) == plan["victims"]
    again = succeed("audit", *options, "--plan", "--json").json
    assert again["known"] == 5, "an audit that is not resumed trains the victims of the release anew"
    assert succeed("audit", *options, "--plan", "--resume", "--json").json["known"] == 7
    assert plan["device_memory_bytes"] is None, "this is a CPU"
    assert "Nothing was written." in succeed("audit", *options, "--plan").out


# --- what can be audited


def test_a_release_without_its_run_is_left_alone_and_its_audit_goes_beside(
    tmp_path: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = Path(shutil.copytree(inputs / "run/release", tmp_path / "downloaded"))
    before = snapshot(release)
    recipe = write_audit_recipe(tmp_path / "quick.yaml", **QUICK)
    monkeypatch.chdir(tmp_path)
    fall_short(release, "--clean", inputs / "clean", "--holdout", inputs / "test", "--recipe", recipe)
    assert snapshot(release) == before
    out = tmp_path / "downloaded-audit"
    assert read_certificate(out / "audit.json").digest == read_facts(release).digest
    assert (out / "report.html").is_file()


@pytest.mark.parametrize("form", ["folders", "parquet", "jpeg"])
def test_any_protected_copy_is_audited_and_left_alone(tmp_path: Path, inputs: Path, form: str) -> None:
    clean, noisy = inputs / "clean", inputs / "noisy"
    if form == "parquet":
        noisy = as_parquet(noisy, tmp_path / "noisy.parquet")
    if form == "jpeg":  # the originals are JPEG, and the copy is what was decoded, plus noise, as PNG
        clean, noisy = draw_colours(tmp_path / "clean", form="jpg"), tmp_path / "noisy"
        for path in clean.rglob("*.jpg"):
            pixels = np.asarray(Image.open(path)).astype(np.int16)
            copy = noisy / path.relative_to(clean).with_suffix(".png")
            copy.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(pixels + 8, 0, 255).astype(np.uint8)).save(copy)
    before = [snapshot(folder) for folder in (noisy.parent, clean)]
    out = tmp_path / "elsewhere" / "out"
    out.parent.mkdir()
    certificate = audit_copy(noisy, clean, inputs / "test", out)
    kept = {n: d for n, d in snapshot(noisy.parent).items() if not n.startswith("elsewhere")}
    assert [kept, snapshot(clean)] == before
    files = ["answers.parquet", "audit.json", "curves.json", "figures", "report.html", "victims.jsonl"]
    assert sorted(path.name for path in out.iterdir()) == files
    assert certificate.rho_u == "8/255"
    assert certificate.classes == ["blue", "red"]
    assert certificate.images == 24


@pytest.fixture(scope="module")
def told_apart(tmp_path_factory: pytest.TempPathFactory, inputs: Path) -> Path:
    """`copy` and `clean` of splits `train`, three times as much noise as originals of other colours, and `validation`,
    whose columns are called `scan` and `kind` like those of `test`."""
    folder, columns = tmp_path_factory.mktemp("told"), ("scan", "kind")
    for name, noise in (("copy", 24), ("clean", 0)):
        (folder / name).mkdir()
        shown = inputs / {"copy": "noisy", "clean": "clean"}[name]
        as_parquet(shown, folder / name / "validation-00000-of-00001.parquet", columns)
        other = draw_colours(folder / f"other-{name}", seed=5, noise=noise)
        as_parquet(other, folder / name / "train-00000-of-00001.parquet", columns)
    as_parquet(inputs / "test", folder / "test.parquet", columns)
    return folder


CHOSEN = ("--split", "validation", "--image-column", "scan", "--label-column", "kind")


def audit_chosen(folder: Path, out: Path, *options: object) -> Certificate:
    recipe = write_audit_recipe(out.with_suffix(".yaml"), **QUICK)
    given = ("--clean", folder / "clean", "--holdout", folder / "test.parquet", "--recipe", recipe, "--out", out)
    fall_short(folder / "copy", *given, *options)
    return read_certificate(out / "audit.json")


def test_split_and_columns_of_a_copy_are_chosen(tmp_path: Path, inputs: Path, told_apart: Path) -> None:
    chosen = audit_chosen(told_apart, tmp_path / "chosen", *CHOSEN)
    same = audit_copy(inputs / "noisy", inputs / "clean", inputs / "test", tmp_path / "folders")
    differ = {"cached", "attempts", "recipe_name"}
    assert chosen.model_dump(exclude=differ) == same.model_dump(exclude=differ)
    other = audit_chosen(told_apart, tmp_path / "train", "--image-column", "scan", "--label-column", "kind")
    assert (other.rho_u, chosen.rho_u) == ("24/255", "8/255")
    assert other.digest != chosen.digest


@pytest.mark.parametrize(("rho_u", "rho_a", "warns"), [("4/255", "2/255", True), ("8px", "4/255", False)])
def test_a_stated_radius_is_that_of_random_noise_and_adversary(
    tmp_path: Path, told_apart: Path, rho_u: str, rho_a: str, warns: bool
) -> None:
    recipe = write_audit_recipe(
        tmp_path / "both.yaml", **{**QUICK, "tiers__adversarial": LEARNING["tiers__adversarial"]}
    )
    given = ("--clean", told_apart / "clean", "--holdout", told_apart / "test.parquet", "--recipe", recipe)
    result = fall_short(told_apart / "copy", *given, "--out", tmp_path / "out", *CHOSEN, "--rho-u", rho_u)
    certificate = read_certificate(tmp_path / "out/audit.json")
    assert (certificate.rho_u, certificate.rho_a) == (
        f"{rho_u.removesuffix('px')}/255" if "px" in rho_u else rho_u,
        rho_a,
    )
    assert {row.radius for row in certificate.rows if row.tier == "adversarial"} == {rho_a}
    assert ("by up to 8/255, more than --rho-u 4/255" in result.err) is warns


def test_a_stopped_audit_of_a_copy_resumes_with_other_options_as_if_it_had_begun_with_them(
    tmp_path: Path, told_apart: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No victim of the options before is taken for one of these: each is named by its images and its noise."""
    monkeypatch.setenv("REM_RELEASE_CACHE", str(tmp_path / "cache"))
    others = ("--image-column", "scan", "--label-column", "kind", "--rho-u", "8/255")
    for number, (before, now) in enumerate(
        [((*CHOSEN, "--rho-u", "8/255"), others), ((*CHOSEN, "--rho-u", "4/255"), (*CHOSEN, "--rho-u", "8/255"))]
    ):
        mixed, fresh = tmp_path / f"mixed{number}", tmp_path / f"fresh{number}"
        audit_chosen(told_apart, mixed, *before)
        (mixed / "report.html").unlink()
        resumed = audit_chosen(told_apart, mixed, *now, "--resume")
        shutil.rmtree(tmp_path / "cache")
        begun = audit_chosen(told_apart, fresh, *now)
        differ = {"cached", "recipe_name"}
        assert resumed.model_dump(exclude=differ) == begun.model_dump(exclude=differ)
        assert (mixed / "answers.parquet").read_bytes() == (fresh / "answers.parquet").read_bytes()


def test_class_folders_with_the_names_of_a_run_are_no_run(tmp_path: Path, inputs: Path) -> None:
    for name in ("clean", "noisy", "test"):
        shutil.copytree(inputs / name / "blue", tmp_path / name / "private")
        shutil.copytree(inputs / name / "red", tmp_path / name / "release")
    before = snapshot(tmp_path / "noisy")
    certificate = audit_copy(tmp_path / "noisy", tmp_path / "clean", tmp_path / "test", tmp_path / "out")
    assert snapshot(tmp_path / "noisy") == before
    assert certificate.classes == ["private", "release"]


def test_the_reserve_is_tested_on_and_without_it_rows_are_held_out(tmp_path: Path, inputs: Path) -> None:
    location = protect(inputs / "clean", tmp_path / "reserved", "--reserve", "0.25")
    certificate = audit_run(location)
    assert (certificate.holdout.origin, certificate.holdout.images, certificate.images) == ("reserve", 6, 18)
    assert failed_checks(location) == {}
    whole = Path(shutil.copytree(inputs / "run", tmp_path / "whole"))
    certificate = audit_run(whole, **{"holdout__share": 0.25})
    assert (certificate.holdout.origin, certificate.holdout.images, certificate.images) == ("held out", 6, 18)
    assert any("same source" in sentence for sentence in certificate.not_covered)


def test_partial_protection_is_held_against_its_clean_part(tmp_path: Path, inputs: Path) -> None:
    parts = ("--fraction", "0.5", "--release-unprotected")
    location = protect(inputs / "clean", tmp_path / "run", *parts)
    recipe = write_audit_recipe(tmp_path / "learning.yaml", **{**LEARNING, "tiers__adversarial": {"required": True}})
    fall_short(location, "--holdout", inputs / "test", "--recipe", recipe)
    (row,) = certificate_of(location).rows
    victims = {victim.trained_on: victim for victim in read_victims(location / "audit")}
    assert sorted(victims) == ["clean", "clean part", "protected", "random", "yardstick"]
    assert row.floor_is == "clean part"
    hits = victims["clean part"].named(20)[-1] == LABELS
    assert row.floor == pytest.approx(float(balanced_accuracy(hits, LABELS)))
    assert row.floor > 0.6, "half of the originals teach the colours well"
    assert failed_checks(location) == {}


def test_images_of_many_sizes(tmp_path: Path, inputs: Path) -> None:
    rng = random.Random(0)
    for number, name in enumerate(("cat", "dog")):
        for index in range(8):
            size = (rng.randint(9, 40), rng.randint(9, 40))
            draw(tmp_path / "photos" / name / f"{index}.png", 100 * number + index, size)
    location = protect(tmp_path / "photos", tmp_path / "run", "--reserve", "0.5")
    filters = {"tiers__adaptive": {"threats": ["median", "jpeg(quality=10,on=both)", "greyscale(on=both)"]}}
    certificate = audit_run(location, **filters)
    assert [row.threat for row in certificate.rows if row.tier == "adaptive"] == [
        "median",
        "jpeg(quality=10,on=both)",
        "greyscale(on=both)",
    ]
    assert failed_checks(location) == {}


def test_albums_and_clusters(tmp_path: Path, inputs: Path) -> None:
    albums = protect(inputs / "clean", tmp_path / "albums", "--label-from", "albums")
    certificate = audit_run(albums, "--holdout", inputs / "test")
    assert certificate.classes == ["album-000", "album-001"]
    assert failed_checks(albums) == {}
    report = (albums / "audit/report.html").read_text(encoding="utf-8")
    assert not any(f">{name}<" in report for name in ("blue", "red"))
    options = ("--label-from", "clusters", "--reserve", "0.25")
    recipe_key = ("--set", "data.clusters=2")
    for folder in ("blue", "red"):
        for path in (inputs / "clean" / folder).iterdir():
            (tmp_path / "loose").mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / "loose" / f"{folder}-{path.name}")
    clusters = protect(tmp_path / "loose", tmp_path / "clusters", *options, *recipe_key)
    assert audit_run(clusters).holdout.origin == "reserve"
    assert failed_checks(clusters) == {}


# --- damage


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


@pytest.mark.parametrize(
    "name", ["answers.parquet", "audit.json", *(figure.removeprefix("release/") for figure in FIGURES)]
)
def test_a_flipped_bit_is_found(audited_copy: Path, name: str) -> None:
    path = audited_copy / "release" / name
    whole = path.read_bytes()
    chosen = random.Random(name)
    for bit in (0, 8 * len(whole) - 1, *(chosen.randrange(8 * len(whole)) for _ in range(3))):
        flip(path, bit)
        assert name in " ".join(failed_checks(audited_copy).values()), bit
        path.write_bytes(whole)
    assert failed_checks(audited_copy) == {}


def test_a_certificate_of_other_data_is_void(tmp_path: Path, audited: Path, inputs: Path) -> None:
    other = protect(inputs / "noisy", tmp_path / "other")
    shutil.copy(audited / "run/release/audit.json", other / "release/audit.json")
    assert "void" in failed_checks(other)["certificate"]
    audit_run(other, "--holdout", inputs / "test")
    assert failed_checks(other) == {}, "auditing these data mends it"


def test_an_audit_cannot_be_lost_unseen(audited_copy: Path) -> None:
    (audited_copy / "release/audit.json").unlink()
    assert "audit.json is missing" in failed_checks(audited_copy)["file list"]


# --- victims that fail


def test_a_diverging_victim_makes_its_row_invalid_and_not_the_audit(tmp_path: Path, inputs: Path) -> None:
    location = Path(shutil.copytree(inputs / "run", tmp_path / "run"))
    certificate = audit_run(location, "--holdout", inputs / "test", **{"victim__learning_rate": 1e9})
    (row,) = certificate.rows
    assert not row.valid
    assert row.reason == "the loss of a victim became NaN or infinite"
    assert certificate.tiers[0].outcome == "not tested"
    finite = {victim.trained_on for victim in read_victims(location / "audit") if victim.finite}
    assert finite == {"yardstick"}, "that of the shipped recipe"
    assert failed_checks(location) == {}
    json.loads((location / "audit/victims.jsonl").read_text().splitlines()[0])
