"""Checkpoints that are damaged anywhere, or of something else: the reason is named, and the one before is used."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rem_release import __version__
from rem_release.errors import InputError
from rem_release.training.checkpoints import Checkpoint, collect, restore

STEPS = (3, 4)
State = dict[str, Tensor]


def trained(step: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A network and its optimiser after so many steps, with momentum and BatchNorm statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(step):
            optimizer.zero_grad()
            model(torch.rand(6, 3)).square().sum().backward()
            optimizer.step()
    return model, optimizer


def state_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> State:
    """Weights, statistics and momentum, copied."""
    momentum = {f"momentum.{index}": each["momentum_buffer"] for index, each in enumerate(optimizer.state.values())}
    return {name: tensor.clone() for name, tensor in {**model.state_dict(), **momentum}.items()}


def named(model: nn.Module, optimizer: torch.optim.Optimizer) -> State:
    return collect({"model": model}, {"model": optimizer})


def take_up(checkpoint: Checkpoint, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    step, state = checkpoint.load()
    restore(state, {"model": model}, {"model": optimizer})
    return step


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints of one training, after steps 3 and 4. Not to be changed."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    for step in STEPS:
        Checkpoint(folder, "same").save(named(*trained(step)), step)
    return folder


@pytest.fixture
def folder(tmp_path: Path, saved: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "checkpoints"))


def load(folder: Path, fingerprint: str = "same") -> tuple[int, State, list[str]]:
    """What comes back: the step, the state, and what was said."""
    warnings: list[str] = []
    model, optimizer = trained(1)
    step = take_up(Checkpoint(folder, fingerprint, warn=warnings.append), model, optimizer)
    return step, state_of(model, optimizer), warnings


def newest(folder: Path, suffix: str) -> Path:
    return folder / f"step-{STEPS[-1]:08d}{suffix}"


def flip(path: Path, draw: random.Random) -> str:
    """Change one bit."""
    data, place, bit = bytearray(path.read_bytes()), draw.randrange(path.stat().st_size), draw.randrange(8)
    data[place] ^= 1 << bit
    path.write_bytes(data)
    return f"bit {bit} of byte {place}"


def overwrite(path: Path, draw: random.Random) -> str:
    """Give a few bytes other values, as a bad sector does."""
    data = bytearray(path.read_bytes())
    place = draw.randrange(len(data))
    piece = draw.randbytes(min(draw.randint(1, 64), len(data) - place))
    data[place : place + len(piece)] = piece
    path.write_bytes(data)
    return f"{len(piece)} bytes from {place} on"


def cut(path: Path, draw: random.Random) -> str:
    length = draw.randrange(path.stat().st_size)
    path.write_bytes(path.read_bytes()[:length])
    return f"cut to {length}"


def zero(path: Path, draw: random.Random) -> str:
    """The end of a file that never reached the disk: the length is there, the bytes are not."""
    data, place = path.read_bytes(), draw.randrange(path.stat().st_size)
    path.write_bytes(data[:place].ljust(len(data), b"\0"))
    return f"zeros from {place} on"


def prolong(path: Path, draw: random.Random) -> str:
    path.write_bytes(path.read_bytes() + draw.randbytes(draw.randint(1, 100)))
    return "prolonged"


HARMS: tuple[Callable[[Path, random.Random], str], ...] = (flip, overwrite, cut, zero, prolong)


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
@pytest.mark.parametrize("harm", HARMS)
def test_a_checkpoint_damaged_anywhere_is_never_taken_for_sound(
    folder: Path, saved: Path, harm: Callable[[Path, random.Random], str], suffix: str
) -> None:
    """Ten seeded places each: the one before is used and the reason is said, or every byte that counts is there."""
    draw = random.Random(f"{harm.__name__}{suffix}")
    sound = {step: state_of(*trained(step)) for step in STEPS}
    for _ in range(10):
        what = harm(newest(folder, suffix), draw)
        step, state, warnings = load(folder)
        assert step in STEPS, what
        assert same(state, sound[step]), f"{what}: the state of another step, or half of it, was taken for step {step}"
        if newest(folder, suffix).read_bytes() != newest(saved, suffix).read_bytes() and suffix == ".safetensors":
            assert step == STEPS[0], what
        assert (step == STEPS[0]) == (len(warnings) == 1), what
        for text in warnings:
            assert str(newest(folder, ".safetensors")) in text, what
            assert f"going on from the one before, of step {STEPS[0]}" in text
        shutil.copy(newest(saved, suffix), newest(folder, suffix))


def test_no_byte_of_the_note_leads_to_another_step(folder: Path) -> None:
    """Each byte in turn, by its lowest bit: a digit stays a digit, and `4` becomes `5`."""
    path = newest(folder, ".json")
    sound = {step: state_of(*trained(step)) for step in STEPS}
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        step, state, warnings = load(folder)
        assert step in STEPS, f"byte {place}, {whole[place : place + 1]!r}, makes it a checkpoint of step {step}"
        assert same(state, sound[step])
        assert bool(warnings) == (step == STEPS[0])


def of_another_version(folder: Path) -> str:
    edit_note(folder, version="0.0.1")
    return f"was written by version 0.0.1 and this is {__version__}"


def of_something_else(folder: Path) -> str:
    edit_note(folder, fingerprint="other")
    return "belongs to another recipe, seed or set of images"


def of_another_step(folder: Path) -> str:
    """The older state and its note under the newer name."""
    for suffix in (".safetensors", ".json"):
        shutil.copy(folder / f"step-{STEPS[0]:08d}{suffix}", newest(folder, suffix))
    return "is damaged"


def without_its_state(folder: Path) -> str:
    newest(folder, ".safetensors").unlink()
    return "is damaged (its bytes do not fit their checksum)"


def with_a_folder_in_its_place(folder: Path) -> str:
    newest(folder, ".safetensors").unlink()
    newest(folder, ".safetensors").mkdir()
    return "is damaged (its bytes do not fit their checksum)"


def edit_note(folder: Path, **changes: object) -> None:
    note = json.loads(newest(folder, ".json").read_bytes())
    newest(folder, ".json").write_text(json.dumps({**note, **changes}))


@pytest.mark.parametrize(
    "spoil", [of_another_version, of_something_else, of_another_step, without_its_state, with_a_folder_in_its_place]
)
def test_the_one_before_is_used_and_the_reason_said(folder: Path, spoil: Callable[[Path], str]) -> None:
    reason = spoil(folder)
    step, state, warnings = load(folder)
    assert step == STEPS[0]
    assert same(state, state_of(*trained(STEPS[0])))
    assert len(warnings) == 1
    assert f"the checkpoint {newest(folder, '.safetensors')} {reason}" in warnings[0]
    assert f"going on from the one before, of step {STEPS[0]}" in warnings[0]


@pytest.mark.parametrize("note", ["", "null", "[]", "7", '"step"', "{}", "[" * 50, "\udcff"])
def test_a_note_that_says_nothing_is_damage(folder: Path, note: str) -> None:
    newest(folder, ".json").write_bytes(note.encode(errors="surrogateescape"))
    step, _, (warning,) = load(folder)
    assert step == STEPS[0]
    assert "is damaged (its .json cannot be read)" in warning


@pytest.mark.parametrize("harm", HARMS)
def test_two_damaged_checkpoints_are_refused_and_nothing_is_changed(
    folder: Path, harm: Callable[[Path, random.Random], str]
) -> None:
    """The reason is that of the newest, and the way out is said; the network stays as it was."""
    draw = random.Random(harm.__name__)
    for path in folder.glob("*.safetensors"):
        harm(path, draw)
    files = {path: path.read_bytes() for path in folder.iterdir()}
    model, optimizer = trained(1)
    before = state_of(model, optimizer)
    with pytest.raises(InputError) as refused:
        take_up(Checkpoint(folder, "same"), model, optimizer)
    assert f"{newest(folder, '.safetensors')} is damaged (its bytes do not fit their checksum)" in str(refused.value)
    assert "start again with --overwrite" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert same(state_of(model, optimizer), before)
    assert {path: path.read_bytes() for path in folder.iterdir()} == files


@pytest.mark.parametrize("step", [STEPS[-1], STEPS[-1] + 1])
def test_the_next_write_heals_a_damaged_one(folder: Path, step: int) -> None:
    """Written under the same name, or after it: what comes back is the new one, and nothing is said."""
    flip(newest(folder, ".safetensors"), random.Random(0))
    Checkpoint(folder, "same").save(named(*trained(step)), step)
    found, state, warnings = load(folder)
    assert (found, warnings) == (step, [])
    assert same(state, state_of(*trained(step)))


def test_other_conditions_are_taken_up_with_a_warning(tmp_path: Path) -> None:
    """Another number of processes trains on as well, and not to the same bytes: nobody shall be told otherwise."""
    warnings: list[str] = []
    Checkpoint(tmp_path / "c", "same", "1 process, cpu, float32").save(named(*trained(3)), 3)
    model, optimizer = trained(1)
    again = Checkpoint(tmp_path / "c", "same", "2 processes, cpu, float32", warn=warnings.append)
    assert take_up(again, model, optimizer) == 3
    assert same(state_of(model, optimizer), state_of(*trained(3)))
    assert len(warnings) == 1
    assert "was made by 1 process, cpu, float32, and this is 2 processes, cpu, float32" in warnings[0]
