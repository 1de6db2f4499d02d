"""The seed of a run: a secret one, for whoever knows seed, recipe and release can train the generator again.

A generator that was trained with the run's seed on the protected images, which are published, makes noise that is like
the true noise, and subtracting it brings pictures nearer to their originals.
"""

import secrets
from dataclasses import replace

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from rem_release.commands.protect_options import ProtectOptions
from rem_release.console import Console
from rem_release.release.generator import Generator
from rem_release.release.run_folder import RunFolder

_SEEDS = 2**63


def with_seed(
    options: ProtectOptions, run: RunFolder, generator: Generator | None, accelerator: Accelerator, console: Console
) -> ProtectOptions:
    """The options with a seed: the given one; that of the run that is resumed; the generator's, so that one picture
    keeps one noise; else a secret one. The first process chooses, and the others are told.

    Raises:
        InputError: the record of the run that is resumed is damaged.
    """
    if generator and options.seed not in (None, generator.seed):
        console.warn("--seed is not that of --generator's run: a picture that is in both runs carries two noises")
    chosen = _choose(options, run, generator) if accelerator.is_main_process else None
    return replace(options, seed=broadcast_object_list([chosen])[0])


def _choose(options: ProtectOptions, run: RunFolder, generator: Generator | None) -> int:
    if options.seed is not None:
        return options.seed
    before = run.read_options().get("seed") if options.resume else None
    if isinstance(before, int):
        return before
    return generator.seed if generator else secrets.randbelow(_SEEDS)
