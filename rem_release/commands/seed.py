"""The seed of a run: a secret one, for whoever knows seed, recipe and release can train the generator again.

A generator that was trained with the run's seed on the protected images, which are published, makes noise that is like
the true noise, and subtracting it brings images nearer to their originals.
"""

import secrets
from dataclasses import replace

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from rem_release.commands.protect_options import ProtectOptions
from rem_release.console import Console
from rem_release.errors import InputError
from rem_release.release.generator import Generator
from rem_release.release.run_folder import RunFolder

_SEEDS = 2**63
_OLD = "was trained by an earlier version of rem-release, whose seed was 0 unless you chose another"


def with_seed(
    options: ProtectOptions, run: RunFolder, generator: Generator | None, accelerator: Accelerator, console: Console
) -> ProtectOptions:
    """The options with a seed: the given one; that of the run that is resumed; the generator's, so that one image
    keeps one noise; else a secret one. The first process chooses, and the others are told.

    Raises:
        InputError: the record of the run that is resumed is damaged; or the seed would be one that is public.
    """
    chosen = _choose(options, run, generator) if accelerator.is_main_process else None
    if generator and options.seed not in (None, generator.seed):
        console.warn("--seed is not that of --generator's run: an image that is in both runs carries two noises")
    if generator and generator.is_old:
        console.warn(f"--generator {options.generator} {_OLD}: whoever knows it can make its noise again")
    return replace(options, seed=broadcast_object_list([chosen])[0])


def _choose(options: ProtectOptions, run: RunFolder, generator: Generator | None) -> int:
    if options.seed is not None:
        return options.seed
    before = run.read_options().get("seed") if options.resume else None
    if isinstance(before, int):
        return before
    if generator and generator.is_old:
        raise InputError(
            f"--generator {options.generator} {_OLD}, and with it anyone can make the noise again; train a new "
            "generator without --generator, or give a --seed if yours is known to nobody"
        )
    return generator.seed if generator else secrets.randbelow(_SEEDS)
