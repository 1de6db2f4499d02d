"""Too little memory, as a failure that says what to do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rem_release.errors import RemReleaseError

_CPU_REFUSAL = "can't allocate memory"
"""in the RuntimeError with which torch ends on a CPU; GPUs have an error of their own"""
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
