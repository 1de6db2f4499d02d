"""The working set: what is distinct, what is left out, and in which order."""

import hashlib
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rem_release.data.images.pixels import fit_working_grid, pixel_hash
from rem_release.data.sources.clusters import label_by_clusters
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.source import Source, SourceOptions
from rem_release.data.working_set import WorkingSet, open_working_set, read_image, save_index
from rem_release.data.working_set import read_working_set as read_into
from rem_release.errors import BadImagesError, InputError

RNG = np.random.default_rng(3)


def read_working_set(source: Source, resolution: int, **options: Any) -> WorkingSet:
    with TemporaryDirectory() as folder:  # the file stays open
        return read_into(source, resolution, Path(folder), **options)


def every(working: WorkingSet) -> torch.Tensor:
    return working.images[torch.arange(len(working.images))]


def draw(path: Path, height: int = 6, width: int = 9) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def open_folder(path: Path, **options: object) -> object:
    return open_source(SourceOptions(source=str(path), **options))


def test_images_of_any_size_in_source_order(tmp_path: Path) -> None:
    shapes = [(1, 1), (1, 50), (300, 2), (8, 8), (40, 30)]
    images = [draw(tmp_path / "ab"[number % 2] / f"{number}.png", *shape) for number, shape in enumerate(shapes)]
    order = [0, 2, 4, 1, 3]
    source = open_folder(tmp_path)
    calls: list[tuple[int, int]] = []
    working = read_working_set(source, 8, progress=lambda done, total: calls.append((done, total)))
    assert every(working).dtype == torch.uint8
    assert working.images.shape == (5, 3, 8, 8)
    assert working.sizes.tolist() == [list(shapes[number]) for number in order]
    assert working.hashes == [pixel_hash(images[number]) for number in order]
    for index, number in enumerate(order):
        assert torch.equal(every(working)[index], fit_working_grid(images[number], 8))
        np.testing.assert_array_equal(read_image(source, index), images[number])
    assert torch.equal(every(working)[4], torch.from_numpy(images[3]).permute(2, 0, 1))
    assert working.labels.tolist() == [0, 0, 0, 1, 1]
    assert working.rows.tolist() == working.image_of_row.tolist() == [0, 1, 2, 3, 4]
    assert (working.bad, working.resolution) == ([], 8)
    assert calls == [(done, 5) for done in range(1, 6)]


def test_equal_pixels_are_one_image_whatever_the_file(tmp_path: Path) -> None:
    first = draw(tmp_path / "a" / "1.png")
    other = draw(tmp_path / "a" / "2.png")
    (tmp_path / "b").mkdir()
    Image.fromarray(first).save(tmp_path / "b" / "copy.bmp")
    Image.fromarray(first[:, :8]).save(tmp_path / "b" / "cut.png")
    working = read_working_set(open_folder(tmp_path), 4)
    assert working.image_of_row.tolist() == [0, 1, 0, 2]
    assert working.rows.tolist() == [0, 1, 2, 3]
    assert working.hashes == [pixel_hash(first), pixel_hash(other), pixel_hash(first[:, :8])]
    assert working.labels.tolist() == [0, 0, 1]
    assert len(working.images) == 3


def test_keys_are_63_bits_of_the_hash(tmp_path: Path) -> None:
    pixels = [draw(tmp_path / name / "1.png") for name in "ab"]
    working = read_working_set(open_folder(tmp_path), 4)
    digests = [hashlib.sha256(b"uint8 6x9x3\n" + image.tobytes()).digest() for image in pixels]
    assert working.hashes == [digest.hex() for digest in digests]
    assert working.keys.tolist() == [int.from_bytes(digest[:8], "big") >> 1 for digest in digests]
    assert working.keys.dtype == torch.int64
    assert (working.keys >= 0).all()


def test_max_side_shrinks_before_anything_else(tmp_path: Path) -> None:
    for name in "ab":
        draw(tmp_path / name / "1.png", 60, 30)
    source = open_folder(tmp_path)
    working = read_working_set(source, 8, max_side=20)
    assert working.sizes.tolist() == [[20, 10], [20, 10]]
    released = read_image(source, 0, 20)
    assert released.shape == (20, 10, 3)
    assert working.hashes[0] == pixel_hash(released)
    assert torch.equal(every(working)[0], fit_working_grid(released, 8))


