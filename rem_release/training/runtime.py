"""Device and processes, through accelerate."""

import atexit
import gc
import os
from datetime import timedelta
from functools import cache
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, gather_object

from rem_release.errors import InputError

_PATIENCE = timedelta(days=2)
"""how long a process waits for the others: one of them reads the images of its host, which can take hours"""


def start(precision: Literal["no", "bf16"] | None = None) -> Accelerator:
    """The accelerator of this process, set to give the same bytes for the same seed.

    That is promised for CPUs. On a GPU the settings that torch has for it are made, and no more is known than that two
    runs on one H200 gave the same bytes.

    Args:
        precision: mixed precision of the networks that accelerate prepares, which no launcher may contradict; None for
            networks that `training.precision` prepares.

    Raises:
        InputError: processes were started that do not know of each other, or with settings that would be passed over.
    """
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    if precision is not None and launched not in ("no", precision):
        raise InputError(
            f"the launcher says --mixed_precision {launched}, and the recipe victim.precision {precision}; "
            f"leave one of them out, or add --set victim.precision={launched}"
        )
    if (steps := os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")) != "1":
        raise InputError(f"the launcher's gradient accumulation over {steps} steps would divide the gradients; use 1")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    waits = InitProcessGroupKwargs(timeout=_PATIENCE)
    accelerator = Accelerator(mixed_precision=precision or "no", kwargs_handlers=[waits])
    if accelerator.num_processes > 1:
        atexit.register(_leave_the_others)
    else:
        _freeze_imports()
    expected = int(os.environ.get("WORLD_SIZE", "1"))
    if expected != accelerator.num_processes:
        raise InputError(
            f"the launcher started {expected} processes and accelerate sees {accelerator.num_processes}; "
            "on CPUs set ACCELERATE_USE_CPU=true"
        )
    return accelerator


@cache
def _freeze_imports() -> None:
    """Once: what was imported stays; accelerate collects after each training, and took 0.3 s to look through it."""
    gc.freeze()
    atexit.register(gc.unfreeze)  # else some packages call it a leak


def _leave_the_others() -> None:
    """Close the group of processes before the interpreter ends: its threads, still running, would abort it."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def count_here(accelerator: Accelerator) -> int:
    """How many of the processes are on this host."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes))


def describe(accelerator: Accelerator, precision: str) -> str:
    """What decides the last bits of a training, in a few words."""
    count = accelerator.num_processes
    return f"{count} process{'es' if count > 1 else ''}, {accelerator.device.type}, precision {precision}"


def precision_of(accelerator: Accelerator) -> str:
    """fp32, or what accelerate computes networks in; on a GPU convolutions in float32 are of TF32 unless told."""
    if accelerator.mixed_precision != "no":
        return str(accelerator.mixed_precision)
    return "tf32" if accelerator.device.type == "cuda" and torch.backends.cudnn.allow_tf32 else "fp32"


def require_agreement(accelerator: Accelerator, facts: dict[str, str]) -> None:
    """Make sure that all processes, which may be on several hosts, work on the same.

    Args:
        accelerator: the processes.
        facts: what is compared, under its name for the message; the precision is compared as well.

    Raises:
        InputError: one of them differs from the first; on every process.
    """
    told = gather_object([{**facts, "precision": precision_of(accelerator)}])
    for process, theirs in enumerate(told):
        if differing := [name for name, value in theirs.items() if value != told[0][name]]:
            raise InputError(
                f"process {process} has other {' and '.join(differing)} than process 0; "
                "give every host the same command and the same files"
            )
