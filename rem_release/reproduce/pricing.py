"""`rem-release reproduce --plan`: what would be run, and how long it takes on this machine."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator

from rem_release.audit.parallel import count_parallel
from rem_release.commands.plan import write_duration
from rem_release.console import Console
from rem_release.models import build_model
from rem_release.plain_text import show
from rem_release.reproduce.arms import arm_recipe, count_gradients, place
from rem_release.reproduce.images import Draw
from rem_release.reproduce.paper import Dataset
from rem_release.reproduce.scale import Scale
from rem_release.reproduce.victims import choose_grid, make_task, victim_recipe
from rem_release.reproduce.wanted import Wanted, list_arms

_BATCH, _ROUNDS = 16, 3


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
    gradients: Counter[tuple[str, int]] = Counter()
    for arm, _ in missing:
        recipe = arm_recipe(arm, scale, dataset)
        network = recipe.generator.model if recipe.generator else ""
        gradients[network, recipe.data.resolution] += count_gradients(recipe, images, classes)
    victims = victim_recipe(scale, dataset)
    resolution = choose_grid(victims, dataset)
    passes: Counter[tuple[str, int]] = Counter()
    for each in wanted if has_victims else ():
        task = make_task(each.cell, scale, 0)
        steps = victims.victim.count_steps(images) * victims.victim.batch_size
        passes[task.architecture.name, resolution] += each.seeds * round(steps * task.threat.passes(victims.adversary))
    seconds = sum(
        count * _seconds_a_pass(*network, classes, accelerator.device) for network, count in gradients.items()
    )
    trained = sum(count * _seconds_a_pass(*network, classes, accelerator.device) for network, count in passes.items())
    number = sum(each.seeds for each in wanted) if has_victims else 0
    document = {
        "words": scale.words,
        "images": draw.words,
        "arms": len(arms),
        "arms_missing": len(missing),
        "victims": number,
        "gradients": sum(gradients.values()),
        "passes": sum(passes.values()),
        "seconds": round(seconds + trained, 1),
    }
    at_once = count_parallel(accelerator)
    console.result(
        document,
        [
            scale.words,
            f"Images:  {show(draw.words)}",
            f"Noise:   {len(arms)} arms, {len(arms) - len(missing)} of them made already; "
            f"{sum(gradients.values()):,} sample gradient evaluations",
            f"Victims: {number}, {sum(passes.values()):,} passes of one image, {at_once} at once; those that are known "
            "already are not trained again",
            f"Time:    about {write_duration(seconds + trained)} on {accelerator.device}, from a probe of some seconds"
            + (", less the noise of ntga, see its recipe" if any(arm.method == "ntga" for arm, _ in missing) else ""),
            "Nothing was written.",
        ],
    )


def _seconds_a_pass(network: str, resolution: int, classes: int, device: torch.device) -> float:
    """Seconds of a forward and backward pass of one image, by the quickest of some batches; 0 without a network."""
    if not network:
        return 0.0
    model = build_model(network, classes, resolution, 0).to(device).train()
    images = torch.rand(_BATCH, 3, resolution, resolution, device=device, requires_grad=True)
    labels = torch.zeros(_BATCH, dtype=torch.int64, device=device)
    rounds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        float(torch.autograd.grad(F.cross_entropy(model(images), labels), images)[0].sum())
        rounds.append(time.perf_counter() - began)
    return min(rounds) / _BATCH
