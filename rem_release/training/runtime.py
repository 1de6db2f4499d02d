"""Device and processes, through accelerate."""

import os
from datetime import timedelta
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

from rem_release.errors import InputError

_PATIENCE = timedelta(days=2)
"""how long a process waits for the others: one of them reads the images of its host, which can take hours"""


def start(precision: Literal["no", "bf16"] | None = None) -> Accelerator:
    """The accelerator of this process, set to give the same bytes for the same seed on the same kind of device.

    Args:
        precision: mixed precision; None takes what the launcher says.

    Raises:
        InputError: processes were started that do not know of each other.
    """
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    waits = InitProcessGroupKwargs(timeout=_PATIENCE)
    accelerator = Accelerator(mixed_precision=precision, kwargs_handlers=[waits])
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched != accelerator.num_processes:
        raise InputError(
            f"the launcher started {launched} processes and accelerate sees {accelerator.num_processes}; "
            "on CPUs set ACCELERATE_USE_CPU=true"
        )
    return accelerator
