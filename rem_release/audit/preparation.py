"""Brings the images of victims to the device: read when they are asked for, and kept as long as a victim needs them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from rem_release.audit.inputs.sets import (
    Fit,
    Kind,
    TestSet,
    TrainingSet,
    count_temporary,
    read_testing,
    read_training,
)
from rem_release.audit.setup import AuditSetup
from rem_release.data.array_file import to_device
from rem_release.threats.base import ThreatPart
from rem_release.threats.images import TestImages, TrainingImages
from rem_release.threats.threat import Threat, write_parts
from rem_release.verdict.plan import Task, TrainedOn

SIGNS_SEED = 0
"""of the random control, and of random crops"""
_READ: dict[TrainedOn, Kind] = {
    "protected": "protected",
    "clean part": "clean",
    "clean": "clean",
    "random": "random",
    "yardstick": "clean",
}
"""The images that victims are trained on, all or a part of them."""


class Preparation:
    """Prepares the images of victims. Nothing is read before it is asked for, and only those of one victim are kept.

    Args:
        setup: what is audited, and how.
        device: where victims are trained.
    """

    def __init__(self, setup: AuditSetup, device: torch.device) -> None:
        self._setup, self._device = setup, device
        self._sets: dict[str, TrainingSet] = {}
        self._tests: dict[str, TestSet] = {}

    def read(self, task: Task) -> None:
        """Read the images that a victim is trained and tested on, and let go of all others before.

        Victims that are forked afterwards share them, and keep them until they end.
        """
        threat, kinds = task.threat, _kinds(task)
        names = {self._name(kind, threat) for kind in kinds}
        self._sets = {name: found for name, found in self._sets.items() if name in names}
        self._tests = {name: found for name, found in self._tests.items() if name == _test_name(threat)}
        self.test_set(threat)
        for kind in kinds:
            self._read(kind, threat)

    def count_temporary(self, tasks: Sequence[Task], at_once: int) -> int:
        """Bytes that the images of victims take in the temporary folder, at most.

        Args:
            tasks: in the order in which their images are read.
            at_once: of how many of them images are there at once.
        """
        rows, images = len(self._setup.holdout.train_rows), len(self._setup.holdout)
        sets: list[int] = []
        tests: list[int] = []
        last_names: set[str] = set()
        last_test: str | None = None
        for task in tasks:
            fit, test = self._fit(task.threat), _test_name(task.threat)
            names = {self._name(kind, task.threat) for kind in _kinds(task)}
            sets += [count_temporary(rows, fit)] * len(names - last_names)
            tests += [count_temporary(images, fit, test=True)] * (test != last_test)
            last_names, last_test = names, test
        of_each = max((len(_kinds(task)) for task in tasks), default=1)
        return sum(sorted(sets)[-of_each * at_once :]) + sum(sorted(tests)[-at_once:])

    def prepare(self, task: Task) -> tuple[TrainingImages, TestImages, Tensor]:
        """What a victim learns from, test images and test labels, on the device: as the threat shows them."""
        self.read(task)
        test, threat = self.test_set(task.threat), task.threat
        images = self._training_images(_READ[task.trained_on], threat, self._rows(task))
        images, on_tests = threat.fit(images, self._originals(threat))
        test_images = TestImages(to_device(test.images, self._device), on_tests, self._device)
        return images, test_images, test.labels.to(self._device)

    def test_set(self, threat: Threat) -> TestSet:
        """The clean test images, filtered where the threat filters them too."""
        name, filters = _test_name(threat), [part.filter_image for part in threat.filters(test=True)]
        if name not in self._tests:
            self._tests[name] = read_testing(self._setup.holdout, filters, self._fit(threat))
        return self._tests[name]

    def _rows(self, task: Task) -> np.ndarray | None:
        """The part of the training rows that a victim learns from, bool [N]; None for all."""
        return ~self._setup.protected_rows(task.threat) if task.trained_on == "clean part" else None

    def _originals(self, threat: Threat) -> TrainingImages | None:
        """The originals that the attacker has beside what was released."""
        if not _takes_originals(threat):
            return None
        return self._training_images("clean", threat, threat.own_originals(self._setup.labels))

    def _training_images(self, kind: Kind, threat: Threat, rows: np.ndarray | None) -> TrainingImages:
        found = self._read(kind, threat)
        images, labels = found.images, found.labels
        if rows is not None:
            views = len(labels) // len(rows)  # they stand together
            chosen = torch.from_numpy(rows).repeat_interleave(views).nonzero()[:, 0]
            images = images[chosen] if isinstance(images, Tensor) else images.subset(chosen)
            labels = labels[chosen]
        classes = len(self._setup.target.classes)
        return TrainingImages(to_device(images, self._device), labels.to(self._device), classes)

    def _fit(self, threat: Threat) -> Fit:
        """How images are brought to the network."""
        return threat.pipeline(self._setup.resolution) or self._setup.resolution

    def _name(self, kind: Kind, threat: Threat) -> str:
        """Of a training set: all that tells it from others."""
        return f"{kind} {_written(*threat.filters(test=False), _mixture(kind, threat), threat.views)}"

    def _read(self, kind: Kind, threat: Threat) -> TrainingSet:
        setup, fit, name = self._setup, self._fit(threat), self._name(kind, threat)
        if name not in self._sets:
            protected_rows = setup.protected_rows(threat) if _mixture(kind, threat) else None
            filters = [part.filter_image for part in threat.filters(test=False)]
            target = replace(setup.target, rho_u=setup.rho_u)  # random signs need a radius even where nothing changed
            rows = setup.holdout.train_rows
            self._sets[name] = read_training(target, kind, rows, protected_rows, filters, fit, SIGNS_SEED)
        return self._sets[name]


def _kinds(task: Task) -> list[Kind]:
    """The images that a victim is trained on, and those that its threat takes beside them."""
    own = _READ[task.trained_on]
    return [own, "clean"] if _takes_originals(task.threat) and own != "clean" else [own]


def _takes_originals(threat: Threat) -> bool:
    """Whether the attacker has originals beside what was released, and not in its place."""
    return threat.needs_originals and threat.mixture is None


def _test_name(threat: Threat) -> str:
    """Of a test set: all that tells it from others."""
    return _written(*threat.filters(test=True), threat.views)


def _written(*parts: ThreatPart | None) -> str:
    return write_parts([part for part in parts if part])


def _mixture(kind: Kind, threat: Threat) -> ThreatPart | None:
    return None if kind == "clean" else threat.mixture
