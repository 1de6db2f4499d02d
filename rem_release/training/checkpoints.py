"""Checkpoints of a training: one safetensors file, replaced atomically, bound to what is being trained."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from rem_release.errors import InputError


class Checkpoint:
    """The latest state of one training.

    Args:
        path: the file.
        fingerprint: what is being trained (recipe, images, seed); a checkpoint of anything else is refused.
        every_seconds: least time between two writes.
    """

    def __init__(self, path: Path, fingerprint: str, every_seconds: float = 30.0) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self.every_seconds = every_seconds

    def save(self, model: nn.Module, optimizer: Optimizer, step: int) -> None:
        """Write the state after `step` finished steps."""
        tensors = {f"model.{name}": tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
        for index, parameter in enumerate(_parameters(optimizer)):
            momentum = optimizer.state[parameter].get("momentum_buffer")
            if momentum is not None:
                tensors[f"momentum.{index}"] = momentum.contiguous()
        temporary = self.path.with_name(self.path.name + ".part")
        save_file(tensors, temporary, metadata={"step": str(step), "fingerprint": self.fingerprint})
        temporary.replace(self.path)

    def load(self, model: nn.Module, optimizer: Optimizer) -> int:
        """Bring back the latest state; returns the finished steps, 0 where there is no checkpoint.

        Raises:
            InputError: the checkpoint is damaged, or belongs to another recipe, seed or set of images.
        """
        if not self.path.exists():
            return 0
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise InputError(f"the checkpoint {self.path} is damaged ({error}); delete it to start again") from None
        if metadata.get("fingerprint") != self.fingerprint:
            raise InputError(
                f"the checkpoint {self.path} belongs to another recipe, seed or set of images; "
                f"resume with those, or start again with --overwrite"
            )
        model.load_state_dict(_with_prefix(tensors, "model."))
        for index, parameter in enumerate(_parameters(optimizer)):
            if (momentum := tensors.get(f"momentum.{index}")) is not None:
                optimizer.state[parameter]["momentum_buffer"] = momentum.to(parameter.device)
        return int(metadata["step"])


def save_weights(path: Path, model: nn.Module) -> None:
    """Write a network's weights as safetensors, atomically."""
    temporary = path.with_name(path.name + ".part")
    state: dict[str, Tensor] = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, temporary)
    temporary.replace(path)


def load_weights(path: Path, model: nn.Module) -> None:
    """Read weights that `save_weights` wrote.

    Raises:
        InputError: the file is missing, damaged, or of another network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"cannot use the generator {path}: {reason}") from None


def _parameters(optimizer: Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _with_prefix(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
