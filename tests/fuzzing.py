"""Random misuse of the command line, in this process: each case is a function of (seed, number), to be repeated alone.

A case spoils something (a command line, a recipe, a document, a file) and runs a command on it. It may end in any exit
code of the contract; what comes through as another exception, or writes outside the case's folder, is a bug.
Repeat one: `python -m tests.fuzzing SEED NUMBER`.
"""

import contextlib
import copy
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub.constants
import pyarrow as pa
import pyarrow.parquet as pq

from rem_release.methods import METHODS
from rem_release.plain_text import show
from rem_release.recipe import list_keys
from rem_release.recipe_files import dotted_keys, hash_document, recipe_text
from rem_release.release.canonical import seal
from rem_release.release.facts import FileFacts, data_digest
from rem_release.release.owner import CARD_FIELDS
from rem_release.verdict.recipe import AuditRecipe
from tests.audits import QUICK, write_audit_recipe
from tests.command_line import Result, draw_classes, run, succeed, write_recipe
from tests.pushes import certify

WORDS = (
    *(
        "",
        " ",
        "-",
        "--",
        "0",
        "-1",
        "1",
        "3",
        "nan",
        "-inf",
        "1e999",
        "1e-999",
        "9" * 25,
        "9" * 5000,
        "0." + "1" * 5000,
    ),
    *(
        "1/3",
        "8/255",
        "16/255",
        "4/255",
        "8px",
        "1/0",
        "1/1/1",
        "٨/255",
        "0x10",
        "0o17",
        "1_0",
        "1:30",
        "1:" * 50 + "1",
    ),
    *("2020-01-01", "2020-13-45", "null", "~", "true", "no", ".nan", ".inf", "=", "<<", "|", ">", "'", '"', "%", "@"),
    *("[", "]", "{", "}", "[" * 3000, "[1, 2]", "{a: 1}", "{<<: {a: 1}}", "? x", "- " * 1000, "a: " * 500, "&a [*a]"),
    *(
        "*a",
        "!!int x",
        "!!float x",
        "!!timestamp x",
        "!!binary x",
        "!!set {x}",
        "!!python/object:os.system x",
        "---\n---",
    ),
    *(
        "x" * 300,
        "a/" * 2100,
        "x\0y",
        "~nosuchuser/x",
        "\udcff",
        "\ud800",
        "\u202e",
        "\x1b[2J",
        "a\nb",
        "\x85",
        "ü",
        "人",
    ),
    *("train", "test", "train+test", "train+train", "all", "image", "label", *METHODS, "albums"),
    *("clusters", "auto", "500MB", "1B", "-1GB", "1e400MB", "MB", "cc-by-4.0", "other", "me@example.org", "a=b", "="),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 7, 2**31, 2**63, 10**18, 10**300, -(10**18), 0.5, -0.5, 1e308, -1e308, 5e-324),
    *(
        "",
        "x",
        "8/255",
        "1/0",
        "9" * 300,
        "x" * 3000,
        "\u202e\x1b[2J",
        "data/../../x",
        "/etc/passwd",
        "a-b",
        "\n",
        "{}",
    ),
    *([], [None], ["x"] * 3, [0.1] * 5, [[[[[]]]]], {}, {"x": 1}, {"": None}),
)
PRICED = {"protect": ["--plan"], "audit": ["--plan"], "reproduce": ["--plan"], "push": ["--dry-run"]}
"""what every case has, so that none takes long or asks the network"""
OPTIONS = {
    "protect": (
        *("--recipe", "--method", "--rho-u", "--rho-a", "--split", "--layout", "--image-column", "--label-column"),
        *("--label-from", "--drop-column", "--fraction", "--release-unprotected", "--reserve", "--max-shard-size"),
        *("--max-side", "--skip-bad", "--generator", "--set", "--seed", "--resume", "--overwrite", "--json", "--out"),
        "--set",
    ),
    "verify": ("--clean", "--json", "--clean", "--nonsense"),
    "audit": (
        *(
            "--clean",
            "--holdout",
            "--recipe",
            "--set",
            "--out",
            "--split",
            "--image-column",
            "--label-column",
            "--rho-u",
        ),
        *("--resume", "--json"),
    ),
    "card": ("--card-field", "--card-fields", "--json"),
    "push": (
        *("--clean", "--public", "--private", "--gated", "--tag", "--keep-column", "--publish-clean-split", "--yes"),
        *("--card-field", "--card-fields", "--allow-uncertified", "--json"),
    ),
    "reproduce": ("--scale", "--dataset", "--data", "--out", "--resume", "--json"),
    "recipes": ("--json", "show", "check", "list"),
}
FLAGS = (
    *("--release-unprotected", "--skip-bad", "--resume", "--overwrite", "--json", "--public", "--private", "--yes"),
    *("--allow-uncertified", "list"),
)
RADII = ("8/255", "16/255", "4/255", "0", "0.03", "8px", "1/3", "1", "1e-3", "127/255", "0." + "3" * 38)
SHARES = ("0.5", "0.1", "1", "0", "1e-300", "0.9999999", "0.25")
FITTING = {
    **{"--rho-u": RADII, "--rho-a": RADII, "--fraction": SHARES, "--reserve": SHARES},
    **{"--method": tuple(METHODS), "--label-from": ("albums", "clusters"), "--gated": ("auto", "no")},
    **{"--layout": ("splits", "classes")},
    **{
        "--max-side": ("1", "4", "8", "99999999999"),
        "--seed": ("0", "1", "9223372036854775807"),
        "--tag": ("v1", "1.0"),
    },
    **{"--max-shard-size": ("1B", "1KB", "500MB", "9" * 30), "--recipe": ("tiny", "quickstart", "audit-quick")},
    **{"--split": ("train", "cat", "dog", "cat+dog"), "--keep-column": ("label", "image", "x")},
    **{"--image-column": ("image", "label"), "--label-column": ("label", "note", "image", "when")},
    **{"--drop-column": ("note", "when", "label"), "--publish-clean-split": ("test", "cat", "train", "test=source")},
    **{"--set": ("noise.rho_u=9/255", "noise.steps=0", "generator.decay=1", "seeds.grid=2", "noise.eot.samples=3")},
}
SLOW = ("data.resolution", "data.clusters", "generator.model", "victim.resolution", "victim.source_model")
"""keys whose valid values could make a plan's probe take long"""


