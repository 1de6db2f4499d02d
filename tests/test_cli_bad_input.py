"""Bad usage and bad input: exit code 2, one clear line on stderr, nothing on stdout, and nothing left behind."""

import io
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.command_line import draw, draw_classes, read_status, run, snapshot, start, succeed, write_recipe


def refuse(folder: Path, *arguments: object, lines: int = 1) -> str:
    """Run a command that must be refused and leave `folder` as it was; returns its message."""
    before = snapshot(folder)
    result = run(*arguments)
    assert result.code == 2, (result.code, result.err)
    assert result.out == ""
    messages = result.err.splitlines()
    errors = [number for number, line in enumerate(messages) if line.startswith("error: ")]
    assert len(errors) == 1, result.err
    assert len(messages) - errors[0] == lines, result.err
    assert snapshot(folder) == before
    return "\n".join(messages[errors[0] :])


# --- the images


def hollow_png(width: int, height: int) -> bytes:
    """A PNG that promises so many pixels and holds none."""
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(b""), b"IEND"]
    framed = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    """Two classes of four images, and six files that are no photographs."""
    source = draw_classes(tmp_path / "source")
    whole = (source / "cat" / "0.png").read_bytes()
    (source / "cat" / "truncated ü.png").write_bytes(whole[: len(whole) // 2])
    (source / "cat" / "empty.jpg").touch()
    (source / "dog" / "notes.txt").write_text("not an image")
    (source / "dog" / "bomb.png").write_bytes(hollow_png(30_000, 30_000))
    (source / "stray.png").write_bytes(whole)
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(source / "dog" / "animated.gif", save_all=True, append_images=frames[1:])
    return source


REASONS = {
    "cat/empty.jpg": "empty",
    "cat/truncated ü.png": "truncated",
    "dog/animated.gif": "animated",
    "dog/bomb.png": "more than 178,956,970 pixels",
    "dog/notes.txt": "text, not an image",
    "stray.png": "is in no class folder",
}


def test_bad_images_are_listed_all_at_once(tmp_path: Path, spoilt: Path, recipe: Path) -> None:
    message = refuse(tmp_path, "protect", spoilt, "--out", tmp_path / "run", "--recipe", recipe, lines=7)
    first, *lines = message.splitlines()
    assert "6 files" in first
    assert "--skip-bad" in first
    assert len(lines) == len(REASONS)
    for line, (name, reason) in zip(lines, REASONS.items(), strict=True):
        assert line.startswith(f"  {name}: ")
        assert reason in line


def test_skip_bad_leaves_them_out_and_lists_them(tmp_path: Path, spoilt: Path, recipe: Path) -> None:
    out = tmp_path / "run"
    result = succeed("protect", spoilt, "--out", out, "--recipe", recipe, "--skip-bad", "--json")
    assert "warning: 6 files are left out; protect lists them in private/skipped.csv" in result.err
    assert result.json["images"] == 8
    assert result.json["skipped"] == 6
    skipped = pyarrow.csv.read_csv(out / "private" / "skipped.csv").to_pydict()
    assert skipped["file"] == list(REASONS)
    assert all(reason in found for found, reason in zip(skipped["reason"], REASONS.values(), strict=True))
    succeed("verify", out)
    succeed("verify", out / "release", "--clean", spoilt)


def test_skip_bad_that_leaves_one_class_or_no_image_is_refused(tmp_path: Path, recipe: Path) -> None:
    source = draw_classes(tmp_path / "source", ["cat"])
    (source / "dog").mkdir()
    (source / "dog" / "x.png").write_bytes(b"x")
    options = ("--out", tmp_path / "run", "--recipe", recipe, "--skip-bad")
    assert "only class 'cat' has images" in refuse(tmp_path, "protect", source, *options)
    for path in (source / "cat").iterdir():
        path.write_bytes(b"y")
    assert "none of its 5 rows can be read" in refuse(tmp_path, "protect", source, *options)


@pytest.mark.parametrize("plan", [[], ["--plan"]])
def test_one_different_image_is_too_few_to_train_on(tmp_path: Path, recipe: Path, plan: list[str]) -> None:
    """Six of them, each a level from the one before, so that noise is made for one."""
    pixels = np.random.default_rng(0).integers(9, 200, (8, 8, 3), np.uint8)
    for number in range(6):
        path = tmp_path / "source" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels[0, 0, 0] += 1
        Image.fromarray(pixels).save(path)
    options = (tmp_path / "source", "--out", tmp_path / "run", "--recipe", recipe, *plan)
    message = refuse(tmp_path, "protect", *options)
    assert "only one image is different among those that get noise" in message
    assert "training takes at least 2: add images" in message


# --- the source


def one_class(folder: Path) -> None:
    draw_classes(folder, ["cat"])


def flat(folder: Path) -> None:
    draw(folder / "1.png", 1)
    draw(folder / "2.png", 2)


def empty_classes(folder: Path) -> None:
    (folder / "cat").mkdir(parents=True)
    (folder / "dog").mkdir()


def metadata_without_names(folder: Path) -> None:
    folder.mkdir()
    (folder / "metadata.csv").write_text("picture,label\na.png,x\nb.png,y\n")


def metadata_leading_out(folder: Path) -> None:
    folder.mkdir()
    (folder / "metadata.csv").write_text("file_name,label\n../a.png,x\nb.png,y\n")


def metadata_without_label(folder: Path) -> None:
    flat(folder)
    (folder / "metadata.jsonl").write_text('{"file_name": "1.png"}\n{"file_name": "2.png"}\n')


def metadata_with_a_null_label(folder: Path) -> None:
    flat(folder)
    (folder / "metadata.jsonl").write_text(
        '{"file_name": "1.png", "label": "a"}\n{"file_name": "2.png", "label": null}\n'
    )


def metadata_of_more_files(folder: Path) -> None:
    flat(folder)
    (folder / "metadata.csv").write_text("file_name,label,mask_file_name\n1.png,a,2.png\n2.png,b,1.png\n")


SOURCES: dict[str, tuple[Callable[[Path], None], list[str], list[str]]] = {
    "absent": (lambda folder: None, [], ["does not exist", "Hub id"]),
    "empty": (lambda folder: folder.mkdir(), [], ["holds no files"]),
    "one class": (one_class, [], ["only class 'cat' has images", "two classes"]),
    "flat": (flat, [], ["no class folders", "--label-from clusters"]),
    "empty classes": (empty_classes, [], ["holds no files"]),
    "one album": (flat, ["--label-from", "albums"], ["only class 'album-000'", "--label-from clusters"]),
    "split": (draw_classes, ["--split", "test"], ["no split 'test'", "cat, dog", "--split"]),
    "odd split": (draw_classes, ["--split", "a b"], ["--split 'a b'", "such as train"]),
    "image column": (metadata_with_a_null_label, ["--label-column", "image"], ["--image-column and --label-column"]),
    "names": (metadata_without_names, [], ["'file_name'", "picture, label"]),
    "leading out": (metadata_leading_out, [], ["row 0", "../a.png", "leads out of the folder"]),
    "no label": (metadata_without_label, [], ["no column 'label'", "--label-column"]),
    "null label": (metadata_with_a_null_label, [], ["no label in 1 rows", "row 1", "--label-column"]),
    "more files": (metadata_of_more_files, [], ["mask_file_name", "--drop-column mask_file_name"]),
    "albums of a table": (metadata_with_a_null_label, ["--label-from", "albums"], ["read as a table", "albums"]),
    "dropped": (draw_classes, ["--drop-column", "colour"], ["no column 'colour'", "image, label", "--drop-column"]),
    "dropped label": (draw_classes, ["--drop-column", "label"], ["--drop-column label", "needs"]),
}


@pytest.mark.parametrize("name", SOURCES)
def test_sources_that_cannot_be_protected(tmp_path: Path, recipe: Path, name: str) -> None:
    make, options, words = SOURCES[name]
    make(tmp_path / "source")
    message = refuse(tmp_path, "protect", tmp_path / "source", "--out", tmp_path / "run", "--recipe", recipe, *options)
    for word in words:
        assert word in message, message


def png_cell() -> dict[str, bytes | None]:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


PARQUET: dict[str, tuple[dict[str, list[object]], list[str], list[str]]] = {
    "no image column": ({"picture": [0, 1], "label": [0, 1]}, [], ["no column 'image'", "--image-column"]),
    "not an image": ({"image": [0, 1], "label": [0, 1]}, [], ["'image'", "does not hold images", "--image-column"]),
    "floats": ({"image": [png_cell()] * 2, "label": [0.5, 1.5]}, [], ["numbers such as 0.5", "--label-column"]),
    "many labels": ({"image": [png_cell()] * 2, "label": [[0], [1, 2]]}, [], ["lists of int64", "--label-column"]),
    "minus one": ({"image": [png_cell()] * 2, "label": [0, -1]}, [], ["-1, which means no label", "row 1"]),
    "a thumbnail": (
        {"image": [png_cell()] * 2, "label": [0, 1], "thumb": [b"x", b"y"]},
        [],
        ["'thumb' (binary)", "--drop-column thumb"],
    ),
    "one class": ({"image": [png_cell()] * 2, "label": ["a", "a"]}, [], ["only class 'a' has images"]),
    "a split": ({"image": [png_cell()] * 2, "label": [0, 1]}, ["--label-from", "clusters"], ["'label' already"]),
    "no rows": ({"image": [], "label": []}, [], ["has no rows"]),
}


@pytest.mark.parametrize("name", PARQUET)
def test_parquet_files_that_cannot_be_protected(tmp_path: Path, recipe: Path, name: str) -> None:
    columns, options, words = PARQUET[name]
    source = tmp_path / "source.parquet"
    pq.write_table(pa.table(columns), source)
    message = refuse(tmp_path, "protect", source, "--out", tmp_path / "run", "--recipe", recipe, *options)
    for word in words:
        assert word in message, message


def test_null_images_of_a_table_are_listed_by_row(tmp_path: Path, recipe: Path) -> None:
    source = tmp_path / "source.parquet"
    pq.write_table(pa.table({"image": [png_cell(), None, png_cell()], "label": [0, 1, 1]}), source)
    message = refuse(tmp_path, "protect", source, "--out", tmp_path / "run", "--recipe", recipe, lines=2)
    assert message.splitlines()[1] == "  row 1: no image (null)"


def test_damaged_tables_are_one_line(tmp_path: Path, recipe: Path) -> None:
    options = ("--out", tmp_path / "run", "--recipe", recipe)
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 and no more")
    assert "damaged.parquet" in refuse(tmp_path, "protect", tmp_path / "damaged.parquet", *options)
    (tmp_path / "image.png").write_bytes(b"x")
    assert "one file and not Parquet" in refuse(tmp_path, "protect", tmp_path / "image.png", *options)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    rows = {"image": [png_cell()] * 2, "label": ["a", "b"]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "saved")
    (tmp_path / "saved" / "data-00000-of-00001.arrow").write_bytes(b"not Arrow")
    assert "saved" in refuse(tmp_path, "protect", tmp_path / "saved", *options)


def test_a_hub_id_that_cannot_be_reached(tmp_path: Path, recipe: Path, process_env: dict[str, str]) -> None:
    """In a process of its own, because the client reads its settings when it is imported."""
    process = start(
        *("protect", "nobody/nothing", "--out", tmp_path / "run", "--recipe", recipe),
        env=process_env | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"},
    )
    out, err = process.communicate()
    assert process.returncode == 2, err
    assert out == ""
    assert "error: there is no such folder here, and on the Hub nobody/nothing cannot be read" in err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


# --- the recipe


RECIPES: dict[str, tuple[list[str], list[str]]] = {
    "rho_a above": (["--rho-a", "9/255"], ["noise.rho_a 9/255 is not below noise.rho_u 8/255", "half of rho_u"]),
    "rho_a equal": (["--rho-a", "8px"], ["8/255 is not below noise.rho_u 8/255"]),
    "rho_u below rho_a": (["--rho-u", "4/255"], ["noise.rho_a 4/255 is not below noise.rho_u 4/255"]),
    "rho_u a word": (["--rho-u", "eight"], ["--rho-u", "'eight'", "8/255, 0.0314 or 8px"]),
    "rho_u in pixels": (["--rho-u", "8"], ["--rho-u", "8/255 or 8px"]),
    "rho_u negative": (["--rho-u=-1/255"], ["--rho-u", "-1/255"]),
    "rho_u nothing": (["--rho-u", "0.5px", "--rho-a", "0"], ["less than one 8-bit level", "1/255"]),
    "rho_u everything": (["--rho-u", "128/255"], ["above 127/255", "8/255"]),
    "rho_u not a number": (["--rho-u", "nan"], ["--rho-u", "nan"]),
    "rho_u by zero": (["--rho-u", "8/0"], ["--rho-u", "8/0"]),
    "rho_a of em": (["--method", "em", "--rho-a", "2/255"], ["em has no adversary", "--method rem"]),
    "method": (
        ["--method", "REM"],
        ["--method REM", "rem or em or sem or tap or ntga or lsp or pil or classwise or random"],
    ),
    "label from": (["--label-from", "folders"], ["--label-from folders", "albums or clusters"]),
    "set without value": (["--set", "generator.steps"], ["--set generator.steps", "KEY=VALUE"]),
    "set an unknown key": (["--set", "generator.step=3"], ["--set generator.step", "nearest is generator.steps"]),
    "set a word": (["--set", "generator.steps=many"], ["generator.steps", "'many'"]),
    "set no YAML": (["--set", "generator.steps=["], ["--set generator.steps=[", "not YAML"]),
    "set a branch": (["--set", "noise=3"], ["--set noise: no such key"]),
    "set a section that is not there": (
        ["--recipe", "lsp-cifar10", "--set", "generator.steps=3"],
        ["--set generator.steps: the recipe has no generator"],
    ),
    "set a rate of no use": (
        ["--set", "generator.learning_rate=1e300"],
        ["generator.learning_rate", "less than or equal to"],
    ),
    "set a spread of no use": (["--recipe", "lsp-cifar10", "--set", "noise.spread=1e30"], ["noise.spread", "1000"]),
    "set an endless time": (["--recipe", "ntga-cifar10", "--set", "noise.time=1e300"], ["noise.time"]),
    "set nothing to learn": (["--set", "noise.steps=0"], ["noise.steps", "above 0"]),
    "set a batch of one": (["--set", "generator.batch_size=1"], ["generator.batch_size", "equal to 2", "got 1"]),
    "set one pixel": (["--set", "data.resolution=1"], ["data.resolution", "equal to 2", "got 1"]),
    "set the network": (["--set", "generator.model=vgg"], ["generator.model", "'vgg'", "small_resnet"]),
    "fraction zero": (["--fraction", "0"], ["--fraction 0", "above 0"]),
    "fraction two": (["--fraction", "2"], ["--fraction 2", "up to 1"]),
    "fraction nan": (["--fraction", "nan"], ["--fraction nan", "0.5"]),
    "fraction of one class": (["--fraction", "0.1"], ["two classes", "--fraction"]),
    "reserve all": (["--reserve", "1"], ["--reserve 1", "below 1"]),
    "reserve negative": (["--reserve=-0.1"], ["--reserve -0.1"]),
    "reserve nothing": (["--reserve", "0.1"], ["--reserve 0.1 keeps no image back"]),
    "all protected": (["--release-unprotected"], ["--release-unprotected", "--fraction"]),
    "resume and overwrite": (["--resume", "--overwrite"], ["--resume", "--overwrite", "one of them"]),
}


VALUES = (
    *("set a word", "set a batch of one", "set one pixel", "set the network"),
    *("set a rate of no use", "set a spread of no use", "set an endless time"),
)
"""each is named in a line of its own"""


@pytest.mark.parametrize("name", RECIPES)
def test_options_that_cannot_be(tmp_path: Path, photographs: Path, recipe: Path, name: str) -> None:
    options, words = RECIPES[name]
    lines = 2 if name in VALUES else 1
    message = refuse(
        tmp_path, "protect", photographs, "--out", tmp_path / "run", "--recipe", recipe, *options, lines=lines
    )
    for word in words:
        assert word in message, message


def test_recipes_that_cannot_be_read(tmp_path: Path, photographs: Path) -> None:
    options = ("protect", photographs, "--out", tmp_path / "run")
    message = refuse(tmp_path, *options, "--recipe", "rem-cifar")
    assert "did you mean 'rem-cifar10" in message
    message = refuse(tmp_path, *options, "--recipe", tmp_path / "absent.yaml")
    assert f"the recipe {tmp_path / 'absent.yaml'} cannot be read: " in message
    (tmp_path / "broken.yaml").write_text("data: [\n")
    assert "is not YAML" in refuse(tmp_path, *options, "--recipe", tmp_path / "broken.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    assert "not a mapping" in refuse(tmp_path, *options, "--recipe", tmp_path / "list.yaml")
    message = refuse(tmp_path, *options, "--recipe", "em-cifar10", "--method", "rem")
    assert "start from a rem- recipe" in message
    wrong = write_recipe(tmp_path / "wrong.yaml", noise__steps=-1, generator__decay=2, data__resolution="big")
    wrong.write_text(wrong.read_text() + "colour: blue\n")
    message = refuse(tmp_path, *options, "--recipe", wrong, lines=5)
    for key in ("noise.steps", "generator.decay", "data.resolution", "colour"):
        assert f"\n  {key}: " in message


def test_rho_a_above_half_of_rho_u_warns(tmp_path: Path, photographs: Path, recipe: Path) -> None:
    plain = ("protect", photographs, "--out", tmp_path / "run", "--recipe", recipe, "--plan")
    assert "warning" not in succeed(*plain).err
    warned = succeed(*plain, "--rho-a", "4.1/255")
    assert warned.err.startswith("warning: rho_a is more than half of rho_u")
    assert "warning" not in succeed(*plain, "--rho-a", "4.1/255", "--method", "random").err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["protect", "x", "--out", "y", "--rho_u", "8/255"], "--rho_u"),
        (["protect", "x"], "--out"),
        (["protect", "x", "y", "--out", "z"], "unexpected extra argument"),
        (["protect", "x", "--out", "y", "--fraction", "half"], "--fraction"),
        (["protect", "x", "--out", "y", "--max-side", "0"], "--max-side"),
        (["protect", "x", "--out", "y", "--seed", "-1"], "--seed"),
        (["protect", "x", "--out", "y", "--seed", "9223372036854775808"], "--seed"),
        (["verify"], "RUN|RELEASE"),
        (["verify", "x", "--fast"], "--fast"),
        (["recipes", "lst"], "lst"),
        (["porotect"], "porotect"),
    ],
)
def test_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], word: str) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert word in result.err
    assert not list(tmp_path.iterdir())


