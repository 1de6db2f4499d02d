"""The run folder: `release/` is what is published, `private/` what never is, `audit/` what was found.

`release/` appears only when it is complete; until then it is built in `private/staging`. RUN may be a link to a folder
elsewhere; nothing in it may be one.
"""

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rem_release.atomic_files import write_atomically
from rem_release.errors import InputError
from rem_release.recipe_files import flatten
from rem_release.release.deletion import (
    AUDIT,
    DECODED,
    JOURNAL,
    KEPT_ROWS,
    PRIVATE,
    RECEIPTS,
    RELEASE,
    STAGED_SPLIT,
    Names,
    delete_own,
    refuse_links,
    require_own,
)
from rem_release.release.run_status import describe_failure, entered

RUN_FORMAT = "rem-release-run/3"
"""What a run says of itself in `private/options.json`. Runs of version 0.2.0 say nothing there."""
SECRET_SEEDS = frozenset({"rem-release-run/2", RUN_FORMAT})
"""formats of runs whose seed is secret unless the owner chose one"""
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
_SCRATCH: dict[str, Names] = {
    ".reading": DECODED,
    "private/working": DECODED,
    "private/writing": JOURNAL,
    "private/staging": RELEASE,
    "private/checkpoints/rows": KEPT_ROWS,
}
"""What a run deletes of itself on the way."""
_WHOLE: dict[str, Names] = {
    "release": RELEASE,
    "audit": AUDIT,
    ".reading": DECODED,
    ".release-clean": STAGED_SPLIT,
    "private": PRIVATE,
}
"""What a run holds; what makes it a run is the last."""


