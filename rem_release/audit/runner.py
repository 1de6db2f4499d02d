"""Runs the victims: trains what is not known yet, and keeps what was found."""

import time
from functools import cached_property

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor

from rem_release.audit.learnability import perturbed_accuracies
from rem_release.audit.ledger import Ledger, VictimRecord, WantedVictim, pack
from rem_release.audit.naming import VictimNames
from rem_release.audit.preparation import Preparation
from rem_release.audit.setup import AuditSetup
from rem_release.audit.victim import TrainedVictim, train_victim
from rem_release.threats.images import TestImages
from rem_release.threats.threat import Threat
from rem_release.training.loop import Progress
from rem_release.training.memory import memory_kept
from rem_release.verdict.plan import Seeds, Task


class VictimRunner:
    """Makes the records of victims. No image is read before a victim needs it, see also `test_digest`.

    Args:
        setup: what is audited, and how.
        ledger: what is known already.
        accelerator: decides device and processes.
    """

    def __init__(self, setup: AuditSetup, ledger: Ledger, accelerator: Accelerator) -> None:
        self.setup = setup
        self.ledger = ledger
        self.accelerator = accelerator
        self.images = Preparation(setup, accelerator.device)

    @cached_property
    def test_digest(self) -> str:
        """Of the test images on the working grid; they are read once, where no earlier audit left it."""
        return self.setup.holdout.digest or self.images.test_set(Threat()).digest

    @cached_property
    def names(self) -> VictimNames:
        """What names the victims."""
        return VictimNames(self.setup, self.accelerator, self.test_digest)

    @property
    def seeds(self) -> Seeds:
        """Those of this audit."""
        return self.names.seeds

    def known(self, task: Task) -> VictimRecord | None:
        """The record of a victim that was trained before."""
        return self.ledger.find(self._ask(task))

    def _ask(self, task: Task) -> WantedVictim:
        setup = self.setup
        steps = setup.list_evaluations(task)
        return WantedVictim(self.names.key(task), task, steps, len(setup.holdout), len(setup.target.classes))

    def make(self, task: Task, after_step: Progress | None = None) -> VictimRecord:
        """The record of a victim, trained now if need be. Every process gets that of the first."""
        known = self.known(task)
        if record := self._agree(known):
            if known is None:
                self.ledger.add(record)
            return record
        record = self.train(task, after_step)
        self.ledger.add(record)
        return record

    def read(self, task: Task) -> None:
        """Read what a victim is trained and tested on, for those that are forked to share it."""
        self.images.read(task)

    def train(self, task: Task, after_step: Progress | None = None) -> VictimRecord:
        """Train a victim and describe it; nothing is kept."""
        began = time.monotonic()
        images, test_images, test_labels = self.images.prepare(task)
        in_all, recipe = len(self.setup.holdout.train_rows), self.setup.recipe_of(task)
        with memory_kept(self.accelerator.device):
            trained = train_victim(self.accelerator, task, recipe, images, in_all, test_images, test_labels, after_step)
            learnability = self._measure_learnability(task, trained, test_images, test_labels)
        record = _describe(self._ask(task), trained, learnability, time.monotonic() - began)
        return self._agree(record) or record

    def _agree(self, record: VictimRecord | None) -> VictimRecord | None:
        """What the first process knows: caches of several hosts may differ, and so do losses on parts of a batch."""
        return record if self.accelerator.num_processes == 1 else broadcast_object_list([record])[0]

    def _measure_learnability(
        self, task: Task, trained: TrainedVictim, images: TestImages, labels: Tensor
    ) -> list[float] | None:
        if trained.model is None or not self.names.wants_learnability(task):
            return None
        asked = self.setup.recipe.learnability
        return perturbed_accuracies(trained.model, images, labels, asked.samples, asked.sigma, task.seed).tolist()


def _describe(
    asked: WantedVictim, trained: TrainedVictim, learnability: list[float] | None, seconds: float
) -> VictimRecord:
    curves, task = trained.curves, asked.task
    return VictimRecord(
        key=asked.key,
        architecture=task.architecture.text,
        threat=task.threat.name,
        trained_on=task.trained_on,
        seed=task.seed,
        finite=trained.model is not None,
        answers=pack(trained.named),
        train_accuracy=curves.train_accuracy[-1] if curves.train_accuracy else 0.0,
        fit=round(trained.fit, 6),
        attack_gain=trained.attack_gain,
        steps=asked.steps,
        loss=curves.loss,
        train_curve=curves.train_accuracy,
        test_curve=curves.test_accuracy,
        learnability=learnability,
        seconds=round(seconds, 1),
    )
