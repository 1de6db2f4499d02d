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

    def call(self, function: Function, inputs: tuple[Tensor, ...]) -> Tensor:
        """Call it as it is, before it is recorded."""
        ...

    def record(self, function: Function, inputs: tuple[Tensor, ...]) -> Recording:
        """Note what it does, which nothing has come of yet.

        Raises:
            RuntimeError: it waits for the device.
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
                return recorder.call(self._function, inputs)
            try:
                self._recordings[shapes] = recorder.record(self._function, inputs)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                self._recorder = None
                reason = str(error).splitlines()[0]
                warnings.warn(f"nothing could be recorded for replay, which is slower ({reason})", stacklevel=2)
                return self._function(*inputs)
        return self._recordings[shapes].replay(inputs)


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

    def call(self, function: Function, inputs: tuple[Tensor, ...]) -> Tensor:
        """On a stream of its own, as what is recorded later has to be called before."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            output = function(*inputs)
        torch.cuda.current_stream().wait_stream(self._stream)
        return output

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
