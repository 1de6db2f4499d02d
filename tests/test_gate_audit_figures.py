"""The figures of an audit are what it plots from its certificate and its curves, which it keeps."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rem_release.audit.curves import read_curves, write_curves
from rem_release.data.images.decoding import decode
from rem_release.data.images.png_writing import encode_png
from rem_release.errors import VerificationError
from rem_release.gate.audit_figures import check_audit_figures
from rem_release.release.certificate import CURVES_FIGURE, read_certificate
from rem_release.release.documents import find_certificate, read_facts
from rem_release.verification.report import Check
from tests.audit_commands import audit_run, draw_colours, fall_short, protect
from tests.audits import read_victims
from tests.certificates import make_certificate, make_curves
from tests.command_line import pixels_of, released, snapshot


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an audited `run` and its `test` images. Not to be changed."""
    folder = tmp_path_factory.mktemp("audited")
    draw_colours(folder / "clean")
    draw_colours(folder / "test", count=10, seed=1)
    protect(folder / "clean", folder / "run")
    audit_run(folder / "run", "--holdout", folder / "test")
    return folder


@pytest.fixture
def audited(tmp_path: Path, first: Path) -> Path:
    return Path(shutil.copytree(first / "run", tmp_path / "run"))


def check(run: Path) -> Check:
    release = run / "release"
    return check_audit_figures(release, read_facts(release), find_certificate(release), run / "audit/curves.json")


def test_the_figures_of_an_audit_pass(audited: Path) -> None:
    found = check(audited)
    assert found.passed is True, found.detail
    assert found.detail.startswith("3 figures, each as the audit plots it")


def test_the_curves_are_those_of_the_victims(audited: Path) -> None:
    victims = [victim.curve() for victim in read_victims(audited / "audit")]
    assert sorted(map(repr, read_curves(audited / "audit/curves.json"))) == sorted(map(repr, victims))


def test_without_an_audit_there_are_no_figures_to_check(finished_run: Path) -> None:
    assert check(finished_run).passed is True


def test_figures_without_their_certificate_are_refused(audited: Path) -> None:
    (audited / "release/audit.json").unlink()
    assert check(audited).passed is False


def plant_image(run: Path) -> None:
    """A released image in the corner of a figure: nothing that an audit would plot."""
    path = run / "release" / CURVES_FIGURE
    pixels = decode(path.read_bytes())
    pixels[:16, :16] = pixels_of(released(run / "release")[0]["image"]["bytes"])
    path.write_bytes(encode_png(pixels))


def change_a_pixel(run: Path) -> None:
    path = run / "release" / CURVES_FIGURE
    pixels = decode(path.read_bytes())
    pixels[0, 0, 0] ^= 1
    path.write_bytes(encode_png(pixels))


def break_figure(run: Path) -> None:
    (run / "release" / CURVES_FIGURE).write_bytes(b"no image")


@pytest.mark.parametrize("plant", [plant_image, change_a_pixel, break_figure])
def test_another_plot_is_refused(audited: Path, plant: Callable[[Path], None]) -> None:
    plant(audited)
    found = check(audited)
    assert found.passed is False
    assert f"{CURVES_FIGURE} is not what the audit plots from its certificate and curves.json" in found.detail
    assert f"rem-release audit {audited} --resume" in found.detail


def change_value(path: Path) -> None:
    curve, *rest = read_curves(path)
    write_curves(path, [replace(curve, loss=[value + 0.5 for value in curve.loss]), *rest])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (Path.unlink, "curves.json cannot be read (No such file or directory)"),
        (lambda path: path.write_text("{"), "curves.json is damaged: Invalid JSON"),
        (lambda path: path.write_text('{"curves": [{"seed": 0}]}'), "curves.json is damaged: Field required"),
        (change_value, f"{CURVES_FIGURE} is not what the audit plots"),
        (lambda path: write_curves(path, []), f"{CURVES_FIGURE} is not one of this audit"),
    ],
    ids=["missing", "cut off", "of another form", "another value", "empty"],
)
def test_lost_or_other_curves_are_refused_and_resuming_mends_them(
    audited: Path, first: Path, damage: Callable[[Path], None], words: str
) -> None:
    path, before = audited / "audit/curves.json", snapshot(audited)
    damage(path)
    found = check(audited)
    assert found.passed is False
    assert words in found.detail
    assert f"rem-release audit {audited} --resume" in found.detail
    result = fall_short(
        audited, "--holdout", first / "test", "--recipe", (first / "run").with_suffix(".audit.yaml"), "--resume"
    )
    assert "4 of 4 victims are known already" in result.err
    assert check(audited).passed is True
    after = snapshot(audited)
    assert {name for name in before if before[name] != after[name]} <= {"private/status.json"}


def test_a_figure_that_is_missing_is_named(audited: Path) -> None:
    release = audited / "release"
    facts = read_facts(release)
    files = {name: file for name, file in facts.files.items() if name != CURVES_FIGURE}
    facts = facts.model_copy(update={"files": files})
    found = check_audit_figures(release, facts, read_certificate(release / "audit.json"), audited / "audit/curves.json")
    assert found.passed is False
    assert f"{CURVES_FIGURE} is missing" in found.detail


# --- the file of curves


def test_curves_come_back_as_they_were_written(tmp_path: Path) -> None:
    curves = make_curves(make_certificate())
    shares = {"train_accuracy": [0.0, 0.1, 1.0], "test_accuracy": [0.5, 1 / 3, 0.2]}
    curves[0] = replace(curves[0], steps=[1, 2, 3], loss=[float("nan"), float("inf"), 1 / 3], **shares)
    write_curves(tmp_path / "curves.json", curves)
    assert repr(read_curves(tmp_path / "curves.json")) == repr(curves)
    assert [path.name for path in tmp_path.iterdir()] == ["curves.json"]


def test_curves_with_an_unknown_key_are_refused(tmp_path: Path) -> None:
    (tmp_path / "curves.json").write_text('{"curves": [], "more": 1}')
    with pytest.raises(VerificationError, match=r"curves\.json is damaged"):
        read_curves(tmp_path / "curves.json")
