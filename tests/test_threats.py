"""A threat is one file: toys that are added as files, and what each hook does for them and for the shipped ones."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from tempfile import gettempdir
from weakref import ref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from packaging.version import Version

import rem_release
from rem_release.audit import parallel
from rem_release.audit.inputs import sets
from rem_release.audit.inputs.holdout import choose_holdout
from rem_release.audit.inputs.target import open_target
from rem_release.audit.ledger import Ledger
from rem_release.audit.naming import TRAINS, threat_digest
from rem_release.audit.runner import VictimRunner
from rem_release.audit.setup import AuditSetup
from rem_release.audit.step import make_step
from rem_release.audit.victim import train_victim
from rem_release.data.array_file import StoredImages
from rem_release.models import build_model
from rem_release.threats.images import TrainingImages
from rem_release.threats.kinds.jpeg import Jpeg
from rem_release.threats.registry import known_parts
from rem_release.threats.threat import Threat, parse_threat
from rem_release.verdict.plan import Task, plan_rows, trained_on
from rem_release.verdict.recipe import parse_architecture
from tests.audit_commands import LEARNING, draw_colours, protect
from tests.audits import read_recipe, read_victims, write_audit_recipe
from tests.command_line import run, succeed
from tests.evidence import POLICY, answer, describe, judge
from tests.toy_threats import TOYS, added, write_toy

PACKAGE = Path(rem_release.__file__).parent
RHO_A = Fraction(4, 255)
SIDE, CLASSES = 8, 3
LABELS = torch.arange(12) % CLASSES


@pytest.fixture(scope="module", autouse=True)
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("toys")
    for name, body in TOYS.items():
        write_toy(folder, name, body)
    with added(folder):
        yield folder


def levels() -> torch.Tensor:
    return torch.randint(0, 256, (12, 3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


# one file is all it takes


def test_a_file_is_a_threat_of_its_name() -> None:
    assert set(TOYS) < set(known_parts())
    assert parse_threat("invert(on=both)+cutmix").name == "invert(on=both)+cutmix(alpha=1)"
    assert parse_threat("own_loss(radius=rho_a)").at(RHO_A).name == "own_loss(radius=4/255,beta=6)"
    assert parse_threat("own_loss(radius=rho_a)").at(RHO_A).words() == "an own loss (L∞, 4/255, β 6)"
    with pytest.raises(ValueError, match="threat own_loss has no parameter 'gamma'; it has radius, beta"):
        parse_threat("own_loss(radius=rho_a,gamma=1)")


def test_what_is_shipped_is_what_lies_there() -> None:
    files = {path.stem for path in (PACKAGE / "threats" / "kinds").iterdir()} - {"__init__", "__pycache__"}
    parts = known_parts()
    assert files == set(parts) - set(TOYS)
    assert [part.name for part in parts.values()] == list(parts)


def test_certificates_list_them_in_one_order() -> None:
    """Or the words of one that was written before would not be found again."""
    first = ["mean", "median", "gaussian", "greyscale", "jpeg", "bit_depth", "orthogonal", "resized_crop", "cutout"]
    first += ["mixup", "cutmix", "ueraser", "eot", "mixed", "linear_probe", "two_layer_probe", "pgd"]
    parts = known_parts()
    assert [name for name in parts if name in first] == first
    for name in set(parts) - set(first) - set(TOYS):
        assert Version(parts[name].since) > Version("0.4.0"), f"{name}: since is the version that ships it first"


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), ("class A(ThreatPart):\n    stage = 0\nclass B(A):\n    pass\n", 2)]
)
def test_a_file_that_holds_no_threat_or_two_is_an_error(text: str, count: int, tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(f"from rem_release.threats.base import ThreatPart\n{text}", encoding="utf-8")
    with added(tmp_path), pytest.raises(TypeError, match=rf"odd has {count} threats, and one file holds one"):
        known_parts()


NEVER_CALLED = {
    "augment, perturb": (
        TOYS["strong"]
        + "\n    def perturb(self, model, batch, adversary):\n        return batch.images, batch.images\n"
        "\n    def augment(self, model, batch):\n        return batch\n",
        "made_of puts others in its place, so its own perturb, augment would never be used",
    ),
    "filter": (
        TOYS["invert"].replace("FILTER", "ADVERSARY"),
        "filter_image is called at stage FILTER alone, and its stage is ADVERSARY; put it into a class of its own",
    ),
    "adversary": (TOYS["own_loss"].replace("ADVERSARY", "LOSS"), "perturb is called at stage ADVERSARY alone"),
    "attack": (
        TOYS["standstill"] + "\n    def attack(self, model, batch, adversary):\n        return None\n",
        "attack is called at stage ADVERSARY alone, and its stage is SCHEDULE",
    ),
    "pipeline": (
        TOYS["standstill"] + "\n    def pipeline(self, resolution):\n        return None\n",
        "pipeline is called at stage VIEWS alone, and its stage is SCHEDULE",
    ),
    "originals": (
        TOYS["few_originals"].replace("    needs_originals: ClassVar[bool] = True\n", ""),
        "needs_originals = True and own_originals go together; it has one of them",
    ),
    "no originals": (
        TOYS["standstill"] + "    needs_originals: ClassVar[bool] = True\n",
        "needs_originals = True and own_originals go together; it has one of them",
    ),
    "gap": (
        TOYS["standstill"] + '    covers: ClassVar[frozenset[str]] = frozenset({"purity"})\n',
        "covers has purity, which is none of purification, self-supervision",
    ),
    "mixture": (
        TOYS["standstill"] + "    mixes_originals: ClassVar[bool] = True\n",
        "mixes_originals takes needs_originals = True",
    ),
}


@pytest.mark.parametrize("case", NEVER_CALLED)
def test_a_hook_that_would_never_be_called_is_refused_where_it_is_written(case: str, tmp_path: Path) -> None:
    body, message = NEVER_CALLED[case]
    write_toy(tmp_path, "odd", body)
    with added(tmp_path), pytest.raises(TypeError, match=re.escape(f"kinds.odd.Toy: {message}")):
        known_parts()


def test_a_file_holds_the_parts_of_its_threat(scene: Path, tmp_path: Path) -> None:
    """A filter and an adversary of its own. Another file may call its classes alike."""
    write_toy(tmp_path, "other", TOYS["filtered"].replace("image +", "image // 2 +"))
    with added(tmp_path):
        runner = open_runner(scene, tmp_path)
        texts = ("standard", "filtered(shift=3)", "other(shift=3)")
        plain, moved, halved = (runner.images.prepare(make_task(text))[0].images for text in texts)
        recipe = read_recipe(tmp_path, adversary={"steps": 3, "relative_step_size": 0.5})
        threat = parse_threat("filtered(shift=3)+cutout")
        assert "filtered._Move" not in known_parts()
        with pytest.raises(ValueError, match=r"filtered\._Still and pgd do not go together"):
            parse_threat("filtered+pgd(radius=rho_a)")
    assert torch.equal(moved, plain + 3)
    assert torch.equal(halved, plain // 2 + 3)
    assert threat.name == "filtered(shift=3)+cutout(share=0.5)"
    assert threat.passes(recipe.adversary) == 3
    assert threat.adversary is not None


def test_gone_with_its_file(tmp_path: Path) -> None:
    write_toy(tmp_path, "passing", TOYS["invert"])
    with added(tmp_path):
        assert parse_threat("passing").name == "passing"
    with pytest.raises(ValueError, match="no threat 'passing'"):
        parse_threat("passing")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("own_loss(radius=rho_a)+pgd(radius=rho_a)", "own_loss and pgd"),
        ("few_originals+orthogonal", "few_originals and orthogonal"),
        ("few_originals+mixed", "few_originals and mixed"),
        ("strong(radius=rho_a)+own_loss(radius=rho_a)", "pgd and own_loss"),
    ],
)
def test_of_most_stages_there_is_one_part(text: str, names: str) -> None:
    with pytest.raises(ValueError, match=f"{names} do not go together"):
        parse_threat(text)


def test_two_losses_do_not_go_together(tmp_path: Path) -> None:
    own_loss = "\n    def loss(self, wrapped, batch):\n        return None\n"
    write_toy(tmp_path, "smooth", TOYS["standstill"].replace("SCHEDULE", "LOSS") + own_loss)
    with added(tmp_path), pytest.raises(ValueError, match="own_loss and smooth do not go together"):
        parse_threat("own_loss(radius=rho_a)+smooth")


def test_a_threat_may_be_made_of_others() -> None:
    strong = parse_threat("strong(radius=rho_a)+cutout").at(RHO_A)
    alike = parse_threat("cutout+pgd(radius=rho_a)+jpeg(quality=10)").at(RHO_A)
    assert strong.name == "cutout(share=0.5)+strong(radius=4/255)"
    assert strong.words() == "cutout, JPEG, then adversarial training at 4/255"
    assert strong.acting == alike.acting == alike.parts
    assert strong.filters(test=False) == [Jpeg(quality=10)]
    assert strong.ball == ("linf", RHO_A)
    with pytest.raises(ValueError, match="jpeg appears twice"):
        parse_threat("strong(radius=rho_a)+jpeg(quality=50)")


def test_on_all_clean_images_nothing_is_left_of_originals_but_all_of_the_rest(tmp_path: Path) -> None:
    write_toy(
        tmp_path,
        "blend",
        TOYS["strong"]
        .replace("kinds.pgd import Pgd", "kinds.mixed import Mixed as Pgd")
        .replace("Pgd(radius=self.radius)", "Pgd()"),
    )
    with added(tmp_path):
        both = parse_threat("blend(radius=rho_a)+cutout")
        assert both.needs_originals
        assert both.on_clean_images() == parse_threat("jpeg(quality=10)+cutout")
    plain = parse_threat("strong(radius=rho_a)+cutout")
    assert plain.on_clean_images() == plain


def test_names_and_words_need_no_torch() -> None:
    """Whoever verifies a certificate reads them."""
    look = (
        "import sys\n"
        "from rem_release.threats.registry import known_parts\n"
        "from rem_release.threats.threat import parse_threat\n"
        "known_parts(), parse_threat('orthogonal+ueraser(mode=max)+pgd(radius=rho_a)').words()\n"
        "print(sorted({'torch', 'torchvision', 'scipy', 'accelerate', 'datasets'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# hooks of the training step


def take_step(text: str, folder: Path) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor], list[float]]:
    """Loss, logits of the unattacked images before it, what the network was given, and hits."""
    recipe = read_recipe(folder, adversary={"steps": 3, "relative_step_size": 0.5})
    model = build_model("linear_probe", CLASSES, SIDE, 1).double().train()
    images = TrainingImages(levels().double() / 255, LABELS, CLASSES)
    given: list[torch.Tensor] = []
    hits: list[float] = []

    def wrapped(x: torch.Tensor) -> torch.Tensor:
        given.append(x.detach())
        return model(x)

    torch.manual_seed(0)
    step = make_step(parse_threat(text).at(RHO_A), recipe, images, 5, lambda _, hit: hits.append(float(hit)))
    loss = step(model, wrapped, torch.arange(12), 0)
    return loss, model(images.images).detach(), given, hits


def test_a_loss_of_its_own_is_what_is_learnt(tmp_path: Path) -> None:
    loss, clean, (given,), hits = take_step("own_loss(radius=rho_a,beta=2)", tmp_path)
    x, attacked = given.chunk(2)
    torch.testing.assert_close(x, levels().double() / 255)
    assert 0 < (attacked - x).abs().max() <= 4 / 255 + 1e-9
    model = build_model("linear_probe", CLASSES, SIDE, 1).double()
    p, q = clean.softmax(1), model(attacked).softmax(1).detach()
    apart = (p * (p.log() - q.log())).sum(1).mean()
    expected = F.cross_entropy(clean, LABELS) + 2 * apart
    torch.testing.assert_close(loss.detach(), expected)
    assert hits == [pytest.approx(float((clean.argmax(1) == LABELS).double().mean()))]


def test_its_cost_is_its_own(tmp_path: Path) -> None:
    recipe = read_recipe(tmp_path, adversary={"steps": 3, "relative_step_size": 0.5})
    assert parse_threat("own_loss(radius=rho_a)").passes(recipe.adversary) == 5
    assert parse_threat("own_loss(radius=rho_a)+eot(samples=2)").passes(recipe.adversary) == 10
    assert parse_threat("strong(radius=rho_a)").passes(recipe.adversary) == 4
    assert Threat().passes(recipe.adversary) == 1


def train(text: str, folder: Path, **changes: object):
    recipe = read_recipe(folder, victim__least_steps=3, victim__evaluations=3, **changes)
    task = Task(parse_architecture("small_vgg"), parse_threat(text), "clean", 0)
    images = TrainingImages(levels(), LABELS, CLASSES)
    return train_victim(Accelerator(cpu=True), task, recipe, images, 12, levels(), LABELS)


def test_initial_weights_are_those_that_it_leaves(tmp_path: Path) -> None:
    """Without a preference the first loss is that of a guess, which is seen after one step of three."""
    assert train("warm_start", tmp_path).curves.loss[0] == pytest.approx(np.log(CLASSES), abs=1e-5)
    assert train("standard", tmp_path).curves.loss[0] != pytest.approx(np.log(CLASSES), abs=1e-3)


def test_the_schedule_is_its_own_but_for_the_steps(tmp_path: Path) -> None:
    still = train("warm_start+standstill", tmp_path).curves.loss
    assert still == pytest.approx([np.log(CLASSES)] * 3, abs=1e-5)
    assert train("warm_start", tmp_path).curves.loss[2] != pytest.approx(np.log(CLASSES), abs=1e-3)
    with pytest.raises(ValueError, match="trains for 4 steps, and the recipe says 3"):
        train("standstill(steps_too=true)", tmp_path)


# hooks of images and rows, and the plan


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    draw_colours(folder / "clean")
    draw_colours(folder / "test", count=10, seed=1)
    protect(folder / "clean", folder / "run")
    return folder


def open_runner(scene: Path, folder: Path, **changes: object) -> VictimRunner:
    target = open_target(scene / "run")
    holdout = choose_holdout(target, str(scene / "test"), None, 0.2, "refuse")
    recipe = read_recipe(folder, **changes)
    setup = AuditSetup(target=target, holdout=holdout, recipe=recipe, resolution=16, rho_u=target.rho_u)
    return VictimRunner(setup, Ledger(None, None), Accelerator(cpu=True))


def make_task(text: str, trained_on="protected") -> Task:
    return Task(parse_architecture("small_vgg"), parse_threat(text), trained_on, 0)


def test_a_filter_is_applied_where_it_says(scene: Path, tmp_path: Path) -> None:
    runner = open_runner(scene, tmp_path)
    plain, inverted, both = (runner.images.prepare(make_task(t)) for t in ("standard", "invert", "invert(on=both)"))
    assert torch.equal(inverted[0].images, 255 - plain[0].images)
    assert torch.equal(inverted[1].images, plain[1].images)
    assert torch.equal(both[1].images, 255 - plain[1].images)


def test_originals_that_it_needs_are_a_floor_and_are_handed_to_it(scene: Path, tmp_path: Path) -> None:
    changes = {"tiers": {"adaptive": {"architectures": ["small_vgg"], "threats": ["few_originals", "standard"]}}}
    runner = open_runner(scene, tmp_path, **changes)
    setup = runner.setup
    few, standard = plan_rows(setup.recipe, None, RHO_A)
    assert trained_on(few, is_partial=False) == ["clean", "random", "protected", "clean part"]
    assert trained_on(standard, is_partial=False) == ["clean", "random", "protected"]
    assert few.task("clean", 0).key == standard.task("clean", 0).key, "all-clean images need no originals"
    part = few.task("clean part", 0)
    assert [setup.count_images(each) for each in (part, few.task("protected", 0))] == [4, 24]
    alone = runner.images.prepare(part)[0]
    originals = torch.stack([torch.from_numpy(setup.target.clean(row)).permute(2, 0, 1) for row in (0, 1, 12, 13)])
    assert torch.equal(alone.images, originals)
    assert alone.labels.tolist() == [0, 0, 1, 1]
    learnt = runner.images.prepare(few.task("protected", 0))[0]
    released = runner.images.prepare(standard.task("protected", 0))[0]
    assert torch.equal(learnt.images, released.images), "they stand beside what was released, not in its place"
    mean = originals.double().mean((0, 2, 3)) / 255
    seen = learnt.floats(torch.arange(24))[0] - 0.5 * released.floats(torch.arange(24))[0]
    torch.testing.assert_close(seen[:, :, 0, 0].double(), 0.5 * mean.expand(24, 3), atol=1e-6, rtol=0)


def test_what_it_spends_before_training_stands_in_the_plan(scene: Path, tmp_path: Path, monkeypatch) -> None:
    """The scene has 24 images to train on, and three victims a row here: clean, random, protected."""
    monkeypatch.setenv("REM_RELEASE_CACHE", str(tmp_path / "cache"))

    def plan(*threats: str) -> tuple[dict[str, int], str]:
        tiers = {"adaptive": {"architectures": ["small_vgg"], "threats": threats}}
        changes = {**LEARNING, "adversary": {"steps": 3, "relative_step_size": 0.5}, "tiers": tiers}
        recipe = write_audit_recipe(tmp_path / "audit.yaml", **changes)
        options = ("audit", scene / "run", "--holdout", scene / "test", "--recipe", recipe, "--plan")
        return succeed(*options, "--json").json, succeed(*options).out

    plain, said = plan("standstill")
    warm, warm_said = plan("standstill+warm_start")
    small, _ = plan("standstill+warm_start+resized_crop(size=0.5)")
    assert plain["passes_before_training"] == 0
    assert "before training" not in said
    assert warm["passes_before_training"] == warm["passes"] - plain["passes"] == 3 * (5 * 24 + 3)
    assert "369 of them before training" in warm_said
    assert small["passes_before_training"] == round(369 / 4), "at a fourth of the pixels"


def test_an_audit_with_toys_says_so_wherever_it_speaks(scene: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("REM_RELEASE_CACHE", str(tmp_path / "cache"))
    location = Path(shutil.copytree(scene / "run", tmp_path / "run"))
    threats = ["invert(on=both)", "few_originals", "own_loss(radius=rho_a)", "warm_start+strong(radius=rho_a)"]
    tiers = {"adaptive": {"architectures": ["small_vgg"], "threats": threats}}
    recipe = write_audit_recipe(tmp_path / "audit.yaml", **{**LEARNING, "tiers": tiers})
    assert "is valid" in succeed("recipes", "check", recipe).out
    options = ("--holdout", scene / "test", "--recipe", recipe)
    plan = succeed("audit", location, *options, "--plan", "--json").json
    assert run("audit", location, *options).code == 3
    victims = read_victims(location / "audit")
    assert plan["victims"] == len(victims)
    assert {victim.trained_on for victim in victims if victim.threat == "few_originals(count=2)"} == {
        *("random", "protected", "clean part")
    }
    assert all(victim.attack_gain is not None for victim in victims if "own_loss" in victim.threat)
    certificate = json.loads((location / "release" / "audit.json").read_text())
    assert [row["threat"] for row in certificate["rows"]] == [
        *(
            "invert(on=both)",
            "few_originals(count=2)",
            "own_loss(radius=4/255,beta=6)",
            "warm_start+strong(radius=4/255)",
        )
    ]
    (untried,) = (sentence for sentence in certificate["not_covered"] if sentence.startswith("Threats that were not"))
    assert "standstill" in untried
    for text in ((location / "release" / "README.md").read_text(), (location / "audit" / "report.html").read_text()):
        assert "an own loss (L∞, 4/255, β 6)" in text
    assert run("verify", location).code == 0


# which images are there, and where


def test_images_are_there_as_long_as_a_victim_needs_them(scene: Path, tmp_path: Path) -> None:
    images = open_runner(scene, tmp_path).images
    for text, count in {"invert(on=both)": 1, "few_originals": 2, "standard": 1, "mixed": 1, "invert": 1}.items():
        before = [ref(found) for found in (*images._sets.values(), *images._tests.values())]
        images.prepare(make_task(text))
        assert (len(images._sets), len(images._tests)) == (count, 1), text
        kept = [*images._sets.values(), *images._tests.values()]
        assert all(each() is None or each() in kept for each in before)


def test_what_victims_of_large_sets_answer_is_the_same_from_disk(scene: Path, tmp_path: Path, monkeypatch) -> None:
    """Training and test images, the attacker's originals, and test images that a threat transforms."""

    def answer_to(text: str) -> tuple[object, ...]:
        runner = open_runner(scene, tmp_path, victim__least_steps=3, learnability__samples=0)
        on_disk.append(isinstance(runner.images.prepare(make_task(text))[1].images, StoredImages))
        record = runner.train(make_task(text))
        return record.answers, record.loss, record.fit, record.train_curve, record.test_curve, runner.test_digest

    on_disk: list[bool] = []
    texts = ("standard", "few_originals", "orthogonal(on=both)+pgd(radius=4/255)", "resized_crop(views=2)")
    in_memory = [answer_to(text) for text in texts]
    monkeypatch.setattr(sets, "_MAX_IN_MEMORY", 0)
    assert [answer_to(text) for text in texts] == in_memory
    assert on_disk == [False] * len(texts) + [True] * len(texts)


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_room_in_the_temporary_folder_is_that_of_all_images_that_are_there_at_once(
    scene: Path, tmp_path: Path, monkeypatch, at_once: int
) -> None:
    """Of 24 images to train on, and 20 to test on. They are counted again where they are read again."""
    runner = open_runner(scene, tmp_path)
    monkeypatch.setattr(sets, "_MAX_IN_MEMORY", 0)
    image, train, test = 3 * 16 * 16, len(runner.setup.holdout.train_rows), len(runner.setup.holdout)

    def count(*texts: str) -> int:
        return runner.images.count_temporary([make_task(text) for text in texts], at_once)

    assert count() == 0
    assert count("standard", "pgd(radius=4/255)", "cutout") == image * (train + test), "all of the same images"
    assert count("standard", "invert(on=both)", "standard") == image * (train + test) * at_once
    assert count("standard", "invert", "jpeg(quality=9)", "greyscale") == image * (train * at_once + test)
    assert count("standard", "few_originals", "standard") == image * (2 * train + test)
    assert count("resized_crop(views=4)") == image * (4 * train + test)


