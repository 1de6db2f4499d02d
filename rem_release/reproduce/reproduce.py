"""`rem-release reproduce`: the order of its stages."""

import json
from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from rem_release.atomic_files import write_atomically
from rem_release.audit.ledger import Ledger, VictimRecord
from rem_release.commands.precision import resolve_victims
from rem_release.console import Console
from rem_release.errors import InputError
from rem_release.paths import check_path
from rem_release.plain_text import show
from rem_release.release.canonical import canonical_bytes
from rem_release.release.run_status import entered
from rem_release.release.separate import check_separate
from rem_release.reproduce.arms import ArmRun, arm_recipe, make_arm, place
from rem_release.reproduce.images import draw_images, locate
from rem_release.reproduce.outcome import Outcome, write_outcome
from rem_release.reproduce.paper import Arm, Cell, Dataset, Figure, Table, load
from rem_release.reproduce.pricing import show_price
from rem_release.reproduce.scale import Scale, load_scale
from rem_release.reproduce.victims import LEDGER, list_clean_rows, make_task, open_arm, train_cells, victim_recipe
from rem_release.reproduce.wanted import Wanted, group_by_arm, list_arms, list_wanted

_SETTINGS, _CLEAN_ROWS = "reproduction.json", "clean-rows.json"
_DATA, _ARMS, _RESULTS = "data", "arms", "results"


@dataclass(frozen=True, kw_only=True)
class ReproduceOptions:
    """What the command line said."""

    name: str
    scale: str
    dataset: Dataset | None
    """None: the figure's, else CIFAR-10"""
    data: str | None
    out: Path | None
    plan: bool = False
    resume: bool = False


def reproduce(options: ReproduceOptions, console: Console, accelerator: Accelerator) -> None:
    """Run what is missing of a table or figure of the paper, and show its figures beside ours.

    Raises:
        InputError: no such table, scale, data set or source; a folder of another reproduction; something in it was
            stopped and is not resumed.
    """
    paper, scale = load(options.name), load_scale(options.scale)
    dataset = options.dataset or (paper.dataset if isinstance(paper, Figure) else "cifar10")
    if isinstance(paper, Table) and dataset not in paper.rows:
        raise InputError(f"{options.name} has no figures for {dataset}; choose {' or '.join(paper.rows)}")
    if isinstance(paper, Figure) and dataset != paper.dataset:
        raise InputError(f"{options.name} is of {paper.dataset}; leave --dataset {dataset} out")
    wanted = list_wanted(options.name, scale, dataset)
    if all(each.cell.arm.method == "clean" for each in wanted):
        raise InputError(f"--scale {options.scale} has no room for the noise of {options.name}; choose another scale")
    source = locate(dataset, options.data)
    folder = options.out or Path("runs") / f"reproduce-{options.scale}-{dataset}"
    check_path(str(folder), "--out")
    draw = draw_images(source, dataset, scale.train_images, scale.test_images)
    is_main = accelerator.is_main_process
    if Path(draw.source).exists():
        check_separate(folder, Path(draw.source), "--data")
    mine = {"scale": options.scale, "dataset": dataset, "source": draw.source}
    if is_main:
        _check(folder, mine)
    if options.plan:
        show_price(wanted, _has_victims(paper), draw, scale, dataset, folder, console, accelerator)
        return
    with entered(folder) if is_main else nullcontext():
        if is_main:
            _check(folder, mine)
            write_atomically(folder / _SETTINGS, canonical_bytes(mine))
        with console.stage("Copying images"):
            words = broadcast_object_list([draw.copy(folder / _DATA) if is_main else None])[0]
        work = Work(
            scale=scale,
            dataset=dataset,
            folder=folder,
            wanted=wanted,
            resume=options.resume,
            console=console,
            accelerator=accelerator,
        )
        arms = _make_arms(work)
        records = _train(work, arms) if _has_victims(paper) else {}
        if is_main:
            outcome = Outcome(options.name, paper, scale, dataset, words, arms, records)
            lines, document = write_outcome(outcome, folder / _RESULTS)
            console.result(document, lines)
        accelerator.wait_for_everyone()