class Fuzzer:
    """The inputs of the cases, made once.

    Args:
        root: an empty folder, outside of which no case may write.
        seed: decides every case.
    """

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.seed = root, seed
        self.source = draw_classes(root / "source")
        self.holdout = draw_classes(root / "holdout", seed=700)
        self.numbered = draw_classes(root / "numbered", ("0", "1"), seed=700)
        self.recipe = write_recipe(root / "tiny.yaml")
        self.audit_recipe = write_audit_recipe(root / "audit.yaml", **QUICK)
        for name in ("run", "plain"):
            succeed("protect", self.source, "--out", root / name, "--recipe", self.recipe, "--seed", 0)
        self.run = certify(root / "run")
        self.table = root / "table.parquet"
        self._write_tables()
        for name in ("here", "home", "tmp"):
            (root / name).mkdir()
        os.mkfifo(root / "pipe.yaml")
        os.mkfifo(root / "pipe")
        (root / "loop").symlink_to(root / "loop")
        (root / "folder.yaml").mkdir()
        self.paths = [
            str(root / name) for name in ("source", "tiny.yaml", "run", "plain", "run/release", "loop", "pipe")
        ]
        self.paths += [str(root / name) for name in ("pipe.yaml", "folder.yaml", "table.parquet", "listed", "absent")]
        self.paths += ["/dev/null", "/dev/zero", "/dev/full", "/dev/stdin", "/proc/self/mem", ".", "rem-cifar10"]
        self.paths += ["quickstart", "audit-quick", str(root / "run/private"), str(root / "tiny.yaml/below")]
        self.keys = {"protect": list_keys("rem"), "audit": dotted_keys(AuditRecipe)}
        self.written_outside: list[str] = []
        self.ends = Counter[tuple[str, int]]()
        """how many command lines of each command ended with each exit code"""
        self.kind = ""

    def _write_tables(self) -> None:
        cells = [{"bytes": path.read_bytes(), "path": None} for path in sorted(self.source.rglob("*.png"))]
        columns = {"image": cells, "label": [0, 1] * 4, "note": [f"n{n}" for n in range(8)], "when": [1.5] * 8}
        pq.write_table(pa.table(columns), self.table)
        listed = self.root / "listed"
        shutil.copytree(self.source / "cat", listed)
        rows = [{"file_name": f"{n}.png", "label": f"c{n % 2}", "size": n} for n in range(4)]
        (listed / "metadata.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    def check(self, number: int) -> str | None:
        """Run one case. Returns what is wrong, in a paragraph that says how to repeat it; None where all is well."""
        draws = random.Random(f"{self.seed} {number}")
        kind = draws.choices(list(KINDS), [share for share, _ in KINDS.values()])[0]
        self.written_outside = []
        self.kind, said, result, fault = kind, [kind], None, None
        try:
            for arguments in KINDS[kind][1](self, draws):
                said.append(" ".join(["rem-release", *(show(repr(word), 200) for word in arguments)]))
                result = self._run(arguments)
                self.ends[arguments[0], result.code] += 1
                if result.code not in (0, 1, 2, 3):
                    fault = f"exit code {result.code}"
                elif unseen := [c for c in result.out + result.err if c < " " and c not in "\n\t"]:
                    fault = f"it printed {unseen[0]!r}"
        except Exception:
            fault = traceback.format_exc(limit=-6)
        if self.written_outside:
            fault = f"it wrote {self.written_outside[0]}"
        if fault is None:
            return None
        again = f"python -m tests.fuzzing {self.seed} {number}"
        return "\n".join([*said, f"again: {again}", show(result.err if result else "", 500), fault])

    def _run(self, arguments: list[str]) -> Result:
        with self._watched():
            return run(*arguments)

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Offline, at home in the folder, and with every file that is opened to be written on record."""
        global _watcher
        places = {"HOME": "home", "TMPDIR": "tmp", "REM_RELEASE_CACHE": "home", "XDG_CACHE_HOME": "home"}
        before = {name: os.environ.get(name) for name in places}
        where, temporary = Path.cwd(), tempfile.tempdir
        hub, sets = huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
        os.environ.update({name: str(self.root / place) for name, place in places.items()})
        tempfile.tempdir = str(self.root / "tmp")
        huggingface_hub.constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
        os.chdir(self.root / "here")
        stdin, sys.stdin = sys.stdin, open(os.devnull)  # noqa: SIM115, PTH123
        _watcher = self
        try:
            yield
        finally:
            _watcher = None
            sys.stdin.close()
            sys.stdin = stdin
            os.chdir(where)
            huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = hub, sets
            tempfile.tempdir = temporary
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})

    def note_write(self, path: str) -> None:
        """Called for every path that is changed while a case runs."""
        real = os.path.realpath(path)
        if not real.startswith((f"{self.root}{os.sep}", "/dev/", "/proc/")) and "__pycache__" not in real:
            self.written_outside.append(real)

    @contextlib.contextmanager
    def spoilt(self, path: Path, data: bytes) -> Iterator[None]:
        """Another content of a file, until the case ends."""
        before = path.read_bytes() if path.exists() else None
        path.write_bytes(data)
        try:
            yield
        finally:
            path.unlink() if before is None else path.write_bytes(before)


_watcher: Fuzzer | None = None


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if _watcher is None:
        return
    if event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        _watcher.note_write(arguments[0])
    elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"):
        if isinstance(arguments[0], (str, os.PathLike)) and not (
            len(arguments) > 1 and arguments[-1] not in (-1, None)
        ):
            _watcher.note_write(os.fspath(arguments[0]))
    elif event in ("os.rename", "os.link", "os.symlink"):
        _watcher.note_write(os.fspath(arguments[1]))


sys.addaudithook(_listen)
Cases = Iterator[list[str]]


def spoil_text(text: str, draws: random.Random) -> str:
    """A text with some pieces of it replaced, doubled, moved or left out."""
    for _ in range(draws.randint(1, 4)):
        start = draws.randint(0, len(text))
        end = min(len(text), start + draws.choice((0, 1, 1, 3, 20)))
        piece = draws.choice(
            (draws.choice(WORDS), text[start:end] * 2, "", "\n", "  ", "\t", chr(draws.randrange(0x300)))
        )
        text = text[:start] + piece + text[end:]
    return text


def spoil_lines(text: str, draws: random.Random) -> str:
    """A YAML text with values of some lines replaced."""
    lines = text.splitlines()
    for _ in range(draws.randint(1, 3)):
        number = draws.randrange(len(lines))
        key, colon, _ = lines[number].partition(":")
        lines[number] = f"{key}{colon} {draws.choice(WORDS)}" if draws.random() < 0.8 else draws.choice(WORDS)
    return "\n".join(lines)


def spoil_bytes(data: bytes, draws: random.Random) -> bytes:
    """Bytes with some of them flipped, cut off or doubled."""
    spoilt = bytearray(data)
    for _ in range(draws.randint(1, 6)):
        place = draws.randrange(max(1, len(spoilt)))
        how = draws.random()
        if how < 0.7 and spoilt:
            spoilt[place] = draws.randrange(256)
        elif how < 0.85:
            del spoilt[place : place + draws.choice((1, 4, 1000))]
        else:
            spoilt[place:place] = spoilt[place : place + draws.choice((1, 4, 100))]
    return bytes(spoilt)


def spoil_document(document: Any, draws: random.Random) -> Any:
    """A JSON document with one or two of its values replaced, left out, doubled or renamed."""
    document = copy.deepcopy(document)
    for _ in range(draws.choice((1, 1, 1, 2))):
        place = document
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draws.choice(keys)
            if isinstance(place[key], (dict, list)) and place[key] and draws.random() < 0.85:
                place = place[key]
                continue
            _spoil_at(place, key, draws)
            break
    return document


def _spoil_at(place: Any, key: Any, draws: random.Random) -> None:
    how = draws.random()
    if how < 0.3:
        place[key] = draws.choice(VALUES)
    elif how < 0.6:  # of the same kind
        place[key] = draws.choice([value for value in VALUES if type(value) is type(place[key])] or VALUES)
    elif how < 0.7 and isinstance(place[key], (int, float)) and not isinstance(place[key], bool):
        place[key] += draws.choice((1, -1, 10**9))
    elif how < 0.8:
        del place[key]
    elif isinstance(place, dict):
        place[draws.choice(("x", "", "\u202e", f"{key}2"))] = place[key]
    else:
        place.append(place[key])


def command_lines(fuzzer: Fuzzer, draws: random.Random) -> Cases:
    """A command with options and words that may not belong together."""
    command = draws.choice(("protect", "protect", "verify", "audit", "card", "push", "reproduce", "recipes"))
    words = WORDS + tuple(fuzzer.paths)
    plain = str(fuzzer.root / "plain")
    table = str(fuzzer.table)
    copied, originals, holdout = draws.choice(
        ((plain, str(fuzzer.source), str(fuzzer.holdout)), (table, table, str(fuzzer.numbered)))
    )
    here = {
        "protect": [str(fuzzer.source), "--out", str(fuzzer.root / "new"), "--recipe", str(fuzzer.recipe)],
        "verify": [plain],
        "audit": [copied, "--clean", originals, "--holdout", holdout, "--recipe", str(fuzzer.audit_recipe)],
        "card": [plain],
        "push": [plain, "me/mine"],
        "reproduce": ["table4", "--data", str(fuzzer.source), "--out", str(fuzzer.root / "new")],
        "recipes": [draws.choice(("show", "check"))],
    }[command]
    arguments = [command, *here]
    for _ in range(draws.randint(1, 3)):
        option = draws.choice(OPTIONS[command])
        value = _fit_value(fuzzer, command, option, draws)
        arguments += [option] if option in FLAGS else [f"{option}={value}"] if draws.random() < 0.3 else [option, value]
    if draws.random() < 0.3:
        arguments[draws.randrange(1, len(arguments))] = draws.choice(words)
    if draws.random() < 0.05:
        draws.shuffle(arguments)
    if arguments[0] in ("demo", "bench"):
        return
    yield [*arguments, *PRICED.get(command, [])]


def _fit_value(fuzzer: Fuzzer, command: str, option: str, draws: random.Random) -> str:
    word = draws.choice(WORDS + tuple(fuzzer.paths))
    if option in FITTING and draws.random() < 0.5:
        fitting = draws.choice(FITTING[option])
        return fitting.replace("source", str(fuzzer.source)).replace("tiny", str(fuzzer.recipe))
    if option == "--set":
        key = draws.choice(fuzzer.keys[command])
        slow = key in SLOW and word.strip().isdecimal()
        return f"{key}={'nonsense' if slow else word}" if draws.random() < 0.95 else word
    if option in ("--card-field",):
        return f"{draws.choice(CARD_FIELDS)}={word}"
    return word


def recipes(fuzzer: Fuzzer, draws: random.Random) -> Cases:
    """A recipe of either kind with spoilt lines or letters."""
    names = ("rem-cifar10", "em-cifar10", "audit-quick", "audit-paper", "quickstart-photographs")
    text = fuzzer.recipe.read_text() if draws.random() < 0.4 else recipe_text(draws.choice(names))
    text = (spoil_lines if draws.random() < 0.6 else spoil_text)(text, draws)
    path = fuzzer.root / "spoilt.yaml"
    path.write_bytes(
        spoil_bytes(text.encode("utf-8", "replace"), draws)
        if draws.random() < 0.1
        else text.encode("utf-8", "surrogatepass")
    )
    yield ["recipes", "check", str(path)]


def card_fields(fuzzer: Fuzzer, draws: random.Random) -> Cases:
    """The owner's words as YAML."""
    keys = [*CARD_FIELDS, draws.choice(WORDS)]
    text = "".join(f"{draws.choice(keys)}: {draws.choice(WORDS)}\n" for _ in range(draws.randint(1, 4)))
    path = fuzzer.root / "fields.yaml"
    path.write_bytes((spoil_text(text, draws) if draws.random() < 0.3 else text).encode("utf-8", "surrogatepass"))
    with _documents_kept(fuzzer.root / "plain"):
        yield ["card", str(fuzzer.root / "plain"), "--card-fields", str(path)]


@contextlib.contextmanager
def _documents_kept(run: Path) -> Iterator[None]:
    files = [run / "release" / name for name in ("README.md", "protection.json")]
    before = [path.read_bytes() for path in files]
    try:
        yield
    finally:
        for path, data in zip(files, before, strict=True):
            path.write_bytes(data)


def _commands(fuzzer: Fuzzer, draws: random.Random) -> Cases:
    run = fuzzer.run
    yield draws.choice(
        (
            ["verify", str(run / "release")],
            ["verify", str(run), "--json"],
            ["card", str(run)],
            ["card", str(run), "--card-field", "about=x"],
            ["audit", str(run), "--holdout", str(fuzzer.holdout), "--recipe", str(fuzzer.audit_recipe), "--plan"],
            ["push", str(run), "me/mine", "--dry-run", "--json"],
        )
    )


def facts(fuzzer: Fuzzer, draws: random.Random) -> Cases:
    """protection.json with another value, sealed again."""
    yield from _spoilt_sealed(fuzzer, draws, "protection.json")


def certificates(fuzzer: Fuzzer, draws: random.Random) -> Cases:
    """audit.json likewise."""
    yield from _spoilt_sealed(fuzzer, draws, "audit.json")


def _spoilt_sealed(fuzzer: Fuzzer, draws: random.Random, name: str) -> Cases:
    path = fuzzer.run / "release" / name
    document = json.loads(path.read_bytes())
    del document["sha256"]
    if draws.random() < 0.1:
        data = spoil_bytes(path.read_bytes(), draws)
    elif draws.random() < 0.1 and name == "protection.json":
        features = spoil_document(json.loads(document["data"]["features"]), draws)
        document["data"]["features"] = json.dumps(features)
        data = seal(document)
    else:
        try:
            data = seal(_mend_hashes(spoil_document(document, draws)))
        except ValueError:  # a key `sha256`, or half a character
            return
    with _documents_kept(fuzzer.run), fuzzer.spoilt(path, data):
        yield from _commands(fuzzer, draws)


def _mend_hashes(document: Any) -> Any:
    """The hashes that facts carry of parts of themselves, so that the spoilt value is what is looked at."""
    with contextlib.suppress(Exception):
        document["recipe_sha256"] = hash_document(document["recipe"])
        rows = sum(file["rows"] for name, file in document["files"].items() if name.startswith("data/"))
        document["data"]["images"] = document["data"]["protected"] = rows
        files = {name: FileFacts(**file) for name, file in document["files"].items()}
        document["digest"] = data_digest(files)
    return document


def curves(fuzzer: Fuzzer, draws: random.Random) -> Cases:
    """The curves from which the figures of an audit are drawn."""
    path = fuzzer.run / "audit" / "curves.json"
    document = spoil_document(json.loads(path.read_bytes()), draws)
    with fuzzer.spoilt(path, json.dumps(document).encode()):
        yield ["push", str(fuzzer.run), "me/mine", "--dry-run"]


def private_records(fuzzer: Fuzzer, draws: random.Random) -> Cases:
    """What the run noted for itself."""
    run = fuzzer.root / "plain"
    path = (
        run / "private" / draws.choice(("options.json", "rows.parquet", "generator.json", "recipe.json", "push.json"))
    )
    if path.suffix == ".parquet":
        data = spoil_bytes(path.read_bytes(), draws)
    elif path.name == "push.json":
        receipt = {
            "repo": "me/mine",
            "url": "https://x/datasets/me/mine",
            "digest": "ab",
            "commit": None,
            "source": "x",
        }
        data = json.dumps(spoil_document({"pushes": [receipt]}, draws)).encode()
    else:
        data = json.dumps(spoil_document(json.loads(path.read_bytes()), draws)).encode()
    new = str(fuzzer.root / "new")
    commands = [["verify", str(run)], ["push", str(run), "me/other", "--dry-run", "--allow-uncertified"]]
    if path.name in ("generator.json", "recipe.json"):
        commands = [["protect", str(fuzzer.source), "--out", new, "--generator", str(run), "--plan"]]
    with fuzzer.spoilt(path, data):
        yield draws.choice(commands)


def sources(fuzzer: Fuzzer, draws: random.Random) -> Cases:
    """Tables and images that are damaged."""
    plan = ["--out", str(fuzzer.root / "new"), "--recipe", str(fuzzer.recipe), "--plan"]
    plan += draws.choice(([], ["--skip-bad"], ["--label-from", "clusters"]))
    listed = fuzzer.root / "listed"
    which = draws.random()
    if which < 0.4:
        with fuzzer.spoilt(fuzzer.table, spoil_bytes(fuzzer.table.read_bytes(), draws)):
            yield ["protect", str(fuzzer.table), *plan]
    elif which < 0.6:
        text = spoil_text((listed / "metadata.jsonl").read_text(), draws)
        with fuzzer.spoilt(listed / "metadata.jsonl", text.encode("utf-8", "surrogatepass")):
            yield ["protect", str(listed), *plan]
    elif which < 0.8:
        text = spoil_text("file_name,label,size\n" + "".join(f"{n}.png,c{n % 2},{n}\n" for n in range(4)), draws)
        kept = (listed / "metadata.jsonl").rename(fuzzer.root / "kept.jsonl")
        try:
            with fuzzer.spoilt(listed / "metadata.csv", text.encode("utf-8", "surrogatepass")):
                yield ["protect", str(listed), *plan]
        finally:
            kept.rename(listed / "metadata.jsonl")
    else:
        path = draws.choice(sorted(fuzzer.source.rglob("*.png")))
        with fuzzer.spoilt(path, spoil_bytes(path.read_bytes(), draws)):
            yield ["protect", str(fuzzer.source), *plan]


def names(fuzzer: Fuzzer, draws: random.Random) -> Cases:
    """Files and folders of odd names among the images."""
    folder = fuzzer.root / "named"
    shutil.copytree(fuzzer.source, folder)
    try:
        for _ in range(draws.randint(1, 3)):
            name = spoil_text(draws.choice(WORDS), draws).replace("/", "_").replace("\0", "_")[:60] or "x"
            with contextlib.suppress(OSError, UnicodeEncodeError):
                target = folder / draws.choice(("", "cat")) / name
                shutil.copy(fuzzer.source / "cat/0.png", target) if draws.random() < 0.6 else target.mkdir()
        yield ["protect", str(folder), "--out", str(fuzzer.root / "new"), "--recipe", str(fuzzer.recipe), "--plan"]
    finally:
        shutil.rmtree(folder)


def parquet_of_release(fuzzer: Fuzzer, draws: random.Random) -> Cases:
    """A data file of the release that is damaged, with facts that state its bytes."""
    release = fuzzer.run / "release"
    path = next((release / "data").glob("*.parquet"))
    data = spoil_bytes(path.read_bytes(), draws)
    document = json.loads((release / "protection.json").read_bytes())
    del document["sha256"]
    name = f"data/{path.name}"
    digest = hashlib.sha256(data).hexdigest()
    document["files"][name] |= {"bytes": len(data), "sha256": digest}
    line = f"{digest}  {name}\n".encode()
    document["digest"] = hashlib.sha256(line).hexdigest()
    with fuzzer.spoilt(path, data), fuzzer.spoilt(release / "protection.json", seal(document)):
        yield ["verify", str(release)]


KINDS: dict[str, tuple[int, Callable[[Fuzzer, random.Random], Cases]]] = {
    "command line": (52, command_lines),
    "recipe": (20, recipes),
    "card fields": (7, card_fields),
    "facts": (9, facts),
    "certificate": (3, certificates),
    "curves": (1, curves),
    "private records": (3, private_records),
    "sources": (3, sources),
    "names": (1, names),
    "released Parquet": (1, parquet_of_release),
}
"""share of the cases, and what makes one"""


def make_fuzzer(seed: int, folder: Path | None = None) -> Fuzzer:
    """A fuzzer in a folder of its own."""
    return Fuzzer((folder or Path(tempfile.mkdtemp(prefix="fuzz-"))).resolve(), seed)


if __name__ == "__main__":
    first, *others = (int(word) for word in sys.argv[1:])
    chosen = make_fuzzer(first)
    numbers = range(others[0], others[1]) if len(others) > 1 else others
    spent: Counter[str] = Counter()
    for number in numbers:
        began = time.process_time()
        text = chosen.check(number)
        spent[chosen.kind] += time.process_time() - began
        if text:
            print(f"{text}\n")
    print({kind: round(seconds, 1) for kind, seconds in spent.items()})
    shutil.rmtree(chosen.root)
