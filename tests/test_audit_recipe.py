"""Audit recipes: the shipped ones and their policy, every mistake named at once, networks, and what is published."""

import re
from fractions import Fraction
from pathlib import Path

import pytest
import torch
import yaml

from rem_release.errors import InputError
from rem_release.models import MODELS, build_model
from rem_release.recipe_files import hash_document, recipe_names, recipe_text
from rem_release.release.canonical import sha256_file
from rem_release.release.certificate import MIN_SEEDS, TIERS, read_certificate
from rem_release.verdict.plan import describe_training, needs_yardstick, plan_rows, yardstick
from rem_release.verdict.recipe import (
    ARCHITECTURES,
    SHIPPED_ARCHITECTURES,
    SHIPPED_CONFIDENCE,
    SHIPPED_HALF_WIDTH,
    SHIPPED_LIMITS,
    SHIPPED_REQUIRED,
    YARDSTICK,
    Architecture,
    AuditRecipe,
    Network,
    Tiers,
    load_audit_recipe,
    name_recipe,
    parse_architecture,
)
from tests.audits import AUDIT, QUICK, read_recipe, write_audit_recipe
from tests.command_line import run
from tests.gratings import draw_gratings, write_classes

RHO_A = Fraction(4, 255)
PRECISIONS = ("fp32", "tf32", "bf16")
SHIPPED = [name for name in recipe_names() if name.startswith("audit-")]


def refuse(folder: Path, **changes: object) -> str:
    with pytest.raises(InputError) as caught:
        read_recipe(folder, **changes)
    return str(caught.value)


# shipped recipes


def test_three_audit_recipes_are_shipped():
    assert {"audit-quick", "audit-standard", "audit-paper"} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_holds_the_shipped_policy(name):
    recipe = load_audit_recipe(name)
    for tier in TIERS:
        policy = recipe.tier(tier)
        assert policy.limit == SHIPPED_LIMITS[tier]
        assert policy.required == (tier in SHIPPED_REQUIRED)
    rows = plan_rows(recipe, "resnet18", RHO_A)
    for tier in SHIPPED_REQUIRED:
        mine = [row for row in rows if row.tier == tier]
        assert len({row.architecture.text for row in mine}) == SHIPPED_ARCHITECTURES
        assert "source" in recipe.tier(tier).architectures
        wanted = "standard" if tier == "standard" else "pgd(radius=4/255)"
        assert len([row for row in mine if row.threat.name == wanted]) == SHIPPED_ARCHITECTURES


def test_the_shipped_limits_are_those_of_the_policy():
    assert SHIPPED_LIMITS["standard"] == 0.30
    assert SHIPPED_LIMITS["adversarial"] == 0.70
    assert SHIPPED_REQUIRED == ("standard", "adversarial")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_can_be_written_and_read_again(name, tmp_path):
    recipe = load_audit_recipe(name)
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(recipe.to_dict()), encoding="utf-8")
    assert load_audit_recipe(str(path)) == recipe


def test_the_paper_recipe_is_the_paper_s_training_and_grid():
    recipe = load_audit_recipe("audit-paper")
    victim = recipe.victim
    assert (victim.batch_size, victim.learning_rate, victim.decay) == (128, 0.1, 0.1)
    assert (victim.momentum, victim.weight_decay) == (0.9, 5e-4)
    steps = victim.count_steps(50_000)  # of CIFAR-10
    assert steps == pytest.approx(40_000, rel=0.005)
    assert round(steps * victim.decay_every) == pytest.approx(16_000, rel=0.005)
    assert (recipe.adversary.steps, recipe.adversary.relative_step_size) == (10, 0.2)
    found = {threat.name for tier in TIERS for threat in recipe.threats(tier, RHO_A)}
    assert {f"pgd(radius={level}/255)" for level in (1, 2, 3, 4)} | {"standard"} <= found  # Table 1
    assert {"mean", "median", "gaussian(sigma=1)"} <= found  # Appendix D
    assert {f"pgd(radius={level}/255,norm=l2)" for level in (50, 100)} <= found  # Table 11
    assert {f"pgd(radius={level}/255,norm=l1)" for level in (1000, 3000)} <= found


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_bounds_what_it_requires(name):
    """Three seeds or more of every row that decides, and victims that are nobody's own."""
    recipe = load_audit_recipe(name)
    assert recipe.seeds.required >= MIN_SEEDS
    assert not needs_yardstick(recipe)
    rows = plan_rows(recipe, "resnet18", RHO_A)
    assert {row.seeds for row in rows if row.tier in SHIPPED_REQUIRED} == {recipe.seeds.required}
    assert {row.seeds for row in rows if row.tier not in SHIPPED_REQUIRED} <= {recipe.seeds.others}
    assert recipe.statistics.confidence == SHIPPED_CONFIDENCE
    assert recipe.statistics.half_width <= SHIPPED_HALF_WIDTH


