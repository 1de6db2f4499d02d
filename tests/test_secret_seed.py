"""The seed is secret unless somebody asks for one: drawn anew, kept in `private/`, told to nobody, inherited."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import SECRET, draw_classes, same_release, snapshot, start, succeed, write_recipe
from tests.command_line import run as run_command
from tests.test_cli_kill import is_training, stop
from tests.test_cli_processes import finish, free_port, launch


def read_options(run: Path) -> dict[str, Any]:
    return json.loads((run / "private/options.json").read_bytes())


@pytest.fixture(scope="module")
def secret_run(tmp_path_factory: pytest.TempPathFactory, photographs: Path, recipe: Path) -> Path:
    """A run whose seed nobody chose."""
    out = tmp_path_factory.mktemp("secret") / "run"
    succeed("protect", photographs, "--out", out, "--recipe", recipe, *SECRET)
    return out


def test_every_run_draws_its_own(tmp_path: Path, photographs: Path, recipe: Path, secret_run: Path) -> None:
    succeed("protect", photographs, "--out", tmp_path / "run", "--recipe", recipe, *SECRET)
    seeds = [read_options(run)["seed"] for run in (tmp_path / "run", secret_run)]
    assert seeds[0] != seeds[1]
    assert all(isinstance(seed, int) and 0 <= seed < 2**63 for seed in seeds)
    assert min(seeds) > 2**40, "a seed that can be tried out is no secret (this fails once in four million times)"
    assert not same_release(tmp_path / "run", secret_run)


def test_the_seed_decides_the_bytes(tmp_path: Path, photographs: Path, recipe: Path, secret_run: Path) -> None:
    """So whoever has `private/` can make the release again."""
    seed = read_options(secret_run)["seed"]
    succeed("protect", photographs, "--out", tmp_path / "run", "--recipe", recipe, "--seed", seed)
    assert same_release(tmp_path / "run", secret_run)


def test_the_seed_is_told_to_nobody(tmp_path: Path, photographs: Path, recipe: Path) -> None:
    out = tmp_path / "run"
    said = [succeed("protect", photographs, "--out", out, "--recipe", recipe, *SECRET)]
    seed = str(read_options(out)["seed"])
    said += [succeed("verify", out), succeed("card", out)]
    said.append(run_command("protect", photographs, "--out", out, "--recipe", recipe, "--resume", "--seed", 5))
    assert said[-1].code == 2
    assert "another seed" in said[-1].err
    assert not any(seed in text for result in said for text in (result.out, result.err))
    assert not any(seed.encode() in data for data in snapshot(out / "release").values() if data)
    assert (out / "private").stat().st_mode & 0o077 == 0


def test_a_run_that_was_killed_goes_on_with_its_seed(tmp_path: Path, recipe: Path) -> None:
    source = draw_classes(tmp_path / "source", count=6)
    slow = write_recipe(tmp_path / "slow.yaml", generator__steps=20, generator__batch_size=2, noise__steps=4)
    command = ("protect", source, "--out", tmp_path / "run", "--recipe", slow)
    assert stop(start(*command, *SECRET), tmp_path / "run", is_training, signal.SIGKILL) == -signal.SIGKILL
    seed = read_options(tmp_path / "run")["seed"]
    succeed(*command, "--resume", *SECRET)
    assert read_options(tmp_path / "run")["seed"] == seed
    succeed("protect", source, "--out", tmp_path / "again", "--recipe", slow, "--seed", seed)
    assert same_release(tmp_path / "run", tmp_path / "again")


def test_a_generator_brings_the_seed_of_its_run(
    tmp_path: Path, photographs: Path, recipe: Path, secret_run: Path
) -> None:
    """One image keeps one noise: with a second one, the two would average out."""
    out = tmp_path / "run"
    succeed("protect", photographs, "--out", out, "--generator", secret_run, *SECRET)
    assert read_options(out)["seed"] == read_options(secret_run)["seed"]
    assert snapshot(out / "release/data") == snapshot(secret_run / "release/data")
    other = succeed("protect", photographs, "--out", tmp_path / "other", "--generator", secret_run, "--seed", 5)
    assert "carries two noises" in other.err
    assert read_options(tmp_path / "other")["seed"] == 5


def test_two_processes_share_the_seed_of_the_first(tmp_path: Path, photographs: Path, recipe: Path) -> None:
    """They are refused where they work on different things, which a seed of each one's own would be."""
    out = tmp_path / "run"
    finish(launch("-m", "rem_release", "protect", photographs, "--out", out, "--recipe", recipe, port=free_port()))
    assert read_options(out)["seed"] > 2**40
