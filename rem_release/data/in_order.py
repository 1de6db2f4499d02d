"""Work spread over threads, results in order, and only a few of them in memory.

Threads, not processes: Pillow, numpy and scipy decode, encode and measure images without holding Python's lock.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from os import cpu_count
from typing import TypeVar

_MAX_THREADS = 16
_MAX_PIXELS = 48_000_000
"""of all images together that are worked on, or done and not taken yet; a larger one is alone"""
_BYTES_A_PIXEL = 34
"""that working on it takes"""
_KEPT_A_PIXEL, _MAX_KEPT = 5, 120_000_000
"""bytes that each thread keeps for the next image, of the largest one's pixels, and at most; both were measured on
JPEG of 24 and 80 megapixels with 2 and with 16 threads"""
Item = TypeVar("Item")
Result = TypeVar("Result")


def thread_count() -> int:
    """Threads that work is spread over."""
    return min(_MAX_THREADS, cpu_count() or 1)


def threads_at_once(largest: int) -> int:
    """How many of them work at the same time on images of so many pixels; the others wait for room."""
    return max(1, min(thread_count(), _MAX_PIXELS // max(1, largest)))


def memory_in_flight(largest: int) -> int:
    """Bytes that images of so many pixels take while they are worked on, as many as there may be at once."""
    threads = thread_count()
    in_flight = max(largest, min(_MAX_PIXELS, threads * largest))
    return _BYTES_A_PIXEL * in_flight + threads * min(_MAX_KEPT, _KEPT_A_PIXEL * largest)


def map_in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None) -> Iterator[Result]:
    """Yield work(item) in the order of the items, computed by threads that run at most two items each ahead.

    Work on a large image calls `take_room` first, and waits there while too many pixels are in flight. An exception
    of `work` comes out at its own place. With one thread the items are worked on in order, too.
    """
    threads = threads or thread_count()
    room = _Room()

    def run(number: int, item: Item) -> Result:
        _current.room, _current.number = room, number
        try:
            return work(item)
        finally:
            room.pass_on(number)
            _current.room = None

    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        taken = 0
        try:
            for number, item in enumerate(items):
                waiting.append(pool.submit(run, number, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
                    room.leave(taken)
                    taken += 1
            while waiting:
                yield waiting.popleft().result()
                room.leave(taken)
                taken += 1
        finally:
            room.close()
            for future in waiting:
                future.cancel()


def take_room(pixels: int) -> None:
    """Wait until so many pixels more may be in flight; at once where nothing is mapped, or the item has its room."""
    room = getattr(_current, "room", None)
    if room is not None:
        room.take(_current.number, pixels)


class _Room:
    """Pixels in flight of one `map_in_order`. Items take theirs in order, so that the first one never waits for others
    that wait to be taken after it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: dict[int, int] = {}
        self._passed: set[int] = set()
        self._next = 0
        self._closed = False

    def take(self, number: int, pixels: int) -> None:
        with self._changed:
            if number in self._held:
                self._held[number] += pixels  # a second image of the item, which has begun and does not wait
            if number < self._next or number in self._passed:
                return
            self._changed.wait_for(lambda: self._closed or (self._next == number and self._fits(pixels)))
            self._held[number] = pixels
            self._pass_on(number)

    def pass_on(self, number: int) -> None:
        """The item needs no room, or has it."""
        with self._changed:
            self._pass_on(number)

    def leave(self, number: int) -> None:
        """What became of the item is gone."""
        with self._changed:
            self._held.pop(number, None)
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody takes any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _fits(self, pixels: int) -> bool:
        return not self._held or sum(self._held.values()) + pixels <= _MAX_PIXELS

    def _pass_on(self, number: int) -> None:
        if number >= self._next:
            self._passed.add(number)
        while self._next in self._passed:
            self._passed.remove(self._next)
            self._next += 1
        self._changed.notify_all()


_current = threading.local()
