"""Grey images of three equal channels: ITU-R 601 luma, 0.299 R + 0.587 G + 0.114 B, as Pillow rounds it."""

from typing import ClassVar

import numpy as np
from PIL import Image
from pydantic.dataclasses import dataclass

from rem_release.threats.base import Stage, ThreatPart, Where, strict, where


@dataclass(frozen=True, config=strict)
class Greyscale(ThreatPart):
    """Grey images of three equal channels: ITU-R 601 luma, 0.299 R + 0.587 G + 0.114 B, as Pillow rounds it."""

    stage: ClassVar[Stage] = Stage.FILTER
    on: Where = "train"

    def words(self) -> str:
        """See `ThreatPart`."""
        return f"greyscale{where(self.on)}"

    def filter_image(self, image: np.ndarray) -> np.ndarray:
        """See `ThreatPart`."""
        grey = np.asarray(Image.fromarray(image).convert("L"))
        return np.repeat(grey[..., None], 3, axis=2)
