"""What files take: reading, writing and verifying photographs, images a second, and what the time goes to."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from accelerate import Accelerator
from PIL import Image

from rem_release.bench.timing import Rate
from rem_release.commands.protect import protect
from rem_release.commands.protect_options import ProtectOptions
from rem_release.console import Console
from rem_release.data.images.decoding import decode
from rem_release.data.images.png_writing import encode_png
from rem_release.data.in_order import thread_count
from rem_release.data.photographs import PHOTOGRAPHS
from rem_release.data.sources.source import SourceOptions
from rem_release.recipe_changes import load_changed
from rem_release.release.documents import read_facts
from rem_release.release.imperceptibility import measure_change
from rem_release.release.run_folder import RunFolder
from rem_release.verification.originals import find_originals
from rem_release.verification.png import read_png
from rem_release.verification.verify import verify_release

HEIGHT, WIDTH = 400, 533
_EACH = 4
"""photographs cut from each of the ten that scikit-image ships"""
_QUALITY = 90
_ROUNDS = 2
_SHORT = {"generator.steps": "1", "noise.steps": "1", "noise.eot.samples": "1"}
_SAMPLE = 10
_DECODING, _MEASURING, _ENCODING, _READING_BACK = "decoding JPEG", "measuring", "encoding PNG", "decoding PNG"
_PARTS_OF = {
    "reading": (_DECODING,),
    "writing": (_DECODING, _MEASURING, _ENCODING),
    "verifying": (_READING_BACK, _DECODING, _MEASURING),
}


@dataclass(frozen=True)
class Files:
    """Images a second of each stage, and milliseconds of one thread that parts of them take of an image."""

    images: int
    rates: dict[str, Rate]
    parts: dict[str, float]

    def shares(self) -> dict[str, dict[str, float]]:
        """Of the time of all threads in each stage, the part that each kind of work takes, by its time alone."""
        threads = thread_count()
        return {
            stage: {part: self.parts[part] * self.rates[stage].median / (1000 * threads) for part in of_stage}
            for stage, of_stage in _PARTS_OF.items()
        }


def measure_files(accelerator: Accelerator) -> Files:
    """Protect and verify photographs of 400 × 533 pixels, JPEG, in a temporary folder."""
    seconds: dict[str, list[float]] = {"reading": [], "writing": [], "verifying": []}
    with TemporaryDirectory(prefix="rem-release-bench-") as place:
        folder = Path(place)
        count = _write_photographs(folder / "photographs")
        for round_ in range(_ROUNDS + 1):
            for stage, taken in _protect_and_verify(folder / "photographs", folder / f"run{round_}", accelerator):
                if round_:  # the first finds the files, and imports
                    seconds[stage].append(taken)
        parts = _measure_parts(folder / "photographs")
    return Files(count, {stage: Rate.of([count / each for each in taken]) for stage, taken in seconds.items()}, parts)


def _write_photographs(folder: Path) -> int:
    """Cuts at random places and scales of the photographs that scikit-image ships, a class a photograph."""
    generator = np.random.default_rng(0)
    for name, load in PHOTOGRAPHS.items():
        photograph = Image.fromarray(load()).convert("RGB")
        (folder / name).mkdir(parents=True)
        for index in range(_EACH):
            share = generator.uniform(0.6, 1.0)
            width, height = (int(side * share) for side in photograph.size)
            left = int(generator.integers(0, photograph.size[0] - width + 1))
            top = int(generator.integers(0, photograph.size[1] - height + 1))
            cut = photograph.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS, (left, top, left + width, top + height))
            cut.save(folder / name / f"{index}.jpg", quality=_QUALITY)
    return _EACH * len(PHOTOGRAPHS)


def _protect_and_verify(source: Path, out: Path, accelerator: Accelerator) -> list[tuple[str, float]]:
    console = Console(silent=True)
    recipe = load_changed("quickstart-photographs", settings=_SHORT)
    options = ProtectOptions(
        source=SourceOptions(source=str(source)), out=out, recipe=recipe, recipe_name="bench", seed=0
    )
    protect(options, console, accelerator)
    run = RunFolder(out)
    began = time.perf_counter()
    originals, record = find_originals(run, read_facts(run.release).data, None)
    report = verify_release(run.release, originals, record)
    verifying = time.perf_counter() - began
    if not report.passed:
        raise RuntimeError(f"the release of the benchmark does not verify: {report}")
    times = console.times
    stages = {"reading": times["Reading images"].seconds, "writing": times["Writing images"].seconds}
    return [*stages.items(), ("verifying", verifying)]


def _measure_parts(source: Path) -> dict[str, float]:
    """Milliseconds of one thread for one image."""
    files = sorted(source.rglob("*.jpg"))[:: max(1, _EACH * len(PHOTOGRAPHS) // _SAMPLE)]
    jpegs = [file.read_bytes() for file in files]
    clean = [decode(jpeg) for jpeg in jpegs]
    generator = np.random.default_rng(0)
    protected = [np.clip(x + generator.integers(-8, 9, x.shape), 0, 255).astype(np.uint8) for x in clean]
    pngs = [encode_png(x) for x in protected]
    return {
        _DECODING: _each(lambda index: decode(jpegs[index]), len(files)),
        _MEASURING: _each(lambda index: measure_change(clean[index], protected[index]), len(files)),
        _ENCODING: _each(lambda index: encode_png(protected[index]), len(files)),
        _READING_BACK: _each(lambda index: read_png(pngs[index]), len(files)),
    }


def _each(work: Callable[[int], object], count: int) -> float:
    began = time.perf_counter()
    for index in range(count):
        work(index)
    return 1000 * (time.perf_counter() - began) / count
