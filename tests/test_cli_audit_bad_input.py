"""What `rem-release audit` refuses: one clear line, the right exit code, nothing on stdout, and nothing left behind."""

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from rem_release.audit.inputs import sets
from rem_release.errors import RemReleaseError
from rem_release.models import build_model
from rem_release.training.memory import memory_watched
from tests.audit_commands import as_parquet, draw_colours, fall_short, protect, write_inputs
from tests.audits import QUICK, write_audit_recipe
from tests.command_line import draw_classes, read_status, run, snapshot, succeed


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`clean`, `noisy`, `test`, `run` and the recipe `quick.yaml`; nothing here may change."""
    folder = write_inputs(tmp_path_factory.mktemp("inputs"))
    write_audit_recipe(folder / "quick.yaml", **QUICK)
    return folder


@pytest.fixture(scope="module", autouse=True)
def baselines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        (folder / "baselines").mkdir()
        patch.setenv("REM_RELEASE_CACHE", str(folder))
        yield


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an audit would leave in the working folder would lie here."""
    monkeypatch.chdir(tmp_path)


def refuse(inputs: Path, *arguments: object, code: int = 2, lines: int = 1) -> str:
    """Run an audit that must be refused and leave no trace; returns its message."""
    watched = [Path.cwd(), inputs, Path(os.environ["REM_RELEASE_CACHE"])]
    before = [snapshot(folder) for folder in watched]
    result = run("audit", *arguments)
    assert result.code == code, (result.code, result.err)
    assert result.out == ""
    messages = result.err.splitlines()
    first = next(number for number, line in enumerate(messages) if line.startswith("error: "))
    assert len(messages) - first == lines, result.err
    assert [snapshot(folder) for folder in watched] == before
    return "\n".join(messages[first:])


def refuse_run(inputs: Path, *options: object, code: int = 2, lines: int = 1) -> str:
    """The same for the run of the inputs with its test images, which alone would do."""
    given = ("--recipe", inputs / "quick.yaml", "--holdout", inputs / "test")
    return refuse(inputs, inputs / "run", *given, *options, code=code, lines=lines)


def refuse_copy(inputs: Path, *options: object, target: str = "noisy") -> str:
    """The same for the noisy copy."""
    given = ("--recipe", inputs / "quick.yaml", "--clean", inputs / "clean", "--holdout", inputs / "test")
    return refuse(inputs, inputs / target, *given, *options)


# --- the target


def test_targets_that_are_not_there_or_hold_nothing(tmp_path: Path, inputs: Path) -> None:
    recipe = ("--recipe", inputs / "quick.yaml")
    clean = ("--clean", inputs / "clean")
    assert f"there is no run {tmp_path / 'nowhere'}" in refuse(inputs, tmp_path / "nowhere", *recipe)
    assert "nowhere does not exist" in refuse(inputs, tmp_path / "nowhere", *recipe, *clean)
    (tmp_path / "empty").mkdir()
    assert "empty holds no files" in refuse(inputs, tmp_path / "empty", *recipe, *clean)
    assert "not Parquet" in refuse(inputs, inputs / "quick.yaml", *recipe, *clean)
    assert "cannot be used: File name too long" in refuse(inputs, tmp_path / ("x" * 300), *recipe, *clean)


def test_a_copy_needs_its_originals_and_in_the_same_order(tmp_path: Path, inputs: Path) -> None:
    recipe = ("--recipe", inputs / "quick.yaml", "--holdout", inputs / "test")
    assert "add --clean SOURCE" in refuse(inputs, inputs / "noisy", *recipe)
    for clean, words in (
        (tmp_path / "nowhere", "does not exist"),
        ("", "the source is empty"),
        (inputs / "test", "has 24 rows and --clean"),
        (draw_classes(tmp_path / "other", ["blue", "green"], 12), "row 12 is labelled red"),
    ):
        assert words in refuse(inputs, inputs / "noisy", *recipe, "--clean", clean)


