"""3 × 3 median filter (paper Appendix D), each channel by itself."""

from typing import ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from rem_release.threats.base import Stage, ThreatPart, Where, strict, where


@dataclass(frozen=True, config=strict)
class Median(ThreatPart):
    """3 × 3 median filter (paper Appendix D), each channel by itself."""

    stage: ClassVar[Stage] = Stage.FILTER
    on: Where = "train"

    def words(self) -> str:
        """See `ThreatPart`."""
        return f"median filter{where(self.on)}"

    def filter_image(self, image: np.ndarray) -> np.ndarray:
        """See `ThreatPart`. Beyond the border stands the image's reflection."""
        from scipy import ndimage

        return np.asarray(ndimage.median_filter(image, (3, 3, 1), mode="reflect"), dtype=np.uint8)
