"""Memory of the device: kept from step to step, measured, and too little of it as a failure that says what to do."""

import ctypes
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

from rem_release.errors import RemReleaseError

_CPU_REFUSAL = "can't allocate memory"
"""in the RuntimeError with which torch ends on a CPU; GPUs have an error of their own"""
T = TypeVar("T")
_ASKED = re.compile(r"you (tried to allocate \d+ bytes)")
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""of mallopt(3)"""
_OF_THE_USER = frozenset({"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"})
_LARGEST = 1 << 30
"""bytes: what is larger still goes back as soon as it is free"""
_USUAL = {_MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}
"""bytes: where glibc's own rule ends once large blocks were freed"""
_inside = 0
"""how many `memory_kept` this process is in"""


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
    Memory is kept meanwhile, as where networks are trained.
    """
    if device.type != "cuda":
        with memory_kept(device):
            return work(), None
    torch.cuda.reset_peak_memory_stats(device)
    return work(), int(torch.cuda.max_memory_allocated(device))


@contextmanager
def memory_kept(device: torch.device) -> Iterator[None]:
    """Keep the memory of freed tensors for the next ones, as on a GPU; it goes back at the end.

    glibc gives large blocks back to the kernel as they are freed, and at the next step gets them again as new pages:
    6 to 20 % of the time of small networks on a CPU. Numbers are the same to the bit. Memory is at its highest about as
    it was (ResNet-18, batch 128: 5 % more) and stays there until the end. May be entered again inside. Nothing happens
    with another allocator, or where the user has set glibc's by the environment.

    Args:
        device: where tensors are.
    """
    global _inside
    libc = _adjustable_libc() if device.type == "cpu" else None
    if libc is None:
        yield
        return
    _inside += 1
    if _inside == 1:
        if not libc.mallopt(_MMAP_THRESHOLD, _LARGEST):
            libc.mallopt(_MMAP_THRESHOLD, _USUAL[_MMAP_THRESHOLD])  # the most that older ones take
        libc.mallopt(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        _inside -= 1
        if _inside == 0:
            for parameter, value in _USUAL.items():
                libc.mallopt(parameter, value)
            libc.malloc_trim(0)


@cache
def _adjustable_libc() -> ctypes.CDLL | None:
    """glibc; None where there is another library, or where the environment has set how it allocates."""
    is_set = not _OF_THE_USER.isdisjoint(os.environ) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if sys.platform != "linux" or is_set:
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
