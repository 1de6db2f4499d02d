"""A training on a GPU whose steps are recorded and replayed, where the launches of a small network take longer than its
arithmetic."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from rem_release.core.captured import Captured, Recorder
from rem_release.errors import NonFiniteLossError

CHECKED_EVERY = 50
"""steps after which is looked whether all losses were finite: looking waits for the device"""


class RecordedSteps:
    """Takes the steps of a training: gradients of the loss, and an update by every optimiser.

    A recording holds the learning rates, so another one begins with each change of them. Whether losses are finite is
    noted on the device, and asked for with `check`; until then weights were updated with what was not.

    Args:
        loss_of: (indices int64 [B], step int64 []) → the step's loss, a scalar.
        optimizers: of the networks that it reads.
        recorder: of the device.
        device: where it is computed.
    """

    def __init__(
        self,
        loss_of: Callable[[Tensor, Tensor], Tensor],
        optimizers: Sequence[Optimizer],
        recorder: Recorder,
        device: torch.device,
    ) -> None:
        self._loss_of = loss_of
        self._optimizers = optimizers
        self._recorder = recorder
        self._first_fault = torch.tensor([-1.0, 0.0], dtype=torch.float64, device=device)
        self._rates: list[float] = []
        self._step = Captured(self._update, recorder)

    def take(self, indices: Tensor, step: int) -> None:
        """Take one step, int64 [B] of the images on the device, with the rates that the optimisers have now."""
        rates = [float(group["lr"]) for optimizer in self._optimizers for group in optimizer.param_groups]
        if rates != self._rates:
            self._rates = rates
            self._step = Captured(self._update, self._recorder)
        self._step(indices, torch.full((), step, dtype=torch.int64, device=indices.device))

    def check(self) -> None:
        """Wait for the device, and see whether all losses were finite.

        Raises:
            NonFiniteLossError: one was not; what was learnt since is worth nothing.
        """
        step, loss = self._first_fault.tolist()
        if step >= 0:
            raise NonFiniteLossError(f"the training loss is {loss} at step {step:.0f}")

    def _update(self, indices: Tensor, step: Tensor) -> Tensor:
        loss = self._loss_of(indices, step)
        for optimizer in self._optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in self._optimizers:
            optimizer.step()
        told = loss.detach().double()
        is_first = ~told.isfinite() & (self._first_fault[0] < 0)
        self._first_fault.copy_(torch.where(is_first, torch.stack([step.double(), told]), self._first_fault))
        return told
