"""3 × 3 Gaussian filter (paper Appendix D) of a standard deviation in pixels."""

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from rem_release.threats.base import Stage, ThreatPart, Where, strict, where


@dataclass(frozen=True, config=strict)
class Gaussian(ThreatPart):
    """3 × 3 Gaussian filter (paper Appendix D) of a standard deviation in pixels."""

    stage: ClassVar[Stage] = Stage.FILTER
    sigma: Annotated[float, Field(ge=0.3, le=10)] = 1.0
    """at 0.1, which is in use elsewhere, nothing changes: it takes about 0.26 before neighbours weigh enough"""
    on: Where = "train"

    def words(self) -> str:
        """See `ThreatPart`."""
        return f"Gaussian filter (σ {self.sigma:g}){where(self.on)}"

    def filter_image(self, image: np.ndarray) -> np.ndarray:
        """See `ThreatPart`. A Gaussian cut to the window, whose weights sum to one; beyond the border is its mirror."""
        from scipy import ndimage

        values = image.astype(np.float64)
        blurred = ndimage.gaussian_filter(values, self.sigma, axes=(0, 1), radius=1, mode="reflect")
        return np.rint(blurred).astype(np.uint8)
