"""Where the parts of a Parquet file lie, read strictly and before a library opens it.

A reader believes the sizes that a file states, and takes memory for them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from rem_release.verification import parquet_headers as parquet
from rem_release.verification.compact_protocol import CompactReader

MAGIC = b"PAR1"
_MAX_FOOTER = 1 << 24
_FREE_FOOTER, _FILE_A_FOOTER = 1 << 20, 8
"""bytes that any footer may have, and how many times as long the file is of which a longer one speaks"""
_MAX_CHUNKS = 1 << 17
"""columns of all row groups together"""
_MAX_HEADER = 1 << 16


def read_footer(file: IO[bytes]) -> tuple[dict[int, Any], int]:
    """The file's metadata, and where they begin.

    Raises:
        ValueError: it has none, or they hold what has no place there.
    """
    size = file.seek(0, 2)
    if size < 12:
        raise ValueError("too few bytes")
    file.seek(size - 8)
    tail = file.read(8)
    length, most = int.from_bytes(tail[:4], "little"), _FREE_FOOTER + size // _FILE_A_FOOTER
    start = size - 8 - length
    file.seek(0)
    if file.read(4) != MAGIC or tail[4:] != MAGIC or start < 4 or length > min(_MAX_FOOTER, most):
        raise ValueError("no footer where one belongs")
    file.seek(start)
    reader = CompactReader(file.read(length))
    metadata = reader.read_struct(parquet.FILE_METADATA)
    if reader.position != length:
        raise ValueError(f"{length - reader.position:,} bytes behind its metadata")
    if not {2, 4} <= metadata.keys():
        raise ValueError("metadata without columns or row groups")
    chunks = [len(group.get(1, [])) for group in metadata[4]]
    if any(count >= len(metadata[2]) for count in chunks) or sum(chunks) > _MAX_CHUNKS:
        raise ValueError(f"{sum(chunks):,} parts of columns in {len(chunks):,} row groups, which is too much")
    return metadata, start


def iterate_pages(data: bytes) -> Iterator[tuple[int, dict[int, Any], int, bytes]]:
    """The pages of one column of one row group, which fill its bytes.

    Yields:
        Where the page begins, its header, the bytes of the header, and its body as it is stored.

    Raises:
        ValueError: a header is none, or a page is cut off.
    """
    position = 0
    while position < len(data):
        reader = CompactReader(data[position : position + _MAX_HEADER])
        header = reader.read_struct(parquet.PAGE_HEADER)
        body, end = position + reader.position, position + reader.position + header[3]
        if header[3] < 0 or end > len(data):
            raise ValueError("a page that is cut off")
        yield position, header, reader.position, data[body:end]
        position = end


def require_stated_sizes(path: Path) -> None:
    """Make sure that a file's pages lie one behind the other, and hold as many values and bytes as its footer states.

    Raises:
        ValueError: they do not.
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            metadata, end = read_footer(file)
            position = len(MAGIC)
            for chunk in (outer[3] for group in metadata[4] for outer in group[1]):
                if not 0 < chunk[7] <= end - position or position != (chunk.get(11) or chunk[9]):
                    raise ValueError("pages that lie elsewhere than it says")
                file.seek(position)
                values = size = 0
                for _, header, head, _ in iterate_pages(file.read(chunk[7])):
                    values, size = values + header.get(5, {1: 0})[1], size + head + header[2]
                    if min(header[2], values) < 0:
                        raise ValueError("a page of less than nothing")
                if (values, size) != (chunk[5], chunk[6]):
                    raise ValueError(f"{values:,} values and {size:,} bytes in a column, which is not what it says")
                position += chunk[7]
    except KeyError as error:
        raise ValueError(f"a header without its field {error}") from None
