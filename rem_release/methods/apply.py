"""The ordered pass that makes the noise that ships: every image once, in fixed-size batches."""

from collections.abc import Iterator
from functools import partial

import torch
from accelerate import Accelerator
from torch import Tensor

from rem_release.methods.maker import ImageSet, InSteps, Maker
from rem_release.training.loop import Progress
from rem_release.training.memory import memory_kept


def make_noise_in_order(
    accelerator: Accelerator, maker: Maker, image_set: ImageSet, done: int = 0, report: Progress | None = None
) -> Iterator[tuple[int, Tensor]]:
    """Noise of all images from `done` on, in the maker's order: (place of the first, int8 [n, 3, R, R] on the CPU).

    Batches have one fixed size, the last is padded with its own first image, and whole batches are dealt to the
    processes in turn, so the noise of an image does not depend on how many processes there are. `done` must be one of
    the indices that an earlier pass yielded plus its count. `report` is told within a batch, by makers `InSteps`.
    """
    batch_size, order = min(maker.batch_size, len(image_set)), maker.order(image_set)
    processes, rank = accelerator.num_processes, accelerator.process_index
    for start in range(done, len(image_set), batch_size * processes):
        mine = min(start + rank * batch_size, len(image_set) - 1)
        places = torch.arange(mine, mine + batch_size)
        places[places >= len(image_set)] = mine
        if report and isinstance(maker, InSteps):
            maker.after_step = partial(_report_part, report, start, batch_size * processes, len(image_set))
        with memory_kept(accelerator.device):
            levels = accelerator.gather(maker.make_noise(image_set, order[places].to(accelerator.device)))
        yield start, levels[: len(image_set) - start].cpu()


def _report_part(report: Progress, start: int, dealt: int, images: int, done: int, total: int) -> None:
    """Of batches that begin at `start` so many steps are done; that all are, the pass itself says."""
    if done < total:
        report(min(start + dealt * done // total, images - 1), images)


def padded_count(images: int, batch_size: int, processes: int = 1) -> int:
    """How many images the pass computes in all processes together, the padding included."""
    dealt = min(batch_size, images) * processes
    return -(-images // dealt) * dealt
