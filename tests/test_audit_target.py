"""What an audit attacks: runs, releases without their run, and other methods' copies, each row beside its original."""

import shutil
from fractions import Fraction
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from rem_release.audit.inputs.target import Target, open_target
from rem_release.data.in_order import map_in_order
from rem_release.errors import InputError, VerificationError
from rem_release.release.documents import read_facts
from tests.command_line import draw, draw_classes, pixels_of, released, succeed, write_recipe

NAMES = ["cat/0.png", "cat/1.png", "cat/2.png", "cat/3.png", "dog/0.png", "dog/1.png", "dog/2.png", "dog/3.png"]


def load(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def bare_release(run: Path, folder: Path) -> Path:
    """A copy of a release without its run."""
    return Path(shutil.copytree(run / "release", folder))


def add_noise(source: Path, folder: Path, levels: int = 3) -> Path:
    """A copy of class folders by another method: every value moved by `levels`, towards the middle."""
    for path in sorted(source.rglob("*.png")):
        clean = load(path).astype(int)
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.where(clean < 128, clean + levels, clean - levels).astype(np.uint8)).save(target)
    return folder


def assert_pairs(target: Target, release: Path, originals: list[Path]) -> None:
    """Every row is the released image beside that original."""
    rows = released(release)
    assert len(target) == len(rows) == len(originals)
    for row, original in enumerate(originals):
        np.testing.assert_array_equal(target.protected(row), pixels_of(rows[row]["image"]["bytes"]))
        np.testing.assert_array_equal(target.clean(row), load(original))
        assert target.changed[row] == (not np.array_equal(target.protected(row), target.clean(row)))


# Runs


def test_a_run_is_read_by_its_own_record(finished_run: Path, photographs: Path) -> None:
    done: list[tuple[int, int]] = []
    target = open_target(finished_run, progress=lambda *at: done.append(at))
    facts = read_facts(finished_run / "release")
    assert (target.facts, target.digest, target.classes) == (facts, facts.digest, ["cat", "dog"])
    assert (target.rho_u, target.rho_a) == (Fraction(8, 255), Fraction(4, 255))
    assert (target.source_model, target.resolution) == ("small_resnet", 8)
    assert target.run is not None
    assert target.run.path == finished_run
    assert target.labels.dtype == np.int64
    assert target.labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert target.changed.all()
    assert [target.origin(row) for row in range(8)] == NAMES
    assert done == [(row + 1, 8) for row in range(8)]
    assert_pairs(target, finished_run / "release", [photographs / name for name in NAMES])


def test_another_resolution_may_be_chosen(finished_run: Path) -> None:
    assert open_target(finished_run, resolution=12).resolution == 12


def test_threads_read_what_one_reader_reads(finished_run: Path) -> None:
    target = open_target(finished_run)
    rows = list(range(8)) * 8
    for row, pixels in zip(rows, map_in_order(target.protected, rows, threads=8), strict=True):
        np.testing.assert_array_equal(pixels, target.protected(row))


def test_a_partial_release_says_which_rows_were_changed(tmp_path: Path, photographs: Path, recipe: Path) -> None:
    run = tmp_path / "run"
    succeed(
        *("protect", photographs, "--out", run, "--recipe", recipe, "--fraction", 0.5, "--release-unprotected"),
    )
    for location, clean in ((run, None), (bare_release(run, tmp_path / "bare"), str(photographs))):
        target = open_target(location, clean)
        assert target.changed.sum() == 4
        assert_pairs(target, run / "release", [photographs / name for name in NAMES])


def test_rows_that_are_not_released_are_not_audited(tmp_path: Path, photographs: Path, recipe: Path) -> None:
    run = tmp_path / "run"
    succeed("protect", photographs, "--out", run, "--recipe", recipe, "--fraction", 0.75, "--reserve", 0.25)
    by_record = open_target(run)
    by_search = open_target(bare_release(run, tmp_path / "bare"), str(photographs))
    originals = [photographs / by_record.origin(row) for row in range(len(by_record))]
    assert 2 <= len(originals) < 6
    for target in (by_record, by_search):
        assert_pairs(target, run / "release", originals)


