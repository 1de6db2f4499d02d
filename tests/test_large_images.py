"""Large images: the memory that `protect` takes is what its plan states, also with many threads."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.command_line import write_recipe

SIZES = {24: (6000, 4000), 80: (10_000, 8000)}
"""megapixels: width and height"""
HEAD = """
import sys
from pathlib import Path
from rem_release.data import in_order
in_order.cpu_count = lambda: {threads}
peak_file = sys.argv[1]
def measure(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
"""
PROTECT = """
from rem_release.cli import main
sys.argv = ["rem-release", *sys.argv[2:]]
try:
    main()
finally:
    Path(peak_file).write_text(str(measure("VmHWM:")))
"""
DECODE = """
from rem_release.data.images.decoding import decode
before = measure("VmRSS:")
data = Path(sys.argv[2]).read_bytes()
pixels = sum(image.size // 3 for image in in_order.map_in_order(lambda _: decode(data), range(24)))
print(pixels, before + in_order.memory_in_flight(pixels // 24), flush=True)
Path(peak_file).write_text(str(measure("VmHWM:")))
"""


def draw_jpeg(path: Path, megapixels: int, seed: int) -> Path:
    """Of blocks of random colours, smoothly joined."""
    width, height = SIZES[megapixels]
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(blocks).resize((width, height)).save(path, quality=85)
    return path


def run_measured(code: str, threads: int, folder: Path, *arguments: object) -> tuple[str, int]:
    """Run it as a process that believes to have so many processors: its output, and its peak in bytes.

    The process tells its peak itself: what `getrusage` says of a child may be that of its parent.
    """
    peak = folder / "peak"
    done = subprocess.run(
        [sys.executable, "-c", HEAD.format(threads=threads) + code, str(peak), *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, int(peak.read_text())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells the peak of a process")
def test_sixteen_threads_decode_no_more_large_images_at_once_than_memory_is_stated_for(tmp_path: Path) -> None:
    jpeg = draw_jpeg(tmp_path / "large.jpg", 24, seed=0)
    said, peak = run_measured(DECODE, 16, tmp_path, jpeg)
    pixels, stated = map(int, said.split())
    assert pixels == 24 * 24_000_000
    assert peak <= stated


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells the peak of a process")
@pytest.mark.parametrize("threads", [2, 16])
@pytest.mark.parametrize("megapixels", list(SIZES))
def test_protect_takes_the_memory_that_its_plan_states(megapixels: int, threads: int, tmp_path: Path) -> None:
    for number in range(6 if megapixels == 24 else 4):
        draw_jpeg(tmp_path / "source" / "ab"[number % 2] / f"{number}.jpg", megapixels, number)
    recipe = write_recipe(tmp_path / "tiny.yaml")
    command = [
        "protect",
        tmp_path / "source",
        "--out",
        tmp_path / "run",
        "--recipe",
        recipe,
        "--method",
        "random",
        "--seed",
        "0",
    ]
    said, _ = run_measured(PROTECT, threads, tmp_path, *command, "--plan", "--json")
    plan: dict[str, Any] = json.loads(said)
    _, peak = run_measured(PROTECT, threads, tmp_path, *command)
    assert peak <= plan["memory_bytes"] <= 2 * peak
