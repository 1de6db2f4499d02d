"""Rows that a training keeps for each image go back to any checkpoint, whenever it was killed."""

import multiprocessing
import os
import signal
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rem_release.errors import InputError
from rem_release.training.checkpoints import Checkpoint
from rem_release.training.kept_rows import KeptRows, open_rows, write_rows
from rem_release.training.loop import Schedule, train_together

SHAPE = (6, 2)
CHANGES = st.lists(st.tuples(st.sets(st.integers(0, 5), min_size=1), st.integers(-9, 9)), max_size=4)


def full(count: int, value: float) -> np.ndarray:
    return np.full((count, 2), value, np.float32)


@given(st.lists(CHANGES, min_size=1, max_size=5), st.data())
@settings(max_examples=150, deadline=None)
def test_rows_go_back_to_every_mark(parts: list[list[tuple[set[int], int]]], data: st.DataObject) -> None:
    """Parts of changes, a mark after each; what follows the mark that is gone back to is as if it never was."""
    with TemporaryDirectory() as folder:
        rows = KeptRows(Path(folder) / "rows.npy", SHAPE, np.float32)
        states = [rows.read(np.arange(6))]
        for step, part in enumerate(parts, 1):
            for chosen, value in part:
                rows.write(np.array(sorted(chosen)), full(len(chosen), value))
            rows.mark(step)
            states.append(rows.read(np.arange(6)))
        again = KeptRows(Path(folder) / "rows.npy", SHAPE, np.float32)
        for step in sorted(data.draw(st.sets(st.integers(0, len(parts)), min_size=1)), reverse=True):
            again.write(np.arange(6), full(6, 99))  # of a step that no checkpoint knows
            again.go_back(step)
            np.testing.assert_array_equal(again.read(np.arange(6)), states[step])


def test_a_record_that_a_kill_cut_off_belongs_to_no_change(tmp_path: Path) -> None:
    rows = KeptRows(tmp_path / "rows.npy", SHAPE, np.float32)
    rows.write(np.arange(3), full(3, 1))
    whole = (tmp_path / "rows-00000000.undo").read_bytes()
    for length in range(len(whole) + 1, 2 * len(whole)):
        (tmp_path / "rows-00000000.undo").write_bytes((whole + whole)[:length])
        rows.go_back(0)
        assert not rows.read(np.arange(6)).any()
        rows.write(np.arange(3), full(3, 1))