def test_images_keep_their_own_size(tmp_path: Path, recipe: Path) -> None:
    sizes = [(8, 8), (20, 9), (3, 40), (1, 1)]
    for index, size in enumerate(sizes):
        for name in ("cat", "dog"):
            draw(tmp_path / "photos" / name / f"{index}.png", index + 10 * (name == "dog"), size)
    succeed("protect", tmp_path / "photos", "--out", tmp_path / "run", "--recipe", recipe, "--max-side", 30)
    target = open_target(tmp_path / "run")
    shapes = [(8, 8, 3), (9, 20, 3), (30, 2, 3), (1, 1, 3)] * 2
    assert [target.clean(row).shape for row in range(8)] == shapes
    assert [target.protected(row).shape for row in range(8)] == shapes


def test_random_noise_names_no_network_and_no_adversary(tmp_path: Path, photographs: Path, recipe: Path) -> None:
    succeed("protect", photographs, "--out", tmp_path / "run", "--recipe", recipe, "--method", "random")
    target = open_target(tmp_path / "run")
    assert (target.source_model, target.rho_a) == (None, None)


def test_classes_without_rows_do_not_count(tmp_path: Path, photographs: Path, recipe: Path) -> None:
    images = [{"bytes": (photographs / name).read_bytes(), "path": None} for name in NAMES]
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["unused", "cat", "owl", "dog"])}
    )
    table = datasets.Dataset.from_dict({"image": images, "label": [1] * 4 + [3] * 4}, features=features)
    table.to_parquet(tmp_path / "cats.parquet")
    succeed("protect", tmp_path / "cats.parquet", "--out", tmp_path / "run", "--recipe", recipe)
    target = open_target(tmp_path / "run")
    assert target.classes == ["cat", "dog"]
    assert target.labels.tolist() == [0] * 4 + [1] * 4


def test_an_unfinished_run_holds_no_release(run_copy: Path) -> None:
    shutil.rmtree(run_copy / "release")
    with pytest.raises(InputError, match="holds no release; finish the run with --resume"):
        open_target(run_copy)


# Releases that are damaged, and originals that are not


def data_file(release: Path) -> Path:
    return next((release / "data").glob("*.parquet"))


def test_a_damaged_data_file_is_refused(run_copy: Path) -> None:
    path = data_file(run_copy / "release")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(VerificationError, match=f"{path.name} is missing, damaged or was changed"):
        open_target(run_copy)


def test_a_missing_data_file_is_refused(run_copy: Path) -> None:
    data_file(run_copy / "release").unlink()
    with pytest.raises(VerificationError, match="is missing, damaged or was changed"):
        open_target(run_copy)


@pytest.mark.parametrize("break_it", [Path.unlink, lambda path: path.write_text(path.read_text() + " ")])
def test_damaged_facts_are_refused(run_copy: Path, break_it) -> None:
    break_it(run_copy / "release" / "protection.json")
    with pytest.raises(VerificationError, match=r"protection\.json is"):
        open_target(run_copy)


def test_a_damaged_figure_does_not_concern_the_audit(run_copy: Path) -> None:
    for figure in (run_copy / "release" / "figures").iterdir():
        figure.write_bytes(b"damaged")
    assert len(open_target(run_copy)) == 8


def test_what_happens_to_the_release_afterwards_changes_nothing(run_copy: Path) -> None:
    target = open_target(run_copy)
    before = [target.protected(row) for row in range(8)]
    shutil.rmtree(run_copy / "release")
    for row in range(8):
        np.testing.assert_array_equal(target.protected(row), before[row])


@pytest.fixture
def own_run(tmp_path: Path, recipe: Path) -> tuple[Path, Path]:
    """A run and its originals, both of which a test may break."""
    photos = draw_classes(tmp_path / "own photos")
    succeed("protect", photos, "--out", tmp_path / "own run", "--recipe", recipe)
    return tmp_path / "own run", photos


def test_a_changed_original_is_refused(own_run: tuple[Path, Path]) -> None:
    run, photos = own_run
    draw(photos / "dog" / "1.png", 999)
    with pytest.raises(InputError, match=r"original dog/1\.png changed since the run; .*--clean"):
        open_target(run)


def test_a_missing_original_is_refused(own_run: tuple[Path, Path]) -> None:
    run, photos = own_run
    (photos / "dog" / "1.png").unlink()
    with pytest.raises(InputError, match=r"original dog/1\.png is missing since the run; .*--clean"):
        open_target(run)


