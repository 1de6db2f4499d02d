"""Memory of freed tensors is kept while networks compute, goes back afterwards, and changes no bit."""

import os
import resource
import sys

import pytest
import torch
from accelerate import Accelerator

from rem_release.models import build_model
from rem_release.training import memory
from rem_release.training.loop import Schedule, train
from rem_release.training.memory import memory_kept
from tests.memory import read_status

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or "glibc" not in os.confstr("CS_GNU_LIBC_VERSION").lower(), reason="glibc alone"
)
CPU = torch.device("cpu")
BLOCKS, FLOATS = 32, 2 << 20
"""8 MiB each"""


def fill_blocks() -> None:
    """As a step does: all at once, and free again."""
    blocks = [torch.full((FLOATS,), float(i)) for i in range(BLOCKS)]
    assert float(blocks[-1][-1]) == BLOCKS - 1


def count_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def test_pages_are_touched_once_and_go_back_at_the_end() -> None:
    pages = BLOCKS * FLOATS * 4 // resource.getpagesize()
    with memory_kept(CPU):
        before = read_status("VmRSS")
        fill_blocks()
        with memory_kept(CPU):  # what leaves the inner one stays in the outer
            fill_blocks()
        first = count_faults()
        for _ in range(5):
            fill_blocks()
        assert count_faults() - first < pages / 10
        assert read_status("VmRSS") - before > BLOCKS * FLOATS * 3
    assert read_status("VmRSS") - before < BLOCKS * FLOATS  # a quarter of it


def test_it_ends_with_what_fails_inside() -> None:
    with pytest.raises(KeyError), memory_kept(CPU):
        raise KeyError
    assert memory._inside == 0


def test_a_training_is_the_same_to_the_bit_where_the_user_has_set_the_allocator(monkeypatch) -> None:
    x = torch.rand((40, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    schedule = Schedule(
        steps=3, batch_size=32, learning_rate=0.1, momentum=0.9, weight_decay=0, decay_every=9, decay=0.1
    )

    def trained() -> list[torch.Tensor]:
        memory._adjustable_libc.cache_clear()
        model = build_model("small_resnet", 10, 32, 0)

        def loss_of(model, wrapped, indices, step):
            assert memory._inside == (0 if is_set else 1)
            return torch.nn.functional.cross_entropy(wrapped(x[indices]), indices % 10)

        train(Accelerator(), model, schedule, len(x), 0, loss_of)
        return list(model.state_dict().values())

    is_set = False
    ours = trained()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    is_set = True
    theirs = trained()
    memory._adjustable_libc.cache_clear()
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
