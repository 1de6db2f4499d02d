"""The ordinary pipeline of photographs: random resized crops to train on, resize and centre crop to test on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from rem_release.threats.base import Stage, ThreatPart, strict

if TYPE_CHECKING:
    from rem_release.threats.images import Pipeline

_MIN_SIDE = 8
"""pixels, below which no network is asked to learn"""


@dataclass(frozen=True, config=strict)
class ResizedCrop(ThreatPart):
    """The pipeline of photographs: random resized crops of each image at its own size, flipped or not, to train on;
    resize and centre crop to test on. In place of the recipe's augmentation."""

    stage: ClassVar[Stage] = Stage.VIEWS
    excludes: ClassVar[frozenset[str]] = frozenset({"eot", "orthogonal"})
    """the one draws the recipe's augmentation, in whose place the crops stand, the other is fitted to whole images"""
    unsaid: ClassVar[frozenset[str]] = frozenset({"size", "interpolation", "antialias", "min_area", "views"})
    size: Annotated[float, Field(ge=0.25, le=4)] = 1.0
    """side that the network sees, as a part of the working resolution"""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    antialias: bool = True
    min_area: Annotated[float, Field(gt=0, le=1)] = 0.08
    """least area of a crop, as a part of the image"""
    views: Annotated[int, Field(ge=1, le=64)] = 8
    """crops that are made of each training image"""

    def side(self, resolution: int) -> int:
        """Side that the network sees, in pixels, at a working resolution."""
        return max(_MIN_SIDE, round(self.size * resolution))

    def words(self) -> str:
        """See `ThreatPart`."""
        how = f"{self.interpolation}{'' if self.antialias else ', not antialiased'}"
        return f"random resized crops at {self.size:g} × the working resolution ({how})"

    def pixels(self) -> float:
        """See `ThreatPart`."""
        return self.size**2

    def pipeline(self, resolution: int) -> Pipeline | None:
        """See `ThreatPart`."""
        from rem_release.threats.kinds.resized_crop.pipeline import CropPipeline

        return CropPipeline(self.side(resolution), self.interpolation, self.antialias, self.min_area, self.views)
