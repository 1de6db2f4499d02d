"""Trains the victims of cells, with fixed seeds that all arms share: they are compared, and certify nothing."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from rem_release.audit.inputs.holdout import choose_holdout
from rem_release.audit.inputs.target import open_target
from rem_release.audit.ledger import Ledger, VictimRecord
from rem_release.audit.parallel import train_victims
from rem_release.audit.runner import VictimRunner
from rem_release.audit.setup import AuditSetup
from rem_release.errors import InputError
from rem_release.release.run_folder import RunFolder
from rem_release.reproduce.paper import Cell, Dataset
from rem_release.reproduce.scale import Scale
from rem_release.threats.threat import parse_threat
from rem_release.training.loop import Progress
from rem_release.verdict.accuracy import balanced_accuracy
from rem_release.verdict.plan import Task
from rem_release.verdict.recipe import AuditRecipe, load_audit_recipe, parse_architecture

LEDGER = "victims.jsonl"
"""in the folder of a reproduction"""
_TOLERANCE = 1e-6
_RHO_U = Fraction(8, 255)
"""of the random control, which is not trained here"""
_IMAGENET = {
    "victim.augmentation": "imagenet",
    "victim.epochs": "39.4",
    "adversary.steps": "8",
    "adversary.relative_step_size": "0.25",
}
"""Appendix A.2 and A.4: 40,000 steps on about 130,000 images"""


def victim_recipe(scale: Scale, dataset: Dataset) -> AuditRecipe:
    """How victims are trained: as in Appendix A.4, but for what the scale changes."""
    of_dataset = _IMAGENET if dataset == "imagenet100" else {}
    settings = {**of_dataset, **{key: str(value) for key, value in scale.victim.items()}}
    return load_audit_recipe("audit-paper", {**settings, "holdout.overlap": "drop"})


def choose_grid(recipe: AuditRecipe, dataset: Dataset) -> int:
    """Side of the images that victims see, in pixels (Appendix A.2)."""
    return recipe.victim.resolution or (224 if dataset == "imagenet100" else 32)


def open_arm(run: RunFolder | None, images: Path, recipe: AuditRecipe, dataset: Dataset) -> AuditSetup:
    """The training images of an arm and the test images.

    Args:
        run: the finished run of the arm; None: the clean images.
        images: the folder of both splits.
        recipe: of the victims.
        dataset: decides the grid.
    """
    grid = choose_grid(recipe, dataset)
    target = open_target(images, clean=str(images), resolution=grid) if run is None else open_target(run.path)
    holdout = choose_holdout(target, str(images), target.run, recipe.holdout.share, recipe.holdout.overlap)
    return AuditSetup(target=target, holdout=holdout, recipe=recipe, resolution=grid, rho_u=target.rho_u or _RHO_U)


def make_task(cell: Cell, scale: Scale, seed: int) -> Task:
    """The victim of a cell."""
    name = scale.networks.get(cell.architecture, cell.architecture)
    threat = parse_threat(cell.threat)
    if cell.part == "clean":
        return Task(parse_architecture(name), threat, "clean part", seed)
    if cell.arm.method == "clean":
        return Task(parse_architecture(name), threat.on_clean_images(), "clean", seed)
    return Task(parse_architecture(name), threat, "protected", seed)


def list_clean_rows(setup: AuditSetup, tasks: Iterable[Task]) -> dict[str, list[int]]:
    """Of each mixture the training rows that stay clean, by threat; their draw is the same for all arms and seeds."""
    found = {}
    for task in tasks:
        own = task.threat.own_originals(setup.labels)
        if own is not None:
            found[task.threat.name] = np.flatnonzero(own).tolist()
    return found


def train_cells(
    setup: AuditSetup,
    tasks: Mapping[Cell, Task],
    ledger: Ledger,
    accelerator: Accelerator,
    report: Progress,
) -> dict[Cell, VictimRecord]:
    """The records of the victims of one arm and seed; those that the ledger knows are not trained again.

    Raises:
        InputError: a record states another accuracy than its answers give.
    """
    runner = VictimRunner(setup, ledger, accelerator)
    train_victims(runner, list(dict.fromkeys(tasks.values())), report)
    records = {cell: runner.make(task) for cell, task in tasks.items()}
    for record in records.values():
        _check_accuracy(record, setup.holdout.labels, ledger)
    return records


def _check_accuracy(record: VictimRecord, labels: np.ndarray, ledger: Ledger) -> None:
    """Records lie in a file that anyone may edit."""
    if not record.finite:
        return
    given = balanced_accuracy(record.named(len(labels))[-1] == labels, labels)
    if abs(given - record.test_curve[-1]) > _TOLERANCE:
        raise InputError(
            f"{ledger.path}: a victim of {record.threat}, seed {record.seed}, is said to name "
            f"{record.test_curve[-1]:.4f} of the test images rightly, and its answers say {float(given):.4f}; "
            "without its line it is trained again"
        )
