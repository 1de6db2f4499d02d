"""What processes that train one network together do for each other; a single one is spared all of it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, broadcast_object_list
from torch import Tensor, nn
from torch.optim import Optimizer


def wrap(
    accelerator: Accelerator, models: Mapping[str, nn.Module], optimizers: list[Optimizer]
) -> tuple[Mapping[str, nn.Module], Sequence[Optimizer]]:
    """Networks and optimisers as several processes need them; a single one needs nothing.

    Accelerate's wrapper of an optimiser looks at each step for a package that is not there: 0.5 ms on a CPU, while the
    step of a small network takes 5.
    """
    if accelerator.num_processes == 1:
        return models, optimizers
    prepared = accelerator.prepare(*models.values(), *optimizers)
    return dict(zip(models, prepared, strict=False)), prepared[len(models) :]


@contextmanager
def forgotten(accelerator: Accelerator) -> Iterator[None]:
    """Let accelerate forget what it wrapped at the end, also of a training that fails: it would stay on the device."""
    try:
        yield
    finally:
        if accelerator.num_processes > 1 or accelerator.device.type == "cuda":
            accelerator.free_memory()


def differentiate(accelerator: Accelerator, loss: Tensor, weight: float) -> None:
    """Leave in each parameter the gradient of the mean over the batch of all processes.

    Args:
        accelerator: the processes.
        loss: mean over the images of this process.
        weight: of them, 1 where every process has as many.
    """
    if accelerator.num_processes == 1:
        loss.backward()
    else:
        accelerator.backward(loss * weight)


def agree(accelerator: Accelerator, loss: Tensor, signal_number: int) -> int | None:
    """What all processes know of each other after a step's loss: the signal that reached one of them, 0 for none; None
    where the loss of one of them is not finite.

    One process that stopped alone would leave the others waiting for it.
    """
    if accelerator.num_processes == 1:
        return signal_number if math.isfinite(loss.item()) else None
    is_broken = ~torch.isfinite(loss.detach()).reshape(1)
    mine = torch.cat([is_broken.float(), torch.full((1,), float(signal_number), device=loss.device)])
    broken, number = accelerator.gather(mine).view(-1, 2).amax(0).tolist()
    return None if broken else int(number)


def average_buffers(accelerator: Accelerator, model: nn.Module) -> None:
    """Give every process the mean BatchNorm statistics, so that PGD on each reads the same model."""
    if accelerator.num_processes == 1:
        return
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.copy_(accelerator.reduce(buffer, reduction="mean"))


def share(accelerator: Accelerator, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the first process, on every process."""
    if accelerator.num_processes == 1:
        return state
    shapes = broadcast_object_list([[(name, tensor.shape, tensor.dtype) for name, tensor in state.items()]])[0]
    shared = {}
    for name, shape, dtype in shapes:
        mine = state[name] if accelerator.is_main_process else torch.empty(shape, dtype=dtype)
        shared[name] = broadcast(mine.to(accelerator.device)).cpu()
    return shared
