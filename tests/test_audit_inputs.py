"""What victims train on: kinds of images, filters at own size, the grid, and partial protection."""

import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rem_release.audit.inputs import sets
from rem_release.audit.inputs.holdout import choose_holdout
from rem_release.audit.inputs.sets import add_random_signs, read_testing, read_training
from rem_release.audit.inputs.target import Target, open_target
from rem_release.data.array_file import StoredImages
from rem_release.data.images.pixels import fit_working_grid, pixel_hash
from rem_release.threats.kinds.mixed import split_protected
from rem_release.threats.kinds.orthogonal.projection import fit_projection
from tests.command_line import draw, succeed

EVERY = np.arange(8)


@pytest.fixture(scope="module")
def partial(tmp_path_factory: pytest.TempPathFactory, recipe: Path) -> Target:
    """Half protected, images of several sizes, and a duplicate: dog/3 shows cat/0. Rows 0 to 3 are cats."""
    folder = tmp_path_factory.mktemp("partial")
    sizes = [(8, 8), (20, 9), (3, 40), (12, 12)]
    for number, name in enumerate(("cat", "dog")):
        for index, size in enumerate(sizes):
            draw(folder / "photos" / name / f"{index}.png", 10 * number + index, size)
    shutil.copy(folder / "photos" / "cat" / "0.png", folder / "photos" / "dog" / "3.png")
    succeed(
        *("protect", folder / "photos", "--out", folder / "run", "--recipe", recipe),
        *("--fraction", 0.5, "--release-unprotected", "--seed", 3),
    )
    return open_target(folder / "run")


def planes(image: np.ndarray, resolution: int = 8) -> np.ndarray:
    return fit_working_grid(image, resolution).numpy()


def test_the_kinds(partial: Target) -> None:
    assert 0 < partial.changed.sum() < 8
    protected = read_training(partial, "protected", EVERY, None, (), 8, 0)
    clean = read_training(partial, "clean", EVERY, None, (), 8, 0)
    random = read_training(partial, "random", EVERY, None, (), 8, 0)
    for found in (protected, clean, random):
        assert (found.images.dtype, found.images.shape) == (torch.uint8, (8, 3, 8, 8))
        assert (found.labels.dtype, found.labels.tolist()) == (torch.int64, [0] * 4 + [1] * 4)
    for row in range(8):
        np.testing.assert_array_equal(protected.images[row], planes(partial.protected(row)))
        np.testing.assert_array_equal(clean.images[row], planes(partial.clean(row)))
        signs = add_random_signs(partial.clean(row), 8, 0, pixel_hash(partial.clean(row)))
        expected = signs if partial.changed[row] else partial.clean(row)
        np.testing.assert_array_equal(random.images[row], planes(expected))


def test_rows_come_as_asked(partial: Target) -> None:
    rows = np.array([6, 1, 1])
    found = read_training(partial, "protected", rows, None, (), 8, 0)
    everything = read_training(partial, "protected", EVERY, None, (), 8, 0)
    assert torch.equal(found.images, everything.images[rows])
    assert found.labels.tolist() == [1, 0, 0]


@pytest.mark.parametrize("kind", ["protected", "random", "clean"])
def test_the_clean_part_stays_clean(partial: Target, kind) -> None:
    rows = EVERY[::-1].copy()
    mask = np.array([True, False] * 4)
    mixed = read_training(partial, kind, rows, mask, (), 8, 0)
    full = read_training(partial, kind, rows, None, (), 8, 0)
    clean = read_training(partial, "clean", rows, None, (), 8, 0)
    assert torch.equal(mixed.images[mask], full.images[mask])
    assert torch.equal(mixed.images[~mask], clean.images[~mask])


def test_a_mask_of_another_shape_is_refused(partial: Target) -> None:
    with pytest.raises(ValueError, match=r"protected_rows has the shape \(8,\), and rows \(2,\)"):
        read_training(partial, "protected", np.array([0, 1]), np.ones(8, bool), (), 8, 0)