def test_an_unreadable_original_is_refused(own_run: tuple[Path, Path]) -> None:
    run, photos = own_run
    (photos / "dog" / "1.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"the original of row 5 cannot be read \(empty"):
        open_target(run)


def test_a_new_file_in_the_source_does_not_matter(own_run: tuple[Path, Path]) -> None:
    run, photos = own_run
    draw(photos / "cat" / "00 new.png", 998)
    assert open_target(run).clean_hash(0) == open_target(run, str(photos)).clean_hash(0)


def test_moved_originals_are_found_by_clean(own_run: tuple[Path, Path]) -> None:
    run, photos = own_run
    photos.rename(photos.with_name("moved"))
    with pytest.raises(InputError, match=r"the originals are not where they were .* give them with --clean"):
        open_target(run)
    assert open_target(run, str(photos.with_name("moved"))).changed.all()


def test_an_original_that_changes_during_the_audit_is_refused(own_run: tuple[Path, Path]) -> None:
    run, photos = own_run
    target = open_target(run)
    draw(photos / "dog" / "1.png", 999)
    target.clean(4)
    with pytest.raises(InputError, match=r"original dog/1\.png changed while it was being audited"):
        target.clean(5)
    (photos / "dog" / "1.png").unlink()
    with pytest.raises(InputError, match=r"original dog/1\.png cannot be read any more \(no such file\)"):
        target.clean(5)


# A release without its run


def test_a_release_alone_needs_its_originals(tmp_path: Path, finished_run: Path, photographs: Path) -> None:
    release = bare_release(finished_run, tmp_path / "bare")
    with pytest.raises(InputError, match="does not say where its originals are; add --clean SOURCE"):
        open_target(release)
    target = open_target(release, str(photographs))
    assert target.run is None
    assert target.digest == open_target(finished_run).digest
    assert_pairs(target, release, [photographs / name for name in NAMES])


def test_other_images_are_not_its_originals(tmp_path: Path, finished_run: Path) -> None:
    others = draw_classes(tmp_path / "others", seed=500)
    release = bare_release(finished_run, tmp_path / "bare")
    with pytest.raises(InputError, match=r"row 0 is not cat/0\.png with noise of at most 8 levels.*--clean"):
        open_target(release, str(others))


def test_images_of_other_labels_are_not_its_originals(tmp_path: Path, finished_run: Path, photographs: Path) -> None:
    photos = Path(shutil.copytree(photographs, tmp_path / "photos"))
    (photos / "dog").rename(photos / "dig")
    release = bare_release(finished_run, tmp_path / "bare")
    with pytest.raises(InputError, match=r"row 4 is labelled dog, and dig/0\.png is labelled dig"):
        open_target(release, str(photos))


def test_too_few_originals_are_refused(tmp_path: Path, finished_run: Path, photographs: Path) -> None:
    photos = Path(shutil.copytree(photographs, tmp_path / "photos"))
    (photos / "cat" / "2.png").unlink()
    release = bare_release(finished_run, tmp_path / "bare")
    with pytest.raises(InputError, match="row 2 has no original among those given"):
        open_target(release, str(photos))


def test_the_release_is_not_its_own_original(tmp_path: Path, finished_run: Path) -> None:
    release = bare_release(finished_run, tmp_path / "bare")
    with pytest.raises(InputError, match=r"0 released rows differ .* counts 8 protected rows: these are not"):
        open_target(release, str(release))


def test_a_release_states_its_own_radius(finished_run: Path) -> None:
    assert open_target(finished_run, rho_u=Fraction(8, 255)).rho_u == Fraction(8, 255)
    with pytest.raises(InputError, match=r"states its own --rho-u 8/255, not 4/255"):
        open_target(finished_run, rho_u=Fraction(4, 255))


# Copies of other methods


def test_another_copy_is_paired_by_position(tmp_path: Path, photographs: Path) -> None:
    copy = add_noise(photographs, tmp_path / "copy")
    target = open_target(copy, str(photographs))
    assert (target.facts, target.run, target.rho_a, target.source_model) == (None, None, None, None)
    assert (target.rho_u, target.resolution, target.classes) == (Fraction(3, 255), 8, ["cat", "dog"])
    assert target.labels.tolist() == [0] * 4 + [1] * 4
    assert target.changed.all()
    for row, name in enumerate(NAMES):
        np.testing.assert_array_equal(target.protected(row), load(copy / name))
        np.testing.assert_array_equal(target.clean(row), load(photographs / name))


def test_another_copy_needs_its_originals(photographs: Path) -> None:
    with pytest.raises(InputError, match="is no run of rem-release; add --clean SOURCE"):
        open_target(photographs)


def test_nothing_is_there(tmp_path: Path, photographs: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        open_target(tmp_path / "nothing", str(photographs))


def test_unprotected_data_are_a_control(photographs: Path) -> None:
    target = open_target(photographs, str(photographs))
    assert not target.changed.any()
    assert target.rho_u == 0
    assert open_target(photographs, str(photographs), rho_u=Fraction(8, 255)).rho_u == Fraction(8, 255)


def to_parquet(folder: Path, path: Path, order: list[str], columns: tuple[str, str] = ("image", "label")) -> Path:
    """Rows of class folders as a table whose class numbers are not in the order of the names."""
    features = datasets.Features(
        {
            columns[0]: datasets.Image(),
            columns[1]: datasets.ClassLabel(names=["dog", "cat"]),
            "n": datasets.Value("int8"),
        }
    )
    rows = {
        columns[0]: [{"bytes": (folder / name).read_bytes(), "path": None} for name in order],
        columns[1]: [["dog", "cat"].index(name.split("/")[0]) for name in order],
        "n": list(range(len(order))),
    }
    datasets.Dataset.from_dict(rows, features=features).to_parquet(path)
    return path


def test_the_digest_of_another_copy_is_of_pixels_labels_and_order(tmp_path: Path, photographs: Path) -> None:
    copy = add_noise(photographs, tmp_path / "copy")
    digest = open_target(copy, str(photographs)).digest
    table = to_parquet(copy, tmp_path / "table.parquet", NAMES, ("img", "fine"))
    clean_table = to_parquet(photographs, tmp_path / "clean.parquet", NAMES, ("img", "fine"))
    same = open_target(table, str(clean_table), image_column="img", label_column="fine")
    assert same.digest == digest
    assert same.classes == ["dog", "cat"]
    assert same.labels.tolist() == [1] * 4 + [0] * 4
    reordered = [*NAMES[1:4], NAMES[0], *NAMES[4:]]
    to_parquet(copy, tmp_path / "table.parquet", reordered)
    to_parquet(photographs, tmp_path / "clean.parquet", reordered)
    assert open_target(tmp_path / "table.parquet", str(tmp_path / "clean.parquet")).digest != digest
    add_noise(photographs, copy, levels=4)
    assert open_target(copy, str(photographs)).digest != digest
    add_noise(photographs, copy)
    assert open_target(copy, str(photographs)).digest == digest
    clean = Path(shutil.copytree(photographs, tmp_path / "renamed"))
    for folder in (copy, clean):
        (folder / "dog").rename(folder / "dogs")
    assert open_target(copy, str(clean)).digest != digest


@pytest.mark.parametrize(
    ("sizes", "given", "expected"),
    [
        ({(8, 8)}, None, 8),
        ({(64, 64)}, None, 64),
        ({(65, 65)}, None, 224),
        ({(8, 9)}, None, 224),
        ({(8, 8), (9, 9)}, None, 224),
        ({(8, 8), (9, 9)}, 16, 16),
    ],
)
def test_the_working_grid_of_another_copy(
    tmp_path: Path, sizes: set[tuple[int, int]], given: int | None, expected: int
) -> None:
    for index, size in enumerate(sorted(sizes) * 2):
        for number, name in enumerate(("cat", "dog")):
            draw(tmp_path / name / f"{index}.png", 10 * number + index, size)
    assert open_target(tmp_path, str(tmp_path), given).resolution == expected


def test_a_copy_of_other_sizes_is_measured_on_the_grid(tmp_path: Path) -> None:
    for number, name in enumerate(("cat", "dog")):
        for index in range(3):
            value = 40 * index + 100 * number
            for folder, side, change in (("clean", 20, 0), ("copy", 10, 5)):
                path = tmp_path / folder / name / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (side, side), (value + change, value, value)).save(path)
    target = open_target(tmp_path / "copy", str(tmp_path / "clean"))
    assert (target.rho_u, target.resolution) == (Fraction(5, 255), 10)
    assert target.changed.all()
    assert (target.protected(0).shape, target.clean(0).shape) == ((10, 10, 3), (20, 20, 3))


def test_a_copy_with_fewer_rows_is_refused(tmp_path: Path, photographs: Path) -> None:
    copy = add_noise(photographs, tmp_path / "copy")
    (copy / "dog" / "3.png").unlink()
    with pytest.raises(InputError, match=r"copy has 7 rows and --clean .* has 8: rows are paired by position"):
        open_target(copy, str(photographs))


def test_a_shifted_copy_is_refused_where_labels_show_it(tmp_path: Path, photographs: Path) -> None:
    copy = add_noise(photographs, tmp_path / "copy")
    (copy / "dog" / "0.png").rename(copy / "cat" / "4.png")
    with pytest.raises(InputError, match=r"row 4 is labelled cat .*cat/4\.png.* and dog in --clean .*dog/0\.png"):
        open_target(copy, str(photographs))


def test_renamed_classes_are_refused(tmp_path: Path, photographs: Path) -> None:
    copy = add_noise(photographs, tmp_path / "copy")
    (copy / "cat").rename(copy / "Cat")
    with pytest.raises(InputError, match=r"row 0 is labelled Cat .* and cat in --clean"):
        open_target(copy, str(photographs))


def test_another_order_within_classes_is_refused(tmp_path: Path, photographs: Path) -> None:
    copy = add_noise(photographs, tmp_path / "copy")
    for name in ("cat", "dog"):
        (copy / name / "0.png").rename(copy / name / "9.png")  # sorted last now: the class is shifted by one
    with pytest.raises(
        InputError, match=r"row 0 of .*\(cat/1\.png\) does not show its original cat/0\.png.*same order"
    ):
        open_target(copy, str(photographs))


def test_large_patches_do_not_hide_the_original(tmp_path: Path, photographs: Path) -> None:
    """A method may paint over a part: it is no reason to doubt the order, and the radius says so."""
    copy = tmp_path / "copy"
    for name in NAMES:
        pixels = load(photographs / name).copy()
        pixels[:3, :3] = 255 if name.startswith("cat") else 0
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(copy / name)
    assert open_target(copy, str(photographs)).rho_u > Fraction(200, 255)


def test_a_copy_with_an_unreadable_image_is_refused(tmp_path: Path, photographs: Path) -> None:
    copy = add_noise(photographs, tmp_path / "copy")
    (copy / "dog" / "2.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"dog/2\.png of .*copy cannot be read \(text, not an image.*both copies"):
        open_target(copy, str(photographs))


def test_a_file_outside_the_classes_is_refused(tmp_path: Path, photographs: Path) -> None:
    copy = add_noise(photographs, tmp_path / "copy")
    clean = Path(shutil.copytree(photographs, tmp_path / "clean"))
    for folder in (copy, clean):
        draw(folder / "loose.png", 1)
    with pytest.raises(InputError, match=r"loose\.png of .*copy has no class"):
        open_target(copy, str(clean))


def test_a_copy_that_changes_during_the_audit_is_refused(tmp_path: Path, photographs: Path) -> None:
    copy = add_noise(photographs, tmp_path / "copy")
    target = open_target(copy, str(photographs))
    draw(copy / "cat" / "1.png", 7)
    with pytest.raises(InputError, match="protected row 1 changed while it was being audited"):
        target.protected(1)


def test_a_folder_that_is_called_like_a_part_of_a_run_is_a_class(tmp_path: Path) -> None:
    folder = draw_classes(tmp_path / "doors", ("private", "release"))
    assert open_target(folder, str(folder)).classes == ["private", "release"]


def test_a_recipe_of_fractional_levels_keeps_its_radius(tmp_path: Path, photographs: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", noise__rho_u="0.03")
    succeed("protect", photographs, "--out", tmp_path / "run", "--recipe", recipe)
    assert open_target(tmp_path / "run").rho_u == Fraction(3, 100)
