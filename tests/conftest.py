"""Fixtures that several test files share."""

import os
import shutil
import signal
import sys
from pathlib import Path

import hypothesis
import pytest

from tests.command_line import draw_classes, succeed, write_recipe

os.environ.setdefault("ACCELERATE_USE_CPU", "true")
"""Tests run on the CPU, with all processes that they start, also where there is a GPU: bytes are promised for CPUs, and
two processes do not share a card. `tests/gpu` is for the GPU."""

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")  # no test fails because the machine is busy


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """A shell starts what it puts in the background with SIGINT ignored, and whatever that starts inherits it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny recipe as a file."""
    return write_recipe(tmp_path_factory.mktemp("recipe") / "tiny.yaml")


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two class folders of four 8 x 8 images each. Not to be changed."""
    return draw_classes(tmp_path_factory.mktemp("photographs"))


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, photographs: Path, recipe: Path) -> Path:
    """A finished run of `photographs` under `recipe`. Not to be changed."""
    out = tmp_path_factory.mktemp("finished") / "run"
    succeed("protect", photographs, "--out", out, "--recipe", recipe)
    return out


@pytest.fixture
def run_copy(tmp_path: Path, finished_run: Path) -> Path:
    """A copy of `finished_run` that a test may break."""
    return Path(shutil.copytree(finished_run, tmp_path / "copy"))


@pytest.fixture(scope="session")
def process_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of new processes: offline, and byte code kept somewhere even where that is switched off."""
    env = {"HF_HUB_OFFLINE": "1"}
    if sys.dont_write_bytecode:
        env |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("bytecode"))}
    return env
