"""A network while its inputs are optimised: in eval mode, without gradients of its parameters, and computed as fast as
that allows."""

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from rem_release.core.pgd import frozen_in_eval_mode


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """What to call in the place of a network while inputs are optimised. Until leaving, the network is in eval mode and
    its parameters have no gradients.

    One that was given to `fold` is computed by its folded copy, with its present weights and statistics.
    """
    with frozen_in_eval_mode(model):
        if folded := _FOLDED.get(model):
            folded.renew()
        yield folded or model


def fold(model: nn.Module, dtype: torch.dtype, compiles: bool = False) -> bool:
    """Have `frozen` compute a network by a copy: BatchNorm folded into convolutions, all of it in one type.

    Args:
        model: on its device.
        dtype: that the copy computes in.
        compiles: let torch.compile fuse what is left; it takes tens of seconds at the first call.

    Returns:
        Whether it will; torch.fx may not be able to follow the network, which then stays as it is.
    """
    _FOLDED.pop(model, None)
    try:
        _FOLDED[model] = FoldedCopy(model, dtype, compiles)
    except FoldingError:
        return False
    return True


class FoldingError(Exception):
    """torch.fx cannot follow a network."""


class FoldedCopy(nn.Module):
    """A network in eval mode whose BatchNorm is part of the convolutions before it, and that computes in one type.

    In eval mode BatchNorm is one scale and one shift a channel, which weights and bias of a convolution can hold: the
    same function, to rounding. Where something else stands before it, as in DenseNet, it stays. Images stay float32
    until the first layer that has weights: in bfloat16 a step of PGD would be lost before they are centred.

    Args:
        model: what is copied.
        dtype: see `fold`.
        compiles: see `fold`.

    Raises:
        FoldingError: torch.fx cannot follow it.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype, compiles: bool = False) -> None:
        super().__init__()
        copied = copy.deepcopy(model).eval().requires_grad_(False)
        copied.__dict__.pop("forward", None)  # one that computes under autocast
        try:
            network = fx.symbolic_trace(copied)
        except (fx.proxy.TraceError, TypeError, ValueError, RuntimeError) as error:
            raise FoldingError(str(error)) from error
        folded = _fold_batchnorm(network)
        _cast_inputs(network, dtype)
        self.network = network.to(dtype).to(memory_format=torch.channels_last)
        self._compute = torch.compile(self.network) if compiles else self.network
        given, own = _tensors(model), _tensors(self.network)
        apart = {f"{name}.{part}" for name in folded for part in ("weight", "bias")}
        self._renewed = [(own[name], given[name]) for name in own if name not in apart]
        self._pairs = [
            (
                cast(nn.Conv2d, self.network.get_submodule(convolution)),
                cast(nn.Conv2d, model.get_submodule(convolution)),
                cast(nn.BatchNorm2d, model.get_submodule(norm)),
            )
            for convolution, norm in folded.items()
        ]

    @torch.no_grad()
    def renew(self) -> None:
        """Take over weights and statistics as they are now."""
        for own, given in self._renewed:
            own.copy_(given)
        for folded, plain, norm in self._pairs:
            mean, var = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
            weight, bias = fuse_conv_bn_weights(plain.weight, plain.bias, mean, var, norm.eps, norm.weight, norm.bias)
            folded.weight.copy_(weight)
            cast(Tensor, folded.bias).copy_(bias)

    def forward(self, images: Tensor) -> Tensor:
        """float32 [N, 3, R, R] → what the network answers, float32."""
        return self._compute(images).float()


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _fold_batchnorm(network: fx.GraphModule) -> dict[str, str]:
    """Leave out each BatchNorm that alone reads a convolution; the convolution's name → that of its BatchNorm."""
    modules, folded = dict(network.named_modules()), {}
    called = Counter(node.target for node in network.graph.nodes if node.op == "call_module")
    for node in list(network.graph.nodes):
        norm, before = modules.get(str(node.target)), node.args[0] if node.args else None
        if node.op != "call_module" or not isinstance(norm, nn.BatchNorm2d) or not isinstance(before, fx.Node):
            continue
        convolution = modules.get(str(before.target)) if before.op == "call_module" else None
        is_read_alone = isinstance(convolution, nn.Conv2d) and len(before.users) == 1 and called[before.target] == 1
        if not is_read_alone or norm.running_mean is None:
            continue
        assert isinstance(convolution, nn.Conv2d)
        if convolution.bias is None:
            zeros = convolution.weight.new_zeros(convolution.out_channels)
            convolution.bias = nn.Parameter(zeros, requires_grad=False)
        folded[str(before.target)] = str(node.target)
        node.replace_all_uses_with(before)
        network.graph.erase_node(node)
    network.delete_all_unused_submodules()
    network.recompile()
    return folded


def _cast_inputs(network: fx.GraphModule, dtype: torch.dtype) -> None:
    """Convert what was computed from the images alone where a layer first reads it."""
    graph, plain = network.graph, set[fx.Node]()
    for node in list(graph.nodes):
        if node.op == "placeholder" or (
            node.op in ("call_function", "call_method")
            and node.all_input_nodes
            and plain.issuperset(node.all_input_nodes)
        ):
            plain.add(node)
    for node in plain:
        readers = [reader for reader in node.users if reader.op == "call_module"]
        if readers:
            with graph.inserting_after(node):
                converted = graph.call_method("to", (node, dtype))
            for reader in readers:
                reader.replace_input_with(node, converted)
    network.recompile()


_FOLDED: WeakKeyDictionary[nn.Module, FoldedCopy] = WeakKeyDictionary()
