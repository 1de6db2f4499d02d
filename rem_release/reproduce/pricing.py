"""`rem-release reproduce --plan`: what would be run, and how long it takes on this machine."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator

from rem_release.audit.ledger import Ledger
from rem_release.audit.parallel import count_parallel
from rem_release.audit.runner import VictimRunner
from rem_release.commands.audit_plan import torch_threads
from rem_release.commands.plan import write_duration
from rem_release.commands.precision import resolve_victims
from rem_release.commands.protect import MAX_SHOWN
from rem_release.console import Console
from rem_release.methods.apply import padded_count
from rem_release.methods.maker import ImageSet, make_image_set
from rem_release.methods.probe import probe_gradients
from rem_release.models import build_model
from rem_release.plain_text import show
from rem_release.reproduce.arms import arm_recipe, place
from rem_release.reproduce.images import Draw
from rem_release.reproduce.paper import Arm, Dataset
from rem_release.reproduce.scale import Scale
from rem_release.reproduce.victims import LEDGER, choose_grid, make_task, open_arm, victim_recipe
from rem_release.reproduce.wanted import Wanted, group_by_arm, list_arms
from rem_release.training.precision import resolve
from rem_release.verdict.plan import Task
from rem_release.verdict.recipe import AuditRecipe

_ROUNDS = 3
_PROBED = 14_000
"""images at most that noise is probed with: a block of NTGA on CIFAR, and what it is validated on"""


def show_price(
    wanted: Sequence[Wanted],
    has_victims: bool,
    draw: Draw,
    scale: Scale,
    dataset: Dataset,
    folder: Path,
    console: Console,
    accelerator: Accelerator,
) -> None:
    """Price the grid; nothing is run and nothing is written."""
    images, classes = len(draw.rows["train"]), len(draw.classes)
    arms = list_arms(wanted)
    missing = [key for key in arms if not place(*key, folder / "arms").run.finished]
    gradients, noise_seconds = _price_noise(missing, draw, scale, dataset, accelerator)
    victims = resolve_victims(victim_recipe(scale, dataset), accelerator)
    listed = _list_victims(wanted, victims, scale, dataset, folder, accelerator) if has_victims else []
    passes: Counter[str] = Counter()
    for task in (task for task, is_known in listed if not is_known):
        batch = min(victims.victim.batch_size, images)
        steps = victims.victim.count_steps(images)
        passes[task.architecture.name] += round(steps * batch * task.threat.passes(victims.adversary))
    at_once, resolution = count_parallel(accelerator), choose_grid(victims, dataset)
    with torch_threads(1 if at_once > 1 else torch.get_num_threads()):
        victim_seconds = sum(
            count * _seconds_of_pass(network, resolution, classes, victims.victim.batch_size, accelerator.device)
            for network, count in passes.items()
        )
    seconds, known = noise_seconds + victim_seconds / at_once, sum(is_known for _, is_known in listed)
    document = {
        "words": scale.words,
        "images": draw.words,
        "arms": len(arms),
        "arms_missing": len(missing),
        "victims": len(listed),
        "victims_known": known,
        "gradients": gradients,
        "passes": sum(passes.values()),
        "seconds": round(seconds, 1),
    }
    console.result(
        document,
        [
            scale.words,
            f"Images:  {show(draw.words)}",
            f"Noise:   {len(arms)} arms, {len(arms) - len(missing)} of them made already; "
            f"{gradients:,} sample gradient evaluations, about {write_duration(noise_seconds)}",
            f"Victims: {len(listed)}, {known} of them known already; {sum(passes.values()):,} passes of one image, "
            f"{at_once} at once, about {write_duration(victim_seconds / at_once)}",
            f"Time:    about {write_duration(seconds)} on {accelerator.device}, from a probe of some seconds",
            "Nothing was written.",
        ],
    )


def _list_victims(
    wanted: Sequence[Wanted],
    recipe: AuditRecipe,
    scale: Scale,
    dataset: Dataset,
    folder: Path,
    accelerator: Accelerator,
) -> list[tuple[Task, bool]]:
    """Every victim, and whether its record is there; with no record at all, no arm is opened to look for one."""
    ledger = Ledger(folder / LEDGER, None, writes=False)
    listed = []
    for (arm, seed), cells in group_by_arm(wanted).items():
        tasks = dict.fromkeys(make_task(cell, scale, seed) for cell in cells)
        run = None if arm.method == "clean" else place(arm, seed, folder / "arms").run
        knows = None
        if ledger.path and ledger.path.exists() and (run is None or run.finished):
            knows = VictimRunner(open_arm(run, folder / "data", recipe, dataset), ledger, accelerator).known
        listed += [(task, bool(knows and knows(task))) for task in tasks]
    return listed


def _price_noise(
    arms: Sequence[tuple[Arm, int]], draw: Draw, scale: Scale, dataset: Dataset, accelerator: Accelerator
) -> tuple[int, float]:
    """Sample gradient evaluations of arms, and seconds; every method is probed once."""
    images, classes = len(draw.rows["train"]), len(draw.classes)
    each: dict[tuple[str, bool], float] = {}
    gradients, seconds = 0, 0.0
    for arm, _ in arms:
        recipe = arm_recipe(arm, scale, dataset)
        recipe = replace(recipe, precision=resolve(recipe.precision, accelerator.device), execution="folded")
        setting = recipe.set_for(classes, 0)
        maker = recipe.noise.build(setting, accelerator)
        padded = padded_count(images, maker.batch_size, accelerator.num_processes)
        shown = min(classes, MAX_SHOWN) if recipe.noise.refuses_unseen is None else 0
        count = sum(phase.gradients for phase in recipe.noise.list_phases(setting, images, padded + shown))
        kind = (arm.method, arm.eot)
        if kind not in each:
            image_set = _draw_image_set(images, classes, recipe.data.resolution, accelerator.device)
            each[kind] = probe_gradients(maker, image_set, trains=False)
        gradients, seconds = gradients + count, seconds + count * each[kind]
    return gradients, seconds


def _draw_image_set(images: int, classes: int, resolution: int, device: torch.device) -> ImageSet:
    """Random pixels, of as many images as a probe needs."""
    count = min(images, _PROBED)
    pixels = torch.randint(256, (count, 3, resolution, resolution), dtype=torch.uint8)
    numbers = torch.arange(count)
    return make_image_set(pixels, numbers % classes, numbers, torch.full((count, 2), resolution), device)


def _seconds_of_pass(network: str, resolution: int, classes: int, batch: int, device: torch.device) -> float:
    """Seconds of a forward and backward pass of one image in a victim's training step; the quickest of some."""
    model = build_model(network, classes, resolution, 0).to(device).train()
    images = torch.rand(batch, 3, resolution, resolution, device=device)
    rounds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        model(images).mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        rounds.append(time.perf_counter() - began)
    return min(rounds) / batch
