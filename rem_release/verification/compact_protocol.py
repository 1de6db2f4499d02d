"""A strict reader of Thrift's compact protocol, for the headers of Parquet files.

Every byte that it passes over is part of a value that it returns, so that whoever knows which fields may be there
knows what every byte says (specification: thrift/doc/specs/thrift-compact-protocol.md). Libraries skip fields that they
do not know, which is where other bytes could hide.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Union

_MAX_DEPTH = 16
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _STRUCT = 1, 2, 3, 4, 5, 6, 7, 8, 9, 12

Kind = Union[type[int], type[bool], type[bytes], "ListOf", Mapping[int, "Kind"]]
"""What a field may hold: a whole number, a truth value, bytes, a list, or a struct: field id -> kind."""


@dataclass(frozen=True)
class ListOf:
    """A list of values of one kind, and how many at most."""

    item: Kind
    most: int = 1_000_000


class CompactReader:
    """Reads structs from bytes, one after the other.

    Args:
        data: the bytes.
        position: where the first struct begins; afterwards, where the last one ended.

    Reading raises ValueError where the bytes are no such struct, a field is not one of those that may be there, or a
    number or a list is written longer than it need be.
    """

    def __init__(self, data: bytes | memoryview, position: int = 0) -> None:
        self._data = memoryview(data)
        self.position = position

    def read_struct(self, fields: Mapping[int, Kind], depth: int = 0) -> dict[int, Any]:
        """One struct: field id -> value, of the fields that it has."""
        if depth > _MAX_DEPTH:
            raise ValueError("headers within headers")
        found: dict[int, Any] = {}
        last = 0
        while header := self._byte():
            delta, type_ = header >> 4, header & 0x0F
            last = last + delta if delta else self._zigzag()
            if last in found or last not in fields:
                raise ValueError(f"a header with a field {last}, which has no place there")
            found[last] = self._read(type_, fields[last], depth + 1)
        return found

    def _read(self, type_: int, kind: Kind, depth: int) -> Any:
        if isinstance(kind, ListOf):
            self._expect(type_, _LIST)
            return self._read_list(kind, depth)
        if isinstance(kind, Mapping):
            self._expect(type_, _STRUCT)
            return self.read_struct(kind, depth)
        if kind is bool:
            return self._expect(type_, _TRUE, _FALSE) == _TRUE
        if kind is bytes:
            self._expect(type_, _BINARY)
            return self._take(self._varint())
        readers: dict[int, Callable[[], int]] = {_I16: self._zigzag, _I32: self._zigzag, _I64: self._zigzag}
        return self._signed_byte() if self._expect(type_, _BYTE, *readers) == _BYTE else readers[type_]()

    def _read_list(self, kind: ListOf, depth: int) -> list[Any]:
        header = self._byte()
        count, type_ = header >> 4, header & 0x0F
        if count == 15:
            count = self._varint()
        if count > min(kind.most, len(self._data) - self.position):
            raise ValueError(f"a list of {count} items")
        return [self._read_item(type_, kind.item, depth) for _ in range(count)]

    def _read_item(self, type_: int, kind: Kind, depth: int) -> Any:
        if kind is bool:
            self._expect(type_, _TRUE, _FALSE)
            return self._byte() == _TRUE
        return self._read(type_, kind, depth + 1)

    @staticmethod
    def _expect(type_: int, *allowed: int) -> int:
        if type_ not in allowed:
            raise ValueError(f"a field of type {type_}, not {' or '.join(map(str, allowed))}")
        return type_

    def _byte(self) -> int:
        return self._take(1)[0]

    def _signed_byte(self) -> int:
        return int(struct.unpack("b", self._take(1))[0])

    def _take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self._data):
            raise ValueError("a header that is cut off")
        found = bytes(self._data[self.position : end])
        self.position = end
        return found

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if shift and not byte:
                    raise ValueError("a number that is written longer than it need be")
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a number of more than 64 bits")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
