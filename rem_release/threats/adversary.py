"""How hard the adversary of a recipe tries."""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", validate_default=True))
class Adversary:
    """PGD of adversarial training (paper Appendix A.4: 10 steps of a fifth of the radius)."""

    steps: Annotated[int, Field(ge=1, le=10_000)] = 10
    relative_step_size: Annotated[float, Field(gt=0, le=2)] = 0.2
    """Step size as a part of the radius."""
