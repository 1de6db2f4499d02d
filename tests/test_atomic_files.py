"""Files are there whole or not at all, and damaged ones are seen."""

from pathlib import Path

import numpy as np
import pytest

from rem_release.atomic_files import read_arrays, write_arrays, write_atomically


def test_writing_replaces_the_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    write_atomically(path, b"one")
    with pytest.raises(TypeError):
        write_atomically(path, "text is not bytes")
    assert path.read_bytes() == b"one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_a_flipped_bit_in_arrays_is_seen_or_changes_nothing(tmp_path: Path) -> None:
    """Members have checksums; what stands around them, names, flags and lengths, must not get through as an error."""
    path = tmp_path / "arrays.npz"
    arrays = {"text": np.array("some text"), "numbers": np.arange(5), "none": np.zeros((0, 3), np.uint8)}
    write_arrays(path, **arrays)
    whole = path.read_bytes()
    seen = 0
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        found = read_arrays(path, arrays)
        seen += found is None
        assert found is None or all(np.array_equal(found[name], array) for name, array in arrays.items()), place
    assert seen > len(whole) / 2  # what is left are dates and the like


def test_arrays_that_are_missing_are_none(tmp_path: Path) -> None:
    assert read_arrays(tmp_path / "absent.npz", ["one"]) is None
