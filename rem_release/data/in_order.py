"""Work spread over threads, results in order, and only a few of them in memory.

Threads, not processes: Pillow, numpy and scipy decode, encode and measure pictures without holding Python's lock.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from os import cpu_count
from typing import TypeVar

_MOST_THREADS = 16
"""each works on one picture, which may take some hundred megabytes"""
Item = TypeVar("Item")
Result = TypeVar("Result")


def thread_count() -> int:
    """Threads that work is spread over."""
    return min(_MOST_THREADS, cpu_count() or 1)


def map_in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None) -> Iterator[Result]:
    """Yield work(item) in the order of the items, computed by threads that run at most two items each ahead.

    An exception of `work` comes out at its own place. With one thread the items are worked on in order, too.
    """
    threads = threads or thread_count()
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
