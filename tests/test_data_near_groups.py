"""Near copies: found, grouped and drawn as the definition has it, against a search of every pair."""

from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rem_release.data.array_file import ArrayFile, StoredImages
from rem_release.data.copies.bitmap_index import BitmapIndex
from rem_release.data.copies.near_groups import (
    MAX_TOGETHER,
    NearGroups,
    group_near_copies,
    mark_near_copies,
    near_levels,
    number_noises,
)
from rem_release.data.copies.near_images import Grids
from rem_release.data.images.pixels import fit_working_grid
from rem_release.data.selection import Role, choose_roles
from rem_release.errors import InputError
from tests.test_methods import working_set


def store(folder: Path, images: list[np.ndarray], side: int) -> Grids:
    """Images as `protect` has them: on disk, on the working grid."""
    file = ArrayFile(folder / "images.npy", (len(images), 3, side, side), np.uint8, new=True)
    for place, image in enumerate(images):
        file.write(place, fit_working_grid(image, side).numpy())
    file.flush()
    sizes = torch.tensor([image.shape[:2] for image in images])
    return Grids.of_stored(StoredImages(file, torch.arange(len(images))), sizes)


def find_pairs(images: list[np.ndarray], side: int, levels: int) -> set[tuple[int, int]]:
    """Every pair of near copies, each compared with each."""
    grids = [fit_working_grid(image, side).numpy().astype(int) for image in images]
    resized = [image.shape[:2] != (side, side) for image in images]
    return {
        (one, other)
        for one, other in combinations(range(len(images)), 2)
        if np.abs(grids[one] - grids[other]).max() <= levels + (resized[one] or resized[other])
    }


def link(count: int, pairs: set[tuple[int, int]]) -> list[int]:
    """The first image of the chain of each image."""
    chain = list(range(count))
    for _ in range(count):
        for one, other in pairs:
            chain[one] = chain[other] = min(chain[one], chain[other])
    return chain


def draw_images(rng: np.random.Generator, side: int, count: int, spread: int, kinds: int) -> list[np.ndarray]:
    """A few kinds, each drifting, at several sizes."""
    sizes = [(side, side), (11, 7), (side + 3, 50)]
    bases = [rng.integers(0, 256, (*sizes[kind % 3], 3)) for kind in range(kinds)]
    images = []
    for _ in range(count):
        kind = rng.integers(kinds)
        step = rng.integers(-spread, spread + 1, bases[kind].shape if rng.random() < 0.5 else ())
        image = np.clip(bases[kind] + step, 0, 255)
        if rng.random() < 0.5:
            bases[kind] = image
        images.append(image.astype(np.uint8))
    return images


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    side=st.sampled_from([2, 5, 8, 33]),
    count=st.sampled_from([2, 9, 60]),
    levels=st.sampled_from([0, 3, 16, 64]),
    share=st.floats(0, 1.5),
)
def test_groups_are_those_of_a_search_of_every_pair(
    tmp_path_factory: pytest.TempPathFactory, seed: int, side: int, count: int, levels: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    images = draw_images(rng, side, count, round(share * levels), int(rng.integers(1, 4)))
    near = group_near_copies(store(tmp_path_factory.mktemp("grids"), images, side), levels)
    pairs = find_pairs(images, side, levels)
    assert near.chain.tolist() == link(count, pairs)
    firsts = {other: min(one for one, second in pairs if second == other) for _, other in pairs}
    assert near.earlier.tolist() == [firsts.get(place, -1) for place in range(count)]
    sizes = np.bincount(near.chain, minlength=count)
    assert np.bincount(near.group).max() <= MAX_TOGETHER
    for place, (chain, first) in enumerate(zip(near.chain.tolist(), near.group.tolist(), strict=True)):
        assert near.chain[first] == chain
        if sizes[chain] <= MAX_TOGETHER:
            assert first == chain
        else:
            assert place == first or (first, place) in pairs
    assert {tuple(members) for members in map(np.ndarray.tolist, near.split_chains())} == {
        tuple(np.flatnonzero(near.chain == chain).tolist()) for chain in np.flatnonzero(sizes > MAX_TOGETHER)
    }


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    reserve=st.sampled_from([0.0, 0.25]),
    fraction=st.sampled_from([0.3, 0.5, 1.0]),
    release_unprotected=st.booleans(),
)
def test_near_copies_are_never_on_both_sides(
    tmp_path_factory: pytest.TempPathFactory, seed: int, reserve: float, fraction: float, release_unprotected: bool
) -> None:
    """Chains of more than 20 among them: a pair is in one role, or protected, unless the one is not released."""
    rng = np.random.default_rng(seed)
    images = draw_images(rng, 4, 40, 16, 1) + draw_images(rng, 4, 10, 16, 6)
    images += [rng.integers(0, 256, (4, 4, 3), np.uint8) for _ in range(30)]
    near = group_near_copies(store(tmp_path_factory.mktemp("grids"), images, 4), 16)
    labels = [place % 2 for place in range(len(images))]
    working = working_set(labels)
    try:
        roles = choose_roles(working, ["a", "b"], reserve, fraction, seed, near, release_unprotected)
    except InputError:
        return  # too little is left to draw from
    apart = {Role.PROTECTED, Role.RESERVED} | ({Role.UNPROTECTED} if release_unprotected else set())
    pairs = find_pairs(images, 4, 16)
    for one, other in pairs:
        drawn = {Role(roles[one]), Role(roles[other])}
        assert len(drawn) == 1 or not drawn <= apart
    kept = np.bincount(np.array(labels)[roles != Role.RESERVED], minlength=2)
    assert kept.all()
    is_released = (roles == Role.PROTECTED) | ((roles == Role.UNPROTECTED) & release_unprotected)
    grids = store(tmp_path_factory.mktemp("again"), images, 4)
    marked = mark_near_copies(grids, 16, near, is_released)
    seen = {other for one, other in pairs if is_released[one] and is_released[other]}
    assert set(np.flatnonzero(marked).tolist()) == seen


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_groups_are_drawn_whole_and_about_as_many_as_asked(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 21, 30)
    firsts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    group = np.repeat(firsts, sizes)
    near = NearGroups(np.where(np.arange(len(group)) == group, -1, group), group, group)
    roles = choose_roles(working_set([place % 2 for place in range(len(group))]), ["a", "b"], 0.2, 0.5, seed, near)
    for first in firsts:
        assert len(set(roles[group == first].tolist())) == 1
    reserved, protected = (roles == Role.RESERVED).sum(), (roles == Role.PROTECTED).sum()
    assert reserved <= 0.2 * len(roles)
    wanted = round(0.5 * (len(roles) - reserved))
    assert wanted <= protected < wanted + MAX_TOGETHER


