"""A victim that knows the method: its loss is the mean over several draws of the transformation."""

from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from rem_release.threats.base import Stage, ThreatPart, strict


@dataclass(frozen=True, config=strict)
class Eot(ThreatPart):
    """A victim that knows the method: its loss is the mean over several draws of the transformation."""

    stage: ClassVar[Stage] = Stage.BATCH
    needs_augmentation: ClassVar[bool] = True
    samples: Annotated[int, Field(ge=2, le=64)] = 4

    def words(self) -> str:
        """See `ThreatPart`."""
        return f"mean over {self.samples} own EOT draws"

    @property
    def draws(self) -> int:
        """See `ThreatPart`."""
        return self.samples
