"""Friendly adversarial training against its Algorithm 1 written out plainly in float64, one image at a time."""

import pytest
import torch
from torch import Tensor, nn

from rem_release.core.draws import Draws
from rem_release.core.norms import project
from rem_release.models import build_model
from rem_release.threats.adversary import Adversary
from rem_release.threats.images import Batch
from rem_release.threats.kinds.fat import stop_early
from rem_release.threats.threat import parse_threat

SIDE, CLASSES, COUNT, STEPS = 8, 3, 24, 4
RADII = {"linf": "8/255", "l2": "100/255", "l1": "1000/255"}
ADVERSARY = Adversary(steps=STEPS, relative_step_size=0.3)
DRAWS = Draws(3, torch.arange(COUNT), 5)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """At rest, in float64; it prefers no class on average, so that small steps mislead it."""
    found = build_model("small_vgg", CLASSES, SIDE, 1).double().eval().requires_grad_(False)
    found.network.classifier.bias -= found(draw_images()).mean(0)
    return found


def draw_images() -> Tensor:
    """With black and white areas, so that the box counts: float64 [24, 3, 8, 8]."""
    images = torch.rand(COUNT, 3, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    images[:, :, :3], images[:, :, 6:] = 0, 1
    return images


def choose_labels(model: nn.Module) -> Tensor:
    """Of three images in turn the likeliest class, which some steps mislead, the second, and the last."""
    ranked = model(draw_images()).argsort(1, descending=True)
    return ranked.gather(1, (torch.arange(COUNT) % 3)[:, None])[:, 0]


def perturb(text: str, model: nn.Module, targets: Tensor) -> tuple[Tensor, Tensor]:
    labels = targets.argmax(1) if targets.is_floating_point() else targets
    batch = Batch(draw_images(), labels, targets, CLASSES, DRAWS)
    start, end = parse_threat(text).perturb(model, batch, ADVERSARY)
    return start, end.detach()


def attacked(model: nn.Module, image: Tensor, label: int, start: Tensor, tau: int) -> tuple[Tensor, int]:
    """Algorithm 1 on one image, in L∞: what is added to it, and how many steps were taken."""
    radius, taken = 8 / 255, 0
    seen = (image + start).clamp(image - radius, image + radius).clamp(0, 1)
    while taken < STEPS:
        seen = seen.detach().requires_grad_()
        logits = model(seen[None])[0]
        if int(logits.argmax()) != label:
            if tau == 0:
                break
            tau -= 1
        (gradient,) = torch.autograd.grad(-logits.log_softmax(0)[label], seen)
        seen = (seen + 0.3 * radius * gradient.sign()).clamp(image - radius, image + radius).clamp(0, 1)
        taken += 1
    return (seen - image).detach(), taken


@pytest.mark.parametrize("tau", [0, 1, 2])
def test_each_image_stops_as_algorithm_1_stops_it(tau: int, model: nn.Module) -> None:
    labels = choose_labels(model)
    start, end = perturb(f"fat(radius=8/255,tau={tau})", model, labels)
    each = zip(draw_images(), labels.tolist(), start.double(), strict=True)
    expected, taken = zip(*(attacked(model, *given, tau) for given in each), strict=True)
    torch.testing.assert_close(end, torch.stack(expected), atol=1e-12, rtol=0)
    assert {tau, STEPS} < set(taken), "some are misclassified at once, some on the way and some never"


@pytest.mark.parametrize("norm", RADII)
def test_with_as_many_steps_as_there_are_it_is_pgd(norm: str, model: nn.Module) -> None:
    labels = choose_labels(model)
    ball = f"radius={RADII[norm]},norm={norm}"
    plain = perturb(f"pgd({ball})", model, labels)
    for tau in (STEPS, STEPS + 1, 10_000):
        assert all(map(torch.equal, perturb(f"fat({ball},tau={tau})", model, labels), plain))
    assert not torch.equal(perturb(f"fat({ball},tau={STEPS - 1})", model, labels)[1], plain[1])


@pytest.mark.parametrize("norm", RADII)
def test_what_is_misclassified_at_once_is_not_moved_where_tau_is_0(norm: str, model: nn.Module) -> None:
    labels, radius = choose_labels(model), {"linf": 8 / 255, "l2": 100 / 255, "l1": 1000 / 255}[norm]
    start, end = perturb(f"fat(radius={RADII[norm]},norm={norm},tau=0)", model, labels)
    begun = project(start, draw_images(), radius, norm)
    is_fooled = model(draw_images() + begun).argmax(1) != labels
    assert 8 <= int(is_fooled.sum()) < COUNT
    torch.testing.assert_close(end[is_fooled], begun[is_fooled].double(), atol=0 if norm == "linf" else 1e-6, rtol=0)
    moved = (end - begun).flatten(1).abs().amax(1)
    assert moved[~is_fooled].min() > 1e-3


def test_of_blended_targets_the_likeliest_class_is_the_right_one(model: nn.Module) -> None:
    """An image that mixup blends with a third of another is still its own."""
    labels = choose_labels(model)
    targets = torch.eye(CLASSES, dtype=torch.float64)[labels] * 0.7 + 0.1
    start, end = perturb("fat(radius=8/255,tau=0)", model, targets)
    begun = project(start, draw_images(), 8 / 255)
    is_moved = (end - begun).flatten(1).abs().amax(1) > 0
    assert torch.equal(is_moved, model(draw_images() + begun).argmax(1) == labels)


def test_steps_are_counted_while_it_is_misclassified_and_what_has_stopped_stays() -> None:
    """Of τ = 1: right, misclassified, right again, misclassified, and whatever comes then."""
    right, wrong = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    loss, label = stop_early(torch.tensor([0]), 1), torch.tensor([0])
    found = [bool(loss(logits, label) > 0) for logits in (right, wrong, right, wrong, right, wrong)]
    assert found == [True, True, True, False, False, False]


def test_images_do_not_wait_for_each_other(model: nn.Module) -> None:
    """What an image's attack finds is the same in a batch of others."""
    labels = choose_labels(model)
    whole = perturb("fat(radius=8/255)", model, labels)[1]
    some = torch.tensor([1, 2, 9, 15])
    batch = Batch(draw_images()[some], labels[some], labels[some], CLASSES, Draws(3, some, 5))
    part = parse_threat("fat(radius=8/255)").perturb(model, batch, ADVERSARY)[1]
    torch.testing.assert_close(part.detach(), whole[some], atol=1e-12, rtol=0)
