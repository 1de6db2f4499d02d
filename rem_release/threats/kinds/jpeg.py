"""Saved as baseline JPEG and read again: chroma halved in both directions (4:2:0, Pillow's default)."""

from io import BytesIO
from typing import Annotated, ClassVar

import numpy as np
from PIL import Image
from pydantic import Field
from pydantic.dataclasses import dataclass

from rem_release.threats.base import Stage, ThreatPart, Where, strict, where


@dataclass(frozen=True, config=strict)
class Jpeg(ThreatPart):
    """Saved as baseline JPEG and read again: chroma halved in both directions (4:2:0, Pillow's default)."""

    stage: ClassVar[Stage] = Stage.FILTER
    quality: Annotated[int, Field(ge=1, le=100)]
    on: Where = "train"

    def words(self) -> str:
        """See `ThreatPart`."""
        return f"JPEG at quality {self.quality}{where(self.on)}"

    def filter_image(self, image: np.ndarray) -> np.ndarray:
        """See `ThreatPart`."""
        file = BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=self.quality, subsampling="4:2:0")
        with Image.open(file) as saved:
            return np.array(saved)
