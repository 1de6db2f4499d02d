"""Too little memory, as a failure that says what to do."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from rem_release.errors import RemReleaseError

_CPU_REFUSAL = "can't allocate memory"
"""in the RuntimeError with which torch ends on a CPU; GPUs have an error of their own"""
T = TypeVar("T")
_ASKED = re.compile(r"you (tried to allocate \d+ bytes)")


@contextmanager
def memory_watched(key: str, batch_size: int) -> Iterator[None]:
    """Turn torch's lack of memory into one line that names the recipe's key of the batch size.

    Raises:
        RemReleaseError: there was too little memory.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and _CPU_REFUSAL not in str(error):
            raise
        asked = _ASKED.search(str(error))
        reason = asked[1] if asked else str(error).split(". ")[0]
        raise RemReleaseError(
            f"the device has too little memory for batches of {batch_size} ({reason}); "
            f"try --set {key}={max(batch_size // 2, 2)}"
        ) from None


def measure_peak(device: torch.device, work: Callable[[], T]) -> tuple[T, int | None]:
    """What some work returns, and the most memory that tensors took on a GPU meanwhile, in bytes; None on a CPU.

    What lies there before counts. It is what torch asked for: the driver's own memory, some hundred MB, comes on top.
    """
    if device.type != "cuda":
        return work(), None
    torch.cuda.reset_peak_memory_stats(device)
    return work(), int(torch.cuda.max_memory_allocated(device))
