"""Names that would paint on a terminal: files, classes, columns and arguments, in real processes."""

import os
import pty
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
import yaml

from rem_release.recipe_files import recipe_text
from tests.command_line import draw, draw_classes, read_status, run, start, succeed
from tests.test_plain_text import is_seen

PAINT = "\x1b[2K\r  ok     "
FORGED = f"cat\n{PAINT}verdict: passed"
TURNED = "dog\u202egnp.\u2066"
EIGHT_BIT = "emu\x9b2J\x85 ü"
NAMES = (FORGED, TURNED, EIGHT_BIT)


def require_seen(text: str) -> None:
    for line in text.split("\n"):
        assert is_seen(line), repr(line)
    assert not any(line.startswith(("ok     verdict", "  ok     verdict")) for line in text.splitlines())


@pytest.fixture(scope="module")
def strange_run(tmp_path_factory: pytest.TempPathFactory, recipe: Path) -> Path:
    """A run whose classes, column and folder all have such names; the run folder's own name, too."""
    folder = tmp_path_factory.mktemp("strange")
    source = folder / f"{TURNED}.parquet"
    features = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=list(NAMES)),
        f"c{PAINT}": datasets.Value("int64"),
    }
    images = [draw(folder / f"{number}.png", number) for number in range(6)]
    rows = {
        "image": [str(folder / f"{n}.png") for n in range(len(images))],
        "label": [0, 1, 2] * 2,
        f"c{PAINT}": [0] * 6,
    }
    datasets.Dataset.from_dict(rows, features=datasets.Features(features)).to_parquet(source)
    out = folder / "run\u202e\x1b[1A"
    done = succeed("protect", source, "--out", out, "--recipe", recipe)
    require_seen(done.out)
    require_seen(done.err)
    return out


def test_the_card_shows_them_and_keeps_the_data(strange_run: Path) -> None:
    card = (strange_run / "release" / "README.md").read_text(encoding="utf-8")
    require_seen(card)
    assert r"dog&#92;u202egnp" in card or r"dog\u202Egnp" in card
    metadata = yaml.safe_load(card.split("---\n")[1])
    (label,) = [column for column in metadata["dataset_info"]["features"] if column["name"] == "label"]
    assert sorted(label["dtype"]["class_label"]["names"].values()) == sorted(NAMES)
    loaded = datasets.Features.from_arrow_schema(pq.read_schema(next((strange_run / "release/data").iterdir())))
    assert sorted(loaded["label"].names) == sorted(NAMES)


@pytest.mark.parametrize("as_json", [False, True])
def test_verify_of_such_a_release_paints_nothing(strange_run: Path, as_json: bool) -> None:
    done = succeed("verify", strange_run, *(["--json"] if as_json else []))
    require_seen(done.out)
    require_seen(done.err)
    if as_json:
        assert done.json["release"] == str(strange_run / "release")
    else:
        assert r"run\u202e\x1b[1A" in done.out


def test_verify_on_a_real_terminal(tmp_path: Path, strange_run: Path) -> None:
    """Rich knows that this is a terminal, and still only its own sequences reach it."""
    release = Path(shutil.copytree(strange_run / "release", tmp_path / "release"))
    (release / f"x{FORGED}\u202e\x9b2J").touch()
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "rem_release", "verify", str(release)]
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, close_fds=True) as process:
        os.close(follower)
        written = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            written += piece
    os.close(leader)
    assert process.returncode == 1
    text = written.decode()
    assert r"xcat\n\x1b[2K\r  ok     verdict: passed\u202e\x9b2J does not belong to the release" in text
    assert PAINT not in text
    assert not set(text) & {"\u202e", "\x9b", "\x85"}
    assert not any(line.startswith("  ok     verdict") for line in text.splitlines())


