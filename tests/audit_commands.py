"""Audits by the command line in tests: tiny inputs, victims of seconds, and what such an audit leaves behind."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import Tensor

from rem_release.methods.maker import Batch
from rem_release.methods.min_max_maker import MinMaxMaker
from rem_release.release.certificate import Certificate, read_certificate
from tests.audits import QUICK, write_audit_recipe, write_task
from tests.command_line import Result, run, succeed, write_recipe
from tests.gratings import NAMES, SIDE

_COLOURS = {"blue": (40, 60, 200), "red": (200, 60, 40)}
LEARNING: dict[str, Any] = {
    **{"victim__least_steps": 30, "victim__batch_size": 16, "victim__learning_rate": 0.02, "victim__evaluations": 2},
    "statistics__half_width": 0.4,
    "tiers__adversarial": {"required": True, "limit": 0.7, "threats": ["pgd(radius=rho_a)"]},
}
"""Changes for an audit of `draw_colours` in which every row is valid: six victims, a second or two."""


def draw_colours(folder: Path, count: int = 12, seed: int = 0, form: str = "png", noise: int = 0) -> Path:
    """Write class folders `blue` and `red` of grainy 16 x 16 images, which any network learns in a few steps.

    The same seed gives the same images; with `noise` every value is moved by that many levels, up or down.
    """
    for name, colour in _COLOURS.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            draws = np.random.default_rng([seed, index])
            pixels = np.clip(draws.normal(colour, 25, (16, 16, 3)), 30, 225).astype(np.int16)
            pixels += np.random.default_rng([1, index]).choice([-noise, noise], pixels.shape)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{index:02d}.{form}")
    return folder


def write_stripes(folder: Path) -> tuple[Path, Path, Path]:
    """Images, test images, and the recipe of a short audit that `protect_by_patches` passes."""
    task = write_task(folder, train=75, test=40)
    policy = {"tiers__standard__architectures": ["small_vgg"], "tiers__adversarial": {"required": False}}
    return task / "clean", task / "test", write_audit_recipe(folder / "lenient.yaml", **policy, seeds__required=3)


def protect_by_patches(source: Path, out: Path) -> Path:
    """Protect `write_stripes` with a fixed pattern for each class, in the place of what a tiny generator would make."""

    def lay_patches(maker: MinMaxMaker, batch: Batch) -> Tensor:
        signs = np.random.default_rng(0).choice([-16, 16], (len(NAMES), 3, SIDE, SIDE))
        levels = (batch.images * 255).round()
        patched = (levels + torch.from_numpy(signs)[batch.labels]).clamp(0, 255)
        return (patched - levels).to(torch.int8)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MinMaxMaker, "make_unseen", lay_patches)
        return protect(source, out, "--rho-u", "16/255")


def as_parquet(folder: Path, path: Path, columns: tuple[str, str] = ("image", "label")) -> Path:
    """Write class folders as a Parquet file of PNG bytes, names as labels."""
    files = sorted(folder.rglob("*.png"))
    cells = [file.read_bytes() for file in files], [file.parent.name for file in files]
    pq.write_table(pa.table(dict(zip(columns, cells, strict=True))), path)
    return path


def write_inputs(folder: Path) -> Path:
    """Write `clean`, `noisy` (the same within 8 levels) and `test`, class folders, and `run`, `clean` protected."""
    draw_colours(folder / "clean")
    draw_colours(folder / "noisy", noise=8)
    draw_colours(folder / "test", count=10, seed=1)
    protect(folder / "clean", folder / "run")
    return folder


def protect(source: Path, out: Path, *options: object) -> Path:
    """Protect with the tiny recipe at 16 x 16; returns the run folder."""
    recipe = write_recipe(out.with_suffix(".protect.yaml"), data__resolution=16)
    succeed("protect", source, "--out", out, "--recipe", recipe, *options)
    return out


def fall_short(*arguments: object) -> Result:
    """Run an audit that goes well and finds that the policy is not met."""
    result = run("audit", *arguments)
    assert result.code == 3, (result.code, result.err)
    return result


def audit_run(location: Path, *options: object, **changes: object) -> Certificate:
    """Audit a run with victims of two steps; returns the certificate."""
    recipe = write_audit_recipe(location.with_suffix(".audit.yaml"), **{**QUICK, **changes})
    fall_short(location, "--recipe", recipe, *options)
    return read_certificate(location / "release" / "audit.json")


def audit_copy(target: Path, clean: Path, test: Path, out: Path, **changes: object) -> Certificate:
    """Audit what is no run with victims of two steps; returns the certificate."""
    recipe = write_audit_recipe(out.with_suffix(".audit.yaml"), **{**QUICK, **changes})
    fall_short(target, "--clean", clean, "--holdout", test, "--recipe", recipe, "--out", out)
    return read_certificate(out / "audit.json")
