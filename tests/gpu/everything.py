"""All that a card is wanted for, in under nine minutes: bench, the demo end to end, and the tests of this folder.

    python -m tests.gpu.everything OUT            # on a machine with a card
    python -m tests.gpu.everything OUT --small    # the same way at small size, on a CPU

Run it in the root of the project with the environment of `make setup`. OUT gets `bench.json`, a log of each part, and
`times.json`; the last lines say what ended how. A part that takes too long is stopped, and the next one begins.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PYTHON = sys.executable
RUN = (PYTHON, "-m", "rem_release")
FAST = ("--set", "generator.steps=5", "--set", "noise.steps=1")


def list_parts(out: Path, small: bool) -> list[tuple[str, tuple[str, ...], int]]:
    """Name, command and seconds of each part."""
    if small:
        cut = "import sys; from pathlib import Path; from rem_release.data.photographs import write_patches"
        cut += "; write_patches(Path(sys.argv[1]), 5, 2)"
        return [
            ("bench", (*RUN, "bench", "--json"), 300),
            ("patches", (PYTHON, "-c", cut, str(out / "patches")), 60),
            ("protect", (*RUN, "protect", str(out / "patches/train"), "--out", str(out / "run"), *FAST), 120),
            ("tests", (PYTHON, "-m", "pytest", "-q", "tests/test_captured.py", "tests/test_frozen.py"), 120),
        ]
    gpu = ("-m", "gpu", "-q", "--maxfail", "20", "--durations", "10", "tests/gpu")
    return [
        ("bench", (*RUN, "bench", "--json"), 150),
        ("demo", (*RUN, "demo", "--out", str(out / "demo")), 200),
        ("tests", (PYTHON, "-m", "pytest", *gpu), 180),
    ]


def main() -> int:
    """Run the parts one after the other; 0 where all of them ended with 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    ended: dict[str, dict[str, object]] = {}
    for name, command, seconds in list_parts(given.out.resolve(), given.small):
        began = time.monotonic()
        with (given.out / f"{name}.log").open("w") as log, (given.out / f"{name}.json").open("w") as result:
            try:
                process = subprocess.Popen(command, stdout=result, stderr=log, start_new_session=True)
                code: object = process.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # with its children
                code = f"stopped after {seconds} s"
        ended[name] = {"code": code, "seconds": round(time.monotonic() - began, 1)}
        (given.out / "times.json").write_text(json.dumps(ended, indent=1))
        print(name, *ended[name].values(), flush=True)
    return 0 if all(part["code"] == 0 for part in ended.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
