"""What subtracting a tile of the noise figure gains, and that no figure goes out that gains much."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from rem_release.core.levels import protect_at_own_size
from rem_release.methods.maker import grey_batch
from rem_release.release.documents import describe_files, read_facts, write_documents
from rem_release.release.figures import NOISE_FIGURE, amplify_noise, noise_grid, read_noise
from rem_release.release.generator import load_generator
from rem_release.release.noise_gain import NoiseGain
from tests.command_line import draw, run, same_release, succeed, write_recipe

LEVELS = 8
FLIPS = [(slice(None, None, down), slice(None, None, across)) for down in (1, -1) for across in (1, -1)]


def draw_tiles(rng: np.random.Generator, count: int, side: int) -> np.ndarray:
    """Noise with something coarse in it, which averages do not lose."""
    fine, colour = rng.integers(-LEVELS, LEVELS + 1, (count, side, side, 3)), rng.integers(-4, 5, (count, 1, 1, 3))
    return np.clip(fine + colour, -LEVELS, LEVELS)


def draw_image(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return rng.integers(2 * LEVELS, 255 - 2 * LEVELS, (height, width, 3)).astype(np.uint8)


def enlarge(tile: np.ndarray, height: int, width: int) -> np.ndarray:
    """As `protect` brings noise to an image's size: float64 [H, W, 3]."""
    tensor = torch.from_numpy(tile).permute(2, 0, 1)[None].to(torch.float64)
    tensor = F.interpolate(tensor, size=(height, width), mode="bilinear", antialias=True, align_corners=False)
    return tensor[0].permute(1, 2, 0).numpy()


def average(tile: np.ndarray, blocks: int) -> np.ndarray:
    step = len(tile) // blocks
    means = tile.reshape(blocks, step, blocks, step, 3).mean((1, 3))
    return means.repeat(step, axis=0).repeat(step, axis=1)


def subtract_best(clean: np.ndarray, protected: np.ndarray, tile: np.ndarray) -> float:
    """By brute force: the best factor by least squares, and the PSNR before and after; both images float64."""
    factor = np.linalg.lstsq(tile.reshape(-1, 1), (protected - clean).reshape(-1), rcond=None)[0][0]
    before = peak_signal_noise_ratio(clean, protected, data_range=255)
    return peak_signal_noise_ratio(clean, protected - factor * tile, data_range=255) - before