def test_the_yardstick_is_shipped():
    assert YARDSTICK in SHIPPED


# budgets of victims


def test_a_budget_goes_by_epochs_and_never_below_the_least_steps(tmp_path):
    victim = read_recipe(tmp_path, victim__epochs=2.5, victim__least_steps=80, victim__batch_size=64).victim
    assert victim.count_steps(64 * 100) == 250
    assert victim.count_steps(64 * 100 + 1) == 253  # 101 batches an epoch, as training cuts them
    assert victim.count_steps(64 * 32) == 80
    assert victim.count_steps(64 * 33) == 83
    assert victim.count_steps(24) == 80, "however few images there are"


def test_more_images_take_as_many_epochs(tmp_path):
    victim = load_audit_recipe("audit-quick").victim
    assert victim.count_steps(20) == victim.count_steps(1435) == victim.least_steps
    for images in (2050, 5000, 50_000):
        assert victim.count_steps(images) * victim.batch_size / images == pytest.approx(victim.epochs, rel=0.1)


@pytest.mark.parametrize(
    ("steps", "evaluations", "expected"),
    [(8, 4, [2, 4, 6, 8]), (10, 3, [3, 7, 10]), (2, 9, [1, 2]), (1, 1, [1]), (7, 1, [7]), (5, 5, [1, 2, 3, 4, 5])],
)
def test_evaluations_are_spread_over_the_training_and_the_last_step_is_one(steps, evaluations, expected, tmp_path):
    changes = {"victim__least_steps": steps, "victim__epochs": 0.01, "victim__evaluations": evaluations}
    assert read_recipe(tmp_path, **changes).victim.list_evaluations(64) == expected


# what may stand in a recipe


def test_a_recipe_that_names_no_tier_still_requires_the_two(tmp_path):
    path = write_audit_recipe(tmp_path / "recipe.yaml", tiers={"transfer": {"threats": ["standard"]}})
    recipe = load_audit_recipe(str(path))
    assert recipe.tiers.standard == Tiers().standard
    assert (recipe.tiers.standard.required, recipe.tiers.standard.limit) == (True, 0.30)
    assert (recipe.tiers.adversarial.required, recipe.tiers.adversarial.limit) == (True, 0.70)
    assert not recipe.tiers.adversarial.threats
    assert not recipe.tiers.transfer.required


def test_a_single_key_is_changed_by_its_dotted_path(tmp_path):
    path = str(write_audit_recipe(tmp_path / "recipe.yaml"))
    settings = {"tiers.standard.limit": "0.5", "victim.epochs": "7", "tiers.adaptive.threats": "[jpeg(quality=10)]"}
    recipe = load_audit_recipe(path, settings)
    assert (recipe.tiers.standard.limit, recipe.victim.epochs) == (0.5, 7)
    assert recipe.tiers.adaptive.threats == ("jpeg(quality=10)",)
    assert recipe.victim.batch_size == AUDIT["victim"]["batch_size"]
    with pytest.raises(InputError, match=re.escape("--set victim.epoch: no such key; the nearest is victim.epochs")):
        load_audit_recipe(path, {"victim.epoch": "7"})
    with pytest.raises(InputError, match=re.escape("victim.epochs: Input should be greater than 0 (got 0)")):
        load_audit_recipe(path, {"victim.epochs": "0"})


