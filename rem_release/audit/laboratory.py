"""Runs the victims: brings their images to the device, trains what is not known yet, keeps what was found."""

import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor

import rem_release
from rem_release.audit.countermeasures import filters as pictures
from rem_release.audit.countermeasures.projection import fit_projection, project_out
from rem_release.audit.countermeasures.resized_crop import Pipeline
from rem_release.audit.learnability import perturbed_accuracies
from rem_release.audit.ledger import Asked, Ledger, VictimRecord, key_of, pack
from rem_release.audit.material.holdout import Holdout
from rem_release.audit.material.sets import Filter as PictureFilter
from rem_release.audit.material.sets import (
    Fit,
    Kind,
    TestSet,
    TrainingSet,
    read_testing,
    read_training,
    split_protected,
)
from rem_release.audit.material.target import Target
from rem_release.audit.step import TrainingImages
from rem_release.audit.victim import Outcome, train_victim
from rem_release.core.levels import to_float
from rem_release.data.array_file import bring_near
from rem_release.release.canonical import sha256_file
from rem_release.release.certificate import PACKAGES
from rem_release.training.loop import Progress
from rem_release.verdict.parts import (
    BitDepth,
    Filter,
    Gaussian,
    Greyscale,
    Jpeg,
    Mean,
    Median,
    Mixed,
    Orthogonal,
    Pgd,
    ResizedCrop,
)
from rem_release.verdict.plan import Seeds, Task, TrainedOn, describe_training, yardstick
from rem_release.verdict.recipe import AuditRecipe
from rem_release.verdict.threats import Threat

_CODE = ("core", "models", "training", "data", "verdict", "audit")
_READ: dict[TrainedOn, Kind] = {
    "protected": "protected",
    "clean part": "protected",
    "clean": "clean",
    "random": "random",
    "yardstick": "clean",
}
"""The pictures that victims are trained on, all or a part of them."""
_KEPT_SETS = 3
_SIGNS_SEED = 0
_PROJECTION_SEED = 0


@dataclass(frozen=True)
class Bench:
    """All that victims of one audit have in common."""

    target: Target
    holdout: Holdout
    recipe: AuditRecipe
    resolution: int
    rho_u: Fraction

    @property
    def is_partial(self) -> bool:
        """Whether the release holds images without noise beside others with noise."""
        changed = self.target.changed[self.holdout.train_rows]
        return bool(changed.any() and not changed.all())

    def protected_rows(self, threat: Threat) -> np.ndarray:
        """Which training rows carry the release's own pixels with noise: bool [N]."""
        changed = self.target.changed[self.holdout.train_rows]
        mixed: Mixed | None = threat.find(Mixed)
        if mixed is None:
            return changed
        labels = self.target.labels[self.holdout.train_rows]
        return split_protected(len(labels), labels, mixed.protected, seed=0) & (changed | ~changed.any())

    def count_images(self, task: Task) -> int:
        """How many images a victim learns from."""
        if task.trained_on == "clean part":
            return int((~self.protected_rows(task.threat)).sum())
        return len(self.holdout.train_rows)


