"""Brings the images of victims to the device: read when they are asked for, the last few kept."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from rem_release.audit.bench import Bench
from rem_release.audit.material.sets import (
    Fit,
    Kind,
    TestSet,
    TrainingSet,
    count_temporary,
    read_testing,
    read_training,
)
from rem_release.data.array_file import bring_near
from rem_release.threats.base import Part
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
"""The pictures that victims are trained on, all or a part of them."""
_KEPT_SETS = 3


class Preparation:
    """Prepares the images of victims. Nothing is read before it is asked for.

    Args:
        bench: what is audited, and how.
        device: where victims are trained.
    """

    def __init__(self, bench: Bench, device: torch.device) -> None:
        self._bench, self._device = bench, device
        self._sets: OrderedDict[str, TrainingSet] = OrderedDict()
        self._tests: dict[str, TestSet] = {}

    def read(self, task: Task) -> None:
        """Read the images that a victim is trained and tested on, for those that are forked to share them."""
        self.test_set(task.threat)
        self._read(_READ[task.trained_on], task.threat)
        self._originals(task.threat)

    def count_temporary(self, tasks: Sequence[Task]) -> int:
        """Bytes that the images of victims take in the temporary folder, at most, while one after another is read."""
        sizes = {}
        for task in tasks:
            size = count_temporary(len(self._bench.holdout.train_rows), self._fit(task.threat))
            sizes[self._name(_READ[task.trained_on], task.threat)] = size
            if task.threat.needs_originals:
                sizes[self._name("clean", task.threat)] = size
        return sum(sorted(sizes.values())[-_KEPT_SETS:])

    def prepare(self, task: Task) -> tuple[TrainingImages, TestImages, Tensor]:
        """What a victim learns from, test images and test labels, on the device: as the threat shows them."""
        test, threat = self.test_set(task.threat), task.threat
        images = self._training_images(_READ[task.trained_on], threat, self._rows(task))
        images, on_tests = threat.fit(images, self._originals(threat))
        return images, TestImages(test.images.to(self._device), on_tests), test.labels.to(self._device)

    def test_set(self, threat: Threat) -> TestSet:
        """The clean test images, filtered where the threat filters them too."""
        chosen, fit = threat.filters(test=True), self._fit(threat)
        name = _written(*chosen, threat.views)
        if name not in self._tests:
            self._tests[name] = read_testing(self._bench.holdout, [part.filter_picture for part in chosen], fit)
        return self._tests[name]

    def _rows(self, task: Task) -> np.ndarray | None:
        """The part of the training rows that a victim learns from, bool [N]; None for all."""
        return ~self._bench.protected_rows(task.threat) if task.trained_on == "clean part" else None

    def _originals(self, threat: Threat) -> TrainingImages | None:
        """The originals that the attacker has beside what was released."""
        rows = None if threat.mixture else threat.own_originals(self._bench.labels)
        return None if rows is None else self._training_images("clean", threat, rows)

    def _training_images(self, kind: Kind, threat: Threat, rows: np.ndarray | None) -> TrainingImages:
        found = self._read(kind, threat)
        images, labels = found.images, found.labels
        if rows is not None:
            views = len(labels) // len(rows)  # they stand together
            chosen = torch.from_numpy(rows).repeat_interleave(views).nonzero()[:, 0]
            images = images[chosen] if isinstance(images, Tensor) else images.subset(chosen)
            labels = labels[chosen]
        classes = len(self._bench.target.classes)
        return TrainingImages(bring_near(images, self._device), labels.to(self._device), classes)

    def _fit(self, threat: Threat) -> Fit:
        """How pictures are brought to the network."""
        return threat.pipeline(self._bench.resolution) or self._bench.resolution

    def _name(self, kind: Kind, threat: Threat) -> str:
        """Of a training set: all that tells it from others."""
        return f"{kind} {_written(*threat.filters(test=False), _mixture(kind, threat), threat.views)}"

    def _read(self, kind: Kind, threat: Threat) -> TrainingSet:
        bench, fit, name = self._bench, self._fit(threat), self._name(kind, threat)
        if name not in self._sets:
            if len(self._sets) == _KEPT_SETS:  # before another is read: it may take up a disk
                self._sets.popitem(last=False)
            protected_rows = bench.protected_rows(threat) if _mixture(kind, threat) else None
            filters = [part.filter_picture for part in threat.filters(test=False)]
            target = replace(bench.target, rho_u=bench.rho_u)  # random signs need a radius even where nothing changed
            rows = bench.holdout.train_rows
            self._sets[name] = read_training(target, kind, rows, protected_rows, filters, fit, SIGNS_SEED)
        self._sets.move_to_end(name)
        return self._sets[name]


def _written(*parts: Part | None) -> str:
    return write_parts([part for part in parts if part])


def _mixture(kind: Kind, threat: Threat) -> Part | None:
    return None if kind == "clean" else threat.mixture