# --- the place


def test_a_folder_that_is_no_run_is_never_touched(tmp_path: Path, photographs: Path, recipe: Path) -> None:
    out = tmp_path / "mine"
    for name in ("release/thesis.txt", "private/diary.txt", "private/letters.json"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("dear")
    for option in ((), ("--overwrite",), ("--resume",)):
        message = refuse(tmp_path, "protect", photographs, "--out", out, "--recipe", recipe, *option)
        assert "not empty and not a run" in message
        assert str(out) in message
    (tmp_path / "file").write_text("dear")
    for option in ((), ("--overwrite",)):
        message = refuse(tmp_path, "protect", photographs, "--out", tmp_path / "file", "--recipe", recipe, *option)
        assert "is a file" in message
    message = refuse(tmp_path, "protect", photographs, "--out", tmp_path / "file" / "run", "--recipe", recipe)
    assert str(tmp_path / "file" / "run") in message


@pytest.mark.parametrize("inside", ["run-in-source", "source-in-run", "same"])
def test_run_and_source_lie_apart(tmp_path: Path, recipe: Path, inside: str) -> None:
    source = draw_classes(tmp_path / "a" / "b")
    out = {"run-in-source": source / "cat" / "run", "source-in-run": tmp_path / "a", "same": source}[inside]
    for option in ((), ("--overwrite",)):
        message = refuse(tmp_path, "protect", source, "--out", out, "--recipe", recipe, *option)
        assert "overlap" in message
        assert str(out) in message
    (tmp_path / "link").symlink_to(source)
    message = refuse(tmp_path, "protect", tmp_path / "link", "--out", out, "--recipe", recipe)
    assert "overlap" in message


def test_an_existing_run_is_kept_until_it_can_be_replaced(
    tmp_path: Path, run_copy: Path, photographs: Path, recipe: Path
) -> None:
    options = ("--out", run_copy, "--recipe", recipe)
    message = refuse(tmp_path, "protect", photographs, *options)
    assert "--resume" in message
    assert "--overwrite" in message
    bad = draw_classes(tmp_path / "bad")
    (bad / "cat" / "x.png").write_bytes(b"x")
    refuse(tmp_path, "protect", bad, *options, "--overwrite", lines=2)
    refuse(tmp_path, "protect", photographs, *options, "--overwrite", "--fraction", "0.1")
    (run_copy / "notes.txt").write_text("mine")
    succeed("protect", photographs, *options, "--overwrite", "--seed", "5")
    assert (run_copy / "notes.txt").read_text() == "mine"
    assert json.loads((run_copy / "private" / "options.json").read_bytes())["seed"] == 5
    succeed("verify", run_copy)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--seed", "1"), ["another seed"]),
        (("--set", "generator.steps=3"), ["recipe.generator.steps 2, not 3"]),
        (("--rho-u", "9/255"), ["recipe.noise.rho_u '8/255', not '9/255'"]),
        (("--reserve", "0.5"), ["reserve 0.0, not 0.5"]),
        (("--skip-bad",), ["skip_bad False, not True"]),
    ],
)
def test_resume_with_other_options(
    tmp_path: Path, run_copy: Path, photographs: Path, recipe: Path, option: tuple[str, ...], words: list[str]
) -> None:
    message = refuse(tmp_path, "protect", photographs, "--out", run_copy, "--recipe", recipe, "--resume", *option)
    for word in [*words, "--resume", "--overwrite", str(run_copy)]:
        assert word in message


