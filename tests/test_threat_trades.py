"""TRADES against the same written out plainly in float64, one image at a time; an audit with it and with FAT."""

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rem_release.audit.step import make_step
from rem_release.core.draws import Draws
from rem_release.core.pgd import frozen_in_eval_mode
from rem_release.models import build_model
from rem_release.threats.adversary import Adversary
from rem_release.threats.images import Batch, TrainingImages
from rem_release.threats.kinds.trades import Trades, divergence, draw_near
from rem_release.threats.threat import parse_threat
from rem_release.training.precision import prepare_model
from tests.audit_commands import LEARNING, draw_colours, fall_short, protect
from tests.audits import read_recipe, read_victims, write_audit_recipe
from tests.command_line import snapshot, succeed

SIDE, CLASSES, RADIUS, BETA = 8, 3, 8 / 255, 2.0
ADVERSARY = Adversary(steps=3, relative_step_size=0.5)
LABELS = torch.arange(6) % CLASSES


def levels(count: int = 6) -> Tensor:
    """With black and white areas, so that the box counts: uint8 [N, 3, 8, 8]."""
    images = torch.randint(0, 256, (count, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    images[:, :, :3], images[:, :, 6:] = 0, 255
    return images.to(torch.uint8)


def greys(count: int = 6) -> Tensor:
    """Far from black and white, so that the box does not: float64 [N, 3, 8, 8]."""
    return 0.3 + 0.4 * torch.rand(count, 3, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def batch_of(images: Tensor, labels: Tensor = LABELS, step: int = 5, seed: int = 3) -> Batch:
    return Batch(images, labels, labels, CLASSES, Draws(seed, torch.arange(len(images)), step))


def fresh_model() -> nn.Module:
    return build_model("small_vgg", CLASSES, SIDE, 1).double().train()


class Linear(nn.Module):
    """Two classes, whose margin is linear in the image."""

    def __init__(self) -> None:
        super().__init__()
        weights = torch.randn(3 * SIDE * SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        self.weights = nn.Parameter(weights)

    def forward(self, images: Tensor) -> Tensor:
        margin = (images - 0.5).flatten(1) @ self.weights
        return torch.stack([margin, -margin], dim=1)


# the plain reference


def apart(answered: Tensor, wanted: Tensor) -> Tensor:
    """Of the logits of one image: Σ p · log(p / q), p being what is wanted."""
    p, q = wanted.exp() / wanted.exp().sum(), answered.exp() / answered.exp().sum()
    return (p * (p / q).log()).sum()


def attacked(model: nn.Module, image: Tensor, start: Tensor, norm: str) -> Tensor:
    """Where the adversary of one image ends."""
    wanted, seen = model(image[None])[0].detach(), (image + start).clamp(0, 1)
    for _ in range(ADVERSARY.steps):
        seen = seen.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(apart(model(seen[None])[0], wanted), seen)
        step = RADIUS * ADVERSARY.relative_step_size
        if norm == "linf":
            moved = (seen + step * gradient.sign()).clamp(image - RADIUS, image + RADIUS)
        else:
            moved = (seen + step * gradient / gradient.norm() - image).detach()
            moved = image + moved * min(1, RADIUS / float(moved.norm()))
        seen = moved.clamp(0, 1)
    return (seen - image).detach()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_adversary_raises_the_divergence_from_what_is_answered_to_the_image(norm: str) -> None:
    images = levels().double() / 255 if norm == "linf" else greys()
    with frozen_in_eval_mode(fresh_model()) as model:
        threat = parse_threat(f"trades(radius=8/255,norm={norm})")
        start, end = threat.perturb(model, batch_of(images), ADVERSARY)
        pairs = zip(images, start.double(), strict=True)
        expected = torch.stack([attacked(model, image, begun, norm) for image, begun in pairs])
        rises = [float(divergence(model(images + delta), model(images).log_softmax(1))) for delta in (start, end)]
    torch.testing.assert_close(end, expected, atol=1e-9, rtol=0)
    assert rises[1] > 10 * rises[0]
    other = batch_of(images, (LABELS + 1) % CLASSES)
    with frozen_in_eval_mode(fresh_model()) as model:
        assert torch.equal(threat.perturb(model, other, ADVERSARY)[1], end), "it reads no labels"


def test_on_a_linear_model_it_goes_on_in_the_direction_that_the_start_took() -> None:
    """Two classes drift apart whichever way the margin moves, so every pixel ends on its side of the ball."""
    model = Linear().requires_grad_(False)
    start, end = parse_threat("trades(radius=8/255)").perturb(model, batch_of(greys()), ADVERSARY)
    directions = (start.double().flatten(1) @ model.weights).sign()
    assert set(directions.tolist()) == {-1.0, 1.0}
    expected = RADIUS * directions[:, None] * model.weights.sign()
    torch.testing.assert_close(end.flatten(1), expected, atol=1e-9, rtol=0)


def test_the_start_is_normal_and_of_image_step_and_draw_alone() -> None:
    images = torch.rand(40, 3, 32, 32)
    start = draw_near(batch_of(images))
    assert start.shape == images.shape
    assert float(start.mean()) == pytest.approx(0, abs=1e-5)
    assert float(start.std()) == pytest.approx(0.001, rel=0.01)
    within = float((start.abs() < 0.001).double().mean())
    assert within == pytest.approx(0.6827, abs=0.005), "one standard deviation holds so many of a normal distribution"
    assert torch.equal(draw_near(batch_of(images[:7])), start[:7])
    assert not torch.equal(draw_near(batch_of(images, step=6)), start)
    twice = draw_near(Batch(images, LABELS, LABELS, CLASSES, Draws(3, torch.arange(20), 5)))
    assert torch.equal(twice[:20], start[:20])
    assert not torch.equal(twice[20:], twice[:20]), "each draw of an image has its own"
    of_pgd = Trades(radius="1").draw_start(batch_of(images))
    assert abs(float(torch.corrcoef(torch.stack([start.flatten(), of_pgd.flatten()]))[0, 1])) < 0.02


@pytest.mark.parametrize("text", ["trades(radius=8/255)", "trades(radius=1,norm=l2)", "fat(radius=8/255,tau=0)"])
def test_masked_gradients_are_looked_for_by_pgd(text: str) -> None:
    """TRADES may as well make a network surer, and lower its loss; friendly training stops on its way."""
    threat = parse_threat(text)
    assert threat.ball is not None
    norm, radius = threat.ball
    plain = parse_threat(f"pgd(radius={radius},norm={norm})")
    with frozen_in_eval_mode(fresh_model()) as model:
        found = [each.attack(model, batch_of(greys()), ADVERSARY) for each in (threat, plain)]
        assert all(map(torch.equal, *found))
        assert not torch.equal(threat.perturb(model, batch_of(greys()), ADVERSARY)[1], found[0][1])


@settings(max_examples=30)
@given(
    radius=st.sampled_from(["0.01/255", "1/255", "30/255", "1"]),
    norm=st.sampled_from(["linf", "l2", "l1"]),
    threat=st.sampled_from(["trades", "fat"]),
    seed=st.integers(0, 1000),
    steps=st.integers(1, 4),
)
def test_perturbations_stay_in_ball_and_box(radius: str, norm: str, threat: str, seed: int, steps: int) -> None:
    images = torch.rand(6, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)).mul(1.4).sub(0.2).clamp(0, 1)
    model = Linear().float().requires_grad_(False)
    part = parse_threat(f"{threat}(radius={radius},norm={norm})")
    adversary = Adversary(steps=steps, relative_step_size=0.7)
    end = part.perturb(model, batch_of(images, LABELS % 2, seed=seed), adversary)[1].detach()
    order = {"linf": torch.inf, "l2": 2, "l1": 1}[norm]
    assert part.ball == (norm, Fraction(radius.partition("/")[0]) / (255 if "/" in radius else 1))
    assert (end.double().flatten(1).norm(order, dim=1) <= float(part.ball[1]) * (1 + 1e-5)).all()
    assert ((images + end).double() >= -1e-7).all()
    assert ((images + end).double() <= 1 + 1e-7).all()


# the loss


def take_step(text: str, folder: Path, model: nn.Module, images: Tensor, **changes: object) -> tuple[Tensor, Tensor]:
    """The loss of a step, whose gradients are left in the model, and what the network was given."""
    adversary = {"steps": ADVERSARY.steps, "relative_step_size": ADVERSARY.relative_step_size}
    recipe = read_recipe(folder, adversary=adversary, **changes)
    given: list[Tensor] = []

    def wrapped(x: Tensor) -> Tensor:
        given.append(x.detach())
        return model(x)

    learnt = TrainingImages(images, LABELS, CLASSES)
    step = make_step(parse_threat(text), recipe, learnt, 3, lambda *_: None)
    loss = step(model, wrapped, torch.arange(len(LABELS)), 5)
    loss.backward()
    assert len(given) == 1, "the network that processes share is called once"
    return loss.detach(), given[0]


def expect(model: nn.Module, loss: Tensor, images: Tensor, seen: Tensor, targets: Tensor) -> None:
    """Loss and gradients are those of the cross-entropy of images, plus β times how far apart answers are."""
    plain = fresh_model()
    clean, other = plain(torch.cat([images, seen])).chunk(2)
    learnt = -(targets * clean.log_softmax(1)).sum(1).mean()
    expected = learnt + BETA * torch.stack([apart(*pair) for pair in zip(other, clean, strict=True)]).mean()
    expected.backward()
    torch.testing.assert_close(loss, expected.detach())
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-9, rtol=1e-6)


def test_the_loss_is_that_of_the_images_and_of_how_far_apart_answers_are(tmp_path: Path) -> None:
    """Both halves learn, also what is answered to the images themselves."""
    model, images = fresh_model(), levels().double() / 255
    loss, given = take_step(f"trades(radius=8/255,beta={BETA})", tmp_path, model, images)
    x, seen = given.chunk(2)
    assert torch.equal(x, images)
    with frozen_in_eval_mode(fresh_model()) as network:
        end = parse_threat("trades(radius=8/255)").perturb(network, batch_of(images), ADVERSARY)[1]
    torch.testing.assert_close(seen, images + end, atol=1e-9, rtol=0)
    expect(model, loss, images, seen, torch.eye(CLASSES, dtype=torch.float64)[LABELS])
    answered = parse_threat("trades(radius=8/255)").loss(fresh_model(), replace(batch_of(images), noise=end))[1]
    torch.testing.assert_close(answered, fresh_model()(torch.cat([images, images + end]))[: len(images)])


@pytest.mark.parametrize(("other", "draws"), [("mixup", 1), ("eot(samples=2)", 2), ("cutout", 1)])
def test_it_goes_together_with_what_changes_batches(other: str, draws: int, tmp_path: Path) -> None:
    model, images = fresh_model(), levels().double() / 255
    changes = {"victim__augmentation": "cifar" if draws > 1 else "none"}
    loss, given = take_step(f"{other}+trades(radius=8/255,beta={BETA})", tmp_path, model, images, **changes)
    x, seen = given.chunk(2)
    assert len(x) == draws * len(LABELS)
    assert 1e-3 < (seen - x).abs().max() <= RADIUS + 1e-9
    targets = torch.eye(CLASSES, dtype=torch.float64)[LABELS].repeat(draws, 1)
    if other == "mixup":
        from rem_release.threats.kinds.mixup import mixup

        targets = mixup(images, targets, Draws(3, torch.arange(len(LABELS)), 5))[1]
        assert targets.max(1).values.min() < 1
    expect(model, loss, x, seen, targets)


def test_the_divergence_of_answers_that_are_sure_has_a_gradient() -> None:
    """A class of probability e⁻³⁰⁰ is one of 0 in float32, whose logarithm would spoil the gradient of all."""
    sure = torch.tensor([[300.0, 0.0, 0.0], [0.0, 0.0, 1.0]], requires_grad=True)
    other = torch.tensor([[0.0, 300.0, 0.0], [1.0, 0.0, 0.0]], requires_grad=True)
    found = divergence(other, sure.log_softmax(1))
    expected = 300 + float(apart(other[1].detach().double(), sure[1].detach().double()))
    found.backward()
    assert found.item() == pytest.approx(expected, rel=1e-6)
    for gradient in (sure.grad, other.grad):
        assert gradient is not None
        assert gradient.isfinite().all()
        assert gradient[1].abs().max() > 0.1


@pytest.mark.parametrize("text", ["trades(radius=8/255)", "fat(radius=8/255)"])
def test_the_adversary_is_computed_by_the_folded_copy(text: str, tmp_path: Path) -> None:
    """The network itself is called once, by the forward that learns."""
    model = prepare_model(build_model("small_vgg", CLASSES, SIDE, 1), torch.device("cpu"), "fp32").train()
    calls: list[bool] = []
    model.register_forward_hook(lambda module, given, found: calls.append(module.training))
    take_step(text, tmp_path, model, levels())
    assert calls == [True]


# audits

THREATS = ["trades(radius=rho_a)", "fat(radius=rho_a)", "jpeg(quality=10)+trades(radius=rho_a)"]


def test_an_audit_with_both_learners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From plan to verification, and resumed to the same bytes in the middle of the rows."""
    draw_colours(tmp_path / "clean")
    draw_colours(tmp_path / "test", count=10, seed=1)
    before = protect(tmp_path / "clean", tmp_path / "before")
    tiers = {"adaptive": {"architectures": ["small_vgg"], "threats": THREATS}}
    recipe = write_audit_recipe(tmp_path / "audit.yaml", **{**LEARNING, "tiers": tiers})
    options = ("--holdout", tmp_path / "test", "--recipe", recipe)
    locations = [Path(shutil.copytree(before, tmp_path / name / "run")) for name in ("whole", "stopped")]
    monkeypatch.setenv("REM_RELEASE_CACHE", str(tmp_path / "whole" / "cache"))
    plan = succeed("audit", locations[0], *options, "--plan", "--json").json
    fall_short(locations[0], *options)
    victims = read_victims(locations[0] / "audit")
    assert plan["victims"] == len(victims)
    assert all(victim.attack_gain and victim.attack_gain > 1e-3 for victim in victims if "(" in victim.threat)
    certificate = json.loads((locations[0] / "release" / "audit.json").read_text())
    assert {row["threat"]: (row["valid"], row["radius"]) for row in certificate["rows"]} == {
        "trades(radius=4/255,beta=6)": (True, None),
        "fat(radius=4/255,tau=1)": (True, None),
        "jpeg(quality=10)+trades(radius=4/255,beta=6)": (True, None),
    }
    untried = [sentence for sentence in certificate["not_covered"] if sentence.startswith("Threats that were not")]
    assert all(name not in sentence.split(", ") for sentence in untried for name in ("trades", "fat"))
    for path in ("release/README.md", "audit/report.html"):
        text = (locations[0] / path).read_text()
        assert "TRADES (L∞, 4/255, β 6)" in text
        assert "friendly adversarial training (L∞, 4/255, τ 1)" in text
    succeed("verify", locations[0])
    lines = (locations[0] / "audit/victims.jsonl").read_bytes().splitlines(keepends=True)
    (locations[1] / "audit").mkdir()
    half = [place for place, victim in enumerate(victims) if "trades" in victim.threat][1]
    (locations[1] / "audit/victims.jsonl").write_bytes(b"".join(lines[:half]))
    monkeypatch.setenv("REM_RELEASE_CACHE", str(tmp_path / "stopped" / "cache"))
    resumed = fall_short(locations[1], *options, "--resume")
    assert f"{half} of {len(victims)} victims are known already" in resumed.err
    assert snapshot(locations[1] / "release") == snapshot(locations[0] / "release")
