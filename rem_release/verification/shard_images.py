"""The images of Parquet shards by number: shards are read as streams, and victims want rows in any order."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features

from rem_release.data.images.decoding import BadImage
from rem_release.data.images.png_writing import decode_released
from rem_release.data.shards import iterate_rows
from rem_release.data.sources.rows import PrivateCache
from rem_release.errors import VerificationError
from rem_release.verification.row_checks import name_class


class ShardImages:
    """The encoded images of shards, copied once into a private temporary file, which is deleted with this object.

    What happens to the shards afterwards changes nothing. Thread-safe to read.

    Args:
        files: the shards in order, at least one row in all.
        image_column: the column of images.
        label_column: the column of labels.

    Raises:
        VerificationError: a shard is damaged, or a row lacks its image or its label; names it.
    """

    def __init__(self, files: Sequence[Path], image_column: str, label_column: str) -> None:
        self.names: list[str] = []
        """class name of each row"""
        self._cache = PrivateCache()
        self._ends = [0]
        label = _read_features(files[0]).get(label_column)
        path = Path(self._cache.name) / "images"
        with path.open("wb") as copy:
            for row in iterate_rows(files, [label_column], image_column):
                name = name_class(row.columns[label_column], label)
                if name is None or not row.png:
                    lack = "label" if name is None else "image"
                    raise VerificationError(f"{row.file.name} is damaged: row {row.number} has no {lack}")
                self.names.append(name)
                copy.write(row.png)
                self._ends.append(self._ends[-1] + len(row.png))
        if not self.names:
            raise VerificationError(f"{files[0].name} has no rows")
        self._bytes = np.memmap(path, np.uint8, mode="r")

    def __len__(self) -> int:
        return len(self.names)

    def pixels(self, row: int) -> np.ndarray:
        """Decode one image: uint8 (H, W, 3).

        Raises:
            VerificationError: its bytes are no image.
        """
        try:
            return decode_released(self._bytes[self._ends[row] : self._ends[row + 1]].tobytes())
        except BadImage as error:
            raise VerificationError(f"row {row} cannot be read as an image: {error}") from None


def _read_features(file: Path) -> Features:
    try:
        return Features.from_arrow_schema(pq.read_schema(file))
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise VerificationError(f"{file.name} is damaged: {str(error).splitlines()[0]}") from None
