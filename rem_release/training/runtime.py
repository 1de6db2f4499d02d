"""Device and processes, through accelerate."""

import os

import torch
from accelerate import Accelerator

from rem_release.errors import InputError


def start() -> Accelerator:
    """The accelerator of this process, set to give the same bytes for the same seed on the same kind of device.

    Raises:
        InputError: processes were started that do not know of each other.
    """
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    accelerator = Accelerator()
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched != accelerator.num_processes:
        raise InputError(
            f"the launcher started {launched} processes and accelerate sees {accelerator.num_processes}; "
            "on CPUs set ACCELERATE_USE_CPU=true"
        )
    return accelerator
