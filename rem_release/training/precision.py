"""In which numbers networks are computed: it decides noise and victims, and so belongs to the recipes of both.

On a CPU there are float32 and bfloat16; on a GPU also TF32: convolutions of float32, whose products then have 10 bits
of fraction. Products of matrices stay float32, for images are resampled by them; so linear layers and attention gain
nothing by TF32. Half precision (fp16) needs its losses scaled, which PGD does not do, and is refused.
"""

import os
from types import MethodType
from typing import TYPE_CHECKING, Literal

from rem_release.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Precision = Literal["auto", "fp32", "tf32", "bf16"]
"""auto: what the launcher says, else tf32 on a GPU and fp32 on a CPU; `training.probe` may find bf16 better. It is
resolved before the first step."""
Execution = Literal["auto", "eager", "folded", "compiled"]
"""How networks are computed while inputs are optimised. eager: layer by layer, as they are trained. folded: BatchNorm
as part of the convolutions, see `core.frozen`. compiled: that, and fused by torch.compile. auto is resolved, too."""
_LAUNCHERS: dict[str, Precision | None] = {"no": None, "bf16": "bf16"}


def launched() -> Precision | None:
    """The precision that the launcher asks for; None where it asks for none.

    Raises:
        InputError: it asks for one that there is not.
    """
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    if asked not in _LAUNCHERS:
        raise InputError(
            f"the launcher's --mixed_precision {asked}: networks are computed in fp32, tf32 or bf16; choose bf16 or no"
        )
    return _LAUNCHERS[asked]


def resolve(asked: Precision, device: "torch.device", key: str = "precision") -> Precision:
    """What `auto` means here; anything else stays.

    Args:
        asked: by the recipe.
        device: where networks are computed.
        key: of the recipe, for messages.

    Raises:
        InputError: the launcher asks for something else, or the device does not have it.
    """
    wanted = launched()
    if wanted and asked not in ("auto", wanted):
        raise InputError(
            f"the launcher says --mixed_precision {wanted}, and the recipe {key} {asked}; "
            f"leave one of them out, or add --set {key}={wanted}"
        )
    if asked == "auto":
        return wanted or ("tf32" if device.type == "cuda" else "fp32")
    if asked == "tf32" and device.type != "cuda":
        raise InputError(f"{key} tf32 is of GPUs, and this is {device.type}; add --set {key}=fp32")
    return asked


def use_precision(precision: Precision) -> None:
    """Let operations of float32 on a GPU be what they are called, in this process.

    TF32 covers the convolutions of cuDNN, forward and backward, and nothing else: products of matrices are float32 in
    every precision, those that resample images among them. In bf16 what autocast leaves out is float32, too.
    """
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def prepare_model(
    model: "nn.Module", device: "torch.device", precision: Precision, execution: Execution = "folded"
) -> "nn.Module":
    """Bring a network to the device, as it is trained, differentiated and timed: one way for source models and victims.

    Channels stand last in memory. In bf16 it computes under autocast and answers in float32; its weights stay float32.

    Args:
        model: changed in place.
        device: where to.
        precision: resolved.
        execution: resolved.

    Returns:
        The model.
    """
    import torch

    from rem_release.core.frozen import fold

    use_precision(precision)
    model = model.to(memory_format=torch.channels_last).to(device)
    if precision == "bf16":
        model.forward = MethodType(_forward_in_bf16, model)  # a method, so that a copy of the model computes by itself
    if execution != "eager":
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        fold(model, dtype, compiles=execution == "compiled")
    return model


def _forward_in_bf16(model: "nn.Module", *inputs: "Tensor") -> "Tensor":
    import torch

    with torch.autocast(inputs[0].device.type, dtype=torch.bfloat16):
        return type(model).forward(model, *inputs).float()
