"""The pipeline of photographs: what torchvision computes, draws that depend on nothing else, all sizes, audits."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from accelerate import Accelerator
from scipy import stats
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as tv

from rem_release.audit.inputs.holdout import choose_holdout
from rem_release.audit.inputs.sets import add_random_signs, read_testing, read_training
from rem_release.audit.inputs.target import open_target
from rem_release.audit.ledger import Ledger
from rem_release.audit.runner import VictimRunner
from rem_release.audit.setup import AuditSetup
from rem_release.audit.step import make_step
from rem_release.data.images.pixels import pixel_hash
from rem_release.release.certificate import read_certificate
from rem_release.threats.images import TrainingImages
from rem_release.threats.kinds.jpeg import Jpeg
from rem_release.threats.kinds.resized_crop.pipeline import CropPipeline, choose_crop, draw_numbers
from rem_release.threats.threat import parse_threat
from rem_release.verdict.plan import Task
from rem_release.verdict.recipe import parse_architecture
from tests.audit_commands import LEARNING, draw_colours, protect
from tests.audits import QUICK, read_recipe, read_victims, write_audit_recipe
from tests.command_line import draw, run, succeed

MODES = [(kind, antialias) for kind in ("bilinear", "bicubic") for antialias in (True, False)]
SIZES = [(1, 1), (1, 40), (40, 1), (2, 2), (3, 90), (9, 7), (16, 16), (61, 45), (128, 200)]


def photograph(height: int, width: int) -> np.ndarray:
    """A crop of a real photograph."""
    return skimage.data.coffee()[100 : 100 + height, 200 : 200 + width]


def planes(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).copy())


# what is computed


@pytest.mark.parametrize(("kind", "antialias"), MODES)
def test_training_views_are_torchvision_s_resized_crops_of_photographs(kind, antialias):
    flips = 0
    for height, width in SIZES:
        image = photograph(height, width)
        views = CropPipeline(24, kind, antialias, 0.08, 5).train(image, "a")
        assert (views.dtype, views.shape) == (torch.uint8, (5, 3, 24, 24))
        for view, found in enumerate(views):
            numbers = draw_numbers(f"a {view}")
            crop = choose_crop(height, width, 0.08, numbers)
            expected = tv.resized_crop(planes(image), *crop, [24, 24], InterpolationMode(kind), antialias)
            flips += numbers[-1] < 0.5
            assert torch.equal(found, tv.horizontal_flip(expected) if numbers[-1] < 0.5 else expected)
    assert 0 < flips < 5 * len(SIZES)


@pytest.mark.parametrize(("kind", "antialias"), MODES)
@pytest.mark.parametrize("side", [8, 16, 32, 48, 224])
def test_test_views_are_resize_and_centre_crop(kind, antialias, side):
    resized = {8: 9, 16: 18, 32: 37, 48: 55, 224: 256}[side]
    pipeline = v2.Compose(
        [v2.Resize(resized, InterpolationMode(kind), antialias=antialias), v2.CenterCrop(side)],
    )
    for height, width in SIZES:
        image = photograph(height, width)
        found = CropPipeline(side, kind, antialias).test(image)
        assert (found.dtype, found.shape) == (torch.uint8, (1, 3, side, side))
        assert torch.equal(found[0], pipeline(planes(image)))


@pytest.mark.parametrize(("height", "width"), [(60, 90), (90, 60), (64, 64), (30, 200), (200, 30)])
@pytest.mark.parametrize("min_area", [0.08, 0.5])
def test_crops_are_distributed_as_torchvision_s(height, width, min_area):
    """Two samples of 2,000: heights, widths, areas and places are distributed alike, the fallback's among them."""
    torch.manual_seed(0)
    reference = v2.RandomResizedCrop(8, scale=(min_area, 1.0))
    image = torch.zeros(3, height, width)
    theirs = np.array(
        [
            [made[k] for k in ("top", "left", "height", "width")]
            for made in (reference.make_params([image]) for _ in range(2000))
        ]
    )
    ours = np.array([choose_crop(height, width, min_area, draw_numbers(str(n))) for n in range(2000)])
    for column in range(4):
        assert stats.ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-4
    assert stats.ks_2samp(ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3]).pvalue > 1e-4
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, 0] + ours[:, 2] <= height).all()
    assert (ours[:, 1] + ours[:, 3] <= width).all()


