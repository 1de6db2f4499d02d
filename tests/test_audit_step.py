"""The training step of a victim against the same written out plainly, one image at a time, in float64.

Only the random numbers come from the product, because both sides must draw the same.
"""

import weakref
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from scipy.optimize import brentq
from torch import Tensor, nn

from rem_release.audit import victim
from rem_release.audit.learnability import perturbed_accuracies
from rem_release.audit.step import make_step
from rem_release.audit.victim import _measure_attack, batch_seed, build_victim, name_classes, train_victim
from rem_release.core.draws import Draws, Purpose, chain, uniform
from rem_release.core.norms import random_start
from rem_release.core.pgd import frozen_in_eval_mode
from rem_release.models import build_model
from rem_release.threats.images import Batch, TestImages, TrainingImages
from rem_release.threats.kinds.ueraser.augmentation import ueraser
from rem_release.threats.mixing import draw_partners, draw_weight
from rem_release.threats.threat import Threat, parse_threat
from rem_release.training.batches import batch_indices
from rem_release.verdict.accuracy import balanced_accuracy
from rem_release.verdict.plan import Task
from rem_release.verdict.recipe import AuditRecipe, parse_architecture
from tests.algorithm1 import cifar
from tests.audits import read_recipe

SIDE, CLASSES, SEED, STEP = 8, 3, 5, 5
INDICES = torch.tensor([7, 2, 9, 0, 4, 5])
RADII = {"linf": "8/255", "l2": "100/255", "l1": "1000/255"}


def levels() -> Tensor:
    """Ten images with black and white areas, so that the box counts: uint8 [10, 3, 8, 8]."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (10, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    images[:, :, :3], images[:, :, 6:] = 0, 255
    return images


LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])


class Wrapped(nn.Module):
    """What stands where DDP would; it notes what it is given, and how the model is then."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.inner = [model]  # not a submodule
        self.given: list[Tensor] = []
        self.modes: list[tuple[bool, bool, bool]] = []

    def forward(self, images: Tensor) -> Tensor:
        (model,) = self.inner
        self.given.append(images.detach().clone())
        training = all(module.training for module in model.modules())
        learning = all(parameter.requires_grad for parameter in model.parameters())
        self.modes.append((training, learning, torch.is_grad_enabled()))
        return model(images)


@dataclass
class Taken:
    """What one step did."""

    loss: Tensor
    seen: Tensor
    watched: list[tuple[float, float]]
    wrapped: Wrapped
    model: nn.Module


def fresh_model(dtype: torch.dtype = torch.float64) -> nn.Module:
    return build_model("small_vgg", CLASSES, SIDE, 1).to(dtype).train()


@pytest.fixture
def recipe(tmp_path) -> AuditRecipe:
    return read_recipe(tmp_path, adversary={"steps": 3, "relative_step_size": 0.5})


@pytest.fixture
def cropping(tmp_path) -> AuditRecipe:
    changes = {"victim__augmentation": "cifar", "adversary": {"steps": 3, "relative_step_size": 0.5}}
    return read_recipe(tmp_path, **changes)


def take_step(threat: str, recipe: AuditRecipe, images: Tensor | None = None, model: nn.Module | None = None) -> Taken:
    images = levels().double() / 255 if images is None else images
    model = fresh_model() if model is None else model
    wrapped, watched = Wrapped(model), []
    learnt = TrainingImages(images, LABELS, CLASSES)
    step = make_step(
        parse_threat(threat),
        recipe,
        learnt,
        SEED,
        lambda *seen: watched.append(tuple(float(value.detach()) for value in seen)),
    )
    loss = step(model, wrapped, INDICES, STEP)
    loss.backward()
    assert len(wrapped.given) == 1
    return Taken(loss.detach(), wrapped.given[0], watched, wrapped, model)


