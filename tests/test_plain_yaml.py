"""YAML as people write it, and no more: what recipes, --set and card fields refuse, each in one line and at once."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rem_release.errors import InputError
from rem_release.plain_yaml import MAX_CHARACTERS, read_yaml, read_yaml_file
from rem_release.recipe_files import recipe_names, recipe_text
from tests.command_line import run
from tests.test_cli_bad_input import refuse

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{here}: &{here} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, here in zip("abcdefghi", "bcdefghij", strict=True)
)
REFUSED = {
    "aliases": (LAUGHS, "anchors and aliases are not read"),
    "anchor": ("a: &x 1\n", "anchors and aliases are not read"),
    "alias alone": ("*x", "anchors and aliases are not read"),
    "tag": ("a: !!python/object/apply:os.system [ls]\n", "the tag tag:yaml.org,2002:python/object/apply:os.system"),
    "tag of a date": ("a: !!timestamp x\n", "is not read"),
    "tag of a number": ("a: !!int x\n", "is not read"),
    "lists in lists": ("[" * 5000, "nests more than 20 levels deep (line 1, column 21)"),
    "mappings in mappings": ("\n".join(" " * n + "a:" for n in range(200)), "nests more than 20 levels"),
    "dashes": ("- " * 30_000, "nests more than 20 levels"),
    "long integer": ("a: " + "9" * 5000, "more than 18 digits (line 1, column 4)"),
    "long octal": ("a: 0" + "7" * 5000, "more than 18 digits"),
    "sexagesimal": ("a: " + "1:" * 100 + "1", "more than 18 digits"),
    "key twice": ("a: 1\nb: 2\na: 3\n", "the key a appears twice (line 3, column 1)"),
    "key no text": ("1: a\n", "a key is no text"),
    "key a list": ("? [a]\n: b\n", "a key is no text"),
    "key null": ("~: b\n", "a key is no text"),
    "two documents": ("--- a\n--- b\n", "is not YAML"),
    "tab": ("a:\n\tb: 1\n", "is not YAML"),
    "control": ("a: \x00\n", "is not YAML"),
    "half a character": ("a: \ud800\n", "is not YAML"),
    "too long": ("a: " + "x" * MAX_CHARACTERS, f"longer than {MAX_CHARACTERS:,} characters"),
}


@pytest.mark.parametrize("as_texts", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, as_texts: bool) -> None:
    text, reason = REFUSED[name]
    if as_texts and name in ("long integer", "long octal", "sexagesimal", "key no text", "key null"):
        assert isinstance(read_yaml(text, "it", as_texts=True), dict)  # every scalar is a text there
        return
    with pytest.raises(InputError) as refusal:
        read_yaml(text, "it", as_texts=as_texts)
    assert str(refusal.value).startswith("it is ")
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_dates_merge_keys_and_equal_signs_are_texts() -> None:
    found = read_yaml("a: 2020-01-01\nb: 2020-13-45 25:61:61\nc: =\n<<: {d: 1}\n", "it")
    assert found == {"a": "2020-01-01", "b": "2020-13-45 25:61:61", "c": "=", "<<": {"d": 1}}


def test_shipped_recipes_read_as_any_reader_reads_them() -> None:
    for name in recipe_names():
        assert read_yaml(recipe_text(name), name) == yaml.safe_load(recipe_text(name))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**16), 10**16) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@given(PLAIN)
def test_plain_values_come_back(value: Any) -> None:
    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    text = yaml.dump(value, Dumper=Dumper, allow_unicode=True)
    assert read_yaml(text, "it") == yaml.safe_load(text)


def refusal_of(text: str, as_texts: bool) -> str:
    """Why a text is refused; empty where it is read. Any other exception comes through."""
    try:
        read_yaml(text, "it", as_texts=as_texts)
    except InputError as error:
        return str(error)
    return ""


@given(st.text(max_size=200), st.booleans())
def test_any_text_is_read_or_refused(text: str, as_texts: bool) -> None:
    assert "\n" not in refusal_of(text, as_texts)


def test_files_that_are_none(tmp_path: Path) -> None:
    """A pipe would wait for ever, and a device never end."""
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    (tmp_path / "long.yaml").write_bytes(b"a: " + b"x" * 10**7)
    for name in ("pipe.yaml", "folder.yaml", "latin.yaml", "long.yaml", "absent.yaml"):
        with pytest.raises(InputError, match=r"^it (cannot be read|is longer)"):
            read_yaml_file(tmp_path / name, "it")
        assert run("recipes", "check", tmp_path / name).code == 2
    with pytest.raises(InputError, match=r"/dev/zero is no file"):
        read_yaml_file(Path("/dev/zero"), "it")


@pytest.mark.parametrize("value", ["2020-01-01", "9" * 5000, "[" * 3000, "{" * 3000, "&a [*a]", "!!int x", "- " * 3000])
def test_values_of_set(tmp_path: Path, photographs: Path, recipe: Path, value: str) -> None:
    lines = 2 if value == "2020-01-01" else 1
    options = ("--recipe", recipe, "--set", f"generator.steps={value}")
    message = refuse(tmp_path, "protect", photographs, "--out", tmp_path / "run", *options, lines=lines)
    assert "generator.steps" in message
    assert len(message) < 700
    assert run("audit", photographs, "--set", f"victim.least_steps={value}").code == 2


HUNGRY = """
import resource, sys
from rem_release import audit, recipe  # what takes room beside the recipe
import rem_release.verdict.recipe
from rem_release.cli import main
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 50_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
sys.argv = ["rem-release", "recipes", "check", sys.argv[1]]
main()
"""


def test_a_recipe_of_aliases_takes_no_memory(tmp_path: Path) -> None:
    """A billion laughs (CWE-776): ten lines that stand for 3.5 GB of values."""
    (tmp_path / "laughs.yaml").write_text(f"{LAUGHS}data: {{resolution: *j}}\nnoise: {{}}\ngenerator: {{}}\n")
    done = subprocess.run(
        [sys.executable, "-c", HUNGRY, str(tmp_path / "laughs.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "anchors and aliases are not read; write the value out (line 1" in done.stderr
