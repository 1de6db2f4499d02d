"""Orthogonal projection of the linear shortcut (Sandoval-Segura et al., 2023)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass

from rem_release.threats.base import Stage, ThreatPart, Where, strict, where

if TYPE_CHECKING:
    from rem_release.threats.images import TrainingImages, Transform

_SEED = 0
"""of the order in which the classifier sees the images"""


@dataclass(frozen=True, config=strict)
class Orthogonal(ThreatPart):
    """Orthogonal projection of the linear shortcut (Sandoval-Segura et al., 2023)."""

    stage: ClassVar[Stage] = Stage.TRAINING_SET
    on: Where = "train"

    def words(self) -> str:
        """See `ThreatPart`."""
        return f"orthogonal projection{where(self.on)}"

    def fit(self, images: TrainingImages, originals: TrainingImages | None) -> Transform | None:
        """See `ThreatPart`."""
        from rem_release.threats.kinds.orthogonal.projection import fit_projection, project_out

        return partial(project_out, Q=fit_projection(images.images, images.labels, images.classes, _SEED))
