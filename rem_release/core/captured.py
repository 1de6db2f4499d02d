"""Functions of tensors that are recorded once and then replayed as one piece: CUDA graphs."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

Function = Callable[..., Tensor]
Shapes = tuple[tuple[torch.Size, torch.dtype], ...]
_DIRECT = 2
"""calls of each shape before it is recorded, in which libraries choose their algorithms and take their workspace"""
_RECORDINGS = 2
"""shapes that are recorded; others are computed as they come"""


class Recording(Protocol):
    """One recorded call."""

    def replay(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """What the function gives of these inputs, a tensor of its own."""
        ...


class Recorder(Protocol):
    """A way to record."""

    def call(self, function: Function, inputs: tuple[Tensor, ...]) -> tuple[Tensor, bool]:
        """Call it as it is, before it is recorded: what it gives, and whether it waited for the device meanwhile."""
        ...

    def record(self, function: Function, inputs: tuple[Tensor, ...]) -> Recording:
        """Note what it does, which nothing has come of yet.

        Raises:
            RuntimeError: it cannot be recorded.
        """
        ...


class Captured:
    """A function of tensors that is called twice as it is, then recorded for the shapes of its inputs, and replayed.

    All that changes from call to call must be in its inputs, or in tensors that stay where they lie, such as weights:
    what it reads on the host is read when it is recorded, and never again. It may change tensors that lie outside. What
    waits for the device cannot be recorded; the function is then called as it is, with a warning.

    Args:
        function: of tensors on one device; gives one tensor.
        recorder: of that device, see `recorder_of`; None calls the function as it is.
    """

    def __init__(self, function: Function, recorder: Recorder | None) -> None:
        self._function = function
        self._recorder = recorder
        self._calls: Counter[Shapes] = Counter()
        self._recordings: dict[Shapes, Recording] = {}
        self.is_given_up = False
        """whether it turned out that the function cannot be recorded"""

    def __call__(self, *inputs: Tensor) -> Tensor:
        """What the function gives, a tensor of its own."""
        recorder = self._recorder
        if recorder is None or _busy:
            return self._function(*inputs)
        with _busy_meanwhile():
            return self._call(recorder, inputs)

    def _call(self, recorder: Recorder, inputs: tuple[Tensor, ...]) -> Tensor:
        shapes = tuple((each.shape, each.dtype) for each in inputs)
        if shapes not in self._recordings:
            self._calls[shapes] += 1
            if self._calls[shapes] <= _DIRECT or len(self._recordings) == _RECORDINGS:
                output, waited = recorder.call(self._function, inputs)
                if waited and self._calls[shapes] == _DIRECT:
                    self._give_up("it waits for the device")
                return output
            try:
                self._recordings[shapes] = recorder.record(self._function, inputs)
            except RuntimeError as error:  # too little memory for it, among others
                self._give_up(str(error).splitlines()[0])
                return self._function(*inputs)
        return self._recordings[shapes].replay(inputs)

    def _give_up(self, reason: str) -> None:
        self.is_given_up, self._recorder = True, None
        self._recordings.clear()
        warnings.warn(f"nothing could be recorded for replay, which is slower ({reason})", stacklevel=4)


_busy = False
"""whether a function is being called that is recorded as a whole: others inside are a part of it"""


@contextmanager
def _busy_meanwhile() -> Iterator[None]:
    global _busy
    _busy = True
    try:
        yield
    finally:
        _busy = False


def recorder_of(device: torch.device) -> Recorder | None:
    """CUDA graphs on a GPU, nothing elsewhere."""
    return _CudaGraphs() if device.type == "cuda" else None


class _CudaGraphs:
    """What a function launches on a GPU, launched again as one piece, in the memory that it was recorded in."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()

    def call(self, function: Function, inputs: tuple[Tensor, ...]) -> tuple[Tensor, bool]:
        """On a stream of its own, as what is recorded later has to be called before. Torch warns of what waits; to find
        that out by a recording that fails would leave torch's allocator waiting for its end."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream), warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            before = torch.cuda.get_sync_debug_mode()
            torch.cuda.set_sync_debug_mode("warn")
            try:
                output = function(*inputs)
            finally:
                torch.cuda.set_sync_debug_mode(before)
        torch.cuda.current_stream().wait_stream(self._stream)
        return output, any("synchronizing" in str(each.message) for each in told)

    def record(self, function: Function, inputs: tuple[Tensor, ...]) -> Recording:
        """See `Recorder`."""
        return _CudaGraph(function, inputs, self._stream)


class _CudaGraph:
    def __init__(self, function: Function, inputs: tuple[Tensor, ...], stream: torch.cuda.Stream) -> None:
        self._inputs = [each.detach().clone() for each in inputs]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=stream):
            self._output = function(*self._inputs).detach()

    def replay(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """See `Recording`."""
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._graph.replay()
        return self._output.clone()
