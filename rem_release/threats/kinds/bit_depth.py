"""Only the highest bits of each channel are kept; the others become 0."""

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from rem_release.threats.base import Stage, ThreatPart, Where, strict, where


@dataclass(frozen=True, config=strict)
class BitDepth(ThreatPart):
    """Only the highest bits of each channel are kept; the others become 0."""

    stage: ClassVar[Stage] = Stage.FILTER
    bits: Annotated[int, Field(ge=1, le=7)] = 2
    on: Where = "train"

    def words(self) -> str:
        """See `ThreatPart`."""
        return f"bit depth {self.bits}{where(self.on)}"

    def filter_image(self, image: np.ndarray) -> np.ndarray:
        """See `ThreatPart`."""
        return image & np.uint8(0xFF << (8 - self.bits) & 0xFF)
