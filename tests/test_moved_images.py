"""The search for copies with a border, cropped, shifted or mirrored, and the clean split that may not hold any."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from rem_release.data.copies.moved_images import find_moved
from rem_release.data.copies.near_images import Grids, find_alike, find_near
from tests.command_line import run, succeed

Change = Callable[[np.ndarray], np.ndarray]


def pad(left: int, top: int, right: int, bottom: int, colour: int | None) -> Change:
    """A border of a colour, or of the pixels at the edge."""
    sides = ((top, bottom), (left, right), (0, 0))
    if colour is None:
        return lambda image: np.pad(image, sides, mode="edge")
    return lambda image: np.pad(image, sides, constant_values=colour)


def paint(width: int, colour: int) -> Change:
    """A border over the edge of the image, whose size stays."""
    return lambda image: pad(*[width] * 4, colour)(image[width:-width, width:-width])


def shift(across: int, down: int) -> Change:
    return lambda image: np.roll(np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="edge"), (down, across), (0, 1))[
        4:-4, 4:-4
    ]


CHANGES: dict[str, Change] = {
    "black border of 1": pad(1, 1, 1, 1, 0),
    "white border of 1": pad(1, 1, 1, 1, 255),
    "edge repeated once": pad(1, 1, 1, 1, None),
    "black border of 3": pad(3, 3, 3, 3, 0),
    "edge repeated three times": pad(3, 3, 3, 3, None),
    "border at the left": pad(2, 0, 0, 0, 0),
    "border at the bottom": pad(0, 0, 0, 3, 255),
    "frame of 1 painted over it": paint(1, 0),
    "frame of 3 painted over it": paint(3, 255),
    "cropped by 1": lambda image: image[1:-1, 1:-1],
    "cropped by 2": lambda image: image[2:-2, 2:-2],
    "cropped at the right": lambda image: image[:, :-3],
    "shifted by 2": shift(2, 0),
    "shifted up by 1": shift(0, -1),
    "shifted both ways": shift(1, -1),
    "mirrored": lambda image: image[:, ::-1],
}


def cut_photographs(side: int, step: int) -> list[np.ndarray]:
    """Patches of real photographs that show something; no two overlap."""
    found = []
    for photograph in (data.astronaut(), data.coffee(), data.chelsea(), data.rocket()):
        for top in range(0, photograph.shape[0] - side, step):
            for left in range(0, photograph.shape[1] - side, step):
                found.append(np.ascontiguousarray(photograph[top : top + side, left : left + side]))
    return [patch for patch in found if patch.std() > 30]


PATCHES = cut_photographs(32, 48)


def open_grids(images: list[np.ndarray]) -> Grids:
    return Grids([np.ascontiguousarray(image) for image in images].__getitem__, np.arange(len(images)), 32)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_moved_copies_are_found_and_are_those_that_they_are(change: Change) -> None:
    """Of 40 patches of photographs at least nine in ten, and each as itself; with a one-pixel border all."""
    ones, others = open_grids([change(patch) for patch in PATCHES[:40]]), open_grids(PATCHES)
    found = {near.one: near.other for near in find_moved(ones, others)}
    assert all(one == other for one, other in found.items())
    assert len(found) >= 36
    if change is CHANGES["black border of 1"]:
        assert len(found) == 40
        assert not list(find_near(ones, others, 32))
        assert len(list(find_alike(ones, others))) < 20


def test_other_images_are_none() -> None:
    assert len(PATCHES) > 150
    assert not list(find_moved(open_grids(PATCHES[::2]), open_grids(PATCHES[1::2])))


def test_nothing_is_found_in_nothing() -> None:
    nothing, some = open_grids([]), open_grids(PATCHES[:3])
    assert not list(find_moved(nothing, some))
    assert not list(find_moved(some, nothing))


@pytest.mark.parametrize("change", [CHANGES["black border of 1"], CHANGES["mirrored"]], ids=["border", "mirrored"])
def test_a_clean_split_of_copies_is_refused(tmp_path: Path, recipe: Path, change: Change) -> None:
    for split, patches in (
        ("train", PATCHES[:8]),
        ("test", [change(patch) for patch in PATCHES[:4]]),
        ("other", PATCHES[8:12]),
    ):
        for number, patch in enumerate(patches):
            path = tmp_path / "source" / split / ("cat", "dog")[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.ascontiguousarray(patch)).save(path)
    settings = ("--recipe", recipe, "--set", "data.resolution=32", "--set", "noise.method=random")
    succeed("protect", tmp_path / "source/train", "--out", tmp_path / "run", *settings)
    options = ("--dry-run", "--allow-uncertified", "--yes", "--clean", tmp_path / "source/train")
    for split, code in (("test", 3), ("other", 0)):
        given = f"test={tmp_path / 'source' / split}"
        result = run("push", tmp_path / "run", "owner/copies", *options, "--publish-clean-split", given)
        assert result.code == code, result.err
        assert ("would be published clean" in result.err) == (code == 3)
