"""What `rem-release audit` refuses before it trains anything, because it would fail or say nothing after hours."""

from pathlib import Path

import numpy as np

from rem_release.audit.inputs.candidates import Holdout
from rem_release.audit.ledger import baseline_folder
from rem_release.audit.parallel import count_temporary
from rem_release.audit.runner import VictimRunner
from rem_release.audit.setup import AuditSetup
from rem_release.audit.victim import build_victim
from rem_release.console import Console
from rem_release.data.array_file import require_temporary
from rem_release.errors import InputError
from rem_release.release.canonical import MAX_BYTES
from rem_release.threats.threat import Threat
from rem_release.verdict.evidence import MAX_ANSWERS
from rem_release.verdict.learnability import samples_needed
from rem_release.verdict.plan import Row, Seeds, Task, plan_tasks
from rem_release.verdict.recipe import AuditRecipe
from rem_release.verdict.statistics import Sample, images_needed

_BYTES_A_CLASS, _BYTES_A_FIGURE = 50, 33
"""of a class in the certificate: its name, and its three accuracies in every row"""
_MIN_BATCH = 2
"""images of each process: batch normalisation needs two values a channel"""


def check_rows(rows: list[Row], recipe: AuditRecipe, name: str, console: Console) -> None:
    """Refuse a recipe that tests nothing; warn of a learnability bound that will not come out.

    Raises:
        InputError: no rows.
    """
    if not rows:
        raise InputError(f"recipe {name} has no threats in any tier; nothing would be audited")
    asked = recipe.learnability
    if not asked.samples:
        return
    try:
        least = samples_needed(asked.q, asked.sigma, asked.eta)
    except ValueError as error:
        console.warn(f"there will be no learnability bound: {error}, or --set learnability.samples=0 to save the time")
        return
    if asked.samples < least:
        console.warn(
            f"there will be no learnability bound: learnability.samples {asked.samples} are too few, it takes {least}"
        )


def require_images(holdout: Holdout, classes: list[str], recipe: AuditRecipe) -> None:
    """Refuse a holdout from which accuracy cannot be known as well as the recipe asks.

    Raises:
        InputError: there are fewer test images than that takes, in all or in some classes; near copies count as one.
    """
    statistics = recipe.statistics
    needed = images_needed(statistics.half_width, statistics.confidence)
    try:
        found = Sample(holdout.labels, holdout.clusters).images
    except ValueError:
        found = 1
    if found >= needed:
        return
    counts = np.bincount(holdout.labels, minlength=len(classes))
    clusters = len(np.unique(holdout.clusters))
    copies = f"; {len(holdout) - clusters} of them are near copies of others" if clusters < len(holdout) else ""
    unequal = f"; the class {classes[counts.argmin()]} has only {counts.min()}" if counts.min() < counts.max() else ""
    counted = f" (they count as {found}{copies}{unequal})" if copies or unequal else ""
    raise InputError(
        f"{len(holdout)} test images{counted} are too few: accuracy to within {statistics.half_width:.1%} takes "
        f"{needed}; give more with --holdout, or ask for less with --set statistics.half_width=..."
    )


def require_room(rows: list[Row], setup: AuditSetup) -> None:
    """Refuse an audit whose certificate or answers would be larger than `verify` reads.

    Raises:
        InputError: there are too many classes, test images or victims.
    """
    victims = len(plan_tasks(rows, setup.is_partial, Seeds("", "", "", "")))
    count = victims * setup.recipe.victim.evaluations * len(setup.holdout)
    if count > MAX_ANSWERS:
        raise InputError(
            f"{victims} victims that answer to {len(setup.holdout):,} test images {setup.recipe.victim.evaluations} "
            f"times give {count:,} answers, and a certificate takes {MAX_ANSWERS:,}; give fewer test images or threats"
        )
    size = len(setup.target.classes) * (_BYTES_A_CLASS + _BYTES_A_FIGURE * len(rows))
    if size > MAX_BYTES:
        raise InputError(
            f"the certificate of {len(setup.target.classes):,} classes and {len(rows)} rows would have about "
            f"{size:,} bytes, and {MAX_BYTES:,} are read; take threats or networks out of the recipe"
        )


def require_disk(runner: VictimRunner, rows: list[Row]) -> None:
    """Refuse an audit whose images do not fit into the temporary folder, before any victim is trained.

    Raises:
        RemReleaseError: names what is needed and what is free.
    """
    is_partial = runner.setup.is_partial
    if not count_temporary(runner, plan_tasks(rows, is_partial, Seeds("", "", "", ""))):
        return
    tasks = plan_tasks(rows, is_partial, runner.seeds)
    require_temporary(count_temporary(runner, [task for task in tasks if runner.known(task) is None]))


def check_victims(rows: list[Row], setup: AuditSetup, processes: int) -> None:
    """Refuse weights that do not fit their network, and training sets that are too small for a batch.

    Raises:
        InputError: a file of weights is missing, damaged or another network's; a victim would see single images.
    """
    tasks = plan_tasks(rows, setup.is_partial, Seeds("", "", "", ""))
    for architecture in {task.architecture for task in tasks if task.architecture.network.weights}:
        build_victim(Task(architecture, Threat(), "clean", 0), len(setup.target.classes), setup.resolution)
    fewest = min(tasks, key=setup.count_images)
    images, batch_size = setup.count_images(fewest), setup.recipe.victim.batch_size
    if min(images, batch_size) >= _MIN_BATCH * processes:
        return
    shortage = f"victim.batch_size {batch_size} is"
    if images < batch_size:
        part = "the part that is released without noise" if fewest.trained_on == "clean part" else "training"
        shortage = f"{images} image{'s' * (images > 1)} in {part} {'are' if images > 1 else 'is'}"
    raise InputError(
        f"{shortage} too few to train on: a step takes at least {_MIN_BATCH} images for each of "
        f"{processes} process{'es' * (processes > 1)}"
    )


def open_cache() -> Path:
    """The folder of the baselines that audits share, made if need be.

    Raises:
        InputError: it cannot be.
    """
    folder = baseline_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}, where baselines are kept, cannot be made ({error.strerror}); "
            "name another folder in the environment variable REM_RELEASE_CACHE"
        ) from None
    return folder
