"""Audits that are killed or interrupted, and audits by two processes: `--resume` ends with the same certificate."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from rem_release.audit.ledger import VictimRecord
from rem_release.release.certificate import read_certificate
from tests.audit_commands import fall_short, write_inputs
from tests.audits import QUICK, read_victims, write_audit_recipe
from tests.command_line import Result, read_status, run, snapshot, start, succeed

_PATIENCE = 240.0
_VICTIMS = 21


@dataclass(frozen=True)
class Undisturbed:
    """An audited run that nobody disturbed, the run as it was before, and the options of the audit."""

    before: Path
    out: Path
    options: tuple[object, ...]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Three networks, two tiers, three sets of images: 21 victims, each a part of a second."""
    folder = write_inputs(tmp_path_factory.mktemp("undisturbed"))
    networks = ["small_resnet", "small_vgg", "small_mobilenet"]
    changes = {
        **{
            "victim__least_steps": 10,
            "victim__batch_size": 24,
            "victim__evaluations": 2,
            "learnability": {"samples": 5},
        },
        "tiers__standard__architectures": networks,
        "tiers__adversarial": {"required": True, "architectures": networks, "threats": ["pgd(radius=rho_a)"]},
    }
    recipe = write_audit_recipe(folder / "slow.yaml", **{**QUICK, **changes})
    out = Path(shutil.copytree(folder / "run", folder / "audited" / "run"))  # the report names the folder
    options = ("--holdout", folder / "test", "--recipe", recipe)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REM_RELEASE_CACHE", str(folder / "cache"))
        fall_short(out, *options)
    return Undisturbed(folder / "run", out, options)


