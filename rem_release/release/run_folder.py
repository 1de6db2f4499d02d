"""The run folder: `release/` is what is published, `private/` what never is, `audit/` what was found.

`release/` appears only when it is complete; until then it is built in `private/staging`.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rem_release.errors import InputError, RemReleaseError
from rem_release.release.canonical import write_atomically


class RunFolder:
    """The paths of a run, and its status.

    Args:
        path: RUN.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.release = path / "release"
        self.private = path / "private"
        self.staging = self.private / "staging"
        self.options = self.private / "options.json"
        self.recipe = self.private / "recipe.json"
        self.generator = self.private / "generator.safetensors"
        self.generator_facts = self.private / "generator.json"
        self.checkpoint = self.private / "checkpoint.safetensors"
        self.noise = self.private / "noise.npy"
        self.rows = self.private / "rows.parquet"
        self.skipped = self.private / "skipped.csv"
        self.albums = self.private / "albums.json"
        self.reserve = self.private / "reserve"
        self.status = self.private / "status.json"

    @property
    def exists(self) -> bool:
        """Whether this is the folder of a run, finished or not."""
        return self.status.is_file() or (self.private.is_dir() and self.release.is_dir())

    @property
    def finished(self) -> bool:
        """Whether the release is complete."""
        return (self.release / "protection.json").is_file() and self.rows.is_file()

    def open(self, options: dict[str, Any], source: Path | None, *, resume: bool, overwrite: bool) -> None:
        """Make the folder, or take up the one that a killed command left.

        Args:
            options: everything that decides the result, kept in `private/options.json`.
            source: local path of the images, which must lie apart from the run; None for a Hub dataset.
            resume: go on with an existing run of the same options.
            overwrite: delete an existing run first.

        Raises:
            InputError: something else is there, the options differ, or run and source lie within each other.
        """
        if source is not None:
            check_apart(self.path, source)
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"--out {self.path} is a file; name a folder")
        occupied = self.path.is_dir() and any(self.path.iterdir())
        if occupied and not self.exists:
            raise InputError(f"--out {self.path} is not empty and not a run; name a new folder")
        if occupied and overwrite:
            shutil.rmtree(self.path)
        elif occupied and not resume:
            raise InputError(
                f"--out {self.path} holds a run already; add --resume to go on or --overwrite to replace it"
            )
        elif occupied:
            self._check_options(options)
        try:
            self.private.mkdir(parents=True, exist_ok=True)
            self.private.chmod(0o700)
            self.write_json(self.options, options)
        except OSError as error:
            raise InputError(f"--out {self.path} cannot be written: {error.strerror}") from None

    def _check_options(self, options: dict[str, Any]) -> None:
        before = self.read_json(self.options) if self.options.is_file() else {}
        differing = [key for key in options if before.get(key) != json.loads(json.dumps(options[key]))]
        if before and differing:
            key = differing[0]
            raise InputError(
                f"--resume: {self.path} was started with another {key} ({before.get(key)!r} instead of "
                f"{options[key]!r}); give the same options, or --overwrite"
            )

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Keep `private/status.json` true: running, then done, or failed with the exit code and the message."""
        self._record("running", None, "")
        try:
            yield
        except RemReleaseError as error:
            self._record("failed", error.exit_code, str(error))
            raise
        except BaseException as error:
            self._record("failed", 1, f"{type(error).__name__}: {error}")
            raise
        self._record("done", 0, "")

    def _record(self, state: str, exit_code: int | None, message: str) -> None:
        self.write_json(self.status, {"state": state, "exit_code": exit_code, "message": message})

    def clear_staging(self) -> None:
        """Begin the release anew."""
        if self.staging.exists():
            shutil.rmtree(self.staging)
        self.staging.mkdir()

    def publish(self) -> None:
        """Move the staged release into place, whole."""
        if self.release.exists():
            shutil.rmtree(self.release)
        self.staging.replace(self.release)

    @staticmethod
    def write_json(path: Path, document: Any) -> None:
        """Write a private JSON file atomically."""
        write_atomically(path, (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())

    @staticmethod
    def read_json(path: Path) -> Any:
        """Read a private JSON file.

        Raises:
            InputError: missing or damaged.
        """
        try:
            return json.loads(path.read_bytes())
        except FileNotFoundError:
            raise InputError(f"{path} is missing; is {path.parent.parent} a run folder?") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is damaged: {error}") from None


def check_apart(run: Path, source: Path) -> None:
    """Refuse a run inside its source, or a source inside its run.

    Raises:
        InputError: they do not lie apart.
    """
    run, source = run.resolve(), source.resolve()
    if run == source or source in run.parents or run in source.parents:
        raise InputError(f"--out {run} and the source {source} lie within each other; choose a folder outside")
