"""Partial protection (paper Tables 2 and 8): the attacker has clean originals of the other rows."""

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from rem_release.threats.base import Stage, ThreatPart, strict


@dataclass(frozen=True, config=strict)
class Mixed(ThreatPart):
    """Partial protection (paper Tables 2 and 8): the attacker has clean originals of the other rows."""

    stage: ClassVar[Stage] = Stage.ROWS
    needs_originals: ClassVar[bool] = True
    mixes_originals: ClassVar[bool] = True
    protected: Annotated[float, Field(gt=0, lt=1)] = 0.8

    def words(self) -> str:
        """See `ThreatPart`."""
        return f"{self.protected:.0%} protected images mixed with clean ones"

    def own_originals(self, labels: np.ndarray) -> np.ndarray:
        """See `ThreatPart`."""
        return ~split_protected(len(labels), labels, self.protected, seed=0)


def split_protected(count: int, labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Choose which rows stay protected when only a part is: the same share of every class.

    A class of two rows or more keeps at least one on either side. Pixel-identical rows may come to both sides.

    Args:
        count: N.
        labels: int64 [N].
        share: part of each class that stays protected, 0 to 1; rounded to the nearest row.
        seed: of the draw.

    Returns:
        bool [N], True for protected rows.

    Raises:
        ValueError: there are not N labels, or the share is out of range.
    """
    from rem_release.data.ranking import rank

    if len(labels) != count or not 0 <= share <= 1:
        raise ValueError(f"{len(labels)} labels for {count} rows, share {share}")
    mask = np.zeros(count, bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen = round(share * len(members))
        if 0 < share < 1 and len(members) > 1:
            chosen = min(max(chosen, 1), len(members) - 1)
        ranked = rank([str(row) for row in members], f"partial protection {seed}")
        mask[members[ranked[:chosen]]] = True
    return mask
