"""CUDA graphs: what a function of tensors launches on a GPU, recorded once and launched again as one piece."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

_WARM_UPS = 2
"""calls before a recording, in which libraries choose their algorithms and take their workspace"""
_RECORDINGS = 2
"""shapes that are recorded; others are computed as they come"""


class Captured:
    """A function of tensors that is recorded for the shapes it is called with first, and then replayed.

    It must not wait for the device, read numbers on the host or keep what it is given. What else it reads, such as
    weights, is read anew at each replay, where it lies. On a CPU the function is called as it is; so it is, with a
    warning, where it cannot be recorded.

    Args:
        function: of tensors on one device, or None in their place; gives one tensor.
        records: False calls it as it is on a GPU, too.
    """

    def __init__(self, function: Callable[..., Tensor], records: bool = True) -> None:
        self._function = function
        self._recordings: dict[tuple[object, ...], _Recording] = {}
        self._gave_up = not records

    def __call__(self, *inputs: Tensor | None) -> Tensor:
        """What the function gives, a tensor of its own."""
        given = [each for each in inputs if each is not None]
        if self._gave_up or not given or given[0].device.type != "cuda":
            return self._function(*inputs)
        shapes = tuple(None if each is None else (each.shape, each.dtype) for each in inputs)
        if shapes not in self._recordings:
            if len(self._recordings) == _RECORDINGS:
                return self._function(*inputs)
            try:
                self._recordings[shapes] = _Recording(self._function, inputs)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                self._gave_up = True
                reason = str(error).splitlines()[0]
                warnings.warn(f"no CUDA graph could be recorded, which is slower ({reason})", stacklevel=2)
                return self._function(*inputs)
        return self._recordings[shapes].replay(inputs)


class _Recording:
    """One recorded call, and the memory that its tensors lie in."""

    def __init__(self, function: Callable[..., Tensor], inputs: tuple[Tensor | None, ...]) -> None:
        self._inputs = [None if each is None else each.detach().clone() for each in inputs]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                function(*self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = function(*self._inputs).detach()

    def replay(self, inputs: tuple[Tensor | None, ...]) -> Tensor:
        for own, given in zip(self._inputs, inputs, strict=True):
            if own is not None and given is not None:
                own.copy_(given)
        self._graph.replay()
        return self._output.clone()
