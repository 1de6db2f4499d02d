"""The wheel, installed into a new environment: cards and recipes travel inside it, and nothing else answers for it."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from rem_release.recipe_files import recipe_names

ROOT = Path(__file__).parent.parent

LOOK = """
import pathlib, rem_release
from rem_release.resources import resource_folder
print(pathlib.Path(rem_release.__file__).parent)
print(resource_folder("cards"))
print(resource_folder("recipes"))
"""


def call(*command: object, cwd: Path) -> str:
    """Run a command without PYTHONPATH, so that only the new environment can answer."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the backend that is installed here: nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    call(
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"),
        *("--no-build-isolation", "--no-index", "--wheel-dir", folder, ROOT),
        cwd=folder,
    )
    (built,) = folder.glob("rem_release-*.whl")
    return built


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """A new environment with the wheel, which sees this one's packages but not its editable installation.

    A path file adds a folder to the search path without reading the path files in it.
    """
    folder = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(folder, symlinks=True)
    scheme = sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)})
    (Path(scheme) / "packages_of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    call(
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", folder / "bin" / "python"),
        *("install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", wheel),
        cwd=folder,
    )
    return folder


def test_the_wheel_holds_package_cards_and_recipes_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, suffix in (("recipes", "*.yaml"), ("cards", "*.jinja")):
        for path in (ROOT / folder).glob(suffix):
            assert f"rem_release/{folder}/{path.name}" in names
    for path in (ROOT / "rem_release").rglob("*.py"):
        assert path.relative_to(ROOT).as_posix() in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"rem_release"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_installed_command_runs_from_its_own_copy(environment: Path, tmp_path: Path) -> None:
    package, cards, recipes = call(environment / "bin" / "python", "-c", LOOK, cwd=tmp_path).splitlines()
    assert Path(package).is_relative_to(environment)
    assert Path(cards) == Path(package) / "cards"
    assert Path(recipes) == Path(package) / "recipes"
    listed = call(environment / "bin" / "rem-release", "recipes", "list", cwd=tmp_path)
    assert [line.split()[0] for line in listed.splitlines()] == recipe_names()
    shown = call(environment / "bin" / "rem-release", "recipes", "show", "rem-cifar10", cwd=tmp_path)
    assert shown.strip() == (ROOT / "recipes" / "rem-cifar10.yaml").read_text(encoding="utf-8").strip()
    assert "protect" in call(environment / "bin" / "python", "-m", "rem_release", "--help", cwd=tmp_path)
