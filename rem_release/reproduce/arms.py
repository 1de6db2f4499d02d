"""The noise of a cell, as a run of `protect`: made once, and used by every table that has it."""

import json
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator

from rem_release.atomic_files import write_atomically
from rem_release.commands.protect import protect
from rem_release.commands.protect_options import ProtectOptions
from rem_release.console import Console
from rem_release.data.sources.source import SourceOptions
from rem_release.errors import InputError
from rem_release.radius import format_radius, parse_radius
from rem_release.recipe import Recipe
from rem_release.recipe_changes import load_changed
from rem_release.release.canonical import canonical_bytes
from rem_release.release.run_folder import RunFolder
from rem_release.reproduce.paper import Arm, Dataset
from rem_release.reproduce.scale import Scale, recipe_name

_FILES = ("Reading images", "Looking for near copies", "Writing images")
"""stages that are not of the noise"""
_NO_EOT = {"noise.eot.transform": "none", "noise.eot.samples": "1"}


@dataclass(frozen=True)
class ArmRun:
    """An arm with a seed, and its run folder."""

    arm: Arm
    seed: int
    run: RunFolder

    @property
    def timing(self) -> Path:
        """Where it is kept what making the noise took, of runs that were not stopped."""
        return self.run.path.with_name(f"{self.run.path.name}.json")

    @property
    def seconds(self) -> float | None:
        """What making its noise took, reading and writing left out; None where the run was stopped on the way."""
        return float(json.loads(self.timing.read_bytes())["seconds"]) if self.timing.is_file() else None


def place(arm: Arm, seed: int, folder: Path) -> ArmRun:
    """Where the run of an arm lies."""
    return ArmRun(arm, seed, RunFolder(folder / f"{arm.name}-seed{seed}"))


def arm_recipe(arm: Arm, scale: Scale, dataset: Dataset) -> Recipe:
    """The recipe of Table 5 with what the scale changes in it, at the arm's radii.

    Raises:
        InputError: the scale changes what the recipe does not have.
    """
    changes = {key: _at_radii(str(value), arm) for key, value in scale.noise.get(arm.method, {}).items()}
    radii = {"noise.rho_u": format_radius(arm.rho_u)}
    if arm.method == "rem":
        radii["noise.rho_a"] = format_radius(arm.rho_a)
        radii |= {} if arm.eot else _NO_EOT
    rho_a = radii.get("noise.rho_a")
    return load_changed(
        recipe_name(arm.method, dataset), rho_u=radii["noise.rho_u"], rho_a=rho_a, settings={**changes, **radii}
    )


def _at_radii(value: str, arm: Arm) -> str:
    """A step size such as `2/5*rho_u`, as a number; any other value as it is."""
    share, times, radius = value.partition("*")
    if not times:
        return value
    size = parse_radius(share) * {"rho_u": arm.rho_u, "rho_a": arm.rho_a}[radius]
    return f"{size.numerator}/{size.denominator}"


def make_arm(
    arm: ArmRun, recipe: Recipe, images: Path, resume: bool, console: Console, accelerator: Accelerator
) -> None:
    """Protect the training images, if that is not done yet.

    Raises:
        InputError: the run was stopped and is not resumed, or was made with other settings.
    """
    options = ProtectOptions(
        source=SourceOptions(source=str(images)),
        out=arm.run.path,
        recipe=recipe,
        recipe_name=f"paper-{arm.arm.name}",
        seed=arm.seed,
        resume=arm.run.exists,
    )
    is_new = not arm.run.exists
    if not is_new and not arm.run.finished and not resume:
        raise InputError(f"{arm.run.path} was stopped; add --resume to go on")
    try:
        protect(options, console, accelerator)
    except InputError as error:
        if is_new:
            raise
        cure = "if --out was moved, move it back, else name a new one"
        raise InputError(f"{arm.run.path} cannot be taken: {error}; {cure}") from None
    if is_new and accelerator.is_main_process:
        stages = arm.run.read_json(arm.run.times)["stages"]
        seconds = sum(time["seconds"] for name, time in stages.items() if name not in _FILES)
        write_atomically(arm.timing, canonical_bytes({"seconds": round(seconds, 3)}))