def test_resume_of_a_source_that_changed(tmp_path: Path, photographs: Path, recipe: Path) -> None:
    source = Path(shutil.copytree(photographs, tmp_path / "source"))
    out = tmp_path / "run"
    options = ("protect", source, "--out", out, "--recipe", recipe)
    succeed(*options)
    (out / "private" / "rows.parquet").unlink()
    draw(source / "cat" / "0.png", 77)
    result = run(*options, "--resume")
    assert (result.code, result.out) == (2, "")
    assert "another recipe, seed or set of images" in result.err.splitlines()[-1]
    assert read_status(out)["state"] == "failed"
    assert read_status(out)["exit_code"] == 2
    (source / "cat" / "0.png").write_bytes(b"x")
    result = run(*options, "--resume")
    assert result.code == 2
    assert "cat/0.png" in read_status(out)["message"]


# --- an earlier generator


def test_generators_that_cannot_be_used(tmp_path: Path, run_copy: Path, photographs: Path, recipe: Path) -> None:
    options = ("protect", photographs, "--out", tmp_path / "run", "--generator")
    assert "is not a run folder" in refuse(tmp_path, *options, photographs)
    for option, value in (
        ("--rho-u", "8/255"),
        ("--rho-a", "2/255"),
        ("--recipe", "quickstart"),
        ("--method", "em"),
        ("--set", "generator.steps=1"),
    ):
        message = refuse(tmp_path, *options, run_copy, option, value)
        assert option in message
        assert "no effect with --generator" in message
    other = draw_classes(tmp_path / "other", ["cat", "horse"])
    message = refuse(tmp_path, "protect", other, "--out", tmp_path / "run", "--generator", run_copy)
    assert "horse" in message
    assert "cat, dog" in message
    weights = run_copy / "private" / "generator.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    assert "cannot use the generator" in refuse(tmp_path, *options, run_copy)
    weights.unlink()
    (run_copy / "private" / "rows.parquet").unlink()
    assert "finish that run with --resume" in refuse(tmp_path, *options, run_copy)
    succeed("protect", photographs, "--out", tmp_path / "random", "--recipe", recipe, "--method", "random")
    assert "needs none" in refuse(tmp_path, *options, tmp_path / "random")


