"""The clean originals of a release, opened again."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rem_release.data.images.decoding import BadImage
from rem_release.data.shards import released_columns
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.source import Source, SourceOptions
from rem_release.data.working_set import read_image
from rem_release.errors import InputError
from rem_release.release.facts import DataFacts
from rem_release.release.private_record import RowRecord, read_row_map
from rem_release.release.remembered import read_album_names, read_source_options
from rem_release.release.run_folder import RunFolder
from rem_release.verification.pairing import RecordedRow


class SourceMovedError(InputError):
    """The source that a run remembers can no longer be opened."""


class Originals:
    """Rows of a source as they would be released, see `pairing.CleanRows`.

    Args:
        source: the images.
        max_side: longer side that the release shrank images to.
        skip_bad: leave out rows that cannot be read, as the release did.
        album_names: published name -> folder, as the run numbered its albums; a new album may number them anew.
    """

    def __init__(
        self,
        source: Source,
        max_side: int | None,
        skip_bad: bool = False,
        album_names: Mapping[str, str] | None = None,
    ) -> None:
        self.source = source
        self._max_side = max_side
        self._published = {folder: name for name, folder in (album_names or {}).items()}
        self._rows = range(len(source)) if not skip_bad else [row for row in range(len(source)) if self._reads(row)]

    def _reads(self, row: int) -> bool:
        try:
            read_image(self.source, row, self._max_side)
        except BadImage:
            return False
        return True

    def __len__(self) -> int:
        return len(self._rows)

    def pixels(self, index: int) -> np.ndarray:
        """The original as it would be released: uint8 (H, W, 3).

        Raises:
            BadImage: it cannot be read.
        """
        return read_image(self.source, self._rows[index], self._max_side)

    def origin(self, index: int) -> str:
        """Where the original comes from, see `Source.origin`."""
        return self.source.origin(int(self._rows[index]))

    def label(self, index: int) -> str | None:
        """Name of its class; None where the originals carry no labels."""
        class_id = int(self.source.class_ids[self._rows[index]])
        if class_id < 0:
            return None
        name = self.source.classes[class_id]
        return self._published.get(self.source.album_names.get(name, ""), name)

    def split(self, index: int) -> str:
        """Name of its split."""
        return self.source.split_of(int(self._rows[index]))

    def locate(self, records: Sequence[RowRecord]) -> list[RecordedRow]:
        """Find the originals of recorded rows again: by their files, or by number in a source whose rows have none."""
        origins = self.source.origins
        places: dict[str, list[int]] = defaultdict(list)
        for index, row in enumerate(self._rows):
            places[self.source.origin(row)].append(index)

        def find(record: RowRecord) -> int | None:
            found = places.get(record.origin, [])
            if record.repeat < len(found):
                return found[record.repeat]
            has_no_file = origins is None or record.origin == f"row {record.source_row}"
            return record.source_row if has_no_file else None

        return [RecordedRow(find(row), row.protected, row.origin, row.clean_sha256) for row in records]

    def others(self, index: int) -> dict[str, Any]:
        """The columns beside image and label, as plain values."""
        names = self.source.other_columns()
        if not names:
            return {}
        return released_columns(self.source, np.array([self._rows[index]])).select(names).to_pylist()[0]


def open_originals(location: str, data: DataFacts) -> Source:
    """Open a folder, file or Hub dataset as the originals of a release whose run is not at hand.

    Raises:
        InputError: it cannot be opened that way.
    """
    label_from = data.labels_from if data.labels_from in ("albums", "clusters") else None
    options = SourceOptions(
        source=location,
        split=data.split,
        image_column=data.image_column,
        label_column=data.label_column,
        label_from=label_from,
        keep_columns=tuple(data.columns),
    )
    return open_source(options)


def find_originals(
    run: RunFolder, data: DataFacts, clean: str | None
) -> tuple[Originals | None, list[RecordedRow] | None]:
    """The originals of a release, as `clean` names them or as the run remembers them, and the run's record of rows.

    Args:
        run: the run folder; where it keeps no record, only `clean` can help.
        data: what the facts say about the release.
        clean: a source that takes the place of the one that the run remembers.

    Returns:
        The originals, None where nobody says where they are; and the record, None without a run.

    Raises:
        SourceMovedError: `clean` is not given, and the source that the run remembers cannot be opened.
        InputError: `clean` cannot be opened, or the run's record is damaged.
    """
    if not run.rows.is_file() or not run.options.is_file():
        if clean is None:
            return None, None
        return Originals(open_originals(clean, data), data.max_side, skip_bad=data.skipped > 0), None
    records = read_row_map(run.rows)
    options = read_source_options(run)
    if clean is not None:
        options = replace(options, source=clean)
    try:
        source = open_source(options)
    except InputError as error:
        if clean is not None:
            raise
        raise SourceMovedError(f"the originals are not where they were ({error}); give them with --clean") from None
    originals = Originals(source, data.max_side, album_names=read_album_names(run))
    return originals, originals.locate(records)
