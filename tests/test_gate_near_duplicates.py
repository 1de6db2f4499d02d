"""The search for near-duplicates, and the clean split that it keeps from showing what other rows protect."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from rem_release.data.copies.near_images import Grids, NearPair, find_alike, find_near
from rem_release.data.images.decoding import BadImage
from rem_release.data.images.pixels import fit_working_grid
from rem_release.data.images.png_writing import encode_png
from rem_release.data.shards import ShardWriter
from rem_release.gate.near_duplicates import check_clean_split
from rem_release.release.documents import describe_files, read_facts
from rem_release.release.facts import CleanSplitFacts, Facts
from rem_release.release.run_folder import RunFolder
from rem_release.release.schema import read_features
from rem_release.verification.originals import Originals, find_originals
from rem_release.verification.pairing import RecordedRow
from rem_release.verification.report import Check
from tests.command_line import draw, pixels_of, released, succeed

# --- the search against its definition


def test_a_photograph_that_was_compressed_anew_is_alike_and_another_is_not() -> None:
    """Patches of real photographs as JPEG of quality 75: pixels differ by more than any budget, the look does not."""
    photograph = data.astronaut()
    cut = [photograph[y : y + 32, x : x + 32] for y in range(0, 480, 48) for x in range(0, 480, 48)]
    patches = [patch for patch in cut if patch.std() > 30]  # plain black looks like plain black
    assert len(patches) > 50
    again = []
    for patch in patches:
        packed = io.BytesIO()
        Image.fromarray(patch).save(packed, "JPEG", quality=75)
        again.append(np.asarray(Image.open(packed)))
    assert max(int(np.abs(one.astype(int) - other).max()) for one, other in zip(again, patches, strict=True)) > 32
    rows = np.arange(len(patches))
    grids, changed = Grids(patches.__getitem__, rows, 32), Grids(again.__getitem__, rows, 32)
    assert [(near.one, near.other) for near in find_alike(changed, grids)] == [(row, row) for row in rows]
    even, odd = Grids(patches.__getitem__, rows[::2], 32), Grids(patches.__getitem__, rows[1::2], 32)
    assert not list(find_alike(even, odd))


def find_plainly(
    ones: list[np.ndarray | None], others: list[np.ndarray | None], side: int, levels: int
) -> list[NearPair]:
    """Every image against every other, as the definition has it."""
    found = []
    for number, one in enumerate(ones):
        for place, other in enumerate(others):
            if one is None or other is None:
                continue
            grids = [fit_working_grid(image, side).numpy().astype(int) for image in (one, other)]
            distance = int(np.abs(grids[0] - grids[1]).max())
            if distance <= levels + any(image.shape[:2] != (side, side) for image in (one, other)):
                found.append(NearPair(number, place, distance))
    return found


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    side=st.sampled_from([2, 5, 8, 32, 33, 48]),
    levels=st.integers(0, 16),
    spread=st.integers(0, 14),
)
def test_all_pairs_are_found_and_no_others(seed: int, side: int, levels: int, spread: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = [(side, side), (11, 7), (side + 3, 50)]
    bases = [rng.integers(0, 256, (*sizes[rng.integers(3)], 3)) for _ in range(3)]

    def near() -> np.ndarray | None:
        """A base, shifted as a whole or everywhere else; one in six cannot be read."""
        base = bases[rng.integers(3)]
        shift = rng.integers(-spread, spread + 1, base.shape if rng.random() < 0.5 else ())
        return None if rng.random() < 1 / 6 else np.clip(base + shift, 0, 255).astype(np.uint8)

    ones, others = [near() for _ in range(6)], [near() for _ in range(7)]
    grids = [Grids(images.__getitem__, np.arange(len(images)), side) for images in (ones, others)]
    plain = find_plainly(ones, others, side, levels)
    assert list(find_near(*grids, levels)) == plain
    firsts = {near.one: near for near in reversed(plain)}
    assert list(find_near(*grids, levels, first_only=True)) == [firsts[one] for one in sorted(firsts)]
    assert list(find_near(*grids, levels, skip={0, 2})) == [near for near in plain if near.one not in (0, 2)]


def test_pairs_bear_the_numbers_that_were_asked_for() -> None:
    images = [np.full((8, 8, 3), 10 * number, np.uint8) for number in range(9)]
    ones = Grids(images.__getitem__, np.array([7, 3]), 8)
    others = Grids(images.__getitem__, np.array([8, 2, 3]), 8)
    assert list(find_near(ones, others, 10)) == [NearPair(7, 8, 10), NearPair(3, 2, 10), NearPair(3, 3, 0)]


def test_nothing_is_near_nothing() -> None:
    one = np.zeros((8, 8, 3), np.uint8)
    empty, some = (Grids(lambda _: one, np.arange(count), 8) for count in (0, 2))
    unreadable = Grids(lambda _: None, np.arange(3), 8)
    for pair in ((empty, some), (some, empty), (unreadable, some), (some, unreadable)):
        assert list(find_near(*pair, 255)) == []


# --- a split that is published clean


class Pushed:
    """A run whose release holds a clean split besides."""

    def __init__(self, run: Path, split: list[np.ndarray]) -> None:
        self.release = run / "release"
        facts = read_facts(self.release)
        originals, row_map = find_originals(RunFolder(run), facts.data, None)
        assert originals is not None
        assert row_map is not None
        self.originals: Originals = originals
        self.row_map: list[RecordedRow] = row_map
        labels = pa.table(
            {"label": pa.array([0] * len(split), read_features(facts.data.features).arrow_schema.field("label").type)}
        )
        with ShardWriter(
            self.release,
            "test",
            read_features(facts.data.features),
            max_row_group_bytes=300,
            max_shard_bytes=300,
            subfolder="clean",
        ) as writer:
            writer.write([encode_png(image) for image in split], labels)
        clean_split = CleanSplitFacts(split="test", images=len(split), class_counts=[len(split), 0])
        update = {"files": describe_files(self.release), "clean_split": clean_split}
        self.facts: Facts = facts.model_copy(update=update)

    def check(self, clean: bool = True, record: bool = True, **options) -> Check:
        originals = self.originals if clean else None
        row_map = self.row_map if record else None
        (check,) = check_clean_split(self.release, self.facts, originals, row_map, **options)
        return check


def others(count: int = 3, seed: int = 900) -> list[np.ndarray]:
    """Images that no row shows."""
    return [np.random.default_rng(seed + number).integers(0, 256, (8, 8, 3), np.uint8) for number in range(count)]


def original(run: Path, row: int) -> np.ndarray:
    originals, row_map = find_originals(RunFolder(run), read_facts(run / "release").data, None)
    assert originals is not None
    assert row_map is not None
    index = row_map[row].index
    assert index is not None
    return originals.pixels(index)


def test_a_split_of_other_images_passes(run_copy: Path) -> None:
    check = Pushed(run_copy, others()).check()
    assert check.passed is True
    assert check.detail == "none of its 3 images is within 8 levels of 8 originals, or looks like one"


def test_without_a_clean_split_there_is_nothing_to_check(finished_run: Path) -> None:
    facts = read_facts(finished_run / "release")
    assert check_clean_split(finished_run / "release", facts, None) == []


@pytest.mark.parametrize("shift", [0, 8])
def test_an_original_of_a_protected_row_is_refused(run_copy: Path, shift: int) -> None:
    image = original(run_copy, 5)
    moved = np.where(image < 128, image + shift, image - shift).astype(np.uint8)
    pushed = Pushed(run_copy, [*others(), moved])
    check = pushed.check()
    assert check.passed is False
    origin = pushed.row_map[5].origin
    assert f"row 3 of the split test is within {shift} levels of the original of row 5, {origin}" in check.detail
    assert "push without --publish-clean-split" in check.detail


def test_one_level_more_is_another_image(run_copy: Path) -> None:
    image = original(run_copy, 5)
    moved = np.where(image < 128, image + 9, image - 9).astype(np.uint8)
    assert Pushed(run_copy, [moved]).check().passed is True


@pytest.mark.parametrize(("clean", "record"), [(True, False), (False, True), (False, False)])
def test_an_original_is_found_with_less_to_go_by(run_copy: Path, clean: bool, record: bool) -> None:
    """Without the originals the protected image itself gives its original away."""
    check = Pushed(run_copy, [*others(), original(run_copy, 5)]).check(clean, record)
    assert check.passed is False
    what = "original 5" if clean else "released row 5"
    assert f"row 3 of the split test is within {0 if clean else 8} levels of {what}" in check.detail
    assert Pushed(run_copy, others()).check(clean, record).passed is True


def test_a_row_whose_original_is_lost_or_changed_is_compared_itself(run_copy: Path) -> None:
    pushed = Pushed(run_copy, [original(run_copy, 5), original(run_copy, 6)])
    pushed.row_map[5] = replace(pushed.row_map[5], index=None)
    pushed.row_map[6] = replace(pushed.row_map[6], clean_sha256="of another image")
    check = pushed.check()
    assert check.passed is False
    assert "row 0 of the split test is within 8 levels of released row 5" in check.detail
    assert "row 1 of the split test is within 8 levels of released row 6" in check.detail


def test_an_original_that_cannot_be_read_is_compared_itself(run_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed = Pushed(run_copy, [original(run_copy, 5)])
    index = pushed.row_map[5].index

    class Unreadable:
        """The originals but for one."""

        def __len__(self) -> int:
            return len(pushed.originals)

        def pixels(self, place: int) -> np.ndarray:
            if place == index:
                raise BadImage("truncated")
            return pushed.originals.pixels(place)

    (check,) = check_clean_split(pushed.release, pushed.facts, Unreadable(), pushed.row_map)  # type: ignore[arg-type]
    assert check.passed is False
    assert "released row 5" in check.detail


def test_the_original_of_a_row_without_noise_may_stand_in_the_split(
    tmp_path: Path, photographs: Path, recipe: Path
) -> None:
    """It is out clean already, by the owner's choice."""
    run = tmp_path / "run"
    options = ("--fraction", 0.5, "--release-unprotected")
    succeed("protect", photographs, "--out", run, "--recipe", recipe, *options)
    _, row_map = find_originals(RunFolder(run), read_facts(run / "release").data, None)
    assert row_map is not None
    plain = next(row for row, record in enumerate(row_map) if not record.protected)
    noisy = next(row for row, record in enumerate(row_map) if record.protected)
    assert Pushed(run, [original(run, plain)]).check().passed is True
    assert Pushed(run, [original(run, noisy)]).check().passed is False


