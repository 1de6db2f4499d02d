"""Structural similarity of 8-bit images, from sums that are whole numbers.

SSIM by Wang et al., Image quality assessment: from error visibility to structural similarity, 2004, equation 13, with
K1 = 0.01 and K2 = 0.03, in a uniform window and with sample covariances, as scikit-image defines it. For x and y in a
window of N pixels, let s = x + y and d = y - x, and for either P = (Σs)² and U = N·Σs² - P, and so Q and V of d. Then

    SSIM = (P - Q + 2·N²·C1) · (U - V + 2·N·(N - 1)·C2) / ((P + Q + 2·N²·C1) · (U + V + 2·N·(N - 1)·C2)).

All four stay below 2³¹ in windows of up to 7 × 7, so that only the last three operations round.
"""

import numpy as np

_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def choose_window(height: int, width: int) -> int | None:
    """Side of the window for images of that size: 7 pixels, 5 or 3 in smaller images, None below 3 pixels a side."""
    window = min(7, height - 1 + height % 2, width - 1 + width % 2)
    return window if window >= 3 else None


def sum_similarity(clean: np.ndarray, change: np.ndarray, window: int) -> float:
    """Sum of the structural similarity over all windows that lie within a strip of an image, and over its channels.

    Args:
        clean: uint8 [h, W, C], h and W at least `window`.
        change: int16 [h, W, C], the other image less the clean one.
        window: side of the window, 3, 5 or 7.
    """
    pixels, channels = window**2, clean.shape[2]
    one = pixels**2 * _C1 * 2
    two = pixels * (pixels - 1) * _C2 * 2
    both = np.add(clean, clean, dtype=np.int16)
    both += change
    means, spread = _sum_windows(both, window, channels)
    other_means, other_spread = _sum_windows(change, window, channels)
    similarity = (means - other_means) + one
    similarity *= (spread - other_spread) + two
    means += other_means
    spread += other_spread
    similarity /= (means + one) * (spread + two)
    return float(similarity.sum())


def _sum_windows(values: np.ndarray, window: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """(Σv)² and N·Σv² - (Σv)² of every window, int32, for int16 [h, W, C] of at most 510 in size."""
    values = values.reshape(len(values), -1)
    means = _slide(_slide(values, window, 1).T, window, channels).T.astype(np.int32)
    squares = _slide(_slide(np.square(values, dtype=np.int32), window, 1).T, window, channels).T
    means *= means
    squares *= window**2
    squares -= means
    return means, squares


def _slide(values: np.ndarray, window: int, step: int) -> np.ndarray:
    """Sums along the first axis of so many values, an odd number, each `step` after the one before."""
    count = len(values) - (window - 1) * step
    pairs = values[: len(values) - step] + values[step:]
    total = pairs[:count] + values[(window - 1) * step :]
    for first in range(2, window - 1, 2):
        total += pairs[first * step :][:count]
    return total
