"""Two real processes on one machine, and on two hosts as far as TCP can tell: `accelerate launch`, on the CPU."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from tests.command_line import draw_classes, released, snapshot, succeed, write_recipe
from tests.two_processes import STEPS, run

_PATIENCE = 240.0
TOGETHER = ("--multi_gpu", "--mixed_precision", "no", "--dynamo_backend", "no")


def launch(
    *arguments: object,
    port: int,
    processes: int = 2,
    machines: tuple[int, int] = (1, 0),
    env: dict[str, str] | None = None,
) -> "subprocess.Popen[str]":
    """`accelerate launch` of two processes, on one host or as one of two."""
    count, rank = machines
    hosts = ("--num_machines", str(count), "--machine_rank", str(rank), "--main_process_port", str(port))
    hosts = ("--num_processes", str(processes), *hosts)
    where = ("--main_process_ip", "127.0.0.1", *hosts)
    return subprocess.Popen(
        [sys.executable, "-m", "accelerate.commands.launch", *TOGETHER, *where, *(str(a) for a in arguments)],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", **(env or {})},
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def finish(*processes: "subprocess.Popen[str]") -> list[str]:
    """Wait for all, which must end well; what each wrote to stdout."""
    ends = [process.communicate(timeout=_PATIENCE) for process in processes]
    for process, (_, err) in zip(processes, ends, strict=True):
        assert process.returncode == 0, err
    return [out for out, _ in ends]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """Eleven images, one of another size, in batches of four: uneven shards and an odd last batch."""
    folder = tmp_path_factory.mktemp("source")
    source = draw_classes(folder / "source", count=5)
    draw_classes(folder / "source", ("cat",), count=6, seed=50)
    recipe = write_recipe(folder / "four.yaml", generator__batch_size=4, generator__steps=12)
    return ("protect", source, "--recipe", recipe, "--seed", 0)  # `launch` adds none, and two runs shall be compared


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory, command: tuple[object, ...]) -> Path:
    """A run of one process."""
    out = tmp_path_factory.mktemp("generator") / "run"
    succeed(*command, "--out", out)
    return out


def digest_of(run_folder: Path) -> str:
    return str(json.loads((run_folder / "release/protection.json").read_bytes())["digest"])


def test_two_processes_make_the_noise_of_one(tmp_path: Path, command: tuple[object, ...], generator: Path) -> None:
    reuse = (*command[:2], "--generator", generator)
    succeed(*reuse, "--out", tmp_path / "one")
    both = launch("-m", "rem_release", *reuse, "--out", tmp_path / "two", port=free_port())
    plan = launch("-m", "rem_release", *reuse, "--out", tmp_path / "none", "--plan", "--json", port=free_port())
    _, planned = finish(both, plan)
    assert json.loads(planned)["processes"] == 2, "two processes were not started"
    assert snapshot(tmp_path / "one/release/data") == snapshot(tmp_path / "two/release/data")
    assert digest_of(tmp_path / "two") == digest_of(tmp_path / "one") == digest_of(generator)
    succeed("verify", tmp_path / "two")


@pytest.mark.slow
def test_two_hosts_over_tcp(tmp_path: Path, command: tuple[object, ...], generator: Path) -> None:
    """Two launchers with a rank each; both write nothing but what the first one does."""
    reuse, port = (*command[:2], "--generator", generator, "--out", tmp_path / "run"), free_port()
    hosts = [launch("-m", "rem_release", *reuse, "--json", machines=(2, rank), port=port) for rank in (0, 1)]
    first, second = finish(*hosts)
    assert json.loads(first)["digest"] == digest_of(generator) == digest_of(tmp_path / "run")
    assert second == ""
    succeed("verify", tmp_path / "run")


@pytest.mark.slow
def test_two_hosts_without_a_common_folder_go_on_from_the_checkpoints_of_the_first(
    tmp_path: Path, command: tuple[object, ...], undisturbed: Path
) -> None:
    """The second host sees no checkpoint: step, weights and momentum come from the first."""

    def start_both() -> list["subprocess.Popen[str]"]:
        port, outs = free_port(), (tmp_path / "first", tmp_path / "second")
        arguments = [("-m", "rem_release", *command, "--out", out, "--resume") for out in outs]
        return [launch(*each, machines=(2, rank), port=port) for rank, each in enumerate(arguments)]

    hosts, deadline = start_both(), time.monotonic() + _PATIENCE
    while not list((tmp_path / "first/private").glob("checkpoints/step-*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    for host in hosts:
        children = Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text().split()
        for process in (host.pid, *map(int, children)):
            os.kill(process, signal.SIGKILL)
    for host in hosts:
        host.communicate(timeout=_PATIENCE)
    assert not (tmp_path / "first/release").exists()
    finish(*start_both())
    assert digest_of(tmp_path / "first") == digest_of(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("differing", ["images", "seed"])
def test_hosts_that_differ_are_refused(tmp_path: Path, command: tuple[object, ...], differing: str) -> None:
    other = draw_classes(tmp_path / "other", count=5, seed=9) if differing == "images" else command[1]
    options = ("--seed", 7) if differing == "seed" else ()
    first = ("-m", "rem_release", *command, "--out", tmp_path / "run")
    second = ("-m", "rem_release", command[0], other, *command[2:], "--out", tmp_path / "run", *options)
    port = free_port()
    hosts = [launch(*each, machines=(2, rank), port=port) for rank, each in enumerate((first, second))]
    for host in hosts:
        _, err = host.communicate(timeout=_PATIENCE)
        assert host.returncode != 0
        assert "error: process 1 has other images, seed or recipe than process 0; give every host the same" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_more_processes_than_images_in_a_batch_are_refused(tmp_path: Path, command: tuple[object, ...]) -> None:
    recipe = write_recipe(tmp_path / "two.yaml", generator__batch_size=2)
    protect = ("-m", "rem_release", *command[:2], "--recipe", recipe, "--out", tmp_path / "run")
    process = launch(*protect, processes=3, port=free_port())
    _, err = process.communicate(timeout=_PATIENCE)
    assert process.returncode != 0
    assert "3 processes for batches of 2; start fewer processes" in err
    assert not (tmp_path / "run" / "release").exists()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, command: tuple[object, ...]) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    finish(launch("-m", "rem_release", *command, "--out", out, port=free_port()))
    return out


def stop_all(process: "subprocess.Popen[str]", how: signal.Signals) -> None:
    """Send a signal to the launcher's children, and to the launcher where they cannot end by themselves."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 2, "two processes were not started"
    for child in children:
        os.kill(int(child), how)
    process.communicate(timeout=_PATIENCE)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found through /proc")