# the plain reference


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Of one image: −Σ target · log softmax."""
    return -(targets * (logits - torch.logsumexp(logits, 0))).sum()


def one_hot(label: int) -> Tensor:
    return torch.eye(CLASSES, dtype=torch.float64)[label]


def transformed(count: int = 1) -> tuple[list[Tensor], list[Tensor]]:
    """Images after the crop of each draw, draw by draw, with their targets."""
    numbers = uniform(Draws(SEED, INDICES, STEP).keys(Purpose.TRANSFORM, 0, count), 3).tolist()
    chosen = [int(index) for _ in range(count) for index in INDICES]
    x = [cifar(levels()[index].double() / 255, own) for index, own in zip(chosen, numbers, strict=True)]
    return x, [one_hot(int(LABELS[index])) for index in chosen]


def untransformed() -> tuple[list[Tensor], list[Tensor]]:
    return [levels()[i].double() / 255 for i in INDICES], [one_hot(int(LABELS[i])) for i in INDICES]


def nearest_in_ball_and_box(delta: np.ndarray, x: np.ndarray, radius: float, norm: str) -> np.ndarray:
    """By its Lagrange multiplier, found by Brent's method."""
    if norm == "linf":
        return np.clip(delta, np.maximum(-radius, -x), np.minimum(radius, 1 - x))

    def shrunk(multiplier: float) -> np.ndarray:
        smaller = delta / (1 + multiplier) if norm == "l2" else np.sign(delta) * np.maximum(abs(delta) - multiplier, 0)
        return np.clip(smaller, -x, 1 - x)

    def excess(multiplier: float) -> float:
        found = shrunk(multiplier)
        return (np.sqrt((found**2).sum()) if norm == "l2" else abs(found).sum()) - radius

    return shrunk(0) if excess(0) <= 0 else shrunk(brentq(excess, 0, 1e3, xtol=1e-14))


def steepest(gradient: np.ndarray, point: np.ndarray, length: float, radius: float, norm: str) -> np.ndarray:
    if norm == "linf":
        return length * np.sign(gradient)
    if norm == "l2":
        return length * gradient / np.sqrt((gradient**2).sum())
    move, left, parts = np.zeros(gradient.size), length, round(2 * radius)
    flat, values = gradient.flatten(), point.flatten()
    for place in np.argsort(-abs(flat), kind="stable"):
        room = 1 - values[place] if flat[place] > 0 else values[place]
        size = min(room, length / parts, left)
        move[place] = size * np.sign(flat[place])
        left -= size
    return move.reshape(gradient.shape)


def attacked(x: Tensor, target: Tensor, start: Tensor, radius: float, norm: str, model: nn.Module) -> Tensor:
    """Three steps of half the radius, against the model at rest."""
    model = model.eval()
    image = x.numpy()
    delta = nearest_in_ball_and_box(start.double().numpy(), image, radius, norm)
    for _ in range(3):
        point = torch.from_numpy(image + delta).requires_grad_()
        (gradient,) = torch.autograd.grad(cross_entropy(model(point[None])[0], target), point)
        delta = delta + steepest(gradient.numpy(), point.detach().numpy(), radius / 2, radius, norm)
        delta = nearest_in_ball_and_box(delta, image, radius, norm)
    return torch.from_numpy(image + delta)


def starts(norm: str, count: int = 1) -> Tensor:
    radius, draws = float(Fraction(RADII[norm])), Draws(SEED, INDICES, STEP)
    return random_start(draws, radius, (3, SIDE, SIDE), norm, Purpose.ADVERSARY_START, 0, count)


def attack_all(x: list[Tensor], targets: list[Tensor], norm: str, count: int = 1) -> list[Tensor]:
    radius, model = float(Fraction(RADII[norm])), fresh_model()
    each = zip(x, targets, starts(norm, count), strict=True)
    return [attacked(image, target, start, radius, norm, model) for image, target, start in each]


