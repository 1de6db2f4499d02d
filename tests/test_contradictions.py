"""Documents of a release that contradict themselves: one line wherever they are read, and never a traceback."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rem_release.audit.curves import read_curves
from rem_release.errors import VerificationError
from rem_release.release.canonical import seal
from rem_release.release.certificate import read_certificate
from tests.command_line import run
from tests.pushes import certify

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory, finished_run: Path) -> Path:
    """A certified run. Not to be changed."""
    return certify(Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("certified") / "run")))


@pytest.fixture
def mine(tmp_path: Path, certified: Path) -> Path:
    return Path(shutil.copytree(certified, tmp_path / "run"))


def change(path: Path, alter: Change) -> None:
    """Alter a sealed document and seal it again."""
    document = json.loads(path.read_bytes())
    del document["sha256"]
    alter(document)
    path.write_bytes(seal(document))


def set_features(alter: Callable[[Any], object]) -> Change:
    def apply(facts: dict[str, Any]) -> None:
        features = json.loads(facts["data"]["features"])
        alter(features)
        facts["data"]["features"] = json.dumps(features)

    return apply


FACTS: dict[str, tuple[Change, str]] = {
    "features no JSON": (lambda f: f["data"].update(features="{"), "data.features does not describe columns"),
    "features a list": (lambda f: f["data"].update(features="[[[[]]]]"), "data.features does not describe columns"),
    "features deep": (lambda f: f["data"].update(features="[" * 5000), "data.features does not describe columns"),
    "features of no type": (set_features(lambda f: f["label"].update(_type="Nothing")), "does not describe columns"),
    "features of nothing": (set_features(lambda f: f.update(x=[])), "does not describe columns"),
    "no label": (set_features(lambda f: f.pop("label")), "columns and features differ"),
    "image no image": (
        set_features(lambda f: f.update(image={"dtype": "int64", "_type": "Value"})),
        "'image' is no column of images",
    ),
    "a class twice": (
        set_features(lambda f: f["label"].update(names=["cat", "cat"])),
        "data.features does not describe columns",
    ),
    "an extra class": (lambda f: f["data"]["classes"].append("emu"), "classes and class_counts differ"),
    "other classes": (lambda f: f["data"].update(classes=["a", "b"]), "classes are not those of the features"),
    "class counts": (lambda f: f["data"]["class_counts"].append(0), "classes and class_counts differ"),
    "splits": (lambda f: f["data"].update(split_images={"a b": 8}), "split_images names other splits"),
    "left out": (
        lambda f: f["data"].update(left_out={"too large": 1}),
        "left_out does not add up to the skipped rows",
    ),
    "held back": (
        lambda f: f["data"].update(left_out={"not protected": 1}),
        "left_out does not add up to the rows held back",
    ),
    "a reason of the owner's": (
        lambda f: f["data"].update(left_out={"private/anna.png": 1}),
        "does not follow its schema: data.left_out.private/anna.png",
    ),
    "a long number": (lambda f: f["cost"].update(noise_gradients=10**4000), "an integer has 4001 digits"),
    "files elsewhere": (
        lambda f: f["files"].update({"data/../x": {"bytes": 1, "sha256": "", "rows": 0}}),
        "files lists other data files",
    ),
    "radius": (lambda f: f["protection"].update(rho_u="9" * 5000), "the radii cannot be read"),
}


@pytest.mark.parametrize("name", FACTS)
def test_facts_that_contradict_themselves(mine: Path, name: str) -> None:
    alter, reason = FACTS[name]
    change(mine / "release/protection.json", alter)
    for command in (
        ("card", mine),
        ("verify", mine),
        ("verify", mine / "release", "--json"),
        ("audit", mine, "--plan"),
        ("push", mine, "me/mine", "--dry-run"),
        ("push", mine, "me/mine", "--dry-run", "--card-field", "about=x"),
    ):
        result = run(*command)
        assert result.code == (3 if command[0] == "push" else 1), (command, result.err)
        assert reason in result.err, (command, result.err)
        assert sum(line.startswith("error: ") for line in result.err.splitlines()) == 1
        assert len(result.err) < 3000


CERTIFICATES: dict[str, Change] = {
    "radius": lambda c: c.update(rho_a="1/0"),
    "radius of a row": lambda c: c["rows"][0].update(radius="x"),
    "long radius": lambda c: c.update(rho_u="9" * 5000),
    "accuracy of a class": lambda c: c["rows"][0]["clean"].update(per_class=[0.5, 1e300]),
    "spread": lambda c: c["rows"][0]["clean"].update(spread=1e308),
    "chance": lambda c: c.update(chance=-1e308),
    "another class": lambda c: c["classes"].append("emu"),
}


@pytest.mark.parametrize("name", CERTIFICATES)
def test_certificates_that_cannot_be_drawn(mine: Path, name: str) -> None:
    change(mine / "release/audit.json", CERTIFICATES[name])
    with pytest.raises(VerificationError, match=r"^audit\.json does not follow its schema: "):
        read_certificate(mine / "release/audit.json")
    for command, code in ((("card", mine), 1), (("verify", mine), 1), (("push", mine, "me/mine", "--dry-run"), 3)):
        result = run(*command)
        assert result.code == code, result.err
        assert "audit.json does not follow its schema" in result.out + result.err


CURVES: dict[str, tuple[Change, str]] = {
    "unequal": (lambda c: c["curves"][0]["loss"].append(0.5), "not of one length"),
    "shorter": (lambda c: c["curves"][-1]["steps"].pop(), "not of one length"),
    "step": (lambda c: c["curves"][0]["steps"].__setitem__(0, -5), "a step of curve 0 is not from 0"),
    "long step": (lambda c: c["curves"][0]["steps"].__setitem__(0, 10**300), ""),
    "accuracy": (lambda c: c["curves"][0]["test_accuracy"].__setitem__(0, 1e300), "an accuracy of curve 0"),
    "loss": (lambda c: c["curves"][0]["loss"].__setitem__(0, 1e308), "a loss of curve 0"),
    "no list": (lambda c: c.update(curves={}), ""),
}


@pytest.mark.parametrize("name", CURVES)
def test_curves_that_cannot_be_drawn(mine: Path, name: str) -> None:
    alter, reason = CURVES[name]
    path = mine / "audit/curves.json"
    document = json.loads(path.read_bytes())
    alter(document)
    path.write_text(json.dumps(document))
    with pytest.raises(VerificationError, match=r"curves\.json is damaged: ") as refusal:
        read_curves(path)
    assert reason in str(refusal.value)
    result = run("push", mine, "me/mine", "--dry-run")
    assert result.code == 3, result.err
    assert "audit figures: they cannot be compared with what was found: " in result.err


PRIVATE: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "source": ("options.json", lambda options: options | {"source": 3}),
    "drop columns": ("options.json", lambda options: options | {"source": options["source"] | {"drop_columns": {}}}),
    "label column": ("options.json", lambda options: options | {"source": options["source"] | {"label_column": {}}}),
    "no source": ("options.json", lambda options: {}),
}


@pytest.mark.parametrize("name", PRIVATE)
def test_options_that_are_damaged(mine: Path, name: str) -> None:
    file, alter = PRIVATE[name]
    path = mine / "private" / file
    path.write_text(json.dumps(alter(json.loads(path.read_bytes()))))
    for command in (("verify", mine), ("push", mine, "me/mine", "--dry-run")):
        result = run(*command)
        assert result.code == 2, result.err
        assert f"error: {path} is damaged: " in result.err


def test_generators_that_are_damaged(tmp_path: Path, mine: Path, photographs: Path) -> None:
    for name, document in (
        ("generator.json", {}),
        ("generator.json", {"recipe_name": 1, "classes": 2}),
        ("recipe.json", []),
    ):
        path = mine / "private" / name
        before = path.read_bytes()
        path.write_text(json.dumps(document))
        result = run("protect", photographs, "--out", tmp_path / "new", "--generator", mine, "--plan")
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith(f"error: {path} is damaged: ")
        path.write_bytes(before)