def test_filters_see_the_image_at_its_own_size_one_after_another(partial: Target) -> None:
    seen: list[tuple[int, ...]] = []

    def double(image: np.ndarray) -> np.ndarray:
        seen.append(image.shape)
        return (image // 2).astype(np.uint8)

    def brighten(image: np.ndarray) -> np.ndarray:
        return np.minimum(image.astype(int) + 100, 255).astype(np.uint8)

    found = read_training(partial, "clean", EVERY, None, (double, brighten), 8, 0)
    assert sorted(seen) == sorted(partial.clean(row).shape for row in range(8))
    for row in range(8):
        np.testing.assert_array_equal(found.images[row], planes(brighten(double(partial.clean(row)))))


def test_the_control_of_unprotected_data_is_noisy_everywhere(photographs: Path) -> None:
    target = open_target(photographs, str(photographs), rho_u=Fraction(5, 255))
    random = read_training(target, "random", EVERY, None, (), 8, 0).images.int()
    clean = read_training(target, "clean", EVERY, None, (), 8, 0).images.int()
    change = (random - clean).abs()
    assert (change[(clean >= 5) & (clean <= 250)] == 5).all()
    assert (change.flatten(1) > 0).any(dim=1).all()


def test_equal_images_get_equal_noise_in_any_order(photographs: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(photographs, tmp_path / "photos"))
    shutil.copy(folder / "cat" / "0.png", folder / "dog" / "9.png")
    target = open_target(folder, str(folder), rho_u=Fraction(8, 255))
    images = read_training(target, "random", np.array([8, 3, 0]), None, (), 8, 0).images
    assert torch.equal(images[0], images[2])
    again = read_training(target, "random", np.array([0, 3]), None, (), 8, 0).images
    assert torch.equal(again, images[[2, 1]])
    other = read_training(target, "random", np.array([0, 3]), None, (), 8, 1).images
    assert not torch.equal(again, other)


@settings(max_examples=60)
@given(
    clean=arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))),
    levels=st.integers(0, 255),
    seed=st.integers(0, 5),
)
def test_random_signs_move_every_value_by_the_budget_or_to_the_border(clean, levels, seed) -> None:
    noisy = add_random_signs(clean, levels, seed, pixel_hash(clean))
    assert noisy.dtype == np.uint8
    up, down = np.minimum(clean.astype(int) + levels, 255), np.maximum(clean.astype(int) - levels, 0)
    assert ((noisy == up) | (noisy == down)).all()


def test_random_signs_are_even_and_independent() -> None:
    clean = np.full((200, 200, 3), 128, np.uint8)
    signs = [add_random_signs(clean, 1, seed, pixel_hash(clean)).astype(int) - 128 for seed in (0, 1)]
    margin = 5 / np.sqrt(clean.size)  # five standard deviations
    assert abs(signs[0].mean()) < margin
    assert abs((signs[0] * signs[1]).mean()) < margin
    for shifted in (
        signs[0][1:] * signs[0][:-1],
        signs[0][:, 1:] * signs[0][:, :-1],
        signs[0][..., 1:] * signs[0][..., :-1],
    ):
        assert abs(shifted.mean()) < 1.3 * margin


def test_the_digest_is_of_images_labels_and_resolution(partial: Target, photographs: Path) -> None:
    base = read_training(partial, "clean", EVERY, None, (), 8, 0)
    assert read_training(partial, "clean", EVERY, None, (), 8, 1).digest == base.digest
    swapped = EVERY.copy()
    swapped[[0, 1]] = [1, 0]
    others = [
        read_training(partial, "protected", EVERY, None, (), 8, 0),
        read_training(partial, "random", EVERY, None, (), 8, 0),
        read_training(partial, "clean", EVERY, None, (), 9, 0),
        read_training(partial, "clean", EVERY[:7], None, (), 8, 0),
        read_training(partial, "clean", swapped, None, (), 8, 0),
    ]
    # rows 0 and 7 show one image under two labels: only the label differs
    one, other = (read_training(partial, "clean", np.array([row]), None, (), 8, 0) for row in (0, 7))
    assert torch.equal(one.images, other.images)
    digests = [base.digest, *(found.digest for found in others), one.digest, other.digest]
    assert len(set(digests)) == len(digests)


