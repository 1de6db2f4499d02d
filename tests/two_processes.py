"""Run by two processes in tests: trains a few steps together and writes what each process ends with.

`python -m accelerate.commands.launch ... tests/two_processes.py OUT frozen|running|resumed`
"""

import sys
from contextlib import suppress
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from rem_release.training import runtime
from rem_release.training.checkpoints import Checkpoint
from rem_release.training.loop import Schedule, ScheduledOptimizer, train, train_together

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


def train_two(accelerator, checkpoint=None, stop_at=None) -> dict[str, torch.Tensor]:
    """Two networks, one by Adam and one by SGD; the weights of both."""
    models = {"adam": make()[0], "sgd": make()[0]}
    _, images, labels = make()
    optimizers = {"adam": ScheduledOptimizer(torch.optim.Adam(models["adam"].parameters()), lambda step: 0.01)}

    def loss_of(plain, wrapped, indices, step):
        if step == stop_at:
            raise KeyboardInterrupt
        return sum(nn.functional.cross_entropy(model(images[indices]), labels[indices]) for model in wrapped.values())

    with suppress(KeyboardInterrupt):
        train_together(accelerator, models, SCHEDULE, IMAGES, 0, loss_of, checkpoint, optimizers=optimizers)
    return {f"{name}.{key}": tensor for name, model in models.items() for key, tensor in model.state_dict().items()}


def resume(accelerator, folder: Path) -> dict[str, torch.Tensor]:
    """What a training that was never stopped ends with, and one that was; the second process sees no checkpoint."""
    place = folder / f"checkpoints-{accelerator.process_index}"
    whole = train_two(accelerator)
    train_two(accelerator, Checkpoint(place, "same", every_seconds=0), stop_at=3)
    resumed = train_two(accelerator, Checkpoint(place, "same"))
    return {f"whole.{name}": whole[name] for name in whole} | {f"resumed.{name}": resumed[name] for name in resumed}


if __name__ == "__main__":
    accelerator = runtime.start()
    if sys.argv[2] == "resumed":
        ends = resume(accelerator, Path(sys.argv[1]))
        name = f"{accelerator.process_index}-of-{accelerator.num_processes}.safetensors"
        save_file({key: tensor.contiguous() for key, tensor in ends.items()}, Path(sys.argv[1]) / name)
        sys.exit()
    model, buffers = run(accelerator, sys.argv[2] == "frozen")
    state = {f"model.{name}": tensor.contiguous() for name, tensor in model.state_dict().items()}
    state |= {f"{step}.{name}": tensor for step, all_of in enumerate(buffers) for name, tensor in all_of.items()}
    save_file(state, Path(sys.argv[1]) / f"{accelerator.process_index}-of-{accelerator.num_processes}.safetensors")
