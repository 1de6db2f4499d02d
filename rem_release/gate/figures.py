"""What the card's figures show: protected images that are released, and noise that helps to undo that of none.

Noise of a released image would undo its protection (protected − δ = clean), and noise that is like it undoes a part:
`NoiseGain` measures how much. Not seen: a clean image that was cropped, turned by a quarter, or mixed with others,
within a figure of the right layout.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rem_release.data.images.decoding import BadImage, decode
from rem_release.data.images.png_writing import decode_released
from rem_release.data.in_order import map_in_order
from rem_release.data.shards import ReleasedRow, iterate_rows
from rem_release.errors import VerificationError
from rem_release.gate.noise_tiles import NoiseTiles
from rem_release.release.facts import Facts
from rem_release.release.figures import (
    NOISE_FIGURE,
    PROTECTED_FIGURE,
    amplify_noise,
    cut_tiles,
    fit_tile,
    noise_sides,
    read_noise,
)
from rem_release.release.noise_gain import MAX_GAIN, NoiseGain
from rem_release.verification.pairing import CleanRows, OriginalLostError, Pairing, RecordedRow, choose_pairing
from rem_release.verification.report import Check, Faults

_ORIGINALS = "figures against originals"
_CURE = "protect again with --overwrite"

Progress = Callable[[int, int], None]


def check_figures_show(
    release: Path,
    facts: Facts,
    clean: CleanRows | None,
    row_map: Sequence[RecordedRow] | None = None,
    progress: Progress | None = None,
) -> list[Check]:
    """Prove what `figures/protected.png` and `figures/noise.png` show. Images are streamed.

    Args:
        release: the folder; its files have been verified.
        facts: consistent facts.
        clean: the originals; without them nobody can tell whether a figure shows one, or the noise of one.
        row_map: the run's record of rows, see `choose_pairing`.
        progress: told (done, total) images.
    """
    protected, noise = Faults(), Faults()
    shown = _read_tiles(release, facts, PROTECTED_FIGURE, protected)
    thumbnails = _read_noise(release, facts, noise)
    search = _Search(facts, shown, thumbnails, clean)
    try:
        search.run(release, row_map, progress)
    except VerificationError as error:
        return [
            Check(name, False, f"not compared: {error}") for name in ("protected figure", "noise figure", _ORIGINALS)
        ]
    for number in range(len(shown)):
        if number not in search.rows_of:
            protected.add(f"tile {number} of {PROTECTED_FIGURE} is not an image of the release; {_CURE}")
    tiles = f"each of its {len(shown)} tiles is an image of the release" if shown else "there is none"
    noises = f"{len(thumbnails)} tiles of noise within the budget" if NOISE_FIGURE in facts.files else "there is none"
    checks = [protected.conclude("protected figure", tiles), noise.conclude("noise figure", noises)]
    return [*checks, _conclude(search, clean, facts)]


def _conclude(search: "_Search", clean: CleanRows | None, facts: Facts) -> Check:
    if clean is None:
        return Check(_ORIGINALS, None, "needs the originals: add --clean SOURCE")
    lost = facts.data.images - search.compared
    if lost and not search.faults.count:
        return Check(_ORIGINALS, None, f"{lost} rows could not be compared with an original")
    return search.faults.conclude(
        _ORIGINALS,
        f"no tile shows one of {search.originals} originals; subtracted from one of {search.compared} rows, none gains "
        f"more than {search.gain:.2f} dB (at most {MAX_GAIN})",
    )


def _read_tiles(release: Path, facts: Facts, name: str, faults: Faults, side: int | None = None) -> list[np.ndarray]:
    if name not in facts.files:
        return []
    try:
        grid = decode((release / name).read_bytes())
        return cut_tiles(grid) if side is None else cut_tiles(grid, side)
    except (BadImage, OSError, ValueError) as error:
        faults.add(f"{name} is not as protect makes it: {error}; {_CURE}")
        return []


def _read_noise(release: Path, facts: Facts, faults: Faults) -> list[np.ndarray]:
    """The noise in the tiles, uint8 [R, R, 3], of those that show what noise can look like and nothing else."""
    levels = facts.protection.rho_u_levels
    shown, side = noise_sides(facts.protection.resolution)
    possible = np.zeros(256, bool)
    possible[amplify_noise(np.arange(-levels, levels + 1), levels)] = True
    found = []
    for number, tile in enumerate(_read_tiles(release, facts, NOISE_FIGURE, faults, side)):
        factor = side // shown
        margin = (side - shown * factor) // 2
        inside = slice(margin, margin + shown * factor, factor)
        thumbnail = np.ascontiguousarray(tile[inside, inside])
        if not np.array_equal(fit_tile(thumbnail, side), tile):
            faults.add(f"tile {number} of {NOISE_FIGURE} is no noise of {shown} x {shown} pixels; {_CURE}")
        elif not possible[thumbnail].all():
            faults.add(f"tile {number} of {NOISE_FIGURE} has values that noise of {levels} levels has not; {_CURE}")
        else:
            found.append(thumbnail)
    return found


@dataclass(frozen=True)
class _Look:
    """What was found out about one released row."""

    row: int
    tiles: list[int]
    """of the figure of protected images that show it"""
    index: int | None
    """its original; None where it was not found"""
    is_equal: bool
    alike: str | None
    """what a tile of noise shows, or undoes"""
    gain: float = 0.0
    """dB that subtracting a tile of noise gains"""


class _Search:
    """Holds every row and every original against the tiles."""

    def __init__(
        self, facts: Facts, shown: list[np.ndarray], thumbnails: list[np.ndarray], clean: CleanRows | None
    ) -> None:
        self._facts = facts
        self._tiles: dict[bytes, list[int]] = {}
        for number, tile in enumerate(shown):
            self._tiles.setdefault(tile.tobytes(), []).append(number)
        resolution, levels = facts.protection.resolution, facts.protection.rho_u_levels
        self._images = NoiseTiles(thumbnails, resolution)
        self._noise = NoiseGain(read_noise(np.array(thumbnails), levels), levels, resolution) if thumbnails else None
        self._clean = clean
        self.rows_of: dict[int, int] = {}
        """tile of the figure of protected images -> a row that it shows"""
        self.faults = Faults()
        self.compared = self.originals = 0
        self.gain = 0.0

    def run(self, release: Path, row_map: Sequence[RecordedRow] | None, progress: Progress | None) -> None:
        """Look at all rows, then at the originals that no row shows."""
        data, clean = self._facts.data, self._clean
        levels = self._facts.protection.rho_u_levels
        pairing = choose_pairing(clean, row_map, data.images, levels) if clean else None
        names = sorted(name for name in self._facts.files if name.startswith("data/"))
        rows = iterate_rows([release / name for name in names], [], data.image_column)
        total, done = max(data.images, len(clean or ())), 0
        seen: set[int | None] = set()
        threads = 1 if pairing and pairing.in_order else None
        for look in map_in_order(lambda row: self._look(row, pairing), rows, threads):
            self._take(look)
            seen.add(look.index)
            done += 1
            if progress:
                progress(done, total)
        rest = [index for index in range(len(clean)) if index not in seen] if clean else []
        for alike in map_in_order(self._look_at_original, rest):
            self._note(alike)
            done += 1
            if progress:
                progress(min(done, total), total)
        self.originals = len(seen - {None}) + len(rest)

    def _look(self, row: ReleasedRow, pairing: Pairing | None) -> _Look:
        try:
            pixels = decode_released(row.png or b"")
        except BadImage:
            return _Look(row.number, [], None, False, None)
        tiles = self._tiles.get(fit_tile(pixels).tobytes(), []) if self._tiles else []
        try:
            partner = pairing.find(row.number, pixels) if pairing else None
        except (BadImage, OriginalLostError):
            partner = None
        if partner is None or partner.pixels.shape != pixels.shape:
            return _Look(row.number, tiles, None, False, None)
        is_equal = np.array_equal(partner.pixels, pixels)
        tile, gain = self._noise.find(partner.pixels, pixels) if self._noise and not is_equal else (0, 0.0)
        alike = _say(self._images.find_image(partner.pixels), f"the original of row {row.number}")
        if not alike and gain > MAX_GAIN:
            alike = (
                f"tile {tile} of {NOISE_FIGURE}, subtracted from row {row.number}, brings it {gain:.2f} dB closer to "
                f"its original (at most {MAX_GAIN})"
            )
        return _Look(row.number, tiles, partner.index, is_equal, alike, gain)

    def _look_at_original(self, index: int) -> str | None:
        assert self._clean is not None
        try:
            pixels = self._clean.pixels(index)
        except BadImage:
            return None
        return _say(self._images.find_image(pixels), f"original {index}, which is not released")

    def _take(self, look: _Look) -> None:
        self.compared += look.index is not None
        self.gain = max(self.gain, look.gain)
        for tile in look.tiles:
            self.rows_of[tile] = look.row
            if look.is_equal:
                self._note(f"tile {tile} of {PROTECTED_FIGURE} shows row {look.row}, which carries no noise")
        self._note(look.alike)

    def _note(self, fault: str | None) -> None:
        if fault:
            self.faults.add(f"{fault}; {_CURE}")


def _say(found: tuple[int, float] | None, what: str) -> str | None:
    return f"tile {found[0]} of {NOISE_FIGURE} shows {what} (correlation {found[1]:.2f})" if found else None
