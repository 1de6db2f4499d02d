"""What the pages of one column of a Parquet file hold, value by value, with no byte left over.

Follows the Parquet format's documents on encodings (Encodings.md: PLAIN, the RLE and bit-packing hybrid, dictionaries)
and on nested data (Dremel levels). A row's value is named by the bytes that it is stored as.
"""

import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from rem_release.verification import parquet_headers as parquet

_MAX_PER_BYTE = 22
"""Snappy's longest copy is 64 bytes for 3: no page is larger than so many times its compressed size"""
_SLACK = 64
_MAX_VALUES, _VALUES_A_ROW = 1 << 16, 1 << 10
_MAX_BYTES, _BYTES_A_ROW = 1 << 24, 1 << 16
_MAX_VALUE = 1 << 20
"""what a column beside the images may hold in a row group, and so many more for each of its rows: a few bytes can
repeat one large value in millions of places"""


@dataclass(frozen=True)
class Column:
    """What the schema says about a column.

    Attributes:
        name: dotted path.
        physical: parquet type.
        width: bytes of a value of FIXED_LEN_BYTE_ARRAY.
        definition: highest definition level; 0 where no value can be missing.
        repetition: highest repetition level; 0 where there are no lists.
        bounds: smallest and largest whole number that the column's type can hold, where its storage could hold others.
        is_image: protect writes images as they are, without a dictionary.
    """

    name: str
    physical: int
    width: int
    definition: int
    repetition: int
    bounds: tuple[int, int] | None
    is_image: bool


@dataclass
class Chunk:
    """The pages of a column in one row group, so far. What is wrong raises ValueError.

    Attributes:
        column: the column.
        stated_rows: of the row group.
    """

    column: Column
    stated_rows: int
    values: int = 0
    """missing ones included"""
    missing: int = 0
    pages: Counter[tuple[int, int]] = field(default_factory=Counter)
    """(kind, encoding) -> how many there are"""
    statistics: list[dict[int, Any] | None] = field(default_factory=list)
    """that stand in the headers of its pages"""
    levels: list[np.ndarray] = field(init=False)
    """how many values there are of each repetition level, and of each definition level"""
    rows: int = 0
    longest: int = 0
    """bytes of the largest value"""
    expanded: int = 0
    """bytes of all values as rows show them, of text and images"""
    seen: set[bytes] = field(default_factory=set)
    """values that stand in pages; for the statistics. Not kept of images"""
    _dictionary: list[bytes] | None = None
    _used: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    _sizes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        self.levels = [np.zeros(highest + 1, np.int64) for highest in (self.column.repetition, self.column.definition)]

    def read_dictionary(self, body: bytes, count: int, encoding: int) -> None:
        """Take the dictionary page."""
        if self._dictionary is not None or self.values:
            raise ValueError("a second dictionary, or one behind its data")
        if self.column.is_image:
            raise ValueError("a dictionary, which a column of images does not have")
        if encoding not in (parquet.PLAIN, parquet.PLAIN_DICTIONARY):
            raise ValueError(f"a dictionary of the encoding {encoding}")
        self._dictionary = self._read_plain(body, count)
        if len(set(self._dictionary)) != count:
            raise ValueError("a dictionary that holds a value twice")
        self._used = np.zeros(count, bool)
        self._sizes = np.array([len(value) for value in self._dictionary], np.int64)
        self.seen.update(self._dictionary)  # each of them is used, see `finish`
        self.pages[parquet.DICTIONARY_PAGE, encoding] += 1

    def read_data(self, body: bytes, header: dict[int, Any]) -> None:
        """Take a data page, decompressed."""
        count, encoding = header[1], header[2]
        if not 0 < count <= _MAX_VALUES + _VALUES_A_ROW * self.stated_rows - self.values:
            raise ValueError(f"a page of {count:,} values for {self.stated_rows:,} rows, which is too much")
        if (header[3], header[4]) != (parquet.RLE, parquet.RLE):
            raise ValueError("levels of an unknown encoding")
        repeated, body = self._read_levels(body, count, self.column.repetition)
        defined, body = self._read_levels(body, count, self.column.definition)
        self.levels[0] += repeated
        self.levels[1] += defined
        present = int(defined[-1])
        self.values, self.rows = self.values + count, self.rows + int(repeated[0])
        self.pages[parquet.DATA_PAGE, encoding] += 1
        self.missing += count - present
        self.statistics.append(header.get(5))
        if encoding in (parquet.PLAIN_DICTIONARY, parquet.RLE_DICTIONARY):
            self._read_indices(body, present)
        elif encoding == parquet.RLE and self.column.physical == parquet.BOOLEAN:
            _, rest = _read_prefixed(body, present, 1)
            _require_empty(rest)
        elif encoding == parquet.PLAIN:
            found = self._read_plain(body, present)
            self.expanded += sum(map(len, found))
            if not self.column.is_image:
                self.longest = max(self.longest, max(map(len, found), default=0))
                self.seen.update(found)
        else:
            raise ValueError(f"a page of the encoding {encoding}")
        is_large = self.expanded > _MAX_BYTES + _BYTES_A_ROW * self.stated_rows
        if self.longest > _MAX_VALUE or (is_large and not self.column.is_image):
            raise ValueError(
                f"values of up to {self.longest:,} bytes, {self.expanded:,} in all for {self.stated_rows:,} rows, "
                "which is too much"
            )

    def finish(self) -> None:
        """Look at what only all pages together show."""
        if not self._used.all():
            raise ValueError(f"{int((~self._used).sum())} values in its dictionary that no row shows")

    def _read_levels(self, body: bytes, count: int, highest: int) -> tuple[np.ndarray, bytes]:
        """How many values there are of each level, and what follows the levels."""
        if not highest:
            return np.array([count]), body
        levels, rest = _read_prefixed(body, count, highest.bit_length())
        if levels.max(initial=0) > highest:
            raise ValueError("a level that its column does not have")
        return np.bincount(levels, minlength=highest + 1), rest

    def _read_indices(self, body: bytes, count: int) -> None:
        if self._dictionary is None:
            raise ValueError("places in a dictionary that is missing")
        if not body or body[0] > 32:
            raise ValueError("places of an unknown width")
        indices = read_hybrid(body[1:], count, body[0])
        if indices.max(initial=0) >= max(len(self._dictionary), 1):
            raise ValueError("a place behind the end of its dictionary")
        used, uses = np.unique(indices, return_counts=True)  # as long as the page, not as the dictionary
        if len(self._sizes):
            self._used[used] = True
            self.longest = max(self.longest, int(self._sizes[used].max(initial=0)))
            self.expanded += int(uses @ self._sizes[used])

    def _read_plain(self, body: bytes, count: int) -> list[bytes]:
        """The values of PLAIN encoding, which fill the bytes to the end."""
        physical = self.column.physical
        if physical == parquet.BYTE_ARRAY:
            return _read_byte_arrays(body, count)
        if physical == parquet.BOOLEAN:
            if len(body) != (count + 7) // 8 or (count % 8 and body[-1] >> count % 8):
                raise ValueError("bytes behind its last value")
            return []
        width = self.column.width if physical == parquet.FIXED_LEN_BYTE_ARRAY else parquet.WIDTHS[physical]
        if len(body) != count * width:
            raise ValueError("bytes behind its last value" if len(body) > count * width else "too few bytes")
        if self.column.bounds and count:
            numbers = np.frombuffer(body, np.int32 if width == 4 else np.int64)
            low, high = self.column.bounds
            if numbers.min() < low or numbers.max() > high:
                raise ValueError(f"numbers outside {low} to {high}, which its type cuts off")
        return [body[place : place + width] for place in range(0, len(body), width)] if width else []


