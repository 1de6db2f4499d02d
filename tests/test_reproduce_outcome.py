"""From victims to pages: what is said of rows that are left out, and of victims that fit badly or were lost."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from rem_release.audit.ledger import VictimRecord
from rem_release.reproduce.outcome import Outcome, write_outcome
from rem_release.reproduce.paper import Cell, Figure, load
from rem_release.reproduce.scale import load_scale

IMAGES = "600 training and 2,000 test images of here (PNG)"


def outcome(name: str, scale: str = "quick", records: dict[Cell, list[VictimRecord]] | None = None) -> Outcome:
    return Outcome(name, load(name), load_scale(scale), "cifar10", IMAGES, {}, records or {})


def record(fit: float, finite: bool = True) -> VictimRecord:
    curve = [0.2, 0.4] if finite else [0.2]
    return VictimRecord(
        **{"key": "key", "architecture": "small_resnet", "threat": "standard", "trained_on": "clean", "seed": 0},
        **{"finite": finite, "answers": "", "train_accuracy": 0.5, "fit": fit, "attack_gain": None, "steps": [5, 10]},
        **{"loss": curve, "train_curve": curve, "test_curve": curve, "learnability": None, "seconds": 1.0},
    )


def records(name: str, fit: float, finite: bool = True) -> dict[Cell, list[VictimRecord]]:
    figure = load(name)
    assert isinstance(figure, Figure)
    return {cell: [record(fit, finite)] for cell in figure.cells()}


def words(path: Path) -> str:
    """All that is written in an SVG, its lines joined."""
    texts = [element for element in ET.parse(path).getroot().iter() if element.tag.endswith("}text")]
    return " ".join(" ".join("".join(element.itertext()).split()) for element in texts)


@pytest.mark.parametrize("name", ["table3", "table9"])
def test_rows_with_the_same_victims_are_left_out_with_a_note(name: str, tmp_path: Path) -> None:
    lines, _ = write_outcome(outcome(name), tmp_path)
    same = "(here its victims are those of ResNet-18)"
    assert f"Rows left out at this scale: ResNet-50 {same}; Wide ResNet-34-10 {same}." in lines
    heads = [line.split("|")[1].strip() for line in lines if line.startswith("|")]
    assert [head for head in heads if head][2:] == ["VGG-16", "ResNet-18", "DenseNet-121"]
    assert "ResNet-50" not in (tmp_path / f"{name}.csv").read_text()
    assert not any("left out" in line for line in outcome(name, "full").opening)


def test_rows_without_the_claim_are_left_out_with_a_note() -> None:
    expected = "Rows left out at this scale: 0; 1/255; 3/255."
    assert expected in outcome("table1", "smoke").opening
    assert expected in outcome("figure1", "smoke").opening


@pytest.mark.parametrize(("fit", "warns"), [(0.899, True), (0.9, False)])
@pytest.mark.parametrize("name", ["figure1", "figure2", "figure7"])
def test_a_figure_warns_of_victims_that_fit_badly(name: str, fit: float, warns: bool, tmp_path: Path) -> None:
    """Both on its page and in the drawing."""
    found = records("figure2" if name == "figure1" else name, fit)
    lines, document = write_outcome(outcome(name, records=found), tmp_path)
    assert any("say little about noise" in line for line in lines) == warns
    assert ("say little about noise" in words(tmp_path / f"{name}.svg")) == warns
    assert any("say little" in note for note in document["notes"]) == warns
    assert "small_resnet was trained in place of resnet18." in document["notes"]


def test_the_drawing_says_title_scale_and_images_as_sentences_and_the_page_has_all_forms(tmp_path: Path) -> None:
    lines, document = write_outcome(outcome("figure7", records=records("figure7", 1.0)), tmp_path)
    assert "(paper Figure 7). Scale quick: 600 images" in words(tmp_path / "figure7.svg")
    assert f"Images: {IMAGES}." in words(tmp_path / "figure7.svg")
    endings = (".csv", ".json", ".md", ".png", ".svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"figure7{ending}" for ending in endings]
    assert lines[-1].endswith(", ".join(endings))
    assert "\n".join(lines).startswith((tmp_path / "figure7.md").read_text())
    assert json.loads((tmp_path / "figure7.json").read_bytes()) == document
    assert [line["name"] for line in document["lines"]] == ["Clean", "EM", "TAP", "NTGA", "REM"]


def test_victims_that_are_lost_leave_curves_that_end_early(tmp_path: Path) -> None:
    lines, document = write_outcome(outcome("figure7", records=records("figure7", 0.0, finite=False)), tmp_path)
    assert "5 victims ended with a loss of NaN or infinity; their curves end early." in lines
    assert "- No victim was trained to the end." in lines
    assert [(line["fit"], line["steps"]) for line in document["lines"]] == [(None, [5])] * 5
