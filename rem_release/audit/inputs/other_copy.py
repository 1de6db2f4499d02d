"""A protected copy that is not ours beside its clean partner: two sources of equal rows, paired by position."""

import hashlib
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from rem_release.audit.inputs.pairs import Pairs, Progress, Read, largest_change
from rem_release.data.images.decoding import BadImage, decode
from rem_release.data.images.pixels import fit_working_grid, pixel_hash
from rem_release.data.in_order import map_in_order
from rem_release.data.sources.opening import open_source
from rem_release.data.sources.source import Source, SourceOptions
from rem_release.errors import InputError

_SMALL = 64
_LARGE = 224
_BLOCKS = 8
_MAX_LOST = 0.25
_ORDER = "rows are paired by position (class folders: by sorted file names)"


@dataclass(frozen=True)
class OtherCopy:
    """What was found out about a copy of another method."""

    pairs: Pairs
    classes: list[str]
    digest: str
    resolution: int
    largest: int
    """largest change in levels: at own size where sizes agree, else on the working grid"""
    sources: tuple[Source, Source]
    """the copy and its clean partner"""

    @property
    def rho_u(self) -> Fraction:
        """The budget as measured."""
        return Fraction(self.largest, 255)


@dataclass(frozen=True)
class _Seen:
    hash: str
    size: tuple[int, int]
    means: bytes
    """uint8 [3 · blocks²]: means of a coarse grid, rounded"""


def pair_copy(
    protected: SourceOptions, clean: SourceOptions, resolution: int | None, progress: Progress | None = None
) -> OtherCopy:
    """Open a protected source and its clean partner, and read every row of both.

    Args:
        protected: the copy.
        clean: the same rows without noise, in the same order, with the same labels.
        resolution: side of the working grid; None takes the common side of the copy's images if all are square, of
            one size and of at most 64 pixels, else 224.
        progress: told (done, total) rows.

    Raises:
        InputError: a source cannot be opened, an image cannot be read, the rows are not as many, a label differs, or
            the images are not those of the same rows.
    """
    copy, partner = open_source(protected), open_source(clean)
    _compare_labels(copy, partner)
    count = len(copy)
    seen: list[tuple[_Seen, _Seen, int | None]] = []
    for found in map_in_order(lambda row: _compare(_read(copy, row), _read(partner, row)), range(count)):
        seen.append(found)
        if progress:
            progress(len(seen), count)
    ours, own = [found[0] for found in seen], [found[1] for found in seen]
    _refuse_strangers(copy, partner, ours, own)
    side = resolution or _choose_resolution({entry.size for entry in ours})
    resized = [row for row, found in enumerate(seen) if found[2] is None]
    changes = [found[2] for found in seen if found[2] is not None]
    changes += map_in_order(lambda row: _measure_on_grid(_read(copy, row), _read(partner, row), side), resized)
    pairs = Pairs(
        names=[copy.classes[class_id] for class_id in copy.class_ids],
        origins=[partner.origin(row) for row in range(count)],
        protected_hashes=[entry.hash for entry in ours],
        clean_hashes=[entry.hash for entry in own],
        read_protected=_reader(copy),
        read_clean=_reader(partner),
    )
    return OtherCopy(pairs, copy.classes, _digest(pairs), side, max(changes), (copy, partner))


def _compare_labels(copy: Source, clean: Source) -> None:
    protected_at, clean_at = copy.options.source, clean.options.source
    if len(copy) != len(clean):
        raise InputError(
            f"{protected_at} has {len(copy)} rows and --clean {clean_at} has {len(clean)}: {_ORDER}; "
            "give the clean images of exactly these rows"
        )
    for row in range(len(copy)):
        names = [_name_class(source, row) for source in (copy, clean)]
        if names[0] != names[1]:
            raise InputError(
                f"row {row} is labelled {names[0]} in {protected_at} ({copy.origin(row)}) and {names[1]} in --clean "
                f"{clean_at} ({clean.origin(row)}): {_ORDER}; give the clean images in the same order with the same "
                "class names"
            )


def _name_class(source: Source, row: int) -> str:
    if source.class_ids[row] < 0:
        where = f"{source.origin(row)} of {source.options.source}"
        raise InputError(f"{where} has no class; move it into a class folder, or out of the way")
    return source.classes[source.class_ids[row]]


def _read(source: Source, row: int) -> np.ndarray:
    try:
        return decode(source.image_bytes(row))
    except BadImage as error:
        where = f"{source.origin(row)} of {source.options.source}"
        raise InputError(f"{where} cannot be read ({error}); mend it, or take the row out of both copies") from None


def _reader(source: Source) -> Read:
    return lambda row: decode(source.image_bytes(row))


def _look(pixels: np.ndarray) -> _Seen:
    tensor = torch.from_numpy(pixels).permute(2, 0, 1).float()
    means = adaptive_avg_pool2d(tensor, _BLOCKS).round().byte().numpy().tobytes()
    return _Seen(pixel_hash(pixels), (pixels.shape[0], pixels.shape[1]), means)


def _compare(protected: np.ndarray, clean: np.ndarray) -> tuple[_Seen, _Seen, int | None]:
    """Both images of a row, and the largest change; None where their sizes differ."""
    change = largest_change(protected, clean) if protected.shape == clean.shape else None
    return _look(protected), _look(clean), change


def _choose_resolution(sizes: set[tuple[int, int]]) -> int:
    height, width = next(iter(sizes))
    return height if len(sizes) == 1 and height == width <= _SMALL else _LARGE


def _measure_on_grid(protected: np.ndarray, clean: np.ndarray, resolution: int) -> int:
    grids = (fit_working_grid(protected, resolution).numpy(), fit_working_grid(clean, resolution).numpy())
    return largest_change(*grids)


def _refuse_strangers(copy: Source, clean: Source, seen: list[_Seen], clean_seen: list[_Seen]) -> None:
    """Refuse two copies that hold their rows in different orders, which labels do not show inside a class.

    Noise may be of any kind and size here; but if many images look more like the original of the next row than like
    their own, the rows are not in the same order.
    """
    ours, own = (_stack_means(entries) for entries in (seen, clean_seen))
    to_own = np.abs(ours - own).sum(axis=1)
    to_next = np.abs(ours - np.roll(own, -1, axis=0)).sum(axis=1)
    lost = np.flatnonzero(to_own > to_next)
    if len(lost) > _MAX_LOST * len(seen):
        row = int(lost[0])
        raise InputError(
            f"row {row} of {copy.options.source} ({copy.origin(row)}) does not show its original "
            f"{clean.origin(row)}, nor do {len(lost) - 1} more of {len(seen)} rows: {_ORDER}; "
            f"bring --clean {clean.options.source} into the same order"
        )


def _stack_means(entries: list[_Seen]) -> np.ndarray:
    """int16 [rows, 3 · blocks²]."""
    means = np.frombuffer(b"".join(entry.means for entry in entries), np.uint8)
    return means.reshape(len(entries), -1).astype(np.int16)


def _digest(pairs: Pairs) -> str:
    lines = (f"{pixels} {name}\n" for pixels, name in zip(pairs.protected_hashes, pairs.names, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