def test_unknown_keys_and_wrong_values_are_told_all_at_once(tmp_path):
    message = refuse(
        tmp_path,
        victim__epochss=3,
        victim__least_steps=0,
        victim__decay_every=1.5,
        victim__learning_rate="1e-1",
        victim__augmentation="strong",
        victim__source_model="linear_probe",
        adversary__relative_step_size=3,
        statistics__confidence=0.5,
        holdout__overlap="keep",
        seeds__required=0,
        seeds__others=101,
        tiers__standard__limit=0,
        tiers__adaptive={"threats": ["grayscale", "jpeg(q=1)", 3], "architectures": ["resnet19"]},
        tiers__transfers={"threats": ["standard"]},
        extra=1,
    )
    for line in (
        "victim.epochss: no such key; the nearest is victim.epochs",
        "victim.least_steps: Input should be greater than or equal to 1 (got 0)",
        "victim.decay_every: Input should be less than or equal to 1 (got 1.5)",
        "victim.augmentation: Input should be 'none', 'cifar' or 'imagenet' (got 'strong')",
        "victim.source_model: ",
        "adversary.relative_step_size: Input should be less than or equal to 2 (got 3)",
        "statistics.confidence: Input should be greater than 0.5 (got 0.5)",
        "holdout.overlap: Input should be 'refuse' or 'drop' (got 'keep')",
        "seeds.required: Input should be greater than or equal to 1 (got 0)",
        "seeds.others: Input should be less than or equal to 100 (got 101)",
        "tiers.standard.limit: Input should be greater than 0 (got 0)",
        "tiers.adaptive.threats.0: no threat 'grayscale'; the nearest is 'greyscale'",
        "tiers.adaptive.threats.1: threat jpeg has no parameter 'q'; it has quality, on",
        "tiers.adaptive.threats.2: write text, such as pgd(radius=rho_a)",
        "tiers.adaptive.architectures.0: no architecture 'resnet19'; the nearest is 'resnet1",
        "tiers.transfers: no such key; the nearest is tiers.transfer",
        "extra: no such key",
    ):
        assert f"\n  {line}" in message
    assert "learning_rate" not in message  # text that is a number is one


@pytest.mark.parametrize("key", ["epochs", "decay_every", "batch_size", "learning_rate", "augmentation"])
def test_what_decides_the_training_has_no_silent_default(key, tmp_path):
    document = {**AUDIT, "victim": {**AUDIT["victim"]}}
    del document["victim"][key]
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(InputError, match=rf"victim\.{key}: missing"):
        load_audit_recipe(str(path))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tiers__standard__architectures": []}, "tiers.standard has threats and no architecture; add source"),
        (
            {"adversary": {"steps": 3, "relative_step_size": 0.3}},
            r"adversary\.steps times adversary\.relative_step_size is 0\.9, below 1: .* cannot reach the radius",
        ),
        (
            {"tiers__adaptive": {"threats": ["mean", "jpeg(quality=10)+eot"]}},
            r"tiers\.adaptive has the threat eot, whose draws are all the same with victim\.augmentation none",
        ),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(changes, words, tmp_path):
    assert re.search(words, refuse(tmp_path, **changes))


def test_what_just_reaches_the_radius_and_draws_that_differ_are_fine(tmp_path):
    read_recipe(tmp_path, adversary={"steps": 4, "relative_step_size": 0.25})
    read_recipe(tmp_path, tiers__adaptive={"threats": ["eot"]}, victim__augmentation="cifar")


def test_a_recipe_that_was_changed_is_not_called_by_the_name_of_the_shipped_one(tmp_path):
    shipped = load_audit_recipe("audit-quick")
    assert name_recipe("audit-quick", shipped) == "audit-quick"
    settings = {"tiers.standard.limit": "0.9", "victim.epochs": "31"}
    changed = load_audit_recipe("audit-quick", settings)
    assert name_recipe("audit-quick", changed) == "audit-quick, changed in victim.epochs, tiers.standard.limit"
    path = write_audit_recipe(tmp_path / "audit-quick.yaml")
    assert name_recipe(str(path), load_audit_recipe(str(path))) == "the owner's audit-quick.yaml"


def test_every_shipped_recipe_names_its_precision():
    found = {name: yaml.safe_load(recipe_text(name))["victim"].get("precision") for name in SHIPPED}
    assert found == {"audit-quick": "fp32", "audit-standard": "bf16", "audit-paper": "fp32"}


