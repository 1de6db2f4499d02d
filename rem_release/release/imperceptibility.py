"""How far a protected image is from its original: largest and mean change, PSNR and SSIM, on 8-bit pixels.

Everything but SSIM comes from exact integer sums, and SSIM from some too (`similarity`). All of it is computed in bands
of rows that stay in the processor's cache, and so without a dozen copies of a 12-megapixel photograph.
"""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rem_release.release.facts import ImperceptibilityFacts
from rem_release.release.similarity import choose_window, sum_similarity

_BAND_PIXELS, _BAND_ROWS = 1 << 15, 32
"""of a band, the larger of both: neighbours share the rows of a window"""
_DECIMALS = {"mean_change": 4, "psnr_mean": 4, "psnr_min": 4, "ssim_mean": 6, "ssim_min": 6}


@dataclass(frozen=True)
class Change:
    """One protected image against its original."""

    largest: int
    """x′ − x at the pixel that changed most, in levels of 255; negative where it became darker."""
    where: tuple[int, int, int]
    """(y, x, channel) of that pixel, the first of them in reading order."""
    mean: float
    """Mean |x′ − x| in levels."""
    psnr: float
    """In dB; infinite where nothing changed."""
    ssim: float | None
    """None below 3 pixels a side."""


@dataclass(frozen=True)
class WorstPixel:
    """The largest change of a release. A negative `change` made the pixel darker."""

    row: int
    y: int
    x: int
    channel: int
    change: int


def psnr(clean: np.ndarray, protected: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, for a data range of 255; infinite for equal images.

    Args:
        clean: uint8, any shape.
        protected: uint8, the same shape.
    """
    difference = _subtract(clean, protected)
    return _psnr(int(np.square(difference, dtype=np.int32).sum(dtype=np.int64)), difference.size)


def ssim(clean: np.ndarray, protected: np.ndarray) -> float | None:
    """Mean structural similarity over the three channels, in windows of 7 × 7 pixels (5 or 3 in smaller images).

    Args:
        clean: uint8 (H, W, 3).
        protected: uint8, the same shape.

    Returns:
        A number from -1 to 1, or None for an image of less than 3 pixels a side, which has no window.
    """
    return measure_change(clean, protected).ssim


def measure_change(clean: np.ndarray, protected: np.ndarray) -> Change:
    """Measure one pair of images in one pass; safe to call from several threads.

    Args:
        clean: uint8 (H, W, 3).
        protected: uint8, the same shape.

    Raises:
        ValueError: the shapes differ.
    """
    if clean.shape != protected.shape:
        raise ValueError(f"images of different shape: {clean.shape} and {protected.shape}")
    height, width, channels = clean.shape
    window = choose_window(height, width)
    beyond = window - 1 if window else 0
    band = max(_BAND_ROWS, _BAND_PIXELS // width)
    largest, where, total, squares, similarity = 0, (0, 0, 0), 0, 0, 0.0
    for top in range(0, height - beyond, band):
        bottom = min(top + band, height - beyond) + beyond
        change = _subtract(clean[top:bottom], protected[top:bottom])
        if window:
            similarity += sum_similarity(clean[top:bottom], change, window)
        own = change if bottom == height else change[:band]
        absolute = np.abs(own)
        total += int(absolute.sum(0, dtype=np.int32).sum(dtype=np.int64))
        squares += int(np.square(own, dtype=np.int32).sum(0, dtype=np.int32).sum(dtype=np.int64))
        if absolute.max() > abs(largest):
            y, x, channel = (int(index) for index in np.unravel_index(absolute.argmax(), own.shape))
            largest, where = int(own[y, x, channel]), (top + y, x, channel)
    windows = (height - beyond) * (width - beyond) * channels
    mean = similarity / windows if window else None
    return Change(largest, where, total / clean.size, _psnr(squares, clean.size), mean)


class ChangeMeter:
    """Collects the change of every protected row, one after the other, and keeps no image."""

    def __init__(self) -> None:
        self._means = array("d")
        self._ratios = array("d")
        self._similarities = array("d")
        self._worst: WorstPixel | None = None

    def add(self, clean: np.ndarray, protected: np.ndarray, row: int) -> None:
        """Measure released row `row`: both images uint8 (H, W, 3). Rows come in ascending order.

        Raises:
            ValueError: the images differ in size, or are equal, so that the row is not protected.
        """
        self.record(measure_change(clean, protected), row)

    def record(self, change: Change, row: int) -> None:
        """Take a change that was measured already.

        Raises:
            ValueError: nothing changed, so that the row is not protected.
        """
        if change.largest == 0:
            raise ValueError(f"released row {row} counts as protected and equals its original")
        self._means.append(change.mean)
        self._ratios.append(change.psnr)
        if change.ssim is not None:
            self._similarities.append(change.ssim)
        if self._worst is None or abs(change.largest) > abs(self._worst.change):
            self._worst = WorstPixel(row, *change.where, change=change.largest)

    @property
    def worst(self) -> WorstPixel | None:
        """The largest change so far, the first of them; None before the first row."""
        return self._worst

    def facts(self) -> ImperceptibilityFacts | None:
        """The figures over all rows so far, rounded as they are published; None before the first row."""
        if self._worst is None:
            return None
        ratios, similarities = self._ratios, self._similarities
        figures = {
            "mean_change": _average(self._means),
            "psnr_mean": _average(ratios),
            "psnr_min": min(ratios),
            "ssim_mean": _average(similarities) if similarities else None,
            "ssim_min": min(similarities) if similarities else None,
        }
        rounded = {name: None if value is None else round(value, _DECIMALS[name]) for name, value in figures.items()}
        return ImperceptibilityFacts.model_validate({"max_change": abs(self._worst.change), **rounded})


def agree(found: ImperceptibilityFacts | None, stated: ImperceptibilityFacts | None) -> bool:
    """Whether two sets of figures are equal, up to one unit of the last published decimal.

    That unit is for SSIM and logarithms, whose last bits may differ from one processor to another.
    """
    if found is None or stated is None:
        return found is stated
    if found.max_change != stated.max_change:
        return False
    return all(_close(getattr(found, name), getattr(stated, name), digits) for name, digits in _DECIMALS.items())


def _close(one: float | None, other: float | None, digits: int) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) < 1.5 * 10**-digits


def _subtract(clean: np.ndarray, protected: np.ndarray) -> np.ndarray:
    """protected − clean as int16."""
    if clean.shape != protected.shape:
        raise ValueError(f"images of different shape: {clean.shape} and {protected.shape}")
    return protected.astype(np.int16) - clean


def _psnr(squares: int, size: int) -> float:
    return math.inf if squares == 0 else 10 * math.log10(255**2 * size / squares)


def _average(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
