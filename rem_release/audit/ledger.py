"""What is known of each victim: one line a finished victim in `victims.jsonl`, and baselines shared between audits.

A record is a function of its key, which holds everything that decides it; so a record that is found is not made again.
Each is compared with what was asked, and the shared folder answers for baselines alone: what a release teaches is found
out by the audit of that release.
"""

import base64
import hashlib
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rem_release.atomic_files import write_atomically
from rem_release.audit.curves import Curve
from rem_release.verdict.plan import Task, TrainedOn

Accuracy = Annotated[float, Field(ge=0, le=1)]
BASELINES: tuple[TrainedOn, ...] = ("clean", "random", "yardstick")
"""Victims that do not learn from the release."""


class VictimRecord(BaseModel):
    """One finished victim."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    architecture: str
    threat: str
    trained_on: TrainedOn
    seed: int
    finite: bool
    """False when the loss became NaN or infinite: nothing else is known then"""
    answers: str
    """base64 of the packed int32 [evaluations, test images]: the class that it named, see `pack`"""
    train_accuracy: Accuracy
    """on its own training images, under the threat, near the end"""
    fit: Accuracy
    """on its own training images as they are, at the end"""
    attack_gain: Annotated[float, Field(allow_inf_nan=False)] | None
    """by how much PGD raises the loss on training images over its random start; None without an adversary"""
    steps: list[int]
    loss: list[float]
    train_curve: list[Accuracy]
    test_curve: list[Accuracy]
    learnability: list[float] | None
    """accuracies under random shifts of the weights, where they were asked for"""
    seconds: float
    cached: bool = False
    """whether the audit took it from the shared folder"""

    def named(self, images: int) -> np.ndarray:
        """The class that it named for each test image at each evaluation: int32 [E, images].

        Raises:
            ValueError: it is not that.
        """
        unpacked = zlib.decompressobj().decompress(base64.b64decode(self.answers, validate=True), 4 * images * 10_000)
        return np.frombuffer(unpacked, "<i4").reshape(len(self.steps), images)

    def fits(self, asked: "WantedVictim") -> bool:
        """Whether this is a record of what was asked."""
        task = asked.task
        told = (self.key, self.architecture, self.threat, self.trained_on, self.seed, self.steps)
        if told != (asked.key, task.architecture.text, task.threat.name, task.trained_on, task.seed, asked.steps):
            return False
        curves = (self.loss, self.train_curve, self.test_curve)
        if self.finite and any(len(curve) != len(self.steps) for curve in curves):
            return False
        try:
            named = self.named(asked.images)
        except (ValueError, zlib.error):
            return False
        return named.min() >= 0 and named.max() < asked.classes

    def curve(self) -> Curve:
        """What was seen during training."""
        return Curve(
            architecture=self.architecture,
            threat=self.threat,
            trained_on=self.trained_on,
            seed=self.seed,
            steps=self.steps[: len(self.loss)],
            loss=self.loss,
            train_accuracy=self.train_curve,
            test_accuracy=self.test_curve,
        )


def pack(named: np.ndarray) -> str:
    """What `VictimRecord.answers` holds of int [E, T]."""
    return base64.b64encode(zlib.compress(named.astype("<i4").tobytes(), 9)).decode()


def key_of(decides: dict[str, Any]) -> str:
    """A name for everything that decides a victim."""
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class WantedVictim:
    """A victim that is wanted, and what its record must look like."""

    key: str
    task: Task
    steps: list[int]
    images: int
    classes: int


class Ledger:
    """The records of one audit.

    Args:
        path: victims.jsonl; None where nothing is known yet and nothing is kept.
        cache: folder of the baselines that audits share; None keeps none.
        writes: whether this process writes; the first of several.
    """

    def __init__(self, path: Path | None, cache: Path | None, writes: bool = True) -> None:
        self.path = path
        self._cache = cache
        self._writes = writes
        self._records = {record.key: record for record in (_read_lines(path) if path else [])}
        self.cached = {record.key for record in self._records.values() if record.cached}
        """keys of the records that came from other audits"""
        if writes and path and path.exists():  # without the half line that a killed audit may have left
            write_atomically(path, "".join(f"{r.model_dump_json()}\n" for r in self._records.values()).encode())

    def find(self, asked: WantedVictim) -> VictimRecord | None:
        """The record of that victim, from this audit or, of a baseline, from another; None where none fits."""
        record = self._records.get(asked.key)
        if record is not None and record.fits(asked):
            return record
        if asked.task.trained_on not in BASELINES or self._cache is None:
            return None
        record = _read_shared(self._cache / f"{asked.key}.json")
        if record is None or not record.fits(asked):
            return None  # damaged, or of something else: it is made again
        record = record.model_copy(update={"cached": True})
        self.cached.add(asked.key)
        self._keep(record)
        return record

    def add(self, record: VictimRecord) -> None:
        """Keep a finished victim; a baseline goes to the shared folder too."""
        self._keep(record)
        if self._writes and self._cache and record.trained_on in BASELINES:
            self._cache.mkdir(parents=True, exist_ok=True)
            mine = self._cache / f"{record.key}.{os.getpid()}.part"  # two audits may find the same at once
            mine.write_text(record.model_dump_json(), encoding="utf-8")
            mine.replace(self._cache / f"{record.key}.json")

    def _keep(self, record: VictimRecord) -> None:
        self._records[record.key] = record
        if self._writes and self.path:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{record.model_dump_json()}\n")
                file.flush()
                os.fsync(file.fileno())


def baseline_folder() -> Path:
    """Where baselines are shared between audits: `REM_RELEASE_CACHE`, else the user's cache folder."""
    if chosen := os.environ.get("REM_RELEASE_CACHE"):
        return Path(chosen) / "baselines"
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "rem-release" / "baselines"


def begins_as_ledger(path: Path) -> bool:
    """Whether a file begins as `victims.jsonl` does, whose first line a kill may have cut off, or is empty."""
    first = b'{"key":"'
    with path.open("rb") as file:
        return first.startswith(file.read(len(first)))


def _read_shared(path: Path) -> VictimRecord | None:
    try:
        return VictimRecord.model_validate_json(path.read_bytes())
    except (ValidationError, OSError):
        return None


def _read_lines(path: Path) -> list[VictimRecord]:
    """The whole lines of the file; anything else is left out, and its victims are trained again."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            records.append(VictimRecord.model_validate_json(line))
        except ValidationError:
            continue
    return records
