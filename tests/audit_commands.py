"""Audits by the command line in tests: tiny material, victims of seconds, and what such an audit leaves behind."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rem_release.release.certificate import Certificate, read_certificate
from tests.audits import QUICK, write_audit_recipe
from tests.command_line import Result, run, succeed, write_recipe
from tests.gratings import draw_gratings

_COLOURS = {"blue": (40, 60, 200), "red": (200, 60, 40)}
LEARNING: dict[str, Any] = {
    **{"victim__least_steps": 30, "victim__batch_size": 16, "victim__learning_rate": 0.02, "victim__evaluations": 2},
    "statistics__half_width": 0.4,
    "tiers__adversarial": {"required": True, "limit": 0.7, "threats": ["pgd(radius=rho_a)"]},
}
"""Changes for an audit of `draw_colours` in which every row is valid: six victims, a second or two."""


def draw_colours(folder: Path, count: int = 12, seed: int = 0, form: str = "png", noise: int = 0) -> Path:
    """Write class folders `blue` and `red` of grainy 16 x 16 pictures, which any network learns in a few steps.

    The same seed gives the same pictures; with `noise` every value is moved by that many levels, up or down.
    """
    for name, colour in _COLOURS.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            draws = np.random.default_rng([seed, index])
            pixels = np.clip(draws.normal(colour, 25, (16, 16, 3)), 30, 225).astype(np.int16)
            pixels += np.random.default_rng([1, index]).choice([-noise, noise], pixels.shape)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{index:02d}.{form}")
    return folder


def write_stripes(folder: Path) -> tuple[Path, Path, Path, Path]:
    """Pictures, test pictures, a recipe of noise that protects them, and a lenient one of a short audit that certifies.

    Measured: 100 % from the originals, 100 % from random noise, and 59 % from the release; leakage at most 0.45.
    """
    noise = {
        **{"data__resolution": 16, "noise__method": "em", "noise__rho_u": "24/255", "noise__step_size": "10/255"},
        **{"noise__steps": 5, "noise__rho_a": 0, "noise__adversary_steps": 0, "noise__adversary_step_size": 0},
        **{"noise__eot": {"transform": "none", "samples": 1}},
        **{"generator__steps": 60, "generator__batch_size": 32},
    }
    standard = {"required": True, "limit": 0.95, "architectures": ["small_resnet"], "threats": ["standard"]}
    policy = {"tiers__standard": standard, "tiers__adversarial": {"required": False}, "seeds__required": 3}
    training = {"victim__least_steps": 60, "victim__batch_size": 32, "victim__learning_rate": 0.05}
    return (
        _draw_stripes(folder / "clean", 50, seed=0),
        _draw_stripes(folder / "test", 60, seed=1),
        write_recipe(folder / "noise.yaml", **noise),
        write_audit_recipe(folder / "lenient.yaml", **{**LEARNING, **training, **policy, "victim__evaluations": 1}),
    )


def _draw_stripes(folder: Path, count: int, seed: int) -> Path:
    """Write class folders of two gratings, which no linear classifier sees."""
    for name, pictures in zip(("across", "down"), draw_gratings(count, seed, noise=20)[:2], strict=True):
        (folder / name).mkdir(parents=True)
        for index, pixels in enumerate(pictures):
            Image.fromarray(pixels).save(folder / name / f"{index:02d}.png")
    return folder


def write_material(folder: Path) -> Path:
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