@pytest.mark.parametrize("target", ["run", "run/release"])
@pytest.mark.parametrize(
    ("option", "value", "stated"),
    [
        ("--split", "test", "train"),
        ("--split", "train+test", "train"),
        ("--image-column", "img", "image"),
        ("--label-column", "fine", "label"),
        ("--rho-u", "4/255", "8/255"),
        ("--rho-u", "0", "8/255"),
    ],
)
def test_what_contradicts_the_facts_of_a_release_is_refused(
    inputs: Path, target: str, option: str, value: str, stated: str
) -> None:
    given = ("--recipe", inputs / "quick.yaml", "--clean", inputs / "clean", "--holdout", inputs / "test")
    message = refuse(inputs, inputs / target, *given, option, value)
    said = "+".join(sorted(value.split("+")))
    assert f"{inputs / 'run/release'} states its own {option} {stated}, not {said}; leave {option} out" in message


@pytest.mark.parametrize("target", ["run", "run/release"])
def test_options_that_say_what_the_facts_state_change_nothing(tmp_path: Path, inputs: Path, target: str) -> None:
    given = ("--recipe", inputs / "quick.yaml", "--clean", inputs / "clean", "--holdout", inputs / "test")
    options = ("--split", "train", "--image-column", "image", "--label-column", "label", "--rho-u", "8px")
    known = {
        key: succeed("audit", inputs / target, *given, *more, "--plan", "--json").json
        for key, more in (("with", options), ("without", ()))
    }
    for plan in known.values():
        del plan["seconds"]
    assert known["with"] == known["without"]


@pytest.mark.parametrize("target", ["noisy", "run"])
@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--rho-u", "nine", "--rho-u: 'nine' is not a radius"),
        ("--rho-u", "9", "--rho-u: 9 is outside 0 to 1"),
        ("--rho-u", "", "--rho-u: '' is not a radius"),
        ("--split", "", "--split '' cannot name a split"),
        ("--split", "a b", "cannot name a split"),
        ("--split", "train+train", "names 'train' twice"),
    ],
)
def test_values_of_no_radius_and_no_split(inputs: Path, target: str, option: str, value: str, words: str) -> None:
    assert words in refuse_copy(inputs, option, value, target=target)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--rho-u", "1/256", "--rho-u 1/256 is less than a level of 255"),
        ("--rho-u", "0", "--rho-u 0 is less than a level of 255"),
        ("--split", "test", "split"),
        ("--image-column", "", "--image-column '' is no name of a column"),
        ("--label-column", "image", "--image-column and --label-column are both 'image'"),
    ],
)
def test_options_of_a_copy_that_cannot_be(inputs: Path, option: str, value: str, words: str) -> None:
    assert words in refuse_copy(inputs, option, value)


@pytest.mark.parametrize("option", ["--image-column", "--label-column"])
def test_a_column_that_a_copy_does_not_have_names_the_option(tmp_path: Path, inputs: Path, option: str) -> None:
    noisy, clean = (as_parquet(inputs / name, tmp_path / f"{name}.parquet") for name in ("noisy", "clean"))
    given = ("--recipe", inputs / "quick.yaml", "--clean", clean, "--holdout", inputs / "test")
    message = refuse(inputs, noisy, *given, option, "absent")
    assert "'absent'" in message
    assert option in message


@pytest.mark.parametrize("target", ["run", "run/release"])
def test_other_originals_are_noticed(inputs: Path, target: str) -> None:
    given = ("--recipe", inputs / "quick.yaml", "--holdout", inputs / "test", "--clean", inputs / "test")
    assert "give the images that were protected, as they were then, with --clean" in refuse(
        inputs, inputs / target, *given
    )