def decompress(body: bytes, size: int, codec: int) -> bytes:
    """A page as it was before it was compressed.

    Raises:
        ValueError: another codec than protect writes, another size than the header says, or a stream that is longer
            than it need be, and could hold more than the page.
    """
    if codec == parquet.UNCOMPRESSED:
        if len(body) != size:
            raise ValueError("a page of another size than its header says")
        return body
    if codec != parquet.SNAPPY:
        raise ValueError(f"pages that are compressed in a way ({codec}) which protect does not write")
    if not 0 <= size <= _MAX_PER_BYTE * len(body):
        raise ValueError(f"a page of {size:,} bytes out of {len(body):,}, which no Snappy stream can hold")
    try:
        plain = pa.decompress(body, size, "snappy", asbytes=True)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"a damaged page ({str(error).splitlines()[0]})") from None
    again = len(pa.compress(plain, "snappy", asbytes=True))
    if len(body) > again + again // 64 + _SLACK:
        raise ValueError(f"a page of {len(body):,} bytes that compresses to {again:,}")
    return plain


def read_hybrid(data: bytes, count: int, width: int) -> np.ndarray:
    """Values of the RLE and bit-packing hybrid, which fill the bytes to the end: int64 [count].

    Args:
        data: the runs.
        count: values to read; a last group of eight is filled up with zeros.
        width: bits of a value, at most 32.

    Raises:
        ValueError: bytes are missing or left over, a run is empty, or what fills up the last group is not zero.
    """
    values = np.empty(count, np.int64)
    done = position = 0
    size = (width + 7) // 8
    while done < count:
        header, position = _read_varint(data, position)
        run = header >> 1
        if not run:
            raise ValueError("an empty run")
        if header & 1:
            end = position + run * width
            packed = np.unpackbits(np.frombuffer(data[position:end], np.uint8), bitorder="little")
            if end > len(data) or run * 8 - (count - done) >= 8:
                raise ValueError("a run that is longer than its page")
            weights = 1 << np.arange(width, dtype=np.int64)
            found = packed.reshape(-1, width).astype(np.int64) @ weights if width else np.zeros(run * 8, np.int64)
            here = min(run * 8, count - done)
            if found[here:].any():
                raise ValueError("a last group that is not filled up with zeros")
            values[done : done + here] = found[:here]
        else:
            end, here = position + size, run
            value = int.from_bytes(data[position:end], "little")
            if end > len(data) or here > count - done or value >> width:
                raise ValueError("a run that is longer than its page, or whose value is too large")
            values[done : done + here] = value
        done, position = done + here, end
    _require_empty(data[position:])
    return values


def _read_prefixed(body: bytes, count: int, width: int) -> tuple[np.ndarray, bytes]:
    """A hybrid behind its length in four bytes; and what follows it."""
    if len(body) < 4:
        raise ValueError("too few bytes")
    (length,) = struct.unpack_from("<I", body)
    if length > len(body) - 4:
        raise ValueError("too few bytes")
    return read_hybrid(body[4 : 4 + length], count, width), body[4 + length :]


def _read_byte_arrays(body: bytes, count: int) -> list[bytes]:
    found, position = [], 0
    for _ in range(count):
        if position + 4 > len(body):
            raise ValueError("too few bytes")
        (length,) = struct.unpack_from("<I", body, position)
        position += 4 + length
        if position > len(body):
            raise ValueError("too few bytes")
        found.append(body[position - length : position])
    _require_empty(body[position:])
    return found


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 28:
            raise ValueError("a run without an end")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _require_empty(rest: bytes) -> None:
    if rest:
        raise ValueError(f"{len(rest):,} bytes behind its last value")
