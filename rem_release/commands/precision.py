"""How networks of a run, and of an audit, are computed: `auto` is resolved once, and stays what it was."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from rem_release.commands.protect_options import ProtectOptions
from rem_release.console import Console
from rem_release.models import build_model
from rem_release.recipe import Recipe
from rem_release.release.run_folder import RunFolder
from rem_release.training.precision import Precision, launched, resolve
from rem_release.training.probe import Choice, choose, count_operations, list_choices
from rem_release.verdict.recipe import AuditRecipe

_CLASSES = 10
"""of the network that is measured: the last layer weighs little"""


def with_precision(
    options: ProtectOptions, run: RunFolder, images: int, accelerator: Accelerator, console: Console
) -> ProtectOptions:
    """The options with a recipe whose `precision` and `execution` are no longer `auto`: those of the run that is
    resumed, else what is fastest on this machine. The first process chooses, and the others are told.

    Args:
        options: what the command line said.
        run: where it goes.
        images: how many the source has, about as many as get noise.
        accelerator: device and processes.
        console: told what was measured.

    Raises:
        InputError: the launcher asks for another precision, or the device does not have it.
    """
    recipe = options.recipe
    resolve(recipe.precision, accelerator.device)  # what cannot be is refused here, on every process
    known = broadcast_object_list([_read(run, recipe) if accelerator.is_main_process and options.resume else None])[0]
    if known is None:
        chosen = _choose(recipe, images, accelerator, console) if accelerator.is_main_process else None
        known = broadcast_object_list([chosen])[0]
    precision = resolve(known.precision, accelerator.device)
    return replace(options, recipe=replace(recipe, precision=precision, execution=known.execution))


def resolve_victims(recipe: AuditRecipe, accelerator: Accelerator) -> AuditRecipe:
    """The audit recipe with a precision that is no longer `auto`: what its key, and the certificate, then state.

    Raises:
        InputError: the launcher asks for another one, or the device does not have it.
    """
    precision = resolve(recipe.victim.precision, accelerator.device, "victim.precision")
    return replace(recipe, victim=replace(recipe.victim, precision=precision))


def _choose(recipe: Recipe, images: int, accelerator: Accelerator, console: Console) -> Choice:
    """What is fastest here."""
    training, device = recipe.generator, accelerator.device
    precision: Precision = launched() or recipe.precision
    if training is None or not recipe.noise.trains:
        return list_choices(precision, recipe.execution, device, 0)[0]
    build = partial(build_model, training.model, _CLASSES, recipe.data.resolution, 0)
    phases = recipe.noise.list_phases(recipe.set_for(_CLASSES, 0), images, images)
    gradients = sum(phase.gradients for phase in phases)
    operations = gradients * count_operations(build(), recipe.data.resolution)
    choices = list_choices(precision, recipe.execution, device, operations)
    draws = recipe.noise.describe()["eot"]["samples"]
    at_once = training.batch_size * draws // accelerator.num_processes
    measured = choose(choices, build, recipe.data.resolution, at_once, device)
    if len(measured) > 1:
        console.note(_write(measured))
    return measured[0]


def _write(measured: Sequence[Choice]) -> str:
    best, *others = (f"{each.precision}, {each.execution}: {each.rate:,.0f}" for each in measured)
    return f"Computed in {best} gradients a second in a probe ({'; '.join(others)})"


def _read(run: RunFolder, recipe: Recipe) -> Choice | None:
    """What the run to be resumed was begun with, where the recipe leaves it open; None where it says neither."""
    told: Any = run.read_options().get("recipe")
    if not isinstance(told, dict) or not {"precision", "execution"} <= told.keys():
        return None  # begun by an earlier version, which `RunFolder.claim` refuses
    precision = told["precision"] if recipe.precision == "auto" else recipe.precision
    execution = told["execution"] if recipe.execution == "auto" else recipe.execution
    return Choice(precision, execution)