def test_a_generator_is_not_overwritten_by_its_own_use(tmp_path: Path, run_copy: Path, photographs: Path) -> None:
    for out in (run_copy, run_copy / "release" / "again"):
        message = refuse(tmp_path, "protect", photographs, "--out", out, "--generator", run_copy, "--overwrite")
        assert "overlap" in message


# --- the other commands


def test_commands_that_need_a_release(tmp_path: Path, photographs: Path, run_copy: Path) -> None:
    assert f"{tmp_path / 'absent'} holds no release" in refuse(tmp_path, "verify", tmp_path / "absent")
    assert "holds no release" in refuse(tmp_path, "card", photographs)
    assert "nowhere does not exist" in refuse(tmp_path, "verify", run_copy, "--clean", "nowhere")
    assert "nowhere does not exist" in refuse(tmp_path, "verify", run_copy / "release", "--clean", "nowhere")
    shutil.rmtree(run_copy / "release")
    assert "--resume" in refuse(tmp_path, "verify", run_copy)


def test_recipes_that_are_not_there(tmp_path: Path) -> None:
    assert "did you mean 'quickstart'?" in refuse(tmp_path, "recipes", "show", "quikstart")
    wrong = write_recipe(tmp_path / "wrong.yaml", noise__rho_a="8/255")
    assert "not below" in refuse(tmp_path, "recipes", "check", wrong)


