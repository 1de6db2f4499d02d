"""Run by two processes in tests: trains a few steps together and writes what each process ends with.

`python -m accelerate.commands.launch ... tests/two_processes.py OUT frozen|running`
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from rem_release.training import runtime
from rem_release.training.loop import Schedule, train

IMAGES, STEPS, BATCH = 12, 5, 5
SCHEDULE = Schedule(
    steps=STEPS, batch_size=BATCH, learning_rate=0.1, momentum=0.9, weight_decay=5e-4, decay_every=3, decay=0.1
)


def make() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A small network with BatchNorm, whose statistics are not those of the start, and its data."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)).double()
    images, labels = torch.rand((IMAGES, 5), dtype=torch.float64), torch.arange(IMAGES) % 2
    model(images)
    return model, images, labels


def run(accelerator, is_frozen: bool) -> tuple[nn.Module, list[dict[str, torch.Tensor]]]:
    """Train; returns the network, and its buffers after each step."""
    model, images, labels = make()
    buffers = []

    def loss_of(model, wrapped, indices, step):
        if is_frozen:
            model[1].eval()
        return nn.functional.cross_entropy(wrapped(images[indices]), labels[indices])

    def after_step(done, total):
        buffers.append({name: buffer.clone() for name, buffer in model.named_buffers()})

    train(accelerator, model, SCHEDULE, IMAGES, 0, loss_of, after_step=after_step)
    return model, buffers


if __name__ == "__main__":
    accelerator = runtime.start()
    model, buffers = run(accelerator, sys.argv[2] == "frozen")
    state = {f"model.{name}": tensor.contiguous() for name, tensor in model.state_dict().items()}
    state |= {f"{step}.{name}": tensor for step, all_of in enumerate(buffers) for name, tensor in all_of.items()}
    save_file(state, Path(sys.argv[1]) / f"{accelerator.process_index}-of-{accelerator.num_processes}.safetensors")
