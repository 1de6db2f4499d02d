"""Pillow's warnings, which say nothing that the decoding policy does not judge itself."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_muting = threading.Lock()
_muted_by = 0
_muted: warnings.catch_warnings | None = None


@contextmanager
def without_warnings() -> Iterator[None]:
    """Silence Pillow's warnings. The filter belongs to the whole process, so the last thread to leave restores it."""
    global _muted_by, _muted
    with _muting:
        if _muted_by == 0:
            _muted = warnings.catch_warnings()
            _muted.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\b")
        _muted_by += 1
    try:
        yield
    finally:
        with _muting:
            _muted_by -= 1
            if _muted_by == 0 and _muted is not None:
                _muted.__exit__(None, None, None)
                _muted = None
