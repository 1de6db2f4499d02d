"""Signals during a training, and while a process forks: the first lets the step end, so that its state can be saved; a
second does not wait."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Which signal asks for an end; 0 while none does."""

    def __init__(self) -> None:
        self.number = 0

    def obey(self, number: int) -> None:
        """End as the signal would have ended the command.

        Raises:
            KeyboardInterrupt: for SIGINT.
            SystemExit: for SIGTERM, with 143.
        """
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)


@contextmanager
def signals_held() -> Iterator[Stop]:
    """Hold back the first SIGINT or SIGTERM; what was there before handles the second. Other threads hold nothing."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:
        stop.number = number
        for which, handler in before.items():
            signal.signal(which, handler)

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stop.number:  # it came after anybody had looked
        stop.obey(stop.number)
