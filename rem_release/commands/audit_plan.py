"""`rem-release audit --plan`: what the audit would train, and how long it takes on this machine."""

import time
from collections import Counter

import torch

from rem_release.audit.laboratory import Laboratory
from rem_release.audit.plan import Row, Task, plan_tasks
from rem_release.audit.step import gradients_per_image
from rem_release.audit.threats import Threat
from rem_release.audit.victim import build_victim
from rem_release.commands.plan import write_duration
from rem_release.console import Console
from rem_release.release.certificate import TIERS

_ROUNDS = 3


def show_plan(laboratory: Laboratory, rows: list[Row], console: Console) -> None:
    """Price the grid; nothing is trained and nothing is written."""
    recipe = laboratory.bench.recipe
    tasks = plan_tasks(rows, laboratory.is_partial)
    open_tasks = [task for task in tasks if laboratory.known(task) is None]
    passes = sum(_passes(laboratory, task) for task in open_tasks)
    each = {task.architecture: task for task in open_tasks}
    seconds_each = {architecture: _seconds_per_pass(laboratory, task) for architecture, task in each.items()}
    seconds = sum(seconds_each[task.architecture] * _passes(laboratory, task) for task in open_tasks)
    share = _share_of_more_seeds(laboratory, rows)
    counts = Counter(row.tier for row in rows)
    document = {
        "rows": {tier: counts[tier] for tier in TIERS},
        "victims": len(tasks),
        "known": len(tasks) - len(open_tasks),
        "images": len(laboratory.bench.holdout.train_rows),
        "test_images": len(laboratory.bench.holdout),
        "passes": round(passes),
        "seconds": round(seconds, 1),
        "seconds_more_seeds": round(seconds * share, 1),
        "device": str(laboratory.accelerator.device),
    }
    text = [
        f"Rows:    {', '.join(f'{counts[tier]} {tier}' for tier in TIERS)}",
        f"Victims: {len(tasks)} of {recipe.victim.steps} steps, {len(tasks) - len(open_tasks)} of them known already",
        f"Images:  {document['images']} to train on, {document['test_images']} to test on "
        f"({laboratory.bench.holdout.origin})",
        f"Cost:    {round(passes):,} forward and backward passes of one image",
        f"Time:    about {write_duration(seconds)} on {document['device']}, from a probe of some seconds",
    ]
    if share:
        text.append(f"         and up to about {write_duration(seconds * share)} for more seeds of the worst rows")
    console.result(document, [*text, "Nothing was written."])


def _passes(laboratory: Laboratory, task: Task) -> float:
    victim = laboratory.bench.recipe.victim
    batch = min(victim.batch_size, len(laboratory.bench.holdout.train_rows))
    return victim.steps * batch * gradients_per_image(task.threat, laboratory.bench.recipe)


def _share_of_more_seeds(laboratory: Laboratory, rows: list[Row]) -> float:
    """How much the additional seeds cost, as a part of the grid, if rows cost alike."""
    seeds = laboratory.bench.recipe.seeds
    if not rows or seeds.worst <= seeds.grid:
        return 0.0
    chosen = sum(min(seeds.worst_rows, count) for count in Counter(row.tier for row in rows).values())
    return chosen * (seeds.worst - seeds.grid) / (len(rows) * seeds.grid)


def _seconds_per_pass(laboratory: Laboratory, task: Task) -> float:
    """Seconds of one forward and backward pass for one image, in batches of the recipe's size; the quickest of some."""
    device = laboratory.accelerator.device
    images, *_ = laboratory.prepare(Task(task.architecture, Threat(), "clean", 0))
    batch = min(laboratory.bench.recipe.victim.batch_size, len(images))
    model = build_victim(task, images.classes, images.resolution).to(device).train()
    x = images.floats(torch.arange(min(batch, len(images)), device=images.labels.device))[0]
    rounds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        model(x).sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        rounds.append(time.perf_counter() - began)
    return min(rounds) / batch