def test_runs_that_cannot_be_audited(tmp_path: Path, inputs: Path) -> None:
    given = ("--recipe", inputs / "quick.yaml", "--holdout", inputs / "test")
    unfinished = Path(shutil.copytree(inputs / "run", tmp_path / "unfinished"))
    shutil.rmtree(unfinished / "release")
    assert "finish the run with --resume" in refuse(inputs, unfinished, *given)
    lost = Path(shutil.copytree(inputs / "run", tmp_path / "lost"))
    (lost / "private/rows.parquet").unlink()
    assert "add --clean SOURCE" in refuse(inputs, lost, *given)
    for name in ("data/train-00000-of-00001.parquet", "protection.json"):
        damaged = Path(shutil.copytree(inputs / "run", tmp_path / name.partition("/")[0]))
        path = damaged / "release" / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 64
        path.write_bytes(data)
        assert name in refuse(inputs, damaged, *given, code=1)


# --- the test images


def test_test_images_of_other_classes_or_without_a_class(tmp_path: Path, inputs: Path) -> None:
    recipe = ("--recipe", inputs / "quick.yaml")
    others = draw_classes(tmp_path / "others", ["cat", "dog"], 5)
    message = refuse(inputs, inputs / "run", *recipe, "--holdout", others)
    assert "has no class 'cat', 'dog'" in message
    assert "no image of 'blue', 'red'" in message
    shutil.copytree(inputs / "test", tmp_path / "missing")
    shutil.rmtree(tmp_path / "missing/red")
    draw_classes(tmp_path / "missing", ["green"], 5)
    assert "no image of 'red'" in refuse(inputs, inputs / "run", *recipe, "--holdout", tmp_path / "missing")
    for holdout, words in ((tmp_path / "nowhere", "does not exist"), ("", "the source is empty")):
        assert words in refuse(inputs, inputs / "run", *recipe, "--holdout", holdout)


def test_test_images_of_the_release_are_refused_and_the_cure_is_named(tmp_path: Path, inputs: Path) -> None:
    recipe = ("--recipe", inputs / "quick.yaml")
    for folder, distance in (("clean", 0), ("noisy", 8)):
        message = refuse(inputs, inputs / "run", *recipe, "--holdout", inputs / folder)
        assert f"test image blue/00.png is within {distance} levels" in message
        assert "--set holdout.overlap=drop" in message
    assert "no test image is left of 'blue', 'red'" in refuse(
        inputs, inputs / "run", *recipe, "--holdout", inputs / "clean", "--set", "holdout.overlap=drop"
    )
    shutil.copytree(inputs / "test", tmp_path / "mixed")
    shutil.copy(inputs / "clean/blue/00.png", tmp_path / "mixed/blue/known.png")
    message = refuse(inputs, inputs / "run", *recipe, "--holdout", tmp_path / "mixed")
    assert "blue/known.png" in message
    assert "1 of 21 test images" in message


def test_too_few_test_images_says_how_many_it_takes(inputs: Path) -> None:
    message = refuse_run(inputs, "--set", "statistics.half_width=0.05")
    assert "20 test images are too few: accuracy to within 5.0% takes 271;" in message
    assert "--holdout" in message


def test_copies_of_test_images_count_as_one(tmp_path: Path, inputs: Path) -> None:
    """One value of each copy is another, so that no two files and no two images are the same."""
    for path in sorted((inputs / "test").rglob("*.png")):
        pixels = np.asarray(Image.open(path)).copy()
        for number in range(30):
            copy = tmp_path / "copies" / path.parent.name / f"{path.stem}-{number}.png"
            copy.parent.mkdir(parents=True, exist_ok=True)
            pixels[0, 0, 0] = number
            Image.fromarray(pixels).save(copy)
    given = ("--recipe", inputs / "quick.yaml", "--holdout", tmp_path / "copies")
    message = refuse(inputs, inputs / "run", *given, "--set", "statistics.half_width=0.1")
    assert "600 test images (they count as 20; 580 of them are near copies of others) are too few" in message


# --- the recipe