@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_two_processes_that_are_killed_go_on_to_the_same_bytes(
    tmp_path: Path, command: tuple[object, ...], undisturbed: Path, how: signal.Signals
) -> None:
    out = tmp_path / "run"
    process = launch("-m", "rem_release", *command, "--out", out, port=free_port())
    deadline = time.monotonic() + _PATIENCE
    while not any((out / "private/checkpoints").glob("step-*.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    stop_all(process, how)
    assert process.returncode != 0
    assert not (out / "release").exists()
    finish(launch("-m", "rem_release", *command, "--out", out, "--resume", port=free_port()))
    assert snapshot(out / "release") == snapshot(undisturbed / "release")
    assert len(released(out / "release")) == 11


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, torch.Tensor]]]:
    """What both processes ended with, with BatchNorm frozen and running."""
    folder, script = tmp_path_factory.mktemp("trained"), Path(__file__).with_name("two_processes.py")
    ends = {}
    for how in ("frozen", "running"):
        (folder / how).mkdir()
        finish(launch(script, folder / how, how, port=free_port(), env={"PYTHONPATH": str(script.parents[1])}))
        ends[how] = [load_file(folder / how / f"{rank}-of-2.safetensors") for rank in (0, 1)]
    shutil.rmtree(folder)
    return ends


def test_steps_of_two_processes_equal_those_on_the_joint_batch(
    trained: dict[str, list[dict[str, torch.Tensor]]],
) -> None:
    """Batches of five: three images on one process and two on the other."""
    model, _ = run(Accelerator(cpu=True), is_frozen=True)
    for end in trained["frozen"]:
        for name, tensor in model.state_dict().items():
            torch.testing.assert_close(end[f"model.{name}"], tensor, rtol=1e-12, atol=1e-12, msg=name)


def test_what_every_optimiser_knows_reaches_the_process_that_sees_no_checkpoint(tmp_path: Path) -> None:
    """A network by Adam and one by SGD, stopped at step 3 of 5, end with the same bytes on both processes."""
    script = Path(__file__).with_name("two_processes.py")
    finish(launch(script, tmp_path, "resumed", port=free_port(), env={"PYTHONPATH": str(script.parents[1])}))
    assert not (tmp_path / "checkpoints-1").exists()
    for rank in (0, 1):
        end = load_file(tmp_path / f"{rank}-of-2.safetensors")
        whole = {name.removeprefix("whole."): tensor for name, tensor in end.items() if name.startswith("whole.")}
        assert any(name.startswith("adam.") for name in whole)
        for name, tensor in whole.items():
            assert torch.equal(end[f"resumed.{name}"], tensor), name


def test_batchnorm_statistics_are_equal_on_both_processes_after_every_step(
    trained: dict[str, list[dict[str, torch.Tensor]]],
) -> None:
    one, other = trained["running"]
    assert one.keys() == other.keys()
    assert sum(name.endswith("running_mean") for name in one) == STEPS + 1
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name
    assert not torch.equal(one["0.1.running_mean"], one["4.1.running_mean"])
