"""Rows that a training keeps for each image go back to any checkpoint, whenever it was killed."""

import multiprocessing
import os
import signal
import tracemalloc
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
from rem_release.training.kept_rows import KeptRows, count_bytes, open_rows, write_rows
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


def test_a_journal_holds_a_row_once_however_often_it_is_changed(tmp_path: Path) -> None:
    """200 writes of all rows: the journals stay within what the plan counts, and each mark can be gone back to."""
    rows, states = KeptRows(tmp_path / "rows.npy", (10, 500), np.float32), {}
    for step in range(200):
        if step in (60, 150):
            rows.mark(step)
            states[step] = rows.read(np.arange(10))
        changed = np.arange(10) if step % 3 else np.array([step % 10])
        rows.write(changed, np.full((len(changed), 500), step + 1, np.float32))
    rows.forget(60)
    journals = sum(path.stat().st_size for path in tmp_path.glob("*.undo"))
    assert 2 * 10 * 2000 < journals <= count_bytes(2000, 10, journals=2) - 10 * 2000
    again = KeptRows(tmp_path / "rows.npy", (10, 500), np.float32)
    again.write(np.arange(10), np.zeros((10, 500), np.float32))
    assert sum(path.stat().st_size for path in tmp_path.glob("*.undo")) == journals, "known after it is opened again"
    for step in (150, 60):
        again.go_back(step)
        np.testing.assert_array_equal(again.read(np.arange(10)), states[step])


def test_nothing_kept_takes_nothing() -> None:
    assert count_bytes(0, 1000, journals=2) == 0


def test_a_row_that_an_earlier_build_wrote_down_twice_goes_back_to_the_first(tmp_path: Path) -> None:
    rows = KeptRows(tmp_path / "rows.npy", SHAPE, np.float32)
    journal, records = tmp_path / "rows-00000000.undo", b""
    for value in (0, 1, 2):
        journal.write_bytes(b"")
        rows = KeptRows(tmp_path / "rows.npy", SHAPE, np.float32)
        rows.write(np.arange(4), full(4, value + 1))
        records += journal.read_bytes()
    journal.write_bytes(records)
    rows.go_back(0)
    assert not rows.read(np.arange(6)).any()


def test_a_journal_is_read_record_by_record(tmp_path: Path) -> None:
    """48 records of half a megabyte: never in memory all at once."""
    shape = (48, 2**17)
    rows = KeptRows(tmp_path / "rows.npy", shape, np.float32)
    for row in range(48):
        rows.write(np.array([row]), np.full((1, 2**17), row + 1, np.float32))
    tracemalloc.start()
    try:
        KeptRows(tmp_path / "rows.npy", shape, np.float32).go_back(0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * 2**19
    assert not rows.read(np.arange(48)).any()


def test_what_a_kill_left_of_a_record_does_not_hide_the_next(tmp_path: Path) -> None:
    rows = KeptRows(tmp_path / "rows.npy", SHAPE, np.float32)
    rows.write(np.arange(2), full(2, 1))
    with (tmp_path / "rows-00000000.undo").open("ab") as file:
        file.write(b"cut off")
    again = KeptRows(tmp_path / "rows.npy", SHAPE, np.float32)
    again.write(np.arange(4), full(4, 2))
    again.go_back(0)
    assert not again.read(np.arange(6)).any()


@pytest.mark.parametrize("size", [0, 5, 100, 175, 177, 400])
def test_a_file_of_another_size_is_refused_and_stays_as_it_is(tmp_path: Path, size: int) -> None:
    path = tmp_path / "rows.npy"
    KeptRows(path, SHAPE, np.float32)
    whole = path.read_bytes()
    assert len(whole) == 128 + 6 * 2 * 4
    harmed = whole[:size].ljust(size, b"x")
    path.write_bytes(harmed)
    with pytest.raises(InputError, match=r"rows\.npy is damaged \(.*\); start again with --overwrite") as refused:
        KeptRows(path, SHAPE, np.float32)
    assert len(str(refused.value).splitlines()) == 1
    assert path.read_bytes() == harmed


def test_the_file_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed as it is made: what is left is of no weight, and the next command makes it."""
    path = tmp_path / "rows.npy"

    def die(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            KeptRows(path, SHAPE, np.float32)
    assert not path.exists()
    (tmp_path / ".rows.npy.partial").write_bytes(b"")
    assert not KeptRows(path, SHAPE, np.float32).read(np.arange(6)).any()


def test_journals_of_a_file_that_is_gone_are_not_put_into_a_new_one(tmp_path: Path) -> None:
    rows = KeptRows(tmp_path / "rows.npy", SHAPE, np.float32)
    rows.write(np.arange(6), full(6, 1))
    rows.mark(3)
    rows.write(np.arange(6), full(6, 2))
    (tmp_path / "rows.npy").unlink()
    again = KeptRows(tmp_path / "rows.npy", SHAPE, np.float32)
    with pytest.raises(InputError, match="no journal from step 3 on; start again with --overwrite"):
        again.go_back(3)
    assert not again.read(np.arange(6)).any()


def test_a_reader_changes_nothing(tmp_path: Path) -> None:
    """Another process opens the file while the first one may be writing."""
    rows = KeptRows(tmp_path / "rows.npy", SHAPE, np.float32)
    rows.write(np.arange(3), full(3, 1))
    with (tmp_path / "rows-00000000.undo").open("ab") as file:
        file.write(b"being written")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    reader = KeptRows(tmp_path / "rows.npy", SHAPE, np.float32, writes=False)
    rows.write(np.arange(3), full(3, 5))
    assert reader.read(np.arange(4)).tolist() == [[5, 5]] * 3 + [[0, 0]]
    assert before.keys() == set(tmp_path.iterdir())


def test_a_phase_keeps_several_rows_under_names_of_their_own(tmp_path: Path) -> None:
    accelerator, root = Accelerator(cpu=True), Checkpoint(tmp_path / "c", "same")
    phase = root.of("noise")
    one = phase.keep_rows(accelerator, "noise", SHAPE, np.float32)
    other = phase.keep_rows(accelerator, "momentum", (6,), np.int8)
    assert one.path != other.path
    with pytest.raises(ValueError, match="rows 'noise' are kept in this phase already"):
        root.of("noise").keep_rows(accelerator, "noise", SHAPE, np.float32)
    with pytest.raises(ValueError, match="'a-b' cannot name kept rows"):
        phase.keep_rows(accelerator, "a-b", SHAPE, np.float32)
    assert root.of("other").keep_rows(accelerator, "noise", SHAPE, np.float32).path != one.path
    for step in (1, 2):
        one.write(np.arange(6), full(6, step))
        other.write(np.arange(6), np.full(6, -step, np.int8))
        phase.save({"x": torch.zeros(1)}, step)
    one.write(np.arange(6), full(6, 9))
    other.write(np.arange(6), np.full(6, 9, np.int8))
    newest = max((tmp_path / "c").glob("noise-step-*.safetensors"))
    newest.write_bytes(b"")
    assert phase.load()[0] == 1
    assert (one.read(np.arange(6)) == 1).all()
    assert (other.read(np.arange(6)) == -1).all()


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
    rows = checkpoint.keep_rows(accelerator, "shift", (9, 3), np.float32)

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