def test_a_class_that_is_one_group_is_not_reserved_whole() -> None:
    group = np.array([0, 0, 0, 0, 4, 5, 6, 7])
    near = NearGroups(np.full(8, -1), group, group)
    roles = choose_roles(working_set([0, 0, 0, 0, 1, 1, 1, 1]), ["a", "b"], 0.5, 1.0, 0, near)
    assert (roles[:4] == Role.PROTECTED).all()
    assert (roles[4:] == Role.RESERVED).sum() == 2
    with pytest.raises(InputError, match="is linked by near copies"):
        choose_roles(
            working_set([0, 0, 0, 0]), ["a", "b"], 0.5, 1.0, 0, NearGroups(near.earlier[:4], group[:4], group[:4])
        )


def test_one_noise_for_near_copies_of_one_size() -> None:
    group = np.array([0, 1, 0, 0, 0, 5, 1, 7])
    near = NearGroups(np.full(8, -1), group, group)
    sizes = np.array([[8, 8], [8, 8], [8, 8], [8, 8], [8, 9], [8, 8], [8, 8], [8, 8]])
    protected = np.array([True, True, True, True, True, False, True, True])
    assert number_noises(protected, near, sizes).tolist() == [0, 1, 0, 0, 2, -1, 1, 3]
    strangers = NearGroups.of_strangers(8)
    assert number_noises(protected, strangers, sizes).tolist() == [0, 1, 2, 3, 4, -1, 5, 6]


def test_thousands_of_blank_pages_take_a_comparison_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compared pair by pair they would be read two million times."""
    rng = np.random.default_rng(0)
    pages = [np.clip(250 + rng.integers(-6, 6, (8, 8, 3)), 0, 255).astype(np.uint8) for _ in range(2000)]
    grids = store(tmp_path, pages, 8)
    grids.index  # noqa: B018 - reads every page once
    counted = 0
    coarse = Grids.coarse

    def count(self: Grids, places: np.ndarray) -> np.ndarray:
        nonlocal counted
        counted += len(places)
        return coarse(self, places)

    monkeypatch.setattr(Grids, "coarse", count)
    near = group_near_copies(grids, 16)
    assert len(near.split_chains()[0]) == 2000
    assert counted < 40_000


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1), count=st.integers(1, 200), columns=st.integers(1, 20), reach=st.floats(0.01, 255)
)
def test_the_index_misses_nothing(seed: int, count: int, columns: int, reach: float) -> None:
    rng = np.random.default_rng(seed)
    values = (255 * rng.random((count, columns)) ** rng.integers(1, 4)).astype(np.float32)
    index, asked, end = BitmapIndex(values), values[rng.integers(count)], int(rng.integers(count + 1))
    there = np.abs(values.astype(float) - asked).max(1)
    found = index.find(asked, reach)
    assert set(np.flatnonzero(there <= reach)) <= set(found)
    assert (there[found] < reach + 32).all()
    assert all(one < other for one, other in pairwise(found))
    assert index.find(asked, reach, end).tolist() == [row for row in found if row < end]


def test_near_is_twice_the_radius_and_never_more_than_64() -> None:
    assert [near_levels(levels) for levels in (1, 8, 32, 33, 255)] == [2, 16, 64, 64, 64]
