"""`reproduce` on CIFAR as torchvision downloads it: pixels as they are, and no pickle opened but the official ones."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10

from rem_release.data.sources.source import SourceOptions
from rem_release.errors import InputError
from rem_release.reproduce.images import Draw, draw_images
from tests.command_line import run

_NAMES = ["cat", "dog"]


class Payload:
    """Leaves a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


def write(root: Path, train: object, test: object, meta: object) -> type[CIFAR10]:
    """The three pickles of a small copy, and the torchvision class that knows their checksums."""
    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    sums = {}
    for name, value in (("data_batch_1", train), ("test_batch", test), ("batches.meta", meta)):
        (folder / name).write_bytes(pickle.dumps(value))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()

    class Small(CIFAR10):
        train_list = [["data_batch_1", sums["data_batch_1"]]]  # noqa: RUF012
        test_list = [["test_batch", sums["test_batch"]]]  # noqa: RUF012
        meta = {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]}  # noqa: RUF012

    return Small


def batch(count: int, seed: int) -> dict[str, object]:
    """Pixels as CIFAR keeps them, channels first, and a class for each."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 3 * 32 * 32), dtype=np.uint8)
    return {"data": pixels, "labels": [number % 2 for number in range(count)]}


def draw(source: Path, kind: type[CIFAR10]) -> Draw:
    return draw_images(SourceOptions(source=str(source)), "cifar10", 4, 2, {"cifar10": kind})


@pytest.mark.parametrize("inside", [".", CIFAR10.base_folder])
def test_original_pixels_are_written_as_png(tmp_path: Path, inside: str) -> None:
    train, test = batch(6, seed=0), batch(4, seed=1)
    kind = write(tmp_path / "root", train, test, {"label_names": _NAMES})
    drawn = draw(tmp_path / "root" / inside, kind)
    words = drawn.copy(tmp_path / "out" / "data")
    assert "4 training and 2 test images" in words
    assert "(PNG)" in words
    for split, pickled in (("train", train), ("test", test)):
        written = sorted((tmp_path / "out" / "data" / split).rglob("*.png"), key=lambda path: path.stem)
        assert [int(path.stem) for path in written] == drawn.rows[split]
        for path in written:
            row = int(path.stem)
            pixels = np.asarray(pickled["data"])[row].reshape(3, 32, 32).transpose(1, 2, 0)
            assert np.array_equal(np.asarray(Image.open(path)), pixels)
            assert path.parent.name == _NAMES[row % 2]


def test_another_copy_is_not_taken_for_the_one_that_was_drawn(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("two", 1)):
        kind = write(tmp_path / name, batch(6, seed), batch(4, seed), {"label_names": _NAMES})
        if name == "one":
            draw(tmp_path / name, kind).copy(tmp_path / "out" / "data")
    with pytest.raises(InputError, match=r"not what .*images\.json was drawn from any more"):
        draw(tmp_path / "two", kind).copy(tmp_path / "out" / "data")


def test_a_wrong_checksum_is_refused_in_a_line_and_nothing_is_unpickled(tmp_path: Path) -> None:
    mark = tmp_path / "unpickled"
    write(tmp_path / "root", Payload(mark), Payload(mark), Payload(mark))
    result = run("reproduce", "table1", "--scale", "smoke", "--data", tmp_path / "root", "--out", tmp_path / "out")
    assert result.code == 2
    assert len(result.err.strip().splitlines()) == 1
    assert "is not what torchvision downloads: a file is missing or its checksum differs" in result.err
    assert not mark.exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("changed", ["data_batch_1", "test_batch", "batches.meta"])
def test_each_file_has_to_have_its_checksum(tmp_path: Path, changed: str) -> None:
    mark = tmp_path / "unpickled"
    kind = write(tmp_path / "root", batch(6, 0), batch(4, 1), {"label_names": _NAMES})
    (tmp_path / "root" / CIFAR10.base_folder / changed).write_bytes(pickle.dumps(Payload(mark)))
    with pytest.raises(InputError, match="its checksum differs"):
        draw(tmp_path / "root", kind)
    assert not mark.exists()
    pickle.loads((tmp_path / "root" / CIFAR10.base_folder / changed).read_bytes())
    assert mark.exists()
