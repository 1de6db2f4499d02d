"""`rem-release audit --plan`: what the audit would train, and how long it takes on this machine."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import gettempdir

import torch

from rem_release.audit.parallel import count_parallel, count_temporary
from rem_release.audit.runner import VictimRunner
from rem_release.audit.victim import prepare_victim
from rem_release.commands.disk import write_size
from rem_release.commands.plan import write_device_memory, write_duration
from rem_release.console import Console
from rem_release.release.certificate import TIERS
from rem_release.training.memory import measure_peak
from rem_release.verdict.plan import Row, Task, plan_tasks
from rem_release.verdict.recipe import Architecture, Victim

_ROUNDS = 3


def show_plan(runner: VictimRunner, rows: list[Row], console: Console) -> None:
    """Price the grid; nothing is trained and nothing is written."""
    steps = runner.setup.recipe.victim.count_steps(len(runner.setup.holdout.train_rows))
    tasks = plan_tasks(rows, runner.setup.is_partial, runner.seeds)
    open_tasks = [task for task in tasks if runner.known(task) is None]
    passes = sum(_passes(runner, task) for task in open_tasks)
    before = sum(_passes_before(runner, task) for task in open_tasks)
    each = {_network(runner, task): task for task in open_tasks}
    parallel = count_parallel(runner.accelerator)
    with torch_threads(1 if parallel > 1 else torch.get_num_threads()):
        probed = {network: _probe(runner, task) for network, task in each.items()}
    on_device = max((peak for _, peak in probed.values() if peak is not None), default=None)
    seconds = sum(probed[_network(runner, task)][0] * _passes(runner, task) for task in open_tasks) / parallel
    temporary = count_temporary(runner, open_tasks)
    counts = Counter(row.tier for row in rows)
    document = {
        "rows": {tier: counts[tier] for tier in TIERS},
        "victims": len(tasks),
        "known": len(tasks) - len(open_tasks),
        "images": len(runner.setup.holdout.train_rows),
        "test_images": len(runner.setup.holdout),
        "passes": round(passes),
        "passes_before_training": round(before),
        "seconds": round(seconds, 1),
        "device_memory_bytes": on_device,
        "temporary_bytes": temporary,
        "device": str(runner.accelerator.device),
        "precision": runner.setup.recipe.victim.precision,
        "at_once": parallel,
    }
    at_once = f", {parallel} victims at once" if parallel > 1 else ""
    text = [
        f"Rows:    {', '.join(f'{counts[tier]} {tier}' for tier in TIERS)}",
        f"Victims: {len(tasks)} of {steps} steps, {len(tasks) - len(open_tasks)} of them known already",
        f"Images:  {document['images']} to train on, {document['test_images']} to test on "
        f"({runner.setup.holdout.origin})",
        f"Cost:    {round(passes):,} forward and backward passes of one image in {document['precision']}"
        + (f", {round(before):,} of them before training" if before else ""),
        f"Time:    about {write_duration(seconds)} on {document['device']}{at_once}, from a probe of some seconds",
        *write_device_memory(on_device, str(runner.accelerator.device)),
        f"Disk:    at most {write_size(temporary)} of images in the temporary folder {gettempdir()} (TMPDIR)",
    ]
    console.result(document, [*text, "Nothing was written."])


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """torch computes on so many threads, as it does for a victim that is trained beside others."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _network(runner: VictimRunner, task: Task) -> tuple[Architecture, Victim]:
    """What a probe is good for: a yardstick has another batch size, and may have another precision."""
    return task.architecture, runner.setup.recipe_of(task).victim


def _passes(runner: VictimRunner, task: Task) -> float:
    setup = runner.setup
    recipe = setup.recipe_of(task)
    batch = min(recipe.victim.batch_size, len(setup.holdout.train_rows))
    in_training = setup.count_steps(task) * batch * task.threat.passes(recipe.adversary)
    return in_training + _passes_before(runner, task)


def _passes_before(runner: VictimRunner, task: Task) -> float:
    setup = runner.setup
    return task.threat.passes_before(setup.count_images(task), setup.recipe_of(task).adversary)


def _probe(runner: VictimRunner, task: Task) -> tuple[float, int | None]:
    """Seconds of a pass, and bytes of a GPU that a step took; the images themselves are not among them."""
    return measure_peak(runner.accelerator.device, lambda: _seconds_per_pass(runner, task))


def _seconds_per_pass(runner: VictimRunner, task: Task) -> float:
    """Seconds of a training step for one image, in batches of the recipe's size; the quickest of some."""
    device, setup = runner.accelerator.device, runner.setup
    recipe = setup.recipe_of(task)
    batch = min(recipe.victim.batch_size, len(setup.holdout.train_rows))
    model = prepare_victim(task, recipe, len(setup.target.classes), setup.resolution, device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=recipe.victim.momentum)  # which takes memory
    x = torch.rand(batch, 3, setup.resolution, setup.resolution, device=device)
    rounds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        optimizer.zero_grad()
        model(x).mean().backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        rounds.append(time.perf_counter() - began)
    return min(rounds) / batch
