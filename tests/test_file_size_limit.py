"""A limit on the size of files, as FAT32 has one at 4 GB: the system answers EFBIG in the middle of the work."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.audit_commands import write_inputs
from tests.audits import QUICK, write_audit_recipe
from tests.command_line import draw_classes, read_status, run, same_release, succeed, write_recipe


@contextlib.contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Python ignores the signal SIGXFSZ, so that writing fails with EFBIG, as it does where the file system says so."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def grainy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A source and a recipe whose files are of many sizes: images, noise, checkpoints, shards, figures."""
    folder = tmp_path_factory.mktemp("grainy")
    source, recipe = draw_classes(folder / "source", count=24), write_recipe(folder / "tiny.yaml", data__resolution=16)
    succeed("protect", source, "--out", folder / "whole", "--recipe", recipe, "--seed", "0")
    return source, recipe


@pytest.mark.parametrize("size", [100, 10_000, 60_000])
def test_protect_where_files_must_be_small(tmp_path: Path, grainy: tuple[Path, Path], size: int) -> None:
    """One line, which names the file, and exit code 1; with room again the run goes on to the same bytes."""
    source, recipe = grainy
    out = tmp_path / "run"
    command = ("protect", source, "--out", out, "--recipe", recipe, "--seed", "0")
    with no_file_above(size):
        result = run(*command)
    assert result.code == 1, result.err
    line = result.err.splitlines()[-1]
    assert line.startswith("error: File too large: /")
    assert "--max-shard-size" in line
    if (out / "private/options.json").exists():
        assert read_status(out)["state"] == "failed"
        succeed(*command, "--resume")
    else:
        succeed(*command)
    succeed("verify", out)
    assert same_release(out, source.parent / "whole")


def test_audit_where_files_must_be_small(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "m")
    recipe = write_audit_recipe(tmp_path / "audit.yaml", **QUICK)
    command = ("audit", inputs / "run", "--holdout", inputs / "test", "--recipe", recipe)
    with no_file_above(3_000):
        result = run(*command)
    assert result.code == 1, result.err
    assert result.err.splitlines()[-1].startswith("error: File too large: /")
    assert run(*command, "--resume").code in (0, 3)
    succeed("verify", inputs / "run")
