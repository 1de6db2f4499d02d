"""A network of two layers on the pixels, instead of the network."""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from rem_release.threats.base import Stage, ThreatPart, strict


@dataclass(frozen=True, config=strict)
class TwoLayerProbe(ThreatPart):
    """A network of two layers on the pixels, instead of the network."""

    stage: ClassVar[Stage] = Stage.NETWORK
    network: ClassVar[str | None] = "two_layer_probe"

    def words(self) -> str:
        """See `ThreatPart`."""
        return "two-layer probe on the pixels"
