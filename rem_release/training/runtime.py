"""Device and processes, through accelerate."""

import atexit
import gc
import os
from datetime import timedelta
from functools import cache

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, gather_object

from rem_release.errors import InputError

_PATIENCE = timedelta(days=2)
"""how long a process waits for the others: one of them reads the images of its host, which can take hours"""


def start() -> Accelerator:
    """The accelerator of this process. It has no part in the precision of networks, see `training.precision`.

    The same bytes for the same seed are promised for CPUs alone. On a GPU two settings of torch go towards it:
    `cudnn.deterministic` is on and `cudnn.benchmark` off. Operations outside cuDNN are left as they are, and no more is
    known than that two runs on one H200 gave the same bytes.

    Raises:
        InputError: processes were started that do not know of each other, or with settings that would be passed over.
    """
    if (steps := os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")) != "1":
        raise InputError(f"the launcher's gradient accumulation over {steps} steps would divide the gradients; use 1")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    waits = InitProcessGroupKwargs(timeout=_PATIENCE)
    accelerator = Accelerator(mixed_precision="no", kwargs_handlers=[waits])
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


def require_agreement(accelerator: Accelerator, facts: dict[str, str]) -> None:
    """Make sure that all processes, which may be on several hosts, work on the same.

    Args:
        accelerator: the processes.
        facts: what is compared, under its name for the message.

    Raises:
        InputError: one of them differs from the first; on every process.
    """
    told = gather_object([facts])
    for process, theirs in enumerate(told):
        if differing := [name for name, value in theirs.items() if value != told[0][name]]:
            raise InputError(
                f"process {process} has other {' and '.join(differing)} than process 0; "
                "give every host the same command and the same files"
            )