class Laboratory:
    """Makes the records of victims.

    Args:
        bench: what is audited, and how.
        ledger: what is known already.
        accelerator: decides device, precision and processes.
    """

    def __init__(self, bench: Bench, ledger: Ledger, accelerator: Accelerator) -> None:
        self.bench = bench
        self.ledger = ledger
        self.accelerator = accelerator
        self._sets: OrderedDict[str, TrainingSet] = OrderedDict()
        self._tests: dict[str, TestSet] = {}
        self._keys: dict[tuple[str, str, TrainedOn, int], str] = {}
        rows = bench.holdout.train_rows
        hashes = [bench.target.clean_hash(int(row)) for row in rows]
        self._pictures = key_of({"pictures": hashes})
        classes = [bench.target.classes[label] for label in bench.target.labels[rows]]
        clean = key_of({"originals": sorted(zip(hashes, classes, strict=True))})
        training = describe_training(bench.recipe, bench.holdout.origin)
        self.seeds = Seeds(bench.target.digest, clean, self.test_set(Threat()).digest, training)
        self._digests = {kind: self._read(kind, Threat()).digest for kind in ("clean", "protected")}

    def fingerprint(self) -> str:
        """A hash over what all processes must have in common: pictures, test pictures and recipe."""
        sets = {**self._digests, "own size": self._pictures, "test": self.test_set(Threat()).digest}
        return key_of({"sets": sets, "recipe": self.bench.recipe.to_dict()})

    def made_on(self) -> dict[str, Any]:
        """What victims depend on beside pictures and recipe."""
        return {
            "device": device_name(self.accelerator),
            "processes": self.accelerator.num_processes,
            "versions": versions(),
        }

    def known(self, task: Task) -> VictimRecord | None:
        """The record of a victim that was trained before."""
        return self.ledger.find(self._ask(task))

    def _recipe(self, task: Task) -> AuditRecipe:
        return yardstick(self.bench.recipe) if task.trained_on == "yardstick" else self.bench.recipe

    def _ask(self, task: Task) -> Asked:
        bench = self.bench
        steps = self._recipe(task).victim.list_evaluations(len(bench.holdout.train_rows))
        return Asked(self._key(task), task, steps, len(bench.holdout), len(bench.target.classes))

    def count_steps(self, task: Task) -> int:
        """Training steps of a victim."""
        return self._recipe(task).victim.count_steps(len(self.bench.holdout.train_rows))

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

    def train(self, task: Task, after_step: Progress | None = None) -> VictimRecord:
        """Train a victim and describe it; nothing is kept."""
        began = time.monotonic()
        images, test_images, test_labels = self.prepare(task)
        in_all, recipe = len(self.bench.holdout.train_rows), self._recipe(task)
        outcome = train_victim(self.accelerator, task, recipe, images, in_all, test_images, test_labels, after_step)
        learnability = self._measure_learnability(task, outcome, test_images, test_labels)
        record = _describe(self._ask(task), outcome, learnability, time.monotonic() - began)
        return self._agree(record) or record

    def _agree(self, record: VictimRecord | None) -> VictimRecord | None:
        """What the first process knows: caches of several hosts may differ, and so do losses on parts of a batch."""
        return record if self.accelerator.num_processes == 1 else broadcast_object_list([record])[0]

    def read(self, task: Task) -> None:
        """Read the images that a victim is trained and tested on, for those that are forked to share them."""
        self.test_set(task.threat)
        self._read(_READ[task.trained_on], task.threat)

    def prepare(self, task: Task) -> tuple[TrainingImages, Tensor, Tensor]:
        """What a victim learns from, test images and test labels, on the device: filtered, and projected if need be."""
        test, device = self.test_set(task.threat), self.accelerator.device
        images, tests = self._training_images(task), test.images.to(device)
        projection: Orthogonal | None = task.threat.find(Orthogonal)
        if projection:
            Q = fit_projection(images.images, images.labels, images.classes, _PROJECTION_SEED)
            is_boxed = task.threat.find(Pgd) is not None  # the adversary moves inside the box
            images = replace(images, Q=Q, is_clamped=is_boxed)
            if projection.on == "both":
                tests = project_out(to_float(tests), Q)
        return images, tests, test.labels.to(device)

    def _training_images(self, task: Task) -> TrainingImages:
        found = self._read(_READ[task.trained_on], task.threat)
        images, labels = found.images, found.labels
        if task.trained_on == "clean part":
            clean = torch.from_numpy(~self.bench.protected_rows(task.threat))
            rows = clean.repeat_interleave(len(labels) // len(clean)).nonzero()[:, 0]  # views stand together
            images, labels = images[rows] if isinstance(images, Tensor) else images.subset(rows), labels[rows]
        device = self.accelerator.device
        return TrainingImages(bring_near(images, device), labels.to(device), len(self.bench.target.classes))

    @property
    def is_partial(self) -> bool:
        """See `Bench.is_partial`."""
        return self.bench.is_partial

    def test_set(self, threat: Threat) -> TestSet:
        """The clean test images, filtered where the threat filters them too."""
        chosen, fit = threat.filters(test=True), self._fit(threat)
        name = f"{chosen} {fit}"
        if name not in self._tests:
            functions = [_function_of(part) for part in chosen]
            self._tests[name] = read_testing(self.bench.holdout, functions, fit)
        return self._tests[name]

    def _fit(self, threat: Threat) -> Fit:
        """How pictures are brought to the network."""
        crop: ResizedCrop | None = threat.find(ResizedCrop)
        if crop is None:
            return self.bench.resolution
        side = crop.side(self.bench.resolution)
        return Pipeline(side, crop.interpolation, crop.antialias, crop.min_area, crop.views)

    def _read(self, kind: Kind, threat: Threat) -> TrainingSet:
        bench, chosen, fit = self.bench, threat.filters(test=False), self._fit(threat)
        mixed = None if kind == "clean" else threat.find(Mixed)
        name = f"{kind} {chosen} {mixed} {fit}"
        if name not in self._sets:
            rows = bench.holdout.train_rows
            protected_rows = bench.protected_rows(threat) if mixed else None
            functions = [_function_of(part) for part in chosen]
            target = replace(bench.target, rho_u=bench.rho_u)  # random signs need a radius even where nothing changed
            self._sets[name] = read_training(target, kind, rows, protected_rows, functions, fit, _SIGNS_SEED)
            if len(self._sets) > _KEPT_SETS:
                self._sets.popitem(last=False)
        self._sets.move_to_end(name)
        return self._sets[name]

    def _measure_learnability(self, task: Task, outcome: Outcome, images: Tensor, labels: Tensor) -> list[float] | None:
        if outcome.model is None or not self._wants_learnability(task):
            return None
        asked = self.bench.recipe.learnability
        return perturbed_accuracies(outcome.model, images, labels, asked.samples, asked.sigma, task.seed).tolist()

    def _wants_learnability(self, task: Task) -> bool:
        source = self.bench.target.source_model or self.bench.recipe.victim.source_model
        is_surrogate = (task.architecture.name, task.threat.parts, task.trained_on) == (source, (), "protected")
        return (
            is_surrogate and task.seed == self.seeds.of("protected", 0) and self.bench.recipe.learnability.samples > 0
        )

    def _key(self, task: Task) -> str:
        if task.key not in self._keys:
            self._keys[task.key] = self._make_key(task)
        return self._keys[task.key]

    def _make_key(self, task: Task) -> str:
        """A hash over everything that decides the victim; baselines do not depend on how the release was made."""
        bench, network, recipe = self.bench, task.architecture.network, self._recipe(task).to_dict()
        of_release = task.trained_on in ("protected", "clean part")
        is_mixed = task.threat.find(Mixed) is not None or self.is_partial
        decides: dict[str, Any] = {
            "clean": [self._digests["clean"], self._pictures],  # on the grid, and at their own size for filters
            "release": [self._digests["protected"], bench.target.digest]
            if of_release or (is_mixed and task.trained_on == "random")
            else None,
            "signs": [int(bench.rho_u * 255), _SIGNS_SEED] if task.trained_on == "random" else None,
            "test": self.test_set(task.threat).digest,
            "trained_on": task.trained_on,
            "architecture": task.architecture.name,
            "network": {
                "weights": sha256_file(Path(network.weights)) if network.weights else None,
                "resize": network.resize if network.weights else None,
                "learning_rate": network.learning_rate,
            },
            "threat": task.threat.name,
            "victim": {**recipe["victim"], "source_model": None, "resolution": bench.resolution},
            "adversary": recipe["adversary"] if task.threat.find(Pgd) else None,
            "learnability": recipe["learnability"] if self._wants_learnability(task) else None,
            "seed": task.seed,
            **self.made_on(),
            "code": code_digest(),
        }
        return key_of(decides)


def device_name(accelerator: Accelerator) -> str:
    """The kind of device, such as `cpu` or the model of a GPU."""
    device = accelerator.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@cache
def code_digest() -> str:
    """Hash of the code that trains and tests victims, so that no record outlives a change of it."""
    package = Path(rem_release.__file__).parent
    files = [path for folder in _CODE for path in sorted((package / folder).rglob("*.py"))]
    return key_of({str(path.relative_to(package)): sha256_file(path) for path in files})


def versions() -> dict[str, str]:
    """Of the packages that decide what a victim learns."""
    return {name: version(name) for name in PACKAGES}


def _describe(asked: Asked, outcome: Outcome, learnability: list[float] | None, seconds: float) -> VictimRecord:
    watched, task = outcome.watched, asked.task
    return VictimRecord(
        key=asked.key,
        architecture=task.architecture.text,
        threat=task.threat.name,
        trained_on=task.trained_on,
        seed=task.seed,
        finite=outcome.model is not None,
        answers=pack(outcome.named),
        train_accuracy=watched.train_accuracy[-1] if watched.train_accuracy else 0.0,
        fit=round(outcome.fit, 6),
        attack_gain=outcome.attack_gain,
        steps=asked.steps,
        loss=watched.loss,
        train_curve=watched.train_accuracy,
        test_curve=watched.test_accuracy,
        learnability=learnability,
        seconds=round(seconds, 1),
    )


def _function_of(part: Filter) -> PictureFilter:
    """What a filter does to one picture."""
    match part:
        case Mean():
            return pictures.mean_filter
        case Median():
            return pictures.median_filter
        case Gaussian():
            return partial(pictures.gaussian_filter, sigma=part.sigma)
        case Greyscale():
            return pictures.greyscale
        case Jpeg():
            return partial(pictures.jpeg, quality=part.quality)
        case BitDepth():
            return partial(pictures.bit_depth, bits=part.bits)