def test_unreadable_folder_is_named(tmp_path: Path, photographs: Path, recipe: Path) -> None:
    """A path that no system can make: a name of more than 255 bytes."""
    out = tmp_path / ("x" * 300)
    assert "--out" in refuse(tmp_path, "protect", photographs, "--out", out, "--recipe", recipe)


def test_a_path_that_is_not_text_is_named(tmp_path: Path, photographs: Path, recipe: Path) -> None:
    """A name that is not UTF-8 cannot be written to JSON or Parquet: better to say so before the work than after."""
    name = os.fsdecode(b"r\xffn")
    message = refuse(tmp_path, "protect", photographs, "--out", tmp_path / name, "--recipe", recipe)
    assert r"r\xffn' is not UTF-8" in message
    draw_classes(tmp_path / name)
    message = refuse(tmp_path, "protect", tmp_path / name, "--out", tmp_path / "run", "--recipe", recipe)
    assert r"r\xffn" in message
    assert "not UTF-8" in message


def test_an_empty_source_is_not_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Path, run_copy: Path
) -> None:
    monkeypatch.chdir(draw_classes(tmp_path / "here"))
    for arguments in (
        ("protect", "", "--out", tmp_path / "run", "--recipe", recipe),
        ("verify", run_copy, "--clean", ""),
    ):
        assert "the source is empty" in refuse(tmp_path, *arguments)


def test_images_of_one_look_cannot_be_clustered(tmp_path: Path, recipe: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for index in range(3):
        Image.fromarray(np.full((8, 8, 3), 9, np.uint8)).save(source / f"{index}.png")
    message = refuse(
        tmp_path, "protect", source, "--out", tmp_path / "run", "--recipe", recipe, "--label-from", "clusters"
    )
    assert "different-looking" in message
