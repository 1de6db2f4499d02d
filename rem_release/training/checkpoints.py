"""Checkpoints of a training: safetensors files with a checksum, written atomically, bound to what is being trained."""

import hashlib
import json
import math
import re
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from rem_release import __version__
from rem_release.atomic_files import write_atomically
from rem_release.errors import InputError

Warn = Callable[[str], None]
_OWN = re.compile(r"step-\d{8,}\.(safetensors|json)|\.step-\d{8,}\.(safetensors|json)\.partial")
"""What is written to the folder; nothing else in it is deleted."""


class Checkpoint:
    """The latest states of one training, a file each: `step-00000120.safetensors`, and beside it its checksum.

    Everything else that a training needs (learning rate, order of the images, draws) is a function of the step.

    Args:
        folder: where they lie.
        fingerprint: what is being trained (recipe, images, seed); a checkpoint of anything else is refused.
        conditions: what the last bits hang on, in words; a checkpoint of other ones is used, with a warning.
        every_seconds: least time between two writes.
        kept: how many are kept; the older ones stand in for a newer one that is damaged.
        warn: told why a checkpoint is refused while an older one is used.
    """

    def __init__(
        self,
        folder: Path,
        fingerprint: str,
        conditions: str = "",
        every_seconds: float = 30.0,
        kept: int = 2,
        warn: Warn = lambda text: None,
    ) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self.conditions = conditions
        self.every_seconds = every_seconds
        self._kept = kept
        self._warn = warn
        self._saved = -math.inf

    @property
    def is_due(self) -> bool:
        """Whether it is time for the next write. The first is due at once: a full disk shows before hours of work."""
        return time.monotonic() - self._saved > self.every_seconds

    def save(self, model: nn.Module, optimizer: Optimizer, step: int) -> None:
        """Write the state after `step` finished steps, and delete those that are too old."""
        tensors = {f"model.{name}": tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
        for index, parameter in enumerate(_parameters(optimizer)):
            momentum = optimizer.state[parameter].get("momentum_buffer")
            if momentum is not None:
                tensors[f"momentum.{index}"] = momentum.contiguous()
        self.folder.mkdir(exist_ok=True)
        path = self._path(step)
        write_atomically(path, save(tensors))  # of its own writing safetensors raises no OSError
        sha256 = _sha256(path)
        note = {"step": step, "fingerprint": self.fingerprint, "version": __version__, "sha256": sha256}
        note["conditions"] = self.conditions
        write_atomically(path.with_suffix(".json"), json.dumps(note).encode())
        kept = {file.stem for file in self._files()[: self._kept]}
        for file in sorted(self.folder.iterdir()):  # a note goes before its checkpoint
            if file.stem not in kept and _OWN.fullmatch(file.name):
                file.unlink()
        self._saved = time.monotonic()

    def load(self, model: nn.Module, optimizer: Optimizer) -> int:
        """Bring back the latest state that is sound; returns the finished steps, 0 where there is no checkpoint.

        Raises:
            InputError: there are checkpoints, and each is damaged, of another version, or belongs to another recipe,
                seed or set of images; with the reason of the newest.
        """
        reasons: list[str] = []
        for path in self._files():
            try:
                step = self._read(path, model, optimizer)
            except InputError as error:
                reasons.append(str(error))
                continue
            if reasons:
                self._warn(f"{reasons[0]}; going on from the one before, of step {step}")
            return step
        if reasons:
            raise InputError(f"{reasons[0]}; resume with what it belongs to, or start again with --overwrite")
        return 0

    def _path(self, step: object) -> Path:
        """Where the state after so many steps stands."""
        return self.folder / f"step-{step!s:0>8}.safetensors"

    def _files(self) -> list[Path]:
        """The checkpoints, the newest first. One without its note was being written when the command was killed."""
        notes = sorted(self.folder.glob("step-*.json"), reverse=True)
        return [note.with_suffix(".safetensors") for note in notes]

    def _read(self, path: Path, model: nn.Module, optimizer: Optimizer) -> int:
        """Take over one state; nothing is changed where it is refused."""
        try:
            note = json.loads(path.with_suffix(".json").read_bytes())
            version, fingerprint, sha256, step = (note[key] for key in ("version", "fingerprint", "sha256", "step"))
            conditions = note["conditions"]
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(f"the checkpoint {path} is damaged (its .json cannot be read)") from None
        if path != self._path(step):
            raise InputError(f"the checkpoint {path} is damaged (its .json says step {step})")
        if version != __version__:
            raise InputError(f"the checkpoint {path} was written by version {version} and this is {__version__}")
        if fingerprint != self.fingerprint:
            raise InputError(f"the checkpoint {path} belongs to another recipe, seed or set of images")
        if not path.is_file() or _sha256(path) != sha256:
            raise InputError(f"the checkpoint {path} is damaged (its bytes do not fit their checksum)")
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        model.load_state_dict(_with_prefix(tensors, "model."))
        for index, parameter in enumerate(_parameters(optimizer)):
            if (momentum := tensors.get(f"momentum.{index}")) is not None:
                optimizer.state[parameter]["momentum_buffer"] = momentum.to(parameter.device)
        if conditions != self.conditions:
            self._warn(
                f"the checkpoint {path} was made by {conditions}, and this is {self.conditions}: "
                "the result will be sound, but not the same bytes as without the stop"
            )
        return int(step)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_weights(path: Path, model: nn.Module) -> None:
    """Write a network's weights as safetensors, atomically."""
    state: dict[str, Tensor] = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(path, save(state))


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
