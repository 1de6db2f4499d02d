"""How much memory a piece of work takes: the highest that Linux saw of this process meanwhile, less what it had before.

Not what `getrusage` says, which a process inherits from the one that started it.
"""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def peak_of(work: Callable[[], T]) -> tuple[T, int]:
    """What it returns, and bytes."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    before = read_status("VmRSS")
    return work(), read_status("VmHWM") - before


def read_status(name: str) -> int:
    """Of /proc/self/status, in bytes, such as `VmRSS`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