def test_progress_counts_images(partial: Target) -> None:
    done: list[tuple[int, int]] = []
    read_training(partial, "clean", EVERY[:3], None, (), 8, 0, lambda *at: done.append(at))
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_test_images_are_filtered_and_fitted_too(partial: Target, tmp_path: Path) -> None:
    sizes = {"cat/a.png": (8, 8), "dog/b.png": (30, 10), "dog/c.png": (5, 5)}
    images = [draw(tmp_path / "test" / name, 50 + n, size) for n, (name, size) in enumerate(sizes.items())]
    holdout = choose_holdout(partial, str(tmp_path), None, 0.2, "refuse")
    plain, inverted = read_testing(holdout, (), 8), read_testing(holdout, (lambda image: 255 - image,), 8)
    assert (plain.images.shape, plain.labels.tolist(), plain.labels.dtype) == ((3, 3, 8, 8), [0, 1, 1], torch.int64)
    for index, image in enumerate(images):
        np.testing.assert_array_equal(plain.images[index], planes(image))
        np.testing.assert_array_equal(inverted.images[index], planes(255 - image))
    assert plain.digest != inverted.digest


@settings(max_examples=80)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    share=st.floats(0, 1, allow_nan=False),
    seed=st.integers(0, 3),
)
def test_every_class_keeps_its_share_of_protected_rows(labels, share, seed) -> None:
    found = np.array(labels, np.int64)
    mask = split_protected(len(found), found, share, seed)
    np.testing.assert_array_equal(mask, split_protected(len(found), found, share, seed))
    for label in np.unique(found):
        count, members = int(mask[found == label].sum()), int((found == label).sum())
        assert abs(count - share * members) <= 1
        if members > 1 and 0 < share < 1:
            assert 0 < count < members


def test_which_rows_stay_protected_is_drawn_by_the_seed() -> None:
    labels = np.repeat([0, 1], 500)
    masks = [split_protected(1000, labels, 0.8, seed) for seed in (0, 1)]
    assert [mask.sum() for mask in masks] == [800, 800]
    assert 600 < (masks[0] & masks[1]).sum() < 680  # 640 by chance, standard deviation 5
    assert masks[0][:500].sum() == 400
    assert abs(np.flatnonzero(masks[0]).mean() - 499.5) < 20  # spread over the rows: standard deviation 4.6


def test_no_share_and_the_whole() -> None:
    labels = np.array([0, 0, 1])
    assert not split_protected(3, labels, 0, 0).any()
    assert split_protected(3, labels, 1, 0).all()


@pytest.mark.parametrize(("count", "share"), [(4, 0.5), (3, 1.1), (3, -0.1), (3, float("nan"))])
def test_a_split_that_is_none_is_refused(count: int, share: float) -> None:
    with pytest.raises(ValueError, match="3 labels for"):
        split_protected(count, np.array([0, 0, 1]), share, 0)


def test_what_is_too_large_for_memory_is_the_same_on_disk(partial: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read_training(partial, "protected", EVERY, None, (), 8, 0)
    tested = fit_projection(expected.images, expected.labels, 2, 0)
    monkeypatch.setattr(sets, "_MAX_IN_MEMORY", 0)
    found = read_training(partial, "protected", EVERY, None, (), 8, 0)
    assert isinstance(found.images, StoredImages)
    assert found.digest == expected.digest
    assert torch.equal(found.images[torch.arange(len(EVERY))], expected.images)
    assert torch.equal(found.labels, expected.labels)
    assert torch.equal(fit_projection(found.images, found.labels, 2, 0), tested)
