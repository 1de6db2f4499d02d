"""The checks of verify that compare each released row with its original."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rem_release.data.images.decoding import BadImage
from rem_release.data.images.pixels import pixel_hash
from rem_release.data.sources.splits import find_split
from rem_release.release.facts import Facts, ImperceptibilityFacts
from rem_release.release.imperceptibility import Change, ChangeMeter, WorstPixel, agree, measure_change
from rem_release.verification.pairing import CleanRows, OriginalLostError, Pairing, Partner
from rem_release.verification.report import Check, Faults
from rem_release.verification.row_checks import CheckedImage

_SOUND = {
    "originals": "every row has its original, paired {words}",
    "budget": "no pixel differs from its original by more than {levels} levels",
    "noise": "every protected row carries real noise: a mean of at least an eighth of the room it has",
    "unprotected rows": "{equal} rows equal their originals, as the facts say",
    "source labels": "labels are those of the originals",
    "other columns": "values are those of the originals",
    "duplicates": "equal originals carry equal noise; {duplicates} rows repeat an earlier one",
    "imperceptibility": "PSNR, SSIM and change measured again equal the facts",
}


@dataclass
class Comparison:
    """One released row beside its original."""

    row: int
    faults: list[tuple[str, str]] = field(default_factory=list)
    """(name of the check, what is wrong)"""
    change: Change | None = None
    """None where the row equals its original, or has none"""
    is_equal: bool = False
    is_resized: bool = False
    hashes: tuple[bytes, bytes] | None = None
    """of the original and of the released image"""
    has_label: bool = False


class CleanChecks:
    """Compares rows with their originals and adds up what the facts count."""

    def __init__(self, facts: Facts, clean: CleanRows, pairing: Pairing) -> None:
        self._facts = facts
        self._clean = clean
        self._pairing = pairing
        self._levels = facts.protection.rho_u_levels
        self._others = [
            name for name in facts.data.columns if name not in (facts.data.image_column, facts.data.label_column)
        ]
        self._faults = {name: Faults() for name in _SOUND}
        self._meter = ChangeMeter()
        self._released_of: dict[bytes, bytes] = {}
        self._equal = self._resized = self._duplicates = self._labelled = self._compared = 0

    def compare(self, image: CheckedImage, columns: dict[str, Any]) -> Comparison:
        """Compare one row, with all its other columns; safe to call from several threads unless pairing is in order."""
        result = Comparison(image.row)
        if image.pixels is None:
            result.faults.append(("originals", f"row {image.row} cannot be compared: its image does not decode"))
            return result
        try:
            partner = self._pairing.find(image.row, image.pixels)
        except BadImage as error:
            result.faults.append(("originals", f"the original of row {image.row} cannot be read: {error}"))
            return result
        except OriginalLostError as error:
            result.faults.append(("originals", f"row {image.row} is not compared: {error}"))
            return result
        if partner is None:
            result.faults.append(("originals", f"row {image.row} has no original"))
        elif partner.pixels.shape != image.pixels.shape:
            sizes = f"{image.pixels.shape[:2]} instead of {partner.pixels.shape[:2]}"
            result.faults.append(("originals", f"row {image.row} has not the size of its original: {sizes}"))
        else:
            self._compare_split(result, partner.index)
            self._compare_label(result, image, partner.index)
            self._compare_others(result, columns, partner.index)
            self._compare_pixels(result, partner, image.pixels)
        return result

    def _compare_split(self, result: Comparison, index: int) -> None:
        stands, belongs = find_split(self._facts.data.split_images, result.row), self._clean.split(index)
        if stands != belongs:
            fault = f"row {result.row} stands in the split {stands}, and its original in {belongs}"
            result.faults.append(("originals", fault))

    def _compare_label(self, result: Comparison, image: CheckedImage, index: int) -> None:
        label = self._clean.label(index)
        result.has_label = label is not None
        if label is not None and label != image.class_name:
            fault = f"row {image.row} is labelled {image.class_name} and its original {label}"
            result.faults.append(("source labels", fault))

    def _compare_others(self, result: Comparison, columns: dict[str, Any], index: int) -> None:
        originals = self._clean.others(index)
        for name in self._others:
            if repr(columns[name]) != repr(originals.get(name)):  # repr, because nan is not equal to itself
                fault = (
                    f"row {result.row}, column {name} is {columns[name]!r}, and {originals.get(name)!r} in the source"
                )
                result.faults.append(("other columns", fault))

    def _compare_pixels(self, result: Comparison, partner: Partner, pixels: np.ndarray) -> None:
        clean, protected = partner.pixels, partner.protected
        hashes = (partner.sha256 or pixel_hash(clean), pixel_hash(pixels))
        result.hashes = (bytes.fromhex(hashes[0]), bytes.fromhex(hashes[1]))
        result.is_equal = bool(np.array_equal(clean, pixels))
        result.is_resized = pixels.shape[:2] != (self._facts.protection.resolution,) * 2
        if result.is_equal:
            if protected:
                result.faults.append(("noise", f"row {result.row} should be protected and equals its original"))
            return
        if protected is False:
            result.faults.append(("unprotected rows", f"row {result.row} should equal its original and does not"))
        result.change = measure_change(clean, pixels)
        if abs(result.change.largest) > self._levels:
            y, x, channel = result.change.where
            place = f"row {result.row}, y {y}, x {x}, channel {channel}"
            result.faults.append(("budget", f"{place} differs by {result.change.largest} levels of {self._levels}"))
        if result.change.mean >= self._levels / 8:  # more than any image has room for
            return
        least = _room(clean, self._levels) / 8
        if result.change.mean < least:
            fault = f"row {result.row} differs by {result.change.mean:.3f} levels on average, less than {least:.3f}"
            result.faults.append(("noise", fault))

    def take(self, result: Comparison) -> None:
        """Count one row; rows come in order."""
        for name, fault in result.faults:
            self._faults[name].add(fault)
        self._labelled += result.has_label
        if result.hashes is None:
            return
        self._compared += 1
        self._equal += result.is_equal
        self._resized += result.is_resized and not result.is_equal
        if result.change is not None:
            self._meter.record(result.change, result.row)
        clean, released = result.hashes
        if clean not in self._released_of:
            self._released_of[clean] = released
            return
        self._duplicates += 1
        if self._released_of[clean] != released:
            self._faults["duplicates"].add(f"row {result.row} shows the original of an earlier row with other noise")

    def conclude(self) -> list[Check]:
        """The checks of all rows; sums are compared only if every row could be."""
        data = self._facts.data
        if is_complete := self._compared == data.images:
            self._compare_counts()
        words = {
            "words": self._pairing.words,
            "levels": self._levels,
            "equal": self._equal,
            "duplicates": self._duplicates,
        }
        checks = []
        for name, sound in _SOUND.items():
            faults = self._faults[name]
            if not faults.count and not is_complete:
                why = f"{data.images - self._compared} rows could not be compared with an original"
                checks.append(Check(name, None if name != "originals" else False, why))
            elif not faults.count and name == "source labels" and not self._labelled:
                checks.append(Check(name, None, "the originals carry no labels"))
            else:
                checks.append(faults.conclude(name, sound.format(**words)))
        return checks

    def _compare_counts(self) -> None:
        data = self._facts.data
        if self._equal != data.unprotected:
            fault = f"{self._equal} rows equal their originals, and the facts count {data.unprotected} unprotected"
            self._faults["unprotected rows"].add(fault)
        if self._resized != data.resized_noise:
            fault = f"{self._resized} protected rows are not of the working resolution, not {data.resized_noise}"
            self._faults["noise"].add(fault)
        if self._duplicates != data.duplicates:
            fault = f"{self._duplicates} rows repeat an earlier one, and the facts count {data.duplicates}"
            self._faults["duplicates"].add(fault)
        found, stated = self.imperceptibility, self._facts.imperceptibility
        if not agree(found, stated):
            self._faults["imperceptibility"].add(f"measured {_write(found)}, and the facts say {_write(stated)}")

    @property
    def imperceptibility(self) -> ImperceptibilityFacts | None:
        """The figures over the rows so far that differ from their originals."""
        return self._meter.facts()

    @property
    def worst(self) -> WorstPixel | None:
        """The largest change so far."""
        return self._meter.worst


def list_unchecked() -> list[Check]:
    """The checks of this file, for a release whose originals are not at hand."""
    return [Check(name, None, "needs the originals: add --clean SOURCE") for name in _SOUND]


def _room(clean: np.ndarray, levels: int) -> float:
    """Mean over all pixels of half the interval that noise may use: the budget, or half of it at black and white."""
    down = np.minimum(clean, levels).mean(dtype=np.float64)
    up = np.minimum(255 - clean, levels).mean(dtype=np.float64)
    return float(down + up) / 2


def _write(figures: ImperceptibilityFacts | None) -> str:
    return "none" if figures is None else ", ".join(f"{name} {value}" for name, value in figures.model_dump().items())