def test_recipes_that_are_none(tmp_path: Path, inputs: Path) -> None:
    assert "did you mean 'audit-quick'?" in refuse(inputs, inputs / "run", "--recipe", "audit-quik")
    assert "give it to rem-release protect" in refuse(inputs, inputs / "run", "--recipe", "quickstart")
    message = refuse(inputs, inputs / "run", "--recipe", tmp_path / "none.yaml")
    assert f"the recipe {tmp_path / 'none.yaml'} cannot be read: " in message
    out = ("--out", tmp_path / "new")
    result = run("protect", inputs / "clean", *out, "--recipe", inputs / "quick.yaml")
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert "rem-release audit" in result.err


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("victim.step=3", "--set victim.step: no such key; the nearest is victim.least_steps"),
        ("victim.steps", "write KEY=VALUE"),
        ("tiers.standard.threats=[]", "no threats in any tier"),
        ("tiers.standard.architectures=[]", "has threats and no architecture"),
        ("tiers.standard.threats=[pgd(radius=80*rho_a)]", "above 1, the whole range of a pixel"),
        ("adversary.steps=1", "cannot reach the radius that it is named after"),
        ("victim.augmentation=none,tiers.standard.threats=[eot(samples=2)]", "set cifar or imagenet"),
        ("statistics.resamples=4000", "--set statistics.resamples: no such key"),
        ("seeds.worst=3", "--set seeds.worst: no such key"),
        ("victim.steps=3", "--set victim.steps: no such key"),
    ],
)
def test_settings_that_cannot_be(inputs: Path, setting: str, words: str) -> None:
    settings = [part for one in setting.split(",") for part in ("--set", one)]
    assert words in refuse_run(inputs, *settings)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("victim.least_steps=many", "victim.least_steps: Input should be a valid integer"),
        ("victim.epochs=0", "victim.epochs: Input should be greater than 0"),
        ("victim.epochs=1e308", "victim.epochs: Input should be less than or equal to 100000"),
        ("victim.least_steps=10000000000", "victim.least_steps: Input should be less than or equal to 1000000000"),
        ("victim.evaluations=1001", "victim.evaluations: Input should be less than or equal to 1000"),
        ("victim.decay_every=80", "victim.decay_every: Input should be less than or equal to 1"),
        ("seeds.required=0", "seeds.required: Input should be greater than or equal to 1"),
        ("victim.batch_size=1", "victim.batch_size: Input should be greater than or equal to 2"),
        ("tiers.standard.threats=[standrd]", "no threat 'standrd'; the nearest is"),
        ("tiers.standard.threats=[jpeg(q=3)]", "threat jpeg has no parameter 'q'; it has quality, on"),
        ("tiers.standard.threats=[jpeg(quality=0)]", "threat jpeg: quality: "),
        ("tiers.standard.threats=[mixup+cutmix]", "mixup and cutmix do not go together"),
        ("tiers.standard.threats=[pgd]", "threat pgd: radius: "),
        ("tiers.standard.threats=['']", "cannot be read"),
        ("tiers.standard.architectures=[resnt18]", "no architecture 'resnt18'; the nearest is 'resnet18'"),
        ("tiers.standard.architectures=[small_vgg(width=3)]", "architecture small_vgg has no parameter 'width'"),
    ],
)
def test_values_that_cannot_be_are_listed(inputs: Path, setting: str, words: str) -> None:
    """All of a recipe's errors come at once, a line each, below the line that names the recipe."""
    message = refuse_run(inputs, "--set", setting, lines=2)
    assert words in message.splitlines()[1]