def test_journals_that_nobody_needs_are_deleted(tmp_path: Path) -> None:
    rows = KeptRows(tmp_path / "rows.npy", SHAPE, np.int8)
    for step in (1, 2, 3):
        rows.mark(step)
    rows.forget(2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows-00000002.undo", "rows-00000003.undo", "rows.npy"]
    with pytest.raises(InputError, match="no journal from step 1 on"):
        rows.go_back(1)


def test_rows_of_another_shape_or_type_are_refused_and_rows_named_twice_are_not(tmp_path: Path) -> None:
    rows = KeptRows(tmp_path / "rows.npy", SHAPE, np.float16)
    rows.write(np.array([1, 0, 1]), np.array([[1, 1], [2, 2], [3, 3]], np.float16))
    assert rows.read(np.array([0, 1])).tolist() == [[2, 2], [3, 3]], "the last of two values"
    rows.go_back(0)
    assert not rows.read(np.arange(6)).any()
    for shape, dtype in (((5, 2), np.float16), (SHAPE, np.float32)):
        with pytest.raises(InputError, match="holds float16"):
            KeptRows(tmp_path / "rows.npy", shape, dtype)


def test_several_hosts_do_not_see_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(InputError, match="runs on one host"):
        open_rows(Accelerator(cpu=True), tmp_path / "rows.npy", SHAPE, np.float32)


# --- a training with two networks and rows, stopped and taken up

X = torch.rand(9, 3, generator=torch.Generator().manual_seed(0))
Y = torch.arange(9) % 2
SCHEDULE = Schedule(
    steps=12, batch_size=4, learning_rate=0.1, momentum=0.9, weight_decay=5e-4, decay_every=5, decay=0.5
)


def train_with_rows(folder: Path, stop_at: int | None = None, every_seconds: float = 0) -> dict[str, np.ndarray]:
    """Each image keeps a shift that follows the gradient of both networks; returns rows and weights."""
    torch.manual_seed(0)
    models = {"first": nn.Linear(3, 2), "second": nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))}
    accelerator = Accelerator(cpu=True)
    checkpoint = Checkpoint(folder, "same", every_seconds=every_seconds).of("noise")
    rows = checkpoint.keep_rows(accelerator, (9, 3), np.float32)

    def loss_of(plain: dict, wrapped: dict, indices: torch.Tensor, step: int) -> torch.Tensor:
        if step == stop_at:
            raise KeyboardInterrupt
        kept = torch.from_numpy(rows.read(indices.numpy())).requires_grad_()
        inner = sum(
            nn.functional.cross_entropy(model.eval()(X[indices] + kept), Y[indices]) for model in plain.values()
        )
        (gradient,) = torch.autograd.grad(inner, kept)
        kept = (kept - 0.05 * gradient.sign()).detach()
        write_rows(accelerator, rows, indices, kept)
        for model in plain.values():
            model.train()
        return sum(nn.functional.cross_entropy(model(X[indices] + kept), Y[indices]) for model in wrapped.values())

    with pytest.raises(KeyboardInterrupt) if stop_at is not None else nullcontext():
        train_together(accelerator, models, SCHEDULE, 9, 0, loss_of, checkpoint)
    weights = {
        f"{name}.{key}": tensor.numpy().copy()
        for name, model in models.items()
        for key, tensor in model.state_dict().items()
    }
    return {"rows": rows.read(np.arange(9)), **weights}


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return train_with_rows(tmp_path_factory.mktemp("whole") / "c")


@pytest.mark.parametrize("stop_at", [1, 4, 11])
@pytest.mark.parametrize("every_seconds", [0, 3600])
def test_a_training_with_rows_ends_with_the_same_bytes(
    tmp_path: Path, never_stopped: dict[str, np.ndarray], stop_at: int, every_seconds: float
) -> None:
    """Also where the last checkpoint lies many steps back, and the rows are ahead of it."""
    train_with_rows(tmp_path / "c", stop_at, every_seconds)
    resumed = train_with_rows(tmp_path / "c")
    assert resumed.keys() == never_stopped.keys()
    for name, values in never_stopped.items():
        np.testing.assert_array_equal(resumed[name], values, err_msg=name)


def test_where_the_newest_checkpoint_is_damaged_rows_go_back_to_the_one_before(
    tmp_path: Path, never_stopped: dict[str, np.ndarray]
) -> None:
    train_with_rows(tmp_path / "c", 7)
    newest = max((tmp_path / "c").glob("noise-step-*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-1] + b"x")
    resumed = train_with_rows(tmp_path / "c")
    np.testing.assert_array_equal(resumed["rows"], never_stopped["rows"])


def train_until_killed(folder: Path) -> None:
    """Die by SIGKILL right after the rows of the sixth step are written."""
    write, calls = KeptRows.write, []

    def write_and_die(self: KeptRows, rows: np.ndarray, values: np.ndarray) -> None:
        write(self, rows, values)
        calls.append(1)
        if len(calls) == 6:
            os.kill(os.getpid(), signal.SIGKILL)

    KeptRows.write = write_and_die  # type: ignore[method-assign]
    train_with_rows(folder, every_seconds=3600)


def test_a_killed_process_leaves_rows_that_go_back(tmp_path: Path, never_stopped: dict[str, np.ndarray]) -> None:
    """In a process of its own: a fork of one whose torch has started threads can wait for ever."""
    child = multiprocessing.get_context("spawn").Process(target=train_until_killed, args=(tmp_path / "c",))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    resumed = train_with_rows(tmp_path / "c")
    for name, values in never_stopped.items():
        np.testing.assert_array_equal(resumed[name], values, err_msg=name)
