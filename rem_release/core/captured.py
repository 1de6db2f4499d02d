"""CUDA graphs: what a function of tensors launches on a GPU, recorded once and launched again as one piece."""

import warnings
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

Shapes = tuple[tuple[torch.Size, torch.dtype], ...]

_DIRECT = 2
"""calls of each shape before it is recorded, in which libraries choose their algorithms and take their workspace"""
_RECORDINGS = 2
"""shapes that are recorded; others are computed as they come"""


class Captured:
    """A function of tensors that is called twice as it is, then recorded for the shapes of its inputs, and replayed.

    All that changes from call to call must be in its inputs, or in tensors that stay where they lie, such as weights:
    what it reads on the host is read when it is recorded, and never again. It may change tensors that lie outside. What
    waits for the device cannot be recorded; the function is then called as it is, with a warning, and so it is, without
    one, on a CPU and inside another recording.

    Args:
        function: of tensors on one device; gives one tensor.
        records: False calls it as it is on a GPU, too.
    """

    def __init__(self, function: Callable[..., Tensor], records: bool = True) -> None:
        self._function = function
        self._calls: Counter[Shapes] = Counter()
        self._recordings: dict[Shapes, _Recording] = {}
        self._records = records

    def __call__(self, *inputs: Tensor) -> Tensor:
        """What the function gives, a tensor of its own."""
        if not self._records or inputs[0].device.type != "cuda" or torch.cuda.is_current_stream_capturing():
            return self._function(*inputs)
        shapes = tuple((each.shape, each.dtype) for each in inputs)
        if shapes not in self._recordings:
            self._calls[shapes] += 1
            if self._calls[shapes] <= _DIRECT or len(self._recordings) == _RECORDINGS:
                return _call_aside(self._function, inputs)
            try:
                self._recordings[shapes] = _Recording(self._function, inputs)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                self._records = False
                reason = str(error).splitlines()[0]
                warnings.warn(f"no CUDA graph could be recorded, which is slower ({reason})", stacklevel=2)
                return self._function(*inputs)
        return self._recordings[shapes].replay(inputs)


def _call_aside(function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> Tensor:
    """Call it on a stream of its own, as what is recorded later has to be called before."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        output = function(*inputs)
    torch.cuda.current_stream().wait_stream(stream)
    return output


class _Recording:
    """One recorded call, and the memory that its tensors lie in."""

    def __init__(self, function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> None:
        self._inputs = [each.detach().clone() for each in inputs]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = function(*self._inputs).detach()

    def replay(self, inputs: tuple[Tensor, ...]) -> Tensor:
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._graph.replay()
        return self._output.clone()
