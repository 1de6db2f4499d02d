"""What the convolutions of victims compute in, as tests see it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from rem_release.audit import victim
from rem_release.training.precision import Precision


class Seen(NamedTuple):
    """What a convolution computes in, and how torch is set then."""

    dtype: torch.dtype
    is_channels_last: bool
    is_tf32: bool


def expect(precision: Precision) -> set[Seen]:
    """All that is seen of a victim."""
    return {Seen(torch.bfloat16 if precision == "bf16" else torch.float32, True, precision == "tf32")}


@contextmanager
def convolutions_seen() -> Iterator[list[Seen]]:
    """Every convolution that victims compute meanwhile; at the end torch has its own setting of TF32 again."""
    notes: list[Seen] = []
    before, build = torch.backends.cudnn.allow_tf32, victim.build_victim

    def note(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        is_last = module.weight.is_contiguous(memory_format=torch.channels_last)
        notes.append(Seen(output.dtype, is_last, torch.backends.cudnn.allow_tf32))

    def watch(*given: object) -> nn.Module:
        model = build(*given)  # type: ignore[arg-type]
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(note)
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(victim, "build_victim", watch)
        yield notes
    torch.backends.cudnn.allow_tf32 = before
