import numpy as np
import pytest

from rem_release.release.figures import noise_grid, protected_grid
from rem_release.verification.png import read_png

WHITE = 255


def read(png):
    pixels, reasons = read_png(png)
    assert reasons == []
    return pixels


def test_one_small_image_is_enlarged_pixel_by_pixel():
    image = np.zeros((2, 2, 3), np.uint8)
    image[0, 0] = (10, 20, 30)
    grid = read(protected_grid([image]))
    assert grid.shape == (104, 104, 3)
    assert (grid[4:52, 4:52] == (10, 20, 30)).all()
    assert (grid[52:100, 4:100] == 0).all()
    assert (grid[:4] == WHITE).all()


def test_proportions_are_kept_on_white():
    grid = read(protected_grid([np.zeros((48, 96, 3), np.uint8)]))
    tile = grid[4:100, 4:100]
    assert (tile[24:72] == 0).all()
    assert (tile[:24] == WHITE).all()
    assert (tile[72:] == WHITE).all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5000), (5000, 1), (300, 200), (97, 95)])
def test_images_of_any_size_fit(height, width):
    assert read(protected_grid([np.full((height, width, 3), 90, np.uint8)])).shape == (104, 104, 3)


def test_at_most_25_images_are_shown():
    image = np.zeros((96, 96, 3), np.uint8)
    assert read(protected_grid([image] * 7)).shape == (304, 304, 3)
    assert read(protected_grid([image] * 60)).shape == (504, 504, 3)


def test_noise_spans_black_to_white_around_grey():
    noise = np.zeros((1, 96, 96, 3), np.int16)
    noise[0, 0, 0], noise[0, 0, 1], noise[0, 0, 2] = 8, -8, (4, 0, -4)
    tile = read(noise_grid(noise, 8))[4:, 4:]
    assert tile[0, 0].tolist() == [255] * 3
    assert tile[0, 1].tolist() == [0] * 3
    assert tile[0, 2].tolist() == [192, 128, 64]
    assert (tile[1:96, :96] == 128).all()


def test_large_noise_is_cut_and_not_smoothed():
    noise = np.tile(np.array([[8, -8], [-8, 8]], np.int8), (200, 200))[None, :, :, None].repeat(3, 3)
    grid = read(noise_grid(noise, 8))
    assert grid.shape == (264, 264, 3)
    assert set(np.unique(grid[4:260, 4:260])) == {0, 255}


def test_noise_above_the_budget_is_refused():
    with pytest.raises(ValueError, match="9 levels is above the budget of 8"):
        noise_grid(np.full((1, 2, 2, 3), -9, np.int8), 8)


def test_an_empty_figure_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        protected_grid([])