def spoil(folder: Path) -> None:
    for name in "ab":
        draw(folder / name / "1.png")
    (folder / "a" / "empty.jpg").write_bytes(b"")
    (folder / "a" / "notes.txt").write_text("hello")
    (folder / "b" / "cut ü.png").write_bytes((folder / "b" / "1.png").read_bytes()[:60])


def test_all_bad_files_are_listed_in_one_error(tmp_path: Path) -> None:
    spoil(tmp_path)
    with pytest.raises(BadImagesError) as caught:
        read_working_set(open_folder(tmp_path), 8)
    assert [origin for origin, _ in caught.value.bad] == ["a/empty.jpg", "a/notes.txt", "b/cut ü.png"]
    reasons = [text for _, text in caught.value.bad]
    assert reasons[0] == "empty (0 bytes)"
    assert reasons[1].startswith("not an image in JPEG, PNG,")
    assert reasons[2].startswith("truncated or damaged (")
    assert "3 files cannot be read" in str(caught.value)
    assert "\n  a/notes.txt: not an image" in str(caught.value)
    assert caught.value.exit_code == 2


def test_bad_files_are_left_out_where_that_is_chosen(tmp_path: Path) -> None:
    spoil(tmp_path)
    working = read_working_set(open_folder(tmp_path), 8, skip_bad=True)
    assert working.rows.tolist() == [0, 3]
    assert working.image_of_row.tolist() == [0, 1]
    assert working.labels.tolist() == [0, 1]
    assert [origin for origin, _ in working.bad] == ["a/empty.jpg", "a/notes.txt", "b/cut ü.png"]


def test_what_is_left_must_be_two_classes(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "1.png")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "1.png").write_bytes(b"")
    source = open_folder(tmp_path)
    with pytest.raises(InputError, match="only class 'a' has images; at least two classes"):
        read_working_set(source, 8, skip_bad=True)
    (tmp_path / "a" / "1.png").write_bytes(b"")
    with pytest.raises(InputError, match="none of its 2 rows can be read"):
        read_working_set(source, 8, skip_bad=True)


def test_a_class_of_which_nothing_can_be_read_is_not_published(tmp_path: Path) -> None:
    for name in "abc":
        draw(tmp_path / name / "1.png")
    (tmp_path / "c" / "1.png").write_bytes(b"")
    with pytest.raises(InputError, match="whose names would be published all the same: c; mend"):
        read_working_set(open_folder(tmp_path), 8, skip_bad=True)
    assert len(read_working_set(open_folder(tmp_path, label_from="albums"), 8, skip_bad=True).rows) == 2
    (tmp_path / "metadata.csv").write_text("file_name,label\na/1.png,x\nb/1.png,y\nc/1.png,z\n")
    with pytest.raises(InputError, match="the same: z; mend"):
        read_working_set(open_folder(tmp_path), 8, skip_bad=True)


def test_a_flat_folder_is_clustered_by_what_was_read(tmp_path: Path) -> None:
    for number in range(6):
        level = 20 if number % 2 else 220
        image = Image.new("RGB", (7 + number, 5), (level, level, level - number))
        image.paste((level - 20, level + 30, level), (0, 0, 7 + number, 1))
        image.save(tmp_path / f"{number}.png")
    (tmp_path / "3b.png").write_bytes(b"no")
    source = open_folder(tmp_path, label_from="clusters")
    working = read_working_set(source, 8, skip_bad=True)
    assert working.labels.tolist() == [-1] * 6
    assert working.rows.tolist() == [0, 1, 2, 3, 5, 6]
    labelled = label_by_clusters(source, working.rows, every(working)[working.image_of_row], 2, seed=1)
    assert labelled.class_ids.tolist() == [0, 1, 0, 1, -1, 0, 1]


