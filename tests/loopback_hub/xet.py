"""Xet's local store, which the client fills and reads itself: the server looks up what is in it.

A shard (`*.mdb`) lists files: 48 bytes of head, then for each file a head with its hash, the pieces of xorbs that make
it up, and the sha256 of the whole. A xorb holds chunks, each behind a head of 8 bytes. Compression must be off
(`HF_XET_XORB_COMPRESSION_POLICY=none`); the bytes of a compressed chunk stay unknown here.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.loopback_hub.files import File

_HEAD, _END = 48, b"\xff" * 32
_VERIFIED, _WITH_SHA256 = 0x80000000, 0x40000000


@dataclass(frozen=True)
class _Piece:
    xorb: str
    size: int
    first: int
    last: int


class XetStore:
    """What stands in the local store.

    Args:
        folder: of hf_xet, which need not exist.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.url = f"local://{folder.resolve()}"
        self._root = folder.resolve() / "xet" / "xorbs"
        self._files: dict[str, tuple[str, list[_Piece]]] = {}
        self._read: set[Path] = set()

    def count_bytes(self) -> int:
        """Bytes of all contents that were ever stored; a repeated upload adds nothing only if it was recognised."""
        return sum(path.stat().st_size for path in self._root.glob("xorbs/default.*") if path.suffix != ".tagset")

    def find(self, sha256: str) -> File | None:
        """A file by the sha256 of its contents, with its bytes where they can be read."""
        for shard in {*self._root.glob("shards/*.mdb")} - self._read:
            for xet_hash, found, pieces in _read_shard(shard.read_bytes()):
                if found:
                    self._files[found] = (xet_hash, pieces)
            self._read.add(shard)
        if sha256 not in self._files:
            return None
        xet_hash, pieces = self._files[sha256]
        data = self._join(pieces)
        assert data is None or hashlib.sha256(data).hexdigest() == sha256, f"the shard with {sha256} is misread"
        return File(sum(piece.size for piece in pieces), sha256, True, data, xet_hash)

    def _join(self, pieces: list[_Piece]) -> bytes | None:
        joined = []
        for piece in pieces:
            chunks = _read_chunks((self._root / "xorbs" / f"default.{piece.xorb}").read_bytes(), piece.last)
            if chunks is None:
                return None
            joined += chunks[piece.first :]
        return b"".join(joined)


def _write_hash(raw: bytes) -> str:
    """Xet's spelling: four little-endian numbers of 64 bits."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", raw))


def _read_shard(shard: bytes) -> Iterator[tuple[str, str | None, list[_Piece]]]:
    """(hash, sha256, pieces) of every file."""
    at = _HEAD
    while (head := shard[at : at + _HEAD])[:32] != _END:
        raw, flags, count, _ = struct.unpack("<32sIIQ", head)
        at += _HEAD
        pieces = []
        for _ in range(count):
            xorb, _, size, first, last = struct.unpack_from("<32sIIII", shard, at)
            pieces.append(_Piece(_write_hash(xorb), size, first, last))
            at += _HEAD
        if flags & _VERIFIED:
            at += _HEAD * count
        sha256 = None
        if flags & _WITH_SHA256:
            sha256 = _write_hash(shard[at : at + 32])
            at += _HEAD
        yield _write_hash(raw), sha256, pieces


def _read_chunks(xorb: bytes, last: int) -> list[bytes] | None:
    """The first chunks of a xorb; None where one is compressed."""
    chunks, at = [], 0
    for _ in range(last):
        size, scheme = int.from_bytes(xorb[at + 1 : at + 4], "little"), xorb[at + 4]
        if scheme:
            return None
        chunks.append(xorb[at + 8 : at + 8 + size])
        at += 8 + size
    return chunks
