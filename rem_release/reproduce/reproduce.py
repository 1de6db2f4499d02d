"""`rem-release reproduce`: the order of its stages."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator

from rem_release.atomic_files import write_atomically
from rem_release.audit.ledger import Ledger, VictimRecord
from rem_release.commands.precision import resolve_victims
from rem_release.console import Console
from rem_release.errors import InputError
from rem_release.paths import check_path
from rem_release.plain_text import show
from rem_release.release.canonical import canonical_bytes
from rem_release.release.run_status import entered
from rem_release.reproduce.arms import ArmRun, arm_recipe, make_arm, place
from rem_release.reproduce.images import Drawn, draw_images, locate
from rem_release.reproduce.outcome import Outcome, write_outcome
from rem_release.reproduce.paper import Arm, Cell, Dataset, Figure, Table, load
from rem_release.reproduce.pricing import show_price
from rem_release.reproduce.scale import Scale, load_scale
from rem_release.reproduce.victims import make_task, open_arm, train_cells, victim_recipe
from rem_release.reproduce.wanted import Wanted, list_arms, list_wanted

_SETTINGS, _VICTIMS = "reproduction.json", "victims.jsonl"


@dataclass(frozen=True, kw_only=True)
class ReproduceOptions:
    """What the command line said."""

    name: str
    scale: str
    dataset: Dataset
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
    if isinstance(paper, Table) and options.dataset not in paper.rows:
        raise InputError(f"{options.name} has no figures for {options.dataset}; choose {' or '.join(paper.rows)}")
    wanted = list_wanted(options.name, scale, options.dataset)
    source = locate(options.dataset, options.data)
    folder = options.out or Path("runs") / f"reproduce-{options.scale}-{options.dataset}"
    check_path(str(folder), "--out")
    if options.plan:
        show_price(wanted, scale, options.dataset, folder, console, accelerator)
        return
    with entered(folder):
        _claim(folder, options, source.source)
        with console.stage("Drawing images"):
            drawn = draw_images(source, folder / "data", scale.train_images, scale.test_images)
        times = isinstance(paper, Table) and paper.kind == "times"
        arms = _make_arms(wanted, folder, scale, options, drawn, console, accelerator)
        records = (
            {}
            if times or _shows_pictures(paper)
            else _train(wanted, arms, folder, scale, options, drawn, console, accelerator)
        )
        outcome = Outcome(options.name, paper, scale, options.dataset, drawn, arms, records)
        lines, document = write_outcome(outcome, folder / "results")
        console.result(document, lines)


def _shows_pictures(paper: Table | Figure) -> bool:
    return isinstance(paper, Figure) and paper.kind == "pictures"


def _claim(folder: Path, options: ReproduceOptions, source: str) -> None:
    """One folder holds one scale of one data set, from one source; every table and figure shares what is there."""
    mine = {"scale": options.scale, "dataset": options.dataset, "source": source}
    path = folder / _SETTINGS
    if path.is_file():
        if path.read_bytes() != canonical_bytes(mine):
            raise InputError(f"--out {show(str(folder))} holds another reproduction; see {path}, and name a new folder")
        return
    if any(folder.iterdir()):
        raise InputError(f"--out {show(str(folder))} is not empty and no reproduction; name a new folder")
    write_atomically(path, canonical_bytes(mine))


def _make_arms(
    wanted: Sequence[Wanted],
    folder: Path,
    scale: Scale,
    options: ReproduceOptions,
    drawn: Drawn,
    console: Console,
    accelerator: Accelerator,
) -> dict[tuple[Arm, int], ArmRun]:
    """The runs of all arms and seeds, those that are missing made now; none of clean images."""
    arms = {key: place(*key, folder / "arms") for key in list_arms(wanted)}
    for number, ((arm, seed), run) in enumerate(arms.items()):
        is_known = run.run.finished  # and is compared with what is wanted
        if not is_known:
            console.note(f"Arm {number + 1} of {len(arms)}: {arm.name}, seed {seed}")
        inner = Console(silent=console.silent or is_known).without_results()
        make_arm(run, arm_recipe(arm, scale, options.dataset), drawn.folder, options.resume, inner, accelerator)
    return arms


def _train(
    wanted: Sequence[Wanted],
    arms: dict[tuple[Arm, int], ArmRun],
    folder: Path,
    scale: Scale,
    options: ReproduceOptions,
    drawn: Drawn,
    console: Console,
    accelerator: Accelerator,
) -> dict[Cell, list[VictimRecord]]:
    """The records of all victims, a list by seed for each cell."""
    recipe = resolve_victims(victim_recipe(scale, options.dataset), accelerator)
    ledger = Ledger(folder / _VICTIMS, None, writes=accelerator.is_main_process)
    of_arm: dict[tuple[Arm, int], list[Cell]] = defaultdict(list)
    for each in wanted:
        for seed in range(each.seeds):
            of_arm[each.cell.arm, seed].append(each.cell)
    records: dict[Cell, dict[int, VictimRecord]] = defaultdict(dict)
    clean = None
    for number, ((arm, seed), cells) in enumerate(of_arm.items()):
        run = arms.get((arm, seed))
        setup = open_arm(run.run, drawn.folder, recipe) if run else (clean or open_arm(None, drawn.folder, recipe))
        clean = clean if run else setup
        tasks = {cell: make_task(cell, scale, seed) for cell in cells}
        with console.stage(f"Victims of {arm.name}, seed {seed} ({number + 1} of {len(of_arm)})") as report:
            for cell, record in train_cells(setup, tasks, ledger, accelerator, report).items():
                records[cell][seed] = record
    return {cell: [found[seed] for seed in sorted(found)] for cell, found in records.items()}
