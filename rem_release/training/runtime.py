"""Device and processes, through accelerate."""

import torch
from accelerate import Accelerator


def start() -> Accelerator:
    """The accelerator of this process, set to give the same bytes for the same seed on the same kind of device."""
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    return Accelerator()
