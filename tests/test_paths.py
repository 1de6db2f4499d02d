"""Paths that no system can use, wherever a command takes one: one line, exit code 2, and nothing is waited for."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from rem_release.errors import InputError
from rem_release.paths import check_path
from tests.command_line import run, snapshot
from tests.test_cli_strange_names import require_seen

LONG = "x" * 300
BAD = {
    "long name": (LONG, "File name too long"),
    "long path": ("a/" * 2100, "File name too long"),
    "long below": (f"some/{LONG}/run", "File name too long"),
    "NUL": ("x\0y", "null"),
    "user": ("~nosuchuser/x", "home directory"),
    "half a character": ("\ud800", "surrogates"),
    "loop": ("loop", "Too many levels of symbolic links"),
    "below a loop": ("loop/run", "Too many levels of symbolic links"),
    "empty": ("", "is empty"),
}
COMMANDS = {
    "source": ("protect", "BAD", "--out", "new"),
    "out": ("protect", "source", "--out", "BAD"),
    "generator": ("protect", "source", "--out", "new", "--generator", "BAD"),
    "recipe": ("protect", "source", "--out", "new", "--recipe", "BAD.yaml"),
    "verify": ("verify", "BAD"),
    "verify clean": ("verify", "run", "--clean", "BAD"),
    "audit": ("audit", "BAD"),
    "audit clean": ("audit", "source", "--clean", "BAD"),
    "audit holdout": ("audit", "source", "--clean", "source", "--holdout", "BAD"),
    "audit out": ("audit", "source", "--out", "BAD"),
    "audit recipe": ("audit", "source", "--recipe", "BAD.yaml"),
    "card": ("card", "BAD"),
    "card fields": ("card", "run", "--card-fields", "BAD"),
    "push": ("push", "BAD", "me/mine", "--dry-run"),
    "push clean": ("push", "run", "me/mine", "--dry-run", "--clean", "BAD"),
    "push fields": ("push", "run", "me/mine", "--dry-run", "--card-fields", "BAD"),
    "push split": ("push", "run", "me/mine", "--dry-run", "--publish-clean-split", "test=BAD"),
    "demo": ("demo", "--out", "BAD"),
    "recipes": ("recipes", "check", "BAD.yaml"),
}


@pytest.mark.parametrize("bad", BAD)
def test_paths_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    text, reason = BAD[bad]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match=reason) as refusal:
        check_path(text, "--out")
    assert str(refusal.value).startswith("--out ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("place", COMMANDS)
def test_every_command_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_copy: Path, photographs: Path, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    run_copy.rename(tmp_path / "run")
    shutil.copytree(photographs, tmp_path / "source")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        before = {name: data for name, data in snapshot(tmp_path / "run").items() if "status" not in name}
        for text in (*(text for text, _ in BAD.values()), "pipe", "socket", "/dev/zero"):
            arguments = [word.replace("BAD", text) for word in COMMANDS[place]]
            result = run(*arguments)
            assert result.code == 2, (arguments, result.err)
            assert result.err.splitlines()[-1].startswith("error: "), result.err
            require_seen(result.err)
            assert result.out == ""
        assert {name: data for name, data in snapshot(tmp_path / "run").items() if "status" not in name} == before


@pytest.mark.parametrize("out", [".", "./", "..", "a/..", "a/../", "/", "/.", "//", "x" * 250])
@pytest.mark.parametrize("options", [(), ("--overwrite",)])
def test_the_demo_needs_a_name_to_put_its_photographs_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, options: tuple[str, ...]
) -> None:
    (tmp_path / "here/a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    before = snapshot(tmp_path)
    result = run("demo", "--out", out, *options)
    assert (result.code, result.out) == (2, "")
    (line,) = result.err.splitlines()
    assert line.startswith(f"error: --out {out[:50] if len(out) > 50 else Path(out)}")
    assert "photographs" in line
    assert snapshot(tmp_path) == before


def test_a_home_folder_is_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert check_path("~/run", "--out") == tmp_path / "run"


def test_a_pipe_among_parquet_files(tmp_path: Path, recipe: Path) -> None:
    (tmp_path / "source").mkdir()
    os.mkfifo(tmp_path / "source" / "train.parquet")
    result = run("protect", tmp_path / "source", "--out", tmp_path / "run", "--recipe", recipe)
    assert result.code == 2
    assert "train.parquet is a pipe, a socket or a device" in result.err.splitlines()[-1]
