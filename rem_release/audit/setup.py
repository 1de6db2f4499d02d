"""What the victims of one audit have in common, and which rows each of them learns from."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from rem_release.audit.inputs.candidates import Holdout
from rem_release.audit.inputs.target import Target
from rem_release.threats.threat import Threat
from rem_release.verdict.plan import Task, yardstick
from rem_release.verdict.recipe import AuditRecipe


@dataclass(frozen=True)
class AuditSetup:
    """All that victims of one audit have in common.

    Attributes:
        target: what is audited.
        holdout: the test images, and the rows that victims learn from.
        recipe: how they learn.
        resolution: R, side of the grid that they see.
        rho_u: radius of the random control.
    """

    target: Target
    holdout: Holdout
    recipe: AuditRecipe
    resolution: int
    rho_u: Fraction

    @property
    def is_partial(self) -> bool:
        """Whether the release holds images without noise beside others with noise."""
        changed = self._changed()
        return bool(changed.any() and not changed.all())

    @property
    def labels(self) -> np.ndarray:
        """Of the training rows, int64 [N]."""
        return self.target.labels[self.holdout.train_rows]

    def _changed(self) -> np.ndarray:
        return self.target.changed[self.holdout.train_rows]

    def protected_rows(self, threat: Threat) -> np.ndarray:
        """Of which training rows the attacker has nothing but the release's own pixels with noise: bool [N]."""
        changed, own = self._changed(), threat.own_originals(self.labels)
        return changed if own is None else ~own & (changed | ~changed.any())

    def recipe_of(self, task: Task) -> AuditRecipe:
        """How a victim is trained."""
        return yardstick(self.recipe) if task.trained_on == "yardstick" else self.recipe

    def count_images(self, task: Task) -> int:
        """How many images a victim learns from."""
        if task.trained_on == "clean part":
            return int((~self.protected_rows(task.threat)).sum())
        return len(self.holdout.train_rows)

    def count_steps(self, task: Task) -> int:
        """Training steps of a victim."""
        return self.recipe_of(task).victim.count_steps(len(self.holdout.train_rows))

    def list_evaluations(self, task: Task) -> list[int]:
        """The steps after which its answers are taken."""
        return self.recipe_of(task).victim.list_evaluations(len(self.holdout.train_rows))
