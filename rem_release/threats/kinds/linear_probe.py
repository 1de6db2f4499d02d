"""A linear classifier on the pixels, instead of the network."""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from rem_release.threats.base import Stage, ThreatPart, strict


@dataclass(frozen=True, config=strict)
class LinearProbe(ThreatPart):
    """A linear classifier on the pixels, instead of the network."""

    stage: ClassVar[Stage] = Stage.NETWORK
    network: ClassVar[str | None] = "linear_probe"

    def words(self) -> str:
        """See `ThreatPart`."""
        return "linear probe on the pixels"