def test_weights_that_cannot_be_used_are_named_before_anything_is_trained(tmp_path: Path, inputs: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    save_file(build_model("small_resnet", 2, 32, 0).network.state_dict(), whole)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(whole.read_bytes()[:5000])
    for network, path, words in (
        ("small_resnet", tmp_path / "none.safetensors", "there is no file of weights"),
        ("small_resnet", damaged, "is damaged, or is no file of weights"),
        ("small_vgg", whole, "does not fit small_vgg"),
    ):
        setting = f"tiers.standard.architectures=[source, '{network}(weights={path})']"
        message = refuse_run(inputs, "--set", setting)
        assert words in message
        assert str(path) in message


def test_a_learnability_bound_that_will_not_come_out_warns_first(inputs: Path) -> None:
    options = (inputs / "run", "--recipe", inputs / "quick.yaml", "--holdout", inputs / "test", "--plan")
    warned = succeed("audit", *options, "--set", "learnability.samples=50").err
    assert "warning: there will be no learnability bound: learnability.samples 50 are too few, it takes 98" in warned
    assert "learnability" not in succeed("audit", *options, "--set", "learnability.samples=98").err
    settings = ("--set", "learnability.samples=500", "--set", "learnability.eta=50")
    assert "is too many times sigma" in succeed("audit", *options, *settings).err


def test_a_part_that_is_too_small_for_a_batch_is_refused(tmp_path: Path, inputs: Path) -> None:
    """One image of each class but one is protected: what is released without noise is a single image."""
    draw_colours(tmp_path / "few", count=3)
    options = ("--fraction", "0.8", "--release-unprotected")
    location = protect(tmp_path / "few", tmp_path / "partial", *options)
    given = ("--recipe", inputs / "quick.yaml", "--holdout", inputs / "test")
    message = refuse(inputs, location, *given)
    assert "1 image in the part that is released without noise is too few to train on" in message


# --- where it is written


def test_places_where_an_audit_cannot_be_written(tmp_path: Path, inputs: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("x")
    for out, words in (
        (inputs / "noisy/audit", "lies inside"),
        (inputs / "noisy", "lies inside"),
        (inputs / "clean/audit", "--clean"),
        (inputs / "test/audit", "--holdout"),
        (tmp_path / "file", "is a file"),
        (tmp_path / "file/below", "is a file"),
        (tmp_path / "mine", "is not empty and not an audit"),
        (tmp_path / ("x" * 300), "File name too long"),
        (tmp_path / os.fsdecode(b"r\xffn"), r"r\xffn' is not UTF-8"),
    ):
        assert words in refuse_copy(inputs, "--out", out), out
    assert "leave --out out" in refuse_run(inputs, "--out", tmp_path / "new")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc, where nobody can make a folder")
def test_a_folder_that_cannot_be_made(inputs: Path) -> None:
    assert "/proc/rem-release-audit cannot be written" in refuse_copy(inputs, "--out", "/proc/rem-release-audit")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path: Path, inputs: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    assert "is read-only" in refuse_copy(inputs, "--out", tmp_path / "closed/out")
    location = Path(shutil.copytree(inputs / "run", tmp_path / "run"))
    (location / "release").chmod(0o500)
    given = ("--recipe", inputs / "quick.yaml", "--holdout", inputs / "test")
    assert "is read-only" in refuse(inputs, location, *given)
    (location / "release").chmod(0o700)


def test_what_stands_in_the_way_in_a_run(tmp_path: Path, inputs: Path) -> None:
    location = Path(shutil.copytree(inputs / "run", tmp_path / "run"))
    given = (location, "--recipe", inputs / "quick.yaml", "--holdout", inputs / "test")
    (location / "audit").write_text("mine")
    assert "audit is a file" in refuse(inputs, *given)
    (location / "audit").unlink()
    (location / "audit/victims.jsonl").mkdir(parents=True)
    assert "victims.jsonl is a folder" in refuse(inputs, *given, "--resume")


def test_paths_that_are_not_text(tmp_path: Path, inputs: Path) -> None:
    name = os.fsdecode(b"r\xffn")
    recipe = ("--recipe", inputs / "quick.yaml")
    for kind in ("run", "noisy"):
        shutil.copytree(inputs / kind, tmp_path / kind / name)
    clean, test = ("--clean", inputs / "clean"), ("--holdout", inputs / "test")
    out = ("--out", tmp_path / "out")
    odd = tmp_path / "noisy" / name
    for arguments in (
        (tmp_path / "run" / name, *recipe, *test),
        (odd, *recipe, *clean, *test, *out),
        (inputs / "noisy", *recipe, "--clean", odd, *test, *out),
        (inputs / "noisy", *recipe, *clean, "--holdout", odd, *out),
    ):
        message = refuse(inputs, *arguments)
        assert r"r\xffn" in message
        assert "is not UTF-8" in message


def test_baselines_that_cannot_be_kept_are_refused_first(
    tmp_path: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("REM_RELEASE_CACHE", str(tmp_path / "file"))
    assert "environment variable REM_RELEASE_CACHE" in refuse_run(inputs)


# --- a stopped audit


def test_a_stopped_audit_is_not_begun_again_by_accident_and_resume_of_nothing_begins(
    tmp_path: Path, inputs: Path
) -> None:
    location = Path(shutil.copytree(inputs / "run", tmp_path / "run"))
    given = (location, "--recipe", inputs / "quick.yaml", "--holdout", inputs / "test")
    fall_short(*given, "--resume")
    finished = snapshot(location)
    (location / "audit/report.html").unlink()
    message = refuse(inputs, *given)
    assert f"an audit was stopped in {location / 'audit'}; go on with --resume" in message
    succeed("audit", *given, "--plan")
    fall_short(*given, "--resume")
    assert snapshot(location) == finished


# --- memory


def test_too_little_memory_names_the_key_and_another_fault_stays_what_it_is() -> None:
    refusal = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB."
    with pytest.raises(RemReleaseError) as caught, memory_watched("victim.batch_size", 128):
        raise torch.OutOfMemoryError(refusal)
    assert str(caught.value) == (
        "the device has too little memory for batches of 128 (CUDA out of memory); try --set victim.batch_size=64"
    )
    with pytest.raises(RuntimeError, match="shapes"), memory_watched("victim.batch_size", 128):
        raise RuntimeError("shapes do not fit")


@contextmanager
def little_memory(more: int) -> Iterator[None]:
    """Let this process grow by that many bytes and no more."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to limit memory")
def test_an_audit_that_does_not_fit_is_one_line_and_leaves_what_an_earlier_one_published(
    tmp_path: Path, inputs: Path
) -> None:
    """24 images of 256 x 256, 64 times over, are 1.2 GB."""
    location = Path(shutil.copytree(inputs / "run", tmp_path / "run"))
    fall_short(location, "--recipe", inputs / "quick.yaml", "--holdout", inputs / "test")
    published = snapshot(location / "release")
    large = {"victim__resolution": 256, "victim__augmentation": "cifar"}
    threats = {"tiers__standard__threats": ["linear_probe+eot(samples=64)"]}
    recipe = write_audit_recipe(tmp_path / "large.yaml", **{**QUICK, **large, **threats})
    given = ("audit", location, "--recipe", recipe, "--holdout", inputs / "test")
    with little_memory(600_000_000):
        result = run(*given)
    assert result.code == 1
    (message,) = (line for line in result.err.splitlines() if line.startswith("error: "))
    assert message.startswith("error: the device has too little memory for batches of 64 (tried to allocate ")
    assert message.endswith(" bytes); try --set victim.batch_size=32")
    assert read_status(location)["exit_code"] == 1
    assert snapshot(location / "release") == published
    succeed("verify", location)
    assert "go on with --resume" in run(*given).err, "the report of the earlier audit is not that of this one"


def test_a_temporary_folder_that_is_too_small_is_refused_before_anything_is_trained(
    tmp_path: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of an earlier audit is touched, and victims that are known need no room."""
    location = Path(shutil.copytree(inputs / "run", tmp_path / "run"))
    tiers = {"adaptive": {"threats": ["resized_crop(views=4)"]}}
    recipe = write_audit_recipe(tmp_path / "crops.yaml", **{**QUICK, "tiers": tiers})
    options = (location, "--holdout", inputs / "test", "--recipe", recipe)
    run("audit", *options)
    before = snapshot(location / "audit")
    views = 24 * 4 * 3 * 16 * 16  # of one set: 24 images in four views
    monkeypatch.setattr(sets, "_MAX_IN_MEMORY", views - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=views - 1))
    result = run("audit", *options, "--json")
    assert (result.code, result.out) == (1, "")
    assert result.err.splitlines()[-1].startswith("error: images need 0.00 GB in the temporary folder ")
    assert snapshot(location / "audit") == before
    assert run("audit", *options, "--resume").code == 3, "all victims are known"
