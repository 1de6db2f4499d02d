"""3 × 3 mean filter (paper Appendix D)."""

from typing import ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from rem_release.threats.base import Stage, ThreatPart, Where, strict, where


@dataclass(frozen=True, config=strict)
class Mean(ThreatPart):
    """3 × 3 mean filter (paper Appendix D)."""

    stage: ClassVar[Stage] = Stage.FILTER
    on: Where = "train"

    def words(self) -> str:
        """See `ThreatPart`."""
        return f"mean filter{where(self.on)}"

    def filter_image(self, image: np.ndarray) -> np.ndarray:
        """See `ThreatPart`. Beyond the border stands the image's reflection; a tie is rounded to the even level."""
        from scipy import ndimage

        means = ndimage.uniform_filter(image.astype(np.float64), (3, 3, 1), mode="reflect")
        return np.rint(means).astype(np.uint8)
