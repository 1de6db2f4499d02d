"""Commands that are killed or interrupted: what they leave, and that `--resume` ends with the same bytes."""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from rem_release.release.documents import read_facts
from tests.command_line import (
    draw,
    draw_classes,
    read_status,
    run,
    same_release,
    snapshot,
    start,
    succeed,
    write_recipe,
)

_PATIENCE = 120.0


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody disturbed, and the command that made it, less `--out`."""

    command: tuple[object, ...]
    out: Path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """40 steps of training, then noise in 20 batches, then large images to write: each stage takes its time."""
    folder = tmp_path_factory.mktemp("undisturbed")
    source = draw_classes(folder / "source", count=20)
    for index in range(8):
        draw(source / "cat" / f"{index}.png", index, (640, 480))
    changes = {"generator__steps": 40, "generator__batch_size": 2, "noise__steps": 6, "data__resolution": 16}
    command = ("protect", source, "--recipe", write_recipe(folder / "slow.yaml", **changes))
    succeed(*command, "--out", folder / "run")
    return Undisturbed(command, folder / "run")


def is_training(private: Path) -> bool:
    return any((private / "checkpoints").glob("step-*.json"))


def is_making_noise(private: Path) -> bool:
    return (private / "noise.json").exists()


def is_writing(private: Path) -> bool:
    return (private / "staging" / "data").exists()


def stop(process: "subprocess.Popen[str]", out: Path, is_there: Callable[[Path], bool], how: signal.Signals) -> int:
    """Send the signal as soon as the run is in that stage; returns the exit code."""
    deadline = time.monotonic() + _PATIENCE
    while not is_there(out / "private"):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(how)
    process.communicate(timeout=_PATIENCE)
    return process.returncode


def trained_steps(out: Path) -> int:
    notes = (out / "private" / "checkpoints").glob("step-*.json")
    return max(int(json.loads(note.read_bytes())["step"]) for note in notes)


def resume(undisturbed: Undisturbed, out: Path) -> str:
    """Go on to the end, which must be that of the undisturbed run; returns what was said on the way."""
    result = succeed(*undisturbed.command, "--out", out, "--resume")
    assert same_release(out, undisturbed.out)
    assert read_status(out) == {"state": "done", "exit_code": 0, "message": ""}
    succeed("verify", out)
    return result.err


def test_killed_while_training(tmp_path: Path, undisturbed: Undisturbed, process_env: dict[str, str]) -> None:
    out = tmp_path / "run"
    process = start(*undisturbed.command, "--out", out, env=process_env)
    assert stop(process, out, is_training, signal.SIGKILL) == -signal.SIGKILL
    assert 0 < trained_steps(out) < 40
    assert not (out / "private" / "noise.json").exists()
    assert not (out / "release").exists()
    assert read_status(out)["state"] == "running"
    resume(undisturbed, out)


@pytest.mark.parametrize(("precision", "execution"), [("fp32", "eager"), ("bf16", "eager"), ("bf16", "folded")])
def test_killed_while_training_in_other_ways(
    precision: str, execution: str, tmp_path: Path, undisturbed: Undisturbed, process_env: dict[str, str]
) -> None:
    """Every fast path on and off; the other tests of this file have fp32 and folded. Each way is noise of its own."""
    command = (*undisturbed.command, "--set", f"precision={precision}", "--set", f"execution={execution}")
    succeed(*command, "--out", tmp_path / "whole")
    digests = {read_facts(run / "release").digest for run in (tmp_path / "whole", undisturbed.out)}
    assert len(digests) == 2
    process = start(*command, "--out", tmp_path / "run", env=process_env)
    assert stop(process, tmp_path / "run", is_training, signal.SIGKILL) == -signal.SIGKILL
    succeed(*command, "--out", tmp_path / "run", "--resume")
    assert same_release(tmp_path / "run", tmp_path / "whole")


def test_interrupted_while_training(tmp_path: Path, undisturbed: Undisturbed, process_env: dict[str, str]) -> None:
    out = tmp_path / "run"
    process = start(*undisturbed.command, "--out", out, env=process_env)
    assert stop(process, out, is_training, signal.SIGINT) == 130
    assert read_status(out) == {"state": "failed", "exit_code": 130, "message": "interrupted"}
    assert not (out / "release").exists()
    resume(undisturbed, out)


def test_killed_while_making_noise(tmp_path: Path, undisturbed: Undisturbed, process_env: dict[str, str]) -> None:
    out = tmp_path / "run"
    process = start(*undisturbed.command, "--out", out, env=process_env)
    assert stop(process, out, is_making_noise, signal.SIGKILL) == -signal.SIGKILL
    assert trained_steps(out) == 40
    assert 0 < json.loads((out / "private" / "noise.json").read_bytes())["done"] < 40
    assert not (out / "release").exists()
    assert read_status(out)["state"] == "running"
    assert "Training the noise generator:" not in resume(undisturbed, out)


def test_killed_while_writing_the_release(
    tmp_path: Path, undisturbed: Undisturbed, process_env: dict[str, str]
) -> None:
    out = tmp_path / "run"
    process = start(*undisturbed.command, "--out", out, env=process_env)
    assert stop(process, out, is_writing, signal.SIGKILL) == -signal.SIGKILL
    assert not (out / "release").exists()
    before = snapshot(out / "private" / "staging")
    assert "protection.json" not in before
    said = resume(undisturbed, out)
    assert "Training the noise generator:" not in said
    assert "Making noise:" not in said
    assert not (out / "private" / "staging").exists()


@pytest.mark.parametrize("lost", ["rows.parquet", "generator.safetensors", "noise.json", "checkpoints"])
def test_what_a_kill_after_publishing_lost_is_made_again(tmp_path: Path, undisturbed: Undisturbed, lost: str) -> None:
    """The release stands, and of what comes after it or was lost since there is nothing."""
    out = Path(shutil.copytree(undisturbed.out, tmp_path / "run"))
    for name in {lost, "rows.parquet"}:
        path = out / "private" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    resume(undisturbed, out)
    assert (out / "private" / lost).exists()


def test_damaged_checkpoints_are_named_and_the_one_before_used(tmp_path: Path, undisturbed: Undisturbed) -> None:
    out = Path(shutil.copytree(undisturbed.out, tmp_path / "run"))
    (out / "private" / "rows.parquet").unlink()
    (out / "private" / "noise.json").unlink()
    newest, before = sorted((out / "private" / "checkpoints").glob("*.safetensors"), reverse=True)
    newest.write_bytes(newest.read_bytes()[:500])
    said = resume(undisturbed, out)
    assert f"{newest} is damaged" in said
    assert f"going on from the one before, of step {int(before.stem[5:])}" in said

    (out / "private" / "rows.parquet").unlink()
    for checkpoint in (out / "private" / "checkpoints").glob("*.safetensors"):
        checkpoint.write_bytes(b"")
    result = run(*undisturbed.command, "--out", out, "--resume")
    assert result.code == 2
    assert "is damaged" in result.err
    assert "--overwrite" in result.err
    shutil.rmtree(out / "private" / "checkpoints")
    resume(undisturbed, out)
