"""What of a source is not in its release, counted by reason: never by name, for it is published."""

import numpy as np

from rem_release.data.selection import Role
from rem_release.data.sources.recognised import LeftOut
from rem_release.data.sources.source import Source
from rem_release.release.writing import Choice


def count_left_out(source: Source, choice: Choice) -> dict[LeftOut, int]:
    """How much of a source is not released, by why; a reason without anything is not named."""
    roles = np.delete(choice.row_roles(), choice.released())
    counts: dict[LeftOut, int] = {
        **dict[LeftOut, int](choice.working.faults.items()),
        "kept back for audits": int((roles == Role.RESERVED).sum()),
        "not protected": int((roles == Role.UNPROTECTED).sum()),
        "images that no metadata lists and no folder of the split holds": sum(source.unlisted.values()),
        "hidden files, system files, documents, empty folders and files beside the class folders": len(source.ignored),
        "other splits, and tables and folders beside them": len(source.left_out),
    }
    return {reason: count for reason, count in sorted(counts.items()) if count}
