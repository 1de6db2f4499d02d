"""One step of a training: gradients of a loss, and an update by every optimiser; as it comes, or on a GPU recorded and
replayed, where the launches of a small network take longer than its arithmetic."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from rem_release.core.captured import Captured, Recorder
from rem_release.errors import NonFiniteLossError
from rem_release.training.processes import agree, average_buffers, differentiate
from rem_release.training.stopping import Stop

StepLoss = Callable[[Tensor, int | Tensor], Tensor]
"""(indices int64 [B] of this process, step) → mean loss over them, a scalar."""
_CHECKED_EVERY = 50
"""recorded steps after which is looked whether all losses were finite: looking waits for the device"""


class Steps(Protocol):
    """The steps of one training."""

    def take(self, indices: Tensor, step: int, weight: float, stop: Stop) -> int:
        """Take one, with the rates that the optimisers have now.

        Args:
            indices: int64 [B] of the images, on the device.
            step: its number.
            weight: of the mean over these images, 1 where every process has as many.
            stop: which signal has reached this process.

        Returns:
            The signal that reached one of the processes, 0 for none.

        Raises:
            NonFiniteLossError: the loss is not finite.
        """
        ...

    def check(self) -> None:
        """Make sure that all losses so far were finite.

        Raises:
            NonFiniteLossError: one was not; what was learnt since is worth nothing.
        """
        ...

    def close(self) -> None:
        """Let go of what was recorded; no step is taken any more."""
        ...


class DirectSteps:
    """Steps as they come: nothing is updated with a loss that is not finite.

    Args:
        accelerator: the processes.
        models: by name.
        optimizers: of them, as the processes need them.
        learning: what these change.
        loss_of: the step's loss.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        models: Mapping[str, nn.Module],
        optimizers: Sequence[Optimizer],
        learning: Sequence[nn.Parameter],
        loss_of: StepLoss,
    ) -> None:
        self._accelerator = accelerator
        self._models = models
        self._optimizers = optimizers
        self._learning = learning
        self._loss_of = loss_of

    def take(self, indices: Tensor, step: int, weight: float, stop: Stop) -> int:
        """See `Steps`."""
        loss = self._loss_of(indices, step)
        asked = agree(self._accelerator, loss, stop.number)
        if asked is None:
            raise NonFiniteLossError(f"the training loss is {loss.item()} at step {step}")
        for parameter in self._learning:
            parameter.grad = None
        differentiate(self._accelerator, loss, weight)
        for optimizer in self._optimizers:
            optimizer.step()
        for model in self._models.values():
            average_buffers(self._accelerator, model)
        return asked

    def check(self) -> None:
        """See `Steps`; there is nothing that `take` did not see."""

    def close(self) -> None:
        """See `Steps`."""


class RecordedSteps:
    """Steps of a single process, recorded and replayed. A recording holds the learning rates, so another one begins
    with each change of them. Whether losses are finite is noted on the device, and looked at now and then; until then
    weights are updated with what is not.

    Args:
        loss_of: the step's loss; all that changes from step to step it has from its arguments.
        optimizers: of the networks that it reads, plain SGD: what others count on the host would be recorded as it is.
        learning: what these change.
        recorder: of the device.
        device: where it is computed.
    """

    def __init__(
        self,
        loss_of: StepLoss,
        optimizers: Sequence[Optimizer],
        learning: Sequence[nn.Parameter],
        recorder: Recorder,
        device: torch.device,
    ) -> None:
        self._loss_of = loss_of
        self._optimizers = optimizers
        self._learning = learning
        self._recorder = recorder
        self._first_fault = torch.tensor([-1.0, 0.0], dtype=torch.float64, device=device)
        self._rates: list[float] = []
        self._update_once: Captured | None = Captured(self._update, recorder)

    def take(self, indices: Tensor, step: int, weight: float, stop: Stop) -> int:
        """See `Steps`; a loss that is not finite may be told of later."""
        rates = [float(group["lr"]) for optimizer in self._optimizers for group in optimizer.param_groups]
        assert self._update_once is not None
        if rates != self._rates and not self._update_once.is_given_up:
            self._rates = rates
            self._update_once = Captured(self._update, self._recorder)
        self._update_once(indices, torch.full((), step, dtype=torch.int64, device=indices.device))
        if step % _CHECKED_EVERY == 0:
            self.check()
        return stop.number

    def check(self) -> None:
        """See `Steps`; waits for the device."""
        step, loss = self._first_fault.tolist()
        if step >= 0:
            raise NonFiniteLossError(f"the training loss is {loss} at step {step:.0f}")

    def close(self) -> None:
        """See `Steps`: it would keep its memory, for it holds itself, until Python collects what does."""
        self._update_once = None

    def _update(self, indices: Tensor, step: Tensor) -> Tensor:
        loss = self._loss_of(indices, step)
        for parameter in self._learning:
            parameter.grad = None
        loss.backward()
        for optimizer in self._optimizers:
            optimizer.step()
        told = loss.detach().double()
        is_first = ~told.isfinite() & (self._first_fault[0] < 0)
        self._first_fault.copy_(torch.where(is_first, torch.stack([step.double(), told]), self._first_fault))
        return told
