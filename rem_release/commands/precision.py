"""The precision of a run, and of an audit: `auto` is resolved once, and stays what it was."""

from dataclasses import replace
from typing import cast

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from rem_release.commands.protect_options import ProtectOptions
from rem_release.release.run_folder import RunFolder
from rem_release.training.precision import Precision, resolve
from rem_release.verdict.recipe import AuditRecipe


def with_precision(options: ProtectOptions, run: RunFolder, accelerator: Accelerator) -> ProtectOptions:
    """The options with a recipe whose precision is no longer `auto`: that of the run that is resumed, else this
    machine's. The first process chooses, and the others are told.

    Raises:
        InputError: the launcher asks for another one, or the device does not have it.
    """
    asked = options.recipe.precision
    if asked == "auto" and options.resume:
        told = broadcast_object_list([_read(run) if accelerator.is_main_process else None])[0]
        asked = cast(Precision, told or asked)
    return replace(options, recipe=replace(options.recipe, precision=resolve(asked, accelerator.device)))


def resolve_victims(recipe: AuditRecipe, accelerator: Accelerator) -> AuditRecipe:
    """The audit recipe with a precision that is no longer `auto`: what its key, and the certificate, then state.

    Raises:
        InputError: the launcher asks for another one, or the device does not have it.
    """
    precision = resolve(recipe.victim.precision, accelerator.device, "victim.precision")
    return replace(recipe, victim=replace(recipe.victim, precision=precision))


def _read(run: RunFolder) -> str | None:
    recipe = run.read_options().get("recipe")
    precision = recipe.get("precision") if isinstance(recipe, dict) else None
    return precision if isinstance(precision, str) else None