@pytest.mark.parametrize("text", ["no", '"no"', "fp32"])
def test_the_precision_no_of_earlier_versions_is_fp32(text):
    recipe = load_audit_recipe("audit-quick", {"victim.precision": text})
    assert recipe == load_audit_recipe("audit-quick")
    assert (recipe.victim.precision, name_recipe("audit-quick", recipe)) == ("fp32", "audit-quick")


def test_a_recipe_without_a_precision_is_of_fp32_as_it_was(tmp_path):
    assert "precision" not in AUDIT["victim"]
    assert read_recipe(tmp_path).victim.precision == "fp32"


def test_seeds_are_those_that_fp32_had_under_its_old_name(tmp_path):
    """Certificates of earlier versions stand on them, and so do answers that anybody can compute again."""
    document = read_recipe(tmp_path).to_dict()
    old = {"adversary": document["adversary"], "origin": "given", "victim": {**document["victim"], "precision": "no"}}
    assert describe_training(read_recipe(tmp_path), "given") == hash_document(old)
    hashes = {describe_training(read_recipe(tmp_path, victim__precision=each), "given") for each in PRECISIONS}
    assert len(hashes) == len(PRECISIONS)


def test_a_certificate_says_in_what_its_victims_were_computed(tmp_path):
    published = read_recipe(tmp_path, victim__precision="auto").published()
    with pytest.raises(InputError, match=r"victim\.precision auto does not say"):
        AuditRecipe.of(published)


def test_a_yardstick_has_the_precision_of_its_own_recipe(tmp_path):
    assert yardstick(read_recipe(tmp_path, victim__precision="bf16")).victim.precision == "fp32"


@pytest.mark.parametrize("text", ["fp16", "yes", "0", "null"])
def test_other_precisions_are_refused(text):
    with pytest.raises(InputError, match=r"victim\.precision: Input should be 'auto', 'fp32', 'tf32' or 'bf16'"):
        load_audit_recipe("audit-quick", {"victim.precision": text})


def test_of_which_weights_they_are_the_certificate_s_recipe_is_read_again(tmp_path):
    (tmp_path / "w.pt").write_bytes(b"weights")
    networks = [f"resnet18(weights={tmp_path / 'w.pt'}, resize=64)", "source"]
    recipe = read_recipe(tmp_path, tiers__standard__architectures=networks)
    published = recipe.published()
    again = AuditRecipe.of(published)
    assert again.published() == published, "nothing looks for the file any more"
    architectures = [parse_architecture(text) for text in again.tier("standard").architectures]
    assert [each.text for each in architectures] == ["resnet18, pretrained (w.pt)", "source"]
    assert str(tmp_path) not in str(published)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"victim": {}}, r"victim\.epochs: missing"),
        ({"tiers": {"standard": {"threats": ["grey"]}}}, r"tiers\.standard\.threats\.0: no threat 'grey'"),
        ({"adversary": {"steps": 1, "relative_step_size": 0.5}}, "is 0.5, below 1"),
        ({"statistics": {"confidence": 0.1}}, r"statistics\.confidence"),
        ({"more": 1}, "more: no such key"),
    ],
)
def test_a_certificate_s_recipe_is_read_as_strictly_as_an_owner_s(change, words, tmp_path):
    with pytest.raises(InputError, match=words):
        AuditRecipe.of({**read_recipe(tmp_path).published(), **change})


def test_a_recipe_of_protect_is_refused():
    with pytest.raises(InputError, match="quickstart is not an audit recipe"):
        load_audit_recipe("quickstart")


def test_equal_threats_count_once_and_a_radius_above_the_range_is_bad_input(tmp_path):
    threats = ["pgd(radius=rho_a)", "pgd(radius=4/255)", "pgd(radius=2*rho_a/2, norm=linf)", "standard"]
    recipe = read_recipe(tmp_path, tiers__adversarial={"threats": threats})
    assert [threat.name for threat in recipe.threats("adversarial", RHO_A)] == ["pgd(radius=4/255)", "standard"]
    recipe = read_recipe(tmp_path, tiers__adversarial={"threats": ["pgd(radius=64*rho_a)"]})
    with pytest.raises(InputError, match=r"tiers\.adversarial: pgd\(radius=64\*rho_a\) is above 1.*rho_a = 4/255"):
        recipe.threats("adversarial", RHO_A)


