"""The command line in tests: run here or as a process of its own, on tiny images with a tiny recipe."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import torchvision  # noqa: F401 - makes a cache folder when imported, which must not be in a test
import typer
import yaml
from PIL import Image

from rem_release.cli import app, main

RECIPE: dict[str, Any] = {
    "data": {"resolution": 8},
    "noise": {
        "method": "rem",
        "rho_u": "8/255",
        "steps": 2,
        "step_size": "3.2/255",
        "rho_a": "4/255",
        "adversary_steps": 1,
        "adversary_step_size": "2/255",
        "eot": {"transform": "cifar", "samples": 1},
    },
    "generator": {
        "model": "small_resnet",
        "steps": 2,
        "batch_size": 8,
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 5.0e-4,
        "decay_every": 2000,
        "decay": 0.1,
    },
}
"""Everything at its smallest: one protect takes less than a second."""


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on stdout; anything else there is an error."""
        assert self.out.endswith("\n")
        assert self.out.count("\n") == 1
        return json.loads(self.out)


SECRET = ("--seed", "secret")
"""Stands for no --seed at all, so that protect draws a secret one."""


def list_parameters() -> dict[str, list[str]]:
    """Every command, such as `recipes show`, with its arguments as help shows them and its options, `--help` apart."""

    def walk(command: Any, words: list[str]) -> Iterator[tuple[str, list[str]]]:
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, [*words, name])
        if not hasattr(command, "commands"):
            yield " ".join(words), [name for each in command.params for name in _names(each)]

    return dict(walk(typer.main.get_command(app), []))


def _names(parameter: Any) -> list[str]:
    if parameter.param_type_name == "argument":
        return [parameter.metavar or parameter.name]
    return [*parameter.opts, *parameter.secondary_opts]


def with_seed(arguments: Iterable[object]) -> list[str]:
    """The arguments as text; a protect that names no seed gets one, so that its bytes can be known beforehand."""
    words = [str(argument) for argument in arguments]
    if words[-2:] == list(SECRET):
        return words[:-2]
    return [*words, "--seed", "0"] if words[:1] == ["protect"] and "--seed" not in words else words


def run(*arguments: object) -> Result:
    """Run the command in this process; what is not a known failure comes through as it is.

    One thread, here and in `start`: the bytes depend on it, and tiny work is fastest so.
    """
    out, err, before, threads = io.StringIO(), io.StringIO(), sys.argv, torch.get_num_threads()
    code: str | int | None = 0
    torch.set_num_threads(1)
    sys.argv = ["rem-release", *with_seed(arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as stop:
        code = stop.code
    finally:
        sys.argv = before
        torch.set_num_threads(threads)
    return Result(int(code or 0), out.getvalue(), err.getvalue())


def succeed(*arguments: object) -> Result:
    """Run the command, which must end well."""
    result = run(*arguments)
    assert result.code == 0, result.err
    return result


def start(*arguments: object, env: dict[str, str] | None = None) -> "subprocess.Popen[str]":
    """Start the command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "rem_release", *with_seed(arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def write_recipe(path: Path, **changes: object) -> Path:
    """Write the tiny recipe with some dotted keys changed, `noise__steps=3` for `noise.steps`."""
    recipe = json.loads(json.dumps(RECIPE))
    for key, value in changes.items():
        *parents, last = key.split("__")
        inner = recipe
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
    path.write_text(yaml.safe_dump(json.loads(json.dumps(recipe))), encoding="utf-8")  # without aliases
    return path


def draw(path: Path, seed: int, size: tuple[int, int] = (8, 8)) -> np.ndarray:
    """Write an image of random colours; size is (width, height). Returns uint8 (H, W, 3)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def draw_classes(folder: Path, names: Iterable[str] = ("cat", "dog"), count: int = 4, seed: int = 0) -> Path:
    """Write class folders of 8 x 8 images."""
    for number, name in enumerate(names):
        for index in range(count):
            draw(folder / name / f"{index}.png", seed + 100 * number + index)
    return folder


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its bytes, every folder with None."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def released(release: Path) -> list[dict[str, Any]]:
    """The rows of a release as they stand in its shards, in order."""
    return [row for path in sorted((release / "data").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def pixels_of(png: bytes) -> np.ndarray:
    """Decode a released image with Pillow alone: uint8 (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(png)))


def change(clean: np.ndarray, png: bytes) -> int:
    """Largest change of a released image against its original, in levels."""
    return int(np.abs(pixels_of(png).astype(int) - clean.astype(int)).max())


def read_status(run_folder: Path) -> dict[str, Any]:
    """`private/status.json`."""
    return json.loads((run_folder / "private" / "status.json").read_bytes())


def same_release(one: Path, other: Path) -> bool:
    """Whether two runs released the same bytes."""
    return snapshot(one / "release") == snapshot(other / "release")