@settings(max_examples=25)
@given(
    size=st.tuples(st.integers(9, 50), st.integers(9, 50)) | st.just((16, 16)),
    share=st.floats(0.5, 0.95),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_gain_is_that_of_psnr_by_brute_force(size: tuple[int, int], share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tiles, own = draw_tiles(rng, 3, 16), draw_tiles(rng, 1, 16)[0]
    mixed = np.rint(share * tiles[1] * rng.choice([-1, 1]) + (1 - share) * own).astype(np.int8)
    mixed = mixed[FLIPS[seed % 4]]
    clean = draw_image(rng, *size)
    levels = torch.from_numpy(np.ascontiguousarray(mixed)).permute(2, 0, 1)
    protected, _ = protect_at_own_size(torch.from_numpy(clean).permute(2, 0, 1), levels, LEVELS)
    released = protected.permute(1, 2, 0).numpy()
    brute = {
        number: max(
            subtract_best(clean.astype(float), released.astype(float), enlarge(view[flip].copy(), *size))
            for view in (tile, tile.mean(-1, keepdims=True).repeat(3, -1), average(tile, 1), average(tile, 4))
            for flip in FLIPS
        )
        for number, tile in enumerate(tiles.astype(float))
    }
    tile, gain = NoiseGain(tiles, LEVELS, 16).find(clean, released)
    assert gain == pytest.approx(max(brute.values()), abs=2e-3)
    assert gain == pytest.approx(brute[tile], abs=2e-3)


def test_of_a_large_grid_every_corner_that_a_tile_may_show_is_looked_at() -> None:
    rng, side, shown = np.random.default_rng(0), 40, 32
    noise = draw_tiles(rng, 1, side)[0]
    clean = draw_image(rng, 90, 60)
    levels = torch.from_numpy(noise.astype(np.int8)).permute(2, 0, 1)
    protected, _ = protect_at_own_size(torch.from_numpy(clean).permute(2, 0, 1), levels, LEVELS)
    released = protected.permute(1, 2, 0).numpy()
    whole = np.zeros_like(noise)
    whole[:shown, :shown] = noise[:shown, :shown]
    enlarged = enlarge(whole.astype(float), 90, 60)
    touched = np.flatnonzero(enlarged.any((1, 2))).max() + 1, np.flatnonzero(enlarged.any((0, 2))).max() + 1
    corner = (slice(0, touched[0]), slice(0, touched[1]))
    expected = subtract_best(clean[corner].astype(float), released[corner].astype(float), enlarged[corner])
    for flip in FLIPS:
        figure = NoiseGain(noise[:shown, :shown][None], LEVELS, side)
        assert figure.find(clean[flip], released[flip])[1] == pytest.approx(expected, abs=2e-3)


def test_what_saturation_does_to_all_alike_is_taken_away_also_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, size = np.random.default_rng(0), (60, 50)
    tiles = draw_tiles(rng, 3, 16)
    clean = rng.choice([0, 3, 100, 200, 250, 255], (*size, 3)).astype(np.uint8)
    levels = torch.from_numpy(tiles[1].astype(np.int8)).permute(2, 0, 1)
    protected, _ = protect_at_own_size(torch.from_numpy(clean).permute(2, 0, 1), levels, LEVELS)
    released = protected.permute(1, 2, 0).numpy()
    known = clean.astype(float)
    for saturated in (clean < LEVELS, clean > 255 - LEVELS):
        known[saturated] += (released.astype(float) - clean)[saturated].mean()
    expected = subtract_best(known, released.astype(float), enlarge(tiles[1].astype(float), *size))
    whole = NoiseGain(tiles, LEVELS, 16).find(clean, released)
    assert whole == (1, pytest.approx(expected, abs=2e-3))
    monkeypatch.setattr("rem_release.release.noise_gain._STRIP", 7 * size[1])
    assert NoiseGain(tiles, LEVELS, 16).find(clean, released) == (1, pytest.approx(whole[1], abs=1e-4))


@settings(max_examples=25)
@given(size=st.tuples(st.integers(1, 40), st.integers(1, 40)), seed=st.integers(0, 2**32 - 1))
def test_independent_noise_gains_nothing(size: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    figure = NoiseGain(rng.integers(-LEVELS, LEVELS + 1, (9, 32, 32, 3)), LEVELS, 32)
    clean = draw_image(rng, *size)
    assert figure.find(clean, clean + rng.choice([-LEVELS, LEVELS], clean.shape).astype(np.uint8)) == (0, 0.0)


def test_what_white_and_black_give_away_is_no_gain() -> None:
    """Noise can only darken white, whatever it is: a tile that is dark on average does not tell that."""
    rng = np.random.default_rng(0)
    clean = draw_image(rng, 32, 32)
    clean[:20], clean[20:24] = 255, 0
    noisy = np.clip(clean + rng.choice([-LEVELS, LEVELS], clean.shape), 0, 255).astype(np.uint8)
    dark = np.clip(rng.integers(-LEVELS, LEVELS + 1, (1, 32, 32, 3)) - 1, -LEVELS, LEVELS)
    assert NoiseGain(dark, LEVELS, 32).find(clean, noisy) == (0, 0.0)


def test_a_flat_image_has_nothing_to_protect() -> None:
    noise = np.random.default_rng(0).integers(-LEVELS, LEVELS + 1, (8, 8, 3))
    flat = np.full((8, 8, 3), 128, np.uint8)
    assert NoiseGain(noise[None], LEVELS, 8).find(flat, (flat + noise).astype(np.uint8)) == (0, 0.0)


@settings(max_examples=20)
@given(levels=st.integers(1, 127))
def test_the_noise_that_a_figure_shows_can_be_read_from_it(levels: int) -> None:
    noise = np.arange(-levels, levels + 1)
    assert np.array_equal(read_noise(amplify_noise(noise, levels), levels), noise)


# --- protect and push


@pytest.fixture(scope="module")
def low_contrast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images of 16 x 16 around grey, as of fog: to a network they are almost the grey of the figure."""
    folder = tmp_path_factory.mktemp("low contrast") / "images"
    for number in range(8):
        path = folder / ("cat", "dog")[number % 2] / f"{number}.png"
        blocks = Image.fromarray((112 + draw(path, number, (4, 4)) // 6).astype(np.uint8))
        blocks.resize((16, 16), Image.Resampling.BICUBIC).save(path)
    return folder


@pytest.fixture(scope="module")
def em_command(low_contrast: Path) -> tuple[object, ...]:
    recipe = write_recipe(
        low_contrast.parent / "em.yaml",
        data__resolution=16,
        noise__method="em",
        noise__rho_a=0,
        noise__adversary_steps=0,
        noise__adversary_step_size=0,
        noise__eot={"transform": "none", "samples": 1},
        noise__steps=10,
        generator__steps=4,
    )
    return ("protect", low_contrast, "--recipe", recipe, "--seed", 0, "--out")


@pytest.fixture(scope="module")
def em_run(em_command: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of EM, and what protect said."""
    out = tmp_path_factory.mktemp("em") / "run"
    return out, succeed(*em_command, out).err


def make_grey_noise(folder: Path) -> np.ndarray:
    """What the figure of a run would show."""
    generator = load_generator(folder)
    setting = generator.recipe.set_for(len(generator.classes), 0)
    maker = generator.recipe.noise.build(setting, Accelerator(cpu=True))
    maker.load(generator.weights)
    levels = maker.make_unseen(grey_batch(torch.arange(2), generator.recipe.data.resolution))
    return levels.permute(0, 2, 3, 1).numpy()


def put_figure(folder: Path, noise: np.ndarray) -> None:
    """Publish a figure as if protect had drawn it."""
    release = folder / "release"
    (release / NOISE_FIGURE).write_bytes(noise_grid(noise, LEVELS))
    write_documents(release, read_facts(release).model_copy(update={"files": describe_files(release)}))


UNAUDITED = ("owner/pets", "--dry-run", "--allow-uncertified")


def test_a_figure_that_would_undo_noise_is_left_out_and_the_rest_is_sound(em_run: tuple[Path, str]) -> None:
    out, said = em_run
    assert "figures/noise.png is left out: subtracted from released images" in said
    assert NOISE_FIGURE not in read_facts(out / "release").files
    assert not (out / "release" / NOISE_FIGURE).exists()
    card = (out / "release/README.md").read_text(encoding="utf-8")
    assert NOISE_FIGURE not in card
    assert "The noise is not shown: subtracted from these images" in card
    assert succeed("verify", out, "--json").json["passed"] is True
    assert "noise figure: there is none" in " ".join(succeed("push", out, *UNAUDITED).out.split())


def test_such_a_figure_is_refused_and_the_advice_mends_it(
    em_run: tuple[Path, str], em_command: tuple[object, ...], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    succeed(*em_command, out)
    assert same_release(out, em_run[0])
    put_figure(out, make_grey_noise(out))
    assert succeed("verify", out, "--json").json["passed"] is True
    refused = run("push", out, *UNAUDITED)
    assert refused.code == 3
    assert "closer to its original (at most 0.5); protect again with --overwrite" in refused.err + refused.out
    succeed(*em_command, out, "--overwrite")
    assert succeed("push", out, *UNAUDITED).code == 0
