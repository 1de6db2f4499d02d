"""How much a row says beside its image: a bound on what could be carried there, whatever it is written as.

What deflate (RFC 1951) needs for a row after the 32 kB before it is an upper bound on what the row tells that those do
not, up to what was agreed on beforehand. Nobody needs to recognise an image to see that there is no room for one.

What the bound leaves: 256 bytes a row, of all columns beside the image together. That takes 16 x 16 pixels of
grey there as they are, or a photograph of some 32 x 32 pixels from a good codec, and rows without images of interest
lend their room to others.
"""

import json
import struct
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import pyarrow as pa

from rem_release.data.leaks.published_words import MAX_BYTES, Kind, list_words, measure_words

_WINDOW = 1 << 15
_FLUSH = 4
"""bytes of the mark that a flush leaves in the stream"""
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)


@dataclass(frozen=True)
class Excess:
    """A row that says too much."""

    where: str
    size: int
    """bytes, of all columns together"""
    most: int
    """that are allowed"""
    columns: Mapping[str, int]
    """column -> bytes by itself; largest first, as many as must go so that the others fit"""


class RowCapacity:
    """Measures rows in order. A column that had to be named is left out from there on, so that others are seen too.

    What the types say is published as well, see `published_words`: it counts with the rows, as much with each. Words of
    no such column leave every row less room.

    Args:
        features: of the columns that count.
        rows: how many there will be, for the words.
        others: words of no such column, such as the names of splits.
    """

    def __init__(self, features: Mapping[str, Any], rows: int, others: Sequence[str] = ()) -> None:
        self._names = list(features)
        self._words: dict[str, list[str]] = {name: [] for name in features}
        for word in list_words(datasets.Features(dict(features)).to_dict()):
            if word.column is not None and word.kind is not Kind.ID:
                self._words[word.column].append(word.text)
        self._most = max(MAX_BYTES - measure_words(others) // max(rows, 1), 0)
        self._rows, self._taken = rows, 0
        self._past: deque[dict[str, bytes]] = deque()
        self._past_size = 0
        self._stream = _start(b"")

    def take(self, batch: pa.RecordBatch, places: Sequence[str]) -> Iterator[Excess]:
        """Measure the rows of a batch, which has at least these columns; `places` says where each row stands."""
        texts = {name: _write_column(batch.column(name)) for name in self._names}
        for index, where in enumerate(places):
            contents = {name: texts[name][index] + self._next_words(name) for name in self._names}
            self._taken += 1
            if (size := self._measure(contents)) > self._most:
                named = self._name_columns(contents)
                yield Excess(where, size, self._most, named)
                self._leave_out(named)
                contents = {name: content for name, content in contents.items() if name not in named}
                self._measure(contents)
            self._remember(contents)

    def _next_words(self, name: str) -> bytes:
        """The names that count with this row: all of them with all rows, in even parts."""
        words = self._words[name]
        first, end = (len(words) * min(n, self._rows) // max(self._rows, 1) for n in (self._taken, self._taken + 1))
        return "".join(f"{word}\n" for word in words[first:end]).encode()

    def _measure(self, contents: dict[str, bytes]) -> int:
        """Bytes of a row; the stream goes on behind it."""
        line = b"".join(contents.values())
        packed = len(self._stream.compress(line)) + len(self._stream.flush(zlib.Z_SYNC_FLUSH)) - _FLUSH
        return min(packed, len(line))

    def _name_columns(self, contents: dict[str, bytes]) -> dict[str, int]:
        sizes = {name: _pack(self._recall([name]), content) for name, content in contents.items()}
        rest, named = dict(contents), {}
        for name in sorted(sizes, key=lambda name: -sizes[name]):
            named[name] = sizes[name]
            del rest[name]
            if _pack(self._recall(list(rest)), b"".join(rest.values())) <= self._most:
                break
        return named

    def _leave_out(self, named: Mapping[str, int]) -> None:
        self._names = [name for name in self._names if name not in named]
        self._stream = _start(self._recall(self._names))

    def _recall(self, names: list[str]) -> bytes:
        """What the last rows said in these columns, at most 32 kB."""
        return b"".join(row[name] for row in self._past for name in names if name in row)[-_WINDOW:]

    def _remember(self, contents: dict[str, bytes]) -> None:
        self._past.append(contents)
        self._past_size += sum(map(len, contents.values()))
        while self._past_size - sum(map(len, self._past[0].values())) > _WINDOW:
            self._past_size -= sum(map(len, self._past.popleft().values()))


def measure_rows(dataset: datasets.Dataset, names: Sequence[str], others: Sequence[str] = ()) -> Iterator[Excess]:
    """Measure the rows of a source in these columns, in order; `others` are words of no such column."""
    features = {name: dataset.features[name] for name in names}
    if not names:
        return
    capacity, first = RowCapacity(features, len(dataset), others), 0
    for table in dataset.select_columns(list(names)).with_format("arrow").iter(1024):
        for batch in table.combine_chunks().to_batches():
            yield from capacity.take(batch, [f"row {first + index}" for index in range(len(batch))])
            first += len(batch)


def _start(past: bytes) -> Any:
    """A stream of deflate, at its highest level and with the most memory."""
    return zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, past)


def _pack(past: bytes, text: bytes) -> int:
    """Bytes of one text after what was said before."""
    stream = _start(past)
    return min(len(stream.compress(text)) + len(stream.flush()), len(text))


def _write_column(column: pa.Array) -> list[bytes]:
    """Each value as JSON, in which nothing is lost: dates as whole numbers, and what stands in a NaN beside it."""
    values = column.cast(_countable(column.type)).to_pylist()
    lines = [f"{_ENCODER.encode(value)}\n" for value in values]
    for index, line in enumerate(lines):
        if "NaN" in line:
            lines[index] += "".join(_write_nans(values[index]))
    return [line.encode() for line in lines]


def _countable(kind: pa.DataType) -> pa.DataType:
    """The type as which nothing is cut off on the way to Python: nanoseconds would be."""
    if pa.types.is_temporal(kind):
        return pa.int32() if kind.bit_width == 32 else pa.int64()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_countable(field.type)) for field in kind])
    if pa.types.is_large_list(kind):
        return pa.large_list(_countable(kind.value_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_countable(kind.value_type), kind.list_size)
    if pa.types.is_list(kind):
        return pa.list_(_countable(kind.value_type))
    return kind


def _write_nans(value: Any) -> Iterator[str]:
    """The bits of each number that is none: 51 of them are free."""
    waiting = [value]
    while waiting:
        first = waiting.pop()
        if isinstance(first, dict):
            waiting += first.values()
        elif isinstance(first, (list, tuple)):
            waiting += first
        elif isinstance(first, float) and first != first:  # only NaN is not itself
            yield struct.pack(">d", first).hex()
