"""What is known of each victim: one line a finished victim in `victims.jsonl`, and baselines shared between audits.

A record is a function of its key, which holds everything that decides it; so a record that is found is not made again.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from rem_release.atomic_files import write_atomically
from rem_release.audit.curves import Curve, TrainedOn


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
    correct: str
    """hexadecimal of the packed bits: which test images the final victim gets right"""
    peak: float
    """the best mean class accuracy of all evaluations"""
    train_accuracy: float
    attack_gain: float | None
    """by how much PGD raises the loss on training images over its random start; None without an adversary"""
    steps: list[int]
    loss: list[float]
    train_curve: list[float]
    test_curve: list[float]
    learnability: list[float] | None
    """accuracies under random shifts of the weights, where they were asked for"""
    seconds: float

    def answers(self, images: int) -> np.ndarray:
        """Which test images it gets right: bool [images]."""
        packed = np.frombuffer(bytes.fromhex(self.correct), np.uint8)
        return np.unpackbits(packed, count=images).astype(bool)

    def curve(self) -> Curve:
        """What was seen during training."""
        return Curve(
            architecture=self.architecture,
            threat=self.threat,
            trained_on=self.trained_on,
            seed=self.seed,
            steps=self.steps,
            loss=self.loss,
            train_accuracy=self.train_curve,
            test_accuracy=self.test_curve,
        )


def pack(correct: np.ndarray) -> str:
    """The bits of `VictimRecord.correct`; correct is bool [images]."""
    return np.packbits(correct).tobytes().hex()


def key_of(decides: dict[str, Any]) -> str:
    """A name for everything that decides a victim."""
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


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
        if writes and path and path.exists():  # without the half line that a killed audit may have left
            write_atomically(path, "".join(f"{r.model_dump_json()}\n" for r in self._records.values()).encode())

    def find(self, key: str) -> VictimRecord | None:
        """The record of that key, from this audit or from the baselines of another."""
        if key not in self._records and self._cache and (path := self._cache / f"{key}.json").is_file():
            try:
                record = VictimRecord.model_validate_json(path.read_bytes())
            except (ValidationError, OSError):
                return None  # damaged: it is made again
            if record.key == key:
                self._keep(record)
        return self._records.get(key)

    def add(self, record: VictimRecord) -> None:
        """Keep a finished victim; a baseline goes to the shared folder too."""
        self._keep(record)
        if self._writes and self._cache and record.trained_on in ("clean", "random"):
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