@pytest.mark.parametrize(
    ("size", "crop"), [((1, 1), (0, 0, 1, 1)), ((1, 400), (0, 199, 1, 1)), ((400, 4), (197, 0, 5, 4))]
)
def test_where_no_try_fits_the_centre_is_taken_as_torchvision_takes_it(size, crop):
    made = v2.RandomResizedCrop(8, scale=(1.0, 1.0)).make_params([torch.zeros(3, *size)])
    found = choose_crop(*size, 1.0, draw_numbers("any"))
    assert found == crop == (made["top"], made["left"], made["height"], made["width"])


# what draws depend on


def test_draws_depend_on_key_and_view_alone():
    image = photograph(80, 60)
    views = CropPipeline(16, views=6).train(image, "a")
    assert torch.equal(CropPipeline(16, views=2).train(image, "a"), views[:2])
    assert torch.equal(CropPipeline(16, views=6).train(image.copy(), "a"), views)
    assert len({view.numpy().tobytes() for view in views}) == 6
    assert not torch.equal(CropPipeline(16, views=6).train(image, "b"), views)
    smaller = CropPipeline(8, views=6).train(image, "a")  # the same crops at another size
    again = torch.nn.functional.avg_pool2d(views.float(), 2)
    assert (smaller - again).abs().mean() < 0.25 * (smaller - again.flip(0)).abs().mean()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`photos` and `run`: images of several sizes, and a duplicate: dog/3 shows cat/0; `test`."""
    folder = tmp_path_factory.mktemp("scene")
    sizes = [(8, 8), (20, 30), (3, 40), (60, 45)]
    for number, name in enumerate(("cat", "dog")):
        for index, size in enumerate(sizes):
            draw(folder / "photos" / name / f"{index}.png", 10 * number + index, size)
            draw(folder / "test" / name / f"{index}.png", 50 + 10 * number + index, size)
    shutil.copy(folder / "photos" / "cat" / "0.png", folder / "photos" / "dog" / "3.png")
    protect(folder / "photos", folder / "run", "--set", "data.resolution=8")
    return folder


def test_every_kind_is_seen_through_the_same_crops_in_whatever_order(scene):
    target, fit, rows = open_target(scene / "run"), CropPipeline(12, views=3), np.arange(8)
    for kind in ("clean", "protected", "random"):
        found = read_training(target, kind, rows, None, (), fit, 0)
        assert (found.images.shape, found.labels.tolist()) == ((24, 3, 12, 12), [0] * 12 + [1] * 12)
        for row in rows:
            clean = target.clean(row)
            signs = add_random_signs(clean, 8, 0, pixel_hash(clean))
            image = {"clean": clean, "protected": target.protected(row), "random": signs}[kind]
            expected = fit.train(image, f"0 {pixel_hash(clean)}")
            assert torch.equal(found.images[3 * row : 3 * row + 3], expected)
        backwards = read_training(target, kind, rows[::-1].copy(), None, (), fit, 0)
        assert torch.equal(backwards.images.unflatten(0, (8, 3)).flip(0).flatten(0, 1), found.images)
        assert backwards.digest != found.digest
    seeded = read_training(target, "clean", rows, None, (), fit, 1)
    assert not torch.equal(seeded.images, read_training(target, "clean", rows, None, (), fit, 0).images)


def test_filters_come_before_the_crops_and_originals_of_a_part_after_none(scene):
    target, fit, rows = open_target(scene / "run"), CropPipeline(12, views=2), np.arange(8)
    mask = np.array([True, False] * 4)
    found = read_training(target, "protected", rows, mask, (Jpeg(quality=10).filter_image,), fit, 0).images
    for row in rows:
        image = target.protected(row) if mask[row] else target.clean(row)
        assert torch.equal(
            found[2 * row : 2 * row + 2],
            fit.train(Jpeg(quality=10).filter_image(image), f"0 {target.clean_hash(row)}"),
        )


def test_test_images_are_resized_and_cropped_once(scene):
    target = open_target(scene / "run")
    holdout = choose_holdout(target, str(scene / "test"), None, 0.2, "refuse")
    found = read_testing(holdout, (), CropPipeline(12, "bicubic", views=7))
    assert (found.images.shape, found.labels.tolist()) == ((8, 3, 12, 12), [0] * 4 + [1] * 4)
    for row in range(8):
        assert torch.equal(found.images[row], CropPipeline(12, "bicubic").test(holdout.image(row))[0])


# the notation


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("resized_crop", "resized_crop"),
        ("resized_crop(size=1.0, interpolation=bilinear, antialias=true, min_area=0.08, views=8)", "resized_crop"),
        ("resized_crop(size=0.5,antialias=False)", "resized_crop(size=0.5,antialias=false)"),
        (
            "resized_crop(views=3,min_area=1,interpolation=bicubic)",
            "resized_crop(interpolation=bicubic,min_area=1,views=3)",
        ),
        ("pgd(radius=1/255)+resized_crop+jpeg(quality=10)", "jpeg(quality=10)+resized_crop+pgd(radius=1/255)"),
        ("cutmix+resized_crop(size=2)", "resized_crop(size=2)+cutmix(alpha=1)"),
    ],
)
def test_the_name_says_what_differs_from_the_ordinary(text, name):
    assert parse_threat(text).name == name
    assert parse_threat(name) == parse_threat(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resized_crop(size=0.2)", "threat resized_crop: size: Input should be greater than or equal to 0.25"),
        ("resized_crop(size=5)", "threat resized_crop: size: Input should be less than or equal to 4"),
        ("resized_crop(size=nan)", "threat resized_crop: size: "),
        ("resized_crop(interpolation=nearest)", "interpolation: Input should be 'bilinear' or 'bicubic'"),
        ("resized_crop(antialias=maybe)", "threat resized_crop: antialias: Input should be a valid boolean"),
        ("resized_crop(min_area=0)", "threat resized_crop: min_area: Input should be greater than 0"),
        ("resized_crop(views=0)", "threat resized_crop: views: Input should be greater than or equal to 1"),
        ("resized_crop(views=65)", "threat resized_crop: views: Input should be less than or equal to 64"),
        ("resized_crop(on=both)", "threat resized_crop has no parameter 'on'; it has size, interpolation, antialias, "),
        ("resized_crop+resized_crop(size=2)", "resized_crop appears twice"),
        ("resized_crop+eot", "resized_crop and eot do not go together"),
        ("orthogonal(on=both)+resized_crop", "orthogonal and resized_crop do not go together"),
    ],
)
def test_what_makes_no_sense_is_refused(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_threat(text)


def test_words():
    assert parse_threat("resized_crop").words() == "random resized crops at 1 × the working resolution (bilinear)"
    assert parse_threat("resized_crop(size=1.5,interpolation=bicubic,antialias=false)").words() == (
        "random resized crops at 1.5 × the working resolution (bicubic, not antialiased)"
    )


@pytest.mark.parametrize(("size", "side"), [("0.5", 16), ("1", 32), ("1.5", 48), ("0.33", 11), ("0.25", 8)])
def test_the_network_sees_a_part_of_the_working_resolution_but_never_less_than_8(size, side):
    (part,) = parse_threat(f"resized_crop(size={size})").parts
    assert part.side(32) == side
    assert part.side(16) == max(8, round(float(size) * 16))


# victims


def open_setup(scene: Path, folder: Path, **changes: object) -> AuditSetup:
    target = open_target(scene / "run")
    holdout = choose_holdout(target, str(scene / "test"), None, 0.2, "refuse")
    recipe = read_recipe(folder, **changes)
    return AuditSetup(target=target, holdout=holdout, recipe=recipe, resolution=16, rho_u=target.rho_u)


def task(threat: str, trained_on="protected") -> Task:
    return Task(parse_architecture("small_resnet"), parse_threat(threat), trained_on, 0)


def test_the_runner_brings_views_of_the_asked_size_and_whole_images_as_before(scene, tmp_path):
    runner = VictimRunner(open_setup(scene, tmp_path), Ledger(None, None), Accelerator(cpu=True))
    for threat, side, views in (
        ("resized_crop(size=0.5,views=2)", 8, 2),
        ("standard", 16, 1),
        ("resized_crop(size=1.5)", 24, 8),
        ("jpeg(quality=10)+resized_crop(views=1)", 16, 1),
    ):
        images, test_images, test_labels = runner.images.prepare(task(threat))
        assert images.images.shape == (8 * views, 3, side, side)
        assert images.labels.tolist() == [0] * 4 * views + [1] * 4 * views
        assert (test_images.shape, len(test_labels)) == ((8, 3, side, side), 8)


def test_the_clean_part_is_every_view_of_the_clean_rows(scene, tmp_path):
    setup = open_setup(scene, tmp_path)
    runner = VictimRunner(setup, Ledger(None, None), Accelerator(cpu=True))
    threat = "mixed(protected=0.5)+resized_crop(views=3)"
    rows = np.flatnonzero(~setup.protected_rows(parse_threat(threat)))
    assert len(rows) == 4
    images, _, _ = runner.images.prepare(task(threat, "clean part"))
    expected = read_training(
        setup.target, "clean", setup.holdout.train_rows[rows], None, (), CropPipeline(16, views=3), 0
    )
    assert torch.equal(images.images, expected.images)
    assert torch.equal(images.labels, expected.labels)


def test_every_parameter_makes_another_victim(scene, tmp_path, monkeypatch):
    setup = open_setup(scene, tmp_path, **QUICK)
    ledger = Ledger(tmp_path / "victims.jsonl", tmp_path / "cache")
    runner = VictimRunner(setup, ledger, Accelerator(cpu=True))
    texts = ["standard", "resized_crop"]
    others = ["size=0.5", "interpolation=bicubic", "antialias=false", "min_area=0.5", "views=4"]
    texts += [f"resized_crop({each})" for each in others]
    keys = {runner.make(task(text, "clean")).key for text in texts}
    assert len(keys) == len(texts)
    again = VictimRunner(replace(setup), Ledger(None, tmp_path / "cache"), Accelerator(cpu=True))
    assert again.known(task("resized_crop(views=8)", "clean")).key in keys
    assert again.known(task("resized_crop(views=9)", "clean")) is None


def test_nothing_is_padded_or_flipped_on_top_of_the_crops(tmp_path):
    recipe = read_recipe(tmp_path, victim__augmentation="cifar")
    images = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    learnt = TrainingImages(images, torch.tensor([0, 1] * 3), 2)
    seen: dict[str, torch.Tensor] = {}
    for threat in ("resized_crop", "standard"):
        step = make_step(parse_threat(threat), recipe, learnt, 0, lambda *_: None)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 2))
        model.register_forward_pre_hook(lambda _, given, threat=threat: seen.update({threat: given[0]}))
        step(model, model, torch.arange(6), 0)
    assert torch.equal(seen["resized_crop"], images.float() / 255)
    assert not torch.equal(seen["standard"], images.float() / 255)


def test_a_pass_at_another_size_costs_what_its_pixels_cost(tmp_path):
    recipe = read_recipe(tmp_path, adversary={"steps": 3, "relative_step_size": 0.5})
    assert parse_threat("resized_crop(size=1.5)").passes(recipe.adversary) == 2.25
    assert parse_threat("resized_crop(size=0.5)+pgd(radius=1/255)").passes(recipe.adversary) == 1.0


# whole audits


def test_an_audit_with_the_pipelines(tmp_path, monkeypatch):
    """Each row has its victims, and is told in words."""
    monkeypatch.setenv("REM_RELEASE_CACHE", str(tmp_path / "cache"))
    draw_colours(tmp_path / "clean")
    draw_colours(tmp_path / "test", count=10, seed=1)
    protect(tmp_path / "clean", tmp_path / "run")
    threats = [
        "resized_crop(size=0.5,views=2)",
        "jpeg(quality=50)+resized_crop(size=1.5,interpolation=bicubic,antialias=false,views=2)",
        "resized_crop(views=1)+pgd(radius=rho_a)",
        "resized_crop(views=2)+mixed(protected=0.5)",
    ]
    tiers = {"threats": threats}
    recipe = write_audit_recipe(
        tmp_path / "audit.yaml", **{**LEARNING, "victim__least_steps": 42, "tiers": {"adaptive": tiers}}
    )
    result = run("audit", tmp_path / "run", "--holdout", tmp_path / "test", "--recipe", recipe, "--json")
    assert result.code in (0, 3), result.err
    victims = read_victims(tmp_path / "run" / "audit")
    found = {(victim.threat, victim.trained_on) for victim in victims if "resized_crop" in victim.threat}
    kinds = [(text.replace("rho_a", "4/255"), kind) for text in threats for kind in ("protected", "random")]
    assert set(kinds) <= found
    assert (threats[3], "clean part") in found
    rows = read_certificate(tmp_path / "run" / "release" / "audit.json").rows
    assert [row.threat for row in rows] == [text.replace("rho_a", "4/255") for text in threats]
    assert [row.valid for row in rows[:3]] == [True] * 3, [row.reason for row in rows]  # the clean part teaches all
    card = (tmp_path / "run" / "release" / "README.md").read_text()
    assert "random resized crops at 0.5 × the working resolution (bilinear)" in card


def test_a_plan_prices_the_sizes(tmp_path, scene, monkeypatch):
    monkeypatch.setenv("REM_RELEASE_CACHE", str(tmp_path / "cache"))
    passes = {}
    for size in ("1", "2"):
        tiers = {"standard": {"threats": ["standard"]}, "adaptive": {"threats": [f"resized_crop(size={size})"]}}
        recipe = write_audit_recipe(tmp_path / f"{size}.yaml", **QUICK, tiers=tiers)
        options = ("--holdout", scene / "test", "--recipe", recipe, "--plan")
        passes[size] = succeed("audit", scene / "run", *options, "--json").json["passes"]
    assert passes["2"] == passes["1"] / 6 * (3 + 3 * 4)
