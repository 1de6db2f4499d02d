"""The one training loop. The generator's step (Algorithm 1) and a victim's step (Eq. 2) are handed to it."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from torch.optim import Optimizer

from rem_release.core.captured import recorder_of
from rem_release.errors import InputError
from rem_release.training.batches import batch_indices
from rem_release.training.checkpoints import Checkpoint, collect, list_parameters, restore
from rem_release.training.memory import memory_kept
from rem_release.training.processes import forgotten, share, wrap
from rem_release.training.steps import DirectSteps, RecordedSteps, Steps
from rem_release.training.stopping import signals_held

LossOf = Callable[[nn.Module, nn.Module, Tensor, int | Tensor], Tensor]
"""(model, wrapped model, indices of this process, step) → mean loss over those indices. The step is a number, or
int64 [] where steps are recorded, see `training.steps`."""
Models = Mapping[str, nn.Module]
"""Networks by name."""
LossOfAll = Callable[[Models, Models, Tensor, int | Tensor], Tensor]
"""(models, wrapped models, indices of this process, step) → mean loss over those indices, summed over the models."""
Progress = Callable[[int, int], None]
"""(done, total)"""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """SGD with momentum, the learning rate multiplied by `decay` every `decay_every` steps (paper A.3.1, A.4)."""

    steps: int
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    decay_every: int
    decay: float

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        return self.learning_rate * self.decay ** (step // self.decay_every)

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> "ScheduledOptimizer":
        """SGD on these parameters."""
        optimizer = torch.optim.SGD(
            parameters, lr=self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay
        )
        return ScheduledOptimizer(optimizer, self.rate)


@dataclass(frozen=True)
class ScheduledOptimizer:
    """An optimiser, and the learning rate that it takes at each step.

    Attributes:
        optimizer: any of torch whose state is tensors, which checkpoints hold.
        rate: step → learning rate, a function of the step alone.
    """

    optimizer: Optimizer
    rate: Callable[[int], float]


def train(
    accelerator: Accelerator,
    model: nn.Module,
    schedule: Schedule,
    images: int,
    seed: int,
    loss_of: LossOf,
    checkpoint: Checkpoint | None = None,
    after_step: Progress | None = None,
    records: bool = True,
) -> None:
    """Train one network in place, see `train_together`."""

    def loss_of_all(models: Models, wrapped: Models, indices: Tensor, step: int | Tensor) -> Tensor:
        return loss_of(models["model"], wrapped["model"], indices, step)

    networks = {"model": model}
    train_together(accelerator, networks, schedule, images, seed, loss_of_all, checkpoint, after_step, records=records)


def train_together(
    accelerator: Accelerator,
    models: Models,
    schedule: Schedule,
    images: int,
    seed: int,
    loss_of: LossOfAll,
    checkpoint: Checkpoint | None = None,
    after_step: Progress | None = None,
    optimizers: Mapping[str, ScheduledOptimizer] | None = None,
    records: bool = True,
) -> None:
    """Train networks in place, side by side on the same batches. Each learns from its own part of the loss.

    Args:
        accelerator: decides device and processes.
        models: the networks by name; afterwards on the accelerator's device, holding the trained weights.
        schedule: how long, in which batches, and SGD for each network that no optimiser is given for. A batch is spread
            over the processes.
        images: how many images there are; a batch is never larger.
        seed: decides the order of the images.
        loss_of: the step.
        checkpoint: where to go on, and where to save. Rows that it keeps go back to where the training goes on.
        after_step: called after each step with (steps done, steps in all); it may look at the models.
        optimizers: by name, each of parameters of these networks; the others get SGD, under their own name.
        records: on a GPU, record the steps of a single process with SGD and replay them, see `steps.RecordedSteps`;
            that cannot be where the loss reads numbers on the host.

    Raises:
        ValueError: a name that a checkpoint cannot hold, or an optimiser of parameters of no network here.
        InputError: more processes than images in a batch; a checkpoint that does not belong here.
        NonFiniteLossError: nothing is saved that was updated with it.
    """
    scheduled = _with_defaults(models, schedule, optimizers or {})
    plain = {name: each.optimizer for name, each in scheduled.items()}
    for model in models.values():
        model.to(accelerator.device)
    first = _take_up(accelerator, checkpoint, models, plain) if checkpoint else 0
    learning = [parameter for optimizer in plain.values() for parameter in list_parameters(optimizer)]
    wrapped, wrapped_optimizers = wrap(accelerator, models, list(plain.values()))
    batch_size = min(schedule.batch_size, images)
    if batch_size < accelerator.num_processes:
        raise InputError(f"{accelerator.num_processes} processes for batches of {batch_size}; start fewer processes")
    loss_of_step = partial(loss_of, models, wrapped)
    is_plain = accelerator.num_processes == 1 and all(type(each) is torch.optim.SGD for each in plain.values())
    recorder = recorder_of(accelerator.device) if records and is_plain else None
    steps: Steps = DirectSteps(accelerator, models, wrapped_optimizers, learning, loss_of_step)
    if recorder is not None:
        steps = RecordedSteps(loss_of_step, wrapped_optimizers, learning, recorder, accelerator.device)
    with forgotten(accelerator), closing(steps), memory_kept(accelerator.device), signals_held() as stop:
        for step in range(first, schedule.steps):
            for each in scheduled.values():
                for group in each.optimizer.param_groups:
                    group["lr"] = each.rate(step)
            indices = batch_indices(seed, step, images, batch_size)
            mine = indices[accelerator.process_index :: accelerator.num_processes].to(accelerator.device)
            for network in wrapped.values():
                network.train()
            weight = len(mine) * accelerator.num_processes / batch_size
            asked = steps.take(mine, step, weight, stop)
            is_last = bool(asked) or step + 1 == schedule.steps
            is_saved = checkpoint is not None and accelerator.is_main_process and (is_last or checkpoint.is_due)
            if is_last or is_saved:
                steps.check()
            if after_step:
                after_step(step + 1, schedule.steps)
            if checkpoint is not None and is_saved:
                checkpoint.save(collect(models, plain), step + 1)
            if asked:
                stop.obey(asked)


def _with_defaults(
    models: Models, schedule: Schedule, given: Mapping[str, ScheduledOptimizer]
) -> dict[str, ScheduledOptimizer]:
    """The given optimisers, and SGD for each network that has learning parameters and none of them.

    Raises:
        ValueError: see `train_together`.
    """
    for name in (*models, *given):
        if "." in name or name == "optimizer":
            raise ValueError(
                f"{name!r} cannot name a network or an optimiser in a checkpoint; use another word, no dot"
            )
    known = {parameter for model in models.values() for parameter in model.parameters()}
    taken: set[nn.Parameter] = set()
    for name, each in given.items():
        own = set(list_parameters(each.optimizer))
        if not own <= known:
            raise ValueError(
                f"the optimiser {name} has parameters of no network here, and no checkpoint would hold them"
            )
        if own & taken:
            raise ValueError(f"the optimiser {name} has parameters that another one has, too; give each to one")
        taken |= own
    scheduled = dict(given)
    for name, model in models.items():
        parameters = list(model.parameters())
        if not parameters or not taken.isdisjoint(parameters):
            continue
        if name in given:
            raise ValueError(f"the optimiser {name} has no parameters of the network {name}; give it another name")
        scheduled[name] = schedule.optimizer(parameters)
    return scheduled


def _take_up(
    accelerator: Accelerator, checkpoint: Checkpoint, models: Models, optimizers: Mapping[str, Optimizer]
) -> int:
    """Go on from the last state; the first process tells the others, who may not see its folder.

    Returns:
        The finished steps.

    Raises:
        InputError: see `Checkpoint.load` and `restore`; on every process.
    """
    first, failure = 0, None
    state: dict[str, Tensor] = {}
    if accelerator.is_main_process:
        try:
            first, state = checkpoint.load()
        except InputError as error:
            failure = str(error)
    first, failure = broadcast_object_list([first, failure])
    if failure:
        raise InputError(failure)
    if first:
        restore(share(accelerator, state), models, optimizers)
    return first
