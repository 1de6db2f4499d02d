"""What anyone gets: `load_dataset` of a revision, in a process and a cache of its own.

Run as `python -P loading.py NAMESPACE/NAME REVISION SPLIT IMAGE_COLUMN LABEL_COLUMN`: prints a line a row, the sha256
of the image's bytes and the label as JSON. It runs in the empty folder of its cache: `load_dataset` would prefer a
folder NAMESPACE/NAME that lies where it is called.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

_CACHES = ("HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_XET_CACHE", "HF_ASSETS_CACHE")


def print_rows(repo_id: str, revision: str, split: str, image_column: str, label_column: str) -> None:
    """Load a split and print its rows, see above."""
    from datasets import Image, load_dataset

    dataset = load_dataset(repo_id, revision=revision, split=split)
    dataset = dataset.select_columns([image_column, label_column]).cast_column(image_column, Image(decode=False))
    for row in dataset:
        digest = hashlib.sha256(row[image_column]["bytes"]).hexdigest()
        print(digest, json.dumps(row[label_column]))


def load_rows(
    repo_id: str, revision: str, split: str, columns: tuple[str, str], cache: Path
) -> Generator[str, None, None]:
    """The printed lines of a fresh process.

    Args:
        repo_id: NAMESPACE/NAME.
        revision: a commit.
        split: its name.
        columns: (image, label).
        cache: an empty folder, which takes the place of every cache of the client.

    Raises:
        RuntimeError: the process failed; the last line that it said.
    """
    from huggingface_hub import constants

    command = [sys.executable, "-P", str(Path(__file__).absolute()), repo_id, revision, split, *columns]
    places = {name: str(cache / name.lower()) for name in _CACHES}
    places["HF_TOKEN_PATH"] = str(Path(constants.HF_TOKEN_PATH).absolute())
    env = {**os.environ, **places, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONUNBUFFERED": ""}
    with (cache / "errors.txt").open("w+b") as errors:
        with subprocess.Popen(command, env=env, cwd=cache, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    yield line.rstrip("\n")
                process.wait()
            finally:
                process.kill()  # where nobody wants the rest: it must not write into a folder that is being deleted
        if process.returncode != 0:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
            raise RuntimeError(said[-1] if said else f"exit code {process.returncode}")


def describe_failure(error: BaseException) -> str:
    """In one line what failed and why; addresses without their queries, which hold signatures."""
    words = [" ".join(str(link).split()) for link in (error, error.__cause__) if link is not None]
    return re.sub(r"(https?://[^\s?]+)\?\S+", r"\1", f"{type(error).__name__}: {'; '.join(dict.fromkeys(words))}")


if __name__ == "__main__":
    try:
        print_rows(*sys.argv[1:])
    except Exception as failure:
        sys.exit(describe_failure(failure))