def test_files_that_cannot_be_read(tmp_path: Path, recipe: Path) -> None:
    source = draw_classes(tmp_path / "source")
    for name in (f"a{FORGED}.png", f"{TURNED}.png", f"{EIGHT_BIT}.png"):
        (source / "cat" / name).write_bytes(b"x")
    result = run("protect", source, "--out", tmp_path / "run", "--recipe", recipe)
    err = result.err
    assert (result.code, result.out) == (2, "")
    require_seen(err)
    assert err[err.index("error: ") :].count("\n") == 4
    assert r"  cat/acat\n\x1b[2K\r  ok     verdict: passed.png: " in err
    assert r"dog\u202egnp.\u2066.png" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", FORGED),
        ("verify", "x", "--clean", TURNED, FORGED),
        ("recipes", "show", FORGED),
        ("recipes", FORGED),
        ("recipes", "check", f"{TURNED}.yaml"),
        (FORGED,),
        ("verify", "x", f"--{FORGED}"),
        ("protect", "x", "--out", "y", "--fraction", EIGHT_BIT),
        ("protect", "x", "--out", "y", "--set", FORGED),
        ("protect", "x", "--out", "y", "--set", f"{FORGED}=3"),
        ("protect", "x", "--out", "y", "--set", f"generator.steps={FORGED}"),
        ("protect", "x", "--out", "y", "--rho-u", FORGED),
        ("protect", "x", "--out", "y", "--method", TURNED),
        ("protect", FORGED, "--out", "y"),
        ("audit", TURNED, "--clean", FORGED),
        ("card", EIGHT_BIT),
        ("push", FORGED, "me/mine", "--dry-run"),
        ("push", "x", f"me/{FORGED}", "--dry-run"),
        ("push", "x", "me/mine", "--gated", TURNED),
    ],
)
def test_arguments_that_are_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert (result.code, result.out) == (2, "")
    require_seen(result.err)
    assert result.err.lower().count("error: ") == 1


def test_the_status_of_a_failed_run(tmp_path: Path, recipe: Path) -> None:
    source = draw_classes(tmp_path / "source")
    out = tmp_path / "run"
    succeed("protect", source, "--out", out, "--recipe", recipe)
    (out / "private" / "rows.parquet").unlink()
    (source / "cat" / f"{TURNED}{PAINT}.png").write_bytes(b"x")
    assert run("protect", source, "--out", out, "--recipe", recipe, "--resume").code == 2
    message = read_status(out)["message"]
    assert "cannot be read as a photograph" in message
    require_seen(message)


BUG = """
import sys, warnings, logging
from rem_release import cli
from rem_release.commands import recipes
def fail(console):
    warnings.warn("\\x1b[2Kwarned \\u202e")
    logging.getLogger("x").warning("%s", "\\x9blogged")
    raise RuntimeError("\\x1b]0;title\\x07 a bug \\u202e")
recipes.list_recipes = fail
sys.argv = ["rem-release", "recipes", "list"]
cli.main()
"""


def test_a_bug_keeps_its_traceback_and_paints_nothing() -> None:
    """What other packages warn of and log is escaped, too."""
    done = subprocess.run([sys.executable, "-c", BUG], capture_output=True, check=False)
    text = done.stderr.decode()
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in text
    assert all(unicodedata.category(letter) != "Cc" or letter in "\n\t" for letter in text)
    for words in (r"\x1b[2Kwarned \u202e", r"\x9blogged", r"\x1b]0;title\x07 a bug \u202e"):
        assert words in text


def test_a_terminal_without_these_letters(tmp_path: Path) -> None:
    """An old encoding of the terminal is no reason to fail."""
    shipped = recipe_text("quickstart")
    (tmp_path / "mine.yaml").write_text(f"# ρ_u ≤ 8, für 人\n{shipped}", encoding="utf-8")
    process = start("recipes", "show", tmp_path / "mine.yaml", env={"PYTHONIOENCODING": "ascii"})
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.startswith(r"# \u03c1_u \u2264 8, f\xfcr \u4eba")
