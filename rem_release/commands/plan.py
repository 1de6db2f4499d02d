"""`rem-release protect --plan`: what it would take on this machine, from a short measured probe."""

import resource
import sys
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from rem_release.commands.disk import count_disk, free_bytes, probe_rows, write_size
from rem_release.commands.protect_options import ProtectOptions
from rem_release.commands.reading import describe_source, write_choices, write_left_out
from rem_release.console import Console
from rem_release.data.in_order import memory_in_flight, threads_at_once
from rem_release.data.selection import Role
from rem_release.data.sources.source import Source
from rem_release.methods import Phase
from rem_release.methods.maker import ImageSet, Maker
from rem_release.methods.probe import probe_gradients
from rem_release.release.facts import CostFacts
from rem_release.release.left_out import count_left_out
from rem_release.release.writing import Choice
from rem_release.training.memory import measure_peak


def sum_up(phases: list[Phase]) -> CostFacts:
    """The cost as the facts state it."""
    *training, noise = phases
    return CostFacts(training_gradients=sum(phase.gradients for phase in training), noise_gradients=noise.gradients)


def make_plan(
    options: ProtectOptions,
    source: Source,
    choice: Choice,
    image_set: ImageSet,
    maker: Maker,
    phases: list[Phase],
    accelerator: Accelerator,
    console: Console,
) -> None:
    """Say what `protect` would do and take, and write nothing."""
    recipe, released = options.recipe, choice.released()
    trains = options.generator is None and accelerator.device.type == "cuda"  # elsewhere nobody measures its memory
    each, on_device = measure_peak(accelerator.device, lambda: probe_gradients(maker, image_set, trains))
    cost = sum_up(phases)
    rows, roles = len(released), choice.row_roles()
    probe = probe_rows(options, source, choice.working.rows[released])
    disk = count_disk(options, source, probe.png_bytes)
    free = free_bytes(options.out)
    pixels = choice.working.sizes.prod(1)
    largest = int(pixels.max())
    threads, usual = threads_at_once(largest), threads_at_once(int(pixels.float().mean()))
    memory = max(peak_bytes(), _resident_bytes() + memory_in_flight(largest))
    recognised = describe_source(source, choice.working)
    document: dict[str, Any] = {
        "images": rows,
        "protected": int((roles == Role.PROTECTED).sum()),
        "reserved": int((roles == Role.RESERVED).sum()),
        "near_copies": choice.near_copies,
        "repeated": len(choice.working.rows) - len(choice.working.hashes),
        "skipped": len(choice.working.bad),
        "classes": len(source.classes),
        "source": recognised | {"left_out": count_left_out(source, choice)},
        "cost": cost.model_dump(),
        "phases": [{"name": phase.name, "gradients": phase.gradients} for phase in phases],
        "threads": threads,
        "memory_bytes": memory,
        "device_memory_bytes": on_device,
        "output_bytes": round(probe.png_bytes * rows),
        "private_bytes": disk.noise_bytes + disk.checkpoint_bytes,
        "disk_bytes": disk.total,
        "free_bytes": free,
        "seconds": {
            "reading": round(probe.read_seconds * len(source) / usual, 1),
            "training": round(cost.training_gradients * each / accelerator.num_processes, 1),
            "noise": round(cost.noise_gradients * each / accelerator.num_processes, 1),
            "writing": round(probe.write_seconds * rows / usual, 1),
        },
        "device": str(accelerator.device),
        "precision": recipe.precision if recipe.noise.trains else None,
        "processes": accelerator.num_processes,
    }
    text = _write_text(document, source, phases, threads)
    if disk.total > free:
        console.warn(f"the disk of --out {options.out} is too small: it needs {write_size(disk.total)}")
    console.result(document, text)


def _write_text(document: dict[str, Any], source: Source, phases: list[Phase], threads: int) -> list[str]:
    """The same for people."""
    seconds, recognised = document["seconds"], document["source"]
    spent = sum(phase.gradients for phase in phases)
    others = f"; left out: {', '.join(source.left_out)}" if source.left_out else ""
    numbers = f" in {document['precision']}" if document["precision"] else ""
    return [
        f"Images:  {document['images']} to release, {document['protected']} of them protected; "
        f"{document['reserved']} reserved, {document['skipped']} skipped",
        f"Source:  {source.layout}, {', '.join(f'{name} ({count} rows)' for name, count in source.splits.items())}"
        f"{others}",
        f"Classes: {recognised['classes']}",
        f"Left out: {write_left_out(recognised['left_out'])}",
        f"Copies:  {document['repeated']} rows repeat an earlier image, {document['near_copies']} are near copies of "
        "one",
        f"Decoded: {write_choices(recognised['choices'])}",
        f"Cost:    {spent:,} sample gradient evaluations{numbers}: "
        f"{'; '.join(f'{phase.name} {phase.gradients:,}' for phase in phases)}",
        f"Memory:  about {write_size(document['memory_bytes'])} on the host, however many images there are, with "
        f"{threads} thread{'s' if threads > 1 else ''} at work on images of the largest size",
        *write_device_memory(document["device_memory_bytes"], document["device"]),
        f"Output:  about {write_size(document['output_bytes'])}",
        f"Disk:    about {write_size(document['disk_bytes'])} at its fullest, and {write_size(document['free_bytes'])} "
        "are free",
        f"Time:    about {write_duration(sum(seconds.values()))} on {document['device']} "
        f"with {document['processes']} process(es): reading {write_duration(seconds['reading'])}, "
        f"training {write_duration(seconds['training'])}, noise {write_duration(seconds['noise'])}, "
        f"writing {write_duration(seconds['writing'])} (from a probe of some seconds)",
        "Nothing was written.",
    ]


def write_device_memory(count: int | None, device: str) -> list[str]:
    """A line on what a GPU's tensors took at most; none for a CPU."""
    if count is None:
        return []
    return [f"Device:  about {write_size(count)} of the memory of {device}, measured on batches of the probe"]


def _resident_bytes() -> int:
    """Of this process, as Linux tells; elsewhere what it had at most."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * resource.getpagesize() if status.exists() else peak_bytes()


def peak_bytes() -> int:
    """The most memory that this process had at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def write_duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
