"""The evidence of an audit: which class each victim named for each test image, `release/answers.parquet`.

A row of the file is one victim at one evaluation. Two rows come before them: the true labels, and which test images are
near copies of each other. No image and no file name is in it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rem_release.errors import VerificationError
from rem_release.release.certificate import ANSWERS
from rem_release.verdict.plan import KINDS, Task

LABELS, CLUSTERS = "labels", "clusters"
"""What stands under `trained_on` in the first two rows."""
_SCHEMA = pa.schema(
    [
        pa.field("trained_on", pa.string(), nullable=False),
        pa.field("architecture", pa.string(), nullable=False),
        pa.field("threat", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("step", pa.int64(), nullable=False),
        pa.field("finite", pa.bool_(), nullable=False),
        pa.field("train_accuracy", pa.float64(), nullable=False),
        pa.field("fit", pa.float64(), nullable=False),
        pa.field("attack_gain", pa.float64()),
        pa.field("answers", pa.list_(pa.field("element", pa.int32(), nullable=False)), nullable=False),
    ]
)
MAX_ANSWERS = 100_000_000
"""answers in all: ten evaluations of a thousand victims on 10,000 test images"""
_FREE_ANSWERS, _ANSWERS_A_BYTE = 1 << 24, 300
"""answers that any file may hold, and how many more for each of its bytes: victims that name one class for everything
take hardly any room"""
_MAX_TEXT = 4_000_000
_NAMES = ("trained_on", "architecture", "threat")
_MAX_NAME = 1000
"""characters"""
_BYTES_AN_ANSWER = 4.5
"""of a column of int32 that is not compressed, with the lengths of its lists"""


@dataclass(frozen=True, eq=False)
class Answers:
    """What one victim answered.

    Attributes:
        task: the victim, as `plan.Task.key` names it.
        finite: False where its loss became NaN or infinite; nothing else is known then.
        train_accuracy: on its own training images, under the threat, near the end.
        fit: on its own training images as they are, at the end.
        attack_gain: by what part PGD raises the loss on training images over its random start; None without PGD.
        steps: int64 [E], training steps done at each evaluation, ascending.
        named: int32 [E, T], the class that it named for each test image.
    """

    task: tuple[str, str, str, int]
    finite: bool
    train_accuracy: float
    fit: float
    attack_gain: float | None
    steps: np.ndarray
    named: np.ndarray


@dataclass(frozen=True, eq=False)
class Evidence:
    """All answers of an audit to its T test images.

    Attributes:
        labels: int32 [T], the true class of each test image.
        clusters: int32 [T], near copies among the test images bear one number, see `number_clusters`.
        victims: by `plan.Task.key`.
    """

    labels: np.ndarray
    clusters: np.ndarray
    victims: dict[tuple[str, str, str, int], Answers]

    def of(self, task: Task) -> Answers:
        """The answers of one victim.

        Raises:
            VerificationError: there are none.
        """
        found = self.victims.get(task.key)
        if found is None:
            raise VerificationError(
                f"{ANSWERS} has no answers of {task.architecture.text} under {task.threat.name}, trained on "
                f"{task.trained_on}, seed {task.seed}"
            )
        return found


def number_clusters(clusters: np.ndarray) -> np.ndarray:
    """The same clusters, numbered from 0 in the order of their first images: int32 [T]."""
    _, first, found = np.unique(clusters, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[found].astype(np.int32)


def write_evidence(evidence: Evidence, file: Any) -> None:
    """Write answers.parquet to a path or a binary file."""
    pq.write_table(pa.Table.from_pylist(list(_rows(evidence)), schema=_SCHEMA), file, compression="zstd")


def _rows(evidence: Evidence) -> Iterator[dict[str, Any]]:
    nothing = {
        "architecture": "",
        "threat": "",
        "seed": 0,
        "step": 0,
        "finite": True,
        "train_accuracy": 0.0,
        "fit": 0.0,
    }
    for name, values in ((LABELS, evidence.labels), (CLUSTERS, evidence.clusters)):
        yield {**nothing, "trained_on": name, "attack_gain": None, "answers": values}
    for victim in evidence.victims.values():
        architecture, threat, trained_on, seed = victim.task
        for step, named in zip(victim.steps.tolist(), victim.named, strict=True):
            yield {
                **{"trained_on": trained_on, "architecture": architecture, "threat": threat, "seed": seed},
                **{"step": step, "finite": victim.finite, "train_accuracy": victim.train_accuracy, "fit": victim.fit},
                **{"attack_gain": victim.attack_gain, "answers": named},
            }


def read_evidence(path: Path, classes: int, tasks: Iterable[Task], evaluations: int) -> Evidence:
    """Read answers.parquet, of which nothing is believed.

    Args:
        path: the file.
        classes: number of classes; every answer is one of them.
        tasks: the victims whose answers must be there, and no others.
        evaluations: how many each victim has at most.

    Raises:
        VerificationError: it is missing, damaged, larger than such evidence is, or holds anything else.
    """
    expected = {task.key for task in tasks}
    try:
        table = _read_table(path, 2 + len(expected) * evaluations)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise VerificationError(f"{path.name} cannot be read: {error}") from None
    kinds = table["trained_on"].to_pylist()
    if kinds[:2] != [LABELS, CLUSTERS] or not set(kinds[2:]) <= set(KINDS):
        raise VerificationError(f"{path.name} does not begin with {LABELS} and {CLUSTERS}, or names an unknown kind")
    lengths = set(table["answers"].combine_chunks().value_lengths().to_pylist())
    if len(lengths) != 1 or lengths == {0}:
        raise VerificationError(f"{path.name} has rows of {_list(lengths)} answers, not of one number")
    answers = table["answers"].combine_chunks().flatten().to_numpy().reshape(len(kinds), -1)
    labels, clusters, named = answers[0], answers[1], answers[2:]
    if min(labels.min(), named.min()) < 0 or named.max() >= classes or set(labels.tolist()) != set(range(classes)):
        raise VerificationError(f"{path.name} names other classes than the {classes} of the certificate")
    if not np.array_equal(clusters, number_clusters(clusters)):
        raise VerificationError(f"{path.name} numbers its clusters otherwise than in their order, from 0 on")
    victims = _collect(table.drop_columns("answers").to_pylist()[2:], named, path.name, evaluations)
    if strange := victims.keys() ^ expected:
        raise VerificationError(
            f"{path.name} has not the victims that the recipe of the certificate asks for, each once: "
            f"{len(strange)} are missing or strange, such as {' '.join(map(str, min(strange)))}"
        )
    return Evidence(labels, clusters, victims)


def _read_table(path: Path, most_rows: int) -> pa.Table:
    """The table, if it is of that form and no larger than its rows allow."""
    if path.is_symlink() or not path.is_file():
        raise ValueError("it is missing or is not a plain file")
    with pq.ParquetFile(path) as file:
        metadata = file.metadata
        if not file.schema_arrow.equals(_SCHEMA) or not 3 <= metadata.num_rows <= most_rows:
            raise ValueError(f"it has other columns, or {metadata.num_rows} rows instead of 3 to {most_rows}")
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        count = sum(group.column(group.num_columns - 1).num_values for group in groups)
        size = sum(group.total_byte_size for group in groups)
        most = min(MAX_ANSWERS, _FREE_ANSWERS + _ANSWERS_A_BYTE * path.stat().st_size)
        if count > most or size > _BYTES_AN_ANSWER * count + _MAX_TEXT:
            raise ValueError(f"it has {count:,} answers in {size:,} bytes, more than such evidence has")
    table = pq.read_table(path, read_dictionary=list(_NAMES))  # a long text in a thousand rows stays one text
    table.validate(full=True)
    if any(table[field.name].null_count for field in _SCHEMA if not field.nullable):
        raise ValueError("values are missing")
    for name in _NAMES:
        texts = [text for chunk in table[name].chunks for text in chunk.dictionary.to_pylist()]
        if max(map(len, texts)) > _MAX_NAME:
            raise ValueError(f"a text in the column {name} is longer than {_MAX_NAME} characters")
    return table.cast(_SCHEMA)


def _collect(rows: list[dict[str, Any]], answers: np.ndarray, name: str, evaluations: int) -> dict[Any, Answers]:
    """The victims, whose evaluations stand together."""
    places: dict[tuple[str, str, str, int], list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault((row["architecture"], row["threat"], row["trained_on"], row["seed"]), []).append(place)
    found = {}
    for key, mine in places.items():
        facts = {
            (rows[place]["finite"], rows[place]["train_accuracy"], rows[place]["fit"], rows[place]["attack_gain"])
            for place in mine
        }
        steps = np.array([rows[place]["step"] for place in mine])
        stands_together = mine[-1] - mine[0] + 1 == len(mine)
        if len(facts) != 1 or len(mine) > evaluations or not stands_together or (np.diff(steps) <= 0).any():
            raise VerificationError(f"{name} contradicts itself on the victim {' '.join(map(str, key))}")
        finite, train_accuracy, fit, gain = facts.pop()
        if not 0 <= train_accuracy <= 1 or not 0 <= fit <= 1:
            raise VerificationError(f"{name} has an accuracy that is none, of the victim {' '.join(map(str, key))}")
        found[key] = Answers(key, finite, train_accuracy, fit, gain, steps, answers[mine[0] : mine[-1] + 1])
    return found


def _list(numbers: set[int]) -> str:
    shown = sorted(numbers)[:3]
    return ", ".join(map(str, shown)) + (" and so on" if len(numbers) > len(shown) else "")