def test_a_copy_of_another_size_is_found(tmp_path: Path, recipe: Path) -> None:
    for number in range(4):
        draw(tmp_path / "photos" / ("cat", "dog")[number % 2] / f"{number}.png", number, (24, 16))
    succeed("protect", tmp_path / "photos", "--out", tmp_path / "run", "--recipe", recipe)
    image = original(tmp_path / "run", 2).repeat(2, axis=0).repeat(2, axis=1)
    check = Pushed(tmp_path / "run", [image]).check()
    assert check.passed is False
    assert "of the original of row 2" in check.detail


def test_the_protected_image_itself_counts_as_near(run_copy: Path) -> None:
    image = pixels_of(released(run_copy / "release")[1]["image"]["bytes"])
    assert "of the original of row 1" in Pushed(run_copy, [image]).check().detail


def test_a_damaged_split_is_refused(run_copy: Path) -> None:
    pushed = Pushed(run_copy, others())
    next((pushed.release / "clean").glob("*")).write_bytes(b"PAR1")
    assert pushed.check().passed is False


def test_progress_counts_what_is_read(run_copy: Path) -> None:
    told: list[tuple[int, int]] = []
    Pushed(run_copy, others()).check(progress=lambda *at: told.append(at))
    assert told == [(step + 1, 11) for step in range(11)]
