"""`rem-release bench`: the order of the measurements, and how they are shown."""

import time
from dataclasses import asdict, replace
from typing import Any

import torch
from accelerate import Accelerator

from rem_release.audit.naming import device_name
from rem_release.bench.files import HEIGHT, WIDTH, Files, measure_files
from rem_release.bench.networks import Solved, Way, measure_solver, measure_victim
from rem_release.bench.timing import Pair, Rate
from rem_release.commands.plan import peak_bytes
from rem_release.console import Console
from rem_release.core.solver import NoiseSettings
from rem_release.methods.min_max import MinMax
from rem_release.recipe import load_recipe
from rem_release.versions import find_versions

_NETWORKS = ("resnet18", "small_resnet")
_VICTIMS = ("small_resnet", "small_vgg", "small_mobilenet")
_RECIPE = "rem-cifar10"
_BATCH = {"cpu": (32, 1), "cuda": (128, 5)}
"""images, and draws J of each"""


def bench(console: Console, accelerator: Accelerator) -> None:
    """Measure what this machine does, and show it; nothing is kept."""
    began, device = time.perf_counter(), accelerator.device
    count, draws = _BATCH["cuda" if device.type == "cuda" else "cpu"]
    noise = replace(_settings_of(_RECIPE), K_u=1, J=draws)
    with console.stage("Measuring") as report:
        total = len(_NETWORKS) + 2 * len(_VICTIMS) + 1
        solved, victims = [], []
        for network in _NETWORKS:
            solved.append(measure_solver(network, noise, count, device))
            report(len(solved), total)
        for network in _VICTIMS:
            for radius in (0.0, 4 / 255):
                victims.append((network, radius, measure_victim(network, radius, accelerator)))
                report(len(solved) + len(victims), total)
        files = measure_files(accelerator)
        report(total, total)
    document = {
        "device": device_name(accelerator),
        "threads": torch.get_num_threads(),
        "versions": find_versions(("rem-release", "torch")),
        "solver": [_describe_solver(each) for each in solved],
        "victims": [{"network": n, "radius": r, "steps": pair.to_dict()} for n, r, pair in victims],
        "files": {
            "images": files.images,
            "height": HEIGHT,
            "width": WIDTH,
            "rates": {stage: rate.to_dict() for stage, rate in files.rates.items()},
            "shares": {
                stage: {part: round(share, 3) for part, share in parts.items()}
                for stage, parts in files.shares().items()
            },
            "milliseconds": {part: round(taken, 2) for part, taken in files.parts.items()},
        },
        "peak_bytes": peak_bytes(),
        "seconds": round(time.perf_counter() - began, 1),
    }
    console.result(document, _write(document, solved, victims, files))


def _settings_of(recipe: str) -> NoiseSettings:
    noise = load_recipe(recipe).noise
    assert isinstance(noise, MinMax)
    return noise.solve()


def _describe_solver(solved: Solved) -> dict[str, Any]:
    def describe(way: Way) -> dict[str, Any]:
        told = asdict(replace(way, pair=None))
        return {**told, "pair": way.pair.to_dict() if way.pair else None}

    settings = {name: getattr(solved.settings, name) for name in ("K_u", "J", "K_a")}
    return {
        "network": solved.network,
        "batch": solved.batch,
        "settings": settings,
        "operations": solved.operations,
        "ways": [describe(way) for way in solved.ways],
    }


def _write(
    document: dict[str, Any], solved: list[Solved], victims: list[tuple[str, float, Pair]], files: Files
) -> list[str]:
    """Ratios first."""
    lines = [
        f"Device:  {document['device']}, {document['threads']} threads, torch {document['versions']['torch']}",
        "Reference: a plain Algorithm 1, eager float32, one draw at a time, transformed image by image",
        "",
    ]
    for each in solved:
        s = each.settings
        lines.append(
            f"Solver, {each.network} at 32 × 32, {each.batch} images, one step of the noise "
            f"(J {s.J}, K_a {s.K_a}), gradients a second:"
        )
        lines += [_write_way(way, way is each.best) for way in each.ways]
    lines += ["", "Victims, steps of 64 images a second, one of them alone:"]
    for network, radius, pair in victims:
        what = f"adversarial at {round(255 * radius)}/255" if radius else "standard"
        lines.append(f"  {network:16} {what:21} {_write_pair(pair)}")
    lines += ["", f"Files, {files.images} photographs of {HEIGHT} × {WIDTH}, images a second:"]
    shares = files.shares()
    for stage, rate in files.rates.items():
        told = ", ".join(f"{part} {share:.0%}" for part, share in shares[stage].items())
        lines.append(f"  {stage:10} {_write_rate(rate)}: {told}")
    parts = ", ".join(f"{part} {taken:.1f} ms" for part, taken in files.parts.items())
    lines += [f"  one thread, an image: {parts}", ""]
    return [*lines, f"Peak memory {document['peak_bytes'] / 1e9:.1f} GB; took {document['seconds']:.0f} s"]


def _write_way(way: Way, is_best: bool) -> str:
    name = f"{way.precision}, {way.execution}{', captured' if way.is_captured else ''}"
    if way.pair is None:
        return f"  {name:28} {way.first_look:,.0f}/s in a first look, not measured further"
    share = f", {way.share:.0%} of the device's products" if way.share else ""
    peak = f", {way.peak_bytes / 1e9:.1f} GB" if way.peak_bytes else ""
    return f"{'*' if is_best else ' '} {name:28} {_write_pair(way.pair)}{share}{peak}"


def _write_pair(pair: Pair) -> str:
    low, high = pair.ratio.low, pair.ratio.high
    return (
        f"{pair.ratio.median:.2f} × ({low:.2f} to {high:.2f}) the reference: "
        f"{pair.rate.median:,.0f}/s beside {pair.reference.median:,.0f}/s"
    )


def _write_rate(rate: Rate) -> str:
    return f"{rate.median:,.1f}/s ({rate.low:,.1f} to {rate.high:,.1f})"