def test_what_was_a_choice_and_what_is_in_doubt_are_counted_and_remembered(tmp_path: Path) -> None:
    rng, source = np.random.default_rng(0), tmp_path / "source"
    for name in "ab":
        (source / name).mkdir(parents=True)
        for number in range(2):
            pixels = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(source / name / f"{number}.png")
    Image.fromarray(rng.integers(0, 256, (9, 9, 4), dtype=np.uint8)).save(source / "a/clear.png")
    Image.fromarray(np.zeros((9, 9, 4), np.uint8)).save(source / "a/empty.png")
    Image.fromarray(rng.integers(0, 4096, (9, 9), dtype=np.uint16)).save(source / "b/twelve.png")
    opened = open_folder(source)
    folder = tmp_path / "working"
    folder.mkdir()
    working = read_into(opened, 8, folder)
    assert working.choices == {"numbers of more than 8 bits brought to 8": 1, "transparency laid on white": 2}
    assert [origin for origin, _ in working.doubts] == ["a/empty.png", "b/twelve.png"]
    save_index(working, opened, folder)
    again = open_working_set(opened, 8, folder)
    assert again is not None
    assert (again.choices, again.doubts) == (working.choices, working.doubts)
    fewer = read_working_set(opened, 8, skip_bad=True)
    assert (len(fewer.rows), fewer.doubts) == (5, [])
    assert [origin for origin, _ in fewer.bad] == ["a/empty.png", "b/twelve.png"]
    assert fewer.choices == {"transparency laid on white": 1}


def test_images_are_read_in_any_order_and_from_a_part(tmp_path: Path) -> None:
    for number in range(7):
        draw(tmp_path / "ab"[number % 2] / f"{number}.png")
    working = read_working_set(open_folder(tmp_path), 4)
    whole = every(working)
    order = torch.tensor([3, 4, 5, 0, 0, 6])
    assert torch.equal(working.images[order], whole[order])
    part = working.images.subset(torch.tensor([6, 1, 2]))
    assert part.shape == (3, 3, 4, 4)
    assert torch.equal(part[torch.tensor([2, 0])], whole[[2, 6]])
    assert working.images[torch.tensor([], dtype=torch.int64)].shape == (0, 3, 4, 4)


def test_what_one_process_read_another_opens(tmp_path: Path) -> None:
    source_folder, folder = tmp_path / "source", tmp_path / "working"
    folder.mkdir()
    spoil(source_folder)
    draw(source_folder / "a" / "2.png")
    (source_folder / "b" / "copy.png").write_bytes((source_folder / "a" / "1.png").read_bytes())
    source = open_folder(source_folder)
    read = read_into(source, 8, folder, skip_bad=True)
    assert open_working_set(source, 8, folder) is None  # not finished
    save_index(read, source, folder)
    opened = open_working_set(open_folder(source_folder), 8, folder)
    assert opened is not None
    assert torch.equal(every(opened), every(read))
    for name in ("labels", "keys", "sizes", "rows", "image_of_row"):
        np.testing.assert_array_equal(getattr(opened, name), getattr(read, name))
    assert (opened.hashes, opened.bad, opened.resolution) == (read.hashes, read.bad, 8)
    assert open_working_set(source, 4, folder) is None  # another grid
    changed = source_folder / "a" / "2.png"
    os.utime(changed, ns=(1, 1))
    assert open_working_set(open_folder(source_folder), 8, folder) is None
    changed.unlink()
    assert open_working_set(open_folder(source_folder), 8, folder) is None


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"", lambda data: b"x" * len(data)], ids=["cut", "empty", "other"]
)
@pytest.mark.parametrize("name", ["images.npy", "index.npz"])
def test_damaged_files_are_read_anew(tmp_path: Path, name: str, damage: Any) -> None:
    for number in range(4):
        draw(tmp_path / "source" / "ab"[number % 2] / f"{number}.png")
    source = open_folder(tmp_path / "source")
    save_index(read_into(source, 4, tmp_path), source, tmp_path)
    assert open_working_set(source, 4, tmp_path) is not None
    (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    assert open_working_set(source, 4, tmp_path) is None
