"""What every baseline method is put through: gratings are protected, learnt from, and resumed."""

import signal
import time
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from rem_release.audit.victim import train_victim
from rem_release.methods.maker import ImageSet, make_image_set
from rem_release.recipe import Recipe
from rem_release.recipe_changes import load_changed
from rem_release.threats.images import TrainingImages
from rem_release.threats.threat import parse_threat
from rem_release.verdict import plan
from rem_release.verdict.recipe import parse_architecture
from tests.audits import read_recipe
from tests.command_line import draw, draw_classes, pixels_of, released, same_release, start, succeed
from tests.gratings import NAMES, draw_gratings, write_classes

SEED = 11
TRAIN, TEST = 100, 60
"""images of each class"""


def recipe_of(method: str, resolution: int, **fields: object) -> Recipe:
    """The method's recipe with other fields, at another resolution."""
    settings = {f"noise.{name}": str(value) for name, value in fields.items()}
    return load_changed(f"{method}-cifar10", settings={"data.resolution": str(resolution), **settings})


def draw_images(labels: list[int], resolution: int, low: int = 0, high: int = 256, seed: int = 0) -> ImageSet:
    """Random images of the working size, with levels from `low` to `high` - 1."""
    generator = torch.Generator().manual_seed(seed)
    size = (len(labels), 3, resolution, resolution)
    images = torch.randint(low, high, size, generator=generator, dtype=torch.uint8)
    keys = torch.arange(len(labels)) * 7 + 3
    sizes = torch.full((len(labels), 2), resolution)
    return make_image_set(images, torch.tensor(labels), keys, sizes, torch.device("cpu"))


def protect_gratings(folder: Path, *options: object) -> Path:
    """Write `clean/` and `test/`, and protect the one into `run/` with ±16 levels; returns the run."""
    write_classes(folder / "clean", draw_gratings(TRAIN, seed=0, contrast=20))
    write_classes(folder / "test", draw_gratings(TEST, seed=1, contrast=20))
    size = ("--rho-u", "16/255", "--set", "data.resolution=16")
    succeed("protect", folder / "clean", "--out", folder / "run", *size, *options)
    return folder / "run"


def learn_from(images: np.ndarray, folder: Path) -> float:
    """Test accuracy on clean gratings of a small network in standard training on images uint8 [N, 16, 16, 3], which
    stand in the order of classes."""
    labels, test_labels = (torch.arange(len(NAMES)).repeat_interleave(count) for count in (TRAIN, TEST))
    test = torch.from_numpy(draw_gratings(TEST, seed=1, contrast=20)).flatten(0, 1).permute(0, 3, 1, 2)
    victim = plan.Task(parse_architecture("small_vgg"), parse_threat("standard"), "protected", 0)
    learnt = TrainingImages(torch.from_numpy(images).permute(0, 3, 1, 2), labels, len(NAMES))
    trained = train_victim(Accelerator(), victim, read_recipe(folder), learnt, len(images), test, test_labels)
    return float((trained.named[-1] == test_labels.numpy()).mean())


def released_pixels(run_folder: Path) -> np.ndarray:
    """The released images of one size: uint8 [N, H, W, 3]."""
    return np.stack([pixels_of(row["image"]["bytes"]) for row in released(run_folder / "release")])


def hides_what_it_protects(run_folder: Path, folder: Path) -> None:
    """A victim learns gratings from the originals, and next to nothing from the release; chance is 25 %."""
    clean = draw_gratings(TRAIN, seed=0, contrast=20).reshape(-1, 16, 16, 3)
    protected = released_pixels(run_folder)
    assert np.abs(protected.astype(int) - clean).max() == 16
    assert learn_from(clean, folder) > 0.9, "a weak victim would flatter the noise"
    assert learn_from(protected, folder) < 0.5


def resumes_to_the_same_bytes(tmp_path: Path, there: str, env: dict[str, str], *options: object) -> None:
    """Killed as soon as `there`, a pattern of files of `private/`, is there; large images give it the time."""
    source = draw_classes(tmp_path / "source", count=5)
    for index in range(4):
        draw(source / "cat" / f"{index}.png", index, (640, 480))
    command = ("protect", source, "--set", "data.resolution=16", *options)
    succeed(*command, "--out", tmp_path / "whole")
    process = start(*command, "--out", tmp_path / "run", env=env)
    deadline = time.monotonic() + 120
    while not any((tmp_path / "run/private").glob(there)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "run/release").exists()
    succeed(*command, "--out", tmp_path / "run", "--resume")
    assert same_release(tmp_path / "run", tmp_path / "whole")
    succeed("verify", tmp_path / "run", "--clean", source)
    rows = released(tmp_path / "run/release")
    assert {pixels_of(row["image"]["bytes"]).shape for row in rows} == {(480, 640, 3), (8, 8, 3)}
