"""The journal of finished shards: writing goes on where it was stopped, and ends with the same bytes."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from rem_release.data.images.decoding import BadImage
from rem_release.data.noise_store import NoiseStore
from rem_release.data.selection import Role
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.source import Source, SourceOptions
from rem_release.data.working_set import read_working_set
from rem_release.errors import InputError
from rem_release.release import writing
from rem_release.release.noise_gain import MAX_GAIN, NoiseGain
from rem_release.release.shard_journal import open_journals
from rem_release.release.writing import Choice, Written, write_rows
from tests.command_line import draw

COUNT, BUDGET, SHARD = 24, 8, 3000
SHOWN = 7
"""of the images with noise, the one whose own noise the figure shows"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Source, Choice, NoiseStore]:
    """Images of many sizes, a part of them protected, and noise that is no more than random."""
    folder = tmp_path_factory.mktemp("inputs")
    for number in range(COUNT):
        draw(folder / "source" / "ab"[number % 2] / f"{number:02d}.png", number, (2 + number, 30 - number))
    source = open_source(SourceOptions(source=str(folder / "source")))
    working = read_working_set(source, 8, folder)
    roles = np.array([Role.UNPROTECTED if number % 5 == 4 else Role.PROTECTED for number in range(COUNT)], np.int8)
    index = np.where(roles == Role.PROTECTED, np.cumsum(roles == Role.PROTECTED) - 1, -1)
    store = NoiseStore(folder / "noise.npy", int(index.max()) + 1, 8, "noise", warn=print)
    levels = np.random.default_rng(0).integers(-BUDGET, BUDGET + 1, (len(np.unique(index)) - 1, 3, 8, 8), np.int8)
    store.write(0, writing.torch.from_numpy(levels))
    return source, Choice(working, roles, index.astype(np.int64), True, None), store


class StoppedError(Exception):
    """The run ends here."""


def write(
    inputs: tuple[Source, Choice, NoiseStore], folder: Path, stop_after: int = COUNT, fingerprint: str = "one"
) -> Written:
    source, choice, store = inputs
    figure = NoiseGain(store.read(SHOWN).permute(1, 2, 0).numpy()[None], BUDGET, 8)

    def stop(done: int, total: int) -> None:
        if done == stop_after and done < total:
            raise StoppedError

    journals = open_journals(folder / "writing", folder / "staging", source.splits, fingerprint)
    return write_rows(folder / "staging", source, choice, store, BUDGET, journals, SHARD, stop, figure)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "staging/data").iterdir())}


@pytest.fixture(scope="module")
def undisturbed(
    inputs: tuple[Source, Choice, NoiseStore], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Written]:
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, write(inputs, folder)


def test_the_inputs_take_several_shards(undisturbed: tuple[Path, Written]) -> None:
    assert len(contents(undisturbed[0])) >= 4


@pytest.mark.parametrize("stop_after", range(1, COUNT, 3))
def test_stopped_anywhere_it_ends_with_the_same_bytes(
    inputs: tuple[Source, Choice, NoiseStore], undisturbed: tuple[Path, Written], tmp_path: Path, stop_after: int
) -> None:
    expected, whole = undisturbed
    with pytest.raises(StoppedError):
        write(inputs, tmp_path, stop_after)
    written = write(inputs, tmp_path)
    assert contents(tmp_path) == contents(expected)
    assert written.meter.facts() == whole.meter.facts()
    assert written.meter.worst == whole.meter.worst
    assert (written.raised, written.rows) == (whole.raised, COUNT)
    assert written.gain == whole.gain > MAX_GAIN
    assert len(written.samples) == len(whole.samples)
    for one, other in zip(written.samples, whole.samples, strict=True):
        assert_array_equal(one, other)


def rows_read_again(inputs: tuple[Source, Choice, NoiseStore], folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many rows are made once more; the bytes are as ever."""
    count = []
    make = writing._make_row
    monkeypatch.setattr(writing, "_make_row", lambda *arguments: count.append(1) or make(*arguments))
    write(inputs, folder)
    return len(count)


def test_finished_shards_are_not_made_again(
    inputs: tuple[Source, Choice, NoiseStore], undisturbed: tuple[Path, Written], tmp_path: Path, monkeypatch
) -> None:
    shutil.copytree(undisturbed[0], tmp_path, dirs_exist_ok=True)
    assert rows_read_again(inputs, tmp_path, monkeypatch) == 0
    assert contents(tmp_path) == contents(undisturbed[0])


def damage_of(folder: Path) -> Iterator[Path]:
    yield sorted((folder / "staging/data").iterdir())[1]
    yield folder / "writing/shard-train-00001.npz"


@pytest.mark.parametrize("which", [0, 1])
def test_a_damaged_shard_and_those_after_it_are_made_again(
    inputs: tuple[Source, Choice, NoiseStore],
    undisturbed: tuple[Path, Written],
    tmp_path: Path,
    monkeypatch,
    which: int,
) -> None:
    shutil.copytree(undisturbed[0], tmp_path, dirs_exist_ok=True)
    damaged = list(damage_of(tmp_path))[which]
    data = bytearray(damaged.read_bytes())
    place = len(data) // 2 if which == 0 else data.index(b"NUMPY")  # of a .npz, a byte that its checksums cover
    data[place] ^= 1
    damaged.write_bytes(data)
    assert 0 < rows_read_again(inputs, tmp_path, monkeypatch) < COUNT
    assert contents(tmp_path) == contents(undisturbed[0])


def test_shards_of_another_release_are_deleted(
    inputs: tuple[Source, Choice, NoiseStore], undisturbed: tuple[Path, Written], tmp_path: Path
) -> None:
    shutil.copytree(undisturbed[0], tmp_path, dirs_exist_ok=True)
    journals = open_journals(tmp_path / "writing", tmp_path / "staging", ["train"], "two")
    assert journals["train"].finished == []
    assert list((tmp_path / "staging").iterdir()) == list((tmp_path / "writing").iterdir()) == []


def test_an_image_that_changed_is_named(inputs: tuple[Source, Choice, NoiseStore], tmp_path: Path, monkeypatch) -> None:
    read = writing.read_image
    monkeypatch.setattr(writing, "read_image", lambda source, row, side: read(source, (row + 1) % COUNT, side))
    with pytest.raises(
        InputError, match=r"a/00.png changed while it was being protected; start again with --overwrite"
    ):
        write(inputs, tmp_path)

    def refuse(*arguments: object) -> None:
        raise BadImage("no such file")

    monkeypatch.setattr(writing, "read_image", refuse)
    with pytest.raises(InputError, match=r"a/00.png cannot be read any more \(no such file\)"):
        write(inputs, tmp_path)
