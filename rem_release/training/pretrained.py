"""Networks that start from a file of weights: pretrained backbones with a new head, to be fine-tuned."""

import re
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from rem_release.core.resampling import interpolation_matrix
from rem_release.errors import InputError
from rem_release.models import MODELS, ONE_SIZE, build_model

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)")
_CODE = re.compile(r"GLOBAL ([\w.]+)")
"""In torch's refusal, what the file would have called."""


class Enlarged(nn.Module):
    """A network behind what it was pretrained with: images of one size, normalised by ImageNet's statistics.

    Bilinear, antialiased where it shrinks; as two matrix products, whose gradient is the same in every run.

    Args:
        network: takes normalised images [N, 3, resize, resize].
        resize: side that images are brought to.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, resize: int) -> None:
        super().__init__()
        self.network = network
        self.resize = resize
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, 3, R, R] in [0, 1], for any R."""
        with torch.autocast(images.device.type, enabled=False):
            matrix = _matrix(images.shape[-1], self.resize, images.device, images.dtype)
            normalised = (matrix @ images @ matrix.T - self.mean) / self.std
        return self.network(normalised)


@lru_cache(maxsize=8)
def _matrix(source: int, target: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """See `interpolation_matrix`; built once, for it comes from the host, and a GPU would wait for it at each batch."""
    return interpolation_matrix(source, target).to(device, dtype)


def build_pretrained(name: str, classes: int, weights: Path, resize: int, seed: int) -> Enlarged:
    """A network with the weights of a file and a freshly initialised classifier head.

    The network has its form for images of side `resize`, and the other form where only that one fits the file. The
    head is the network's last linear layer; everything else must be in the file, and nothing more.

    Args:
        name: a key of `MODELS`.
        classes: number of logits.
        weights: a state dict as safetensors (`.safetensors`) or as `torch.save` writes it (any other name). Only
            tensors are read from it; no code is run.
        resize: side that images are enlarged to; 224 for networks trained on ImageNet.
        seed: of the head's weights; the global random state is left as it was.

    Returns:
        A model that takes images [N, 3, R, R] in [0, 1], for any R.

    Raises:
        InputError: no such network, or one that is nothing but a head; the file is missing, damaged, holds other
            things than tensors, or belongs to another network.
    """
    if name not in MODELS:
        raise InputError(f"there is no network {name!r}; there are {', '.join(MODELS)}")
    tensors = _read_tensors(weights)
    faults = []
    for side in (resize,) if name in ONE_SIZE else (resize, 32, 224):
        body, head = _describe(name, side)
        if not body:
            raise InputError(f"{name} is nothing but a classifier head, which is always new; name another network")
        fault = _find_fault(tensors, body, head)
        if fault is None:
            network = build_model(name, classes, side, seed).network
            network.load_state_dict({key: tensors[key] for key in body if key in tensors}, strict=False)
            return Enlarged(network, resize)
        faults.append(fault)
    _, furthest = max(faults, key=lambda fault: fault[0])
    trained = "the network and the image size" if name in ONE_SIZE else "the network"
    raise InputError(f"{weights} does not fit {name}: {furthest}; name {trained} that these weights were trained with")


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"there is no file of weights {path}; name a safetensors file or a torch state dict")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"cannot read the weights {path}: {error.strerror or error}") from None
    except Exception as error:  # a damaged file may raise anything, and torch's own advice is to run its code
        if code := _CODE.search(str(error)):
            raise InputError(
                f"{path} holds code ({code[1]}), which was not run; save the network's state_dict() alone"
            ) from None
        raise InputError(f"{path} is damaged, or is no file of weights; fetch it again") from None
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise InputError(f"{path} holds more than a network's tensors; save its state_dict() alone")
    return {_OLD_DENSENET.sub(r"\1\2", str(key)): tensor for key, tensor in state.items()}


def _describe(name: str, side: int) -> tuple[dict[str, torch.Size], str]:
    """Shapes of all that is not the head, in the network's order, and the name of the head."""
    with torch.device("meta"):
        network = build_model(name, 2, side, 0).network
    head = [place for place, module in network.named_modules() if isinstance(module, nn.Linear)][-1]
    state = network.state_dict()
    return {key: tensor.shape for key, tensor in state.items() if not key.startswith(f"{head}.")}, head


def _find_fault(tensors: dict[str, Tensor], body: dict[str, torch.Size], head: str) -> tuple[int, str] | None:
    """How many keys fit before the first that does not, and what is wrong with it; None where all fit."""
    for position, (key, shape) in enumerate(body.items()):
        if key not in tensors:
            if key.endswith(".num_batches_tracked"):  # files from before PyTorch 0.4.1 do not count batches
                continue
            return position, f"it has no {key}"
        if tensors[key].shape != shape:
            return position, f"{key} is {list(tensors[key].shape)} there and {list(shape)} in the network"
    for key in sorted(tensors):
        if key not in body and not key.startswith(f"{head}."):
            return len(body), f"the network has no {key}"
    return None
