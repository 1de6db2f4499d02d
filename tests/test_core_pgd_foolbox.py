"""PGD in each norm against foolbox on a trained network: the loss it reaches is no smaller, inside ball and box."""

import eagerpy as ep
import foolbox
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from rem_release.core.draws import Draws, Purpose
from rem_release.core.norms import random_start
from rem_release.core.pgd import frozen_in_eval_mode, pgd
from rem_release.data.photographs import write_patches
from rem_release.models import build_model

THEIRS = {
    "linf": foolbox.attacks.LinfPGD,
    "l2": foolbox.attacks.L2PGD,
    "l1": foolbox.attacks.L1PGD,
}
RADII = [*(("linf", 2), ("linf", 8)), *(("l2", 50), ("l2", 100), ("l2", 400)), *(("l1", 1000), ("l1", 3000))]
"""In whole levels; those in L2 and L1 are the paper's (Table 11), and one in L2 where the box counts."""
STEPS = 10
SAME = 0.998
"""Two equal attacks part ways where a gradient's sign hangs on rounding."""


def read(folder):
    """Float images [N, 3, 32, 32] and labels of class folders."""
    albums = sorted(folder.iterdir())
    pixels = [[np.asarray(Image.open(file).convert("RGB")) for file in sorted(album.iterdir())] for album in albums]
    labels = torch.cat([torch.full((len(images),), label) for label, images in enumerate(pixels)])
    return torch.from_numpy(np.concatenate(pixels)).permute(0, 3, 1, 2).float() / 255, labels


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A network trained for a few seconds, and images it has not seen, half of them with contrast that saturates."""
    folder = tmp_path_factory.mktemp("patches") / "photographs"
    write_patches(folder, train=150, test=10)
    x, y = read(folder / "train")
    generator = torch.Generator().manual_seed(0)
    model = build_model("small_resnet", 10, 32, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    model.train()
    for epoch in range(9):
        if epoch == 6:
            optimizer.param_groups[0]["lr"] = 0.01
        for batch in torch.randperm(len(x), generator=generator).split(100):
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    model.eval()
    x, y = read(folder / "test")
    x = torch.where((torch.arange(len(x)) % 2 == 0)[:, None, None, None], x, (3 * x - 1).clamp(0, 1))
    with frozen_in_eval_mode(model):
        assert (model(x[::2]).argmax(1) == y[::2]).float().mean() > 0.6, "a network worth attacking"
        yield model, x, y


def assert_no_smaller(task, ours, theirs, x, y, share):
    """What the mean loss rises by, against foolbox."""
    ours, theirs, clean = (F.cross_entropy(task[0](seen), y).item() for seen in (ours, theirs, x))
    assert theirs > clean
    assert ours - clean >= share * (theirs - clean), (ours, theirs, clean)


def run_theirs(attack, task, radius):
    model, x, y = task
    return attack.run(foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu"), x, y, epsilon=radius)


def size(delta, norm):
    return np.linalg.norm(delta.double().flatten(1).numpy(), {"linf": np.inf, "l2": 2, "l1": 1}[norm], axis=1)


@pytest.mark.parametrize(("norm", "levels"), RADII)
@pytest.mark.parametrize("share", [1.0, 2.5])
def test_the_gain_is_no_smaller_than_that_of_foolbox(task, norm, levels, share):
    """From the clean image, as many steps of the same size."""
    model, x, y = task
    radius, step = levels / 255, share / STEPS
    theirs = run_theirs(THEIRS[norm](rel_stepsize=step, steps=STEPS, random_start=False), task, radius)
    found = pgd(model, x, y, radius, step * radius, STEPS, torch.zeros_like(x), norm)
    assert_no_smaller(task, x + found, theirs, x, y, SAME)


@pytest.mark.parametrize(("norm", "levels"), RADII)
def test_the_gain_from_a_random_start_is_no_smaller_either(task, norm, levels):
    """Up to what one draw differs from another by."""
    model, x, y = task
    radius, rel = levels / 255, 2.5 / STEPS
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = run_theirs(THEIRS[norm](rel_stepsize=rel, steps=STEPS, random_start=True), task, radius)
    draws = Draws(0, torch.arange(len(x)), 0)
    start = random_start(draws, radius, tuple(x.shape[1:]), norm, Purpose.ADVERSARY_START)
    found = pgd(model, x, y, radius, rel * radius, STEPS, start, norm)
    assert_no_smaller(task, x + found, theirs, x, y, 0.98)


class SparseDescent(foolbox.attacks.SparseL1DescentAttack):
    """Foolbox's, but noise that lies inside is left alone: its projection would throw that far out of the ball."""

    def project(self, x, x0, epsilon):
        outside = size((x - x0).raw, "l1") > epsilon * (1 + 1e-5)
        found = x.raw.clone()
        if outside.any():
            found[outside] = super().project(ep.astensor(x.raw[outside]), ep.astensor(x0.raw[outside]), epsilon).raw
        return ep.astensor(found)


@pytest.mark.parametrize("levels", [1000, 3000])
def test_the_gain_in_l1_is_no_smaller_than_that_of_sparse_descent(task, levels):
    """Each with its own step size: fifths of the radius are its default. Measured: 1.08 and 1.01 of its gain."""
    model, x, y = task
    radius = levels / 255
    theirs = run_theirs(SparseDescent(rel_stepsize=0.2, steps=STEPS), task, radius)
    assert size(theirs - x, "l1").max() <= radius * 1.01, "it may overshoot a little, which flatters it"
    found = pgd(model, x, y, radius, 2.5 / STEPS * radius, STEPS, torch.zeros_like(x), "l1")
    assert_no_smaller(task, x + found, theirs, x, y, 0.98)


@pytest.mark.parametrize(("norm", "levels"), RADII)
def test_every_iterate_lies_in_ball_and_box(task, norm, levels):
    model, x, y = task
    x, y, radius = x[::3], y[::3], levels / 255
    draws = Draws(0, torch.arange(len(x)), 0)
    start = random_start(draws, radius, tuple(x.shape[1:]), norm, Purpose.ADVERSARY_START)
    for steps in range(6):
        delta = pgd(model, x, y, radius, radius / 2, steps, start, norm)
        assert size(delta, norm).max() <= radius * (1 + 1e-6)
        assert (x + delta).min() >= 0
        assert (x + delta).max() <= 1
    assert size(delta, norm).max() > 0.99 * radius, "the ball binds"