def expect(taken: Taken, x: list[Tensor], targets: list[Tensor]) -> None:
    """The step saw these images, and its loss and gradients are those of these targets."""
    torch.testing.assert_close(taken.seen, torch.stack(x), atol=1e-6, rtol=0)
    model = fresh_model()
    logits = model(torch.stack(x))
    loss = sum(cross_entropy(*pair) for pair in zip(logits, targets, strict=True)) / len(x)
    loss.backward()
    torch.testing.assert_close(taken.loss, loss.detach(), atol=1e-5, rtol=0)
    for ours, plain in zip(taken.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, plain.grad, atol=1e-4, rtol=1e-3)
    for ours, plain in zip(taken.model.buffers(), model.buffers(), strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-4)


# the step


def test_standard_training(recipe):
    taken = take_step("standard", recipe)
    x, targets = untransformed()
    expect(taken, x, targets)
    hits = (fresh_model()(torch.stack(x)).argmax(1) == LABELS[INDICES]).double().mean()
    assert taken.watched == [(pytest.approx(float(taken.loss)), pytest.approx(float(hits)))]


def test_levels_become_fractions(recipe):
    taken = take_step("standard", recipe, levels(), fresh_model(torch.float32))
    assert taken.seen.dtype == torch.float32
    torch.testing.assert_close(taken.seen.double(), torch.stack(untransformed()[0]))


def test_flips_and_crops(cropping):
    expect(take_step("standard", cropping), *transformed())


@pytest.mark.parametrize("norm", RADII)
def test_adversarial_training(norm, cropping):
    x, targets = transformed()
    taken = take_step(f"pgd(radius={RADII[norm]},norm={norm})", cropping)
    expected = attack_all(x, targets, norm)
    moved = torch.stack(expected) - torch.stack(x)
    assert moved.flatten(1).abs().amax(1).min() > 1e-3
    expect(taken, expected, targets)


def test_a_victim_that_knows_the_method_averages_over_its_draws(cropping):
    taken = take_step("eot(samples=3)", cropping)
    x, targets = transformed(3)
    assert taken.seen.shape == (18, 3, SIDE, SIDE)
    assert not torch.equal(taken.seen[:6], taken.seen[6:12])
    expect(taken, x, targets)
    assert len(taken.watched) == 1


def test_every_draw_of_a_victim_that_knows_the_method_is_attacked_on_its_own(cropping):
    x, targets = transformed(2)
    taken = take_step(f"eot(samples=2)+pgd(radius={RADII['linf']})", cropping)
    expect(taken, attack_all(x, targets, "linf", 2), targets)


def mixed_up(x: list[Tensor], targets: list[Tensor], alpha: float) -> tuple[list[Tensor], list[Tensor]]:
    draws = Draws(SEED, INDICES, STEP)
    share, partners = draw_weight(draws, alpha), draw_partners(draws).tolist()
    assert 0.02 < share < 0.98
    assert partners != list(range(6))
    pairs = [(number, partner) for number, partner in enumerate(partners)]
    images = [share * x[one] + (1 - share) * x[other] for one, other in pairs]
    return images, [share * targets[one] + (1 - share) * targets[other] for one, other in pairs]


def test_mixup_blends_images_and_targets(cropping):
    x, targets = mixed_up(*transformed(), alpha=0.7)
    assert any(target.max() < 1 for target in targets)
    expect(take_step("mixup(alpha=0.7)", cropping), x, targets)


def test_the_adversary_ascends_the_loss_of_blended_targets(cropping):
    x, targets = mixed_up(*transformed(), alpha=1.0)
    expect(take_step(f"mixup+pgd(radius={RADII['l2']},norm=l2)", cropping), attack_all(x, targets, "l2"), targets)


