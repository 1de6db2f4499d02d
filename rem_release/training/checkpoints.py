"""Checkpoints of a training: safetensors files with a checksum, written atomically, bound to what is being trained."""

import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from rem_release import __version__
from rem_release.atomic_files import write_atomically
from rem_release.errors import InputError
from rem_release.training.kept_rows import KeptRows, open_rows

Warn = Callable[[str], None]
_WORD = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
KEPT = 2
"""checkpoints of a training that stay, each with a journal of its kept rows"""


class Checkpoint:
    """The latest states of one training, a file each: `step-00000120.safetensors`, and beside it its checksum.

    A state is a number of named tensors, see `collect`. Everything else that a training needs (learning rate, order of
    the images, draws) is a function of the step. Rows that are kept beside it are marked and taken back with it.

    Args:
        folder: where they lie.
        fingerprint: what is being trained (recipe, images, seed); a checkpoint of anything else is refused.
        conditions: what the last bits hang on, in words; a checkpoint of other ones is used, with a warning.
        every_seconds: least time between two writes.
        kept: how many are kept; the older ones stand in for a newer one that is damaged.
        warn: told why a checkpoint is refused while an older one is used.
        phase: of a training in several; its files bear its name, such as `clean_model-step-00000120.safetensors`.
    """

    def __init__(
        self,
        folder: Path,
        fingerprint: str,
        conditions: str = "",
        every_seconds: float = 30.0,
        kept: int = KEPT,
        warn: Warn = lambda text: None,
        phase: str = "",
    ) -> None:
        if phase:
            _require_word(phase, "a phase")
        self.rows: dict[str, KeptRows] = {}
        self._phases: dict[str, Checkpoint] = {}
        self._phase = phase
        self._prefix = f"{phase}-step-" if phase else "step-"
        self._own = re.compile(rf"\.?{self._prefix}\d{{8,}}\.(safetensors|json)(\.partial)?")
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

    def of(self, phase: str) -> "Checkpoint":
        """The checkpoint of one phase of a training in several; the same one each time."""
        if phase not in self._phases:
            self._phases[phase] = Checkpoint(
                self.folder, self.fingerprint, self.conditions, self.every_seconds, self._kept, self._warn, phase
            )
        return self._phases[phase]

    def keep_rows(
        self, accelerator: Accelerator, name: str, shape: tuple[int, ...], dtype: type[np.generic]
    ) -> KeptRows:
        """Rows, one an image, that the training changes from step to step: too large for each checkpoint, they lie
        beside them, and go back to what they were at the one from which a training goes on. They are deleted when the
        run is finished.

        Args:
            accelerator: the processes.
            name: of these rows; a phase may keep several.
            shape: (N, ...).
            dtype: of the values.

        Raises:
            ValueError: the name is no word, or was given before.
            InputError: the processes are on several hosts, or the file of an earlier command is damaged.
        """
        _require_word(name, "kept rows")
        if name in self.rows:
            raise ValueError(f"rows {name!r} are kept in this phase already; give these another name")
        folder = self.folder / "rows"
        folder.mkdir(parents=True, exist_ok=True)
        self.rows[name] = open_rows(accelerator, folder / f"{self._phase or 'training'}-{name}.npy", shape, dtype)
        return self.rows[name]

    def save(self, state: Mapping[str, Tensor], step: int) -> None:
        """Write the state after `step` finished steps, and delete those that are too old."""
        tensors = {name: tensor.detach().contiguous() for name, tensor in state.items()}
        self.folder.mkdir(exist_ok=True)
        for rows in self.rows.values():
            rows.mark(step)
        path = self._path(step)
        write_atomically(path, save(tensors))  # of its own writing safetensors raises no OSError
        sha256 = _sha256(path)
        note = {"step": step, "fingerprint": self.fingerprint, "version": __version__, "sha256": sha256}
        note["conditions"] = self.conditions
        write_atomically(path.with_suffix(".json"), json.dumps(note).encode())
        kept = {file.stem for file in self._files()[: self._kept]}
        for file in sorted(self.folder.iterdir()):  # a note goes before its checkpoint
            if file.stem not in kept and self._own.fullmatch(file.name):
                file.unlink()
        for rows in self.rows.values():
            rows.forget(min(self._step_of(name) for name in kept))
        self._saved = time.monotonic()

    def load(self) -> tuple[int, dict[str, Tensor]]:
        """Read the latest state that is sound: the finished steps and its tensors; 0 and none without a checkpoint.

        Kept rows go back to it.

        Raises:
            InputError: there are checkpoints, and each is damaged, of another version, or belongs to another recipe,
                seed or set of images; with the reason of the newest.
        """
        reasons: list[str] = []
        for path in self._files():
            try:
                step, tensors = self._read(path)
            except InputError as error:
                reasons.append(str(error))
                continue
            if reasons:
                self._warn(f"{reasons[0]}; going on from the one before, of step {step}")
            for rows in self.rows.values():
                rows.go_back(step)
            return step, tensors
        if reasons:
            raise InputError(f"{reasons[0]}; resume with what it belongs to, or start again with --overwrite")
        for rows in self.rows.values():
            rows.go_back(0)
        return 0, {}

    def _path(self, step: object) -> Path:
        """Where the state after so many steps stands."""
        return self.folder / f"{self._prefix}{step!s:0>8}.safetensors"

    def _step_of(self, stem: str) -> int:
        return int(stem.removeprefix(self._prefix))

    def _files(self) -> list[Path]:
        """The checkpoints, the newest first. One without its note was being written when the command was killed."""
        notes = sorted(self.folder.glob(f"{self._prefix}*.json"), reverse=True)
        return [note.with_suffix(".safetensors") for note in notes]

    def _read(self, path: Path) -> tuple[int, dict[str, Tensor]]:
        """Read one state."""
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
        if conditions != self.conditions:
            self._warn(
                f"the checkpoint {path} was made by {conditions}, and this is {self.conditions}: "
                "the result will be sound, but not the same bytes as without the stop"
            )
        return int(step), tensors