def test_the_plan_states_the_room_in_the_temporary_folder(scene: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("REM_RELEASE_CACHE", str(tmp_path / "cache"))
    tiers = {"adaptive": {"architectures": ["small_vgg"], "threats": ["resized_crop(views=4)"]}}
    recipe = write_audit_recipe(tmp_path / "audit.yaml", **{**LEARNING, "tiers": tiers})
    options = ("audit", scene / "run", "--holdout", scene / "test", "--recipe", recipe, "--plan")
    monkeypatch.setattr(parallel, "count_parallel", lambda accelerator: 1)
    assert succeed(*options, "--json").json["temporary_bytes"] == 0
    monkeypatch.setattr(sets, "_MAX_IN_MEMORY", 0)
    needed = 3 * 16 * 16 * (4 * 24 + 20)
    assert succeed(*options, "--json").json["temporary_bytes"] == needed
    assert f"at most {needed / 1e6:.1f} MB of images in the temporary folder {gettempdir()} (TMPDIR)" in (
        succeed(*options).out
    )


# certificates of releases that were audited before it


def list_not_covered(*threats: str, **changes: object) -> list[str]:
    """Of an audit by hand whose victims of these threats teach something."""
    tiers = {**POLICY, "adaptive": {"threats": threats}}
    given = describe(["a", "b"], recipe={"tiers": tiers}, **changes)
    return judge(given, answer(given, {"protected": 0.6})).not_covered


def test_a_threat_that_covers_what_was_not_covered_says_so(tmp_path: Path) -> None:
    covers = '    covers: ClassVar[frozenset[str]] = frozenset({"self-supervision"})\n'
    write_toy(tmp_path, "own_labels", TOYS["warm_start"].replace("INITIAL_WEIGHTS\n", f"INITIAL_WEIGHTS\n{covers}"))
    with added(tmp_path):
        without, tried = list_not_covered("warm_start"), list_not_covered("own_labels")
    assert [text[:30] for text in without if text[:4] in ("Diff", "Self")] == [
        "Diffusion purification of the ",
        "Self-supervised pretraining on",
    ]
    assert [text for text in tried if text[:4] in ("Diff", "Self")] == [without[-5]]
    assert without[-3:] == tried[-3:]


def test_a_certificate_of_an_earlier_version_lists_the_threats_that_it_had(tmp_path: Path) -> None:
    """Or `verify` would find other sentences than that version wrote."""
    body = TOYS["standstill"].replace("SCHEDULE\n", 'SCHEDULE\n    since: ClassVar[str] = "0.7"\n')
    versions = describe(["a", "b"]).versions

    def list_untried(maker: str) -> str:
        sentences = list_not_covered("invert", versions={**versions, "rem-release": maker})
        return next(text for text in sentences if text.startswith("Threats that were not tried"))

    before = {maker: list_untried(maker) for maker in ("0.6.2", "0.7.0", "0.10", "no version")}
    write_toy(tmp_path, "rest", body)
    with added(tmp_path):
        assert list_untried("0.6.2") == before.pop("0.6.2")
        for maker, words in before.items():
            assert list_untried(maker) == words.replace("standstill", "rest, standstill")


# the key of a victim


def test_a_victim_is_named_by_the_code_that_trains_it_and_by_that_of_its_threat_alone(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(PACKAGE, tmp_path / "rem_release", ignore=shutil.ignore_patterns("__pycache__")))
    look = """
import sys
from pathlib import Path
from rem_release.audit.naming import code_digest, threat_digest
from rem_release.threats.threat import parse_threat

def look():
    code_digest.cache_clear(), threat_digest.cache_clear()
    threats = [parse_threat(text) for text in ("jpeg(quality=10)", "ueraser", "jpeg(quality=10)+ueraser")]
    return code_digest(), *map(threat_digest, threats)

for name in sys.argv[1:]:
    before = look()
    with Path(name).open("a") as file:
        file.write("# changed\\n")
    print(name, *(int(one != other) for one, other in zip(before, look())))
"""
    changes = {
        "core/pgd.py": "1 0 0 0",
        "models/small_vgg.py": "1 0 0 0",
        "training/loop.py": "1 0 0 0",
        "data/images/decoding.py": "1 0 0 0",
        "audit/step.py": "1 0 0 0",
        "audit/preparation.py": "1 0 0 0",
        "threats/base.py": "1 0 0 0",
        "threats/kinds/jpeg.py": "0 1 0 1",
        "threats/kinds/ueraser/augmentation.py": "0 0 1 1",
        "threats/kinds/pgd.py": "0 0 0 0",
        "audit/report/plotting.py": "0 0 0 0",
        "audit/publish.py": "0 0 0 0",
        "verdict/summary.py": "0 0 0 0",
        "verdict/judge.py": "0 0 0 0",
        "data/sources/folders.py": "0 0 0 0",
    }
    done = subprocess.run(
        [sys.executable, "-c", look, *(copy / name for name in changes)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = dict(line.removeprefix(f"{copy}/").split(" ", 1) for line in done.stdout.splitlines())
    assert found == changes


BORROWING = """
    stage: ClassVar[Stage] = Stage.IMAGE

    def words(self):
        return "borrowed"

    def augment(self, model, batch):
        from rem_release.threats.kinds.lending import shade

        return shade(batch)
"""
LENDING = """
    stage: ClassVar[Stage] = Stage.IMAGE

    def words(self):
        return "lent"


def shade(batch):
    import rem_release.threats.kinds.last

    return batch
"""


def test_a_victim_is_named_by_the_files_too_that_its_threat_imports_from_others(tmp_path: Path) -> None:
    bodies = {"borrowing": BORROWING, "lending": LENDING, "last": TOYS["invert"], "apart": TOYS["invert"]}
    for name, body in bodies.items():
        write_toy(tmp_path, name, body)
    found = {}
    with added(tmp_path):
        threat = parse_threat("borrowing")
        for name in bodies:
            threat_digest.cache_clear()
            before = threat_digest(threat)
            with (tmp_path / f"{name}.py").open("a") as file:
                file.write("# changed\n")
            threat_digest.cache_clear()
            found[name] = threat_digest(threat) != before
    assert found == {"borrowing": True, "lending": True, "last": True, "apart": False}


IN_THE_KEY = {
    *("rem_release.audit.ledger", "rem_release.audit.inputs.candidates", "rem_release.audit.inputs.target"),
    *("rem_release.audit.inputs.pairs", "rem_release.verdict.plan", "rem_release.verdict.recipe"),
    *("rem_release.errors", "rem_release.paths", "rem_release.radius", "rem_release.tokens"),
    *("rem_release.atomic_files", "rem_release.data.in_order", "rem_release.data.sources.recognised"),
}
"""What the code that trains victims uses beside itself: images, seeds and steps, which the key holds; messages."""


def test_what_trains_victims_calls_nothing_else_that_could_change_them() -> None:
    places = [*(PACKAGE / place for place in TRAINS), PACKAGE / "threats"]
    files = [file for place in places for file in (place.rglob("*.py") if place.is_dir() else [place])]
    assert all(file.is_file() for file in files)
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for name in names:
                path = PACKAGE.parent / name.replace(".", "/")
                if not name.startswith("rem_release.") or name in IN_THE_KEY:
                    continue
                assert any(place in (path, *path.parents, path.with_suffix(".py")) for place in places), (file, name)
