"""A training on a GPU whose steps are recorded and replayed, where the launches of a small network take longer than its
arithmetic."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from rem_release.core.captured import Captured, Recorder
from rem_release.errors import NonFiniteLossError

Take = Callable[[Tensor, Tensor], Tensor]
"""(indices int64 [B], step int64 []) → loss, a scalar whose gradients are taken"""
CHECKED_EVERY = 50
"""steps after which is looked whether all losses were finite: looking waits for the device"""


class RecordedSteps:
    """Takes the steps of a training: gradients of the loss, and an update of every optimiser.

    Learning rates are tensors here, so that a recording reads them anew. Whether losses are finite is noted on the
    device, and asked for with `check`; until then weights were updated with what was not.

    Args:
        loss_of: the step's loss.
        optimizers: plain SGD, which torch has an update in one piece for.
        recorder: of the device.
        device: where it is computed.
    """

    def __init__(
        self, loss_of: Take, optimizers: Sequence[Optimizer], recorder: Recorder, device: torch.device
    ) -> None:
        self._loss_of = loss_of
        self._optimizers = optimizers
        self._first_fault = torch.tensor([-1.0, 0.0], dtype=torch.float64, device=device)
        self._step = Captured(self._take, recorder)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["fused"], group["foreach"] = True, False
                group["lr"] = torch.full((), float(group["lr"]), dtype=torch.float32, device=device)

    def take(self, indices: Tensor, step: int, rates: Mapping[int, float]) -> None:
        """Take one step.

        Args:
            indices: int64 [B] of the images, on the device.
            step: its number.
            rates: the learning rate of each optimiser, by its place.
        """
        for place, rate in rates.items():
            for group in self._optimizers[place].param_groups:
                group["lr"].fill_(rate)
        self._step(indices, torch.full((), step, dtype=torch.int64, device=indices.device))

    def check(self) -> None:
        """Wait for the device, and see whether all losses were finite.

        Raises:
            NonFiniteLossError: one was not; what was learnt since is worth nothing.
        """
        step, loss = self._first_fault.tolist()
        if step >= 0:
            raise NonFiniteLossError(f"the training loss is {loss} at step {step:.0f}")

    def _take(self, indices: Tensor, step: Tensor) -> Tensor:
        loss = self._loss_of(indices, step)
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in self._optimizers:
            optimizer.step()
        told = loss.detach().double()
        is_first = ~told.isfinite() & (self._first_fault[0] < 0)
        self._first_fault.copy_(torch.where(is_first, torch.stack([step.double(), told]), self._first_fault))
        return told
