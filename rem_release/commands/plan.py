"""`rem-release protect --plan`: what it would take on this machine, from a short measured probe."""

import resource
import sys
import time

import numpy as np
import torch
from accelerate import Accelerator

from rem_release.console import Console
from rem_release.core.levels import protect_at_own_size
from rem_release.data.decoding import encode_png
from rem_release.data.selection import Role
from rem_release.data.source import Source
from rem_release.data.working_set import read_image
from rem_release.methods import Method, Pictures
from rem_release.methods.probe import seconds_per_gradient
from rem_release.radius import whole_levels
from rem_release.recipe import Recipe
from rem_release.release.facts import CostFacts
from rem_release.release.imperceptibility import measure_change
from rem_release.release.writing import Choice

_SAMPLE_ROWS = 24
_MOST_SECONDS = 5.0


def make_plan(
    recipe: Recipe,
    source: Source,
    choice: Choice,
    pictures: Pictures,
    method: Method,
    cost: CostFacts,
    accelerator: Accelerator,
    console: Console,
) -> None:
    """Say what `protect` would do and take, and write nothing."""
    each = seconds_per_gradient(method, pictures, recipe.generator.batch_size)
    spent = cost.training_gradients + cost.noise_gradients
    rows = len(choice.released())
    row_bytes, row_seconds = _probe_rows(source, choice, whole_levels(recipe.noise.rho_u))
    roles = choice.row_roles()
    noise_bytes = pictures.images.numel()
    document = {
        "images": rows,
        "protected": int((roles == Role.PROTECTED).sum()),
        "reserved": int((roles == Role.RESERVED).sum()),
        "skipped": len(choice.working.bad),
        "classes": len(source.classes),
        "cost": cost.model_dump(),
        "memory_bytes": _peak_bytes() + noise_bytes,
        "output_bytes": round(row_bytes * rows),
        "private_bytes": noise_bytes,
        "seconds": {
            "training": round(cost.training_gradients * each / accelerator.num_processes, 1),
            "noise": round(cost.noise_gradients * each / accelerator.num_processes, 1),
            "writing": round(row_seconds * rows, 1),
        },
        "device": str(accelerator.device),
        "processes": accelerator.num_processes,
    }
    seconds = document["seconds"]
    assert isinstance(seconds, dict)
    text = [
        f"Images:  {rows} to release, {document['protected']} of them protected; "
        f"{document['reserved']} reserved, {document['skipped']} skipped",
        f"Classes: {len(source.classes)}",
        f"Cost:    {spent:,} sample gradient evaluations of {recipe.generator.model} "
        f"({cost.training_gradients:,} in training, {cost.noise_gradients:,} for the noise)",
        f"Memory:  about {_size(document['memory_bytes'])} (the peak of this probe on the host, plus the noise); "
        "pictures of many megapixels take more while they are written",
        f"Output:  about {_size(document['output_bytes'])}, and {_size(noise_bytes)} in private/",
        f"Time:    about {write_duration(sum(seconds.values()))} on {accelerator.device} "
        f"with {accelerator.num_processes} process(es): training {write_duration(seconds['training'])}, "
        f"noise {write_duration(seconds['noise'])}, "
        f"writing {write_duration(seconds['writing'])} or less (from a probe of some seconds)",
        "Nothing was written.",
    ]
    console.result(document, "\n".join(text))


def _probe_rows(source: Source, choice: Choice, budget: int) -> tuple[float, float]:
    """(bytes, seconds) of one released row, from some rows spread over the source and random noise."""
    positions = choice.released()
    chosen = positions[np.linspace(0, len(positions) - 1, min(_SAMPLE_ROWS, len(positions))).astype(int)]
    generator = torch.Generator().manual_seed(0)
    resolution = choice.working.resolution
    began, total, done = time.perf_counter(), 0, 0
    for position in chosen[torch.randperm(len(chosen), generator=generator).numpy()]:
        if done and time.perf_counter() - began > _MOST_SECONDS:
            break
        done += 1
        clean = read_image(source, int(choice.working.rows[position]), choice.max_side)
        levels = torch.randint(-budget, budget + 1, (3, resolution, resolution), generator=generator).to(torch.int8)
        tensor, _ = protect_at_own_size(torch.from_numpy(clean).permute(2, 0, 1), levels, budget)
        protected = np.ascontiguousarray(tensor.permute(1, 2, 0).numpy())
        measure_change(clean, protected)
        total += len(encode_png(protected))
    return total / done, (time.perf_counter() - began) / done


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _size(count: object) -> str:
    assert isinstance(count, int)
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def write_duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