# networks


def test_every_network_but_the_probes_is_an_architecture():
    assert set(ARCHITECTURES) == set(MODELS) - {"linear_probe", "two_layer_probe"}
    assert len(set(ARCHITECTURES)) == len(ARCHITECTURES)


@pytest.mark.parametrize("name", ["source", *ARCHITECTURES])
def test_every_architecture_is_read(name):
    assert parse_architecture(name) == Architecture(name, Network())
    assert parse_architecture(name).text == name


def test_parameters_of_an_architecture():
    found = parse_architecture("resnet18(weights=/home/owner/w.safetensors, resize=64, learning_rate=0.01)")
    assert found.network == Network(weights="/home/owner/w.safetensors", resize=64, learning_rate=0.01)
    assert found.text == "resnet18, pretrained (w.safetensors), learning rate 0.01"
    assert parse_architecture("vgg16(learning_rate=0.05)").text == "vgg16, learning rate 0.05"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("linear_probe", "no architecture 'linear_probe'"),
        ("resnet", "no architecture 'resnet'; the nearest is 'resnet"),
        ("resnet18+vgg16", "one architecture, not several joined by +"),
        (
            "resnet18(weight=a)",
            "architecture resnet18 has no parameter 'weight'; it has weights, resize, learning_rate",
        ),
        ("resnet18(resize=7)", "architecture resnet18: resize: Input should be greater than or equal to 8"),
        ("resnet18(learning_rate=inf)", "architecture resnet18: learning_rate: "),
        ("resnet18(", "cannot be read"),
    ],
)
def test_a_wrong_architecture_is_refused(text, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        parse_architecture(text)


# what is published


def test_of_a_weights_file_only_name_and_hash_are_published(tmp_path, monkeypatch):
    """Also where the path occurs in the name of the network. Two steps teach nothing, and the audit says so."""
    monkeypatch.setenv("REM_RELEASE_CACHE", str(tmp_path / "cache"))
    hidden = tmp_path / "private"
    hidden.mkdir()
    for name, seed in (("small_vgg", 3), ("other.pt", 4)):
        torch.save(build_model("small_vgg", 10, 16, seed).network.state_dict(), hidden / name)
    monkeypatch.chdir(hidden)
    clean = write_classes(tmp_path / "clean", draw_gratings(4, seed=0))
    test = write_classes(tmp_path / "test", draw_gratings(2, seed=1))
    networks = ["small_vgg(weights=small_vgg, resize=16)", f"small_vgg(resize=16,weights={hidden}/other.pt)", "source"]
    standard = {"required": True, "limit": 0.3, "threats": ["standard"], "architectures": networks}
    recipe = write_audit_recipe(tmp_path / "recipe.yaml", **QUICK, tiers={"standard": standard})
    out = tmp_path / "out"
    result = run("audit", clean, "--clean", clean, "--holdout", test, "--recipe", recipe, "--out", out)
    certificate = read_certificate(out / "audit.json")
    assert certificate.recipe["tiers"]["standard"]["architectures"] == [
        f"small_vgg(weights=small_vgg sha256:{sha256_file(hidden / 'small_vgg')},resize=16)",
        f"small_vgg(resize=16,weights=other.pt sha256:{sha256_file(hidden / 'other.pt')})",
        "source",
    ]
    assert [row.architecture for row in certificate.rows] == [
        *("small_vgg, pretrained (small_vgg)", "small_vgg, pretrained (other.pt)", "small_vgg"),
    ]
    assert (result.code, certificate.passed, certificate.tiers[0].outcome) == (3, False, "not tested")
    written = [path for path in out.rglob("*") if path.is_file()]
    assert {"audit.json", "report.html", "victims.jsonl"} <= {path.name for path in written}
    for path in written:
        assert str(tmp_path).encode() not in path.read_bytes(), path


@pytest.mark.parametrize("name", SHIPPED)
def test_the_head_of_a_recipe_gives_its_command(name):
    head = [line for line in recipe_text(name).splitlines() if line.startswith("#")]
    assert any("rem-release audit RUN" in line and f"--recipe {name}" in line for line in head)
