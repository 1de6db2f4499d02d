"""What the figures of a card show: released images, noise of none of them, and nothing clean."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rem_release.data.images.decoding import decode
from rem_release.data.images.png_writing import encode_png
from rem_release.gate.figures import check_figures_show
from rem_release.gate.noise_tiles import NoiseTiles
from rem_release.release.documents import read_facts
from rem_release.release.facts import Facts, FileFacts
from rem_release.release.figures import (
    NOISE_FIGURE,
    PROTECTED_FIGURE,
    amplify_noise,
    cut_tiles,
    fit_tile,
    noise_grid,
    protected_grid,
)
from rem_release.release.run_folder import RunFolder
from rem_release.verification.originals import Originals, find_originals
from rem_release.verification.pairing import RecordedRow
from rem_release.verification.report import Check
from tests.command_line import draw, pixels_of, released, succeed

LEVELS = 8
AGAINST = "figures against originals"


@dataclass
class Run:
    """A run, its originals and its record."""

    path: Path
    facts: Facts
    originals: Originals
    row_map: list[RecordedRow]

    @classmethod
    def open(cls, path: Path) -> "Run":
        facts = read_facts(path / "release")
        originals, row_map = find_originals(RunFolder(path), facts.data, None)
        assert originals is not None
        assert row_map is not None
        return cls(path, facts, originals, row_map)

    def check(self, clean: bool = True, record: bool = True, **options) -> dict[str, Check]:
        originals = self.originals if clean else None
        row_map = self.row_map if clean and record else None
        return {
            check.name: check
            for check in check_figures_show(self.path / "release", self.facts, originals, row_map, **options)
        }

    def clean(self, row: int) -> np.ndarray:
        """The original of a row."""
        index = self.row_map[row].index
        assert index is not None
        return self.originals.pixels(index)

    def protected(self, row: int) -> np.ndarray:
        return pixels_of(released(self.path / "release")[row]["image"]["bytes"])

    def noise(self, row: int) -> np.ndarray:
        """In levels."""
        return self.protected(row).astype(int) - self.clean(row)

    def plant(self, name: str, png: bytes) -> None:
        """Put another figure in the place of one."""
        (self.path / "release" / name).write_bytes(png)
        files = {**self.facts.files, name: FileFacts(bytes=max(1, len(png)), sha256="")}
        self.facts = self.facts.model_copy(update={"files": files})

    def edit(self, name: str, edit: Callable[[np.ndarray], None]) -> None:
        pixels = decode((self.path / "release" / name).read_bytes())
        edit(pixels)
        self.plant(name, encode_png(pixels))


@pytest.fixture
def tiny(run_copy: Path) -> Run:
    """Eight protected images of 8 x 8."""
    return Run.open(run_copy)


@pytest.fixture
def photos(tmp_path: Path, recipe: Path) -> Run:
    """Six images of several sizes on a working grid of 8 x 8."""
    for number, size in enumerate([(50, 30), (30, 50), (8, 8), (16, 16), (120, 90), (8, 8)]):
        path = tmp_path / "photos" / ("cat", "dog")[number % 2] / f"{number}.png"
        blocks = Image.fromarray(draw(path, number, (4, 4)))
        blocks.resize(size, Image.Resampling.BICUBIC).save(path)
    return protect(tmp_path, recipe)


def protect(folder: Path, recipe: Path, *options: object) -> Run:
    succeed("protect", folder / "photos", "--out", folder / "run", "--recipe", recipe, *options)
    return Run.open(folder / "run")


def posterise(image: np.ndarray) -> np.ndarray:
    """An image in the values that noise of 8 levels has: what a careless rendering of it as noise would give."""
    return amplify_noise(np.rint((image.astype(float) - 128) / 16), LEVELS)


def arrange_noise(tiles: list[np.ndarray], side: int = 96) -> bytes:
    """Tiles of any content in the layout of a figure."""
    return protected_grid([fit_tile(tile, side) for tile in tiles])


# --- what protect draws passes


def test_the_figures_of_a_run_pass(tiny: Run) -> None:
    checks = tiny.check()
    assert [check.passed for check in checks.values()] == [True] * 3, checks
    assert checks["protected figure"].detail == "each of its 8 tiles is an image of the release"
    assert checks["noise figure"].detail == "2 tiles of noise within the budget"
    assert checks[AGAINST].detail.startswith(
        "no tile shows one of 8 originals; subtracted from one of 8 rows, none gains"
    )


def test_the_figures_of_photographs_of_their_own_size_pass(photos: Run) -> None:
    assert [check.passed for check in photos.check().values()] == [True] * 3


def test_rows_are_found_without_a_record_too(tiny: Run) -> None:
    assert [check.passed for check in tiny.check(record=False).values()] == [True] * 3


def test_without_the_originals_only_their_part_is_not_checked(tiny: Run) -> None:
    checks = tiny.check(clean=False)
    assert [check.passed for check in checks.values()] == [True, True, None]
    assert "--clean SOURCE" in checks[AGAINST].detail


def test_a_release_without_a_figure_of_protected_images_passes(tmp_path: Path, photographs: Path, recipe: Path) -> None:
    out = tmp_path / "run"
    options = ("--fraction", 0.5, "--release-unprotected")
    succeed("protect", photographs, "--out", out, "--recipe", recipe, *options)
    run = Run.open(out)
    assert PROTECTED_FIGURE not in run.facts.files
    checks = run.check()
    assert [check.passed for check in checks.values()] == [True] * 3
    assert checks["protected figure"].detail == "there is none"


def test_progress_counts_rows_and_the_originals_that_no_row_shows(
    tmp_path: Path, photographs: Path, recipe: Path
) -> None:
    succeed("protect", photographs, "--out", tmp_path / "run", "--recipe", recipe, "--fraction", 0.5)
    run, told = Run.open(tmp_path / "run"), []
    run.check(progress=lambda *at: told.append(at))
    assert run.facts.data.images == 4
    assert told == [(step + 1, 8) for step in range(8)]


# --- the figure of protected images


def test_a_clean_image_among_the_protected_ones_is_refused(tiny: Run) -> None:
    tiny.plant(PROTECTED_FIGURE, protected_grid([tiny.protected(0), tiny.clean(1)]))
    check = tiny.check(clean=False)["protected figure"]
    assert check.passed is False
    assert "tile 1 of figures/protected.png is not an image of the release" in check.detail


def test_one_changed_pixel_of_the_figure_is_refused(tiny: Run) -> None:
    def change(pixels: np.ndarray) -> None:
        pixels[50, 50, 1] ^= 1

    tiny.edit(PROTECTED_FIGURE, change)
    check = tiny.check()["protected figure"]
    assert check.passed is False
    assert "tile 0" in check.detail


@pytest.mark.parametrize("name", [PROTECTED_FIGURE, NOISE_FIGURE])
def test_something_in_the_gaps_is_refused(tiny: Run, name: str) -> None:
    def change(pixels: np.ndarray) -> None:
        pixels[1, 1] = 254

    tiny.edit(name, change)
    words = "protected figure" if name == PROTECTED_FIGURE else "noise figure"
    check = tiny.check()[words]
    assert check.passed is False
    assert "are not a grid of tiles of 96 pixels" in check.detail


@pytest.mark.parametrize("png", [b"", b"no image", encode_png(np.full((3, 3, 3), 255, np.uint8))])
@pytest.mark.parametrize("name", [PROTECTED_FIGURE, NOISE_FIGURE])
def test_what_is_no_figure_is_refused(tiny: Run, name: str, png: bytes) -> None:
    tiny.plant(name, png)
    words = "protected figure" if name == PROTECTED_FIGURE else "noise figure"
    assert tiny.check()[words].passed is False


def test_a_photograph_is_recognised_by_its_thumbnail(photos: Run) -> None:
    clean = max(range(6), key=lambda row: photos.clean(row).size)
    photos.plant(PROTECTED_FIGURE, protected_grid([photos.protected(0), photos.clean(clean)]))
    check = photos.check()["protected figure"]
    assert check.passed is False
    assert "tile 1 of" in check.detail
    assert "tile 0 of" not in check.detail


def test_a_row_without_noise_must_not_be_shown_as_protected(tmp_path: Path, photographs: Path, recipe: Path) -> None:
    options = ("--fraction", 0.5, "--release-unprotected")
    succeed("protect", photographs, "--out", tmp_path / "run", "--recipe", recipe, *options)
    run = Run.open(tmp_path / "run")
    plain = next(row for row, record in enumerate(run.row_map) if not record.protected)
    run.plant(PROTECTED_FIGURE, protected_grid([run.protected(plain)]))
    check = run.check()[AGAINST]
    assert check.passed is False
    assert f"tile 0 of figures/protected.png shows row {plain}, which carries no noise" in check.detail


# --- the figure of noise


@pytest.mark.parametrize("turn", ["as it is", "mirrored", "upside down", "negative", "faint", "with others"])
def test_the_noise_of_a_released_row_is_refused(tiny: Run, turn: str) -> None:
    noise = tiny.noise(5)
    other = np.random.default_rng(0).integers(-LEVELS, LEVELS + 1, noise.shape)
    turned = {
        "as it is": noise,
        "mirrored": noise[:, ::-1],
        "upside down": noise[::-1],
        "negative": -noise,
        "faint": np.rint(noise / 4).astype(int),
        "with others": (noise + other[::-1, ::-1]) // 2,
    }[turn]
    tiny.plant(NOISE_FIGURE, noise_grid(np.array([other, turned]), LEVELS))
    checks = tiny.check()
    assert checks["noise figure"].passed is True
    assert checks[AGAINST].passed is False
    assert "tile 1 of figures/noise.png, subtracted from row 5, brings it " in checks[AGAINST].detail
    assert "dB closer to its original (at most 0.5)" in checks[AGAINST].detail
    assert "protect again" in checks[AGAINST].detail
    assert tiny.check(clean=False)[AGAINST].passed is None


def test_the_noise_of_a_photograph_is_refused(photos: Run) -> None:
    row = next(row for row in range(6) if photos.clean(row).shape[:2] == (90, 120))
    stored = np.load(photos.path / "private/noise.npy")
    index = int(
        np.argmin([np.abs(squash(photos.noise(row)) - one.transpose(1, 2, 0)).mean() for one in stored])
    )  # the noise on the working grid that this image got
    photos.plant(NOISE_FIGURE, noise_grid(stored[index : index + 1].transpose(0, 2, 3, 1), LEVELS))
    check = photos.check()[AGAINST]
    assert check.passed is False
    assert f"tile 0 of figures/noise.png, subtracted from row {row}, brings it" in check.detail


def squash(noise: np.ndarray) -> np.ndarray:
    """Means over the working grid of 8 x 8."""
    channels = [
        Image.fromarray(noise[..., c].astype(np.float32)).resize((8, 8), Image.Resampling.BOX) for c in range(3)
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


@pytest.mark.parametrize("negative", [False, True])
def test_a_clean_image_in_the_values_of_noise_is_refused(tiny: Run, negative: bool) -> None:
    tiny.plant(NOISE_FIGURE, arrange_noise([posterise(255 - tiny.clean(3) if negative else tiny.clean(3))]))
    checks = tiny.check()
    assert checks["noise figure"].passed is True
    assert checks[AGAINST].passed is False
    assert "tile 0 of figures/noise.png shows the original of row 3 (correlation " in checks[AGAINST].detail


def test_an_original_that_is_not_released_is_refused_too(tmp_path: Path, photographs: Path, recipe: Path) -> None:
    succeed("protect", photographs, "--out", tmp_path / "run", "--recipe", recipe, "--fraction", 0.5)
    run = Run.open(tmp_path / "run")
    hidden = next(index for index in range(8) if index not in [record.index for record in run.row_map])
    run.plant(NOISE_FIGURE, arrange_noise([posterise(run.originals.pixels(hidden))]))
    check = run.check()[AGAINST]
    assert check.passed is False
    assert f"shows original {hidden}, which is not released" in check.detail


def test_a_clean_image_as_it_is_has_not_the_values_of_noise(tiny: Run) -> None:
    tiny.plant(NOISE_FIGURE, arrange_noise([tiny.clean(0)]))
    check = tiny.check(clean=False)["noise figure"]
    assert check.passed is False
    assert "tile 0 of figures/noise.png has values that noise of 8 levels has not" in check.detail


def test_a_tile_holds_no_more_detail_than_the_noise(tiny: Run) -> None:
    fine = amplify_noise(np.random.default_rng(0).integers(-LEVELS, LEVELS + 1, (96, 96, 3)), LEVELS)
    tiny.plant(NOISE_FIGURE, protected_grid([fine]))
    check = tiny.check(clean=False)["noise figure"]
    assert check.passed is False
    assert "is no noise of 8 x 8 pixels" in check.detail


def test_noise_above_the_budget_is_refused(tiny: Run) -> None:
    """Drawn as if the budget were 16: values that 8 levels do not give."""
    tiny.plant(NOISE_FIGURE, noise_grid(np.random.default_rng(0).integers(-16, 17, (2, 8, 8, 3)), 16))
    assert tiny.check()["noise figure"].passed is False


# --- rows that cannot be judged


def test_a_row_without_its_original_leaves_that_part_open(tiny: Run) -> None:
    tiny.row_map[2] = RecordedRow(None, True, "gone.png", "")
    check = tiny.check()[AGAINST]
    assert check.passed is None
    assert check.detail == "1 rows could not be compared with an original"


def test_damaged_rows_are_refused(tiny: Run) -> None:
    next((tiny.path / "release/data").glob("*")).write_bytes(b"PAR1")
    assert [check.passed for check in tiny.check().values()] == [False] * 3


# --- the pieces


@settings(max_examples=12)
@given(count=st.integers(1, 25), side=st.sampled_from([96, 97]), seed=st.integers(0, 2**32 - 1))
def test_a_grid_is_cut_into_the_tiles_that_it_was_made_of(count: int, side: int, seed: int) -> None:
    noise = np.random.default_rng(seed).integers(-LEVELS, LEVELS + 1, (count, side, side, 3))
    tiles = cut_tiles(decode(noise_grid(noise, LEVELS)), side)
    assert np.array_equal(tiles, amplify_noise(noise, LEVELS))


def test_a_grid_of_another_form_is_refused() -> None:
    tile = np.zeros((96, 96, 3), np.uint8)
    row = np.full((104, 304, 3), 255, np.uint8)
    row[4:100, 4:300] = np.hstack([tile, np.full((96, 4, 3), 255, np.uint8)] * 3)[:, :-4]
    for grid in (row, row[:100], row[:, :200], np.full((604, 604, 3), 255, np.uint8)):
        with pytest.raises(ValueError, match="are not a grid of tiles of 96 pixels"):
            cut_tiles(grid)


def test_a_flat_image_is_like_nothing() -> None:
    noise = np.random.default_rng(0).integers(-LEVELS, LEVELS + 1, (8, 8, 3))
    tiles = NoiseTiles([amplify_noise(noise, LEVELS)], 8)
    flat = np.full((8, 8, 3), 128, np.uint8)
    assert tiles.find_image(flat) is None
    nearly = (flat + np.sign(noise) * 3).astype(np.uint8)
    assert np.corrcoef(nearly.ravel(), np.sign(noise).ravel())[0, 1] > 0.99
    assert NoiseTiles([amplify_noise(np.sign(noise) * LEVELS, LEVELS)], 8).find_image(nearly) is None
    assert NoiseTiles([flat], 8).find_image(flat) is None