@dataclass(frozen=True, kw_only=True)
class Work:
    """What the stages have in common."""

    scale: Scale
    dataset: Dataset
    folder: Path
    wanted: Sequence[Wanted]
    resume: bool
    console: Console
    accelerator: Accelerator

    @property
    def images(self) -> Path:
        """Where the images of both splits lie."""
        return self.folder / _DATA


def _has_victims(paper: Table | Figure) -> bool:
    return paper.kind not in ("times", "pictures")


def _check(folder: Path, mine: dict[str, Any]) -> None:
    """One folder holds one scale of one data set, from one source; every table and figure shares what is there."""
    path, out = folder / _SETTINGS, f"--out {show(str(folder))}"
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{out} is a file; name a folder")
    if path.is_file():
        if path.read_bytes() != canonical_bytes(mine):
            raise InputError(f"{out} holds another reproduction; see {path}, and name a new folder")
    elif folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{out} is not empty and no reproduction; name a new folder")
    for name in (_DATA, _ARMS, _RESULTS):
        if (folder / name).exists() and not (folder / name).is_dir():
            raise InputError(f"{folder / name} is a file, where a folder is to stand; move it away")


def _make_arms(work: Work) -> dict[tuple[Arm, int], ArmRun]:
    """The runs of all arms and seeds, those that are missing made now; none of clean images."""
    arms = {key: place(*key, work.folder / _ARMS) for key in list_arms(work.wanted)}
    for number, ((arm, seed), run) in enumerate(arms.items()):
        is_known = run.run.finished  # and is compared with what is wanted
        if not is_known:
            work.console.note(f"Arm {number + 1} of {len(arms)}: {arm.name}, seed {seed}")
        inner = Console(silent=work.console.silent or is_known).without_results(as_notes=False)
        recipe = arm_recipe(arm, work.scale, work.dataset)
        make_arm(run, recipe, work.images, work.resume, inner, work.accelerator)
    work.accelerator.wait_for_everyone()
    return arms


def _train(work: Work, arms: dict[tuple[Arm, int], ArmRun]) -> dict[Cell, list[VictimRecord]]:
    """The records of all victims, a list by seed for each cell."""
    accelerator = work.accelerator
    recipe = resolve_victims(victim_recipe(work.scale, work.dataset), accelerator)
    ledger = Ledger(work.folder / LEDGER, None, writes=accelerator.is_main_process)
    of_arm = group_by_arm(work.wanted)
    records: dict[Cell, dict[int, VictimRecord]] = defaultdict(dict)
    mixtures: dict[str, list[int]] = {}
    tested: dict[tuple[str, ...], Arm] = {}
    clean = (
        open_arm(None, work.images, recipe, work.dataset) if any(arm.method == "clean" for arm, _ in of_arm) else None
    )
    for number, ((arm, seed), cells) in enumerate(of_arm.items()):
        run = arms.get((arm, seed))
        setup = open_arm(run.run, work.images, recipe, work.dataset) if run else clean
        assert setup is not None
        tasks = {cell: make_task(cell, work.scale, seed) for cell in cells}
        mixtures |= list_clean_rows(setup, tasks.values())
        tested.setdefault(tuple(setup.holdout.hashes), arm)
        with work.console.stage(f"Victims of {arm.name}, seed {seed} ({number + 1} of {len(of_arm)})") as report:
            for cell, record in train_cells(setup, tasks, ledger, accelerator, report).items():
                records[cell][seed] = record
    if len(tested) > 1:
        names = " and ".join(sorted(arm.name for arm in tested.values()))
        work.console.warn(
            f"{names} were tested on other images: some lie within the radius of an arm of its own images"
        )
    if mixtures and accelerator.is_main_process:
        path = work.folder / _CLEAN_ROWS
        before = json.loads(path.read_bytes()) if path.exists() else {}
        write_atomically(path, canonical_bytes(before | mixtures))
    return {cell: [found[seed] for seed in sorted(found)] for cell, found in records.items()}