def test_cutmix_pastes_a_square_and_blends_targets_by_its_area(cropping):
    x, targets = transformed()
    draws = Draws(SEED, INDICES, STEP)
    _, down, across = uniform(chain(torch.tensor(SEED), int(Purpose.MIX), STEP), 3).tolist()
    side = int(SIDE * (1 - draw_weight(draws, 1.0)) ** 0.5)
    top, left = int(down * SIDE) - side // 2, int(across * SIDE) - side // 2
    inside = [(i, j) for i in range(SIDE) for j in range(SIDE) if top <= i < top + side and left <= j < left + side]
    assert 0 < len(inside) < SIDE**2
    share, images, blended = len(inside) / SIDE**2, [], []
    for number, partner in enumerate(draw_partners(draws).tolist()):
        image = x[number].clone()
        for i, j in inside:
            image[:, i, j] = x[partner][:, i, j]
        images.append(image)
        blended.append((1 - share) * targets[number] + share * targets[partner])
    expect(take_step("cutmix", cropping), images, blended)


def cut_out(x: list[Tensor], share: float) -> list[Tensor]:
    side = round(share * SIDE)
    centres = uniform(Draws(SEED, INDICES, STEP).keys(Purpose.CUTOUT), 2).tolist()
    images = []
    for image, (down, across) in zip(x, centres, strict=True):
        top, left = int(down * SIDE) - side // 2, int(across * SIDE) - side // 2
        images.append(image.clone())
        images[-1][:, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = 0.5
    return images


def test_cutout_blanks_a_square_of_each_image_and_keeps_its_label(cropping):
    x, targets = transformed()
    expect(take_step("cutout(share=0.4)", cropping), cut_out(x, 0.4), targets)


def test_augmentations_come_before_the_adversary_in_one_order(cropping):
    x, targets = transformed()
    x, targets = mixed_up(cut_out(x, 0.5), targets, alpha=1.0)
    threat = f"pgd(radius={RADII['linf']})+mixup+cutout"
    expect(take_step(threat, cropping), attack_all(x, targets, "linf"), targets)


def erased(x: list[Tensor], count: int) -> list[Tensor]:
    """Draws of UEraser of the whole batch: `count` of [6, 3, 8, 8]."""
    key = chain(torch.tensor(SEED), int(Purpose.COLOUR), STEP)
    return [ueraser(torch.stack(x), int(chain(key, k)) & (2**63 - 1)) for k in range(count)]


def test_ueraser_lite_learns_one_draw(cropping):
    x, targets = transformed()
    expect(take_step("ueraser", cropping), list(erased(x, 1)[0]), targets)


def test_ueraser_max_learns_of_five_draws_the_worst_of_each_image(cropping):
    x, targets = transformed()
    draws, model = erased(x, 5), fresh_model().eval()
    worst = []
    for number, target in enumerate(targets):
        losses = [cross_entropy(model(draw[number][None])[0], target).item() for draw in draws]
        worst.append(int(np.argmax(losses)))
    assert len(set(worst)) > 1
    chosen = [draws[k][number] for number, k in enumerate(worst)]
    expect(take_step("ueraser(mode=max)", cropping), chosen, targets)
    threat = f"ueraser(mode=max)+pgd(radius={RADII['linf']})"
    expect(take_step(threat, cropping), attack_all(chosen, targets, "linf"), targets)


EVERY_KIND = ["standard", "ueraser(mode=max)", *(f"pgd(radius={RADII[norm]},norm={norm})" for norm in RADII)]


@pytest.mark.parametrize("threat", [*EVERY_KIND, f"eot(samples=2)+pgd(radius={RADII['linf']})"])
def test_only_the_last_forward_touches_the_wrapped_model_and_learns(threat, cropping):
    """`take_step` asserts that there is one; `expect` that BatchNorm has seen one batch, the last."""
    taken = take_step(threat, cropping)
    assert taken.wrapped.modes == [(True, True, True)]
    counts = [value for name, value in taken.model.named_buffers() if name.endswith("num_batches_tracked")]
    assert counts
    assert set(map(int, counts)) == {1}


@pytest.mark.parametrize("threat", EVERY_KIND)
def test_the_adversary_leaves_the_model_as_it_was(threat, cropping):
    model = fresh_model()
    weights = {name: value.clone() for name, value in model.named_parameters()}
    first = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    first.eval()  # one layer at rest and one that does not learn stay so
    first.weight.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    learning = [parameter.requires_grad for parameter in model.parameters()]
    buffers = {name: value.clone() for name, value in first.named_buffers()}
    take_step(threat, cropping, model=model)
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == learning
    assert all(torch.equal(value, weights[name]) for name, value in model.named_parameters())
    assert all(torch.equal(value, buffers[name]) for name, value in first.named_buffers())


def test_draws_are_of_the_image_and_the_step_not_of_the_batch(cropping):
    step_of = {}
    for name, indices, number in (("whole", INDICES, 4), ("part", INDICES[[3, 1]], 4), ("later", INDICES, 6)):
        model = fresh_model()
        wrapped = Wrapped(model)
        learnt = TrainingImages(levels().double() / 255, LABELS, CLASSES)
        make_step(parse_threat("cutout"), cropping, learnt, SEED, lambda *_: None)(model, wrapped, indices, number)
        step_of[name] = wrapped.given[0]
    assert torch.equal(step_of["part"], step_of["whole"][[3, 1]])
    assert not torch.equal(step_of["later"], step_of["whole"])


@pytest.mark.parametrize(
    ("threat", "passes"),
    [
        ("standard", 1),
        ("jpeg(quality=10)", 1),
        ("pgd(radius=1/255)", 4),
        ("eot(samples=2)", 2),
        ("eot(samples=2)+pgd(radius=1/255)", 8),
        ("fat(radius=1/255)", 4),
        ("trades(radius=1/255)", 5 + 1 / 3),
        ("eot(samples=2)+trades(radius=1/255)", 10 + 2 / 3),
        ("ueraser", 1),
        ("ueraser(mode=max)", 1 + 5 / 3),
    ],
)
def test_the_cost_of_a_step(threat, passes, recipe):
    assert parse_threat(threat).passes(recipe.adversary) == pytest.approx(passes)


# the adversary that is measured at the end


def test_the_adversary_on_its_own(recipe):
    x, y = levels().double() / 255, LABELS
    assert Threat().adversary is None
    batch = Batch(x, y, y, CLASSES, Draws(SEED, torch.arange(len(x)), 80))
    with frozen_in_eval_mode(fresh_model()) as model:
        start, end = parse_threat("pgd(radius=8/255)").perturb(model, batch, recipe.adversary)
        losses = [F.cross_entropy(model(x + delta), y) for delta in (start.clamp(-x, 1 - x), end)]
    assert end.abs().max() <= 8 / 255 + 1e-12
    assert losses[1] > losses[0] + 1e-3
    assert start.abs().max() <= 8 / 255


# victims


def make_task(seed: int = 0, threat: str = "standard", network: str = "small_vgg") -> Task:
    return Task(parse_architecture(network), parse_threat(threat), "clean", seed)


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_a_victim_does_not_start_where_a_source_model_of_that_seed_starts(seed):
    source = build_model("small_vgg", CLASSES, SIDE, seed).state_dict()
    ours = build_victim(make_task(seed), CLASSES, SIDE).state_dict()
    again = build_victim(make_task(seed), CLASSES, SIDE).state_dict()
    other = build_victim(make_task(seed + 1), CLASSES, SIDE).state_dict()
    drawn = [name for name in source if name.endswith("weight") and source[name].ndim > 1]
    assert len(drawn) == 5
    for name in drawn:
        assert torch.equal(ours[name], again[name])
        assert not torch.equal(ours[name], source[name])
        assert not torch.equal(ours[name], other[name])


def test_a_victim_does_not_see_the_batches_of_a_source_model():
    ours = [batch_seed(seed) for seed in range(50)]
    assert len({*ours, *range(50)}) == 100
    for seed in (0, 1, 7):
        assert not torch.equal(batch_indices(batch_seed(seed), 0, 100, 20), batch_indices(seed, 0, 100, 20))


def test_the_batches_of_a_victim_are_of_its_own_seed(tmp_path):
    """A victim of one image a class, one step: the batch decides the weights."""
    recipe = read_recipe(
        tmp_path, victim__epochs=0.01, victim__least_steps=1, victim__evaluations=1, victim__batch_size=4
    )
    learnt = TrainingImages(levels(), LABELS, CLASSES)
    found = train_victim(Accelerator(cpu=True), make_task(3), recipe, learnt, 10, levels(), LABELS)
    model = build_victim(make_task(3), CLASSES, SIDE).train()
    batch = batch_indices(batch_seed(3), 0, 10, 4)
    loss = F.cross_entropy(model(levels()[batch].float() / 255), LABELS[batch])
    loss.backward()
    settings = recipe.victim
    for ours, plain in zip(found.model.parameters(), model.parameters(), strict=True):
        expected = plain - settings.learning_rate * (plain.grad + settings.weight_decay * plain)
        torch.testing.assert_close(ours.detach(), expected.detach(), atol=1e-5, rtol=1e-4)
    assert found.curves.loss == [pytest.approx(loss.item(), abs=1e-5)]


def test_what_a_trained_victim_leaves(tmp_path):
    changes = {"victim__epochs": 0.01, "victim__least_steps": 7, "victim__evaluations": 3, "victim__batch_size": 5}
    recipe = read_recipe(tmp_path, **changes)
    learnt, ticks = TrainingImages(levels(), LABELS, CLASSES), []
    task = make_task(threat="pgd(radius=8/255)")
    tests = (levels().flip(-1), LABELS)
    found = train_victim(Accelerator(cpu=True), task, recipe, learnt, 10, *tests, lambda *at: ticks.append(at))
    assert ticks == [(step, 7) for step in range(1, 8)]
    assert found.curves.steps == [2, 5, 7]
    assert len(found.curves.loss) == len(found.curves.train_accuracy) == 3
    assert found.named.shape == (3, 10)
    np.testing.assert_array_equal(found.named[-1], name_classes(found.model, tests[0]))
    correct = found.named[-1] == LABELS.numpy()
    assert found.curves.test_accuracy[-1] == pytest.approx(float(balanced_accuracy(correct, LABELS.numpy())), abs=1e-6)
    fitted = name_classes(found.model, levels()) == LABELS.numpy()
    assert found.fit == pytest.approx(float(balanced_accuracy(fitted, LABELS.numpy())))
    assert found.attack_gain is not None
    assert train_victim(Accelerator(cpu=True), make_task(), recipe, learnt, 10, *tests).attack_gain is None


def test_what_pgd_gains_is_a_part_of_the_loss_so_that_networks_that_fit_well_are_no_suspects(tmp_path):
    """A sound network that has learnt its images by heart leaves PGD little to raise, and it raises that by far."""
    recipe = read_recipe(tmp_path, victim__least_steps=60, victim__batch_size=10, victim__learning_rate=0.05)
    learnt, task = TrainingImages(levels(), LABELS, CLASSES), make_task(threat="pgd(radius=2/255)")
    found = train_victim(Accelerator(cpu=True), task, recipe, learnt, 10, levels(), LABELS)
    assert found.curves.loss[-1] < 0.05
    assert found.attack_gain > 0.01
    with torch.no_grad():
        found.model.network.classifier.weight.zero_()  # nothing of the image reaches its answer
    assert _measure_attack(found.model, task, recipe, learnt, 60, 10) == pytest.approx(0, abs=1e-6)


def test_more_evaluations_than_steps_and_more_images_asked_than_there_are(tmp_path):
    recipe = read_recipe(tmp_path, victim__least_steps=2, victim__evaluations=9, victim__batch_size=64)
    learnt = TrainingImages(levels(), LABELS, CLASSES)
    found = train_victim(Accelerator(cpu=True), make_task(), recipe, learnt, 10, levels(), LABELS)
    assert found.curves.steps == [1, 2]


@pytest.mark.parametrize("steps", [1, 3])
def test_a_victim_that_diverges_is_told_from_one_that_learns_nothing(steps, tmp_path):
    """With one step no loss is seen after the weights went astray."""
    changes = {
        "victim__epochs": 0.01,
        "victim__least_steps": steps,
        "victim__evaluations": 1,
        "victim__learning_rate": 1.0e38,
    }
    recipe = read_recipe(tmp_path, **changes)
    learnt = TrainingImages(levels(), LABELS, CLASSES)
    found = train_victim(Accelerator(cpu=True), make_task(), recipe, learnt, 10, levels(), LABELS)
    assert found.model is None
    assert found.named.shape == (1, 10)
    assert found.fit == 0
    assert found.attack_gain is None


def test_answers_are_counted_at_rest_and_whatever_the_batch():
    model = fresh_model(torch.float32)
    images = levels().repeat(60, 1, 1, 1)  # more than one batch
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = name_classes(model, images)
    assert found.shape == (600,)
    assert found.dtype == np.int32
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()
    one_by_one = [int(model(image[None].float() / 255).argmax()) for image in levels()]
    np.testing.assert_array_equal(found, np.tile(one_by_one, 60))


def test_the_attack_is_measured_in_batches_no_larger_than_those_of_the_training(tmp_path, monkeypatch):
    """A batch of all that is measured could take more memory than the training that is done."""
    recipe = read_recipe(tmp_path, victim__least_steps=2, victim__batch_size=4)
    learnt, task = TrainingImages(levels(), LABELS, CLASSES), make_task(threat="pgd(radius=8/255)")
    sizes, ids = [], []

    def noting(hook):
        def note(threat, model, batch, adversary):
            sizes.append(len(batch.images))
            ids.extend(batch.draws.ids.tolist())
            return hook(threat, model, batch, adversary)

        return note

    for hook in ("perturb", "attack"):
        monkeypatch.setattr(Threat, hook, noting(getattr(Threat, hook)))
    found = train_victim(Accelerator(cpu=True), task, recipe, learnt, 10, levels(), LABELS)
    assert max(sizes) == 4
    assert sizes[-3:] == [4, 4, 2]
    assert ids[-10:] == list(range(10))
    whole = _measure_attack(found.model, task, recipe, learnt, found.curves.steps[-1], 10)
    assert found.attack_gain == pytest.approx(whole, rel=1e-4)  # float32 losses of other batches


def test_a_victim_that_diverged_does_not_stay_in_memory(tmp_path, monkeypatch):
    """Accelerate keeps what it prepared until it is told, and a network with a loss of NaN is of no more use."""
    made = []
    build = victim.build_victim

    def note(*given):
        made.append(weakref.ref(model := build(*given)))
        return model

    monkeypatch.setattr(victim, "build_victim", note)
    recipe = read_recipe(tmp_path, victim__least_steps=3, victim__learning_rate=1.0e38)
    accelerator = Accelerator(cpu=True)
    learnt = TrainingImages(levels(), LABELS, CLASSES)
    assert train_victim(accelerator, make_task(), recipe, learnt, 10, levels(), LABELS).model is None
    assert [ref() for ref in made] == [None]


def test_test_images_are_transformed_a_batch_at_a_time():
    model, images, sizes = fresh_model(torch.float32), levels().repeat(60, 1, 1, 1), []

    def darken(floats):
        sizes.append(len(floats))
        return floats * 0.5

    tests = TestImages(images, (darken, darken))
    assert (len(tests), tests.shape) == (600, images.shape)
    np.testing.assert_array_equal(name_classes(model, tests), name_classes(model, images.float() / 255 * 0.25))
    assert sizes == [500, 500, 100, 100]
    answers = perturbed_accuracies(model, tests, LABELS.repeat(60), 1, 1e-9, 0)
    assert answers == pytest.approx((name_classes(model, tests) == LABELS.repeat(60).numpy()).mean())
