"""Work spread over threads: results in order, few of them in memory, and few pixels in flight."""

import io
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
import tifffile
from PIL import Image

from rem_release.data import in_order
from rem_release.data.images.decoding import decode
from rem_release.data.in_order import _current, map_in_order, take_room


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_order, "_MAX_PIXELS", 100)


class Flight:
    """Counts the pixels of items that took room and were not taken by whoever asked for them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now = self.most = self.at_once = 0

    def work(self, pixels: int) -> int:
        take_room(pixels)
        with self.lock:
            self.now += pixels
            self.most = max(self.most, self.now)
        time.sleep(0.001)
        return pixels

    def taken(self, pixels: int) -> None:
        with self.lock:
            self.now -= pixels


def run(sizes: list[int], threads: int) -> int:
    flight = Flight()
    found = []
    for pixels in map_in_order(flight.work, sizes, threads):
        flight.taken(pixels)
        found.append(pixels)
    assert found == sizes
    return flight.most


@pytest.mark.usefixtures("few")
def test_so_many_threads_as_are_told_of_work_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_order, "cpu_count", lambda: 8)
    for pixels, told in ((1, 8), (12, 8), (13, 7), (30, 3), (50, 2), (51, 1), (100, 1), (900, 1)):
        barrier = threading.Barrier(told)

        def work(_: int, pixels: int = pixels, barrier: threading.Barrier = barrier) -> None:
            take_room(pixels)
            barrier.wait(timeout=30)  # all of them, or it breaks

        assert in_order.threads_at_once(pixels) == told
        assert list(map_in_order(work, range(2 * told))) == [None] * (2 * told)
        assert told == 8 or (told + 1) * pixels > 100


@pytest.mark.parametrize("threads", [1, 2, 16])
@pytest.mark.parametrize("sizes", [[30] * 40, [99, 1] * 20, [10, 250, 10, 60, 60, 250, 1] * 5, [1] * 300])
@pytest.mark.usefixtures("few")
def test_no_more_pixels_are_in_flight_than_may_be_but_for_one_image_that_is_alone(
    sizes: list[int], threads: int
) -> None:
    assert run(sizes, threads) <= max(100, *sizes)


@pytest.mark.usefixtures("few")
def test_a_large_image_is_alone() -> None:
    together: list[set[int]] = []
    now: set[int] = set()
    lock = threading.Lock()

    def work(number: int) -> int:
        take_room(1000 if number == 5 else 10)
        with lock:
            now.add(number)
            together.append(set(now))
        time.sleep(0.002)
        with lock:
            now.discard(number)
        return number

    assert list(map_in_order(work, range(12), 4)) == list(range(12))
    assert [each for each in together if 5 in each] == [{5}]
    assert max(map(len, together)) > 1


@pytest.mark.parametrize(
    "takes", [lambda number: None, lambda number: take_room(60) if number % 3 else None], ids=["none", "some"]
)
@pytest.mark.usefixtures("few")
def test_items_that_take_no_room_and_those_that_fail_hold_nobody_up(takes: Callable[[int], None]) -> None:
    def work(number: int) -> int:
        takes(number)
        if number == 7:
            raise ValueError("seven")
        takes(number)  # the second image of a pair
        return number

    found = []
    with pytest.raises(ValueError, match="seven"):
        found.extend(map_in_order(work, range(20), 3))
    results = map_in_order(work, range(7), 3)
    assert next(results) == 0
    results.close()  # those who wait are let go


@pytest.mark.usefixtures("few")
def test_the_second_image_of_an_item_counts_and_does_not_wait() -> None:
    held = []

    def work(number: int) -> int:
        take_room(40)
        take_room(500)  # more than fits: it has begun, and goes on
        held.append(sum(_current.room._held.values()))
        return number

    assert list(map_in_order(work, range(5), 2)) == list(range(5))
    assert max(held) == min(held) == 540


def test_room_outside_of_a_map_is_free() -> None:
    take_room(10**12)


def encode(format: str) -> bytes:
    """An image of 80 pixels."""
    buffer = io.BytesIO()
    if format == "floats":  # which another library reads
        values = np.zeros((8, 10), np.float32)
        tifffile.imwrite(buffer, values, byteorder=">", bigtiff=True, photometric="minisblack", metadata=None)
    else:
        Image.new("RGB", (10, 8)).save(buffer, format)
    return buffer.getvalue()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "floats"])
@pytest.mark.usefixtures("few")
def test_decoding_takes_room_for_its_pixels(format: str) -> None:
    data, lock = encode(format), threading.Lock()
    in_flight = most = 0

    def work(number: int) -> int:
        nonlocal in_flight, most
        decode(data)
        with lock:
            in_flight += 1
            most = max(most, in_flight)
        time.sleep(0.001)
        return number

    for _ in map_in_order(work, range(30), 8):
        with lock:
            in_flight -= 1
    assert most == 1, "two images of 80 pixels are more than the 100 that may be in flight"