@pytest.fixture
def location(tmp_path: Path, undisturbed: Undisturbed, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run before its audit, and baselines of its own."""
    monkeypatch.setenv("REM_RELEASE_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(undisturbed.before, tmp_path / "run"))


def count_lines(location: Path) -> int:
    path = location / "audit" / "victims.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else -1


def wait(process: "subprocess.Popen[str]", is_time: Callable[[], bool]) -> bool:
    """Wait until it is time; False if the process ended before."""
    deadline = time.monotonic() + _PATIENCE
    while not is_time():
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return True


def resume(location: Path, undisturbed: Undisturbed) -> Result:
    """Go on to the end, which must be that of the undisturbed audit."""
    result = fall_short(location, *undisturbed.options, "--resume")
    assert snapshot(location / "release") == snapshot(undisturbed.out / "release")
    assert (location / "audit/report.html").read_bytes() == (
        undisturbed.out / "audit/report.html"
    ).read_bytes().replace(b"audited", b"run")
    assert read_status(location)["exit_code"] == 3
    succeed("verify", location)
    return result


def seconds(location: Path) -> dict[str, float]:
    return {victim.key: victim.seconds for victim in read_victims(location / "audit")}


STOPS = {
    signal.SIGKILL: (-9, {"state": "running", "exit_code": None, "message": ""}),
    signal.SIGINT: (130, {"state": "failed", "exit_code": 130, "message": "interrupted"}),
    signal.SIGTERM: (143, {"state": "failed", "exit_code": 143, "message": "terminated"}),
}


def test_killed_at_random_moments_and_resumed(
    location: Path, undisturbed: Undisturbed, process_env: dict[str, str]
) -> None:
    """Three stops, each after one more victim and a random wait, two victims at once; then to the end, one by one."""
    draw, trained, together = random.Random(3), {}, process_env | {"OMP_NUM_THREADS": "2"}
    for number, how in enumerate((signal.SIGKILL, signal.SIGINT, signal.SIGTERM)):
        process = start("audit", location, *undisturbed.options, *(["--resume"] if number else []), env=together)
        enough = max(count_lines(location), 0) + 1
        assert wait(process, lambda enough=enough: count_lines(location) >= enough), process.communicate()
        time.sleep(draw.uniform(0, 0.15))
        victims = list_children(process.pid)
        process.send_signal(how)
        out, _ = process.communicate(timeout=_PATIENCE)
        assert end_soon(victims), "victims outlive their audit"
        assert (process.returncode, read_status(location)) == STOPS[how]
        assert out == ""
        assert snapshot(location / "release") == snapshot(undisturbed.before / "release")
        refuse_without_resume(location, undisturbed)
        assert trained.items() <= seconds(location).items(), "a victim that was done was trained again"
        trained = seconds(location)
    assert 3 <= len(trained) < _VICTIMS
    assert f"{len(trained)} of {_VICTIMS} victims are known already" in resume(location, undisturbed).err
    assert trained.items() <= seconds(location).items()
    assert seconds(location).keys() == seconds(undisturbed.out).keys()


IN_A_FORK = """
import os, signal, sys
from rem_release.cli import main
left = [getattr(signal, sys.argv.pop(1))]
os.register_at_fork(after_in_parent=lambda: left and os.kill(os.getpid(), left.pop()))
main()
"""
"""Python drops what is raised in a hook of a fork, where its own logging has one, too."""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_fork_is_not_lost(
    location: Path, undisturbed: Undisturbed, process_env: dict[str, str], how: signal.Signals
) -> None:
    command = [sys.executable, "-c", IN_A_FORK, how.name, "audit", str(location), *map(str, undisturbed.options)]
    together = os.environ | process_env | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, env=together, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    assert (done.returncode, read_status(location)) == STOPS[how], done.stderr
    assert count_lines(location) <= 0, "it went on to train"


def list_children(process: int) -> list[int]:
    """The processes that it started and that still run."""
    found = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in path.read_text().split()]
    return found


def end_soon(processes: list[int]) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while any(Path(f"/proc/{process}").exists() for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_victims_side_by_side_learn_what_they_learn_one_by_one(
    location: Path, undisturbed: Undisturbed, process_env: dict[str, str]
) -> None:
    process = start("audit", location, *undisturbed.options, env=process_env | {"OMP_NUM_THREADS": "3"})
    most = 0
    while process.poll() is None:
        most = max(most, len(list_children(process.pid)))
        time.sleep(0.005)
    assert process.communicate()[1].count("Fell short") == 1
    assert most >= 2
    assert snapshot(location / "release") == snapshot(undisturbed.out / "release")


def refuse_without_resume(location: Path, undisturbed: Undisturbed) -> None:
    before = snapshot(location)
    refused = run("audit", location, *undisturbed.options)
    assert refused.code == 2
    assert f"an audit was stopped in {location / 'audit'}; go on with --resume" in refused.err
    assert snapshot(location) == before


def test_half_a_line_of_a_killed_audit_is_trained_again(location: Path, undisturbed: Undisturbed) -> None:
    lines = (undisturbed.out / "audit/victims.jsonl").read_bytes().splitlines(keepends=True)
    (location / "audit").mkdir()
    (location / "audit/victims.jsonl").write_bytes(b"".join(lines[:-1]) + lines[-1][:200])
    assert f"{_VICTIMS - 1} of {_VICTIMS} victims are known already" in resume(location, undisturbed).err
    kept = [VictimRecord.model_validate_json(line).seconds for line in lines[:-1]]
    assert [victim.seconds for victim in read_victims(location / "audit")][:-1] == kept


# --- killed between the last files


def without_report(location: Path, before: Path) -> None:
    pass


def card_before_facts(location: Path, before: Path) -> None:
    """The last document but one is written, and the facts are the old ones."""
    shutil.copy(before / "release/protection.json", location / "release/protection.json")


def certificate_before_card(location: Path, before: Path) -> None:
    for name in ("protection.json", "README.md"):
        shutil.copy(before / "release" / name, location / "release" / name)


def half_of_the_figures(location: Path, before: Path) -> None:
    certificate_before_card(location, before)
    (location / "release/audit.json").unlink()
    (location / "release/figures/audit-radius.png").unlink()
    (location / "release/figures/.audit-radius.png.partial").write_bytes(b"\x89PNG")


def half_a_card(location: Path, before: Path) -> None:
    certificate_before_card(location, before)
    (location / "release/.README.md.partial").write_bytes(b"---\n")
    (location / "release/README.md").write_bytes(b"---\n")


@pytest.mark.parametrize(
    ("state", "verifies"),
    [
        (without_report, True),
        (card_before_facts, False),
        (certificate_before_card, False),
        (half_of_the_figures, False),
        (half_a_card, False),
    ],
)
def test_killed_between_the_last_files(
    location: Path, undisturbed: Undisturbed, state: Callable[[Path, Path], None], verifies: bool
) -> None:
    shutil.rmtree(location)
    shutil.copytree(undisturbed.out, location)
    (location / "audit/report.html").unlink()
    state(location, undisturbed.before)
    assert (run("verify", location).code == 0) is verifies
    refuse_without_resume(location, undisturbed)
    assert f"{_VICTIMS} of {_VICTIMS} victims are known already" in resume(location, undisturbed).err


# --- several processes

TWICE = """
import os
import sys
from rem_release.cli import main

os.environ["REM_RELEASE_CACHE"] += os.environ["RANK"]  # as on two hosts
for _ in range(2):
    try:
        main()
    except SystemExit as stop:
        print(stop.code, file=sys.stderr)
"""


DIFFER = """
import os
import sys
from rem_release.cli import main

other = sys.argv.pop()
if os.environ["RANK"] == "1":
    sys.argv[sys.argv.index("--holdout") + 1] = other
main()
"""


def run_together(command: list[str], env: dict[str, str]) -> tuple[str, str]:
    """Run a launcher to its end; what it started ends with it. Returns stdout and stderr."""
    env = {**os.environ, **env, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True)
    try:
        return process.communicate(timeout=_PATIENCE)
    finally:
        process.terminate()  # after a timeout: the launcher ends its processes
        process.wait(_PATIENCE)


@pytest.mark.slow
def test_hosts_that_differ_are_refused(
    location: Path, undisturbed: Undisturbed, process_env: dict[str, str], tmp_path: Path
) -> None:
    """The second process is given other test images."""
    other = Path(shutil.copytree(undisturbed.options[1], tmp_path / "other"))
    sorted(other.rglob("*.png"))[0].unlink()
    (tmp_path / "differ.py").write_text(DIFFER, encoding="utf-8")
    launch = ("--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no")
    command = (tmp_path / "differ.py", "audit", location, *undisturbed.options, other)
    launcher = ("-m", "accelerate.commands.launch", *launch, "--dynamo_backend", "no", *command)
    _, err = run_together([sys.executable, *map(str, launcher)], process_env)
    assert "error: process 1 has other images or recipe than process 0; give every host the same" in err
    assert not (location / "release/audit.json").exists()


def test_two_processes_with_caches_of_their_own_audit_twice(
    location: Path, undisturbed: Undisturbed, process_env: dict[str, str], tmp_path: Path
) -> None:
    """The second time the first process knows the baselines, and the other does not."""
    tiers = {"tiers__adaptive": {"threats": ["pgd(radius=rho_a)+mixup"]}}
    recipe = write_audit_recipe(tmp_path / "quick.yaml", **{**QUICK, **tiers})
    (tmp_path / "twice.py").write_text(TWICE, encoding="utf-8")
    launch = ("--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no")
    command = (tmp_path / "twice.py", "audit", location, "--recipe", recipe, *undisturbed.options[:2], "--json")
    launcher = ("-m", "accelerate.commands.launch", *launch, "--dynamo_backend", "no", *command)
    out, err = run_together([sys.executable, *map(str, launcher)], process_env)
    assert read_status(location)["exit_code"] == 3, err
    assert err.count("error: Fell short of the owner's policy") == 4, "one line of each process each time"
    first, second = (json.loads(line) for line in out.splitlines())
    assert first == second, "results of the first process alone, and the same both times"
    assert "5 of 7 victims are known already" in err
    certificate = read_certificate(location / "release/audit.json")
    assert [row.tier for row in certificate.rows] == ["standard", "adaptive"]
    succeed("verify", location)
    alone = Path(shutil.copytree(undisturbed.before, tmp_path / "alone"))
    fall_short(alone, "--recipe", recipe, *undisturbed.options[:2])
    keys = [{victim.key for victim in read_victims(folder / "audit")} for folder in (location, alone)]
    assert len(keys[0]) == len(keys[1]) == 7
    assert keys[0].isdisjoint(keys[1]), "how many processes there were decides what a victim learns"