def _require_word(name: str, what: str) -> None:
    """Refuse what would not make a file's name that is known as ours."""
    if not _WORD.fullmatch(name):
        raise ValueError(f"{name!r} cannot name {what}; use small letters, digits and _")


def collect(models: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]) -> dict[str, Tensor]:
    """The state of a training: `NAME.weights` of each model, and `optimizer.NAME.PARAMETER.KEY` of each optimiser.

    Raises:
        ValueError: an optimiser keeps something that is no tensor.
    """
    state = {f"{name}.{key}": tensor for name, model in models.items() for key, tensor in model.state_dict().items()}
    for name, optimizer in optimizers.items():
        for index, parameter in enumerate(list_parameters(optimizer)):
            for key, value in optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    state[f"optimizer.{name}.{index}.{key}"] = value
                elif value is not None:
                    raise ValueError(
                        f"the optimiser {name} keeps {key} as {type(value).__name__}, which no checkpoint holds; "
                        "use one whose state is tensors"
                    )
    return state


def restore(state: Mapping[str, Tensor], models: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]) -> None:
    """Bring models and optimisers to a state that `collect` gave, before a device or a process wraps them.

    Raises:
        InputError: it is of other networks or optimisers; nothing was changed.
    """
    named = {name: _with_prefix(state, f"{name}.") for name in models}
    states = {name: _read_optimizer(state, name) for name in optimizers}
    count = sum(map(len, named.values())) + sum(len(each) for known in states.values() for each in known.values())
    fits = all(_shapes(named[name]) == _shapes(model.state_dict()) for name, model in models.items()) and all(
        known.keys() <= set(range(len(list_parameters(optimizers[name])))) for name, known in states.items()
    )
    if count != len(state) or not fits:
        raise InputError(
            "the checkpoints are of other networks or optimisers than this training has (another build of rem-release "
            "wrote them); start again with --overwrite"
        )
    for name, model in models.items():
        model.load_state_dict(named[name])
    for name, optimizer in optimizers.items():  # torch knows which tensors stay on the host, such as Adam's step
        optimizer.load_state_dict({"state": states[name], "param_groups": optimizer.state_dict()["param_groups"]})


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _read_optimizer(state: Mapping[str, Tensor], name: str) -> dict[int, dict[str, Tensor]]:
    """What an optimiser knew of each parameter, by its number."""
    found: dict[int, dict[str, Tensor]] = {}
    for path, tensor in _with_prefix(state, f"optimizer.{name}.").items():
        index, key = path.split(".", 1)
        found.setdefault(int(index), {})[key] = tensor
    return found


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


def list_parameters(optimizer: Optimizer) -> list[nn.Parameter]:
    """The parameters that it changes, in the order of their numbers in checkpoints."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
