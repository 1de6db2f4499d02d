"""A CUDA graph on a CPU: the operations on tensors that a function does, noted in order, and done again in the memory
in which they were done first. As there, whatever was read on the host is a constant, and reading a tensor's number on
the host is refused."""

from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from rem_release.core.captured import Function, Recording


class CpuRecorder:
    """See `rem_release.core.captured.Recorder`."""

    def __init__(self) -> None:
        self.recorded = 0
        self.alive: WeakSet[CpuGraph] = WeakSet()

    def call(self, function: Function, inputs: tuple[Tensor, ...]) -> tuple[Tensor, bool]:
        with _Waits() as waits:
            output = function(*inputs)
        return output, waits.seen

    def record(self, function: Function, inputs: tuple[Tensor, ...]) -> Recording:
        self.recorded += 1
        graph = CpuGraph(function, inputs)
        self.alive.add(graph)
        return graph


class CpuGraph:
    """A recorded call. Unlike that of a GPU it does what it records at once, and takes it back for tensors outside."""

    def __init__(self, function: Function, inputs: tuple[Tensor, ...]) -> None:
        self._inputs = [each.detach().clone() for each in inputs]
        with _Notes() as notes:
            self._output = function(*self._inputs).detach()
        self._notes = notes.notes
        notes.undo()

    def replay(self, inputs: tuple[Tensor, ...]) -> Tensor:
        with torch.no_grad():
            for own, given in zip(self._inputs, inputs, strict=True):
                own.copy_(given)
            for function, args, kwargs, outputs in self._notes:
                for own, new in zip(outputs, _tensors(function(*args, **kwargs)), strict=True):
                    if own.data_ptr() != new.data_ptr():
                        own.copy_(new)
            return self._output.clone()


_WAITING = {
    getattr(torch.ops.aten, name).default
    for name in ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "_unique2", "equal")
}
"""what reads on the host, or whose shape hangs on numbers"""


class _Waits(TorchDispatchMode):
    """Sees what would wait for a device."""

    seen = False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen |= function in _WAITING
        return function(*args, **(kwargs or {}))


class _Notes(TorchDispatchMode):
    """Notes what is done, and what tensors were before it."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self._before: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in _WAITING:
            raise RuntimeError("operation not permitted when stream is capturing")
        if function is torch.ops.aten.native_batch_norm.default:  # whose schema does not say that statistics change
            self._before += [(tensor, tensor.clone()) for tensor in _tensors(args[3:5])]
        if function._schema.is_mutable:
            changed = [given for given, told in zip(args, function._schema.arguments, strict=False) if told.is_write]
            self._before += [(tensor, tensor.clone()) for tensor in _tensors([*changed, kwargs])]
        output = function(*args, **kwargs)
        self.notes.append((function, args, kwargs, _tensors(output)))
        return output

    def undo(self) -> None:
        """What was changed becomes what it was, for a recording changes nothing."""
        with torch.no_grad():
            for tensor, before in reversed(self._before):
                tensor.copy_(before)


def _tensors(values: Any) -> list[Tensor]:
    return [each for each in tree_flatten(values)[0] if isinstance(each, Tensor)]