class RunFolder:
    """The paths of a run, and its status.

    Args:
        path: RUN.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.release = path / "release"
        self.private = path / "private"
        self.reading = path / ".reading"
        self.working = self.private / "working"
        self.staging = self.private / "staging"
        self.writing = self.private / "writing"
        self.options = self.private / "options.json"
        self.recipe = self.private / "recipe.json"
        self.generator = self.private / "generator.safetensors"
        self.generator_facts = self.private / "generator.json"
        self.checkpoints = self.private / "checkpoints"
        self.noise = self.private / "noise.npy"
        self.rows = self.private / "rows.parquet"
        self.skipped = self.private / "skipped.csv"
        self.albums = self.private / "albums.json"
        self.reserve = self.private / "reserve"
        self.status = self.private / "status.json"
        self.times = self.private / "times.json"
        self.receipt = self.private / "push.json"
        self.attempts = self.private / "attempts.json"
        self._is_ours = False

    @property
    def exists(self) -> bool:
        """Whether this is the folder of a run, finished or not: its options, which it writes first of all, say so.

        Raises:
            OSError: it cannot be looked at.
        """
        options = _read_object(self.options)
        source = options.get("source")
        return isinstance(options.get("recipe"), dict) and isinstance(source, dict) and "source" in source

    @property
    def finished(self) -> bool:
        """Whether the release is complete."""
        return (self.release / "protection.json").is_file() and self.rows.is_file()

    def claim(self, options: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Check that the run may stand here, before any work. Nothing is written, and nothing is deleted.

        Args:
            options: everything that decides the result.
            resume: go on with an existing run of the same options.
            overwrite: an existing run will be replaced.

        Raises:
            InputError: something else is there or among it, the options differ, or the folder cannot be listed.
        """
        try:
            str(self.path.absolute()).encode()
            if self.path.exists() and not self.path.is_dir():
                raise InputError(f"--out {self.path} is a file; name a folder")
            is_occupied = self.path.is_dir() and self._holds_files()
            if self.path.is_dir():
                require_own(self.path, self.reading.name, DECODED)
        except UnicodeEncodeError:
            raise InputError(f"--out {os.fsencode(self.path.absolute())!r} is not UTF-8; name another folder") from None
        except OSError as error:
            raise InputError(f"--out {self.path} cannot be read: {error.strerror}") from None
        if not is_occupied:
            return
        if not self.exists:
            self.read_options()
            raise InputError(f"--out {self.path} is not empty and not a run; name a new folder")
        if not (resume or overwrite):
            raise InputError(
                f"--out {self.path} holds a run already; add --resume to go on or --overwrite to replace it"
            )
        self._require_own(resume=resume)
        if resume:
            self._check_options(options)
            self._is_ours = True

    def open(self, options: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Make the folder, or take up the one that a killed command left; an existing run is deleted to be replaced.

        Args:
            options: everything that decides the result, kept in `private/options.json`.
            resume: go on with an existing run of the same options.
            overwrite: delete an existing run first, less its record of what it published: that is out.

        Raises:
            InputError: as `claim`, or the folder cannot be written.
        """
        self.claim(options, resume=resume, overwrite=overwrite)
        try:
            if overwrite and self.exists:
                self._delete_run()
            self.private.mkdir(parents=True, exist_ok=True)
            self.private.chmod(0o700)
            self.write_json(self.options, options)  # first of all: with it this is a run, whatever happens
            if self.reading.exists():
                self._delete_scratch("private/working")
                self.reading.replace(self.working)
        except OSError as error:
            raise InputError(f"--out {self.path} cannot be written: {error.strerror or error}") from None
        self._is_ours = True
        self._record("running", None, "")

    def _holds_files(self) -> bool:
        """Whether there is anything to lose.

        A command that is killed as it makes a run leaves empty folders; as it replaces one, the receipts, which stay.
        """

        def fail(error: OSError) -> None:
            raise error

        for folder, folders, files in os.walk(self.path, onerror=fail):
            if Path(folder) == self.path and self.reading.name in folders:
                folders.remove(self.reading.name)
            is_linked = any(Path(folder, name).is_symlink() for name in folders)
            if is_linked or any(not self._is_left_by_a_kill(Path(folder, name)) for name in files):
                return True
        return False

    def _is_left_by_a_kill(self, file: Path) -> bool:
        if file.parent != self.private or file.is_symlink():
            return False
        if file == self.receipt:
            return not {"pushes", "url"}.isdisjoint(_read_object(file))
        return file.name == f".{self.options.name}.partial" or bool(re.fullmatch(RECEIPTS, file.name))

    def _require_own(self, *, resume: bool) -> None:
        """Refuse, before anything is deleted, what this tool did not write among what it will delete, and links."""
        self.refuse_links()
        places = _SCRATCH | ({} if self.finished else {"release": RELEASE}) if resume else _WHOLE
        with self._readable():
            for place, names in places.items():
                require_own(self.path, place, names)

    def refuse_links(self) -> None:
        """Refuse a run that has links in the place of its folders or files.

        Raises:
            InputError: it has, or a folder cannot be read.
        """
        with self._readable():
            for place, names in _WHOLE.items() if self.path.is_dir() else ():
                refuse_links(self.path, place, names)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(f"{self.path} cannot be read: {error.strerror}") from None

    def _delete_run(self) -> None:
        """Delete all but the receipts and what they name; last what shows that this is a run."""
        last = (self.status.name, self.options.name)
        for place, names in _WHOLE.items():
            if place == self.private.name:
                delete_own(self.path, place, names, keep=RECEIPTS, last=last)
            else:
                delete_own(self.path, place, names)

    def _delete_scratch(self, place: str) -> None:
        delete_own(self.path, place, _SCRATCH[place])

    @contextmanager
    def read_into(self) -> Iterator[Path]:
        """A new folder for images that are read before `open`, which keeps it; else it is deleted at the end.

        So a command that cannot begin leaves nothing behind, and replaces nothing.

        Raises:
            InputError: the folder cannot be written.
        """
        try:
            self._delete_scratch(self.reading.name)
            self.reading.mkdir(mode=0o700)
        except OSError as error:
            raise InputError(f"--out {self.path} cannot be written: {error.strerror or error}") from None
        try:
            yield self.reading
        finally:
            self._delete_scratch(self.reading.name)

    def read_options(self) -> dict[str, Any]:
        """The options that decided the run; empty where it does not say.

        Raises:
            InputError: the file is damaged.
        """
        options = self.read_json(self.options) if self.options.is_file() else {}
        if not isinstance(options, dict):
            raise InputError(f"{self.options} is damaged: it is no JSON object")
        return options

    def _check_options(self, options: dict[str, Any]) -> None:
        before = flatten(self.read_options())
        if before and before.get("format") != RUN_FORMAT:
            raise InputError(
                f"--resume: {self.path} was begun by an earlier version of rem-release, and this one would go on "
                f"otherwise; make it again: rem-release protect SOURCE --out {self.path} --overwrite"
            )
        now = flatten(json.loads(json.dumps(options)))
        differing = [key for key in {**now, **before} if before.get(key) != now.get(key)]
        if before and differing:
            key = differing[0]
            shown = "another seed" if key == "seed" else f"{key} {before.get(key)!r}, not {now.get(key)!r}"
            raise InputError(f"--resume: {self.path} was started with {shown}; give the same options, or --overwrite")

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Keep `private/status.json` true: running, then done, or failed with the exit code and the message.

        Until the folder is this command's own, which `open` makes it, no status is written.

        Raises:
            InputError: the folder is read-only, or another command works on it.
        """
        with entered(self.path):
            try:
                self._record("running", None, "")
            except OSError as error:
                if error.errno not in _READ_ONLY:
                    raise
                raise InputError(f"{self.path} cannot be written: {error.strerror}") from None
            try:
                yield
            except BaseException as error:
                with suppress(OSError):  # a full disk is what failed already
                    self._record("failed", *describe_failure(error))
                raise
            self._record("done", 0, "")

    @contextmanager
    def adopted(self) -> Iterator[None]:
        """As `recorded`, for a command that works on a finished run, which is then its own.

        In a folder that holds a release and no run any more, no status is written.

        Raises:
            InputError: as `recorded`; or there are links in the folder.
        """
        self.refuse_links()
        self._is_ours = self.exists
        with self.recorded():
            yield

    @contextmanager
    def held(self) -> Iterator[None]:
        """The folder for this command alone, and no status: for one that only reads it.

        Raises:
            InputError: another command works on it.
        """
        with entered(self.path):
            yield

    def _record(self, state: str, exit_code: int | None, message: str) -> None:
        if self._is_ours:
            self.write_json(self.status, {"state": state, "exit_code": exit_code, "message": message})

    def published(self, digest: str) -> Path:
        """Where a push of the data with this digest notes which images were published."""
        return self.private / f"published-{digest[:12]}.parquet"

    def clear_scratch(self) -> None:
        """Delete what only a run that is not finished needs: decoded images, journals of shards, and the rows that a
        training kept for each image."""
        self._delete_scratch("private/working")
        self._delete_scratch("private/writing")
        self._delete_scratch("private/checkpoints/rows")

    def publish(self) -> None:
        """Move the staged release into place, whole."""
        delete_own(self.path, self.release.name, RELEASE)
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
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path} is damaged: {error}") from None


def _read_object(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none, or something else.

    Raises:
        OSError: the file cannot be looked at.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        return {}
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
